"""Cells handed to a pool: what becomes of stacks, and of cells that hang, are lost, or belong to
another run."""

import errno
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.run.events import CellNews, Event, Fatal, Limits, Lost, Started, Taken, Task
from benchmark.run.signals import collected_signals
from benchmark.store.files import read_json, write_json
from benchmark.store.locks import take
from tests.helpers.pool import (
    Simulated,
    ended,
    folder_of,
    last_words,
    names,
    stack_of,
    tasks_of,
    word,
    words,
)
from tests.run.conftest import Simulate

MINUTE = Limits(timeout=60)


def status_of(results: Path, task: Task) -> dict[str, Any]:
    return read_json(folder_of(results, task).status_file)


def statuses_of(results: Path, tasks: list[Task]) -> list[str | None]:
    return [status_of(results, task).get("status") for task in tasks]


def signalled(*signals: int) -> Callable[[], None]:
    """Sends signals to this process."""

    def send() -> None:
        for signum in signals:
            os.kill(os.getpid(), signum)

    return send


# Stacks


def test_a_stack_takes_one_place(simulate: Simulate) -> None:
    # `start` asserts that there is room
    pool = Simulated(2, seconds=lambda task: 10.0)
    tasks = tasks_of(("lsgan", 7), ("wgan", 3))
    stacks = [stack_of(tasks[:5]), stack_of(tasks[5:7]), stack_of(tasks[7:])]
    news = simulate(stacks, pool)
    assert sorted(report.event.key for report in news) == sorted(task.key for task in tasks)
    # The first stack of each group comes before the others
    assert names(pool.started) == [*names(tasks[:5]), *names(tasks[7:]), *names(tasks[5:7])]
    assert pool.now == 50.0
    # Nothing was said of how far the other stack is
    assert news[2].seconds_left == (2 * 10.0 + 5 * 10.0) / 2


def test_a_stack_has_the_time_of_all_its_cells_and_ends_as_one(
    simulate: Simulate, tmp_path: Path
) -> None:
    tasks = tasks_of(("lsgan", 3), ("wgan", 1))
    hung = [task.key for task in tasks[:3]]
    pool = Simulated(2, seconds=lambda task: 1e9 if task.key in hung else 59.0)
    news = simulate([stack_of(tasks[:3]), tasks[3]], pool, limits=MINUTE)
    assert last_words(news) == dict.fromkeys(hung, "timeout") | {tasks[3].key: "done"}
    assert 180 < pool.now < 182
    reason = "its stack of 3 took longer than 60 s (--timeout) for each"
    assert {status_of(tmp_path, task)["reason"] for task in tasks[:3]} == {reason}


def test_a_stack_that_says_nothing_at_all_ends_the_run(simulate: Simulate) -> None:
    at = {600.0: signalled(signal.SIGINT)}
    pool = Simulated(seconds=lambda task: 1e9, says=Started, at=at)
    message = r"lsgan.*: its worker said nothing for 120 s \(--timeout\)"
    with pytest.raises(UserError, match=message):
        simulate([stack_of(tasks_of(("lsgan", 2)))], pool, limits=MINUTE)


def test_members_of_a_stack_that_others_have_are_waited_for_by_themselves(
    simulate: Simulate, tmp_path: Path
) -> None:
    tasks = tasks_of(("lsgan", 3))
    key = tasks[1].key
    lock = take(folder_of(tmp_path, tasks[1]))
    assert lock
    pool = Simulated(events={key: [Taken(key)]}, at={30.0: lock.release})
    news = simulate([stack_of(tasks)], pool)
    assert names(pool.started) == ["lsgan 0", "lsgan 1", "lsgan 2", "lsgan 1"]
    assert words(news) == ["done", "taken", "done", "done"]
    # It keeps its place in the stack
    assert pool.started[-1].stacked_with == ()
    assert [cell.seed for cell in pool.started[-1].stack] == [0, 1, 2]


def test_a_stack_that_does_not_end_in_time_is_ended(simulate: Simulate, tmp_path: Path) -> None:
    at = {5.0: signalled(signal.SIGTERM)}
    pool = Simulated(seconds=lambda task: 1e9, obeys=False, at=at)
    tasks = tasks_of(("lsgan", 3))
    with pytest.raises(KeyboardInterrupt):
        simulate([stack_of(tasks[:2]), tasks[2]], pool)
    assert statuses_of(tmp_path, tasks) == ["interrupted", "interrupted", None]


