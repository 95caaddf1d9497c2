"""What a number of seeds can tell: how often a variant must win for the sign test to see it."""

import functools
import math

import scipy

from benchmark.stats.comparisons import sign_p


@functools.cache
def wins_asked(n: int, level: float) -> int | None:
    """The fewest wins on n paired seeds, the others being losses, that the two-sided sign test
    finds at this level. None where all n would not do."""
    for wins in range(n // 2 + 1, n + 1):
        if sign_p(wins, n - wins) <= level:
            return wins
    return None


@functools.cache
def told_share(n: int, level: float, power: float = 0.8) -> float:
    """The least share of seeds on which a variant has to win for n seeds to find it with this
    power, at this level; NaN where n seeds find nothing. Seeds without ties."""
    asked = wins_asked(n, level)
    if asked is None:
        return math.nan

    def excess(share: float) -> float:
        return float(scipy.stats.binom.sf(asked - 1, n, share)) - power

    return float(scipy.optimize.brentq(excess, 0.5, 1.0))


def shift_of(share: float) -> float:
    """The mean of a normal paired difference that is above 0 on this share of the seeds, in
    standard deviations of that difference: Φ⁻¹(share)."""
    return float(scipy.special.ndtri(share))
