"""The data of the learning curves: every metric of every place on every clock."""

from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.published import joined
from benchmark.analysis.scores import EQUAL_COST, PLACE
from benchmark.analysis.tables import Tables
from benchmark.drawing.axes import view_of
from benchmark.drawing.layout import pages
from benchmark.drawing.save import stem
from benchmark.drawing.style import described, floor_name
from benchmark.metrics import metric, rank
from benchmark.report.charts.values import number, numbers
from benchmark.report.figures.learning import (
    BUDGETS,
    LEARNING_FIGURE,
    at_places,
    diverged_ends,
    is_sweep,
)
from benchmark.text import place_name

CLOCKS = {
    "g_steps": "generator steps",
    "forwards": "critic forward-equivalents",
    "raced_seconds": "raced seconds",
    "samples_seen": "samples seen by the critic",
}


def of_figures(tables: Tables) -> dict[str, dict[str, Any]]:
    """Stem of a figure of learning curves -> its chart."""
    rows = joined(tables.evals, tables.cells)
    is_primary = rows["metric"].astype(str) == rows["dataset"].map(tables.primary)
    charts = {}
    for part, page in pages(rows[is_primary]):
        if not page.empty:
            places = page[PLACE].drop_duplicates()
            shown = at_places(rows, places)
            name = stem(LEARNING_FIGURE.stem, part) if part else LEARNING_FIGURE.stem
            charts[name] = _chart(shown, tables)
    return charts


def _chart(rows: pd.DataFrame, tables: Tables) -> dict[str, Any]:
    places = [
        _place(str(dataset), str(architecture), per_place, tables)
        for (dataset, architecture), per_place in rows.groupby(PLACE, sort=False)
    ]
    known = rows[list(CLOCKS)].notna().any()
    columns = sorted(rows["metric"].astype(str).unique(), key=rank)
    return {
        "kind": "curves",
        "clocks": {clock: label for clock, label in CLOCKS.items() if known[clock]},
        "metrics": {column: described(column) for column in columns},
        "named": is_sweep(rows["objective"].unique()),
        "places": places,
    }


def _place(dataset: str, architecture: str, rows: pd.DataFrame, tables: Tables) -> dict[str, Any]:
    """The curves of one place: of each objective the clocks of its evaluations, and of each metric
    the median, the lowest and the highest seed at each of them."""
    objectives = list(tables.cells["objective"].unique())
    key = ["objective", "samples_seen"]
    clocks = rows.groupby(key, sort=True, observed=True)[["g_steps", *BUDGETS]].median()
    clocks["samples_seen"] = clocks.index.get_level_values("samples_seen")
    clocks = clocks[clocks.columns.drop_duplicates()]
    finite = rows.assign(value=rows["value"].where(np.isfinite(rows["value"])))
    groups = finite.groupby(["metric", *key], sort=True, observed=True)["value"]
    values = groups.agg(["median", "min", "max", "count"])
    ends = diverged_ends(rows)
    metrics = {}
    for column, of_metric in values.groupby("metric", sort=False, observed=True):
        of_metric = of_metric.droplevel("metric")
        metrics[str(column)] = _metric(str(column), dataset, of_metric, clocks, tables) | {
            "ends": _ends(ends[ends["metric"].astype(str) == column], objectives)
        }
    targets = tables.targets[dataset, architecture].values.values()
    budgets = {}
    for of, clock in EQUAL_COST.items():
        budget = tables.equal_cost[of].get((dataset, architecture))
        if budget is not None:
            budgets[clock] = number(budget)
    return {
        "name": place_name(architecture, dataset),
        "dataset": dataset,
        "architecture": architecture,
        "primary": tables.primary[dataset],
        "targets": [number(target) for target in targets],
        "budgets": budgets,
        "clocks": {
            str(objectives.index(name)): {clock: numbers(of[clock]) for clock in CLOCKS}
            for name, of in clocks.groupby("objective", sort=False)
        },
        "metrics": metrics,
    }


def _metric(
    column: str, dataset: str, values: pd.DataFrame, clocks: pd.DataFrame, tables: Tables
) -> dict[str, Any]:
    """One metric of a place. values: median, min, max and count by objective and samples seen."""
    objectives = list(tables.cells["objective"].unique())
    is_log = metric(column).primary and bool(values["min"].min() > 0)
    # every metric is given at the same evaluations
    whole = values.reindex(clocks.index)
    marks = {floor_name(column): tables.floor(dataset, column)} | tables.marks(dataset, column)
    view = view_of(values[["min", "max"]].to_numpy(), marks, is_log)
    return {
        "log": is_log,
        # in full: values may differ in their last digits alone
        "range": [view.low, view.high],
        "lines": {name: number(value) for name, value in view.within.items()},
        "beyond": view.beyond,
        "series": {
            str(objectives.index(name)): {
                "median": numbers(of["median"]),
                "low": numbers(of["min"]),
                "high": numbers(of["max"]),
                "n": [int(n) for n in of["count"].fillna(0)],
            }
            for name, of in whole.groupby("objective", sort=False)
        },
    }


def _ends(ends: pd.DataFrame, objectives: list[str]) -> list[dict[str, Any]]:
    """The last measurements of runs that diverged."""
    return [
        {"objective": objectives.index(row["objective"]), "value": number(row["value"])}
        | {clock: number(row[clock]) for clock in CLOCKS}
        for row in ends.to_dict("records")
        if number(row["value"]) is not None
    ]
