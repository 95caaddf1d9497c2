"""Statistics over training seeds: pure functions on arrays; everything random takes a numpy Generator.

The unit is the training seed and stands on the last axis. A run that diverged is ±inf, the worst value, where ranks
are taken; no interval of a mean is given for values that are not finite. Fewer than five seeds carry no interval:
three seeds never carry a claim. Sources: Agarwal et al. 2021 (rliable) for the IQM, stratified bootstrap and
probability of improvement; Efron 1987 for BCa; Dahl et al. 2023 (AlgoPerf) for the performance profile.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]
Statistic = Callable[..., Any]

MIN_SEEDS = 5


def iqm(values: ArrayLike, axis: int = -1) -> Any:
    """Interquartile mean along `axis`: ⌊n/4⌋ values dropped at each end (none below n = 4); NaN for no values."""
    values = np.asarray(values, dtype=float)
    if values.shape[axis] == 0:
        return np.full(np.delete(values.shape, axis), np.nan)[()]
    with np.errstate(invalid="ignore"):  # inf - inf
        return stats.trim_mean(values, 0.25, axis=axis)


def interval(
    values: ArrayLike,
    statistic: Statistic = iqm,
    *,
    level: float = 0.95,
    rng: np.random.Generator,
    resamples: int = 2000,
) -> Array:
    """BCa bootstrap interval of `statistic(values, axis)`: values (..., n) -> (2, ...), low and high.

    NaN where n < 5 (three seeds never carry a claim) or a value is not finite. Constant values give the degenerate
    interval (c, c); where BCa is undefined because leaving a seed out changes nothing, the percentile interval, which
    at n = 5 covers about 90 %. All rows of one call share their resamples."""
    return stratified_interval([values], statistic, level=level, rng=rng, resamples=resamples)


def stratified_interval(
    strata: Sequence[ArrayLike],
    statistic: Statistic = iqm,
    *,
    level: float = 0.95,
    rng: np.random.Generator,
    resamples: int = 2000,
) -> Array:
    """BCa interval of `statistic` over all strata pooled, resampled within each: arrays (..., n_k) -> (2, ...).

    A stratum is a dataset x architecture; its values must be on a common scale (ranks, or metric ÷ noise floor).
    NaN where a stratum has fewer than five seeds or a value is not finite."""
    samples = [np.asarray(stratum, dtype=float) for stratum in strata]
    finite = np.logical_and.reduce([np.isfinite(sample).all(axis=-1) for sample in samples])
    if min(sample.shape[-1] for sample in samples) < MIN_SEEDS:
        return np.full((2, *finite.shape), np.nan)
    samples = [np.where(finite[..., None], sample, 0.0) for sample in samples]

    def pooled(*parts: Array, axis: int = -1) -> Any:
        return statistic(np.concatenate(parts, axis=axis), axis=axis)

    return np.where(finite, _bootstrap(samples, pooled, level, rng, resamples), np.nan)


def paired_interval(
    x: ArrayLike, y: ArrayLike, statistic: Statistic = iqm, *, level: float = 0.95, rng: np.random.Generator
) -> Array:
    """BCa interval of `statistic` over the differences x - y by seed: two arrays (..., n) in the same seed order
    -> (2, ...). NaN as in `interval`."""
    with np.errstate(invalid="ignore"):
        difference = np.asarray(x, dtype=float) - np.asarray(y, dtype=float)
    return interval(difference, statistic, level=level, rng=rng)


def probability_of_improvement(
    x: ArrayLike, y: ArrayLike, *, level: float = 0.95, rng: np.random.Generator, resamples: int = 2000
) -> tuple[float, float, float]:
    """P(X > Y) + ½ P(X = Y), the Mann–Whitney U divided by n·m, with its BCa interval: (n,), (m,) -> (p, low, high).

    Negate both where smaller is better. ±inf counts as a rank. The interval is NaN below five seeds a side; where no
    resample can change the order it is degenerate, which says that the seeds agree, not that p is known exactly."""
    samples: list[Array] = [np.asarray(x, dtype=float), np.asarray(y, dtype=float)]
    if min(map(len, samples)) == 0:
        return math.nan, math.nan, math.nan
    p = float(_superiority(samples[0], samples[1]))
    if min(map(len, samples)) < MIN_SEEDS:
        return p, math.nan, math.nan
    low, high = _bootstrap(samples, _superiority, level, rng, resamples)
    return p, float(low), float(high)


def _superiority(x: Array, y: Array, axis: int = -1) -> Any:
    """(..., n), (..., m) -> (...). Written out because mannwhitneyu is far slower over thousands of resamples."""
    x, y = np.moveaxis(x, axis, -1)[..., :, None], np.moveaxis(y, axis, -1)[..., None, :]
    return ((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1))


def _bootstrap(
    samples: Sequence[Array], statistic: Statistic, level: float, rng: np.random.Generator, resamples: int
) -> Array:
    batch = max(1, int(1e7 // max(1, sum(sample.size for sample in samples))))  # bounds the memory
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # degenerate data: handled below
        result = stats.bootstrap(
            samples, statistic, axis=-1, n_resamples=resamples, batch=batch, confidence_level=level, rng=rng
        )
    tails = 100 * np.array([(1 - level) / 2, (1 + level) / 2])
    percentile = np.percentile(result.bootstrap_distribution, tails, axis=-1)
    bca = np.array(result.confidence_interval)
    return np.where(np.isfinite(bca), bca, percentile)


def performance_profile(times: ArrayLike, ratios: ArrayLike = (), limit: float = 4.0) -> tuple[Array, Array]:
    """AlgoPerf's profile: times (variants, workloads), inf = never -> (variants, len(ratios)) and (variants,).

    First the share of workloads that a variant finishes within each ratio of the best time of any variant; then the
    integral of that share over ratios 1 to `limit`, divided by its width: 1 is always first, 0 is never within the
    limit. A time of NaN (not run) raises ValueError: a hole is not a time."""
    times = np.asarray(times, dtype=float)
    if np.isnan(times).any():
        raise ValueError("performance_profile: a time is NaN (not run); leave that workload out or finish it")
    best = times.min(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(np.isfinite(times), np.where(times == best, 1.0, times / best), np.inf)
    profile = (ratio[:, :, None] <= np.asarray(ratios, dtype=float)).mean(axis=1)
    return profile, np.clip((limit - ratio) / (limit - 1), 0, None).mean(axis=1)


def lowest_p(n: int, paired: bool = False) -> float:
    """The lowest two-sided p that n seeds a side can reach: Mann–Whitney, or the sign-flip test for paired seeds."""
    return min(1.0, 2 / 2**n if paired else 2 / math.comb(2 * n, n))


def separation(
    x: ArrayLike, y: ArrayLike, *, comparisons: int = 1, alpha: float = 0.05, rng: np.random.Generator
) -> str:
    """Why two variants' paired seeds (n,), (n,) are not separated; the empty string where they are.

    Separated means: five seeds or more, all finite; a Mann–Whitney test that could reach alpha / comparisons at this
    n, and did; and a paired-difference interval that excludes zero. `comparisons` counts every comparison the data
    could have led to: k(k-1)/2 for the top two of k, k-1 for one reference named beforehand."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    n, threshold = len(x), alpha / comparisons
    if n < MIN_SEEDS:
        return f"{n} paired seeds, {MIN_SEEDS} are the least that carry a claim"
    if lowest_p(n) > threshold:
        needed = next(m for m in range(n, 1000) if lowest_p(m) <= threshold)
        least = f"p = {lowest_p(n):.2g} is the lowest {n} seeds can reach"
        return f"{least}, {comparisons} comparisons ask for {threshold:.2g}, {needed} seeds could"
    if not np.isfinite([x, y]).all():
        return "a diverged seed has no paired difference"
    low, high = paired_interval(x, y, rng=rng)
    if low <= 0 <= high:
        return f"the interval of the paired difference, {low:.3g} to {high:.3g}, includes 0"
    p = float(stats.mannwhitneyu(x, y).pvalue)
    return "" if p <= threshold else f"p = {p:.2g}, {comparisons} comparisons ask for {threshold:.2g}"


def robust_spread(values: ArrayLike) -> float:
    """1.4826 · median |x - median(x)|: the standard deviation of a normal sample, deaf to outliers. (n,) -> float."""
    return float(stats.median_abs_deviation(np.asarray(values, dtype=float), scale="normal"))
