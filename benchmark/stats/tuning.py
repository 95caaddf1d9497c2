"""What a search among configurations says: the best of k, AlgoPerf's score, the winner's curse.

A pool is the values of n configurations that were drawn independently. A smaller value is better;
a configuration that diverged, or missed its target, is inf.

Sources: Dodge et al. 2019 (arXiv:1909.03004) for the best of k with replacement, Tang et al. 2020
(arXiv:2010.00355) without; Lourie et al. 2024 (arXiv:2311.09480) for the median and its bands;
Dahl et al. 2023 (arXiv:2306.07179), §4, for AlgoPerf's score; Bonett & Wright 2000 for the interval
of a rank correlation."""

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from benchmark.stats.intervals import Array, Index, median, median_interval

if TYPE_CHECKING:
    from opda.nonparametric import EmpiricalDistribution

TRIALS = 5
"""Configurations of a study of AlgoPerf, of which the fastest counts; its score is the median of
three studies."""
MIN_PAIRS = 4
"""A rank correlation of fewer pairs has no interval."""


class Curve(NamedTuple):
    """The median of the best of k configurations, (m,) each, with simultaneous bands."""

    median: Array
    low: Array
    high: Array


class Score(NamedTuple):
    """AlgoPerf's score of a pool."""

    median: float
    """The time at which half of all scores are reached; inf where more than half are not."""
    p_missed: float
    """The probability that a score is inf."""


class Estimate(NamedTuple):
    """A value with its 95 % interval; NaN for what is not known."""

    value: float
    low: float
    high: float


def expected_best(pool: ArrayLike, k: ArrayLike, *, replacement: bool) -> Array:
    """The mean of the best of k configurations of a pool: (n,), k (m,) -> (m,).

    Over all draws of k with replacement (the V statistic, which is biased but known for every k),
    or without (the U statistic, which is not biased; NaN for k > n). inf where a draw of nothing
    but diverged configurations is possible."""
    ordered = np.sort(np.asarray(pool, dtype=float))
    n = len(ordered)
    rank = np.arange(n)
    draws = np.asarray(k, dtype=float)[:, None]
    # the probability that none of the `rank` + 1 best configurations is among k
    if replacement:
        none_of_best = (1 - (rank + 1) / n) ** draws
    else:
        none_of_best = np.cumprod(np.clip(n - draws - rank, 0, None) / (n - rank), axis=1)
    p_best = -np.diff(none_of_best, prepend=1)
    terms = np.zeros_like(p_best)
    # a diverged configuration that is never the best: 0 × inf
    np.multiply(p_best, ordered, where=p_best > 0, out=terms)
    is_known = replacement | (draws[:, 0] <= n)
    return np.where(is_known, terms.sum(axis=1), np.nan)


def median_best(pool: ArrayLike, k: ArrayLike, *, least: float = -math.inf) -> Curve:
    """The median of the best of k configurations: pool (n,), k (m,) -> Curve of (m,).

    k may be a fraction. The band covers the median curve of the law that the pool was drawn from,
    at every k together, with a probability of 95 %, or 99 % where k is whole and up to n (measured
    on 500 pools of 30), whatever the law. least: the least possible value, such as 0 of a
    distance."""
    values = np.asarray(pool, dtype=float)
    extended = np.array([least, *np.sort(values), math.inf])
    draws = np.asarray(k, dtype=float)
    by_band = []
    for band in _bands(len(values)):
        ranks: Index = band.quantile_tuning_curve(draws, minimize=True).astype(int)
        by_band.append(extended[ranks])
    # a law with more mass at low values has the lower curve
    high, middle, low = by_band
    return Curve(middle, low, high)


@functools.cache
def _bands(n: int) -> "tuple[EmpiricalDistribution, ...]":
    """The law of the ranks 1 to n of a pool: lower band, estimate, upper band. Rank 0 stands for
    the least possible value, n + 1 for the largest.

    The bands depend on n alone: those of the ranks are those of any values, with ties too. Equal
    tails: bands of the highest density take seven times as long and differ by a rank at most."""
    from opda.nonparametric import EmpiricalDistribution

    generator = np.random.default_rng(0)
    options: dict[str, Any] = {"method": "ld_equal_tailed", "generator": generator, "n_jobs": 1}
    return EmpiricalDistribution.confidence_bands(np.arange(1, n + 1), 0.95, 0, n + 1, **options)


def algoperf_score(seconds: ArrayLike) -> Score:
    """AlgoPerf's score of a pool of times to a target (n,), inf for missed, without its lottery.

    A study takes the fastest of TRIALS configurations, the score is the median of three studies.
    With F the law of the pool, a study is done by t with F_m = 1 − (1 − F)^TRIALS, a score with
    G = 3F_m² − 2F_m³: the median and the probability of inf are those of G, exactly."""
    times = np.sort(np.asarray(seconds, dtype=float))
    share = np.arange(1, len(times) + 1) / len(times)
    of_study = 1 - (1 - share) ** TRIALS
    of_score = np.where(np.isfinite(times), 3 * of_study**2 - 2 * of_study**3, 0.0)
    is_half = of_score >= 0.5
    middle = float(times[is_half.argmax()]) if is_half.any() else math.inf
    return Score(middle, 1 - float(of_score.max()))


def winners_curse(in_pool: float, finals: ArrayLike) -> Estimate:
    """How much worse the pick is on seeds that did not choose it: its value in the pool and its
    final values (m,) -> median final − value in the pool, with the exact interval of the median."""
    finals = np.asarray(finals, dtype=float)
    if not math.isfinite(in_pool):
        return Estimate(math.nan, math.nan, math.nan)
    low, high = median_interval(finals) - in_pool
    return Estimate(float(median(finals)) - in_pool, float(low), float(high))


def share_near_best(pool: ArrayLike, factor: float = 2.0) -> float:
    """The share of a pool (n,) of positive distances within `factor` of the best, which is one of
    them. NaN where no value is finite."""
    values = np.asarray(pool, dtype=float)
    best = values.min()
    return float((values <= factor * best).mean()) if math.isfinite(best) else math.nan


def rank_correlation(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Spearman's rank correlation of n pairs, with its interval: x, y (n,) -> Estimate.

    Ties, such as two that diverged, share their ranks; pairs with a NaN are left out. The interval
    is Bonett and Wright's: tanh(artanh ρ ± 1.96 √((1 + ρ²/2) / (n − 3))). Measured on 400 normal
    pools it covers 94 % or more from n = 16 on for ρ up to 0.95 (92 % at 16 and 0.95), and 87 % at
    n = 8 and ρ = 0.95. NaN where x or y ranks nothing; no interval below MIN_PAIRS."""
    pairs = np.array([x, y], dtype=float)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    n = pairs.shape[1]
    ranks = stats.rankdata(pairs, axis=1) - (n + 1) / 2
    size = math.sqrt(float((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    if not size > 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float((ranks[0] * ranks[1]).sum()) / size
    if n < MIN_PAIRS:
        return Estimate(value, math.nan, math.nan)
    width = 1.96 * math.sqrt((1 + value**2 / 2) / (n - 3))
    # half of what one swap of neighbours takes off a perfect correlation, whose artanh is infinite
    most = 1 - 6 / (n**3 - n)
    centre = np.arctanh(np.clip(value, -most, most))
    low, high = np.tanh([centre - width, centre + width])
    return Estimate(value, min(value, float(low)), max(value, float(high)))
