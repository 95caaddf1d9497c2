"""Shared by the experiments: the objectives they compare, critics trained against two given laws,
small runs.

A value names a variant as in a matrix file: {"name": …, parameters}. Every step is the matrix's
own."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import variants
from benchmark.matrix.cell import Choice, stream_seed
from benchmark.matrix.expand import expand
from benchmark.matrix.options import Matrix, validated
from benchmark.matrix.values import choices
from benchmark.train.build import make_objective
from benchmark.train.loop import train
from benchmark.train.snapshot import Snapshot
from benchmark.train.step import critic_step, make_optimizer
from variants.architectures import build, initialise
from variants.objectives import Recipe, norms

Value = dict[str, Any]
Draw = Callable[
    [torch.Generator], tuple[Tensor, Tensor]
]  # a batch of real and of generated samples
ORIGINAL = {"name": "wgan_fdgp", "pairs": "independent"}  # the finite differences first proposed
QUICK = Recipe(
    "adam", lr=1e-2, betas=(0.5, 0.9)
)  # to the optimum of a small critic, its rate decaying to 0


def objectives() -> list[Value]:
    """Every objective in its default form, and the original form of the finite differences."""
    return [{"name": name} for name in variants.names("objectives")] + [ORIGINAL]


def bounding() -> list[Value]:
    """Those of `objectives` that bound the critic's slope: by clipping, a penalty, or a norm of its
    weights."""
    made = [(value, make_objective(choice(value))) for value in objectives()]
    return [value for value, o in made if o.clip or o.per_sample_penalty or o.critic_norm]


def choice(value: Value, axis: str = "objective") -> Choice:
    """What a value stands for."""
    return choices(axis, value)[0][0]


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
    """Train a critic alone, on batches of `draw`; yields the number of steps taken, from 0. decay:
    the rate, by a cosine, to 0."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "batches"))
    optimizer = make_optimizer(recipe, D)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        yield step
        real, fake = draw(generator)
        critic_step(
            objective, nn.Identity(), D, optimizer, real, fake, objective.draw(real, generator)
        )
        if decay:
            schedule.step()
    yield steps


def fit_critic(objective: Any, D: nn.Module, draw: Draw, steps: int) -> None:
    """Train a critic to the optimum of two laws."""
    for _ in train_critic(objective, D, draw, steps, QUICK, decay=True):
        pass


def noised(dataset: str, batch_size: int) -> Draw:
    """Batches of a dataset of points, and the same points with standard normal noise added: the
    held generator of the WGAN-GP toy experiments."""
    data = variants.load("datasets", dataset).Dataset().train()

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        real = data[torch.randint(len(data), (batch_size,), generator=generator)]
        return real, real + torch.randn(real.shape, generator=generator)

    return draw


def slopes_between(D: Any, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    """‖∇D(x̂)‖₂ at random points between real and generated samples, (batch,)."""
    alpha = torch.rand(len(real), *[1] * (real.dim() - 1), generator=generator)
    x = (real + alpha * (fake - real)).requires_grad_()
    return norms(torch.autograd.grad(D(x).sum(), x)[0])


def run(
    value: Value,
    architecture: Value,
    dataset: Value,
    seed: int,
    schedule: list[float],
    **training: Any,
) -> Iterator[Snapshot]:
    """Train one cell of a matrix, without its other stages: its snapshots at the shares of the
    budget."""
    evaluation = {"schedule": schedule, "n": {"images": 750, "points": 2000}, "log_every": 10**9}
    raw = {
        **{
            "objectives": [value],
            "architectures": [architecture],
            "datasets": [dataset],
            "seeds": [seed],
        },
        **{"training": training, "evaluation": {**evaluation, "extractor": "classifier"}},
    }
    (cell,) = expand(validated(Matrix, raw, "explain"))
    return (
        snapshot for snapshot in train(cell, "cpu", execution="eager") if snapshot.evaluation_due
    )


def final(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of every objective's last critic step."""
    return frame[
        frame["critic_steps"] == frame.groupby("objective")["critic_steps"].transform("max")
    ]
