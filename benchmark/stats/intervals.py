"""Medians and shares over training seeds, with exact intervals, and the order of variants.

All functions are pure functions on arrays. The unit is the training seed, on the last axis. A run
that diverged is ±inf, the worst value, and counts like any other. NaN is a hole, a run that is
missing. Fewer than five seeds have no interval.

No interval here assumes a law of the values: each holds for skewed, bimodal and tied ones.

Sources: Conover 1999, Practical nonparametric statistics, §3.1 and §3.2, for the interval of a
share (Clopper & Pearson 1934) and of a median (Thompson 1936)."""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

MIN_SEEDS = 5
NORMAL_QUARTILE = 0.6744897501960817  # of the standard normal law, the upper one


class Share(NamedTuple):
    """A share of the seeds and its interval; NaN for what is not known."""

    share: float
    low: float
    high: float


def median(values: ArrayLike) -> Array:
    """The median over the last axis: (..., n) -> (...); NaN for no values.

    Of an even number of seeds it is the mean of the two in the middle, inf where one of them is."""
    values = np.asarray(values, dtype=float)
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)[()]
    # inf - inf: a median between -inf and inf
    with np.errstate(invalid="ignore"):
        return np.median(values, axis=-1)


def median_interval(values: ArrayLike, level: float = 0.95) -> Array:
    """The exact interval of the median, from two order statistics: (..., n) -> (2, ...), low, high.

    The narrowest symmetric pair of order statistics that covers the median at `level` or more,
    whatever the law of the values; `coverage` gives the probability. At five seeds no pair covers
    95 %: the interval runs from the least to the greatest value, which covers 93.75 %. NaN below
    five seeds. Raises ValueError for NaN."""
    values = np.asarray(values, dtype=float)
    if np.isnan(values).any():
        raise ValueError("median_interval: a value is NaN (a hole); leave that seed out")
    n = values.shape[-1]
    if n < MIN_SEEDS:
        return np.full((2, *values.shape[:-1]), np.nan)
    rank = _rank(n, level)
    ordered = np.sort(values, axis=-1)
    return np.stack([ordered[..., rank - 1], ordered[..., n - rank]])


def coverage(n: int, level: float = 0.95) -> float:
    """The least probability with which `median_interval` of n seeds covers the median."""
    return 1 - 2 * at_most(_rank(n, level) - 1, n)


@functools.cache
def _rank(n: int, level: float) -> int:
    """The rank of the lower end, 1 being the least value."""
    ways = itertools.accumulate(math.comb(n, i) for i in range(n // 2))
    return max(1, sum(2 * outside / 2**n <= 1 - level for outside in ways))


def at_most(successes: int, n: int) -> float:
    """The probability of so many successes or fewer in n fair trials, exact."""
    return sum(math.comb(n, i) for i in range(successes + 1)) / 2**n


def median_by_group(values: ArrayLike, group: ArrayLike, groups: int) -> Array:
    """Median, low and high of each group: values (n,), group numbers (n,) -> (groups, 3).

    `groups` is the number of groups. NaN values are left out. A group without a value has NaN, a
    group with fewer than five has no interval."""
    values = np.asarray(values, dtype=float)
    group = np.asarray(group)
    kept = np.flatnonzero(~np.isnan(values))
    kept = kept[np.argsort(group[kept], kind="stable")]
    sizes = np.bincount(group[kept], minlength=groups)
    start = np.cumsum(sizes) - sizes
    estimates = np.full((groups, 3), np.nan)
    for n in np.unique(sizes[sizes > 0]):
        rows = np.flatnonzero(sizes == n)
        block = values[kept][start[rows, None] + np.arange(n)]
        estimates[rows] = np.column_stack([median(block), *median_interval(block)])
    return estimates


def share_interval(successes: int, n: int, ties: int = 0, level: float = 0.95) -> Share:
    """A share of n seeds, a tie being half a success, with its exact interval.

    Clopper & Pearson's interval (1934): the lower end takes ties for failures, the upper end takes
    them for successes, so that it covers P(success) + ½ P(tie) at `level` or more. NaN for no
    seeds; no interval below five."""
    if n == 0:
        return Share(np.nan, np.nan, np.nan)
    share = (successes + ties / 2) / n
    if n < MIN_SEEDS:
        return Share(share, np.nan, np.nan)
    tail = (1 - level) / 2
    most = successes + ties
    low, high = 0.0, 1.0
    if successes:
        low = float(scipy.special.betaincinv(successes, n - successes + 1, tail))
    if most < n:
        high = float(scipy.special.betainccinv(most + 1, n - most, tail))
    return Share(share, low, high)


def best_first(values: Array) -> Index:
    """The order of rows: (rows, seeds), low is good, inf diverged, NaN a hole -> (rows,).

    By median, a diverged seed being the worst value. Where several medians are infinite, the row
    with fewer diverged seeds comes first, then the one whose other seeds are better. A row without
    a value is last."""
    levels = [median(row[~np.isnan(row)]) for row in values]
    others = [median(row[np.isfinite(row)]) for row in values]
    # stable; the last key counts first
    return np.lexsort((others, np.isinf(values).sum(axis=1), levels))


def robust_spread(values: ArrayLike) -> float:
    """1.4826 · median |x − median(x)|: (n,) -> float.

    The standard deviation for a normal sample, insensitive to outliers."""
    values = np.asarray(values, dtype=float)
    deviations = np.abs(values - np.median(values))
    return float(np.median(deviations) / NORMAL_QUARTILE)
