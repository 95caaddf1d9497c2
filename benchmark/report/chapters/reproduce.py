"""How to reproduce it? Commands, commits, environments, recipes, data, licences and protocols."""

import pandas as pd

from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.report.page import Chapter, Listing, Table, TableRow, records, tags_of
from benchmark.store.schema import Protocol
from benchmark.text import text


def chapter(tables: Tables) -> Chapter:
    """The matrix and its commands; tables of what the numbers depend on."""
    matrix = tables.matrix
    summary = f"Matrix {matrix.name}, hash {matrix.hash}."
    result = Chapter("reproduce", "How to reproduce it?", [summary])
    result.listings.append(Listing("Commands", "\n".join(_commands(tables)), open=True))
    if matrix.description:
        result.listings.append(Listing("The matrix in its own words", matrix.description))
    result.tables += [_data(tables), environments(tables), recipes(tables)]
    for dataset, entry in tables.protocols.items():
        result.tables.append(protocol(dataset, entry))
    return result


def _commands(tables: Tables) -> list[str]:
    name = tables.matrix.name
    commits = tables.cells["git_commit"].dropna().unique()
    checkout = [f"git checkout {commits[0]}"] if len(commits) == 1 else []
    return [
        *checkout,
        f"make bench MATRIX={name}",
        f"ganbench run --matrix {name}",
        f"ganbench report --matrix {name}",
    ]


def _data(tables: Tables) -> Table:
    """Where every dataset is from, and the protocol it is measured by."""
    table = Table("Data", ["dataset", "source", "licence", "split", "protocol", "extractor"])
    for dataset, entry in tables.protocols.items():
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
    return Table("Recipes", columns, _rows(used), folded=True)


def protocol(dataset: str, entry: Protocol) -> Table:
    """A dataset's source, licence, split, hash and note; its extractor and accuracy; what its eval
    rows depend on."""
    extractor = entry.extractor.plain() if entry.extractor else {}
    fields = {
        "protocol": entry.protocol,
        **entry.dataset.plain(),
        **{f"extractor {key}": value for key, value in extractor.items()},
        "measured with": entry.parts,
        "noise floor": entry.floor,
    }
    tags = {"dataset": [dataset]}
    table = Table(f"Protocol of {dataset}", ["field", "value"], folded=True, tags=tags)
    for key, value in fields.items():
        if value:
            table.add([key.replace("_", " "), text(value)], {})
    return table


def _rows(frame: pd.DataFrame) -> list[TableRow]:
    rows = []
    for row in records(frame):
        rows.append(TableRow([text(value) for value in row.values()], tags_of(row)))
    return rows
