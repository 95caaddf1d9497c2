"""Frames as they are written and handed to a notebook: axes in each, parameters, whole numbers; and
tables as pages show them, with display names.

The analysis itself works on the plain frames of tables.py, whose numbers are all float64."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pandas as pd
import pyarrow as pa

from benchmark.analysis.scores import AXES, PLACE, scores
from benchmark.store.files import whole_file
from benchmark.store.frames import HOLES, RowFile, without_formulas
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import Environment, MatrixFile, Spec, Status

if TYPE_CHECKING:
    from benchmark.analysis.convergence import Place
    from benchmark.analysis.tables import Tables

# swept parameters of these are columns of `cells`
PARAMETRISED = ("objective", "architecture", "dataset")
# the columns of tables of rows that are not derived, besides `cell`
COLUMNS = {
    "evals": [
        "samples_seen", "g_steps", "train_seconds", "metric", "value", "stderr", "n", "protocol",
    ],
    "steps": [
        "g_step", "samples_seen", "d_loss", "g_loss", "d_real", "d_fake", "d_grad_norm",
        "g_grad_norm", "penalty", "slope", "slope_std", "d_real_std", "d_fake_std", "saturation",
        "clipped", "sparse", "d_loss_train", "d_loss_holdout",
    ],
    "layers": ["g_step", "network", "layer", "depth", "grad_norm"],
}  # fmt: skip
CATEGORIES = ("cell", "metric", "protocol", "network", "layer")
LAST_RAW = "measurements_stale"  # the last column of `cells` that is not derived
# columns that count something; METRIC:best_g_step and :final_g_step count as well
WHOLE = {
    "seed", "onset", "resumes", "samples_seen", "g_steps", "batch_size", "stack", "verdict_onset",
    "g_step", "depth", "n",
}  # fmt: skip
WHOLE_SUFFIXES = (":best_g_step", ":final_g_step")


def write(frames: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write each frame by its name to `folder`/tables as parquet and CSV."""
    from pyarrow import csv, parquet

    target = ResultSet(folder).tables
    target.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        table = pa.Table.from_pandas(frame, preserve_index=False)
        # pyarrow takes every path to be UTF-8: Python opens the files
        with whole_file(target / f"{name}.parquet") as file:
            parquet.write_table(table, file)
        table = pa.Table.from_pandas(without_formulas(frame), preserve_index=False)
        with whole_file(target / f"{name}.csv") as file:
            csv.write_csv(table, file)


def frames(tables: "Tables") -> dict[str, pd.DataFrame]:
    """The frames of tables by name, with axes, parameters and whole numbers. Of a search also
    those of `Tuning`, of drawn architectures of `Drawn`, of crossed seeds of `Spread`."""
    from benchmark.analysis.designs import drawn, spread
    from benchmark.analysis.search import tuning

    cells = tables.cells
    specs = [entry.spec for entry in tables.matrix.cells]
    by_name = {
        "cells": with_parameters(cells, specs),
        "evals": with_axes(tables.evals, cells),
        "steps": with_axes(tables.steps, cells),
        "layers": with_axes(tables.layers, cells),
        "summary": tables.summary,
        "convergence": tables.convergence,
        "costs": with_axes(tables.costs.rename(columns={"key": "cell"}), cells),
        "scores": scores(cells),
    }
    for design in (tuning, drawn, spread):
        found = design.gather(tables)
        if found is not None:
            by_name |= found.frames
    return {name: with_whole_numbers(frame) for name, frame in by_name.items()}


class GateFacts(NamedTuple):
    """Of a cell that has started: what the gate reads besides its rows."""

    first_steps: RowFile
    """Its file of the first steps."""
    arithmetic: list[str | None]
    """Of the environments that it was trained in; None where that was not recorded."""

    @classmethod
    def of(cls, files: CellFolder, status: Status, environment: Environment) -> Self:
        committed = files.committed_file(files.first_steps, status)
        machines = [environment, *environment.resumes]
        arithmetic = [machine.arithmetic(status.executed) for machine in machines]
        return cls(RowFile(files.first_steps, committed), arithmetic)


class Rows(NamedTuple):
    """What the cells of a result set hold, before anything is derived."""

    cells: pd.DataFrame
    """One row per cell of the list: its status, environment and spec."""
    evals: pd.DataFrame
    steps: pd.DataFrame
    layers: pd.DataFrame
    damaged: list[str]
    """What is damaged of cells that count as missing."""
    gate_facts: Mapping[str, GateFacts] = {}
    """By key; empty where the cells are not kept."""


