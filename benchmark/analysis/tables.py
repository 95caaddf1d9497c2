"""Cell folders -> tidy tables: cells, evals, steps, layers, summary, convergence. Reads, derives,
writes parquet and CSV; trains nothing.

Raw first, derived later: `cells` holds what was measured whatever became of the run; `scores` says
what counts. A diverged run is the worst value (±inf), a run that is not done is a hole, and a hole
shows as n < n_expected."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet

from benchmark.analysis import convergence, stability
from benchmark.analysis.convergence import GROUP
from benchmark.errors import UserError
from benchmark.metrics import metric, rank, sign
from benchmark.stats import comparisons as stats
from benchmark.store.clocks import WALL_CLOCKS
from benchmark.store.code import CodeHashes
from benchmark.store.frames import is_wanted, read_frame
from benchmark.store.layout import ResultSet
from benchmark.store.schema import FINISHED, Entry, Environment, MatrixFile, Protocol, RunStatus

EVALS = ["samples_seen", "g_steps", "train_seconds", "metric", "value", "stderr", "n", "protocol"]
STEPS = [
    "g_step",
    "samples_seen",
    "d_loss",
    "g_loss",
    "d_real",
    "d_fake",
    "d_grad_norm",
    "g_grad_norm",
    "penalty",
]
STEPS += [
    "slope",
    "slope_std",
    "d_real_std",
    "d_fake_std",
    "saturation",
    "clipped",
    "d_loss_train",
    "d_loss_holdout",
]
LAYERS = ["g_step", "network", "layer", "depth", "grad_norm"]
REQUIRED = (
    "samples_seen",
    "metric",
    "protocol",
    "g_step",
    "network",
    "layer",
)  # a row of a file with them has them
TEXTS = ["metric", "protocol", "network", "layer"]
STATUS = ["onset", "resumes", "samples_seen", "g_steps", *WALL_CLOCKS, "peak_memory_mb"]
STATUS += ["forwards_per_d_step", "forwards_per_g_step", "reference_ms", "reference_mb"]
AXES = ["objective", "architecture", "dataset", "seed"]
OF = ["final", "best", "area", "equal_time"]
STEPS_OF = ["best_g_step", "final_g_step"]
TABLES = ["cells", "evals", "steps", "layers", "summary", "convergence"]


@dataclass
class Tables:
    """The tables of a matrix, its expanded list (matrix.json) and its protocols (protocols.json).

    cells: one row per cell of the list, in its order. evals, steps, layers: long. summary:
    objective x architecture x dataset x metric x of (OF). convergence: objective x architecture x
    dataset x clock. equal_seconds: the training time that `equal_time` stands for, by (dataset,
    architecture)."""

    cells: pd.DataFrame
    evals: pd.DataFrame
    steps: pd.DataFrame
    layers: pd.DataFrame
    summary: pd.DataFrame
    convergence: pd.DataFrame
    matrix: MatrixFile
    protocols: dict[str, Protocol]
    equal_seconds: dict[tuple[str, str], float]

    @cached_property
    def primary(self) -> dict[str, str]:
        """The column each dataset is ranked by: its first measured primary metric, in the order of
        METRICS."""
        return _primary(self.evals, self.cells)

    def floor(self, dataset: str, column: str) -> float:
        """The noise floor, real against held-out real; NaN where none was measured."""
        if dataset not in self.protocols:
            return np.nan
        return self.protocols[dataset].floor.get(column, np.nan)


def load(folder: Path) -> Tables:
    """The tables of results/runs/MATRIX. Raises UserError without matrix.json, for files that are
    damaged, and for two protocols in one dataset."""
    results, hashes = ResultSet(folder), CodeHashes()
    matrix, protocols = results.matrix, results.protocols
    if not matrix.cells:
        raise UserError(f"{results.matrix_file} lists no cells")
    cells = pd.DataFrame([_cell(results, entry, hashes) for entry in matrix.cells])
    cells["forwards"] = convergence.forwards(cells, cells)
    evals = _current(cells, _long(results, cells, "evals", EVALS))
    steps, layers = (
        _long(results, cells, "steps", STEPS),
        _long(results, cells, "layers", LAYERS),
    )
    primary = _primary(evals, cells)
    values = convergence.measured(evals).join(convergence.at_equal_time(cells, evals))
    names = [
        f"{name}:{of}"
        for name in sorted(evals["metric"].cat.categories, key=rank)
        for of in [*OF, *STEPS_OF]
    ]
    cells = cells.join(values[names], on="key")
    targets = convergence.find_targets(cells, primary, matrix.reference, matrix.targets)
    cells = cells.join(convergence.to_target(cells, evals, primary, targets))
    cells = cells.join(stability.judge(cells, evals, steps, protocols, primary), on="key")
    summary, reached = summarise(cells), convergence.kaplan_meier(cells)
    equal = convergence.equal_seconds(cells)
    return Tables(cells, evals, steps, layers, summary, reached, matrix, protocols, equal)


def write(tables: Tables, folder: Path) -> None:
    """Write each table to `folder`/tables as parquet and CSV."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        table = pa.Table.from_pandas(getattr(tables, name), preserve_index=False)
        parquet.write_table(table, folder / f"tables/{name}.parquet")
        csv.write_csv(table, folder / f"tables/{name}.csv")


