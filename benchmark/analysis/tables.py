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
from benchmark.analysis.published import with_axes, with_parameters, with_whole_numbers
from benchmark.analysis.scores import AXES, PLACE, RUN_VALUES, scores, summarise
from benchmark.errors import UserError
from benchmark.metrics import metric, rank
from benchmark.store.clocks import CLOCKS
from benchmark.store.code import is_stale
from benchmark.store.frames import is_wanted, read_frame
from benchmark.store.result_set import (
    cell_status,
    read_matrix,
    read_protocols,
    read_stored,
)

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
STATUS = ["onset", "resumes", "samples_seen", "g_steps", *CLOCKS, "peak_memory_mb"]
STATUS += ["forwards_per_d_step", "forwards_per_g_step", "reference_ms", "reference_mb"]
STEPS_OF = ["best_g_step", "final_g_step"]
TABLES = ["cells", "evals", "steps", "layers", "summary", "convergence", "scores"]


@dataclass
class Tables:
    """The tables of a matrix, its expanded list (matrix.json) and its protocols (protocols.json).

    cells: one row per cell of the list, in its order. evals, steps, layers: long. summary:
    objective x architecture x dataset x metric x of (RUN_VALUES). convergence: objective x architecture x
    dataset x clock. equal_seconds: the training time that `equal_time` stands for, by (dataset,
    architecture)."""

    cells: pd.DataFrame
    evals: pd.DataFrame
    steps: pd.DataFrame
    layers: pd.DataFrame
    summary: pd.DataFrame
    convergence: pd.DataFrame
    matrix: dict[str, Any]
    protocols: dict[str, Any]
    equal_seconds: dict[tuple[str, str], float]

    @cached_property
    def primary(self) -> dict[str, str]:
        """The column each dataset is ranked by: its first measured primary metric, in the order of
        METRICS."""
        return _primary(self.evals, self.cells)

    def published(self) -> dict[str, pd.DataFrame]:
        """The tables by name, as they are written: with axes, parameters and whole numbers."""
        frames = {
            "cells": with_parameters(self.cells, [cell["spec"] for cell in self.matrix["cells"]]),
            "evals": with_axes(self.evals, self.cells),
            "steps": with_axes(self.steps, self.cells),
            "layers": with_axes(self.layers, self.cells),
            "summary": self.summary,
            "convergence": self.convergence,
            "scores": scores(self.cells),
        }
        return {name: with_whole_numbers(frame) for name, frame in frames.items()}

    def floor(self, dataset: str, column: str) -> float:
        """The noise floor, real against held-out real; NaN where none was measured."""
        return float(self.protocols.get(dataset, {}).get("floor", {}).get(column, np.nan))


def load(folder: Path) -> Tables:
    """The tables of results/runs/MATRIX. Raises UserError without matrix.json, for files that are
    damaged, and for two protocols in one dataset."""
    matrix, protocols = read_matrix(folder), read_protocols(folder)
    if not matrix["cells"]:
        raise UserError(f"{folder / 'matrix.json'} lists no cells")
    hashes: dict[Any, str] = {}
    cells = pd.DataFrame([_cell(folder, entry, hashes) for entry in matrix["cells"]])
    cells["forwards"] = convergence.forwards(cells, cells)
    evals = _current(cells, _long(folder, cells, "evals.jsonl", EVALS))
    steps, layers = (
        _long(folder, cells, "steps.jsonl", STEPS),
        _long(folder, cells, "layers.jsonl", LAYERS),
    )
    primary = _primary(evals, cells)
    values = convergence.measured(evals).join(convergence.at_equal_time(cells, evals))
    names = [
        f"{name}:{of}"
        for name in sorted(evals["metric"].cat.categories, key=rank)
        for of in [*RUN_VALUES, *STEPS_OF]
    ]
    cells = cells.join(values[names], on="key")
    targets = convergence.find_targets(
        cells, primary, matrix.get("reference"), matrix.get("targets", {})
    )
    cells = cells.join(convergence.to_target(cells, evals, primary, targets))
    cells = cells.join(stability.judge(cells, evals, steps, protocols, primary), on="key")
    summary, reached = summarise(cells), convergence.kaplan_meier(cells)
    equal = convergence.equal_seconds(cells)
    return Tables(cells, evals, steps, layers, summary, reached, matrix, protocols, equal)


def write(tables: Tables, folder: Path) -> None:
    """Write each table to `folder`/tables as parquet and CSV."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name, frame in tables.published().items():
        table = pa.Table.from_pandas(frame, preserve_index=False)
        parquet.write_table(table, folder / f"tables/{name}.parquet")
        csv.write_csv(table, folder / f"tables/{name}.csv")


def _cell(folder: Path, entry: dict[str, Any], hashes: dict[Any, str]) -> dict[str, Any]:
    path = folder / "cells" / entry["key"]
    status, environment = cell_status(folder, entry["key"]), read_stored(path / "environment.json")
    row = {name: entry[name] for name in ("key", *AXES, "modality")}
    row |= {"status": status.get("status", "missing")}
    row |= {
        "stale": bool(status) and is_stale(status, entry, read_stored(path / "spec.json"), hashes)
    }
    row |= {"reason": status.get("reason")}
    row |= {name: _number(status.get(name)) for name in STATUS}
    row["compile_seconds"] = _number(
        status.get("compile_seconds", 0.0 if status else None)
    )  # older: nothing compiled
    row |= {"batch_size": _number(entry["spec"]["training"].get("batch_size"))}
    row |= {name: status.get(name) for name in ("protocol", "code", "precision", "layout", "norm")}
    how = status.get("execution") or {}
    row |= {
        "execution": how.get("mode"),
        "stack": _number(how.get("stack")),
        "fallback": how.get("fallback"),
    }
    row |= {
        "recipe": " ".join(f"{name}={value}" for name, value in status.get("recipe", {}).items())
        or None
    }
    parts = [environment, *environment.get("resumes", [])]
    row |= {"device": _all([part.get("device") for part in parts])}
    ways = [
        how.get("mode", "eager"),
        *([f"stack of {how['stack']}"] if how.get("stack", 1) > 1 else []),
    ]
    if row["device"] and ways != [
        "eager"
    ]:  # its seconds are not those of an eager cell on the same device
        row["device"] += f" ({', '.join(ways)})"
    row |= {"torch": _all([part.get("versions", {}).get("torch") for part in parts])}
    return row | {"git_commit": (environment.get("git") or {}).get("commit")}


def _all(names: list[str | None]) -> str | None:
    """What a cell ran on: "A + B" once it was resumed on another, so that it counts as a place of
    its own."""
    return " + ".join(name for name in dict.fromkeys(names) if name) or None


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _long(folder: Path, cells: pd.DataFrame, file: str, columns: list[str]) -> pd.DataFrame:
    texts = [name for name in columns if name in TEXTS]
    keys = cells["key"][
        cells["status"] != "missing"
    ]  # what lies in the folder of a missing cell is none of its own
    files = {key: folder / "cells" / key / file for key in keys}
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


def joined(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Rows of evals or steps with the axes, modality and status of their cells, in the order of the
    matrix."""
    axes = cells[["key", "objective", *PLACE, "seed", "modality", "status"]].rename(
        columns={"key": "cell"}
    )
    return axes.merge(rows, on="cell")
