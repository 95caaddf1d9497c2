"""Which modes does the generator keep?

Goodfellow et al. 2014 (arXiv:1406.2661, section 6) name the danger: the generator maps too many
latents to one point, and part of the data is never produced. Mao et al. 2017 (arXiv:1611.04076)
train small generators on eight Gaussians on a circle, each of them a mode, to compare least squares
with the original game in this.

Networks as in Mao's experiment: two hidden tanh layers, latents of 256 dimensions; the layers have
64 units and batches 64 samples, in full 128 and 512 as there. Initial weights are the suite's, not
orthogonal, and the rate is one for both networks, where Mao's critic has a tenth of its
generator's. Every objective has its own paper's optimiser, but a rate of 0.001 for all, and the
same number of critic steps, so that one with five per generator step moves its generator a fifth as
often. A mode is reached where at least a tenth of its due of samples are nearest to it; it is
covered where as many lie within 3 σ of it."""

from collections.abc import Iterable
from statistics import mean
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmark.drawing.style import style, wrap_long
from benchmark.explain.setup import choice, final, objectives, run
from benchmark.measure.points import MODE_SHARE
from benchmark.train.build import make_objective
from variants import load

CAPTION = (
    "Modes of eight over the critic's steps, mean over the seeds and a band from the least to the greatest: covered "
    "(samples within 3 σ of it), reached (samples nearest to it); right the share of samples within 3 σ of any mode. "
    "Reached falling while quality rises is mode collapse."
)
DATASET = "gaussians8"
SHOWN = {
    "covered": "modes covered",
    "reached": "modes reached",
    "quality": "share of samples within 3 σ",
}


def cases(full: bool) -> list[dict[str, Any]]:
    size = (
        {"critic_steps": 35_000, "width": 128, "batch_size": 512}
        if full
        else {"critic_steps": 4500, "width": 64}
    )
    return [
        {"value": value, "seed": seed, **size}
        for value in objectives()
        for seed in range(10 if full else 3)
    ]


def measure(
    value: dict[str, Any], seed: int, critic_steps: int, width: int, batch_size: int = 64
) -> pd.DataFrame:
    """One row per tenth of the run: objective, seed, critic_steps, g_steps, reached, covered,
    quality."""
    chosen, modes = choice(value), load("datasets", DATASET).Dataset().modes()
    mlp = {"name": "mlp", "width": width, "depth": 2, "latent_dim": 256, "activation": "tanh"}
    rows = []
    g_steps = critic_steps // make_objective(chosen).d_steps(1)
    tenths = [tenth / 10 for tenth in range(11)]
    for snapshot in run(
        {**value, "lr": 1e-3},
        mlp,
        {"name": DATASET},
        seed,
        tenths,
        steps=g_steps,
        batch_size=batch_size,
    ):
        samples = snapshot.sample(2000)
        distance, nearest = torch.cdist(samples, modes.centres).min(dim=1)
        near, due = distance <= 3 * modes.sigma, MODE_SHARE * len(samples) / len(modes.centres)
        reached, covered = (
            int((torch.bincount(of) >= due).sum()) for of in (nearest, nearest[near])
        )
        row = {
            "objective": chosen.label,
            "seed": seed,
            "critic_steps": snapshot.samples_seen // batch_size,
        }
        row |= {"g_steps": snapshot.g_steps, "reached": reached, "covered": covered}
        rows.append(row | {"quality": near.float().mean().item()})
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    figure = plt.figure(figsize=(13, 4.4), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, (column, label) in zip(axes, SHOWN.items(), strict=True):
        for name, rows in frame.groupby("objective", sort=False):
            of = rows.groupby("critic_steps")[column].agg(["mean", "min", "max"])
            look = style(str(name))
            ax.fill_between(
                of.index, of["min"], of["max"], color=look["color"], alpha=0.1, linewidth=0
            )
            ax.plot(of.index, of["mean"], label=wrap_long(str(name)), **look | {"markersize": 3})
        ax.set(xlabel="critic steps", ylabel=label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def finding(frame: pd.DataFrame) -> str:
    last = final(frame)
    covered, reached, quality = (
        {str(name): list(values) for name, values in last.groupby("objective", sort=False)[column]}
        for column in SHOWN
    )

    def those(names: Iterable[str]) -> str:
        return ", ".join(names) or "none"

    sharp = [name for name, shares in quality.items() if mean(shares) > 0.25]
    lost = [name for name in sharp if mean(covered[name]) < 7.5]
    blurred = [name for name, modes in reached.items() if mean(modes) >= 7 and name not in sharp]
    span = {
        name: " to ".join(map(str, sorted({min(modes), max(modes)})))
        for name, modes in covered.items()
    }
    named = [
        f"{name} {span[name]}"
        for name in ("minimax", "nonsaturating", "lsgan", "wgan", "wgan_gp", "wgan_fdgp")
    ]
    return (
        f"Modes covered of eight over {frame['seed'].nunique()} seeds: {those(named)}; samples lie on modes under "
        f"{those(sharp)}, and modes are left out under {those(lost)}. Under {those(blurred)} samples lie near seven "
        "modes or more, hardly any within 3 σ of one: at equal critic steps these have taken fewer generator steps, "
        "and so few steps and seeds say what can happen, not which objective is the better one."
    )
