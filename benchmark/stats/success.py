"""How often training succeeds over drawn architectures: shares with intervals, curves with bands,
and a test of two variants on the same architectures.

The unit is the architecture. A run that diverged has the worst value, ±inf. NaN is a hole.

Sources: McNemar 1947, exact by the binomial law; Wilson 1927; the exact law of Kolmogorov's
statistic (Simard and L'Ecuyer 2011), which is within the bound of Dvoretzky, Kiefer and Wolfowitz
1956."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from benchmark.stats.intervals import Array, Share

LEVEL = 0.95


class Discordance(NamedTuple):
    """On how many architectures two variants succeed; the four counts sum to all."""

    only_first: int
    only_second: int
    both: int
    neither: int

    log10_p: float
    """Of McNemar's exact two-sided test that each succeeds alone as often as the other; 0 without
    an architecture on which one succeeds alone."""

    @property
    def p(self) -> float:
        """The p of the test; 0 where it is below the smallest float."""
        return float(10.0**self.log10_p)


class SuccessCurve(NamedTuple):
    """The share that is beyond each threshold, (m,) each, with a simultaneous band."""

    share: Array
    low: Array
    high: Array


def discordance(first: ArrayLike, second: ArrayLike) -> Discordance:
    """Successes of two variants on the same architectures: (n,) and (n,) truth values."""
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((one & ~other).sum()), int((~one & other).sum())
    both, neither = int((one & other).sum()), int((~one & ~other).sum())
    return Discordance(
        only_first, only_second, both, neither, log10_sign_p(only_first, only_second)
    )


def log10_sign_p(wins: int, losses: int) -> float:
    """The logarithm to base 10 of the two-sided p of the exact sign test, however small it is."""
    n = wins + losses
    k = np.arange(min(wins, losses) + 1)
    ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    log_p = special.logsumexp(ways) + (1 - n) * math.log(2)
    return min(0.0, float(log_p) / math.log(10))


def wilson(successes: int, n: int, level: float = LEVEL) -> Share:
    """A share with Wilson's interval; NaN for n = 0."""
    if n == 0:
        return Share(math.nan, math.nan, math.nan)
    interval = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Share(successes / n, float(interval.low), float(interval.high))


def success_curve(
    values: ArrayLike, thresholds: ArrayLike, *, minimise: bool, level: float = LEVEL
) -> SuccessCurve:
    """The share of values (n,) that are better than each threshold (m,). At all thresholds
    together the band holds the share among all architectures that could be drawn with a
    probability of `level` or more."""
    values = np.asarray(values, dtype=float)
    thresholds = np.asarray(thresholds, dtype=float)
    better = values < thresholds[:, None] if minimise else values > thresholds[:, None]
    share = better.mean(axis=1)
    half = float(stats.kstwo.ppf(level, len(values)))
    return SuccessCurve(share, np.clip(share - half, 0, 1), np.clip(share + half, 0, 1))
