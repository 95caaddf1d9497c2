"""What experiments share: the objectives they compare, critics trained alone, small runs.

A value names a variant as in a matrix file: {"name": …, parameters}. Every training step is the one
that a matrix takes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import variants
from benchmark.drawing.style import style, wrap_long
from benchmark.matrix.cell import Cell, Choice, stream_seed
from benchmark.matrix.expand import expand
from benchmark.matrix.options import Matrix, validated
from benchmark.matrix.values import choices
from benchmark.train.build import make_objective
from benchmark.train.loop import train
from benchmark.train.optimizers import make_optimizer
from benchmark.train.snapshot import Snapshot
from benchmark.train.step import critic_step
from variants.architectures import build, initialise
from variants.objectives import Recipe, norms

Value = dict[str, Any]
# draws a batch of real samples and one of generated samples
Draw = Callable[[torch.Generator], tuple[Tensor, Tensor]]
# the finite differences first proposed
ORIGINAL = {"name": "wgan_fdgp", "pairs": "independent"}
# brings a small critic to its optimum; the rate decays to 0
QUICK = Recipe("adam", lr=1e-2, betas=(0.5, 0.9))


def objectives() -> list[Value]:
    """Every objective in its default form, and the original form of the finite differences."""
    return [{"name": name} for name in variants.names("objectives")] + [ORIGINAL]


def bounding() -> list[Value]:
    """The objectives that bound the critic's slope: by clipping, by a penalty, or by a norm of its
    weights."""
    return [value for value in objectives() if _bounds(make_objective(choice(value)))]


def _bounds(objective: Any) -> bool:
    return bool(objective.clip or objective.per_sample_penalty or objective.critic_norm)


def choice(value: Value, axis: str = "objective") -> Choice:
    """The choice that a value names."""
    return choices(axis, value)[0].choice


def label(value: Value) -> str:
    """The label of the objective that a value names."""
    return choice(value).label


def make_critic(value: Value, shape: tuple[int, ...], seed: int = 0, **params: Any) -> nn.Module:
    """The critic of the suite's `mlp` for samples of a shape under an objective, with its initial
    weights."""
    norm = make_objective(choice(value)).critic_norm or "none"
    _, D = build(choice({"name": "mlp", **params}, "architecture"), shape, norm)
    initialise(D, partial(stream_seed, seed, "critic"))
    return D


def train_critic(
    objective: Any,
    D: nn.Module,
    draw: Draw,
    steps: int,
    recipe: Recipe,
    *,
    decay: bool = False,
    seed: int = 0,
) -> Iterator[int]:
    """Train a critic alone on batches of `draw`. Yields the number of steps taken, from 0 on.
    With `decay` the learning rate falls to 0 along a cosine."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "batches"))
    _, lr = recipe.rates
    optimizer = make_optimizer(replace(recipe, lr=lr), D)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        yield step
        real, fake = draw(generator)
        noise = objective.draw(real, generator)
        # the generated samples take the place of latents, and the generator returns them
        critic_step(objective, nn.Identity(), D, optimizer, real, fake, noise)
        if decay:
            schedule.step()
    yield steps


def fit_critic(objective: Any, D: nn.Module, draw: Draw, steps: int) -> None:
    """Train a critic to its optimum for the two distributions that `draw` samples."""
    for _ in train_critic(objective, D, draw, steps, QUICK, decay=True):
        pass


def noised(dataset: str, batch_size: int) -> Draw:
    """Batches of a dataset of points, and the same points plus standard normal noise: the fixed
    generator of the toy experiments in the paper on WGAN-GP."""
    data = variants.load("datasets", dataset).Dataset().train()

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        real = data[torch.randint(len(data), (batch_size,), generator=generator)]
        return real, real + torch.randn(real.shape, generator=generator)

    return draw


def slopes_between(D: Any, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    """‖∇D(x̂)‖₂ at random points between real and generated samples (batch, *shape): (batch,)."""
    alpha = torch.rand(len(real), *[1] * (real.dim() - 1), generator=generator)
    x = (real + alpha * (fake - real)).requires_grad_()
    return norms(torch.autograd.grad(D(x).sum(), x)[0])


def cells(
    value: Value,
    architecture: Value,
    dataset: Value,
    seeds: list[int],
    evaluation: dict[str, Any],
    **training: Any,
) -> list[Cell]:
    """The cells of a matrix of one objective and place, measured on few samples."""
    few = {"n": {"images": 750, "points": 2000}, "log_every": 10**9, "extractor": "classifier"}
    matrix = {
        "objectives": [value],
        "architectures": [architecture],
        "datasets": [dataset],
        "seeds": seeds,
        "training": training,
        "evaluation": few | evaluation,
    }
    return expand(validated(Matrix, matrix, "explain"))


def run(
    value: Value,
    architecture: Value,
    dataset: Value,
    seed: int,
    schedule: list[float],
    **training: Any,
) -> Iterator[Snapshot]:
    """Train one cell of a matrix, without its other stages. Yields its snapshots at the shares of
    the training budget that `schedule` names."""
    evaluation = {"schedule": schedule}
    (cell,) = cells(value, architecture, dataset, [seed], evaluation, **training)
    snapshots = train(cell, "cpu", execution="eager")
    return (snapshot for snapshot in snapshots if snapshot.evaluation_due)


def final(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last critic step of each objective."""
    last = frame.groupby("objective")["critic_steps"].transform("max")
    return frame[frame["critic_steps"] == last]


def draw_by_steps(
    frame: pd.DataFrame, shown: Mapping[str, str], size: tuple[float, float]
) -> tuple[Figure, np.ndarray]:
    """A figure with a panel per column of `shown` (column -> axis label), and the panels: over the
    critic's steps, by objective, the mean over the seeds and a band from the least to the
    greatest."""
    figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(shown))
    for ax, column in zip(axes, shown, strict=True):
        for name, rows in frame.groupby("objective", sort=False):
            seeds = rows.groupby("critic_steps")[column].agg(["mean", "min", "max"])
            look = style(str(name)) | {"markersize": 3}
            band = {"color": look["color"], "alpha": 0.1, "linewidth": 0}
            ax.fill_between(seeds.index, seeds["min"], seeds["max"], **band)
            ax.plot(seeds.index, seeds["mean"], label=wrap_long(str(name)), **look)
        ax.set(xlabel="critic steps", ylabel=shown[column])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure, axes