# Cells that do not end by themselves


def test_a_time_limit_counts_from_the_first_event_and_keeps_the_checkpoint(
    simulate: Simulate, tmp_path: Path
) -> None:
    hung, well = tasks_of(("lsgan", 1), ("wgan", 1))
    files = folder_of(tmp_path, hung)
    before = {"key": hung.key, "status": "running", "g_steps": 7, "attempt": "a"}
    write_json(files.status_file, before)
    files.checkpoint.write_bytes(b"kept")
    pool = Simulated(seconds=lambda task: 1e9 if task == hung else 59.0)
    news = simulate([hung, well], pool, limits=MINUTE)
    assert [report.event.key for report in news] == [hung.key, well.key]
    assert words(news) == ["timeout", "done"]
    # 60 s for the one, then 59 s for the other
    assert 119 < pool.now < 121
    status = status_of(tmp_path, hung)
    assert (status["status"], status["reason"]) == ("timeout", "took longer than 60 s (--timeout)")
    assert (status["g_steps"], files.checkpoint.read_bytes()) == (7, b"kept")


def test_a_cell_that_has_not_begun_has_no_time_limit_yet(simulate: Simulate) -> None:
    # It waits for a node
    pool = Simulated(seconds=lambda task: 1000.0, says=None)
    assert words(simulate(tasks_of(("lsgan", 1)), pool, limits=MINUTE)) == ["done"]


def test_a_worker_that_says_nothing_at_all_ends_the_run_at_the_time_limit(
    simulate: Simulate, tmp_path: Path
) -> None:
    # A device or a disk that does not answer; the signal ends this test if it hangs
    at = {600.0: signalled(signal.SIGINT)}
    pool = Simulated(seconds=lambda task: 1e9, says=Started, at=at)
    tasks = tasks_of(("lsgan", 2))
    message = r"lsgan.*: its worker said nothing for 60 s \(--timeout\)"
    with pytest.raises(UserError, match=message):
        simulate(tasks, pool, limits=MINUTE)
    assert (len(pool.started), 60 < pool.now < 62) == (1, True)
    # The cells are as pending as before
    assert not any(status_of(tmp_path, task) for task in tasks)


def test_a_cell_of_a_lost_node_is_started_again_three_times(
    simulate: Simulate, tmp_path: Path
) -> None:
    twice, always = tasks_of(("lsgan", 1), ("wgan", 1))
    planned: dict[str, list[Event]] = {
        task.key: [Lost(task.key, "its node was lost", retry=True)] * times
        for task, times in ((twice, 2), (always, 9))
    }
    pool = Simulated(2, events=planned)
    news = simulate([twice, always], pool)
    assert Counter(names(pool.started)) == {"lsgan 0": 3, "wgan 0": 4}
    assert last_words(news) == {twice.key: "done", always.key: "error"}
    assert words(news).count("lost") == 2 + 3
    assert status_of(tmp_path, always)["reason"] == "its node was lost"


def test_a_dead_worker_ends_its_cell_unless_the_cell_was_committed_before(
    simulate: Simulate, tmp_path: Path
) -> None:
    broken, committed = tasks_of(("lsgan", 1), ("wgan", 1))
    before = {"status": "diverged", "attempt": "b"}
    write_json(folder_of(tmp_path, committed).status_file, before)
    planned = {task.key: [Lost(task.key, "killed", retry=False)] for task in (broken, committed)}
    assert words(simulate([broken, committed], Simulated(events=planned))) == ["error", "diverged"]
    assert status_of(tmp_path, broken)["reason"] == "killed"
    assert status_of(tmp_path, committed)["status"] == "diverged"


