"""Activation checkpointing: blocks that keep none of their activations for the backward pass, which
computes them again."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Recomputed(nn.Sequential):
    """The same blocks under the same names. The numbers are those of the blocks, because a block
    that is computed again draws and normalises as it did before."""

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            contexts = partial(_contexts, block)
            x = checkpoint(block, x, use_reentrant=False, context_fn=contexts)
        return x


def recompute_blocks(network: nn.Module) -> None:
    """Let the blocks of a network be computed again: `network.blocks`, an nn.Sequential. Raises
    ValueError for a network that has none."""
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, nn.Sequential):
        raise ValueError(
            "training.recompute needs networks of `blocks`, such as resnet or resnet101"
        )
    network.blocks = Recomputed(*blocks)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """What surrounds a block: nothing at first, then its buffers as they are now."""
    return nullcontext(), _Before(block)


class _Before:
    """Inside, the buffers of a block are as they were when this was made: moving averages and the
    vectors of spectral norm change with every pass. A double backward enters twice."""

    def __init__(self, block: nn.Module) -> None:
        self.buffers = list(block.buffers())
        self.before = [buffer.clone() for buffer in self.buffers]

    def __enter__(self) -> None:
        self.now = [buffer.clone() for buffer in self.buffers]
        _fill(self.buffers, self.before)

    def __exit__(self, *error: object) -> None:
        _fill(self.buffers, self.now)


@torch.no_grad()
def _fill(buffers: list[Tensor], values: list[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)
