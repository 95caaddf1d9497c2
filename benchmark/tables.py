"""Cell folders -> tidy tables: cells, evals, steps, summary. Reads, derives, writes parquet and CSV; trains nothing.

Raw first, derived later: `cells` holds what was measured whatever became of the run; `scores` says what counts. A
diverged run is the worst value (±inf), a run that is not done is a hole, and a hole shows as n < n_expected.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import UserError, stats
from benchmark.cell import FINISHED, cell_from_spec, cell_status, code_hash, read_json, read_rows
from benchmark.metrics import METRICS, metric

EVALS = ["cell", "samples_seen", "g_steps", "train_seconds", "metric", "value", "stderr", "n", "protocol"]
STEPS = ["cell", "g_step", "samples_seen", "d_loss", "g_loss", "d_real", "d_fake"]
STEPS += ["d_grad_norm", "g_grad_norm", "penalty", "slope"]
STATUS = ["onset", "samples_seen", "g_steps", "train_seconds", "eval_seconds", "other_seconds", "peak_memory_mb"]
AXES = ["objective", "architecture", "dataset", "seed"]
GROUP = ["dataset", "architecture"]
OF = ["final", "best", "area"]
# `duplicates` above which samples have no variety: most are near copies of one another, as one in a hundred real images
# is. A run has collapsed if it ends there after an evaluation below; unvaried is one that was never below, which a
# generator that has not learned yet and one that never had more than a few pictures have in common.
COLLAPSED = 0.5


@dataclass
class Tables:
    """The four tables of a matrix, its expanded list (matrix.json) and its protocols (protocols.json).

    cells: one row per cell of the list, in its order. evals, steps: long. summary: objective x architecture x
    dataset x metric x of (final, best, area)."""

    cells: pd.DataFrame
    evals: pd.DataFrame
    steps: pd.DataFrame
    summary: pd.DataFrame
    matrix: dict[str, Any]
    protocols: dict[str, Any]

    @property
    def primary(self) -> dict[str, str]:
        """The column each dataset is ranked by: its first measured primary metric, in the order of METRICS."""
        return _primary(self.evals, self.cells)

    def floor(self, dataset: str, column: str) -> float:
        """The noise floor, real against held-out real; NaN where none was measured."""
        return float(self.protocols.get(dataset, {}).get("floor", {}).get(column, np.nan))


def load(folder: Path) -> Tables:
    """The tables of results/runs/MATRIX. Raises UserError without matrix.json, or for two protocols in one dataset."""
    matrix = read_json(folder / "matrix.json")
    if "cells" not in matrix:
        raise UserError(f"no matrix.json in {folder}: not the results of a matrix; `ganbench run` writes them")
    protocols = {name: value for name, value in read_json(folder / "protocols.json").items() if name != "schema"}
    cells = pd.DataFrame([_cell(folder, entry) for entry in matrix["cells"]])
    evals = _current(cells, _long(folder, cells, "evals.jsonl", EVALS))
    steps = _long(folder, cells, "steps.jsonl", STEPS)
    cells = cells.join(_measured(evals), on="key")
    cells = cells.join(_variety(cells))
    cells = cells.assign(**_to_target(cells, evals, matrix.get("reference")))
    return Tables(cells, evals, steps, summarise(cells), matrix, protocols)


def write(tables: Tables, folder: Path) -> None:
    """Write each table to `folder`/tables as parquet and CSV."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name in ("cells", "evals", "steps", "summary"):
        frame: pd.DataFrame = getattr(tables, name)
        frame.to_parquet(folder / f"tables/{name}.parquet", index=False)
        frame.to_csv(folder / f"tables/{name}.csv", index=False)


