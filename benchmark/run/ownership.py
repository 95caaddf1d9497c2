"""Who may write a cell: what other runs have settled, and the end of cells whose process died."""

from collections.abc import Iterable
from pathlib import Path

from benchmark.run.events import Task
from benchmark.store.clocks import timestamp
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.locks import held
from benchmark.store.schema import RunStatus, Status


def superseded(folder: Path, task: Task) -> Status | None:
    """The status of a cell that another run has settled since this run was planned; None if there
    is none. Call it while holding the lock of the cell."""
    status = ResultSet(folder).cell(task.key).status
    if not status.status.is_settled or status.attempt == task.attempt:
        return None
    status.key = task.key
    return status


def write_end(folder: Path, task: Task, end: RunStatus, reason: str) -> Status | None:
    """Write how a cell ended whose process is gone; its checkpoint stays.

    Returns the status of the cell: the one on disk if the cell is finished or another run has
    settled it; None if another process has the cell. Raises UserError."""
    files = ResultSet(folder).cell(task.key)
    with held(files) as has_lock:
        if not has_lock:
            return None
        status = files.status
        if status.status.is_finished or superseded(folder, task):
            status.key = task.key
            return status
        status.status, status.reason = end, reason
        _write(files, status)
        return status


def restart(folder: Path, task: Task) -> None:
    """Reset a cell so that it starts from nothing: its checkpoints go now, its rows and samples
    when it starts. Does nothing if another process has the cell, or has settled it since the run
    was planned. Raises UserError."""
    from benchmark.run.cell.checkpoint import drop_checkpoints  # imports torch

    files = ResultSet(folder).cell(task.key)
    if not files.path.exists():
        return
    with held(files) as has_lock:
        if has_lock and not superseded(folder, task):
            drop_checkpoints(files)
            status = files.status
            status.status, status.progress = RunStatus.INTERRUPTED, 0.0
            status.reason = "to be run from the start (--force)"
            _write(files, status)


def restart_all(folder: Path, tasks: Iterable[Task]) -> None:
    """Reset the cells of tasks so that none goes on from an earlier run."""
    for task in tasks:
        for member in task.members:
            restart(folder, member)


def _write(files: CellFolder, status: Status) -> None:
    status.key, status.updated = files.key, timestamp()
    files.write_status(status)
