"""The values of a cell, from the rows of its files: by generator step and series."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from benchmark.export.base import Position

StoredRow = dict[str, Any]


class Value(NamedTuple):
    """A value of a series at a generator step. None: there is no value to export."""

    step: int
    series: str
    value: float | None


def eval_values(rows: list[StoredRow], logged: set[int]) -> Iterator[Value]:
    """The metrics; and once per evaluation the training seconds, with the samples seen where no row
    of steps has them."""
    last = None
    for row in rows:
        step = row["g_steps"]
        if step != last:
            yield Value(step, "train_seconds", row.get("train_seconds"))
            if step not in logged:
                yield Value(step, "samples_seen", row.get("samples_seen"))
        last = step
        yield Value(step, row["metric"], row.get("value"))


def step_values(rows: list[StoredRow]) -> Iterator[Value]:
    for row in rows:
        for series, value in row.items():
            if series not in ("schema", "g_step"):
                yield Value(row["g_step"], series, value)


class Unseen(NamedTuple):
    """The values of a file that were not exported, and the position once they are."""

    values: list[Value]
    position: Position


def unseen(values: list[Value], seen: Position) -> Unseen:
    """The values beyond a position. The position never moves back: a resumed cell writes lost rows
    again, at steps that were exported before."""
    later = [value for value in values if value.step > seen.step]
    same_step = [value for value in values if value.step == seen.step]
    new = later + same_step[seen.num_values :]
    top = max((value.step for value in values), default=-1)
    if top < seen.step:
        return Unseen(new, seen)
    num_values = sum(value.step == top for value in values)
    if top == seen.step:
        num_values = max(num_values, seen.num_values)
    return Unseen(new, Position(top, num_values))


def series_of(values: Iterable[Value]) -> set[str]:
    """The series of a cell: those with a finite value. What an objective does not have is NaN in
    every row; in another series NaN says how the cell diverged."""
    return {value.series for value in values if _is_finite(value.value)}


def _is_finite(value: object) -> bool:
    # isfinite raises OverflowError for a whole number that no float holds
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def points_of(values: Iterable[Value], known: set[str]) -> dict[int, dict[str, float]]:
    """Generator step -> known series -> value, steps in ascending order."""
    points: dict[int, dict[str, float]] = {}
    for step, series, value in sorted(values, key=lambda value: value.step):
        if value is None or series not in known:
            continue
        if isinstance(value, float) or _is_finite(value):
            points.setdefault(step, {})[series] = value
    return points
