"""What cells of a pool reached, as their folders say."""

from collections.abc import Iterable, Mapping
from math import inf, isfinite, nan

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.matrix.options import Search, Training
from benchmark.matrix.search.part import Part, Rung
from benchmark.matrix.search.rungs import Reached, column_of, value_at
from benchmark.store.files import read_bytes, rows_of
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import RunStatus


def outcomes(
    results: ResultSet, cells: Iterable[Cell], parts: Mapping[str, Part], options: Search
) -> dict[str, Reached]:
    """Key → what a cell reached, of those that are settled. A cell that ended in an error has
    nothing: it may run again. parts: by key."""
    found = {}
    for cell in cells:
        value = outcome(results.cell(cell.key), cell, parts[cell.key].rung, options)
        if value is not None:
            found[cell.key] = value
    return found


def outcome(files: CellFolder, cell: Cell, rung: Rung | None, options: Search) -> Reached | None:
    """What one cell reached; None for a cell that is not settled, for one that another rung ended,
    and for one whose files are damaged."""
    status = files.status
    if status.status == RunStatus.TIMEOUT:
        return Reached(inf)
    is_ended_by_another = status.status == RunStatus.STOPPED and status.rung != rung
    if not status.status.is_finished or is_ended_by_another or files.fault(status):
        return None
    rows = [*rows_of(files.evals, read_bytes(files.evals) or b"")]
    end = max((row["samples_seen"] for row in rows), default=0)
    last = {row["metric"]: row["value"] for row in rows if row["samples_seen"] == end}
    column = column_of(last, options.metric)
    is_done = status.status == RunStatus.DONE
    if column is None and is_done:
        measured = ", ".join(last)
        raise UserError(f"search: {cell.key} is measured by {measured}, not by {options.metric}")
    early = None
    if options.stop and column:
        early = value_at(rows, cell.training, options.stop.at, column)
    if early is None:
        # What diverged before is the worst there, too
        early = nan if is_done else inf
    return Reached(float(last[column]) if is_done and column else inf, early)


def shortfall(files: CellFolder, training: Training, rung: Rung) -> str:
    """Why a running cell ends at a rung; empty where it goes on, or has not come to the rung."""
    rows = [*rows_of(files.evals, read_bytes(files.evals) or b"")]
    column = column_of({row["metric"]: None for row in rows}, rung.metric)
    value = value_at(rows, training, rung.at, column) if column else None
    # A NaN is no good value
    if value is None or value <= rung.limit:
        return ""
    comparison = f"{value:.4g} > {rung.limit:.4g}" if isfinite(value) else f"{value:g}"
    return f"at {rung.at:.0%} of its budget: {column} {comparison}"
