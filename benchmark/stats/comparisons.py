"""Statistics over training seeds: pure functions on arrays; everything random takes a numpy
Generator.

The unit is the training seed and stands on the last axis. A run that diverged is ±inf, the worst
value, where ranks are taken; no interval of a mean is given for values that are not finite. Fewer
than five seeds carry no interval: three seeds never carry a claim. Sources: Agarwal et al. 2021
(rliable) for the IQM, stratified bootstrap and probability of improvement; Efron 1987 for BCa; Mann
& Whitney 1947 and Holm 1979 for the tests; Kaplan & Meier 1958 and Brookmeyer & Crowley 1982 for
times to target; Dahl et al. 2023 (AlgoPerf) for the performance profile."""

import bisect
import functools
import itertools
import math
import sys
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from benchmark.stats.bootstrap import MIN_SEEDS as MIN_SEEDS
from benchmark.stats.bootstrap import Array, interval, iqm, probability_of_improvement
from benchmark.stats.bootstrap import iqm_by_group as iqm_by_group
from benchmark.stats.bootstrap import stratified_improvement as stratified_improvement
from benchmark.stats.bootstrap import stratified_interval as stratified_interval


def performance_profile(
    times: ArrayLike, ratios: ArrayLike = (), limit: float = 4.0
) -> tuple[Array, Array]:
    """AlgoPerf's profile: times (variants, workloads), inf = never -> (variants, len(ratios)) and
    (variants,).

    First the share of workloads that a variant finishes within each ratio of the best time of any
    variant; then the integral of that share over ratios 1 to `limit`, divided by its width: 1 is
    always first, 0 is never within the limit. A time of NaN (not run) raises ValueError: a hole is
    not a time."""
    times = np.asarray(times, dtype=float)
    if np.isnan(times).any():
        raise ValueError(
            "performance_profile: a time is NaN (not run); leave that workload out or finish it"
        )
    best = times.min(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(np.isfinite(times), np.where(times == best, 1.0, times / best), np.inf)
    profile = (ratio[:, :, None] <= np.asarray(ratios, dtype=float)).mean(axis=1)
    return profile, np.clip((limit - ratio) / (limit - 1), 0, None).mean(axis=1)


def time_to_target(
    times: ArrayLike, reached: ArrayLike, level: float = 0.95
) -> tuple[float, float, float]:
    """Kaplan–Meier median of the time to target: times (n,), reached (n,) -> (median, low, high);
    inf = not reached.

    The time of a run that did not reach its target is the run's end (it might have, later); inf is
    a run that never will (diverged) and stays at risk to the last. The median is the first time
    with S(t) ≤ ½; its interval holds the times at which the log-log band of S includes ½
    (Brookmeyer & Crowley 1982), so `high` is inf where the upper band never falls to ½ (always, for
    six distinct times or fewer). Where all still at risk reach the target together, S drops to 0
    and has no variance estimate: its upper limit is then Clopper–Pearson's for the share left of
    those at risk. The interval is NaN below five seeds; 95 % covers 92 to 97 % of the time for n =
    5 to 30 (exponential times, up to a quarter censored). A time of NaN (not run) raises
    ValueError."""
    t = np.array(times, dtype=float)
    if np.isnan(t).any():
        raise ValueError(
            "time_to_target: a time is NaN (not run); leave that seed out or finish it"
        )
    event = np.asarray(reached, dtype=bool) & np.isfinite(t)
    if not event.any():
        bound = math.inf if len(t) >= MIN_SEEDS else math.nan
        return (math.inf if len(t) else math.nan), bound, bound
    t[np.isinf(t)] = t[np.isfinite(t)].max() + 1  # SciPy refuses inf
    survival = stats.ecdf(stats.CensoredData(uncensored=t[event], right=t[~event])).sf

    def half(probabilities: Any) -> float:
        at = np.flatnonzero(probabilities <= 0.5 + 1e-12)
        return float(survival.quantiles[at[0]]) if len(at) else math.inf

    if len(t) < MIN_SEEDS:
        return half(survival.probabilities), math.nan, math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # undefined where S is 0 or 1: handled here
        band: Any = survival.confidence_interval(level, method="log-log")
    gone = survival.probabilities == 0
    at_risk = (t == t.max()).sum()
    low = np.where(gone, 0.0, band.low.probabilities)
    high = np.where(gone, 1 - ((1 - level) / 2) ** (1 / at_risk), band.high.probabilities)
    return half(survival.probabilities), half(low), half(high)


def rank_stability(
    values: ArrayLike, *, minimise: bool, rng: np.random.Generator, resamples: int = 2000
) -> Array:
    """How sure a ranking by IQM is: values (k, n), seeds paired -> (k, k), the share of resamples
    in which variant i has rank j (0 = best). Rows sum to 1.

    Seeds are drawn jointly for all variants, since they share initial weights and batches. Tied
    variants share their ranks equally (two that never reach anything, ±inf, too). Seeds with a hole
    (NaN) are left out; NaN for fewer than five of the rest."""
    values = np.asarray(values, dtype=float) * (1 if minimise else -1)
    values = values[:, ~np.isnan(values).any(axis=0)]
    k, n = values.shape
    if n < MIN_SEEDS:
        return np.full((k, k), np.nan)
    scores = iqm(values[:, rng.integers(0, n, (resamples, n))])  # (k, resamples)
    ahead = (scores[None] < scores[:, None]).sum(axis=1)[..., None]
    tied = (scores[None] == scores[:, None]).sum(axis=1)[..., None]
    ranks = np.arange(k)
    return (((ranks >= ahead) & (ranks < ahead + tied)) / tied).mean(axis=1)


def lowest_p(n: int, m: int | None = None, *, paired: bool = False) -> float:
    """The lowest two-sided p that n seeds (against m, else n) can reach: Mann–Whitney, or paired
    seeds' sign flips."""
    return min(1.0, 2 / 2**n if paired else 2 / math.comb(n + (n if m is None else m), n))


def holm(p: ArrayLike) -> Array:
    """Holm's step-down adjusted p values: (m,) -> (m,). All m count; NaN (no test) stays NaN and
    ranks last."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


@dataclass(frozen=True)
class Comparison:
    """Two variants over the seeds of one place and metric; what it may claim stands in
    `verdict`."""

    first: str
    second: str
    n: int  # paired seeds: measured (or diverged) under both
    n_first: int
    n_second: int
    difference: float  # first − second: IQM over the paired seeds that are finite under both
    ci_low: float  # its BCa interval at 95 %; NaN for fewer than five such pairs
    ci_high: float
    p_improvement: (
        float  # P(first is better than second) over all seeds, divergence being the worst rank
    )
    p_low: float
    p_high: float
    p: float  # Mann–Whitney, exact, two-sided
    lowest: float  # the lowest p that these seeds could have reached
    p_holm: float = math.nan  # adjusted over the family
    verdict: str = "not separated"  # "better", "worse" (the first) or "not separated"
    why: str = ""  # why not; empty when separated


def family(
    values: Mapping[str, Mapping[Hashable, float]],
    *,
    minimise: bool,
    reference: str | None = None,
    alpha: float = 0.05,
    rng: np.random.Generator,
) -> list[Comparison]:
    """Compare variants {label: {seed: value}}: all others against `reference`, named beforehand, or
    else all pairs.

    ±inf is a run that diverged, NaN a hole. First of all: if the lowest p that the seeds can reach
    is above alpha ÷ comparisons for every pair, Holm's first step cannot be taken and nothing is
    separated, whatever the values. A pair is "better" or "worse" where it has five seeds or more,
    its Holm-adjusted p is at most alpha, and the interval of the paired difference lies on the same
    side of 0. Where divergence leaves fewer than five finite pairs, the interval of the probability
    of improvement must exclude ½ instead: there, divergence has a rank.

    The test is the unpaired one though seeds share initial weights and batches. A paired test (sign
    flips) cannot reach 0.05 with five seeds (0.0625) and needs ten to tell all pairs of seven
    apart, this one six; and little is left of what seeds share (four objectives on digits, 22 to 30
    seeds: median rank correlation of the final FID 0.08). Where seeds do correlate positively it
    errs on the side of no difference; the interval uses the pairing."""
    if reference is None:
        pairs = list(itertools.combinations(values, 2))
    elif reference in values:
        pairs = [(label, reference) for label in values if label != reference]
    else:
        raise ValueError(f"family: the reference {reference!r} is not among {', '.join(values)}")
    seeds = {
        label: {seed: v for seed, v in row.items() if not math.isnan(v)}
        for label, row in values.items()
    }
    rows = [
        _compare(first, second, seeds[first], seeds[second], minimise, rng)
        for first, second in pairs
    ]
    return judged(rows, minimise=minimise, alpha=alpha)


def judged(rows: Sequence[Comparison], *, minimise: bool, alpha: float = 0.05) -> list[Comparison]:
    """Comparisons of one metric as one family (several of `family`, say): p_holm, verdict and why
    over all of them."""
    adjusted = holm([row.p for row in rows])
    mute = all(row.lowest > alpha / len(rows) for row in rows)
    rows = [
        replace(row, p_holm=float(p), verdict="not separated", why="")
        for row, p in zip(rows, adjusted, strict=True)
    ]
    return [_judge(row, len(rows), mute, minimise, alpha) for row in rows]


def _compare(
    first: str,
    second: str,
    x: Mapping[Hashable, float],
    y: Mapping[Hashable, float],
    minimise: bool,
    rng: np.random.Generator,
) -> Comparison:
    both = [seed for seed in x if seed in y]
    a, b = np.array([[x[seed], y[seed]] for seed in both]).reshape(-1, 2).T
    finite = np.isfinite(a) & np.isfinite(b)
    difference = a[finite] - b[finite]
    low, high = interval(difference, rng=rng)
    all_x, all_y = (np.array(list(v.values())) * (-1 if minimise else 1) for v in (x, y))
    p_improvement, p_low, p_high = probability_of_improvement(all_x, all_y, rng=rng)
    # "exact" ignores ties and keeps its level with them; "auto" would turn to the normal law, rough
    # for so few seeds
    p = float(stats.mannwhitneyu(all_x, all_y, method="exact").pvalue) if x and y else math.nan
    return Comparison(
        first,
        second,
        n=len(both),
        n_first=len(x),
        n_second=len(y),
        difference=float(iqm(difference)),
        ci_low=float(low),
        ci_high=float(high),
        p_improvement=p_improvement,
        p_low=p_low,
        p_high=p_high,
        p=p,
        lowest=lowest_p(len(x), len(y)),
    )


def _judge(
    row: Comparison, comparisons: int, mute: bool, minimise: bool, alpha: float
) -> Comparison:
    if row.n < MIN_SEEDS:
        return replace(
            row, why=f"{row.n} paired seeds, {MIN_SEEDS} are the least that carry a claim"
        )
    if mute:
        threshold = alpha / comparisons
        needed = next(n for n in itertools.count(MIN_SEEDS) if lowest_p(n) <= threshold)
        asked = "1 comparison asks" if comparisons == 1 else f"{comparisons} comparisons ask"
        least = f"p = {row.lowest:.2g} is the lowest {row.n} seeds can reach"
        return replace(row, why=f"{least}, {asked} for {threshold:.2g}, {needed} seeds could")
    if row.p_holm > alpha:
        correction = (
            f" after Holm's correction for {comparisons} comparisons" if comparisons > 1 else ""
        )
        return replace(row, why=f"p = {row.p_holm:.2g}{correction}")
    if math.isnan(row.ci_low):
        low, high, null, name = row.p_low, row.p_high, 0.5, "probability of improvement"
    else:
        low, high, null, name = row.ci_low, row.ci_high, 0.0, "paired difference"
    if low <= null <= high:
        return replace(
            row, why=f"the interval of the {name}, {low:.3g} to {high:.3g}, includes {null:g}"
        )
    ahead = (low > null) != (minimise and null == 0)
    if ahead != (row.p_improvement > 0.5):
        return replace(
            row,
            why="divergence and the values of the runs that did not diverge point opposite ways",
        )
    return replace(row, verdict="better" if ahead else "worse")


@functools.cache
def minimal_difference(n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference that the exact Mann–Whitney test at level alpha tells with this
    power, n seeds a side.

    In standard deviations of a seed, for normal seeds; inf below five seeds and where n cannot
    reach alpha (give alpha ÷ comparisons for Holm's first step). By simulation, seeded, to about 1
    % (3 % at n = 100): shifting x by d makes U the number of differences y − x below d, so the
    least shift that a simulation's test notices is one order statistic of its differences."""
    if n < MIN_SEEDS or lowest_p(n) > alpha:
        return math.inf
    critical = bisect.bisect_left(range(n * n), True, key=lambda u: _p_above(u, n) <= alpha / 2)
    first, second = np.random.default_rng(0).normal(size=(2, min(20_000, 5 * 10**6 // n**2), n))
    differences = (second[:, :, None] - first[:, None, :]).reshape(len(first), n * n)
    return float(
        np.quantile(np.partition(differences, critical - 1, axis=1)[:, critical - 1], power)
    )


def _p_above(u: int, n: int) -> float:
    """P(U ≥ u) for n a side: the exact one-sided p of samples that beat u of the n² pairs with 0 …
    n − 1."""
    x = u // n + (np.arange(n) < u % n) - 0.5
    return float(stats.mannwhitneyu(x, np.arange(n), alternative="greater", method="exact").pvalue)


def seeds_needed(
    effect: float, alpha: float = 0.05, power: float = 0.8, limit: int = 100
) -> int | None:
    """The least seeds a side that tell a difference of `effect` standard deviations of a seed; None
    above `limit`."""

    def enough(n: int) -> bool:
        return minimal_difference(n, alpha, power) <= min(effect, sys.float_info.max)

    n = bisect.bisect_left(range(limit + 1), True, lo=MIN_SEEDS, key=enough)
    return n if n <= limit else None


def effect_size(p_improvement: float) -> float:
    """The shift, in standard deviations, of two normal laws with P(X > Y) = p or 1 − p: √2 Φ⁻¹(p);
    inf at 0 and 1."""
    return math.sqrt(2) * abs(float(special.ndtri(p_improvement)))


def robust_spread(values: ArrayLike) -> float:
    """1.4826 · median |x - median(x)|: the standard deviation of a normal sample, deaf to outliers.
    (n,) -> float."""
    return float(stats.median_abs_deviation(np.asarray(values, dtype=float), scale="normal"))
