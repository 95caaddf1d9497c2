"""Distances and kernels of all pairs of two sets of features (n, d), float64, on the device that
the features are on.

A block of pairs is computed at a time: memory stays small, and a block stays in a CPU's cache."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

# of a block on a CPU
ROWS = 500
COLUMNS = 1000

ELEMENTS = 2**22  # distances in memory at a time on a CPU, where whole rows are needed
ON_DEVICE = 64  # times as many on another device
GROUP = 64


@dataclass
class Overlap:
    """How n generated features overlap with m real ones."""

    precision: float  # the share of generated features in a ball around a real one
    recall: float  # the share of real features in a ball around a generated one
    distance: float  # the median distance of generated features to their nearest real one
    num_balls: Tensor  # in how many clipped balls around real features each generated one is (n,)
    num_inside: Tensor  # how many generated features are in the wide ball of each real one (m,)


class Balls(NamedTuple):
    """The radii of the balls around m real features, (m,) each."""

    radii: Tensor  # of precision
    wide: Tensor  # of clipped coverage
    clipped: Tensor  # of clipped density

    def to(self, device: str) -> "Balls":
        return Balls(*(radii.to(device) for radii in self))


class Neighbours(NamedTuple):
    """The nearest other elements of each of n elements."""

    distances: Tensor  # to the k nearest, the nearest first (n, k)
    indices: Tensor  # of the k nearest (n, k)


def overlap(fake: Tensor, fake_radii: Tensor, real: Tensor, balls: Balls) -> Overlap:
    """How fake (n, d) and real (m, d) overlap, from one pass over the distances of all pairs. The
    balls around fake have the radii (n,).

    d² = |x|² + |y|² − 2 x·y. A term that is the same in all of a minimum is added after it."""
    fake_square = fake.square().sum(1)
    real_square = real.square().sum(1)
    fake_reach = fake_square - fake_radii.square()
    real_reach = real_square - balls.radii.square()
    clipped_reach = real_square - balls.clipped.square()
    wide_reach = balls.wide.square() - real_square
    nearest = torch.full_like(fake_square, torch.inf)
    inside = torch.full_like(fake_square, torch.inf)
    real_inside = torch.full_like(real_square, torch.inf)
    num_balls = torch.zeros_like(fake_square)
    num_inside = torch.zeros_like(real_square)
    scale = ON_DEVICE**0.5 if fake.is_cuda else 1
    rows = min(int(scale * ROWS), len(fake))
    columns = min(int(scale * COLUMNS), len(real))
    products, sums = fake.new_empty(2, rows * columns)
    for i in _blocks(len(fake), rows):
        x = fake[i] * -2
        for j in _blocks(len(real), columns):
            y = real[j].T
            size = len(x) * y.shape[1]
            product = products[:size].view(len(x), -1)
            total = sums[:size].view(len(x), -1)
            multiply(x, y, out=product)
            for minimum, term, dim in (
                (nearest[i], real_square[j], 1),
                (inside[i], real_reach[j], 1),
                (real_inside[j], fake_reach[i, None], 0),
            ):
                torch.add(product, term, out=total)
                torch.minimum(minimum, total.amin(dim), out=minimum)
            torch.add(product, clipped_reach[j], out=total)
            num_balls[i] += (total <= -fake_square[i, None]).sum(1)
            torch.add(product, fake_square[i, None], out=total)
            num_inside[j] += (total < wide_reach[j]).sum(0)
    return Overlap(
        precision=(inside + fake_square <= 0).double().mean().item(),
        recall=(real_inside + real_square <= 0).double().mean().item(),
        distance=(nearest + fake_square).clamp_min(0).sqrt().median().item(),
        num_balls=num_balls,
        num_inside=num_inside,
    )


def neighbours(x: Tensor, k: int) -> Neighbours:
    """The k nearest others of each of x (n, d).

    The k smallest distances of a row are in the k groups of columns with the smallest minima: one
    pass over a row finds these groups."""
    count = max(k, -(-len(x) // GROUP))
    missing = count * GROUP - len(x)
    square = x.square().sum(1)
    others = pad(x, (0, 0, 0, missing))
    others_square = pad(square, (0, missing), value=torch.inf)
    scale = ON_DEVICE if x.is_cuda else 1
    rows = max(1, ELEMENTS * scale // len(others))
    buffer = x.new_empty(rows, len(others))
    within_group = torch.arange(GROUP, device=x.device)
    distances = []
    indices = []
    for index in torch.arange(len(x), device=x.device).split(rows):
        distance = multiply(x[index] * -2, others.T, out=buffer[: len(index)])
        distance += others_square
        distance[torch.arange(len(index), device=x.device), index] = torch.inf
        groups = distance.unflatten(1, (count, GROUP))
        best = groups.amin(2).topk(k, largest=False).indices
        columns = (best.unsqueeze(2) * GROUP + within_group).flatten(1)
        smallest = distance.gather(1, columns).topk(k, largest=False)
        distances.append((smallest.values + square[index, None]).clamp_min(0).sqrt())
        indices.append(columns.gather(1, smallest.indices))
    return Neighbours(torch.cat(distances), torch.cat(indices))


def kernel_sums(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The sum of the kernel (x·y / d + 1)³ over the pairs of every subset, (subsets,): x[rows] with
    y[columns], both (subsets, size).

    Subsets overlap: where that is less work, the kernel of every pair is computed once."""
    subsets, size = rows.shape
    d = x.shape[1]
    work_once = len(x) * len(y) * (d + subsets)
    if work_once >= subsets * size**2 * d:
        return _sums_by_subset(x, y, rows, columns)
    chosen = _membership(rows, x)
    others = _membership(columns, y)
    scale = ON_DEVICE if x.is_cuda else 1
    sums = torch.zeros_like(others)
    for part in torch.arange(len(x), device=x.device).split(ROWS * scale):
        sums += multiply(chosen[:, part], _kernel(x[part], y))
    return (sums * others).sum(1)


def _sums_by_subset(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    sums = []
    for i, j in zip(rows, columns, strict=True):
        left = x[i]
        # of a set with itself the same tensor: NumPy then computes only half of the products
        right = left if rows is columns else y[j]
        sums.append(_kernel(left, right).sum())
    return torch.stack(sums)


def _membership(index: Tensor, x: Tensor) -> Tensor:
    """1 where an element is in a subset, else 0: (subsets, n) from indices (subsets, size)."""
    members = torch.zeros(len(index), len(x), dtype=x.dtype, device=x.device)
    return members.scatter_(1, index, 1)


def _blocks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, start + size)


def pair_sums(x: Tensor, index: Tensor) -> Tensor:
    """The sum of the kernel over the pairs of two different elements of every subset x[index],
    (subsets,)."""
    return kernel_sums(x, x, index, index) - (x.square().mean(1) + 1).pow(3)[index].sum(1)


def multiply(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a @ b. On one thread of a CPU by NumPy, whose BLAS runs at up to twice the speed of torch's
    on some processors; on several threads NumPy's pool and torch's would wait for each other."""
    if a.is_cuda or torch.get_num_threads() > 1:
        return torch.mm(a, b, out=out)
    if out is None:
        return torch.from_numpy(np.matmul(a.numpy(), b.numpy()))
    np.matmul(a.numpy(), b.numpy(), out=out.numpy())
    return out


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return multiply(x, y.T).div_(x.shape[1]).add_(1).pow_(3)