def test_a_finished_cell_whose_next_worker_died_before_it_began_stays_finished(
    simulate: Simulate, tmp_path: Path
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    before = {"status": "diverged", "attempt": "a", "samples_seen": 7}
    write_json(folder_of(tmp_path, task).status_file, before)
    pool = Simulated(events={task.key: [Lost(task.key, "killed", retry=False)]}, says=None)
    assert words(simulate([Task(task.cell, "a")], pool)) == ["diverged"]
    assert status_of(tmp_path, task) == {"schema": 1} | before


@pytest.mark.parametrize("end", ["error", "timeout"])
@pytest.mark.parametrize(("fail_fast", "started"), [(False, 6), (True, 2)])
def test_fail_fast_starts_no_cell_after_the_first_error(
    fail_fast: bool, started: int, end: str, simulate: Simulate
) -> None:
    tasks = tasks_of(("lsgan", 6))
    planned: dict[str, list[Event]] = {tasks[0].key: [ended(tasks[0], end, reason="planted")]}
    pool = Simulated(2, lambda task: 1.0 + task.cell.seed, planned)
    news = simulate(tasks, pool, limits=Limits(fail_fast=fail_fast))
    # The other cell that runs already runs to its end
    assert (len(news), len(pool.started)) == (started, started)


# Cells of other runs


def test_a_cell_of_another_run_is_waited_for_and_then_run(
    simulate: Simulate, tmp_path: Path
) -> None:
    theirs, ours = tasks_of(("lsgan", 1), ("wgan", 1))
    lock = take(folder_of(tmp_path, theirs))
    assert lock
    pool = Simulated(events={theirs.key: [Taken(theirs.key)]}, at={30.0: lock.release})
    news = simulate([theirs, ours], pool)
    assert words(news) == ["taken", "done", "done"]
    assert names(pool.started) == ["lsgan 0", "wgan 0", "lsgan 0"]
    assert 30 < pool.now < 34


def test_without_waiting_it_is_left_to_the_other(simulate: Simulate, tmp_path: Path) -> None:
    theirs, ours = tasks_of(("lsgan", 1), ("wgan", 1))
    lock = take(folder_of(tmp_path, theirs))
    assert lock
    pool = Simulated(events={theirs.key: [Taken(theirs.key)]})
    assert words(simulate([theirs, ours], pool, limits=Limits(wait=False))) == ["taken", "done"]
    lock.release()


def test_a_cell_that_another_run_was_quicker_to_take_is_waited_for(
    simulate: Simulate, tmp_path: Path
) -> None:
    """Its worker here is gone, and its lock is already held there."""
    (task,) = tasks_of(("lsgan", 1))
    lock = take(folder_of(tmp_path, task))
    assert lock
    lost: list[Event] = [Lost(task.key, "killed", retry=False)]
    pool = Simulated(events={task.key: lost}, at={30.0: lock.release})
    assert words(simulate([task], pool)) == ["done"]
    assert names(pool.started) == ["lsgan 0", "lsgan 0"]
    assert pool.now > 30


def test_a_folder_that_cannot_be_written_to_ends_the_run(
    simulate: Simulate, tmp_path: Path
) -> None:
    (tmp_path / "cells").write_text("in the way")
    tasks = tasks_of(("lsgan", 3))
    with pytest.raises(UserError, match=r"cells/\w+.* cannot be written to: "):
        take(folder_of(tmp_path, tasks[0]))
    pool = Simulated(events={tasks[0].key: [Lost(tasks[0].key, "killed", retry=False)]})
    with pytest.raises(UserError, match=r"cannot be written to: "):
        simulate(tasks, pool)
    assert len(pool.started) == 1


# A run that ends early


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_cells_save_what_they_have(signum: int, simulate: Simulate) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    pool = Simulated(2, lambda task: 100.0, at={5.0: signalled(signum)})
    heard: list[CellNews] = []
    with pytest.raises(KeyboardInterrupt):
        simulate(tasks_of(("lsgan", 6)), pool, heard)
    assert [end for end in words(heard) if end != "running"] == ["interrupted"] * 2
    assert (len(pool.started), pool.now < 6) == (2, True)
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert after == handlers


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_ignored(signum: int) -> None:
    before = signal.signal(signum, signal.SIG_IGN)
    received: list[int] = []
    try:
        with collected_signals(received):
            os.kill(os.getpid(), signum)
            assert received == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert received == [signal.SIGTERM]
        assert signal.getsignal(signum) == signal.SIG_IGN
    finally:
        signal.signal(signum, before)


def test_cells_that_do_not_end_in_time_are_ended(simulate: Simulate, tmp_path: Path) -> None:
    at = {5.0: signalled(signal.SIGTERM)}
    pool = Simulated(2, lambda task: 1e9, obeys=False, at=at)
    tasks = tasks_of(("lsgan", 3))
    with pytest.raises(KeyboardInterrupt):
        simulate(tasks, pool)
    assert 25 < pool.now < 27
    assert statuses_of(tmp_path, tasks) == ["interrupted", "interrupted", None]


@pytest.mark.parametrize("by_signal", [True, False])
@pytest.mark.parametrize(
    ("says", "status"), [("running", "interrupted"), ("started", None)], ids=["begun", "new"]
)
def test_what_ends_the_run_and_the_workers_makes_no_cell_an_error(
    by_signal: bool, says: str, status: str | None, simulate: Simulate, tmp_path: Path
) -> None:
    tasks = tasks_of(("lsgan", 2))
    first, second = tasks
    end: Event = ended(first, "interrupted") if by_signal else Fatal(first.key, "full")
    lost = Lost(second.key, "the worker died (exit code -15)", retry=True)
    pool = Simulated(2, events={first.key: [end], second.key: [lost]})
    if says == "started":
        pool.says = Started
    if by_signal:
        pool.at = {1.0: signalled(signal.SIGTERM)}
    with pytest.raises(KeyboardInterrupt if by_signal else UserError):
        simulate(tasks, pool)
    assert status_of(tmp_path, second).get("status") == status
    assert len(pool.started) == 2


@dataclass
class Failing(Simulated):
    """`wait` or the third `start` fails once."""

    fails: str = ""

    left: list[str] | None = None
    """What was running as the pool was closed."""

    def start(self, task: Task) -> None:
        if self.fails == "start" and len(self.started) == 2:
            raise BlockingIOError(errno.EAGAIN, "no process is left")
        super().start(task)

    def wait(self, seconds: float) -> list[Event]:
        if self.fails == "wait" and self.now >= 1:
            self.fails = ""
            raise OSError(errno.EIO, "no answer")
        return super().wait(seconds)

    def close(self) -> None:
        if self.left is None:
            self.left = [*self.running]
        super().close()


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("start", "a worker cannot be started: no process is left"),
        ("wait", "the workers cannot be reached: no answer"),
    ],
)
def test_when_the_system_refuses_running_cells_save_what_they_have(
    fails: str, message: str, simulate: Simulate
) -> None:
    pool = Failing(3, lambda task: 100.0, fails=fails)
    heard: list[CellNews] = []
    with pytest.raises(UserError, match=f"^{message}$"):
        simulate(tasks_of(("lsgan", 3)), pool, heard)
    assert {end for end in words(heard) if end != "running"} == {"interrupted"}
    assert (pool.left, pool.now < 3) == ([], True)


