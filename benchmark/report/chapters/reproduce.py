"""How to reproduce it? Commands, commits, environments, recipes, data, licences and protocols."""

import os
import shlex
from pathlib import Path

import pandas as pd

from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.matrix.files import is_shipped, name_of
from benchmark.report.page import Chapter, Listing, Table, TableRow, records, tags_of
from benchmark.store.layout import RESULTS
from benchmark.store.origin import path_of
from benchmark.store.schema import Command, MatrixFile, Protocol
from benchmark.text import text

LABELS = (
    "What the matrix file calls its variants, and so does this report. The keys of cells, and the "
    "tables in tables/, have the variant."
)


def chapter(tables: Tables, folder: Path) -> Chapter:
    """The matrix and its commands; tables of what the numbers depend on."""
    matrix = tables.matrix
    summary = f"Matrix {matrix.name}, hash {matrix.hash}."
    result = Chapter("reproduce", "How to reproduce it?", [summary])
    result.listings.append(Listing("Commands", "\n".join(_commands(tables, folder)), open=True))
    if matrix.description:
        result.listings.append(Listing("The matrix in its own words", matrix.description))
    if matrix.display_names:
        result.tables.append(_labels(matrix))
    result.tables += [_data(tables), environments(tables), recipes(tables)]
    for dataset, entry in _protocols(tables).items():
        result.tables.append(protocol(dataset, entry))
    return result


def _protocols(tables: Tables) -> dict[str, Protocol]:
    """The protocols of the matrix's datasets: a dataset that left the matrix has one too."""
    datasets = tables.cells["dataset"].unique()
    return {name: entry for name, entry in tables.protocols.items() if name in datasets}


def _commands(tables: Tables, folder: Path) -> list[str]:
    """What makes the results again, for a shell: a checkout, a run, a report."""
    commits = tables.cells["git_commit"].dropna().unique()
    lines = [f"git checkout {commits[0]}"] if len(commits) == 1 else []
    stored = tables.matrix.command
    command = stored or Command()
    matrix = tables.matrix.name
    if command.file is not None:
        matrix = _shown(path_of(command.file, folder))
    results: list[str] = []
    if folder.absolute().parent != RESULTS.absolute():
        results = ["--results", _shown(folder.absolute().parent)]
    variants = _options("--variants", [_shown(path_of(path, folder)) for path in command.variants])
    ways = _options("--set", command.overrides)
    for name, value in command.options.items():
        ways += [f"--{name}", value]
    if command.file is not None or is_shipped(matrix):
        if not (results or variants or command.file):
            lines.append(_make(matrix, ways))
        lines.append(_line("run", "--matrix", matrix, *results, *variants, *ways))
    # A result set whose folder has another name, as after a merge, is named by the folder
    named = matrix if name_of(matrix) == folder.absolute().name else folder.absolute().name
    lines.append(_line("report", "--matrix", named, *results, *variants))
    return lines


def _line(*words: str) -> str:
    return shlex.join(["ganbench", *words])


def _make(matrix: str, ways: list[str]) -> str:
    words = ["make", "bench", f"MATRIX={matrix}"]
    if ways:
        words.append(f"ARGS={shlex.join(ways)}".replace("$", "$$"))
    return shlex.join(words)


def _options(flag: str, values: list[str]) -> list[str]:
    words = []
    for value in values:
        words += [flag, value]
    return words


def _shown(path: Path) -> str:
    """A path for a shell: relative to the working folder for what lies in it."""
    if path.is_relative_to(Path.cwd()):
        return os.path.relpath(path)
    return str(path)


def _labels(matrix: MatrixFile) -> Table:
    """The display names that the matrix gives its variants."""
    table = Table("Labels", ["label", "axis", "variant"], note=LABELS)
    for axis, names in matrix.display_names.items():
        for label, name in names.items():
            table.add([name, axis, label], {axis: [name]})
    return table


def _data(tables: Tables) -> Table:
    """Where every dataset is from, and the protocol it is measured by."""
    table = Table("Data", ["dataset", "source", "licence", "split", "protocol", "extractor"])
    for dataset, entry in _protocols(tables).items():
        data, extractor = entry.dataset, entry.extractor
        cells = [dataset, *(text(part) for part in (data.source, data.licence, data.split))]
        cells += [text(entry.protocol), text(extractor.name if extractor else None)]
        table.add(cells, {"dataset": [dataset]})
    return table


def environments(tables: Tables) -> Table:
    """Where the cells ran: device, torch and commit, with the number of cells of each."""
    known = tables.cells.dropna(subset="device")
    groups = known.groupby(["device", "torch", "git_commit"], sort=False, dropna=False)
    counts = groups.size().reset_index()
    return Table("Environments", ["device", "torch", "commit", "cells"], _rows(counts))


def recipes(tables: Tables) -> Table:
    """The optimiser and the critic's normalisation that each objective ran with."""
    columns = ["objective", *PLACE, "recipe", "norm", "precision", "layout"]
    used = tables.cells[columns].dropna(subset="recipe").drop_duplicates()
    return Table("Recipes", columns, _rows(used), fold="Recipes")


def protocol(dataset: str, entry: Protocol) -> Table:
    """A dataset's source, licence, split, hash and note; its extractor and accuracy; what its eval
    rows depend on."""
    extractor = entry.extractor.plain() if entry.extractor else {}
    floors = {column: entry.floor_text(column) for column in entry.floor}
    marks = {f"on {name}": values for name, values in entry.marks.items()}
    source = entry.floor_source or "held-out samples"
    fields = {
        "protocol": entry.protocol,
        **{name: value for name, value in entry.dataset.plain().items() if not _is_empty(value)},
        **{f"extractor {key}": value for key, value in extractor.items()},
        "measured with": entry.parts,
        "noise floor, mean ± standard deviation": floors,
        "draws of the noise floor": f"{entry.floor_draws}, {source}",
        **marks,
    }
    tags = {"dataset": [dataset]}
    table = Table(dataset, ["field", "value"], tags=tags, fold="Protocols of measuring")
    for key, value in fields.items():
        if value:
            table.add([key.replace("_", " "), text(value)], {})
    return table


def _is_empty(value: object) -> bool:
    """Whether a fact says that there is nothing, such as `{"n": 0, "names": []}`."""
    return not value or (isinstance(value, dict) and not any(value.values()))


def _rows(frame: pd.DataFrame) -> list[TableRow]:
    rows = []
    for row in records(frame):
        rows.append(TableRow([text(value) for value in row.values()], tags_of(row)))
    return rows
