"""Numbers compared seed by seed: at which step do a rerun and its baseline part?

Training is deterministic. On the same kind of CPU, executed in the same way, a rerun on a seed of
the baseline gives the baseline's numbers, bit for bit, so that every difference is one of the code.
On another processor, or in another way, numbers differ by rounding, and training makes that larger
step by step: there the first steps alone tell more than rounding does, and final values nothing."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.check.rows import EQUAL, NUMBERS, BaselineRow, RerunRow, Row, are_equal
from benchmark.check.traces import SCORES, Point, Trace
from benchmark.check.verdict import Verdict
from benchmark.stats.intervals import Array
from benchmark.text import plural

# By how much rounding alone may move a number up to a generator step, relative: about ten times the
# largest difference that other instructions, stacks and compiling made in 28 runs of the quick
# matrix and 28 of text, at least 1e-5 (docs/gate.md, tests/studies/rounding.py). Later
# steps are not compared. Points are trained by RMSProp at a high rate, whose first steps have full
# size in every direction: there rounding becomes as large as the numbers by the second step. Before
# the first step text is characters: rounding changes none, or single ones.
ROUNDING: dict[str, dict[int, float]] = {
    "points": {0: 1e-4, 1: 3e-2},
    "images": {0: 1e-4, 1: 1e-5, 2: 2e-3, 3: 5e-3, 5: 4e-2, 10: 0.1, 20: 0.2},
    "text": {0: 1e-3, 1: 6e-3, 2: 8e-2, 3: 0.3},
}
# Where rounding alone makes numbers part, it does so early in few seeds: in 6 of 25 at most, in the
# 14 groups of the quick matrix, compiled against eager. A change of the code is in most of them.
MOST = 0.75  # of the seeds
END = 10**9  # as a step: the final metrics


class Difference(NamedTuple):
    """The first number at which two runs of a seed part."""

    step: int
    """Generator step; 0 before the first one, END for the final metrics."""
    name: str
    seed: str
    new: float
    old: float

    def __str__(self) -> str:
        place = f"from step {self.step}"
        if self.step == 0:
            place = "before the first step"
        elif self.step == END:
            place = "in the final metrics alone"
        values = f"{self.name} {self.new:.6g} against {self.old:.6g} in the baseline"
        return f"numbers differ {place}: {values} (seed {self.seed})"


def compare_numbers(
    old: Sequence[Trace],
    new: Sequence[Trace],
    old_rows: Sequence[BaselineRow],
    new_rows: Sequence[RerunRow],
) -> list[Verdict]:
    """A verdict for every group of which both sides have a trace: its mark is +, ≠ or ?.

    One verdict of mark ? where the baseline has no trace at all."""
    if not old:
        note = "the baseline keeps no numbers of the first steps: accept a new one"
        return [Verdict("whole matrix", NUMBERS, "?", note=note)]
    by_group = {trace.group: trace for trace in old}
    verdicts = []
    for trace in new:
        former = by_group.get(trace.group)
        if former is not None:
            finals = _finals(trace, old_rows), _finals(trace, new_rows)
            verdicts.append(_compared(former, trace, *finals))
    return verdicts


def origins_differ(old: Sequence[Trace], new: Sequence[Trace]) -> str:
    """Why the numbers of the two sides need not be equal; the empty string where they must be."""
    by_group = {trace.group: trace for trace in old}
    pairs = [(by_group[trace.group], trace) for trace in new if trace.group in by_group]
    for before, after in pairs:
        if before.origin != after.origin:
            sides = zip(("machine", "execution"), before.origin, after.origin, strict=True)
            parts = []
            for fact, then, now in sides:
                if then != now:
                    parts.append(f"{fact} of the results: {now}, of the baseline: {then}")
            return "; ".join(parts)
        if not after.origin.is_reproducible:
            return f"reruns on {', executed as '.join(after.origin)}, may differ by rounding"
    return "" if pairs else "no group has numbers on both sides"


def tolerances(points: Sequence[Point], rounding: str | None) -> Array:
    """By how much numbers may differ, relative to their size; infinite where they are not compared.
    rounding: a key of ROUNDING, or another text where rounding is not known; None for numbers that
    must be equal."""
    if rounding is None:
        return np.full(len(points), EQUAL)
    table = ROUNDING.get(rounding, {})
    limits = np.array([*table.values(), np.inf])
    return limits[np.searchsorted([*table], [point.step for point in points])]


def _compared(
    old: Trace, new: Trace, old_finals: dict[str, Row], new_finals: dict[str, Row]
) -> Verdict:
    """The verdict of one group."""
    verdict = Verdict(new.title, NUMBERS, "?")
    seeds = sorted(old.seeds.keys() & new.seeds.keys(), key=int)
    if old.training != new.training:
        verdict.note = "other training options than the baseline's"
        return verdict
    if not seeds:
        verdict.note = "no seed of the baseline to compare numbers with"
        return verdict
    rounding = _rounding(old, new)
    points = _points(old, new, rounding)
    if not points:
        verdict.note = "no number to compare on both sides"
        return verdict
    found: list[Difference] = []
    for seed in seeds:
        found += _differences(old, new, seed, points, rounding)
    if rounding is None and old.protocol == new.protocol:
        found += _final_differences(old_finals, new_finals, seeds)
    differing = {difference.seed for difference in found}
    if len(differing) > (0 if rounding is None else MOST * len(seeds)):
        first = min(found, key=lambda difference: difference.step)
        verdict.mark = "≠"
        verdict.note = f"{first}; {len(differing)} of {len(seeds)} seeds differ"
        return verdict
    verdict.mark = "+"
    last = max(point.step for point in points)
    extent = "to the end" if rounding is None else f"up to rounding, as far as step {last}"
    verdict.note = f"equal numbers {extent}: {plural(len(seeds), 'seed')}"
    if differing:
        verdict.note += f", of which {len(differing)} part earlier"
    return verdict


def _rounding(old: Trace, new: Trace) -> str | None:
    """The key of ROUNDING for two traces; None where their numbers must be equal."""
    is_exact = old.origin == new.origin and new.origin.is_reproducible
    return None if is_exact else new.rounding


def _points(old: Trace, new: Trace, rounding: str | None) -> list[Point]:
    """The numbers that are compared: those of both sides that have a finite tolerance, and were
    measured under one protocol."""
    known = set(old.points)
    points = [point for point in new.points if point in known]
    if old.protocol != new.protocol:
        points = [point for point in points if point.step]
    pairs = zip(points, tolerances(points, rounding), strict=True)
    return [point for point, limit in pairs if np.isfinite(limit)]


def _differences(
    old: Trace, new: Trace, seed: str, points: list[Point], rounding: str | None
) -> Iterator[Difference]:
    """The numbers of a seed that differ by more than their tolerance."""
    before, after = _numbers(old, seed, points), _numbers(new, seed, points)
    tolerance = tolerances(points, rounding)
    differs = np.isfinite(before) != np.isfinite(after)
    with np.errstate(invalid="ignore"):
        differs |= np.abs(after - before) > tolerance * _sizes(points, before, after)
    for i in np.flatnonzero(differs):
        step, name = points[i]
        yield Difference(step, name, seed, float(after[i]), float(before[i]))


def _numbers(trace: Trace, seed: str, points: list[Point]) -> Array:
    index = [trace.points.index(point) for point in points]
    return trace.seeds[seed][index]


def _sizes(points: list[Point], before: Array, after: Array) -> Array:
    """The size that a difference of each number is relative to.

    It is the larger of the two sides. The scores and losses of a step share theirs, because a loss
    may be a small difference of large scores."""
    sizes = np.fmax(np.abs(before), np.abs(after))
    shared: dict[tuple[int, bool], float] = {}
    keys = [_scores_key(point) for point in points]
    for key, size in zip(keys, sizes, strict=True):
        if key is not None:
            shared[key] = np.fmax(size, shared.get(key, 0.0))
    pairs = zip(keys, sizes, strict=True)
    return np.array([size if key is None else shared[key] for key, size in pairs])


def _scores_key(point: Point) -> tuple[int, bool] | None:
    is_mean = point.name.startswith("mean ")
    is_score = point.name.removeprefix("mean ") in SCORES
    return (point.step, is_mean) if is_score else None


def _finals(trace: Trace, rows: Sequence[Row]) -> dict[str, Row]:
    """The rows of quality of a group, by metric."""
    return {
        row.metric: row for row in rows if row.family == "quality" and row.key[:3] == trace.group
    }


def _final_differences(
    old: dict[str, Row], new: dict[str, Row], seeds: Sequence[str]
) -> Iterator[Difference]:
    """The final metrics that differ."""
    for metric in sorted(old.keys() & new.keys()):
        for seed in seeds:
            before, after = old[metric].values.get(seed), new[metric].values.get(seed)
            x, y = _number(before), _number(after)
            if not are_equal(y, x):
                yield Difference(END, metric, seed, y, x)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
