"""What can the metrics see? Of every metric that the report shows, what an audit found that it
cannot see, and the marks that its values are read by. The values of the metrics that do not
rank."""

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmark.analysis.tables import Tables
from benchmark.metrics import rank, short_name
from benchmark.report.audit_page import REFERENCE, blind_spots, limits_of, read, sight
from benchmark.report.page import (
    Chapter,
    Table,
    TableRow,
    each_place,
    floor_text,
    place,
    records,
    tags_of,
)
from benchmark.store.layout import ResultSet
from benchmark.store.schema import Protocol
from benchmark.text import interval, number

ANSWER = (
    "In real samples that stood for generated ones, growing shares were made bad. The tables say "
    "from which share on each metric shows it in 80 % of the draws; “rewarded”: from which share "
    "on as many draws read as better than all without the fault. A difference in a metric says "
    "nothing of what it cannot see."
)
NOTE = (
    "Audited by `ganbench audit` at the n of the column unless a place is named; another n or "
    "dataset sees smaller or larger shares."
)
MARKS = (
    "What a metric reads without any training: of real samples that stand for generated ones (the "
    "noise floor, mean ± standard deviation of a draw), and of samples that are easy to make. All "
    "at the n of the column."
)
OTHERS = "Other metrics at the end of training"
NOT_AUDITED = "not audited: `ganbench audit` does it"


def chapter(tables: Tables, folder: Path) -> Chapter:
    """A table per dataset, a line per metric; of a dataset with marks, a second one."""
    return Chapter(
        "metrics", "What can the metrics see?", [ANSWER], tables=[*_tables(tables, folder)]
    )


def _tables(tables: Tables, folder: Path) -> Iterator[Table]:
    audits = [read(ResultSet(folder).audit), read(REFERENCE)]
    shown = tables.summary.groupby("dataset", sort=False)["metric"].unique()
    for name, columns in shown.items():
        dataset = str(name)
        yield _table(dataset, list(columns), audits)
        protocol = tables.protocols.get(dataset)
        if protocol is not None and protocol.marks:
            yield _marks(dataset, list(columns), protocol)


def _table(dataset: str, columns: list[str], audits: list[pd.DataFrame]) -> Table:
    """The metrics of a dataset."""
    found = {}
    for column in sorted(columns, key=rank):
        found[column] = limits_of(audits, dataset, column)
    faults = list(dict.fromkeys(row["fault"] for rows, _ in found.values() for row in rows))
    table = Table(
        dataset,
        ["metric", "column of the tables", "cannot see", *faults, "audited elsewhere"],
        note=NOTE,
        tags={"dataset": [dataset]},
        fold="What each metric sees",
    )
    for column, (rows, elsewhere) in found.items():
        by_fault = {row["fault"]: sight(row) for row in rows}
        unseen = blind_spots(rows) if rows else NOT_AUDITED
        sights = [by_fault.get(fault, "–") for fault in faults]
        table.add([short_name(column), column, unseen, *sights, elsewhere], {})
    return table


def _marks(dataset: str, columns: list[str], protocol: Protocol) -> Table:
    """What the metrics of a dataset read of samples that nothing was trained for."""
    table = Table(
        dataset,
        ["metric", "noise floor", *protocol.marks],
        note=MARKS,
        tags={"dataset": [dataset]},
        fold="Marks to read values by",
    )
    for column in sorted(columns, key=rank):
        marks = [number(values.get(column, math.nan)) for values in protocol.marks.values()]
        table.add([short_name(column), protocol.floor_text(column), *marks], {})
    return table


def other_metrics(tables: Tables) -> list[Table]:
    """A table per place: the final values of the metrics that do not rank, the noise floor of each
    metric, and what else it was measured on."""
    rows = tables.summary[tables.summary["of"] == "final"]
    rows = rows[rows["metric"] != rows["dataset"].map(tables.primary)]
    made = []
    for at, here in each_place(rows):
        columns = list(here["metric"].unique())
        table = Table(
            place(at),
            ["objective", *map(short_name, columns)],
            note="Median [exact 95 % interval].",
            tags=tags_of(at),
            fold=OTHERS,
        )
        floors = [floor_text(tables, at["dataset"], name) for name in columns]
        table.rows.append(TableRow(["real samples", *floors], is_mark=True))
        marks = {name: tables.marks(at["dataset"], name) for name in columns}
        for mark in dict.fromkeys(mark for values in marks.values() for mark in values):
            values = [number(marks[name].get(mark, math.nan)) for name in columns]
            table.rows.append(TableRow([mark, *values], is_mark=True))
        for objective, group in here.groupby("objective", sort=False):
            by_metric = {}
            for row in records(group):
                by_metric[row["metric"]] = interval(row).replace(" [", "\n[")
            texts = [by_metric.get(name, "–") for name in columns]
            table.add([str(objective), *texts], {**tags_of(at), "objective": [str(objective)]})
        made.append(table)
    return made
