"""Whether a number that is known before an event says that the event comes."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from benchmark.stats.intervals import MIN_SEEDS

RESAMPLES = 2000


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
