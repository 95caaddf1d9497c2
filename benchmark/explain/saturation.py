"""Where each generator loss still teaches: its gradient against the critic's score.

The argument is Goodfellow et al. 2014 (arXiv:1406.2661), section 3, for minimax and the non-saturating loss, and Mao
et al. 2017 (arXiv:1611.04076), figure 1, for least squares: minimax vanishes on samples the critic rejects, the
non-saturating loss on samples it accepts though they may lie far from the data, least squares on neither."""

import pandas as pd
import torch
from matplotlib.figure import Figure

import variants
from benchmark.plots import style

REJECTED, ACCEPTED = -8.0, 8.0  # a confident "fake" and a confident "real"


def measure() -> pd.DataFrame:
    """Generator loss and its derivative by the score, for every objective: objective, score, g_loss, gradient."""
    rows = []
    for name in variants.names("objectives"):
        objective = variants.load("objectives", name).Objective()
        for score in torch.linspace(-10, 10, 201, dtype=torch.float64).tolist():
            fake = torch.tensor([score], dtype=torch.float64, requires_grad=True)
            loss = objective.g_loss(lambda x: x, torch.zeros_like(fake), fake)  # the sample is its own score
            (gradient,) = torch.autograd.grad(loss, fake)
            rows.append({"objective": name, "score": score, "g_loss": loss.item(), "gradient": gradient.item()})
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    """|d loss / d score| on a logarithmic axis, the two confident critics marked."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    wide = frame.pivot(index="score", columns="objective", values="gradient").abs()
    for _, alike in wide.T.groupby(wide.T.apply(tuple, axis=1)):  # losses of one gradient share a line
        look = {key: value for key, value in style(alike.index[0]).items() if key != "marker"}
        axes.plot(wide.index, alike.iloc[0], label=", ".join(alike.index), linewidth=2, **look)
    for score, words in ((REJECTED, "rejected:\nthe wrong side"), (ACCEPTED, "accepted:\nfar but fooled")):
        axes.axvline(score, color="0.6", linewidth=1, linestyle=":")
        axes.annotate(words, (score, 25), ha="center", fontsize=9, color="0.3", annotation_clip=False)
    axes.set(yscale="log", ylim=(1e-4, 20), xlabel="score of a generated sample", ylabel="|d generator loss / d score|")
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    return figure


def finding(frame: pd.DataFrame) -> str:
    """Two sentences from the numbers."""
    at = frame.set_index(["objective", "score"])["gradient"].abs()
    named = ("minimax", "nonsaturating", "lsgan", "wgan")
    rejected, accepted = ({name: at[name].loc[[score]].iloc[0] for name in named} for score in (REJECTED, ACCEPTED))
    return (
        f"On a sample rejected with score {REJECTED:g} the gradient is {rejected['minimax']:.1e} under minimax, "
        f"{rejected['nonsaturating']:.2f} under nonsaturating, {rejected['lsgan']:.2f} under lsgan and "
        f"{rejected['wgan']:.2f} under wgan. On one accepted with score {ACCEPTED:g} it is {accepted['minimax']:.2f}, "
        f"{accepted['nonsaturating']:.1e}, {accepted['lsgan']:.2f} and {accepted['wgan']:.2f}."
    )