@pytest.mark.parametrize(
    ("error", "seconds"), [(BrokenPipeError, 1.0), (BrokenPipeError, 100.0), (SystemExit, 100.0)]
)
def test_when_nothing_can_be_said_running_cells_save_what_they_have(
    error: type[BaseException], seconds: float, simulate: Simulate
) -> None:
    class Broken(list[CellNews]):
        def append(self, news: CellNews) -> None:
            if word(news) == "done":
                raise error

    pool = Failing(2, lambda task: seconds if task.cell.seed else 1.0)
    with pytest.raises(error):
        simulate(tasks_of(("lsgan", 3)), pool, Broken())
    assert (pool.left, len(pool.started), pool.now < 3) == ([], 2, True)


def test_a_second_signal_ends_the_run_at_once(simulate: Simulate) -> None:
    at = {5.0: signalled(signal.SIGINT), 6.0: signalled(signal.SIGINT)}
    pool = Simulated(2, lambda task: 1e9, obeys=False, at=at)
    with pytest.raises(KeyboardInterrupt):
        simulate(tasks_of(("lsgan", 3)), pool)
    assert (pool.now < 7, pool.running) == (True, {})


def test_when_nothing_more_can_be_written_the_others_are_stopped(simulate: Simulate) -> None:
    tasks = tasks_of(("lsgan", 5))
    planned: dict[str, list[Event]] = {tasks[0].key: [Fatal(tasks[0].key, "full")]}
    pool = Simulated(2, lambda task: 1.0 + 9 * task.cell.seed, planned)
    heard: list[CellNews] = []
    with pytest.raises(UserError, match=r"^full$"):
        simulate(tasks, pool, heard)
    assert [end for end in words(heard) if end != "running"] == ["interrupted"]
    assert (len(pool.started), pool.now < 3) == (2, True)
