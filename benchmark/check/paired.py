"""Paired differences of the seeds that a rerun shares with its baseline: is it worse?

A rerun on the same seed begins with the same weights and batches, so that the two runs correlate,
and differ by less than two seeds do. Sign flips of five seeds reach 1/32 only; five differences
alone say little about their own spread, and a spread of 0 is no evidence that there is no noise. So
the spread is moderated: pooled with the one to expect (the moderated t of Smyth 2004, Linear models
and empirical Bayes methods for assessing differential expression, section 4)."""

import math

import numpy as np
import scipy
from numpy.typing import ArrayLike

# The spread to expect, as a share of the spread of seeds, and how many differences it is worth.
# 30 reruns of the quick matrix that differ by rounding alone vary by .01 to .3 of the seeds' spread
# on digits, and by .2 to 1.8 on points: the five differences themselves count for more.
PRIOR_SPREAD = 0.5
PRIOR_DEGREES = 2.0


def p_paired(differences: ArrayLike, spread_of_seeds: float) -> float:
    """The one-sided p that paired differences (n,), more being worse, are not above 0.

    The t test of their mean, with the variance (d₀ s₀² + (n − 1) s²) ÷ (d₀ + n − 1) and d₀ + n − 1
    degrees of freedom. s is the standard deviation of the differences, s₀ PRIOR_SPREAD times that
    of the baseline's seeds, d₀ = PRIOR_DEGREES. Where the seeds do not vary, nothing is expected:
    d₀ = 0. The p is 1 where all differences are 0, and where no noise is known to judge them by.
    Raises ValueError without a difference."""
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if not n or not np.isfinite(values).all():
        raise ValueError("p_paired: finite differences are needed")
    expected = PRIOR_SPREAD * spread_of_seeds
    prior = PRIOR_DEGREES if expected else 0.0
    degrees = prior + n - 1
    squares = prior * expected**2 + ((values - values.mean()) ** 2).sum()
    if not values.any() or not squares:
        return 1.0
    variance = squares / degrees
    return float(scipy.special.stdtr(degrees, -values.mean() / math.sqrt(variance / n)))
