"""How to reproduce it? Commands, commits, environments, recipes, data, licences and protocols."""

from typing import Any

import pandas as pd

from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.report.page import Chapter, Listing, Row, Table, records, tags_of
from benchmark.text import text


def chapter(tables: Tables) -> Chapter:
    """The matrix and its commands; tables of what the numbers depend on."""
    matrix = tables.matrix
    summary = f"Matrix {matrix['name']}, hash {matrix.get('hash', '–')}."
    result = Chapter("reproduce", "How to reproduce it?", [summary])
    result.listings.append(Listing("Commands", "\n".join(_commands(tables)), open=True))
    description = matrix.get("description")
    if description:
        result.listings.append(Listing("The matrix in its own words", description))
    result.tables += [_data(tables), environments(tables), recipes(tables)]
    for dataset, entry in tables.protocols.items():
        result.tables.append(protocol(dataset, entry))
    return result


def _commands(tables: Tables) -> list[str]:
    name = tables.matrix["name"]
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
        source = entry.get("dataset", {})
        extractor = entry.get("extractor") or {}
        cells = [dataset, *(text(source.get(key)) for key in ("source", "licence", "split"))]
        cells += [text(entry.get("protocol")), text(extractor.get("name"))]
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


def protocol(dataset: str, entry: dict[str, Any]) -> Table:
    """A dataset's source, licence, split, hash and note; its extractor and accuracy; what its eval
    rows depend on."""
    extractor = entry.get("extractor") or {}
    fields = {
        "protocol": entry.get("protocol"),
        **entry.get("dataset", {}),
        **{f"extractor {key}": value for key, value in extractor.items()},
        "measured with": entry.get("parts"),
        "noise floor": entry.get("floor"),
    }
    tags = {"dataset": [dataset]}
    table = Table(f"Protocol of {dataset}", ["field", "value"], folded=True, tags=tags)
    for key, value in fields.items():
        if value:
            table.add([key.replace("_", " "), text(value)], {})
    return table


def _rows(frame: pd.DataFrame) -> list[Row]:
    rows = []
    for row in records(frame):
        rows.append(Row([text(value) for value in row.values()], tags_of(row)))
    return rows
