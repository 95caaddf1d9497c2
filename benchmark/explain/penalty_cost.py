"""What each form of a gradient penalty costs: time of a critic step, and memory for its backward
pass.

All forms are timed in turn in one process, and results are ratios within a round: other cases run
at the same time on other cores, so absolute times would mean nothing."""

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.explain.setup import choice, label, make_critic, noised
from benchmark.train.build import make_objective
from benchmark.train.step import critic_gradients

NONE = {"name": "wgan"}  # no penalty; its clipping is not part of what is timed
ROUNDS = 30
WARM_UP = 3  # rounds that are not counted


class Contender(NamedTuple):
    """A form of the penalty in one execution."""

    form: str
    compiled: bool


class Batch(NamedTuple):
    """What a critic step is computed on."""

    D: nn.Module
    real: Tensor
    fake: Tensor


def cost(
    values: list[dict[str, Any]], depth: int, width: int, compiled: bool
) -> list[dict[str, Any]]:
    """The critic's loss and its gradients under every form, for a critic of `depth` hidden layers.

    A row for each form, the first for no penalty: over_none and, if `compiled`, over_none_compiled,
    the median over the rounds of the time ratio to no penalty; kept_mb, see `kept`."""
    draw = noised("gaussians8", 64)
    generator = torch.Generator().manual_seed(1)
    real, fake = draw(generator)
    batch = Batch(make_critic(NONE, (2,), width=width, depth=depth), real, fake)
    rows: list[dict[str, Any]] = []
    calls: dict[Contender, Callable[[], Any]] = {}
    for value in [NONE, *values]:
        form = "none" if value is NONE else label(value)
        objective = make_objective(choice(value))
        noise = objective.draw(real, generator)
        rows.append({"form": form, "depth": depth, "kept_mb": kept(objective, batch, noise)})
        calls[Contender(form, False)] = partial(eager, objective, batch, noise)
        if compiled:
            calls[Contender(form, True)] = whole(objective, batch, noise)
    with torch._dynamo.config.patch(recompile_limit=len(calls)) if compiled else nullcontext():
        times = timed(calls)
    for row in rows:
        row["over_none"] = over_none(times, row["form"], compiled=False)
        row["over_none_compiled"] = over_none(times, row["form"], compiled=True)
    return rows


def timed(calls: dict[Contender, Callable[[], Any]]) -> dict[Contender, list[float]]:
    """Seconds of each contender in ROUNDS rounds. In a round they run one after the other."""
    times: dict[Contender, list[float]] = {name: [] for name in calls}
    for turn in range(WARM_UP + ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds = time.perf_counter() - started
            if turn >= WARM_UP:
                times[name].append(seconds)
    return times


def over_none(times: dict[Contender, list[float]], form: str, *, compiled: bool) -> float:
    """The median over the rounds of a form's time over that of no penalty; NaN if it was not
    timed."""
    seconds = times.get(Contender(form, compiled), [])
    if not seconds:
        return np.nan
    reference = times[Contender("none", compiled)]
    return statistics.median(a / b for a, b in zip(seconds, reference, strict=True))


def eager(objective: Any, batch: Batch, noise: Any) -> None:
    """The critic's loss and its gradients."""
    loss = objective.d_loss(batch.D, batch.real, batch.fake, noise)
    torch.autograd.grad(loss, list(batch.D.parameters()), allow_unused=True)


def whole(objective: Any, batch: Batch, noise: Any) -> Callable[[], Any]:
    """The critic's loss and its gradients as one compiled function."""
    params = {name: p.detach() for name, p in batch.D.named_parameters()}
    buffers = dict(batch.D.named_buffers())
    gradients = critic_gradients(objective, batch.D, "float32")
    compiled = torch.compile(gradients, dynamic=False, fullgraph=True)
    return partial(compiled, params, buffers, batch.real, batch.fake, noise)


def kept(objective: Any, batch: Batch, noise: Any) -> float:
    """MiB that the loss keeps for its backward pass, besides the parameters. A storage that is kept
    several times counts once."""
    parameters = {p.data_ptr() for p in batch.D.parameters()}
    sizes: dict[int, int] = {}  # bytes by address

    def pack(tensor: Tensor) -> Tensor:
        address = tensor.data_ptr()
        if address not in parameters:
            sizes[address] = max(sizes.get(address, 0), tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = objective.d_loss(batch.D, batch.real, batch.fake, noise)
    del loss
    return sum(sizes.values()) / 2**20
