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
from benchmark.explain.setup import choice, objectives
from benchmark.train.build import make_objective

CAPTION = (
    "Left the generator's loss, right the size of its derivative, by the score the critic gives a generated sample; "
    "under a sigmoid loss the critic rejects a sample left of 0 and accepts it right of 0. Where the right curve "
    "falls towards 0 over a whole side the loss no longer teaches there (least squares touches 0 at its target, 1, "
    "alone). Losses with one derivative share a line."
)
REJECTED, ACCEPTED = -8.0, 8.0  # a confident "fake" and a confident "real"


def cases(full: bool) -> list[dict[str, Any]]:
    return [{"values": objectives(), "points": 2001 if full else 201}]


def measure(values: list[dict[str, Any]], points: int) -> pd.DataFrame:
    """objective, score, g_loss, gradient: the generator's loss on a sample of that score, and d
    loss / d score."""
    rows = []
    for value in values:
        chosen = choice(value)
        objective = make_objective(chosen)
        for score in torch.linspace(-10, 10, points, dtype=torch.float64).tolist():
            fake = torch.tensor([score], dtype=torch.float64, requires_grad=True)
            loss = objective.g_loss(
                lambda x: x, torch.zeros_like(fake), fake
            )  # the sample is its own score
            (gradient,) = torch.autograd.grad(loss, fake)
            row = {
                "objective": chosen.label,
                "score": score,
                "g_loss": loss.item(),
                "gradient": gradient.item(),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    figure = plt.figure(figsize=(11, 4.4), layout="constrained")
    axes = figure.subplots(1, 2)
    wide = {
        of: frame.pivot(index="score", columns="objective", values=of)
        for of in ("g_loss", "gradient")
    }
    gradient = wide["gradient"].abs()
    for _, alike in gradient.T.groupby(gradient.T.round(9).apply(tuple, axis=1)):
        name = min(alike.index, key=len)
        look = {key: value for key, value in style(name).items() if key != "marker"}
        axes[0].plot(wide["g_loss"].index, wide["g_loss"][name], linewidth=2, **look)
        label = name if len(alike) == 1 else f"{name} and {len(alike) - 1} with its derivative"
        axes[1].plot(gradient.index, gradient[name], label=label, linewidth=2, **look)
    for ax, top in ((axes[0], 21.5), (axes[1], 25)):
        for score, words in (
            (REJECTED, "rejected:\nthe wrong side"),
            (ACCEPTED, "accepted:\nfar but fooled"),
        ):
            ax.axvline(score, color="0.6", linewidth=1, linestyle=":")
            ax.annotate(
                words, (score, top), ha="center", fontsize=9, color="0.3", annotation_clip=False
            )
    axes[0].set(ylim=(-11, 20), ylabel="generator loss")
    axes[1].set(yscale="log", ylim=(1e-4, 20), ylabel="|d generator loss / d score|")
    for ax in axes:
        ax.set_xlabel("score of a generated sample")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def finding(frame: pd.DataFrame) -> str:
    at = frame.set_index(["objective", "score"])["gradient"].abs()
    named = ("minimax", "nonsaturating", "lsgan", "wgan")
    rejected, accepted = (
        {name: at[name].loc[[score]].iloc[0] for name in named} for score in (REJECTED, ACCEPTED)
    )
    return (
        f"On a sample rejected with score {REJECTED:g} the gradient is {rejected['minimax']:.1e} under minimax, "
        f"{rejected['nonsaturating']:.2f} under nonsaturating, {rejected['lsgan']:.2f} under lsgan and "
        f"{rejected['wgan']:.2f} under wgan. On one accepted with score {ACCEPTED:g} it is {accepted['minimax']:.2f}, "
        f"{accepted['nonsaturating']:.1e}, {accepted['lsgan']:.2f} and {accepted['wgan']:.2f}: each sigmoid loss is "
        "blind on one side, as published, and the others on neither."
    )
