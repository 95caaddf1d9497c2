"""Whether an iteration under some mode gives the numbers of an eager one.

Both iterations take place at a learning rate of 0: one step of Adam would amplify rounding errors
beyond any tolerance."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmark.train.execution.eager import iterate_eagerly
from benchmark.train.inputs import Inputs
from benchmark.train.optimizers import load_optimizer, make_optimizers

# Largest relative difference between two modes, by precision
TOLERANCE = {"float32": 1e-2, "tf32": 5e-2, "bf16": 0.2}


class Outcome(NamedTuple):
    """What an iteration of S seeds gives."""

    row: Tensor
    """What the iteration returns, (S, 6)."""

    generator: Tensor
    """The gradients that the iteration leaves in the generator, (S, n)."""

    critic: Tensor
    """The gradients that the iteration leaves in the critic, (S, n)."""


def outcome_of(row: Tensor, networks: Sequence[nn.Module], num_seeds: int) -> Outcome:
    """The outcome of an iteration that returned `row` and has left its gradients in the generator
    and the critic, or in their stacks."""
    G, D = networks
    gradients = _gradients(G, num_seeds), _gradients(D, num_seeds)
    return Outcome(row.view(num_seeds, -1), *gradients)


def eager_outcome(
    objective: Any,
    networks: tuple[nn.Module, nn.Module],
    recipe: Any,
    states: list[dict[str, Any]],
    draws: list[Inputs],
    precision: str,
) -> Outcome:
    """The outcome of an eager iteration of one seed, on copies of its networks. states: of its
    optimisers."""
    copies = copy.deepcopy(networks)
    at_rate_zero = replace(recipe, lr=0.0, d_lr=None, g_lr=None)
    optimizers = make_optimizers(at_rate_zero, copies)
    for optimizer, state in zip(optimizers, states, strict=True):
        load_optimizer(optimizer, copy.deepcopy(state))
    row = iterate_eagerly(objective, copies, optimizers, draws, precision)
    return outcome_of(row, copies, 1)


def join_outcomes(outcomes: list[Outcome]) -> Outcome:
    """The outcomes of several seeds as one."""
    return Outcome(*map(torch.cat, zip(*outcomes, strict=True)))


def disagreement(found: Outcome, expected: Outcome, precision: str) -> str:
    """How an outcome differs from the eager one; empty if they agree."""
    limit = TOLERANCE[precision]
    if not torch.allclose(found.row, expected.row, rtol=limit, atol=limit, equal_nan=True):
        return f"an iteration gives {found.row.tolist()}, an eager one {expected.row.tolist()}"
    for name, role in (("generator", "G"), ("critic", "D")):
        ours = getattr(found, name)
        theirs = getattr(expected, name)
        if ours.shape != theirs.shape:
            return f"other weights of {role} have gradients"
        norm = theirs.norm(dim=1).clamp_min(1e-12)
        off = ((ours - theirs).norm(dim=1) / norm).max().item()
        if off > limit:  # not if both are NaN
            return f"the gradient of {role} is off by {off:.2g} of an eager one's norm"
    return ""


def _gradients(network: nn.Module, num_seeds: int) -> Tensor:
    """The gradients of a network, or of a stack, as one vector per seed, (S, n)."""
    parts = []
    for _, parameter in network.named_parameters():
        if parameter.grad is not None:
            parts.append(parameter.grad.detach().reshape(num_seeds, -1))
    return torch.cat(parts, dim=1)


@contextmanager
def rate_zero(optimizers: list[torch.optim.Optimizer]) -> Iterator[None]:
    """Sets the learning rate to 0 during the block. A rate that is a tensor is changed in place: a
    CUDA graph reads the tensor."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    before = [copy.deepcopy(group["lr"]) for group in groups]
    for group in groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].zero_()
        else:
            group["lr"] = 0.0
    try:
        yield
    finally:
        for group, lr in zip(groups, before, strict=True):
            if isinstance(lr, Tensor):
                group["lr"].copy_(lr)
            else:
                group["lr"] = lr
