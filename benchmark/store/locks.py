"""Who runs a cell now: a lock per cell folder, so that no two processes ever run or commit the same
cell. The kernel frees the lock of a process that ends, however it ends."""

import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from benchmark.errors import UserError

LOCKLESS = (
    errno.ENOSYS,
    errno.ENOLCK,
    errno.EOPNOTSUPP,
)  # what a file system says that has no locks
warnings.filterwarnings("ignore", "flock not supported")  # `lock_file` says it


def take(folder: Path, key: str, seconds: float = 0.2) -> FileLock | None:
    """The lock of a cell, to be released; None where another process keeps it for that long. Raises
    UserError for a folder that cannot be written to."""
    path = folder / "cells" / key
    try:
        path.mkdir(parents=True, exist_ok=True)
        return lock_file(path / ".lock", seconds)
    except Timeout:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be written to: {error.strerror}") from error


def lock_file(path: Path, seconds: float) -> FileLock:
    """A locked file; seconds < 0 waits for ever. Raises Timeout (an OSError) or OSError, and
    UserError for a file system without locks, where filelock would have the file's presence be the
    lock: that of a dead process holds."""
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.02)
        lockless = isinstance(lock, SoftFileLock)  # what filelock made of it
    except (OSError, NotImplementedError) as error:
        lockless = (
            isinstance(lock, SoftFileLock)
            or isinstance(error, NotImplementedError)
            or error.errno in LOCKLESS
        )
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
    """Whether this process has the cell for now, to write to its folder. Raises UserError where it
    cannot."""
    lock = take(folder, key)
    try:
        yield lock is not None
    except OSError as error:
        raise UserError(
            f"{folder / 'cells' / key} cannot be written to: {error.strerror}"
        ) from error
    finally:
        if lock:
            lock.release()
