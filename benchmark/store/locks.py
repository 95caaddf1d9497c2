"""Which process runs a cell now: one lock per cell folder, so that no two processes run or commit
the same cell. The kernel frees the lock of a process that ends, however it ends."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import UserError
from benchmark.store.files import PLAIN, open_plain
from benchmark.store.layout import CellFolder, ResultSet

# Errors of a file system that has no locks
LOCKLESS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
# Errors of a lock that no process can hold: there is none, or something else has its name
UNLOCKABLE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL)
POLL = 0.02  # seconds between two attempts to get a lock


class Locked(Exception):
    """Another process holds the lock."""


class Lock:
    """A locked file, held until `release`. Raises Locked if another process holds it for `seconds`,
    OSError, and UserError on a file system without locks. seconds = None waits without limit."""

    def __init__(self, path: Path, seconds: float | None) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | PLAIN, 0o644)
        try:
            self._acquire(path, seconds)
        except BaseException:
            self.release()
            raise

    def _acquire(self, path: Path, seconds: float | None) -> None:
        import fcntl  # not on Windows, where results can be read but not made

        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise Locked from None
            except OSError as error:
                if error.errno in LOCKLESS:
                    raise UserError(
                        f"the file system of {path.parent} has no locks, which tell runs of each "
                        "other: use --results on a file system that has them, such as a local "
                        "disk; `ganbench merge` joins the results of several folders"
                    ) from error
                raise
            time.sleep(POLL)

    def release(self) -> None:
        """Free the lock. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def take(files: CellFolder, seconds: float = 0.2) -> Lock | None:
    """The lock of a cell; None if another process holds it for that long. Makes the folder. Raises
    UserError for a folder that cannot be written to."""
    try:
        files.path.mkdir(parents=True, exist_ok=True)
        return Lock(files.lock, seconds)
    except Locked:
        return None
    except OSError as error:
        raise UserError(f"{files.path} cannot be written to: {error.strerror}") from error


def is_locked(files: CellFolder) -> bool:
    """Whether a process holds the lock of a cell now. Writes nothing."""
    import fcntl

    try:
        with open(files.lock, "rb", opener=open_plain) as file:
            # Closing the file frees the lock
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        # Otherwise the lock is held, or the file system does not say
        return error.errno not in UNLOCKABLE
    return False


@contextmanager
def held(files: CellFolder) -> Iterator[bool]:
    """Whether this process got the lock of a cell, for the time of the block. Raises UserError if
    the block cannot write to the folder."""
    lock = take(files)
    try:
        yield lock is not None
    except OSError as error:
        raise UserError(f"{files.path} cannot be written to: {error.strerror}") from error
    finally:
        if lock:
            lock.release()


@contextmanager
def alone(results: ResultSet) -> Iterator[None]:
    """Wait until no other run prepares a result set, and keep others waiting during the block."""
    results.path.mkdir(parents=True, exist_ok=True)
    try:
        lock = Lock(results.lock, 0)
    except Locked:
        print(f"waiting for another run, which prepares {results.path}", file=sys.stderr)
        lock = Lock(results.lock, None)
    try:
        yield
    finally:
        lock.release()
