"""Who runs a cell now: a lock per cell folder, so that no two processes ever run or commit the same cell. The kernel
frees the lock of a process that ends, however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmark import UserError
from benchmark.cell import FINISHED, cell_status, write_json
from benchmark.engines import Event, Task

SETTLED = (*FINISHED, "error", "timeout")  # left alone by the next run; of these only errors may be asked for again


def take(folder: Path, key: str, seconds: float = 0.2) -> FileLock | None:
    """The lock of a cell, to be released; None where another process keeps it for that long. Raises UserError for a
    folder that cannot be written to."""
    path = folder / "cells" / key
    try:
        path.mkdir(parents=True, exist_ok=True)
        return lock_file(path / ".lock", seconds)
    except Timeout:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be written to: {error.strerror}") from error


def lock_file(path: Path, seconds: float) -> FileLock:
    """A locked file; seconds < 0 waits for ever. Raises Timeout (an OSError) or OSError."""
    lock = FileLock(path, thread_local=False)
    lock.acquire(timeout=seconds, poll_interval=0.02)
    return lock


def taken(folder: Path, key: str) -> bool:
    """Whether some process holds the lock of a cell now. Writes nothing."""
    try:
        with (folder / "cells" / key / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # freed as the file is closed
    except FileNotFoundError:
        return False
    except OSError:  # held; or on a file system without such locks, where the file is there only while it is held
        return True
    return False


def superseded(folder: Path, task: Task) -> Event | None:
    """The status of a cell that another runner has settled since the run was planned. To be asked under the lock."""
    status = cell_status(folder, task.cell.key)
    if status.get("status") not in SETTLED or status.get("attempt") == task.attempt:
        return None
    return status | {"key": task.cell.key}


def mark(folder: Path, key: str, status: str, reason: str, task: Task | None = None) -> Event | None:
    """Write how a cell ended whose process is gone; its checkpoint stays. Returns its status: with a task, that which
    is on disk where the cell was settled since. None where another process has the cell. Raises UserError."""
    lock = take(folder, key)
    if lock is None:
        return None
    try:
        if task and (found := superseded(folder, task)):
            return found
        changed: dict[str, Any] = {"key": key, "status": status, "reason": reason}
        value = cell_status(folder, key) | changed | {"updated": datetime.now(UTC).isoformat(timespec="seconds")}
        write_json(folder / "cells" / key / "status.json", value)
        return value
    except OSError as error:
        raise UserError(f"{folder / 'cells' / key} cannot be written to: {error.strerror}") from error
    finally:
        lock.release()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Waits until no other run prepares this results folder, and keeps others waiting."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_file(folder / ".lock", -1)
    try:
        yield
    finally:
        lock.release()
