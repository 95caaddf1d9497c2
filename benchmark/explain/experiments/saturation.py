"""Where does a generator loss still teach?

The generator learns through the critic's score of its samples, so what it can learn at most is the
slope of its loss by that score. Goodfellow et al. 2014 (arXiv:1406.2661, section 3) warn that the
minimax loss is flat where the critic is sure that a sample is fake, which is where a generator
begins; their non-saturating loss turns that around. Mao et al. 2017 (arXiv:1611.04076) add that it
is flat, in turn, on samples the critic takes for real though they may lie far from the data, and
that least squares is flat on neither.

Nothing is trained: the loss and its derivative are computed from the score, in float64."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmark.drawing.style import style
from benchmark.explain.setup import choice, label, objectives
from benchmark.train.build import make_objective

ANSWER = (
    "Where the critic rejects every sample, the minimax generator gets almost no gradient; "
    "where it accepts every sample, the non-saturating one; least squares and Wasserstein "
    "losses teach on both sides."
)
CAPTION = (
    "Left the generator's loss, right the size of its derivative, by the score the critic gives a "
    "generated sample; under a sigmoid loss the critic rejects a sample left of 0 and accepts it "
    "right of 0. Where the right curve falls towards 0 over a whole side the loss no longer "
    "teaches there (least squares touches 0 at its target, 1, alone). Losses with one derivative "
    "share a line."
)
REJECTED = -8.0  # a confident "fake"
ACCEPTED = 8.0  # a confident "real"
NAMED = ("minimax", "nonsaturating", "lsgan", "wgan")  # in the finding


def cases(full: bool) -> list[dict[str, Any]]:
    return [{"values": objectives(), "points": 2001 if full else 201}]


def measure(values: list[dict[str, Any]], points: int) -> pd.DataFrame:
    """objective, score, g_loss, gradient: the generator's loss on a sample of that score, and
    d loss / d score."""
    rows = []
    for value in values:
        objective = make_objective(choice(value))
        for score in torch.linspace(-10, 10, points, dtype=torch.float64).tolist():
            # the critic is the identity, so that the sample is its own score
            fake = torch.tensor([score], dtype=torch.float64, requires_grad=True)
            loss = objective.g_loss(lambda x: x, torch.zeros_like(fake), fake)
            (gradient,) = torch.autograd.grad(loss, fake)
            row = {"objective": label(value), "score": score}
            rows.append(row | {"g_loss": loss.item(), "gradient": gradient.item()})
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    figure = plt.figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = frame.pivot(index="score", columns="objective", values="g_loss")
    gradients = frame.pivot(index="score", columns="objective", values="gradient").abs()
    # objectives with the same derivative share a line
    derivatives = gradients.T.round(9).apply(tuple, axis=1)
    for _, alike in gradients.T.groupby(derivatives):
        name = min(alike.index, key=len)
        look = {key: value for key, value in style(name).items() if key != "marker"}
        shown = name if len(alike) == 1 else f"{name} and {len(alike) - 1} with its derivative"
        left.plot(losses.index, losses[name], linewidth=2, **look)
        right.plot(gradients.index, gradients[name], label=shown, linewidth=2, **look)
    _mark_sides(left, 21.5)
    _mark_sides(right, 25)
    left.set(ylim=(-11, 20), ylabel="generator loss")
    right.set(yscale="log", ylim=(1e-4, 20), ylabel="|d generator loss / d score|")
    for ax in (left, right):
        ax.set_xlabel("score of a generated sample")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _mark_sides(ax: Any, top: float) -> None:
    """Lines at the two scores of the finding, with words above them."""
    words = {REJECTED: "rejected:\nthe wrong side", ACCEPTED: "accepted:\nfar but fooled"}
    look: dict[str, Any] = {"ha": "center", "fontsize": 9, "color": "0.3"}
    for score, text in words.items():
        ax.axvline(score, color="0.6", linewidth=1, linestyle=":")
        ax.annotate(text, (score, top), annotation_clip=False, **look)


def finding(frame: pd.DataFrame) -> str:
    gradients = frame.set_index(["objective", "score"])["gradient"].abs()
    rejected = {name: gradients[name].loc[[REJECTED]].iloc[0] for name in NAMED}
    accepted = {name: gradients[name].loc[[ACCEPTED]].iloc[0] for name in NAMED}
    return (
        f"On a sample rejected with score {REJECTED:g} the gradient is {rejected['minimax']:.1e} "
        f"under minimax, {rejected['nonsaturating']:.2f} under nonsaturating, "
        f"{rejected['lsgan']:.2f} under lsgan and {rejected['wgan']:.2f} under wgan. On one "
        f"accepted with score {ACCEPTED:g} it is {accepted['minimax']:.2f}, "
        f"{accepted['nonsaturating']:.1e}, {accepted['lsgan']:.2f} and {accepted['wgan']:.2f}: "
        "each sigmoid loss is blind on one side, as published, and the others on neither."
    )
