"""Comparisons of variants over training seeds: the exact sign test under Holm's correction.

A variant is what is compared. Variants are compared seed by seed: the runs of a seed share their
initial weights and batches. A run that diverged is ±inf, the worst value; NaN is a hole, a run
that is missing.

Sources: Arbuthnott 1710 and Conover 1999, §3.4, for the sign test; Holm 1979 for the correction."""

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from benchmark.stats.intervals import Array, at_most, median, median_interval, share_interval
from benchmark.text import plural

Seeds = Mapping[Hashable, float]  # the value of each seed


@dataclass(frozen=True)
class Comparison:
    """Two variants over the seeds of one place and metric; `verdict` says what may be claimed."""

    first: str
    second: str
    n: int
    """Paired seeds: measured (or diverged) under both."""
    wins: int
    """Paired seeds on which the first is better."""
    ties: int
    """Paired seeds on which both are equal; both diverged is a tie."""
    difference: float
    """first − second: the median over the paired seeds. ±inf for a seed on which one diverged, 0
    for one on which both did."""
    ci_low: float
    """The exact interval of the median difference at 95 %; NaN for fewer than five pairs."""
    ci_high: float
    p_improvement: float
    """The share of the paired seeds on which the first is better; a tie is half a seed."""
    p_low: float
    """Its exact interval at 95 %; NaN for fewer than five pairs."""
    p_high: float
    p: float
    """The sign test's, exact, two-sided; NaN without a paired seed."""
    lowest: float
    """The lowest p that so many paired seeds can reach."""
    p_holm: float = math.nan
    """p, adjusted over the family."""
    verdict: str = "not separated"
    """Of the first: "better", "worse" or "not separated"."""
    why: str = ""
    """Why the two are not separated; empty where they are."""


def sign_p(wins: int, losses: int) -> float:
    """The two-sided p of the exact sign test; ties are left out. 1 for no seeds."""
    n = wins + losses
    return min(1.0, 2 * at_most(min(wins, losses), n))


def lowest_p(n: int) -> float:
    """The lowest two-sided p that n paired seeds can reach: all of them won."""
    return min(1.0, 2 / 2**n)


def seeds_to_reach(p: float) -> int:
    """The fewest paired seeds whose lowest two-sided p is at most `p`."""
    n = 1
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


def compare(
    values: Mapping[str, Seeds], *, minimise: bool, reference: str | None = None
) -> list[Comparison]:
    """Compare variants {label: {seed: value}}: each with `reference`, or all pairs without one.

    The reference is named before the values are known. The comparisons are not judged yet:
    `judged` does it, over all comparisons that are shown together. Raises ValueError for a
    reference that is not a label.

    The sign test asks whether a variant is better on more seeds than it is worse on. It is exact
    for every law of the values: spreads may differ, values may be skewed, bimodal or tied, and runs
    may diverge. Tests of a mean or of ranks promise less. Two laws of equal medians and unequal
    spreads lie apart by chance in up to 2 of 32 cases at five seeds (Mann–Whitney's test then
    claims a difference, a t test mostly), so that five seeds carry no claim here: their lowest p is
    0.0625."""
    if reference is None:
        pairs = list(itertools.combinations(values, 2))
    elif reference in values:
        pairs = [(label, reference) for label in values if label != reference]
    else:
        raise ValueError(f"compare: the reference {reference!r} is not among {', '.join(values)}")
    present = {label: _without_holes(seeds) for label, seeds in values.items()}
    return [
        _compared(first, second, present[first], present[second], minimise)
        for first, second in pairs
    ]


def judged(rows: Sequence[Comparison], *, alpha: float = 0.05) -> list[Comparison]:
    """Comparisons as one family: with p_holm, verdict and why.

    A pair is "better" or "worse" where its Holm-adjusted p is at most `alpha`: over all rows
    together, a false claim has a probability of `alpha` at most."""
    adjusted = holm([row.p for row in rows])
    is_mute = all(row.lowest > alpha / len(rows) for row in rows)
    judgements = []
    for row, p_holm in zip(rows, adjusted, strict=True):
        unjudged = replace(row, p_holm=float(p_holm), verdict="not separated", why="")
        judgements.append(_judge(unjudged, len(rows), is_mute, alpha))
    return judgements


def ranks_by_seed(values: ArrayLike, *, minimise: bool) -> Array:
    """On how many seeds each variant has each rank: values (k, n), seeds paired -> (k, k).

    Entry (i, j) counts the seeds on which variant i has rank j (0 = best). Tied variants share
    their ranks equally (also two that diverged). Seeds with a hole (NaN) are left out."""
    values = np.asarray(values, dtype=float) * (1 if minimise else -1)
    values = values[:, ~np.isnan(values).any(axis=0)]
    ahead = (values[None] < values[:, None]).sum(axis=1)[..., None]
    tied = (values[None] == values[:, None]).sum(axis=1)[..., None]
    ranks = np.arange(len(values))
    return (((ranks >= ahead) & (ranks < ahead + tied)) / tied).sum(axis=1)


def _without_holes(seeds: Seeds) -> dict[Hashable, float]:
    return {seed: value for seed, value in seeds.items() if not math.isnan(value)}


def _compared(first: str, second: str, x: Seeds, y: Seeds, minimise: bool) -> Comparison:
    """Two variants over their seeds, not judged yet."""
    paired = [seed for seed in x if seed in y]
    x_paired = np.array([x[seed] for seed in paired], dtype=float)
    y_paired = np.array([y[seed] for seed in paired], dtype=float)
    is_tie = x_paired == y_paired
    # inf - inf where both diverged
    with np.errstate(invalid="ignore"):
        difference = np.where(is_tie, 0.0, x_paired - y_paired)
    is_below = x_paired < y_paired
    wins = int(is_below.sum()) if minimise else int((x_paired > y_paired).sum())
    n, ties = len(paired), int(is_tie.sum())
    low, high = median_interval(difference)
    improvement = share_interval(wins, n, ties)
    return Comparison(
        first,
        second,
        n=n,
        wins=wins,
        ties=ties,
        difference=float(median(difference)),
        ci_low=float(low),
        ci_high=float(high),
        p_improvement=improvement.share,
        p_low=improvement.low,
        p_high=improvement.high,
        p=sign_p(wins, n - wins - ties) if n else math.nan,
        lowest=lowest_p(n),
    )


def _judge(row: Comparison, comparisons: int, is_mute: bool, alpha: float) -> Comparison:
    """The comparison with its verdict, or with why the two are not separated."""
    if not row.n:
        return replace(row, why="no seed is finished and measured under both")
    if is_mute:
        return replace(row, why=_why_mute(row, comparisons, alpha / comparisons))
    if row.p_holm <= alpha:
        losses = row.n - row.wins - row.ties
        return replace(row, verdict="better" if row.wins > losses else "worse")
    why = f"better on {row.wins} of {plural(row.n, 'seed')}"
    if row.ties:
        why += f", equal on {row.ties}"
    why += f", p = {row.p_holm:.2g}"
    if comparisons > 1:
        why += f" after Holm's correction for {comparisons} comparisons"
    return replace(row, why=why)


def _why_mute(row: Comparison, comparisons: int, threshold: float) -> str:
    """Why no values could separate the variants of this family."""
    asked = "1 comparison asks" if comparisons == 1 else f"{comparisons} comparisons ask"
    least = f"p = {row.lowest:.2g} is the lowest {plural(row.n, 'seed')} can reach"
    needed = seeds_to_reach(threshold)
    return f"{least}, {asked} for {threshold:.2g}, {needed} seeds could"
