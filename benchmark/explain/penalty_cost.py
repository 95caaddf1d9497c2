"""What each form of a gradient penalty costs: time, in turn in one process, and what is kept for
the backward pass.

Other cases run beside it on the other cores, so ratios within a round are given, no times."""

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.explain.setup import choice, make_critic, noised
from benchmark.train.build import make_objective
from benchmark.train.step import critic_gradients

NONE = {"name": "wgan"}  # without its clipping


def cost(
    values: list[dict[str, Any]], depth: int, width: int, compiled: bool
) -> list[dict[str, Any]]:
    """What the critic's loss and its gradients take under every form, in turn: over_none and, where
    it is asked for, over_none_compiled, medians over the rounds of the ratio to no penalty;
    kept_mb. depth: hidden layers."""
    draw, generator = noised("gaussians8", 64), torch.Generator().manual_seed(1)
    real, fake = draw(generator)
    D = make_critic(NONE, (2,), width=width, depth=depth)
    params, buffers = (
        {name: p.detach() for name, p in D.named_parameters()},
        dict(D.named_buffers()),
    )
    rows: list[dict[str, Any]] = []
    contenders: dict[tuple[str, bool], Callable[[], Any]] = {}
    for value in [NONE, *values]:
        label = "none" if value is NONE else choice(value).label
        objective = make_objective(choice(value))
        noise = objective.draw(real, generator)
        contenders[label, False] = partial(eager, objective, D, real, fake, noise)
        rows.append(
            {"form": label, "depth": depth, "kept_mb": kept(objective, D, real, fake, noise)}
        )
        if (
            compiled and value.get("method") != "jvp"
        ):  # compiles, and is then a hundred times slower
            whole = torch.compile(
                critic_gradients(objective, D, "float32"), dynamic=False, fullgraph=True
            )
            contenders[label, True] = partial(whole, params, buffers, real, fake, noise)
    with torch._dynamo.config.patch(recompile_limit=len(contenders)) if compiled else nullcontext():
        times = timed(contenders)
    for row in rows:
        for column, mode in (("over_none", False), ("over_none_compiled", True)):
            own, none = times.get((row["form"], mode), []), times.get(("none", mode), [])
            row[column] = (
                statistics.median(a / b for a, b in zip(own, none, strict=True)) if own else np.nan
            )
    return rows


def timed(
    contenders: dict[tuple[str, bool], Callable[[], Any]],
) -> dict[tuple[str, bool], list[float]]:
    """Seconds of every contender in 30 rounds, one after the other in each, after three to warm
    up."""
    times: dict[tuple[str, bool], list[float]] = {name: [] for name in contenders}
    for turn in range(33):
        for name, contender in contenders.items():
            started = time.perf_counter()
            contender()
            times[name] += [time.perf_counter() - started] if turn > 2 else []
    return times


def eager(objective: Any, D: nn.Module, real: Tensor, fake: Tensor, noise: Any) -> None:
    """The critic's loss and its gradients."""
    torch.autograd.grad(
        objective.d_loss(D, real, fake, noise), list(D.parameters()), allow_unused=True
    )


def kept(objective: Any, D: nn.Module, real: Tensor, fake: Tensor, noise: Any) -> float:
    """MiB that the loss keeps for its backward pass, beside the parameters; every storage once."""
    own, found = {p.data_ptr() for p in D.parameters()}, dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            found[tensor.data_ptr()] = max(found.get(tensor.data_ptr(), 0), tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = objective.d_loss(D, real, fake, noise)
    del loss
    return sum(found.values()) / 2**20
