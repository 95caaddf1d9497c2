"""The memory that a training takes, before anything of it is allocated: its steps on torch's fake
tensors, which have shapes and no values."""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmark.matrix.cell import Cell
from benchmark.matrix.pairs import networks
from benchmark.train.build import make_networks, make_objective, make_recipe
from benchmark.train.optimizers import make_optimizer
from benchmark.train.step import critic_step, generator_step


def step_memory(cell: Cell) -> int:
    """Peak bytes of the tensors that exist during an eager iteration of a cell: weights, gradients,
    moments of the optimisers, the batch, and what the backward passes need.

    Not counted are the dataset, what a library takes for a convolution or a product, and what an
    allocator keeps or cannot use."""
    options, recipe = cell.training, make_recipe(cell)
    objective = make_objective(cell.objective)
    shape = networks(cell.architecture, cell.dataset, cell.norm).shape
    with FakeTensorMode(allow_non_fake_inputs=True), _LiveBytes() as live:
        G, D = make_networks(cell, shape)
        optimizers = [make_optimizer(recipe, network) for network in (G, D)]
        for network, optimizer in zip((G, D), optimizers, strict=True):
            _make_moments(network, optimizer)
        real = torch.empty(options.batch_size, *shape)
        z = torch.empty(options.batch_size, G.latent_dim)
        noise = objective.draw(real)
        critic_step(objective, G, D, optimizers[1], real, z, noise, options.precision)
        z = z.repeat(options.generator_batch_multiple, 1)
        generator_step(objective, G, D, optimizers[0], real, z, noise, options.precision)
    average = sum(weight.nbytes for weight in G.state_dict().values()) if options.ema else 0
    return live.peak + average


def forward_memory(cell: Cell) -> int:
    """Bytes of all tensors that one pass through both networks makes: what `step_memory` is a small
    multiple of, in a moment."""
    pair = networks(cell.architecture, cell.dataset, cell.norm)
    z = torch.empty(cell.training.batch_size, pair.generator.latent_dim, device="meta")
    with _LiveBytes() as live, torch.no_grad():
        pair.critic(pair.generator(z))
    return live.total


def _make_moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Those of an optimiser that has taken a step."""
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that operations have made and that still exist."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.total = 0
        self.known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self.known:
            return
        self.known.add(storage)
        size = storage.nbytes()
        weakref.finalize(storage, self._free, size)
        self.now += size
        self.total += size
        self.peak = max(self.peak, self.now)

    def _free(self, size: int) -> None:
        self.now -= size
