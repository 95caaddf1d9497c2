"""The target of each place, and why a place has none.

A target is the matrix's own for the dataset, else the median best of the reference objective. What
an untrained generator reaches is not a target."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.analysis.scores import PLACE
from benchmark.analysis.thresholds import value
from benchmark.metrics import metric, sign
from benchmark.store.schema import FINISHED
from benchmark.text import number, plural


class Target(NamedTuple):
    """What a run has to reach."""

    value: float
    """NaN where there is none."""
    why: str = ""
    """Why there is no target; empty where there is one."""


def find_targets(
    cells: pd.DataFrame,
    evals: pd.DataFrame,
    primary: Mapping[str, str],
    reference: str | None,
    given: Mapping[str, float],
) -> dict[tuple[str, str], Target]:
    """The target by (dataset, architecture). cells: with METRIC:best.

    It is the one `given` for the dataset, else the median over seeds of the reference
    objective's best, where a diverged seed is the worst. There is none until all seeds of the
    reference in the place have finished and were measured: a target does not move with the seeds
    that happen to be finished."""
    untrained = evals[evals["g_steps"] == 0].astype({"cell": str, "metric": str})
    targets = {}
    for (dataset, architecture), runs in cells.groupby(PLACE, sort=False):
        place = (str(dataset), str(architecture))
        column = primary.get(place[0])
        if column is None:
            targets[place] = Target(np.nan, f"no metric that ranks is measured on {dataset}")
            continue
        by_cell = untrained[untrained["metric"] == column].set_index("cell")["value"]
        runs = runs.assign(best=runs[f"{column}:best"], untrained=runs["key"].map(by_cell))
        if place[0] in given:
            target = Target(float(given[place[0]]))
        else:
            target = _of_reference(runs, column, reference)
        targets[place] = _beyond_untrained(target, runs["untrained"], column)
    return targets


def _of_reference(runs: pd.DataFrame, column: str, reference: str | None) -> Target:
    """The median best of the reference objective among the runs of a place."""
    if reference is None:
        return Target(np.nan, "the matrix gives neither a target nor a reference objective")
    runs = runs[runs["objective"] == reference]
    if runs.empty:
        return Target(np.nan, f"{reference}, the reference, is not in this place")
    seeds = f"{plural(len(runs), 'seed')} of {reference}, the reference,"
    unfinished = int((~runs["status"].isin(FINISHED)).sum())
    if unfinished:
        return Target(np.nan, f"{unfinished} of {seeds} did not finish")
    is_diverged = runs["status"] == "diverged"
    best = runs["best"].mask(is_diverged, np.inf * sign(column))
    unmeasured = int(best.isna().sum())
    if unmeasured:
        return Target(np.nan, f"{unmeasured} of {seeds} have no value of {column}")
    middle = float(np.median(best))
    if not np.isfinite(middle):
        return Target(np.nan, f"{int(np.isinf(best).sum())} of {seeds} diverged")
    untrained = runs["untrained"].median()
    if metric(column).primary and middle >= value("stuck") * untrained:
        why = (
            f"{reference}, the reference, learned nothing that could be reached: "
            f"{number(middle)} at best, {number(untrained)} untrained"
        )
        return Target(np.nan, why)
    return Target(middle)


def _beyond_untrained(target: Target, untrained: pd.Series, column: str) -> Target:
    """The target, unless untrained generators reach it at the median. untrained: their values."""
    direction = sign(column)
    middle = untrained.median()
    if direction * middle <= direction * target.value:
        why = f"an untrained generator, at {number(middle)}, reaches {number(target.value)} already"
        return Target(np.nan, why)
    return target
