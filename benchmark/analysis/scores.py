"""The values of a run that count, and their summary over seeds.

A table `cells` holds what was measured, whatever became of the run. Here a run that diverged has
the worst value (±inf), and a run that is not finished is a hole (NaN), which shows as
n < n_expected."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.metrics import rank, sign
from benchmark.stats.intervals import median_by_group
from benchmark.store.schema import FINISHED
from benchmark.text import counted, plural

AXES = ["objective", "architecture", "dataset", "seed"]
# a place: objectives are compared within it
PLACE = ["dataset", "architecture"]
# what a run has of every metric, as columns METRIC:VALUE of `cells`
RUN_VALUES = ["final", "best", "area", "equal_time"]
SUMMARY_BY = ["dataset", "architecture", "objective", "metric", "of"]


def ms_per_g_step(cells: pd.DataFrame) -> pd.Series:
    """Milliseconds of training per generator step, on the index of `cells`."""
    return 1000 * cells["train_seconds"] / cells["g_steps"]


def have_one_clock(cells: pd.DataFrame) -> pd.Series:
    """Whether the seconds of all cells of a cell's place compare: those that ran did so on one
    known device, in one way."""
    return cells.groupby(PLACE)["device"].transform("nunique") == 1


def clock_fault(cells: pd.DataFrame) -> str:
    """Why the seconds of the cells of a place do not compare, in words; empty if they do."""
    devices = cells["device"].dropna()
    if devices.empty:
        return "no run has recorded its device"
    if devices.nunique() == 1:
        return ""
    ways = []
    for device, rows in cells.groupby("device", sort=False):
        names = ", ".join(dict.fromkeys(rows["objective"]))
        ways.append(f"{device}: {plural(len(rows), 'run')} of {names}")
    return f"the runs were executed in {len(ways)} ways ({'; '.join(ways)})"


def run_values(cells: pd.DataFrame) -> pd.DataFrame:
    """What counts, long: key, AXES, status, metric, of (one of RUN_VALUES), value.

    A diverged run has the worst value, a run that is not done has NaN. A dataset's metrics are
    those that any of its cells has."""
    columns = _value_columns(cells)
    parts = []
    for _, rows in cells.groupby("dataset", sort=False):
        measured = [metric for metric in columns if _is_measured(rows, columns[metric])]
        kept = [name for name in cells.columns if _metric_of(name) in measured]
        parts.append(rows.melt(["key", *AXES, "status"], kept, "column", "value"))
    long = pd.concat(parts, ignore_index=True)
    names = long["column"].unique()
    long["metric"] = long["column"].map({name: _metric_of(name) for name in names})
    long["of"] = long["column"].map({name: name.rpartition(":")[2] for name in names})
    worst = {metric: np.inf * sign(metric) for metric in long["metric"].unique()}
    value = long["value"].astype(float).where(long["status"] == "done")
    value = value.where(long["status"] != "diverged", long["metric"].map(worst))
    return long.drop(columns="column").assign(value=value)


def scores(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per finished cell and metric of its dataset: cell, AXES, metric, RUN_VALUES.

    A diverged run has the worst value. Cells are in the order of the matrix, metrics in the order
    of METRICS."""
    long = run_values(cells)
    long = long[long["status"].isin(FINISHED)]
    index = ["key", *AXES, "metric"]
    wide = long.pivot(index=index, columns="of", values="value").reset_index()
    wide["position"] = wide["key"].map({key: i for i, key in enumerate(cells["key"])})
    wide["rank"] = wide["metric"].map(rank)
    wide = wide.sort_values(["position", "rank"], ignore_index=True).rename(columns={"key": "cell"})
    return wide.reindex(columns=["cell", *AXES, "metric", *RUN_VALUES]).rename_axis(columns=None)


def summarise(cells: pd.DataFrame) -> pd.DataFrame:
    """Objective x architecture x dataset x metric x of: the values of a run over its seeds.

    n, n_expected and diverged are counts of seeds; n have a finite value. median and its exact
    interval ci_low, ci_high at 95 % are over these and the diverged ones, which have the worst
    value. Fewer than five seeds have no interval."""
    long = run_values(cells)
    # a stable order: the matrix's, METRICS', RUN_VALUES
    orders: dict[str, Any] = {
        name: cells[name].unique() for name in ("dataset", "architecture", "objective")
    }
    orders |= {"metric": sorted(long["metric"].unique(), key=rank), "of": RUN_VALUES}
    for name, order in orders.items():
        long[name] = pd.Categorical(long[name], order)
    long["finite"] = long["value"].where(np.isfinite(long["value"]))
    long["diverged"] = long["status"] == "diverged"
    group = long.groupby(SUMMARY_BY, observed=True)
    frame = group.agg(
        n=("finite", "count"), n_expected=("key", "size"), diverged=("diverged", "sum")
    )
    estimates = median_by_group(long["value"], group.ngroup(), len(frame))
    frame[["median", "ci_low", "ci_high"]] = estimates
    frame = frame.reset_index().astype(dict.fromkeys(SUMMARY_BY, str))
    return frame[["objective", "architecture", "dataset", *frame.columns[3:]]]


def statuses(cells: pd.DataFrame) -> str:
    """`12 done, 3 error`."""
    return counted(Counter(map(str, cells["status"])))


def why_unranked(cells: pd.DataFrame, column: str | None) -> str:
    """Why no run of `cells` has a final value of the column that ranks: a clause without a point.

    column: None where no metric that ranks is measured."""
    runs = plural(len(cells), "run")
    finished = int(cells["status"].isin(FINISHED).sum())
    if not finished:
        return f"no run has finished ({statuses(cells)})"
    if column is None:
        columns = _value_columns(cells)
        measured = [name for name in columns if _is_measured(cells, columns[name])]
        if not measured:
            return f"{finished} of {runs} finished, and none has a measurement"
        return f"none of the metrics measured ranks ({', '.join(measured)})"
    return f"{finished} of {runs} finished, and none has a value of {column} at its last evaluation"


def _metric_of(column: str) -> str | None:
    """The metric of a column METRIC:VALUE of `cells`; None for another column."""
    metric, _, value = column.rpartition(":")
    return metric if metric and value in RUN_VALUES else None


def _value_columns(cells: pd.DataFrame) -> Mapping[str, list[str]]:
    """The columns METRIC:VALUE of `cells`, by metric."""
    columns: dict[str, list[str]] = {}
    for name in cells.columns:
        metric = _metric_of(name)
        if metric is not None:
            columns.setdefault(metric, []).append(name)
    return columns


def _is_measured(cells: pd.DataFrame, columns: Sequence[str]) -> bool:
    return bool(cells[columns].notna().any(axis=None))
