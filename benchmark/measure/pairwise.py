"""All pairs of two sets of features (n, d), float64: distances and kernels, a block at a time, so
that memory stays small and a block in the cache. On the device they lie on."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

ROWS, COLUMNS = 500, 1000  # of a block on a CPU
ELEMENTS = 2**22  # distances in memory at a time on a CPU, where whole rows are needed
ON_DEVICE = 64  # times as many on another device
GROUP = 64


@dataclass
class Overlap:
    """How generated features lie to real ones."""

    precision: float  # the share of generated ones in a ball about a real one
    recall: float  # the share of real ones in a ball about a generated one
    distance: float  # the median distance of generated ones to their nearest real one


def overlap(fake: Tensor, fake_radii: Tensor, real: Tensor, real_radii: Tensor) -> Overlap:
    """One pass over the distances of all pairs. The balls about fake (n, d) and real (m, d) have
    these radii."""
    fake_square, real_square = fake.square().sum(1), real.square().sum(1)
    # d² = |x|² + |y|² − 2 x·y; of each minimum the term that is the same in all of it is added
    # afterwards
    fake_reach, real_reach = fake_square - fake_radii.square(), real_square - real_radii.square()
    nearest, inside, real_inside = (
        torch.full_like(square, torch.inf) for square in (fake_square, fake_square, real_square)
    )
    scale = ON_DEVICE**0.5 if fake.is_cuda else 1
    rows, columns = (min(int(scale * most), len(x)) for most, x in ((ROWS, fake), (COLUMNS, real)))
    products, sums = fake.new_empty(2, rows * columns)
    for i in (slice(start, start + rows) for start in range(0, len(fake), rows)):
        x = fake[i] * -2
        for j in (slice(start, start + columns) for start in range(0, len(real), columns)):
            shape = len(x), len(real[j])
            product, total = (
                buffer[: shape[0] * shape[1]].view(shape) for buffer in (products, sums)
            )
            multiply(x, real[j].T, out=product)
            for least, term, dim in (
                (nearest[i], real_square[j], 1),
                (inside[i], real_reach[j], 1),
                (real_inside[j], fake_reach[i, None], 0),
            ):
                torch.minimum(least, torch.add(product, term, out=total).amin(dim), out=least)
    return Overlap(
        (inside + fake_square <= 0).double().mean().item(),
        (real_inside + real_square <= 0).double().mean().item(),
        (nearest + fake_square).clamp_min(0).sqrt().median().item(),
    )


def neighbours(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The distances of each of x (n, d) to its k nearest others, nearest first (n, k), and which
    the nearest is (n,).

    The k smallest of a row are in the k groups of columns with the smallest minima: one pass finds
    these."""
    count = max(k, -(-len(x) // GROUP))
    square = x.square().sum(1)
    others, others_square = (
        pad(x, (0, 0, 0, count * GROUP - len(x))),
        pad(square, (0, count * GROUP - len(x)), value=torch.inf),
    )
    rows = max(1, ELEMENTS * (ON_DEVICE if x.is_cuda else 1) // len(others))
    buffer, found, nearest = x.new_empty(rows, len(others)), [], []
    for index in torch.arange(len(x), device=x.device).split(rows):
        distance = multiply(x[index] * -2, others.T, out=buffer[: len(index)])
        distance += others_square
        distance[torch.arange(len(index), device=x.device), index] = torch.inf
        groups = distance.unflatten(1, (count, GROUP))
        best = groups.amin(2).topk(k, largest=False).indices
        columns = (best.unsqueeze(2) * GROUP + torch.arange(GROUP, device=x.device)).flatten(1)
        values, of_columns = distance.gather(1, columns).topk(k, largest=False)
        found.append((values + square[index, None]).clamp_min(0).sqrt())
        nearest.append(columns.gather(1, of_columns[:, :1]).squeeze(1))
    return torch.cat(found), torch.cat(nearest)


def kernel_sums(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Of every subset (subsets,) the sum of the kernel (x·y / d + 1)³ over its pairs: x[rows] with
    y[columns], both (subsets, size). Subsets overlap: where that is less work, the kernel of every
    pair is taken once."""
    (subsets, size), d = rows.shape, x.shape[1]
    if len(x) * len(y) * (d + subsets) >= subsets * size**2 * d:
        found = []
        for i, j in zip(rows, columns, strict=True):
            part = x[i]
            found.append(_kernel(part, part if rows is columns else y[j]).sum())
        return torch.stack(found)
    chosen, others = (torch.zeros(subsets, len(z), dtype=z.dtype, device=z.device) for z in (x, y))
    chosen.scatter_(1, rows, 1), others.scatter_(1, columns, 1)
    parts = torch.arange(len(x), device=x.device).split(ROWS * (ON_DEVICE if x.is_cuda else 1))
    return (sum(multiply(chosen[:, part], _kernel(x[part], y)) for part in parts) * others).sum(1)


def pair_sums(x: Tensor, index: Tensor) -> Tensor:
    """Of every subset x[index] (subsets,) the sum of the kernel over its pairs of two different
    elements."""
    return kernel_sums(x, x, index, index) - (x.square().mean(1) + 1).pow(3)[index].sum(1)


def multiply(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a @ b. On one thread of a CPU by NumPy, whose BLAS runs at up to twice the speed of torch's
    on some processors; on several its pool of threads and torch's would wait for one another."""
    if a.is_cuda or torch.get_num_threads() > 1:
        return torch.mm(a, b, out=out)
    product = np.matmul(a.numpy(), b.numpy(), out=None if out is None else out.numpy())
    return torch.from_numpy(product) if out is None else out


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return multiply(x, y.T).div_(x.shape[1]).add_(1).pow_(3)
