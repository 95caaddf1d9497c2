"""What the gate compares: one row for each group and metric, of a rerun or of a baseline."""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np

from benchmark.metrics import metric, sign
from benchmark.stats.intervals import robust_spread

DIVERGED = "diverged"
NUMBERS = "numbers"
UNKNOWN = "not known"
# Relative difference of numbers that count as equal: a baseline keeps 7 digits of some
EQUAL = 1e-6
# Bands ÷ median: loose, because a busy machine is no regression. Memory is a GPU's alone: what a
# process takes on a CPU belongs to its libraries and to earlier cells, so no reference is measured
# there.
COST = {"relative speed": 1.0, "relative memory": 0.25}


def are_equal(x: float, y: float) -> bool:
    """Whether two numbers count as equal; NaN and NaN do."""
    return x == y or abs(x - y) <= EQUAL * abs(y) < math.inf or (math.isnan(x) and math.isnan(y))


class RowKey(NamedTuple):
    """What two rows must share to be compared."""

    objective: str
    architecture: str
    dataset: str
    metric: str


@dataclass(frozen=True)
class Row:
    """One metric of one group: cells that differ in the seed alone."""

    objective: str
    architecture: str
    dataset: str
    metric: str
    """A metric column, `diverged`, or one of COST."""
    protocol: str | None
    """The protocol of the measurements; None where nothing is measured."""
    training: str
    """The digest of the training options."""
    values: dict[str, float | None]
    """The final value by seed; None for a hole. Of `diverged`: 0 or 1."""
    untrained: float | None
    """The median over seeds before the first step; None where it was not measured."""
    executed: str
    """How the cells were executed, or UNKNOWN; empty in `diverged`, and in an older baseline."""

    @property
    def key(self) -> RowKey:
        return RowKey(self.objective, self.architecture, self.dataset, self.metric)

    @property
    def title(self) -> str:
        """The group in words: `wgan / dcgan / digits`."""
        return f"{self.objective} / {self.architecture} / {self.dataset}"

    @property
    def family(self) -> str:
        """The family of comparisons that Holm's correction is over."""
        return family_of(self.metric)

    @property
    def sign(self) -> int:
        return sign_of(self.metric)

    @property
    def known(self) -> dict[str, float]:
        """The finite values by seed."""
        pairs = self.values.items()
        return {seed: x for seed, x in pairs if x is not None and math.isfinite(x)}

    @property
    def finite_values(self) -> list[float]:
        """The finite values, without their seeds."""
        return list(self.known.values())


@dataclass(frozen=True)
class RerunRow(Row):
    """A row of the results that are checked."""

    unfinished: int
    """Seeds whose run is not done or diverged."""
    unmeasured: int
    """Seeds that are done and have no value."""
    stale: int
    """Seeds that other code or other evaluation options made."""


@dataclass(frozen=True)
class BaselineRow(Row):
    """A row of a baseline."""

    band: float | None
    """How much worse the median may be; None for `diverged`, and for a cost without a value."""


AnyRow = TypeVar("AnyRow", bound=Row)


def family_of(column: str) -> str:
    """`quality`, `diverged` or `cost`."""
    if column == DIVERGED:
        return "diverged"
    return "cost" if column in COST else "quality"


def sign_of(column: str) -> int:
    """1 where more is worse, else −1."""
    return 1 if column in COST else sign(column)


def of_seeds(rows: Sequence[AnyRow], seeds: Container[str]) -> list[AnyRow]:
    """The rows with the values of these seeds alone."""
    selected = []
    for row in rows:
        values = {seed: value for seed, value in row.values.items() if seed in seeds}
        selected.append(replace(row, values=values))
    return selected


def common_seeds(rows: Sequence[Row]) -> set[str]:
    """The seeds that every row has."""
    return set.intersection(*(set(row.values) for row in rows))


def baseline_rows(rows: Sequence[Row]) -> list[BaselineRow]:
    """Rows of a rerun as a baseline holds them: with their bands."""
    return [
        BaselineRow(
            *row.key,
            row.protocol,
            row.training,
            row.values,
            row.untrained,
            row.executed,
            band=band_of(row),
        )
        for row in rows
    ]


def band_of(row: Row) -> float | None:
    return band(row.metric, row.finite_values)


def band(column: str, values: list[float]) -> float | None:
    """How much worse a group's median may be, from the values of the baseline's seeds.

    max(absolute, relative x median, 2 x robust spread of the seeds); of COST relative x median;
    None of `diverged`, which has a test and no band."""
    if column == DIVERGED:
        return None
    if column in COST:
        return COST[column] * float(np.median(values)) if values else None
    if not values:
        return metric(column).absolute
    return max(_least_loss(column, values), 2 * robust_spread(values))


def least_loss(row: Row) -> float:
    """The least loss of a metric that is worth reporting, whatever its seeds do."""
    return _least_loss(row.metric, row.finite_values)


def _least_loss(column: str, values: list[float]) -> float:
    tolerance = metric(column)
    return max(tolerance.absolute, tolerance.relative * abs(float(np.median(values))))


def useless(row: BaselineRow) -> str:
    """Why the band hides the loss of everything learned; the empty string where it does not.

    A generator without any skill has the value from before the first step. Where that was not
    measured, it has 0 if more is better."""
    values = row.finite_values
    if row.family != "quality" or row.band is None or not values:
        return ""
    no_skill = row.untrained
    if no_skill is None and metric(row.metric).direction == "max":
        no_skill = 0.0
    middle = float(np.median(values))
    if no_skill is None or row.sign * (no_skill - middle) > row.band:
        return ""
    return (
        f"the band {row.band:.3g} around {middle:.3g} "
        f"reaches the untrained generator's {no_skill:.3g}"
    )
