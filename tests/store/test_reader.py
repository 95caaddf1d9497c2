"""The state of a result set: who runs what, the time left, what is stale or damaged."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmark.store import reader as module
from benchmark.store.code import ROOT
from benchmark.store.overview import CellOverview
from benchmark.store.reader import GONE, Reader
from tests.helpers import synthetic
from tests.helpers.result_sets import WHOLE, seeds_that_are, status_file, write

# Takes the lock of a cell, by the path of its folder, until the process is killed
HOLD = """
import sys, time
from pathlib import Path
from benchmark.store.layout import CellFolder
from benchmark.store.locks import take
lock = take(CellFolder(Path(sys.argv[1])))
print("held", flush=True)
time.sleep(60)
"""
Hold = Callable[[Path], "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def present_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that synthetic cells were trained with is the present one."""
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Another process takes the lock of a cell, by the path of its status.json."""
    holders = []

    def take(path: Path) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLD, str(path.parent)]
        holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder

    yield take
    for holder in holders:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()


def cells(folder: Path) -> list[CellOverview]:
    return Reader(folder).overview().cells


def seconds_until(finish: str | None, before: datetime) -> float:
    assert finish is not None
    return (datetime.fromisoformat(finish) - before).total_seconds()


# Who runs what


def test_a_cell_runs_while_its_lock_is_held(tmp_path: Path, hold: Hold) -> None:
    statuses = seeds_that_are(running=[0, 1], missing=[3])
    folder = write(tmp_path / "tiny", 4, status=statuses)
    holder = hold(status_file(folder, 0))
    now = Reader(folder).overview()
    assert [cell.status for cell in now.cells] == ["running", "interrupted", "done", "missing"]
    assert [cell.reason for cell in now.cells] == [None, GONE, None, None]
    assert now.counts == {"running": 1, "interrupted": 1, "done": 1, "missing": 1}
    assert now.running == 1
    holder.kill()
    holder.wait()
    # The kernel frees the lock of a process that has died
    assert cells(folder)[0].reason == GONE


@pytest.mark.parametrize("status", ["missing", "interrupted", "error", "timeout"])
def test_a_cell_whose_lock_is_held_runs_whatever_is_on_disk_yet(
    status: str, tmp_path: Path, hold: Hold
) -> None:
    folder = write(tmp_path / "tiny", 1, status=seeds_that_are(interrupted=[0]))
    path = status_file(folder, 0)
    if status == "missing":
        path.unlink()
    else:
        synthetic.edit(path, status=status, reason="an old one")
    hold(path)
    assert [(cell.status, cell.reason) for cell in cells(folder)] == [("running", None)]


def test_a_cell_that_ends_while_it_is_looked_at_is_no_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "tiny", 1)
    path = status_file(folder, 0)
    synthetic.edit(path, status="running")

    def ended_since(*_: Any) -> bool:
        synthetic.edit(path, status="done")
        return False

    monkeypatch.setattr(module, "is_locked", ended_since)
    assert cells(folder)[0].status == "done"


# Speed and time left


def test_time_left_by_hand(tmp_path: Path, hold: Hold) -> None:
    statuses = seeds_that_are(
        running=[1, 2], interrupted=[3, 4, 5], missing=[6], error=[7], timeout=[8]
    )
    folder = write(tmp_path / "tiny", 9, status=statuses)
    files = {seed: status_file(folder, seed) for seed in range(9) if seed != 6}
    # Seed 1 is too early for a pace of its own; seed 2 is slower than the others
    synthetic.edit(files[1], progress=0.05)
    synthetic.edit(files[2], progress=0.5, train_seconds=20.0, warmup_seconds=3.0, g_steps=300)
    for seed, code in ((3, "c0de"), (4, "c0de"), (5, "other")):
        synthetic.edit(files[seed], progress=0.4, code=code)
    for seed in (3, 5, 7):
        (files[seed].parent / "checkpoint.pt").touch()
    hold(files[1])
    hold(files[2])
    before = datetime.now().astimezone()
    now = Reader(folder).overview()
    # Seed 2 is half done: it needs as much again, without its warm-up
    own_pace = 20.0 + 1.0 + 0.5
    # Of seed 3; seed 4 has no checkpoint, and that of seed 5 is of other code
    resumed = 0.6 * WHOLE
    expected = [0.95 * WHOLE, own_pace, resumed, WHOLE, WHOLE, WHOLE]
    left = [cell.seconds_left for cell in now.cells]
    assert left == [None, *map(pytest.approx, expected), None, None]
    assert now.seconds_left == pytest.approx(0.95 * WHOLE + own_pace + resumed + 3 * WHOLE)
    assert now.cells[2].steps_per_second == pytest.approx(300 / 20)
    checkpoints = [False, False, False, True, *[False] * 5]
    assert [cell.checkpoint for cell in now.cells] == checkpoints
    assert [cell.progress for cell in now.cells][:5] == [1.0, 0.05, 0.5, 0.4, 0.4]
    assert now.stale == 1
    assert seconds_until(now.finish, before) == pytest.approx(now.seconds_left / 2, abs=5)


def test_the_finish_is_not_before_that_of_the_longest_cell(tmp_path: Path, hold: Hold) -> None:
    folder = write(tmp_path / "tiny", 3, status=seeds_that_are(running=[1, 2]))
    synthetic.edit(status_file(folder, 1), progress=0.9)
    synthetic.edit(status_file(folder, 2), progress=0.2, train_seconds=1000.0)
    hold(status_file(folder, 1))
    hold(status_file(folder, 2))
    before = datetime.now().astimezone()
    now = Reader(folder).overview()
    after = datetime.now().astimezone()
    # The finish is whole seconds
    assert seconds_until(now.finish, before) > 4 * 1001.5 - 2
    assert seconds_until(now.finish, after) < 4 * 1001.5 + 2


def test_a_stack_is_one_worker(tmp_path: Path, hold: Hold) -> None:
    """The cells of a stack count their shares: two of one stack, half done at 20 s each, need 40 s
    more of the one worker."""
    statuses = seeds_that_are(running=[0, 1], interrupted=[2])
    folder = write(tmp_path / "tiny", 3, status=statuses)
    clocks = {
        "train_seconds": 19.0,
        "eval_seconds": 1.0,
        "other_seconds": 0.0,
        "compile_seconds": 7.0,
    }
    execution = {"mode": "compiled", "stack": 2, "fallback": None}
    for seed in (0, 1):
        synthetic.edit(status_file(folder, seed), progress=0.5, execution=execution, **clocks)
        hold(status_file(folder, seed))
    before = datetime.now().astimezone()
    now = Reader(folder).overview()
    assert [cell.stack for cell in now.cells] == [2, 2, 1]
    assert [cell.execution for cell in now.cells] == ["compiled", "compiled", None]
    # The cells compile no more
    assert [cell.seconds_left for cell in now.cells[:2]] == [20.0, 20.0]
    assert seconds_until(now.finish, before) == pytest.approx(now.seconds_left, abs=5)


def test_no_calendar_is_too_short(tmp_path: Path, hold: Hold) -> None:
    folder = write(tmp_path / "tiny", 1, status=seeds_that_are(running=[0]))
    path = status_file(folder, 0)
    synthetic.edit(path, progress=0.2, train_seconds=1e17)
    hold(path)
    finish = Reader(folder).overview().finish
    assert finish is not None
    assert finish > "2300"


def test_a_group_that_has_never_run_is_a_guess(tmp_path: Path, hold: Hold) -> None:
    statuses = {("lsgan", "mlp", seed): "missing" for seed in range(2)}
    folder = write(tmp_path / "tiny", 2, objectives=["wgan", "lsgan"], status=statuses)
    now = Reader(folder).overview()
    assert (now.seconds_left, now.guessed, now.finish) == (2 * WHOLE, 2, None)
    for cell in now.cells:
        if cell.status == "done":
            (folder / "cells" / cell.key / "status.json").unlink()
    now = Reader(folder).overview()
    assert (now.seconds_left, now.guessed) == (None, 4)
    # A running cell tells the time of its group
    running = folder / "cells" / now.cells[0].key / "status.json"
    status = {"schema": 1, "status": "running", "progress": 0.25, "train_seconds": 10.0}
    running.write_text(json.dumps(status))
    hold(running)
    now = Reader(folder).overview()
    assert (now.seconds_left, now.guessed) == (30.0 + 3 * 40.0, 2)


# What is stale


def test_other_code_or_evaluation_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = seeds_that_are(missing=[2])
    folder = write(tmp_path / "tiny", 3, objectives=["wgan", "lsgan"], status=statuses)
    codes = {"wgan": "c0de", "lsgan": "x"}
    monkeypatch.setattr(
        "benchmark.store.code.training_code", lambda cell: codes[cell.objective.name]
    )
    synthetic.edit(status_file(folder, 1), evaluation_hash="e1")
    assert [cell.stale for cell in cells(folder)] == [False, True, False, True, True, True]

    def gone(cell: Any) -> str:
        raise FileNotFoundError(cell.objective.name)

    monkeypatch.setattr("benchmark.store.code.training_code", gone)
    assert Reader(folder).overview().stale == 5
