"""How two measurements of the same runs agree in rank at equal times, against chance; and whether
a score that is known before an event says that the event comes."""

import itertools
import math
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from benchmark.stats.intervals import MIN_SEEDS

LEAST_SEEDS = 3
MOST_PERMUTATIONS = 5040
"""All permutations of up to seven seeds; of more seeds so many random ones."""
RESAMPLES = 2000  # of the bootstrap


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


class Prediction(NamedTuple):
    """How a score predicts an event."""

    auc: float
    """The share of pairs of a run with the event and a run of its group without it in which the
    first one has the higher score, a tie being half; ½ is chance. NaN without a pair."""
    low: float
    """Its 95 % interval from here …"""
    high: float
    """… to here; NaN below MIN_SEEDS runs on one of the sides."""
    num_events: int
    """Runs with the event that are in a pair."""
    num_others: int
    """Runs without it that are in a pair."""


def prediction(scores: ArrayLike, events: ArrayLike, groups: ArrayLike) -> Prediction:
    """Scores (n,), whether the event came (n,), and the group of each run (n,) -> Prediction.

    Only runs of one group are compared, so that what groups have in common predicts nothing. The
    interval is a percentile bootstrap: in every group the runs with and without the event are drawn
    again, each with replacement. Raises ValueError for a score that is NaN."""
    scores = np.asarray(scores, dtype=float)
    events = np.asarray(events, dtype=bool)
    groups = np.asarray(groups)
    if np.isnan(scores).any():
        raise ValueError("prediction: a score is NaN; leave that run out")
    rng = np.random.default_rng(0)
    wins = 0.0
    drawn_wins = np.zeros(RESAMPLES)
    num_pairs = num_events = num_others = 0
    for group in np.unique(groups):
        of_events = scores[events & (groups == group)]
        of_others = scores[~events & (groups == group)]
        if not len(of_events) or not len(of_others):
            continue
        higher = (1 + np.sign(of_events[:, None] - of_others)) / 2
        wins += higher.sum()
        num_pairs += higher.size
        num_events += len(of_events)
        num_others += len(of_others)
        drawn_events = _times_drawn(rng, len(of_events))
        drawn_others = _times_drawn(rng, len(of_others))
        drawn_wins += np.einsum("re,eo,ro->r", drawn_events, higher, drawn_others)
    if not num_pairs:
        return Prediction(math.nan, math.nan, math.nan, 0, 0)
    low = high = math.nan
    if min(num_events, num_others) >= MIN_SEEDS:
        low, high = np.quantile(drawn_wins / num_pairs, [0.025, 0.975])
    return Prediction(wins / num_pairs, float(low), float(high), num_events, num_others)


def _times_drawn(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each of n is drawn in n draws, (RESAMPLES, n)."""
    return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
