"""The memory that a training takes, before anything of it is allocated: its steps on torch's fake
tensors, which have shapes and no values."""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmark.errors import UserError
from benchmark.machine.limits import total_memory
from benchmark.matrix.cell import Cell
from benchmark.matrix.pairs import networks
from benchmark.store.clocks import group_of
from benchmark.train.build import make_networks, make_objective, make_recipe
from benchmark.train.flops import is_deep
from benchmark.train.optimizers import make_optimizers
from benchmark.train.step import critic_step, generator_step

# A training step holds at once at most so many times what one pass through both networks makes
MOST_PASSES = 20


def step_memory(cell: Cell) -> int:
    """Peak bytes of the tensors that exist during an eager iteration of a cell: weights, gradients,
    moments of the optimisers, the batch, and what the backward passes need.

    Not counted are the dataset, what a library takes for a convolution or a product, and what an
    allocator keeps or cannot use."""
    options, recipe = cell.training, make_recipe(cell)
    objective = make_objective(cell.objective)
    shape = networks(cell.architecture, cell.dataset, cell.norm).shape
    with FakeTensorMode(allow_non_fake_inputs=True), _LiveBytes() as live:
        G: Any
        G, D = make_networks(cell, shape)
        optimizers = make_optimizers(recipe, (G, D))
        for network, optimizer in zip((G, D), optimizers, strict=True):
            _make_moments(network, optimizer)
        real = torch.empty(options.batch_size, *shape)
        z = torch.empty(options.batch_size, G.latent_dim)
        noise = objective.draw(real)
        by_term = objective.has_terms and is_deep(D, real)
        critic_step(
            objective, G, D, optimizers[1], real, z, noise, options.precision, by_term=by_term
        )
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


def check_fit(cells: Iterable[Cell], device: str) -> None:
    """Raise UserError for a cell whose training step does not fit into the memory of a device,
    before anything of it is allocated."""
    total = total_memory(device)
    for cell in _one_per_group(cells):
        if total is None or MOST_PASSES * forward_memory(cell) < total:
            continue
        needed = _needed(cell)
        if needed is not None and needed > total:
            raise UserError(
                f"{_described(cell)} needs at least {_gib(needed)} of memory, and {device} has "
                f"{_gib(total)}; {_remedy(cell)}"
            )


def memory_lines(cells: Iterable[Cell]) -> list[str]:
    """What a training step of every group of cells takes at least, a line each."""
    lines = []
    for cell in _one_per_group(cells):
        needed = _needed(cell)
        amount = "an unknown amount" if needed is None else f"about {_gib(needed)}"
        lines.append(f"memory: {_described(cell)} needs {amount}")
    return lines


def _needed(cell: Cell) -> int | None:
    """The memory of a training step; None for a variant that does what tensors without values
    cannot do."""
    try:
        return step_memory(cell)
    except Exception:
        return None


def _one_per_group(cells: Iterable[Cell]) -> list[Cell]:
    """One cell of those that differ in the seed alone."""
    groups: dict[str, Cell] = {}
    for cell in cells:
        groups.setdefault(group_of(cell.spec), cell)
    return list(groups.values())


def _described(cell: Cell) -> str:
    return (
        f"{cell.objective.label} on {cell.architecture.label} x {cell.dataset.label}, batches of "
        f"{cell.training.batch_size:,},"
    )


def _remedy(cell: Cell) -> str:
    smaller = "use a smaller training.batch_size or width"
    has_blocks = hasattr(networks(cell.architecture, cell.dataset, cell.norm).critic, "blocks")
    if has_blocks and not cell.training.recompute:
        return f"set training.recompute = true, which takes less memory and more time, or {smaller}"
    return smaller


def _gib(num_bytes: int) -> str:
    if num_bytes < 2**30:
        return f"{num_bytes / 2**20:,.3g} MiB"
    return f"{num_bytes / 2**30:,.4g} GiB"


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