def _cell(results: ResultSet, entry: Entry, hashes: CodeHashes) -> dict[str, Any]:
    """The row of a cell: its status, environment and spec."""
    files = results.cell(entry.key)
    status, environment = files.status, files.environment or Environment()
    row: dict[str, Any] = {name: getattr(entry, name) for name in ("key", *AXES, "modality")}
    is_there = status.status != RunStatus.MISSING
    row["status"] = str(status.status)
    # Without a spec.json: the spec of matrix.json, which the key is made of
    spec = files.spec or entry.spec
    row["stale"] = is_there and hashes.is_stale(status, entry.evaluation_hash, spec)
    row["reason"] = status.reason
    for name in STATUS:
        row[name] = _number(getattr(status, name)) if name in status.model_fields_set else np.nan
    if is_there and "compile_seconds" not in status.model_fields_set:
        # An older version: nothing was compiled
        row["compile_seconds"] = 0.0
    row["batch_size"] = _number(entry.spec.training.get("batch_size"))
    for name in ("protocol", "code", "precision", "layout", "norm"):
        row[name] = getattr(status, name)
    execution = status.execution
    row["execution"] = execution.mode if execution else None
    row["stack"] = _number(execution.stack) if execution else np.nan
    row["fallback"] = execution.fallback if execution else None
    recipe = [f"{name}={value}" for name, value in status.recipe.items()]
    row["recipe"] = " ".join(recipe) or None
    parts = [environment, *environment.resumes]
    row["device"] = _all([part.device for part in parts])
    mode = (execution.mode if execution else None) or "eager"
    ways = [mode]
    if execution and execution.stack > 1:
        ways.append(f"stack of {execution.stack}")
    if row["device"] and ways != ["eager"]:
        # Its seconds are not those of an eager cell on the same device
        row["device"] += f" ({', '.join(ways)})"
    row["torch"] = _all([part.versions.get("torch") for part in parts])
    row["git_commit"] = environment.git.commit if environment.git else None
    return row


def _all(names: list[str | None]) -> str | None:
    """What a cell ran on: "A + B" once it was resumed on another, so that it counts as a place of
    its own."""
    return " + ".join(name for name in dict.fromkeys(names) if name) or None


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _long(results: ResultSet, cells: pd.DataFrame, file: str, columns: list[str]) -> pd.DataFrame:
    texts = [name for name in columns if name in TEXTS]
    keys = cells["key"][
        cells["status"] != "missing"
    ]  # what lies in the folder of a missing cell is none of its own
    files = {key: getattr(results.cell(key), file) for key in keys}
    numbers, required = (
        [name for name in columns if name not in TEXTS],
        [name for name in columns if name in REQUIRED],
    )
    return read_frame(files, texts, numbers, required)[["cell", *columns]]


def _current(cells: pd.DataFrame, evals: pd.DataFrame) -> pd.DataFrame:
    """Rows of one protocol per dataset: that of the cells that are not stale, or of all where all
    are stale."""
    found = evals[["cell", "protocol"]].drop_duplicates().astype(str)
    found = found.merge(cells[["key", "dataset", "stale"]], left_on="cell", right_on="key")
    fresh = ~found["stale"] | ~found["dataset"].isin(found[~found["stale"]]["dataset"])
    counts = (
        found[fresh].groupby(["dataset", "protocol"], sort=False)["cell"].nunique().reset_index()
    )
    for name, rows in counts.groupby("dataset", sort=False):
        if len(rows) > 1:
            both = " and ".join(
                f"{row['protocol']} ({row['cell']} cells)" for row in rows.to_dict("records")
            )
            raise UserError(
                f"{name} is measured under {len(rows)} protocols, {both}: rows of different protocols are never "
                "compared; measure all of it again with `ganbench run --force`, or run into another --results folder"
            )
    protocol = cells.set_index("key")["dataset"].map(
        dict(zip(counts["dataset"], counts["protocol"], strict=True))
    )
    current = is_wanted(evals, "protocol", protocol)
    return evals if current.all() else evals[current].reset_index(drop=True)


