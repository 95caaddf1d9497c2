"""Which process runs a cell: locks."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.run.ownership import write_end
from benchmark.store.code import ROOT
from benchmark.store.files import read_json, write_bytes
from benchmark.store.layout import ResultSet
from benchmark.store.locks import Lock, Locked, alone, held, is_locked, take
from benchmark.store.schema import RunStatus
from tests.helpers.pool import tasks_of

HOLD = """
import sys, time
from pathlib import Path
from benchmark.store.layout import CellFolder
from benchmark.store.locks import take
lock = take(CellFolder(Path(sys.argv[1])))
print("held" if lock else "taken", flush=True)
time.sleep(60)
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of a cell."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    (task,) = tasks_of(("lsgan", 1))
    files = ResultSet(tmp_path).cell(task.key)
    with holder(files.path) as process:
        assert is_locked(files)
        assert take(files, 0.0) is None
        with held(files) as has_lock:
            assert not has_lock
        assert write_end(tmp_path, task, RunStatus.ERROR, "not ours") is None
        assert not files.status_file.exists()
        process.kill()
        process.wait()
        assert not is_locked(files)
        lock = take(files, 0.0)
        assert lock
        # By this process, too
        assert is_locked(files)
        assert take(files, 0.0) is None
        lock.release()
    status = write_end(tmp_path, task, RunStatus.ERROR, "ours")
    assert status is not None
    assert {"schema": 1} | status.plain() == read_json(files.status_file)
    assert (status.status, status.reason) == ("error", "ours")


def test_a_lock_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    lock = Lock(path, 0)
    began = time.monotonic()
    with pytest.raises(Locked):
        Lock(path, 0.2)
    assert time.monotonic() - began >= 0.2
    threading.Timer(0.2, lock.release).start()
    other = Lock(path, None)
    with pytest.raises(Locked):
        Lock(path, 0)
    other.release()
    Lock(path, 0).release()


def test_a_second_release_does_nothing(tmp_path: Path) -> None:
    """Not even to a file that was opened since and has the same number."""
    lock = Lock(tmp_path / "a", 0)
    lock.release()
    other = Lock(tmp_path / "b", 0)
    lock.release()
    with pytest.raises(Locked):
        Lock(tmp_path / "b", 0)
    other.release()


def test_a_lock_that_is_not_got_leaves_no_file_open(tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".lock", 0)
    descriptor = os.dup(0)
    os.close(descriptor)
    with pytest.raises(Locked):
        Lock(tmp_path / ".lock", 0)
    after = os.dup(0)
    os.close(after)
    lock.release()
    assert after == descriptor


def test_child_processes_do_not_keep_a_lock(tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".lock", 0)
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, close_fds=False) as child:
        try:
            assert child.stdout
            child.stdout.readline()
            lock.release()
            Lock(tmp_path / ".lock", 0).release()
        finally:
            child.kill()


def test_asking_for_a_lock_writes_nothing(tmp_path: Path) -> None:
    files = ResultSet(tmp_path).cell("key")
    assert not is_locked(files)
    assert not any(tmp_path.iterdir())
    (tmp_path / "cells").write_text("in the way")
    assert not is_locked(files)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("left", [False, True])
def test_a_file_system_without_locks_is_named(
    left: bool, number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where an earlier version, or a killed process, has left the file of a lock."""

    def flock(file: Any, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    files = ResultSet(tmp_path).cell("key")
    if left:
        write_bytes(files.lock, b"1\nelsewhere\n")
    message = r"the file system of \S+cells/key has no locks.*ganbench merge"
    with pytest.raises(UserError, match=message):
        take(files)
    with pytest.raises(UserError, match=r"has no locks"), alone(ResultSet(tmp_path)):
        pass
    # Nobody can know
    assert is_locked(files)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "cells").write_text("in the way")
    with pytest.raises(UserError, match=r"cells/key cannot be written to: "):
        take(ResultSet(tmp_path).cell("key"))
    files = ResultSet(tmp_path / "other").cell("key")
    with pytest.raises(UserError, match="cells/key cannot be written to: full"), held(files):
        raise OSError(errno.ENOSPC, "full")
    assert not is_locked(files)


def test_waiting_for_another_run_that_prepares_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = ResultSet(tmp_path)
    with alone(results):
        pass
    assert capsys.readouterr().err == ""
    other = results.lock.open("rb")
    fcntl.flock(other, fcntl.LOCK_EX)
    threading.Timer(0.2, other.close).start()
    with alone(results):
        assert capsys.readouterr().err == f"waiting for another run, which prepares {tmp_path}\n"


def test_results_are_read_where_there_is_no_fcntl() -> None:
    """As on Windows."""
    names = ("store.locks", "export.news", "store.merge", "cli.status", "analysis.tables")
    modules = ", ".join(f"benchmark.{name}" for name in names)
    code = f"import sys; sys.modules['fcntl'] = None; import {modules}"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
