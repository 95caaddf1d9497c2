"""The targets of each place, and why a place has none.

A target is the matrix's own for the dataset, else a level of the way from the untrained generator
to the noise floor: no objective that is compared sets it. What an untrained generator reaches is
not a target."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pandas as pd

from benchmark.analysis.scores import PLACE
from benchmark.metrics import metric, ranking, short_name, sign
from benchmark.text import number

Place = tuple[str, str]  # dataset, architecture
Values = TypeVar("Values", float, pd.DataFrame)

# level -> share of the way
LEVELS = {"1/4": 0.25, "1/2": 0.5, "3/4": 0.75}
GIVEN = "given"
"""The level of a target that the matrix gives."""


@dataclass
class Targets:
    """What the runs of a place have to reach."""

    values: dict[str, float] = field(default_factory=dict)
    """By level; empty where there is no target."""
    why: str = ""
    """Why there is no target; empty where there is one."""


def has_way(column: str, untrained: float, floor: float) -> bool:
    """Whether a metric has a way from the untrained generator's value to the noise floor: it ranks
    as a distance, and both are known. False for NaN."""
    return metric(column).primary and 0 < floor < untrained


def share_of_way(values: Values, untrained: float, floor: float) -> Values:
    """How far a primary metric came from the untrained generator's value to the noise floor.

    0 at the untrained value, 1 at the floor, on the logarithm of the metric: a square root of the
    metric would change nothing. −∞ for a run that diverged (inf). Only where `has_way`."""
    with np.errstate(divide="ignore"):
        return (np.log(untrained) - np.log(values)) / (np.log(untrained) - np.log(floor))


def ranking_columns(evals: pd.DataFrame, cells: pd.DataFrame) -> dict[str, str]:
    """The column that ranks each dataset, as `ranking` chooses among the measured ones."""
    measured = evals[["cell", "metric"]].drop_duplicates().astype(str)
    dataset = measured["cell"].map(cells.set_index("key")["dataset"])
    primary = {}
    for name, columns in measured["metric"].groupby(dataset, sort=False):
        column = ranking(columns.unique())
        if column:
            primary[str(name)] = column
    return primary


def untrained_values(
    cells: pd.DataFrame, evals: pd.DataFrame, primary: Mapping[str, str]
) -> dict[Place, float]:
    """The median over runs of the primary metric before the first step, by place; NaN for none."""
    start = evals[evals["g_steps"] == 0].astype({"cell": str, "metric": str})
    column = cells.set_index("key")["dataset"].map(primary)
    start = start[start["metric"] == start["cell"].map(column)]
    value = cells["key"].map(start.set_index("cell")["value"])
    medians = value.groupby([cells[name] for name in PLACE], sort=False).median()
    return dict(zip(medians.index.to_list(), medians.to_list(), strict=True))


def find_targets(
    untrained: Mapping[Place, float],
    floors: Mapping[str, float],
    primary: Mapping[str, str],
    given: Mapping[str, float],
) -> dict[Place, Targets]:
    """The targets by place. untrained: `untrained_values`; floors: the noise floor of each
    dataset's primary metric; given: the matrix's own targets by the label or the bare name of a
    dataset."""
    targets = {}
    for (dataset, architecture), before in untrained.items():
        # the bare name stands for all variations
        target = given.get(dataset, given.get(dataset.partition("[")[0]))
        column = primary.get(dataset)
        if column is None:
            found = Targets(why=f"no metric that ranks is measured on {dataset}")
        elif target is not None:
            found = _given(float(target), before, column)
        else:
            found = _levels(before, floors.get(dataset, np.nan), column)
        targets[dataset, architecture] = found
    return targets


def _given(target: float, untrained: float, column: str) -> Targets:
    direction = sign(column)
    if direction * untrained <= direction * target:
        return Targets(
            why=f"an untrained generator, at {number(untrained)}, reaches {number(target)} already"
        )
    return Targets({GIVEN: target})


def _levels(untrained: float, floor: float, column: str) -> Targets:
    if not metric(column).primary:
        return Targets(
            why=f"the matrix gives none, and {short_name(column)} has no logarithmic scale"
        )
    if np.isnan(untrained):
        return Targets(why="the untrained generator was not measured")
    if not floor > 0:
        return Targets(why=f"the noise floor of {short_name(column)} is not known")
    if floor >= untrained:
        return Targets(
            why=f"an untrained generator, at {number(untrained)}, is at the noise floor already"
        )
    levels = {}
    for level, share in LEVELS.items():
        levels[level] = float(untrained ** (1 - share) * floor**share)
    return Targets(levels)