def _primary(evals: pd.DataFrame, cells: pd.DataFrame) -> dict[str, str]:
    found = evals[["cell", "metric"]].drop_duplicates().astype(str)
    found["dataset"] = found["cell"].map(cells.set_index("key")["dataset"])
    ranked = sorted(
        (name for name in found["metric"].unique() if metric(name).primary), key=rank, reverse=True
    )
    return {
        str(dataset): name
        for name in ranked
        for dataset in found[found["metric"] == name]["dataset"].unique()
    }


def scores(cells: pd.DataFrame) -> pd.DataFrame:
    """What counts, long: key, axes, status, metric, of, value. Diverged is the worst value, not
    done is NaN.

    A dataset's metrics are those that any of its cells has."""
    columns = [name for name in cells.columns if name.rpartition(":")[2] in OF and ":" in name]
    parts = []
    for _, rows in cells.groupby("dataset", sort=False):
        metrics = {name.rpartition(":")[0] for name in columns if rows[name].notna().any()}
        kept = [name for name in columns if name.rpartition(":")[0] in metrics]
        parts.append(rows.melt(["key", *AXES, "status"], kept, "column", "value"))
    long = pd.concat(parts, ignore_index=True)
    split = {name: name.rpartition(":") for name in columns}
    long["metric"], long["of"] = (
        long["column"].map({name: split[name][i] for name in columns}) for i in (0, 2)
    )
    worst = long["metric"].map({name: np.inf * sign(name) for name in long["metric"].unique()})
    value = (
        long["value"]
        .astype(float)
        .where(long["status"] == "done")
        .where(long["status"] != "diverged", worst)
    )
    return long.drop(columns="column").assign(value=value)


def joined(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Rows of evals or steps with the axes, modality and status of their cells, in the order of the
    matrix."""
    axes = cells[["key", "objective", *GROUP, "seed", "modality", "status"]].rename(
        columns={"key": "cell"}
    )
    return axes.merge(rows, on="cell")


def crossed(cells: pd.DataFrame) -> list[str]:
    """The image datasets with two architectures or more: those that ask which objective trains
    which architecture."""
    counts = (
        cells[cells["modality"] == "images"]
        .groupby("dataset", sort=False)["architecture"]
        .nunique()
    )
    return list(counts.index[counts > 1])


def robustness(tables: Tables, dataset: str) -> pd.DataFrame:
    """architecture x objective of a dataset: seeds in the matrix, done, unfinished, a count for
    every verdict but ok; and the primary metric's final n, iqm, ci_low, ci_high as in summary."""
    by = ["architecture", "objective"]
    cells = tables.cells[tables.cells["dataset"] == dataset]
    marks = {"done": cells["status"] == "done", "unfinished": ~cells["status"].isin(FINISHED)}
    marks |= {name: cells["verdict"] == name for name in stability.VERDICTS if name != "ok"}
    frame = cells[by].assign(seeds=1, **marks).groupby(by, sort=False).sum()
    rows = tables.summary[
        (tables.summary["dataset"] == dataset) & (tables.summary["of"] == "final")
    ]
    rows = rows[rows["metric"] == tables.primary.get(dataset)]
    return frame.join(rows.set_index(by)[["n", "iqm", "ci_low", "ci_high"]]).reset_index()


def lost(row: dict[Any, Any]) -> list[str]:
    """The seeds of a row of `robustness` that were lost, and how: ["1/5 diverged", "2/5 late
    collapse"]."""
    ways = [*(name for name in stability.VERDICTS if name != "ok"), "unfinished"]
    return [f"{row[name]}/{row['seeds']} {name}" for name in ways if row[name]]


def summarise(cells: pd.DataFrame) -> pd.DataFrame:
    """objective x architecture x dataset x metric x of: n, n_expected, diverged, median, iqm,
    ci_low, ci_high.

    median counts a diverged seed as the worst value; iqm and its 95 % BCa interval are over the n
    seeds that have a finite value, so read them beside n, n_expected and diverged. Fewer than five
    seeds: no interval."""
    by = ["dataset", "architecture", "objective", "metric", "of"]
    long = scores(cells)
    for name in by:  # a stable order: the matrix's, METRICS', OF
        order = (
            OF
            if name == "of"
            else sorted(long[name].unique(), key=rank)
            if name == "metric"
            else cells[name].unique()
        )
        long[name] = pd.Categorical(long[name], order)
    long["finite"] = long["value"].where(np.isfinite(long["value"]))
    long["diverged"] = long["status"] == "diverged"
    group = long.groupby(by, observed=True)
    frame = group.agg(
        n=("finite", "count"),
        n_expected=("key", "size"),
        diverged=("diverged", "sum"),
        median=("value", "median"),
    )
    frame[["iqm", "ci_low", "ci_high"]] = stats.iqm_by_group(
        long["finite"], group.ngroup(), len(frame)
    )
    frame = frame.reset_index().astype(dict.fromkeys(by, str))
    return frame[["objective", "architecture", "dataset", *frame.columns[3:]]]
