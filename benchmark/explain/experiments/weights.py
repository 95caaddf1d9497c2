"""What becomes of the critic's weights?

Gulrajani et al. 2017 (arXiv:1704.00028, figure 1b): clipping pushes the weights towards the two
ends of the range it allows, ±c, so that the critic becomes a very simple function; under the
gradient penalty they spread.

There is a catch that the picture does not show: weights drawn as usual (He et al. 2015) reach far
beyond c = 0.01, so that clipping them once, before anything is learned, already puts most of them
at ±c. So clipping runs twice: from the usual weights, and from the same weights shrunk to lie
within ±c/2, where whatever comes to the ends has been pushed there by training. ReLU critics of
three hidden layers of 512 units on the Swiss roll against the same with unit normal noise, each
objective's own paper's optimiser for 400 steps, in full 20,000; weights of the hidden layers,
without the first and the last."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from benchmark.drawing.style import style, wrap
from benchmark.explain.setup import (
    bounding,
    choice,
    label,
    make_critic,
    noised,
    train_critic,
)
from benchmark.train.build import make_objective

ANSWER = (
    "Weight clipping pushes the weights of the critic to the two ends of the range that it allows."
)
CAPTION = (
    "Histograms of the trained critics' hidden weights, each over its own range; grey: before "
    "training (under clipping: after the first clip). Above each, the share of weights within 5 % "
    "of ±c, c = 0.01."
)
CLIP = 0.01  # the c that the weights of all objectives are compared with
NEAR = 0.05  # of c
BINS = 60


def cases(full: bool) -> list[dict[str, Any]]:
    steps = 20_000 if full else 400
    found = []
    for value in bounding():
        found.append({"value": value, "start": "usual", "steps": steps})
        if make_objective(choice(value)).clip is not None:
            found.append({"value": value, "start": "inside", "steps": steps})
    return found


def measure(value: dict[str, Any], start: str, steps: int, width: int = 512) -> pd.DataFrame:
    """objective, start (usual, or inside: shrunk to ±c/2), step (0 and all), low, high, share: a
    histogram of the hidden weights; and at_clip, the share within 5 % of ±c, the same for a
    step."""
    objective = make_objective(choice(value))
    D = make_critic(value, (2,), width=width, depth=3)
    if start == "inside":
        shrink(D)
    objective.after_d_step(D)
    frames = []
    for step in train_critic(objective, D, noised("swissroll", 64), steps, objective.recipe):
        if step in (0, steps):
            weights = hidden(D)
            counts, edges = np.histogram(weights.numpy(), BINS)
            share = counts / counts.sum()
            rows = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "share": share})
            rows.insert(0, "objective", label(value))
            frames.append(rows.assign(start=start, step=step, at_clip=at_clip(weights)))
    return pd.concat(frames)[["objective", "start", "step", "low", "high", "share", "at_clip"]]


@torch.no_grad()
def shrink(D: nn.Module) -> None:
    """Scale each parameter to lie within ±c/2."""
    for parameter in D.parameters():
        parameter.mul_(CLIP / 2 / parameter.abs().max().clamp_min(CLIP / 2))


def hidden(D: nn.Module) -> Tensor:
    """All weights between hidden layers, (n,)."""
    layers = [module for module in D.modules() if isinstance(module, nn.Linear)]
    return torch.cat([layer.weight.detach().flatten() for layer in layers[1:-1]])


def at_clip(weights: Tensor) -> float:
    """The share of weights within NEAR of ±CLIP."""
    return ((weights.abs() - CLIP).abs() <= NEAR * CLIP * (1 + 1e-6)).float().mean().item()


def draw(frame: pd.DataFrame) -> Figure:
    runs = list(frame[["objective", "start"]].drop_duplicates().itertuples(index=False, name=None))
    columns = -(-len(runs) // 2)
    figure = plt.figure(figsize=(3.2 * columns, 5.4), layout="constrained")
    axes = list(figure.subplots(2, columns, squeeze=False).flat)
    for ax in axes[len(runs) :]:
        ax.set_axis_off()
    for ax, (name, start) in zip(axes, runs, strict=False):
        rows = frame[(frame["objective"] == name) & (frame["start"] == start)]
        first = rows[rows["step"] == 0]
        last = rows[rows["step"] == rows["step"].max()]
        _draw_histogram(ax, first, color="0.8")
        _draw_histogram(ax, last, color=style(name)["color"], alpha=0.75)
        title = wrap(name)
        if start == "inside":
            title += ", started inside ±c/2"
        ax.set_title(f"{title}\n{last['at_clip'].iloc[0]:.1%} at ±c", size=9)
        ax.set(xlabel="weight", yticks=[])
        ax.xaxis.set_major_locator(MaxNLocator(3))
    return figure


def _draw_histogram(ax: Any, rows: pd.DataFrame, **look: Any) -> None:
    width = rows["high"] - rows["low"]
    ax.bar(rows["low"], rows["share"], width, align="edge", linewidth=0, **look)


def finding(frame: pd.DataFrame) -> str:
    shares = frame.groupby(["objective", "start", "step"], sort=False)["at_clip"].first()
    last = frame["step"].max()
    others = shares.xs(last, level="step").drop("wgan")
    inside = shares["wgan", "inside", last]
    conclusion = "so far the picture is mostly the first clip's."
    if inside > 0.5:
        conclusion = "the push is real."
    return (
        f"After {last:,} steps {shares['wgan', 'usual', last]:.0%} of the hidden weights lie "
        f"within 5 % of ±0.01 under clipping, {others.min():.1%} to {others.max():.1%} of them "
        f"without it; but {shares['wgan', 'usual', 0]:.0%} were there after the first clip. From "
        f"weights that start inside, training brings {inside:.0%} to the ends: {conclusion}"
    )
