"""…"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.run.engines.base import Event, Task
from benchmark.store.files import write_json
from benchmark.store.locks import _held
from benchmark.store.result_set import FINISHED, SETTLED, cell_status


def superseded(folder: Path, task: Task) -> Event | None:
    """The status of a cell that another runner has settled since the run was planned. To be asked
    under the lock."""
    status = cell_status(folder, task.cell.key)
    if status.get("status") not in SETTLED or status.get("attempt") == task.attempt:
        return None
    return status | {"key": task.cell.key}


def mark(
    folder: Path, key: str, status: str, reason: str, task: Task | None = None
) -> Event | None:
    """Write how a cell ended whose process is gone; its checkpoint stays. Returns its status: that
    which is on disk where the cell is finished, or, with a task, was settled since. None where
    another process has the cell. Raises UserError."""
    with _held(folder, key) as held:
        if not held:
            return None
        found = cell_status(folder, key)
        if found.get("status") in FINISHED or (task and superseded(folder, task)):
            return found | {"key": key}
        return _write(folder, key, found, {"status": status, "reason": reason})


def renew(folder: Path, task: Task) -> None:
    """Have a cell run anew, whatever there is of it: its checkpoints go now, its rows and samples
    when it starts. Not where another process has it, or has settled it since the run was planned.
    Raises UserError."""
    from benchmark.run.checkpoint import drop_checkpoints  # imports torch

    key = task.cell.key
    if (folder / "cells" / key).exists():
        with _held(folder, key) as held:
            if held and not superseded(folder, task):
                drop_checkpoints(folder / "cells" / key)
                changed = {
                    "status": "interrupted",
                    "reason": "to be run anew (--force)",
                    "progress": 0.0,
                }
                _write(folder, key, cell_status(folder, key), changed)


def _write(folder: Path, key: str, status: dict[str, Any], changed: dict[str, Any]) -> Event:
    value = (
        status
        | {"key": key}
        | changed
        | {"updated": datetime.now(UTC).isoformat(timespec="seconds")}
    )
    write_json(folder / "cells" / key / "status.json", value)
    return value
