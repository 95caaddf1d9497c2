"""Mann and Whitney's test (1947), one-sided, for the gate: exact with ties where that is quick.

Its null hypothesis is that both samples have one law, which is what a rerun of unchanged code has.
It is no test of a difference between variants: see comparisons.py. A run that diverged is ±inf, the
worst value, and has a rank."""

import functools
import math
from bisect import bisect_left

import numpy as np
import scipy
from numpy.typing import ArrayLike

from benchmark.stats.intervals import Array

# Additions up to which a p is exact: 70 seeds against 70, or 5 against 300. The counts of the ways
# stay far below the largest float, and the normal law is close beyond.
MAX_ADDITIONS = 10**8


def p_larger(x: ArrayLike, y: ArrayLike) -> float:
    """The one-sided Mann–Whitney p that x (n,) is not larger than y (m,), with ties.

    Up to MAX_ADDITIONS it is exact: the share of all ways to draw n of the pooled mid-ranks whose
    sum is at least the sum of x's. (SciPy's exact p ignores ties, and is NaN for hundreds of
    values.) Beyond, it is the normal law with the variance of the tied ranks and with the
    correction for continuity. Raises ValueError where a side has no value, and for NaN."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if not len(x) or not len(y) or np.isnan([*x, *y]).any():
        raise ValueError("p_larger: each side needs a value, and none may be NaN")
    if len(y) < len(x):
        # the same p, by the smaller side
        x, y = -y, -x
    ranks = _mid_ranks(np.concatenate([x, y]))
    # twice a mid-rank is a whole number
    whole = (2 * ranks if (ranks % 1).any() else ranks).astype(int)
    if len(x) * len(ranks) * whole.sum() > MAX_ADDITIONS:
        return _p_normal(ranks, len(x))
    at_least = _at_least(tuple(np.sort(whole).tolist()), len(x))
    return float(at_least[whole[: len(x)].sum()])


def shift_bound(x: ArrayLike, y: ArrayLike, level: float) -> float:
    """The one-sided lower confidence bound, at 1 − `level`, of the shift of x (n,) over y (m,).

    It is the greatest difference of a pair up to which `p_larger` of x minus the shift is at most
    `level`; −∞ where so few values have none. The bound is above 0 where `p_larger` of x itself is
    at most `level`, else it is 0 or below (with ties at 0 it may be 0 in either case)."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    edges = np.unique([*np.subtract.outer(x, y).ravel(), 0.0])
    # a shift just below each edge
    below = [edges[0] - 1, *(edges[1:] + edges[:-1]) / 2]

    def is_possible(i: int) -> bool:
        return p_larger(x - below[i], y) > level

    zero = int(np.searchsorted(edges, 0.0))
    is_above_zero = p_larger(x, y) <= level
    candidates = range(zero + 1, len(edges)) if is_above_zero else range(zero + 1)
    first = candidates.start + bisect_left(candidates, True, key=is_possible)
    return float(edges[first - 1]) if first else -np.inf


def _mid_ranks(values: Array) -> Array:
    """The ranks of values (n,), from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


@functools.lru_cache(maxsize=64)
def _at_least(ranks: tuple[int, ...], n: int) -> Array:
    """The share of all ways to draw n of these ranks whose sum is at least s, for every s."""
    # ways[number of ranks drawn, their sum]
    ways = np.zeros((n + 1, sum(ranks) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank]
    at_least = np.cumsum(ways[-1, ::-1])[::-1]
    return at_least / at_least[0]


def _p_normal(ranks: Array, n: int) -> float:
    """P(sum of n drawn ranks ≥ the sum of the first n ranks), by the normal law."""
    total = len(ranks)
    excess = ranks[:n].sum() - n * ranks.mean() - 0.5
    variance = n * (total - n) / (total * (total - 1)) * ((ranks - ranks.mean()) ** 2).sum()
    if variance == 0:
        # all values are equal
        return 1.0
    return float(scipy.special.ndtr(-excess / math.sqrt(variance)))
