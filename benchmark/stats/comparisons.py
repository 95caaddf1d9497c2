"""Comparisons of variants over training seeds: tests, Holm's correction, families and rankings.

A variant is what is compared. A run that diverged is ±inf, the worst value; NaN is a hole, a run
that is missing.

Sources: Holm 1979 for the correction; Agarwal et al. 2021 (rliable) for the
probability of improvement."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from benchmark.stats.bootstrap import (
    MIN_SEEDS,
    Array,
    interval,
    iqm,
    probability_of_improvement,
)
from benchmark.stats.mann_whitney import p_different, p_larger

Seeds = Mapping[Hashable, float]  # the value of each seed


@dataclass(frozen=True)
class Comparison:
    """Two variants over the seeds of one place and metric; `verdict` says what may be claimed."""

    first: str
    second: str
    n: int
    """Paired seeds: measured (or diverged) under both."""
    n_first: int
    n_second: int
    difference: float
    """first − second: the IQM over the paired seeds that are finite under both."""
    ci_low: float
    """The BCa interval of the difference at 95 %; NaN for fewer than five finite pairs."""
    ci_high: float
    p_improvement: float
    """P(first is better than second) over all seeds; divergence is the worst rank."""
    p_low: float
    p_high: float
    p: float
    """Mann–Whitney, two-sided, as `p_different`; NaN where one of the two has no value."""
    lowest: float
    """The lowest p that so many seeds can reach."""
    p_holm: float = math.nan
    """p, adjusted over the family."""
    verdict: str = "not separated"
    """Of the first: "better", "worse" or "not separated"."""
    why: str = ""
    """Why the two are not separated; empty where they are."""


def lowest_p(n: int, m: int | None = None, *, paired: bool = False) -> float:
    """The lowest two-sided p that n seeds can reach, against m seeds (n unless given).

    The test is Mann–Whitney's, or the sign flips of n paired seeds."""
    if paired:
        return min(1.0, 2 / 2**n)
    if m is None:
        m = n
    return min(1.0, 2 / math.comb(n + m, n))


def seeds_to_reach(p: float) -> int:
    """The fewest seeds a side, five or more, whose lowest two-sided p is at most `p`."""
    n = MIN_SEEDS
    while lowest_p(n) > p:
        n += 1
    return n


def holm(p: ArrayLike) -> Array:
    """Holm's step-down adjusted p values: (m,) -> (m,).

    All m count in the correction. NaN (no test) stays NaN and ranks last."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def shift_bound(x: ArrayLike, y: ArrayLike, level: float) -> float:
    """The one-sided lower confidence bound, at 1 − `level`, of the shift of x (n,) over y (m,).

    It is the greatest difference of a pair up to which `p_larger` of x minus the shift is at most
    `level`; −∞ where so few values have none. The bound is above 0 where `p_larger` of x itself is
    at most `level`, else it is 0 or below (with ties at 0 it may be 0 in either case)."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    edges = np.unique([*np.subtract.outer(x, y).ravel(), 0.0])
    # a shift just below each edge
    below = [edges[0] - 1, *(edges[1:] + edges[:-1]) / 2]

    def is_possible(i: int) -> bool:
        return p_larger(x - below[i], y) > level

    zero = int(np.searchsorted(edges, 0.0))
    is_above_zero = p_larger(x, y) <= level
    candidates = range(zero + 1, len(edges)) if is_above_zero else range(zero + 1)
    first = candidates.start + bisect_left(candidates, True, key=is_possible)
    return float(edges[first - 1]) if first else -np.inf


def family(
    values: Mapping[str, Seeds],
    *,
    minimise: bool,
    reference: str | None = None,
    alpha: float = 0.05,
    rng: np.random.Generator,
) -> list[Comparison]:
    """Compare variants {label: {seed: value}}: each with `reference`, or all pairs without one.

    The reference is named before the values are known. A first check: if the lowest p that the
    seeds can reach is above alpha ÷ comparisons for every pair, Holm's first step cannot be taken,
    and nothing is separated, whatever the values. A pair is "better" or "worse" where it has five
    seeds or more, its Holm-adjusted p is at most alpha, and the interval of the paired difference
    lies on the same side of 0. Where divergence leaves fewer than five finite pairs, the interval
    of the probability of improvement must exclude ½ instead: there, divergence has a rank. Raises
    ValueError for a reference that is not a label.

    The test is the unpaired one, although seeds share initial weights and batches. A paired test
    (sign flips) cannot reach 0.05 with five seeds (0.0625) and needs ten to tell all pairs of seven
    apart; the unpaired one needs six. And seeds share little at the end (four objectives on digits,
    22 to 30 seeds: median rank correlation of the final FID 0.08). Where seeds do correlate
    positively, the unpaired test errs on the side of no difference. The interval uses the
    pairing."""
    if reference is None:
        pairs = list(itertools.combinations(values, 2))
    elif reference in values:
        pairs = [(label, reference) for label in values if label != reference]
    else:
        raise ValueError(f"family: the reference {reference!r} is not among {', '.join(values)}")
    present = {label: _without_holes(seeds) for label, seeds in values.items()}
    comparisons = []
    for first, second in pairs:
        comparison = _compare(first, second, present[first], present[second], minimise, rng)
        comparisons.append(comparison)
    return judged(comparisons, minimise=minimise, alpha=alpha)


