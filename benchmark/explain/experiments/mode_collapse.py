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

from statistics import mean
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmark.explain.setup import choice, draw_by_steps, final, label, objectives, run
from benchmark.measure.points import MODE_SHARE
from benchmark.train.build import make_objective
from variants import load

ANSWER = (
    "Minimax, non-saturating and least-squares generators leave modes out; the others come "
    "near all of them, but after so few steps hit none."
)
CAPTION = (
    "Modes of eight over the critic's steps, mean over the seeds and a band from the least to the "
    "greatest: covered (samples within 3 σ of it), reached (samples nearest to it); right the "
    "share of samples within 3 σ of any mode. Reached falling while quality rises is mode "
    "collapse."
)
DATASET = "gaussians8"
# column -> axis label
SHOWN = {
    "covered": "modes covered",
    "reached": "modes reached",
    "quality": "share of samples within 3 σ",
}
NAMED = ("minimax", "nonsaturating", "lsgan", "wgan", "wgan_gp", "wgan_fdgp")  # in the finding


def cases(full: bool) -> list[dict[str, Any]]:
    size = {"critic_steps": 4500, "width": 64}
    if full:
        size = {"critic_steps": 35_000, "width": 128, "batch_size": 512}
    found = []
    for value in objectives():
        for seed in range(10 if full else 3):
            found.append({"value": value, "seed": seed, **size})
    return found


def measure(
    value: dict[str, Any], seed: int, critic_steps: int, width: int, batch_size: int = 64
) -> pd.DataFrame:
    """One row per tenth of the run: objective, seed, critic_steps, g_steps, reached, covered,
    quality."""
    modes = load("datasets", DATASET).Dataset().modes()
    mlp = {"name": "mlp", "width": width, "depth": 2, "latent_dim": 256, "activation": "tanh"}
    g_steps = critic_steps // make_objective(choice(value)).d_steps(1)
    tenths = [tenth / 10 for tenth in range(11)]
    training = {"steps": g_steps, "batch_size": batch_size}
    rows = []
    for snapshot in run({**value, "lr": 1e-3}, mlp, {"name": DATASET}, seed, tenths, **training):
        row = {
            "objective": label(value),
            "seed": seed,
            "critic_steps": snapshot.samples_seen // batch_size,
            "g_steps": snapshot.g_steps,
        }
        rows.append(row | modes_of(snapshot.sample(2000), modes))
    return pd.DataFrame(rows)


def modes_of(samples: Tensor, modes: Any) -> dict[str, float]:
    """reached, covered, quality of samples (n, 2): see CAPTION."""
    distance, nearest = torch.cdist(samples, modes.centres).min(dim=1)
    near = distance <= 3 * modes.sigma
    due = MODE_SHARE * len(samples) / len(modes.centres)
    return {
        "reached": int((torch.bincount(nearest) >= due).sum()),
        "covered": int((torch.bincount(nearest[near]) >= due).sum()),
        "quality": near.float().mean().item(),
    }


def draw(frame: pd.DataFrame) -> Figure:
    return draw_by_steps(frame, SHOWN, (13, 4.4))[0]


def finding(frame: pd.DataFrame) -> str:
    last = final(frame)
    covered = _by_objective(last, "covered")
    reached = _by_objective(last, "reached")
    quality = _by_objective(last, "quality")
    sharp = [name for name, shares in quality.items() if mean(shares) > 0.25]
    lost = [name for name in sharp if mean(covered[name]) < 7.5]
    near_all = [name for name, modes in reached.items() if mean(modes) >= 7]
    blurred = [name for name in near_all if name not in sharp]
    named = [f"{name} {_span(covered[name])}" for name in NAMED]
    g_steps = last.groupby("objective")["g_steps"].max()
    slower = [name for name in blurred if g_steps[name] < g_steps.max()]
    return (
        f"Modes covered of eight over {frame['seed'].nunique()} seeds: {_list(named)}; samples lie "
        f"on modes under {_list(sharp)}, and modes are left out under {_list(lost)}. Under "
        f"{_list(blurred)} samples lie near seven modes or more, hardly any within 3 σ of one. At "
        f"equal critic steps {_list(slower)} have taken fewer generator steps than the others, and "
        "so few steps and seeds say what can happen, not which objective is the better one."
    )


def _by_objective(frame: pd.DataFrame, column: str) -> dict[str, list[float]]:
    """The values of a column, one per seed, by objective."""
    groups = frame.groupby("objective", sort=False)[column]
    return {str(name): list(values) for name, values in groups}


def _span(modes: list[float]) -> str:
    """`3`, or `3 to 5`."""
    return " to ".join(map(str, sorted({min(modes), max(modes)})))


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
