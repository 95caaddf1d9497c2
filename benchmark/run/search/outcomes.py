"""What cells of a pool reached, as their folders say."""

import math
from collections.abc import Iterable

from benchmark.errors import UserError
from benchmark.metrics import metric, ranking
from benchmark.store.files import read_bytes, rows_of
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import RunStatus


def outcomes(results: ResultSet, keys: Iterable[str], wanted: str | None) -> dict[str, float]:
    """Key → the metric at the end, of the cells that are settled; inf for one that diverged or took
    too long. A cell that ended in an error has none: it may run again. wanted: name of the metric;
    None: the one that ranks."""
    found = {}
    for key in keys:
        value = outcome(results.cell(key), wanted)
        if value is not None:
            found[key] = value
    return found


def outcome(cell: CellFolder, wanted: str | None) -> float | None:
    """What one cell reached; None for a cell that is not settled, or whose files are damaged."""
    status = cell.status
    if status.status in (RunStatus.DIVERGED, RunStatus.TIMEOUT):
        return math.inf
    if status.status != RunStatus.DONE or cell.fault(status):
        return None
    rows = [*rows_of(cell.evals, read_bytes(cell.evals) or b"")]
    end = max((row["samples_seen"] for row in rows), default=0)
    last = {row["metric"]: row["value"] for row in rows if row["samples_seen"] == end}
    if wanted is None:
        column = ranking(last)
    else:
        column = next((name for name in last if metric(name).name == wanted), None)
    if column is None:
        raise UserError(f"search: {cell.key} is measured by {', '.join(last)}, not by {wanted}")
    return float(last[column])
