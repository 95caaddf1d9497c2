"""Changes of a mean over time: a combined Shewhart–CUSUM chart of standardised differences.

Each observation is the values of some seeds. It is compared with the mean of all observations
before it (the contrasts of Helmert), so that neither the level nor the spread has to be known
beforehand, as in Hawkins's self-starting chart. A single difference beyond the Shewhart limit is a
step; small differences of one sign that add up beyond the limit of the CUSUM are a drift.

Sources: Page 1954, Continuous inspection schemes; Lucas 1982, Combined Shewhart–CUSUM quality
control schemes; Hawkins 1987, Self-starting cusum charts for location and scale; Siegmund 1985,
Sequential analysis, §2.6, for the average run length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from benchmark.stats.intervals import Array

ALLOWANCE = 0.5  # k: what a standardised difference must exceed to add to the sum
LEAST_SEEDS = 3  # of an observation
EQUAL = 1e-6  # relative difference of values that are the same
# The spread to expect of paired differences, as a share of the spread of seeds, and what it counts
PRIOR_SPREAD, PRIOR_DEGREES = 0.5, 2.0
SMALLEST = 1e-300  # a probability that has a normal score
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

    return Limits(-float(special.ndtri(rate)), float(optimize.brentq(excess, 0.1, 100)) - 1.166)


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
    spread = Spread()
    previous: Values = {}
    for i, values in enumerate(series):
        seeds = sorted(shared if is_paired else values)
        if len(values) < LEAST_SEEDS or _is_same(values, previous):
            continue
        previous = values
        now = np.array([values[seed] for seed in seeds])
        if not is_paired:
            spread.add(now)
        if before:
            if is_paired:
                n = len(before)
                contrast = (now - np.mean(before, axis=0)) * np.sqrt(n / (n + 1))
                spread.add(contrast)
                difference, error = contrast.mean(), np.sqrt(1 / len(seeds))
            else:
                rest = np.concatenate(before)
                difference = now.mean() - rest.mean()
                error = np.sqrt(1 / len(now) + 1 / len(rest))
            scores[i] = spread.normal_score(float(difference / error))
        elif is_paired:
            spread.expect(PRIOR_SPREAD * float(now.std(ddof=1)), PRIOR_DEGREES)
        before.append(now)
    return scores


@dataclass
class Spread:
    """The spread of values around their mean, pooled over observations."""

    squares: float = 0.0
    degrees: float = 0.0
    last: float = 0.0
    """The variance of the last observation alone."""

    def expect(self, deviation: float, degrees: float) -> None:
        """A standard deviation that counts as so many values."""
        self.squares += degrees * deviation**2
        self.degrees += degrees

    def add(self, values: Array) -> None:
        squares, degrees = float(((values - values.mean()) ** 2).sum()), len(values) - 1
        self.squares += squares
        self.degrees += degrees
        self.last = squares / degrees

    def normal_score(self, size: float) -> float:
        """The normal score of size ÷ spread by Student's law.

        The spread is the larger one of all observations and of the last alone: one seed that runs
        away makes its own commit uncertain, whatever the others did."""
        variance = max(self.squares / self.degrees, self.last)
        if variance == 0:
            return 0.0 if size == 0 else float(np.copysign(np.inf, size))
        value = size / np.sqrt(variance)
        tail = max(float(special.stdtr(self.degrees, -abs(value))), SMALLEST)
        return float(np.copysign(special.ndtri(tail), value))


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
