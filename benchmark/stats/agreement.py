"""Rank agreement of two measurements over seeds at equal times, against chance."""

import itertools
import math
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

LEAST_SEEDS = 3
MOST_PERMUTATIONS = 5040
"""All permutations of up to seven seeds; of more seeds so many random ones."""


class Agreement(NamedTuple):
    """How two measurements of the same runs agree."""

    value: float
    """Rank correlation over the runs at equal times, pooled over the times."""
    low: float
    """The central 95 % of what chance gives, or more, lie from here …"""
    high: float
    """… to here."""
    p: float
    """Two-sided p of the permutation test; exact for up to seven runs."""


def rank_agreement(x: ArrayLike, y: ArrayLike) -> Agreement:
    """Whether x and y rank n runs alike at equal times: x, y (times, n) -> Agreement.

    At every time the runs are ranked by x and by y (ties share a rank), and the correlation of the
    ranks is pooled over the times. What all runs share over time, such as a trend, changes no rank.
    Chance: the x of a run stands against the y of another run, all times of a run together, so that
    neighbouring times need not be independent; the null hypothesis is that x says nothing about
    which run y is of. NaN for fewer than LEAST_SEEDS runs, and where x or y ranks no runs."""
    x, y = _centred_ranks(x), _centred_ranks(y)
    n = x.shape[1]
    size = math.sqrt((x**2).sum() * (y**2).sum())
    if n < LEAST_SEEDS or not size > 0:
        return Agreement(*[math.nan] * 4)
    # products[i, j]: x of run i against y of run j, over all times
    products = x.T @ y
    chance = products[_permutations(n), np.arange(n)].sum(axis=1) / size
    value = np.trace(products) / size
    low = np.quantile(chance, 0.025, method="lower")
    high = np.quantile(chance, 0.975, method="higher")
    # equal values that rounding parts are equal
    p = float((np.abs(chance) >= abs(value) - 1e-9).mean())
    return Agreement(float(value), float(low), float(high), p)


def _centred_ranks(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    ranks = scipy.stats.rankdata(values, axis=1)
    return ranks - ranks.mean(axis=1, keepdims=True)


def _permutations(n: int) -> np.ndarray:
    """Permutations of n runs (permutations, n), the identity among them."""
    if math.factorial(n) <= MOST_PERMUTATIONS:
        return np.array(list(itertools.permutations(range(n))))
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(np.arange(n), (MOST_PERMUTATIONS, 1)), axis=1)
    drawn[0] = np.arange(n)
    return drawn
