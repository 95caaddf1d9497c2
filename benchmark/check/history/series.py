"""The values of a history as series, one per group and metric, and the changes in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmark.check.history.read import Commit
from benchmark.check.rows import Row, RowKey
from benchmark.stats.cusum import Change, Limits, changes, limits

PER_COMMIT = 0.01
"""False alarms at each commit of unchanged code, over all series together."""
NOMINAL = PER_COMMIT / 4
"""The rate for normal values, from which the limits follow. Seeds that run away make it up to four
times as large (docs/history.md)."""


class Place(NamedTuple):
    """A commit of a series."""

    number: int
    """Of the commit in the history."""
    row: Row

    @property
    def mean(self) -> float:
        return float(np.mean(self.row.finite_values)) if self.row.finite_values else np.nan

    @property
    def spread(self) -> float:
        """Standard deviation of the seeds; NaN below two."""
        values = self.row.finite_values
        return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


@dataclass(frozen=True)
class Series:
    """A metric of a group under one protocol and the same training options."""

    key: RowKey
    places: list[Place]

    @property
    def title(self) -> str:
        return self.places[0].row.title

    @property
    def is_judged(self) -> bool:
        """Whether it is looked through for changes: the metrics of quality, over more than one
        commit. Costs are the same for all seeds, and divergence is the gate's."""
        return self.places[0].row.family == "quality" and len(self.places) > 1


class Found(NamedTuple):
    """A change of a series."""

    series: Series
    change: Change

    @property
    def is_worse(self) -> bool:
        return self.change.sign == self.series.places[0].row.sign

    @property
    def start(self) -> Place:
        return self.series.places[self.change.start]

    @property
    def end(self) -> Place:
        return self.series.places[self.change.found]

    @property
    def before(self) -> float:
        """The mean over seeds at the commit before."""
        return self.series.places[max(self.change.start - 1, 0)].mean


def series_of(commits: Sequence[Commit]) -> list[Series]:
    """All series. Another protocol, or other training options, begin a new series: their values
    are never compared."""
    by_key: dict[RowKey, list[Place]] = {}
    for number, commit in enumerate(commits):
        for row in commit.rows:
            by_key.setdefault(row.key, []).append(Place(number, row))
    found = []
    for key, places in by_key.items():
        part = [places[0]]
        for place in places[1:]:
            if _measured_as(place) != _measured_as(part[-1]):
                found.append(Series(key, part))
                part = []
            part.append(place)
        found.append(Series(key, part))
    return found


def look_through(series: Sequence[Series]) -> tuple[list[Found], Limits | None]:
    """The changes in all series, in the order in which they were found, and the limits; None
    without a series to judge."""
    judged = [one for one in series if one.is_judged]
    if not judged:
        return [], None
    limit = limits(len({one.key for one in judged}), NOMINAL)
    found = [Found(one, change) for one in judged for change in _changes(one, limit)]
    return sorted(found, key=lambda change: change.end.number), limit


def _changes(series: Series, limit: Limits) -> Iterator[Change]:
    yield from changes([place.row.known for place in series.places], limit)


def _measured_as(place: Place) -> tuple[str | None, str]:
    return place.row.protocol, place.row.training