def judged(rows: Sequence[Comparison], *, minimise: bool, alpha: float = 0.05) -> list[Comparison]:
    """Comparisons of one metric, of several calls of `family` for example, as one family.

    Sets p_holm, verdict and why over all of them."""
    adjusted = holm([row.p for row in rows])
    is_mute = all(row.lowest > alpha / len(rows) for row in rows)
    judgements = []
    for row, p_holm in zip(rows, adjusted, strict=True):
        unjudged = replace(row, p_holm=float(p_holm), verdict="not separated", why="")
        judgements.append(_judge(unjudged, len(rows), is_mute, minimise, alpha))
    return judgements


def rank_stability(
    values: ArrayLike, *, minimise: bool, rng: np.random.Generator, resamples: int = 2000
) -> Array:
    """How sure a ranking by IQM is: values (k, n), seeds paired -> (k, k), rows sum to 1.

    Entry (i, j) is the share of resamples in which variant i has rank j (0 = best). Seeds are drawn
    jointly for all variants, because they share initial weights and batches. Tied variants share
    their ranks equally (also two that never reach anything, ±inf). Seeds with a hole (NaN) are left
    out; NaN for fewer than five of the rest."""
    values = np.asarray(values, dtype=float) * (1 if minimise else -1)
    values = values[:, ~np.isnan(values).any(axis=0)]
    k, n = values.shape
    if n < MIN_SEEDS:
        return np.full((k, k), np.nan)
    # (k, resamples)
    levels = iqm(values[:, rng.integers(0, n, (resamples, n))])
    ahead = (levels[None] < levels[:, None]).sum(axis=1)[..., None]
    tied = (levels[None] == levels[:, None]).sum(axis=1)[..., None]
    ranks = np.arange(k)
    return (((ranks >= ahead) & (ranks < ahead + tied)) / tied).mean(axis=1)


def _without_holes(seeds: Seeds) -> dict[Hashable, float]:
    return {seed: value for seed, value in seeds.items() if not math.isnan(value)}


def _compare(
    first: str, second: str, x: Seeds, y: Seeds, minimise: bool, rng: np.random.Generator
) -> Comparison:
    """Two variants over their seeds, not judged yet."""
    paired = [seed for seed in x if seed in y]
    x_paired = np.array([x[seed] for seed in paired], dtype=float)
    y_paired = np.array([y[seed] for seed in paired], dtype=float)
    finite = np.isfinite(x_paired) & np.isfinite(y_paired)
    difference = x_paired[finite] - y_paired[finite]
    low, high = interval(difference, rng=rng)
    gain = -1 if minimise else 1
    x_gain = np.array(list(x.values())) * gain
    y_gain = np.array(list(y.values())) * gain
    improvement = probability_of_improvement(x_gain, y_gain, rng=rng)
    p = math.nan
    if x and y:
        p = p_different(x_gain, y_gain)
    return Comparison(
        first,
        second,
        n=len(paired),
        n_first=len(x),
        n_second=len(y),
        difference=float(iqm(difference)),
        ci_low=float(low),
        ci_high=float(high),
        p_improvement=improvement.p,
        p_low=improvement.low,
        p_high=improvement.high,
        p=p,
        lowest=lowest_p(len(x), len(y)),
    )


def _judge(
    row: Comparison, comparisons: int, is_mute: bool, minimise: bool, alpha: float
) -> Comparison:
    """The comparison with its verdict, or with why the two are not separated."""
    for name, num_seeds in ((row.first, row.n_first), (row.second, row.n_second)):
        if not num_seeds:
            return replace(row, why=f"{name} has no finished run with a value")
    assert not math.isnan(row.p), "two variants with values have a p"
    if row.n < MIN_SEEDS:
        why = f"{row.n} paired seeds, {MIN_SEEDS} are the least that carry a claim"
        return replace(row, why=why)
    if is_mute:
        return replace(row, why=_why_mute(row, comparisons, alpha / comparisons))
    if row.p_holm > alpha:
        why = f"p = {row.p_holm:.2g}"
        if comparisons > 1:
            why += f" after Holm's correction for {comparisons} comparisons"
        return replace(row, why=why)
    decided_by_rank = math.isnan(row.ci_low)
    if decided_by_rank:
        low, high = row.p_low, row.p_high
        null, name = 0.5, "probability of improvement"
    else:
        low, high = row.ci_low, row.ci_high
        null, name = 0.0, "paired difference"
    if low <= null <= high:
        why = f"the interval of the {name}, {low:.3g} to {high:.3g}, includes {null:g}"
        return replace(row, why=why)
    is_ahead = low > null
    if minimise and not decided_by_rank:
        is_ahead = not is_ahead
    if is_ahead != (row.p_improvement > 0.5):
        why = "divergence and the values of the runs that did not diverge point opposite ways"
        return replace(row, why=why)
    return replace(row, verdict="better" if is_ahead else "worse")


def _why_mute(row: Comparison, comparisons: int, threshold: float) -> str:
    """Why no values could separate the variants of this family."""
    asked = "1 comparison asks" if comparisons == 1 else f"{comparisons} comparisons ask"
    least = f"p = {row.lowest:.2g} is the lowest {row.n} seeds can reach"
    needed = seeds_to_reach(threshold)
    return f"{least}, {asked} for {threshold:.2g}, {needed} seeds could"
