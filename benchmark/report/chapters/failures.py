"""What failed, and why? Every cell that failed, with its onset, its reason and its last lines."""

from pathlib import Path

import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import statuses
from benchmark.analysis.search.finals import pool_cells
from benchmark.metrics import short_name
from benchmark.report.page import Chapter, Listing, Table, records, tags_of
from benchmark.store.files import read_bytes
from benchmark.store.layout import ResultSet
from benchmark.store.schema import FINISHED
from benchmark.text import Record, number, plural, text

FAILED = ("error", "timeout", "interrupted")
HEADS = ["cell", "verdict", "from generator step", "reason"]
LOGGED = ["g_step", "d_loss", "g_loss", "d_grad_norm", "g_grad_norm"]
MOST_SHOWN = 20
"""Failed cells; a longer table is folded."""
LAST_ROWS = 5
"""Logged rows of a listing."""
LAST_LINES = 15
"""Lines of a traceback."""


def chapter(evidence: Evidence, folder: Path) -> Chapter:
    """Every cell that failed, and what is known about it. Of the pools of a search those that ended
    in an error: what else becomes of them is a finding of the search."""
    everything = evidence.tables.with_pools or evidence.tables
    tables, cells = evidence.tables, everything.cells
    is_bad = cells["status"].isin(FAILED) | (cells["verdict"].fillna("ok") != "ok")
    is_tried = cells["key"].isin(pool_cells(tables)["key"])
    bad = cells[is_bad & (~is_tried | cells["status"].isin(FAILED))]
    result = Chapter("failures", "What failed, and why?")
    if bad.empty:
        answer = "Nothing: no finished run shows a failure, and none ended early."
        if not cells["status"].isin(FINISHED).any():
            answer = f"Nothing yet: no run has finished ({statuses(cells)})."
        result.answers.append(answer)
        return result
    result.answers.append(f"{plural(len(bad), 'cell')}: {_counts(bad)}.")
    title = "Cells that are not ok"
    table = Table(title, HEADS, fold=title if len(bad) > MOST_SHOWN else "")
    result.tables.append(table)
    steps = _by_cell(everything.steps, bad["key"])
    evals = _by_cell(everything.evals, bad["key"])
    for row in records(bad):
        key = row["key"]
        failure, onset, reason = _failure(row)
        table.add([key, failure, number(onset), text(reason)], tags_of(row))
        parts = [
            _traceback(folder, row),
            _evaluations(evals.get(key), tables.primary.get(row["dataset"])),
            _last_rows(steps.get(key)),
        ]
        lines = "\n\n".join(filter(None, parts))
        if lines:
            result.listings.append(Listing(f"{key}: {failure}", lines, tags_of(row), is_trace=True))
    return result


def _counts(bad: pd.DataFrame) -> str:
    """`2 error, 1 diverged`."""
    failures = bad["verdict"].where(bad["verdict"].notna(), bad["status"])
    counts = failures.value_counts(sort=False)
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def _failure(row: Record) -> tuple[str, float, str | None]:
    """The verdict, its onset and its reason; of a cell without a verdict, those of its status."""
    if isinstance(row["verdict"], str):
        return row["verdict"], row["verdict_onset"], row["verdict_reason"]
    return row["status"], row["onset"], row["reason"]


def _by_cell(rows: pd.DataFrame, keys: pd.Series) -> dict[str, pd.DataFrame]:
    groups = rows[rows["cell"].isin(keys)].groupby("cell", observed=True)
    return {str(key): per_cell for key, per_cell in groups}


def _traceback(folder: Path, row: Record) -> str:
    """The end of the traceback of a cell with an error."""
    path = ResultSet(folder).cell(row["key"]).traceback
    if row["status"] != "error":
        return ""
    lines = (read_bytes(path) or b"").decode(errors="replace").splitlines()
    return "\n".join(lines[-LAST_LINES:])


def _evaluations(evals: pd.DataFrame | None, column: str | None) -> str:
    """`classifier-FID (750) at generator step: 52.1 at 100, 40.3 at 200`."""
    if evals is None or column is None:
        return ""
    values = []
    for row in records(evals[evals["metric"] == column]):
        values.append(f"{number(row['value'])} at {row['g_steps']:g}")
    if not values:
        return ""
    return f"{short_name(column)} at generator step: {', '.join(values)}"


def _last_rows(steps: pd.DataFrame | None) -> str:
    """The last logged rows of a run, as a table."""
    if steps is None:
        return ""
    rows = steps[LOGGED].tail(LAST_ROWS)
    return rows.to_string(index=False, float_format="{:.4g}".format)
