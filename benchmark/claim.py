"""Who runs a cell now: a lock per cell folder, so that no two processes ever run or commit the same cell. The kernel
frees the lock of a process that ends, however it ends."""

import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, SoftFileLock, Timeout

from benchmark import UserError
from benchmark.cell import FINISHED, SETTLED, cell_status, write_json
from benchmark.engines import Event, Task

LOCKLESS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # what a file system says that has no locks
warnings.filterwarnings("ignore", "flock not supported")  # `lock_file` says it


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
    """A locked file; seconds < 0 waits for ever. Raises Timeout (an OSError) or OSError, and UserError for a file
    system without locks, where filelock would have the file's presence be the lock: that of a dead process holds."""
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.02)
        lockless = isinstance(lock, SoftFileLock)  # what filelock made of it
    except (OSError, NotImplementedError) as error:
        lockless = isinstance(lock, SoftFileLock) or isinstance(error, NotImplementedError) or error.errno in LOCKLESS
        if not lockless:
            raise
    if lockless:
        lock.release()
        raise UserError(
            f"the file system of {path.parent} has no locks, by which runs know of each other: use --results on one "
            "that has, such as a local disk; `ganbench merge` joins the results of several"
        )
    return lock


def taken(folder: Path, key: str) -> bool:
    """Whether some process holds the lock of a cell now. Writes nothing."""
    import fcntl  # not on Windows, where results can be read all the same

    try:
        with (folder / "cells" / key / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # freed as the file is closed
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # held, or nobody can know
        return True
    return False


def superseded(folder: Path, task: Task) -> Event | None:
    """The status of a cell that another runner has settled since the run was planned. To be asked under the lock."""
    status = cell_status(folder, task.cell.key)
    if status.get("status") not in SETTLED or status.get("attempt") == task.attempt:
        return None
    return status | {"key": task.cell.key}


def mark(folder: Path, key: str, status: str, reason: str, task: Task | None = None) -> Event | None:
    """Write how a cell ended whose process is gone; its checkpoint stays. Returns its status: that which is on disk
    where the cell is finished, or, with a task, was settled since. None where another process has the cell. Raises
    UserError."""
    with _held(folder, key) as held:
        if not held:
            return None
        found = cell_status(folder, key)
        if found.get("status") in FINISHED or (task and superseded(folder, task)):
            return found | {"key": key}
        return _write(folder, key, found, {"status": status, "reason": reason})


def renew(folder: Path, task: Task) -> None:
    """Have a cell run anew, whatever there is of it: its checkpoints go now, its rows and samples when it starts. Not
    where another process has it, or has settled it since the run was planned. Raises UserError."""
    from benchmark.checkpoint import drop_checkpoints  # imports torch

    key = task.cell.key
    if (folder / "cells" / key).exists():
        with _held(folder, key) as held:
            if held and not superseded(folder, task):
                drop_checkpoints(folder / "cells" / key)
                changed = {"status": "interrupted", "reason": "to be run anew (--force)", "progress": 0.0}
                _write(folder, key, cell_status(folder, key), changed)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Waits until no other run prepares this results folder, and keeps others waiting."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_file(folder / ".lock", 0)
    except Timeout:
        print(f"waiting for another run, which prepares {folder}", file=sys.stderr)
        lock = lock_file(folder / ".lock", -1)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _held(folder: Path, key: str) -> Iterator[bool]:
    """Whether this process has the cell for now, to write to its folder. Raises UserError where it cannot."""
    lock = take(folder, key)
    try:
        yield lock is not None
    except OSError as error:
        raise UserError(f"{folder / 'cells' / key} cannot be written to: {error.strerror}") from error
    finally:
        if lock:
            lock.release()


def _write(folder: Path, key: str, status: dict[str, Any], changed: dict[str, Any]) -> Event:
    value = status | {"key": key} | changed | {"updated": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(folder / "cells" / key / "status.json", value)
    return value
