"""What can the metrics see? Of every metric that the report shows, what an audit found that it
cannot see."""

from pathlib import Path

import pandas as pd

from benchmark.analysis.tables import Tables
from benchmark.metrics import metric, rank
from benchmark.report.audit_page import REFERENCE, blind_spots, limits_of, read, sight
from benchmark.report.page import Chapter, Table
from benchmark.store.layout import ResultSet

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
NOT_AUDITED = "not audited: `ganbench audit` does it"


def chapter(tables: Tables, folder: Path) -> Chapter:
    """A table per dataset, a line per metric."""
    audits = [read(ResultSet(folder).audit), read(REFERENCE)]
    shown = tables.summary.groupby("dataset", sort=False)["metric"].unique()
    return Chapter(
        "metrics",
        "What can the metrics see?",
        [ANSWER],
        tables=[_table(str(name), list(columns), audits) for name, columns in shown.items()],
    )


def _table(dataset: str, columns: list[str], audits: list[pd.DataFrame]) -> Table:
    """The metrics of a dataset."""
    found = {}
    for column in sorted(columns, key=rank):
        found[column] = limits_of(audits, dataset, column)
    faults = list(dict.fromkeys(row["fault"] for rows, _ in found.values() for row in rows))
    table = Table(
        f"{dataset}: what the metrics see",
        ["metric", "cannot see", *faults, "audited elsewhere"],
        note=NOTE,
        tags={"dataset": [dataset]},
    )
    for column, (rows, elsewhere) in found.items():
        by_fault = {row["fault"]: sight(row) for row in rows}
        unseen = blind_spots(rows) if rows else NOT_AUDITED
        sights = [by_fault.get(fault, "–") for fault in faults]
        table.add([f"{metric(column).label} ({column})", unseen, *sights, elsewhere], {})
    return table
