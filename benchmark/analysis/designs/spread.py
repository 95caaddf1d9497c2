"""Crossed seeds: how much of an objective's spread over seeds do the initial weights make, how much
the batches?"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.scores import BATCHES, PLACE, WEIGHTS, is_crossed, run_values
from benchmark.analysis.tables import Tables
from benchmark.metrics import metric
from benchmark.stats.variance import components

SOURCES = {
    "weights": "initial weights",
    "batches": "batches, latents, noise",
    "rest": "both together, and measuring",
}
COLUMNS = [*PLACE, "objective", "metric", "scale", "weights", "batches", "n", "source"]
COLUMNS += ["variance", "low", "high", "share", "sd", "p", "why"]


@dataclass
class Spread:
    """What crossed seeds say."""

    components: pd.DataFrame
    """COLUMNS: a row per objective and source. scale: log, or plain for a metric without ratios;
    weights, batches: the numbers of seeds; sd: the standard deviation, on the scale log as a share
    (0.1: ± 10 %); why: why there are no components."""
    values: pd.DataFrame
    """The final values behind them: PLACE, objective, WEIGHTS, BATCHES, value."""

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """The frames that are written, by name."""
        return {"spread": self.components}


def gather(tables: Tables) -> Spread | None:
    """The components of variance of every objective with crossed seeds; None for a matrix without
    any."""
    cells = tables.runs[is_crossed(tables.runs)]
    if cells.empty:
        return None
    long = run_values(cells).merge(cells[["key", WEIGHTS, BATCHES]], on="key")
    is_final = (long["of"] == "final") & (long["metric"] == long["dataset"].map(tables.primary))
    rows: list[dict[str, Any]] = []
    values = []
    for (dataset, architecture, objective), runs in long[is_final].groupby(
        [*PLACE, "objective"], sort=False
    ):
        table = runs.pivot(index=WEIGHTS, columns=BATCHES, values="value")
        names = {"dataset": dataset, "architecture": architecture, "objective": objective}
        rows += [names | row for row in _components(table, tables.primary[str(dataset)])]
        values.append(runs[[*PLACE, "objective", WEIGHTS, BATCHES, "value"]])
    columns = [*PLACE, "objective", WEIGHTS, BATCHES, "value"]
    shown = pd.concat(values, ignore_index=True) if values else pd.DataFrame(columns=columns)
    return Spread(pd.DataFrame(rows, columns=COLUMNS), shown)


def _components(table: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """The rows of one objective in a place, from its final values, weights x batches."""
    values = table.to_numpy(dtype=float)
    is_log = metric(column).primary
    row = {
        "metric": column,
        "scale": "log" if is_log else "plain",
        "n": int(np.isfinite(values).sum()),
        "weights": values.shape[0],
        "batches": values.shape[1],
        "why": _why_not(values, is_log),
    }
    if row["why"]:
        return [row | {"source": source} for source in SOURCES]
    found = components(np.log(values) if is_log else values)
    rows = []
    for source, component, share in zip(SOURCES, found, found.shares, strict=True):
        sd = math.sqrt(max(0.0, component.variance))
        part = component._asdict() | {"share": share, "sd": math.expm1(sd) if is_log else sd}
        rows.append(row | {"source": source} | part)
    return rows


def _why_not(values: np.ndarray, is_log: bool) -> str:
    """Why a table has no components; empty where it has."""
    if min(values.shape) < 2:
        return "needs two seeds of weights and two of batches"
    missing, diverged = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if missing:
        return f"{missing} of {values.size} runs are not finished"
    if diverged:
        return f"{diverged} of {values.size} runs diverged"
    return "a value is 0, which has no logarithm" if is_log and values.min() <= 0 else ""