def read(results: ResultSet) -> Rows | None:
    """The rows in the stored tables of a result set that is kept without its cells, such as a
    committed one; None for one with cells, and for one without tables. Numbers are float64."""
    files = {name: results.tables / f"{name}.csv" for name in ("cells", *COLUMNS)}
    if results.cells.exists() or not all(file.is_file() for file in files.values()):
        return None
    rows = {}
    for name, file in files.items():
        with file.open("rb") as opened:
            frame = pd.read_csv(opened, float_precision="round_trip", low_memory=False, **HOLES)
        if name == "cells":
            frame = frame.loc[:, :LAST_RAW]
        else:
            # Tables of an older version lack what only a later one logs
            frame = frame.reindex(columns=["cell", *COLUMNS[name]])
        whole = frame.select_dtypes("int64").columns.difference(["seed"])
        types: dict[str, Any] = dict.fromkeys(whole, float)
        if name != "cells":
            # An empty column has no type of its own
            types = dict.fromkeys(frame.columns, float)
            types |= dict.fromkeys(frame.columns.intersection([*CATEGORIES]), "category")
        rows[name] = frame.astype(types)
    return Rows(rows["cells"], rows["evals"], rows["steps"], rows["layers"], [])


def labelled(tables: "Tables") -> "Tables":
    """The same tables with the display names that the matrix gives its variants, for pages: in
    every frame, key and cell of the list. The tables themselves where it gives none."""
    matrix = tables.matrix
    if not matrix.display_names:
        return tables

    def shown(frame: pd.DataFrame) -> pd.DataFrame:
        return with_display_names(frame, matrix)

    def dataset(label: str) -> str:
        return matrix.shown("dataset", label)

    def at_places(values: "Mapping[Place, Any]") -> "dict[Place, Any]":
        return {
            (dataset(name), matrix.shown("architecture", architecture)): value
            for (name, architecture), value in values.items()
        }

    return replace(
        tables,
        runs=shown(tables.runs),
        protocols={dataset(name): protocol for name, protocol in tables.protocols.items()},
        equal_cost={of: at_places(budgets) for of, budgets in tables.equal_cost.items()},
        untrained=at_places(tables.untrained),
        targets=at_places(tables.targets),
        matrix=matrix.labelled(),
    )


def with_display_names(frame: pd.DataFrame, matrix: MatrixFile) -> pd.DataFrame:
    """A frame whose columns of PARAMETRISED have display names."""
    columns = {}
    for axis in PARAMETRISED:
        if axis in frame:
            columns[axis] = [matrix.shown(axis, label) for label in frame[axis]]
    return frame.assign(**columns)


def with_axes(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Rows with a column `cell`, of `evals` for example, with AXES of their cells at the end."""
    rows = rows.astype({"cell": "category"})
    codes = rows["cell"].cat.codes.to_numpy()
    by_key = cells.set_index("key")[AXES].reindex(rows["cell"].cat.categories)
    columns: dict[str, Any] = {}
    for axis in AXES:
        values = by_key[axis]
        if axis != "seed":
            values = values.astype("category")
        columns[axis] = values.take(codes).array
    return rows.assign(**columns)


def joined(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Rows of evals, steps or layers with the axes, modality and status of their cells.

    In the order of the matrix."""
    columns = ["key", "objective", *PLACE, "seed", "modality", "status"]
    return cells[columns].rename(columns={"key": "cell"}).merge(rows, on="cell")


def with_parameters(cells: pd.DataFrame, specs: Iterable[Spec]) -> pd.DataFrame:
    """`cells` with one column per swept parameter, as the last columns: `architecture.width`.

    specs: the spec of each cell, in the order of `cells`. There is a column where at least one cell
    sets that parameter; the value is missing where a cell keeps the default."""
    values: dict[str, list[Any]] = {}
    for position, spec in enumerate(specs):
        for axis in PARAMETRISED:
            for name, value in getattr(spec, axis).params.items():
                column = values.setdefault(f"{axis}.{name}", [None] * len(cells))
                column[position] = value
    columns = {}
    for name in sorted(values, key=_by_axis):
        columns[name] = pd.Series(_of_one_type(values[name]), cells.index)
    return pd.concat([cells, pd.DataFrame(columns, cells.index)], axis=1)


def with_whole_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its counts as nullable integers (Int64).

    A column that holds another number, as in a file of another version, stays as it is."""
    changed = {}
    for name in frame.columns:
        if name in WHOLE or name.endswith(WHOLE_SUFFIXES):
            numbers = frame[name].astype(float)
            if (numbers.dropna() % 1 == 0).all():
                changed[name] = numbers.astype("Int64")
    return frame.assign(**changed)


def _by_axis(column: str) -> tuple[int, str]:
    axis, _, name = column.partition(".")
    return PARAMETRISED.index(axis), name


def _of_one_type(values: list[Any]) -> Any:
    """Values and None as one column: booleans, whole numbers, numbers, or else text."""
    types = {type(value) for value in values if value is not None}
    if types == {bool}:
        return pd.array(values, dtype="boolean")
    if types == {int}:
        return pd.array(values, dtype="Int64")
    if types <= {int, float}:
        return pd.array(values, dtype="Float64")
    return pd.array([_text(value) for value in values], dtype=object)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