def _cell(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    path = folder / "cells" / entry["key"]
    status, environment = cell_status(folder, entry["key"]), read_json(path / "environment.json")
    row = {name: entry[name] for name in ("key", *AXES, "modality")}
    row |= {"status": status.get("status", "missing"), "stale": bool(status) and _stale(path, status, entry)}
    row |= {"reason": status.get("reason")}
    row |= {name: _number(status.get(name)) for name in STATUS}
    row |= {name: status.get(name) for name in ("protocol", "code", "precision", "layout", "norm")}
    row |= {"recipe": " ".join(f"{name}={value}" for name, value in status.get("recipe", {}).items()) or None}
    row |= {"device": environment.get("device"), "torch": environment.get("versions", {}).get("torch")}
    return row | {"git_commit": (environment.get("git") or {}).get("commit")}


def _stale(path: Path, status: dict[str, Any], entry: dict[str, Any]) -> bool:
    if status.get("evaluation_hash") != entry.get("evaluation_hash"):
        return True
    try:
        return status.get("code") != code_hash(cell_from_spec(read_json(path / "spec.json")))
    except (OSError, KeyError):  # its variant's file, or its spec, is gone
        return True


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _long(folder: Path, cells: pd.DataFrame, file: str, columns: list[str]) -> pd.DataFrame:
    def rows() -> Iterator[dict[str, Any]]:
        for key in cells["key"]:
            yield from ({"cell": key, **row} for row in read_rows(folder / "cells" / key / file))

    frame = pd.DataFrame.from_records(list(rows()), columns=columns)
    text = ["cell", "metric", "protocol"]
    return frame.astype({name: str if name in text else float for name in columns})


def _current(cells: pd.DataFrame, evals: pd.DataFrame) -> pd.DataFrame:
    """Rows of one protocol per dataset: that of the cells that are not stale, or of all where all are stale."""
    of_cell = cells.set_index("key")
    dataset, stale = evals["cell"].map(of_cell["dataset"]), evals["cell"].map(of_cell["stale"]).astype(bool)
    fresh = ~stale | ~dataset.isin(dataset[~stale])
    found = pd.DataFrame({"dataset": dataset, "protocol": evals["protocol"], "cell": evals["cell"]})[fresh]
    counts = found.groupby(["dataset", "protocol"], sort=False)["cell"].nunique().reset_index()
    for name, rows in counts.groupby("dataset", sort=False):
        if len(rows) > 1:
            both = " and ".join(f"{row['protocol']} ({row['cell']} cells)" for row in rows.to_dict("records"))
            raise UserError(
                f"{name} is measured under {len(rows)} protocols, {both}: rows of different protocols are never "
                "compared; measure all of it again with `ganbench run --force`, or run into another --results folder"
            )
    protocol = dict(zip(counts["dataset"], counts["protocol"], strict=True))
    return evals[evals["protocol"] == dataset.map(protocol)].reset_index(drop=True)


def _measured(evals: pd.DataFrame) -> pd.DataFrame:
    """METRIC:final, METRIC:best and METRIC:area (trapezoid mean over samples_seen) by cell; NaN where one is NaN."""
    evals = evals.sort_values("samples_seen", kind="stable")
    group = evals.groupby(["cell", "metric"], sort=False)
    x, y = evals["samples_seen"], evals["value"]
    width, height = group["samples_seen"].diff(), (y + group["value"].shift()) / 2
    parts = evals[["cell", "metric"]].assign(width=width, area=width * height, holes=y.isna(), x=x, y=y)
    by_cell = parts.groupby(["cell", "metric"], sort=False)
    sums = by_cell[["width", "area", "holes"]].sum()
    last = parts.drop_duplicates(["cell", "metric"], keep="last").set_index(["cell", "metric"])["y"]
    largest = sums.index.get_level_values("metric").map(_direction) == "max"
    frame = pd.DataFrame(
        {
            "final": last,
            "best": by_cell["y"].min().where(~largest, by_cell["y"].max()),
            "area": (sums["area"] / sums["width"]).where(sums["width"] > 0, last).where(sums["holes"] == 0),
        }
    )
    wide = frame.unstack("metric")
    names = sorted(evals["metric"].unique(), key=_rank)
    return pd.DataFrame({f"{name}:{of}": wide[of, name] for name in names for of in OF}, index=wide.index)


def _variety(cells: pd.DataFrame) -> pd.DataFrame:
    """Whether a run that was done has `collapsed`, or is `unvaried`; missing where duplicates were not measured."""
    final, best = (
        cells[[name for name in cells.columns if name.startswith("duplicates_") and name.endswith(of)]].max(axis=1)
        for of in (":final", ":best")  # a cell has one such column at most
    )
    done, measured = cells["status"] == "done", final.notna()
    found = {"collapsed": (final > COLLAPSED) & (best <= COLLAPSED) & done, "unvaried": (best > COLLAPSED) & done}
    return pd.DataFrame({name: values.astype("boolean").where(measured) for name, values in found.items()})


def _direction(column: str) -> str:
    return metric(column).direction


def _rank(column: str) -> tuple[int, str]:
    return list(METRICS).index(metric(column).name), column


def _primary(evals: pd.DataFrame, cells: pd.DataFrame) -> dict[str, str]:
    dataset = evals["cell"].map(cells.set_index("key")["dataset"])
    found = pd.DataFrame({"dataset": dataset, "metric": evals["metric"]}).drop_duplicates()
    ranked = sorted((name for name in found["metric"].unique() if metric(name).primary), key=_rank, reverse=True)
    return {str(dataset): name for name in ranked for dataset in found[found["metric"] == name]["dataset"]}


def _to_target(cells: pd.DataFrame, evals: pd.DataFrame, reference: str | None) -> dict[str, pd.Series]:
    """The target, and samples and training seconds to it: inf when a finished run missed it, NaN when it has not run.

    Target = the median over seeds of the reference objective's best, in the same architecture and dataset."""
    column = cells["dataset"].map(_primary(evals, cells))
    best = scores(cells[cells["objective"] == reference]).query("of == 'best'")
    median = best.groupby([*GROUP, "metric"])["value"].median()
    places = pd.MultiIndex.from_arrays([cells["dataset"], cells["architecture"], column])
    target = pd.Series(median.reindex(places).to_numpy(dtype=float), cells["key"]).replace([np.inf, -np.inf], np.nan)

    rows = evals[evals["metric"] == evals["cell"].map(pd.Series(column.to_numpy(), cells["key"]))]
    sign = np.where(rows["metric"].map(_direction) == "min", 1, -1)
    hits = rows[sign * rows["value"] <= sign * rows["cell"].map(target).astype(float)]
    first = hits.sort_values("samples_seen", kind="stable").drop_duplicates("cell").set_index("cell")
    missed = cells["status"].isin(FINISHED) & target.notna().to_numpy()
    ends = {"target": pd.Series(target.to_numpy(), cells.index)}
    for name, source in (("samples_to_target", "samples_seen"), ("seconds_to_target", "train_seconds")):
        reached = cells["key"].map(first[source])
        ends[name] = reached.where(reached.notna() | ~missed, np.inf)
    return ends


def scores(cells: pd.DataFrame) -> pd.DataFrame:
    """What counts, long: key, axes, status, metric, of, value. Diverged is the worst value, not done is NaN.

    A dataset's metrics are those that any of its cells has."""
    columns = [name for name in cells.columns if ":" in name]
    long = cells.melt(["key", *AXES, "status"], columns, "column", "value")
    long[["metric", "of"]] = long.pop("column").str.rsplit(":", n=1, expand=True).reindex(columns=[0, 1])
    present = long[long["value"].notna()][["dataset", "metric"]].drop_duplicates()
    long = long.merge(present, on=["dataset", "metric"])
    worst = long["metric"].map({name: np.inf if _direction(name) == "min" else -np.inf for name in present["metric"]})
    value = long["value"].astype(float).where(long["status"] == "done").where(long["status"] != "diverged", worst)
    return long.assign(value=value)


def joined(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Rows of evals or steps with the axes, modality and status of their cells, in the order of the matrix."""
    axes = cells[["key", "objective", *GROUP, "seed", "modality", "status"]].rename(columns={"key": "cell"})
    return axes.merge(rows, on="cell")


def crossed(cells: pd.DataFrame) -> list[str]:
    """The image datasets with two architectures or more: those that ask which objective trains which architecture."""
    counts = cells[cells["modality"] == "images"].groupby("dataset", sort=False)["architecture"].nunique()
    return list(counts.index[counts > 1])


def robustness(tables: Tables, dataset: str) -> pd.DataFrame:
    """architecture x objective of a dataset: seeds in the matrix, done, diverged, unfinished; collapsed and unvaried,
    of those done; and the primary metric's final n, iqm, ci_low, ci_high as in summary."""
    by = ["architecture", "objective"]
    cells = tables.cells[tables.cells["dataset"] == dataset]
    marks = {name: cells["status"] == name for name in ("done", "diverged")}
    marks["unfinished"] = ~cells["status"].isin(FINISHED)
    marks |= {name: cells[name].fillna(False).astype(bool) for name in ("collapsed", "unvaried")}
    frame = cells[by].assign(seeds=1, **marks).groupby(by, sort=False).sum()
    rows = tables.summary[(tables.summary["dataset"] == dataset) & (tables.summary["of"] == "final")]
    rows = rows[rows["metric"] == tables.primary.get(dataset)]
    return frame.join(rows.set_index(by)[["n", "iqm", "ci_low", "ci_high"]]).reset_index()


def lost(row: dict[Any, Any]) -> list[str]:
    """The seeds of a row of `robustness` that were lost, and how: ["1/5 diverged", "2/5 collapsed"]."""
    ways = ("diverged", "collapsed", "unvaried", "unfinished")
    return [f"{row[name]}/{row['seeds']} {name}" for name in ways if row[name]]


def summarise(cells: pd.DataFrame) -> pd.DataFrame:
    """objective x architecture x dataset x metric x of: n, n_expected, diverged, median, iqm, ci_low, ci_high.

    median counts a diverged seed as the worst value; iqm and its 95 % BCa interval are over the n seeds that have a
    finite value, so read them beside n, n_expected and diverged. Fewer than five seeds: no interval."""
    by = ["dataset", "architecture", "objective", "metric", "of"]
    long = scores(cells)
    for name in by:  # a stable order: the matrix's, METRICS', final before best before area
        order = (
            OF if name == "of" else sorted(long[name].unique(), key=_rank) if name == "metric" else cells[name].unique()
        )
        long[name] = pd.Categorical(long[name], order)
    long["finite"] = long["value"].where(np.isfinite(long["value"]))
    long["diverged"] = long["status"] == "diverged"
    group = long.groupby(by, observed=True)
    frame = group.agg(
        n=("finite", "count"), n_expected=("key", "size"), diverged=("diverged", "sum"), median=("value", "median")
    )
    values = long.dropna(subset="finite")
    position = values.groupby(by, observed=True).cumcount()
    wide = values.assign(position=position).pivot(index=by, columns="position", values="finite").reindex(frame.index)
    frame[["iqm", "ci_low", "ci_high"]] = np.nan
    for n in sorted(set(frame["n"]) - {0}):
        rows = frame["n"] == n
        block = wide[rows].to_numpy()[:, :n]
        low, high = stats.interval(block, rng=np.random.default_rng(0))
        frame.loc[rows, ["iqm", "ci_low", "ci_high"]] = np.column_stack([stats.iqm(block), low, high])
    frame = frame.reset_index().astype(dict.fromkeys(by, str))
    return frame[["objective", "architecture", "dataset", *frame.columns[3:]]]
