"""Changes of a mean over time: a combined Shewhart–CUSUM chart of standardised differences.

Each observation is the values of some seeds. It is compared with the mean of all observations
before it (the contrasts of Helmert), so that neither the level nor the spread has to be known
beforehand, as in Hawkins's self-starting chart. A single difference beyond the Shewhart limit is a
step; small differences of one sign that add up beyond the limit of the CUSUM are a drift.

Sources: Page 1954, Continuous inspection schemes; Lucas 1982, Combined Shewhart–CUSUM quality
control schemes; Hawkins 1987, Self-starting cusum charts for location and scale; Siegmund 1985,
Sequential analysis, §2.6, for the average run length."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from benchmark.stats.intervals import Array

ALLOWANCE = 0.5  # k: what a standardised difference must exceed to add to the sum
LEAST_SEEDS = 3  # of an observation
EQUAL = 1e-6  # relative difference of values that are the same
# The spread to expect of paired differences, as a share of the spread of seeds, and what it counts
PRIOR_SPREAD, PRIOR_DEGREES = 0.5, 2.0
Values = Mapping[str, float]  # by seed


class Limits(NamedTuple):
    """From where on a chart signals."""

    step: float
    """Of a single standardised difference."""
    drift: float
    """Of the sum of differences above ALLOWANCE."""


class Change(NamedTuple):
    """A change of a series; its places are those of observations."""

    kind: str
    """`step` or `drift`."""
    start: int
    """The first observation with a part in it."""
    found: int
    """The observation at which it was found."""
    sign: int
    """1 where values became larger, else −1."""


def limits(num_series: int, per_observation: float) -> Limits:
    """The limits with which all series together signal at most `per_observation` times at each
    observation where nothing changes. The two charts share the rate, and so do both sides.

    The step has a normal tail; the CUSUM Siegmund's average run length, (exp(2kb) − 2kb − 1) ÷ 2k²
    with b = h + 1.166."""
    rate = per_observation / 2 / (2 * num_series)
    k = ALLOWANCE

    def excess(b: float) -> float:
        return float((np.exp(2 * k * b) - 2 * k * b - 1) / (2 * k**2) - 1 / rate)

    return Limits(float(stats.norm.isf(rate)), float(optimize.brentq(excess, 0.1, 100)) - 1.166)


def standardised(series: Sequence[Values]) -> Array:
    """Every observation against the mean of those before it: (n,), standard normal where nothing
    changes; NaN for the first one, for one with too few seeds, and for one that repeats the values
    of the one before.

    Where all observations share LEAST_SEEDS seeds, only these count, and each is compared with
    itself: the spread is that of their differences, pooled over the observations so far and with
    the spread to expect. Else the means are compared, and the spread is that of the seeds."""
    enough = [set(values) for values in series if len(values) >= LEAST_SEEDS]
    shared = set.intersection(*enough) if enough else set()
    is_paired = len(shared) >= LEAST_SEEDS
    scores = np.full(len(series), np.nan)
    before: list[Array] = []
    squares, degrees = 0.0, 0.0
    previous: Values = {}
    for i, values in enumerate(series):
        seeds = sorted(shared if is_paired else values)
        if len(values) < LEAST_SEEDS or _is_same(values, previous):
            continue
        previous = values
        now = np.array([values[seed] for seed in seeds])
        if is_paired:
            if not before:
                squares = PRIOR_DEGREES * (PRIOR_SPREAD * now.std(ddof=1)) ** 2
                degrees = PRIOR_DEGREES
                before.append(now)
                continue
            n = len(before)
            contrast = (now - np.mean(before, axis=0)) * np.sqrt(n / (n + 1))
            size = float(contrast.mean() * np.sqrt(len(seeds)))
            squares += float(((contrast - contrast.mean()) ** 2).sum())
            degrees += len(seeds) - 1
        else:
            squares += float(((now - now.mean()) ** 2).sum())
            degrees += len(seeds) - 1
            if not before:
                before.append(now)
                continue
            rest = np.concatenate(before)
            size = float(now.mean() - rest.mean()) / np.sqrt(1 / len(now) + 1 / len(rest))
        before.append(now)
        scores[i] = _normal(size, squares, degrees)
    return scores


def changes(series: Sequence[Values], limit: Limits) -> list[Change]:
    """The changes of a series, in the order of time. Behind each one the chart begins again: what
    came after it is the new level."""
    found: list[Change] = []
    begin = 0
    while True:
        change = _first(standardised(series[begin:]), limit)
        if change is None:
            return found
        found.append(change._replace(start=change.start + begin, found=change.found + begin))
        begin = found[-1].found


def _first(scores: Array, limit: Limits) -> Change | None:
    """The first change that standardised differences show."""
    sums = {1: 0.0, -1: 0.0}
    starts = {1: 0, -1: 0}
    for i in np.flatnonzero(np.isfinite(scores)):
        if abs(scores[i]) > limit.step:
            return Change("step", int(i), int(i), int(np.sign(scores[i])))
        for sign in sums:
            if sums[sign] == 0:
                starts[sign] = int(i)
            sums[sign] = max(0.0, sums[sign] + sign * float(scores[i]) - ALLOWANCE)
            if sums[sign] > limit.drift:
                return Change("drift", starts[sign], int(i), sign)
    return None


def _is_same(values: Values, previous: Values) -> bool:
    """Whether a commit repeats the values of the one before: the same numbers, not new ones."""
    shared = values.keys() & previous.keys()
    if len(shared) < LEAST_SEEDS:
        return False
    now, before = (np.array([run[seed] for seed in shared]) for run in (values, previous))
    return bool(np.isclose(now, before, rtol=EQUAL, atol=0).all())


def _normal(size: float, squares: float, degrees: float) -> float:
    """The normal score of size ÷ spread, which has Student's law with so many degrees."""
    if squares <= 0:
        return 0.0 if size == 0 else float(np.copysign(np.inf, size))
    value = size / np.sqrt(squares / degrees)
    tail = max(float(stats.t.sf(abs(value), degrees)), 1e-300)
    return float(np.copysign(stats.norm.isf(tail), value))
