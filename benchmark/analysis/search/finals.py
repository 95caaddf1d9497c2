"""What pages compare of a result set: of a search the final runs, not every configuration.

The default of an objective keeps its name, its pick is called `wgan_gp (tuned)`."""

from dataclasses import replace

import pandas as pd

from benchmark.analysis.published import COLUMNS, Rows, labelled
from benchmark.analysis.scores import RACED
from benchmark.analysis.tables import Tables, derived
from benchmark.matrix.search.part import POOL
from benchmark.store.frames import rows_of_cells
from benchmark.store.schema import Entry, MatrixFile

ENDING = " (tuned)"
"""Ends the name of what a search picked."""


def shown(tables: Tables) -> Tables:
    """The tables as pages show them: `compared`, with display names."""
    tables = labelled(compared(tables))
    if tables.with_pools is None:
        return tables
    return replace(tables, with_pools=labelled(tables.with_pools))


def compared(tables: Tables) -> Tables:
    """The tables without the pools of searches, so that a search adds two variants of an objective
    at most: its default and its pick. `with_pools` has all cells, which are named by what was
    searched. The tables themselves for a matrix without a search."""
    if not any(entry.search for entry in tables.matrix.cells):
        return tables
    renamed = {entry.key: _renamed(entry, tables.matrix) for entry in tables.matrix.cells}
    kept = [entry for entry in renamed.values() if not entry.search or entry.search.phase != POOL]
    keys = {entry.key for entry in kept}
    named = [renamed[key] for key in tables.runs["key"]]
    runs = tables.runs.assign(
        objective=[entry.objective for entry in named],
        architecture=[entry.architecture for entry in named],
    )
    rows = Rows(
        runs.loc[runs["key"].isin(keys), : RACED[-1]].reset_index(drop=True),
        _of_cells(tables.evals, "evals", keys),
        _of_cells(tables.steps, "steps", keys),
        _of_cells(tables.layers, "layers", keys),
        tables.damaged,
    )
    finals = derived(tables.folder, _matrix(tables.matrix, kept), tables.protocols, rows)
    return replace(finals, with_pools=replace(tables, runs=runs))


def is_pick(name: str) -> bool:
    """Whether a label is that of what a search picked."""
    return name.endswith(ENDING)


def pool_cells(tables: Tables) -> pd.DataFrame:
    """The cells of the pools that these tables leave out."""
    everything = (tables.with_pools or tables).cells
    return everything[~everything["key"].isin(tables.runs["key"])]


def _renamed(entry: Entry, matrix: MatrixFile) -> Entry:
    """A cell of a search, named by what was searched."""
    part = entry.search
    if part is None:
        return entry
    objective = part.objective
    if part.phase != POOL and part.configuration:
        objective = f"{matrix.shown('objective', objective)}{ENDING}"
    return entry.model_copy(update={"objective": objective, "architecture": part.architecture})


def _matrix(matrix: MatrixFile, kept: list[Entry]) -> MatrixFile:
    """The matrix of the cells that are kept, none of which is part of a search any more. The label
    of a pick has the name of the pick."""
    before = {entry.key: entry.objective for entry in matrix.cells}
    names = {}
    for entry in kept:
        label = before[entry.key]
        name = matrix.shown("objective", entry.objective)
        if name != label:
            names[label] = name
    changes = {
        "cells": [entry.model_copy(update={"search": None}) for entry in kept],
        "display_names": {**matrix.display_names, "objective": names},
    }
    return matrix.model_copy(update=changes)


def _of_cells(frame: pd.DataFrame, file: str, keys: set[str]) -> pd.DataFrame:
    """The rows of some cells as their files have them."""
    return rows_of_cells(frame[["cell", *COLUMNS[file]]], keys)
