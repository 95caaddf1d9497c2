"""The local engine: a worker by itself, in this process, and a pool whose workers are planned."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.run.cell import cell_run, stack_run
from benchmark.run.cell.cell_run import CellEvent, Interrupted
from benchmark.run.engines import local, local_worker
from benchmark.run.engines.local_worker import CellWorker, Doing
from benchmark.run.events import Ended, Event, Fatal, Lost, Running, Started, Task
from benchmark.store.files import read_json, write_json
from benchmark.store.locks import is_locked, take
from tests.helpers.pool import ended, folder_of, running, stack_of, tasks_of, word, words

OPTIONS = local.WorkerOptions(Path(), threads=1, checkpoint_every=60.0)
SETTLED = {"status": "error", "attempt": "of another"}
Work = Callable[..., list[Event]]
Planned = Callable[..., tuple[local.Pool, list[Any]]]


# A worker


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Work]:
    """What a worker reports, in this process, with something else that runs a cell."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGALRM)}
    monkeypatch.setattr(local_worker, "PATIENCE", 0.1)

    def call(
        task: Task, run_cell: Callable[..., Iterator[CellEvent]], device: str = "cpu"
    ) -> list[Event]:
        tasks, events = iter([task]), []

        def recv() -> Task:
            for task in tasks:
                return task
            raise EOFError

        monkeypatch.setattr(cell_run, "run_cell", run_cell)
        connection: Any = SimpleNamespace(recv=recv, send=events.append)
        local_worker.work(connection, device, tmp_path, 1, 60.0)
        return events

    yield call
    signal.setitimer(signal.ITIMER_REAL, 0)
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_a_worker_runs_a_cell_under_its_lock_and_none_that_another_has_or_has_settled(
    work: Work, tmp_path: Path
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    files = folder_of(tmp_path, task)
    done = ended(task, "done")

    def runs(*options: Any) -> Iterator[CellEvent]:
        assert is_locked(files)
        yield done

    lock = take(files)
    assert lock
    (event,) = work(task, runs)
    assert (event.key, word(event)) == (task.key, "taken")
    lock.release()
    assert work(task, runs) == [done]
    assert not is_locked(files)
    write_json(files.status_file, SETTLED)
    assert words(work(task, runs)) == ["error"]


def test_a_worker_runs_of_a_stack_what_it_can_have(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cell under its own lock, which is free once the cell has ended; the others keep their
    place in the stack."""
    tasks = tasks_of(("lsgan", 4))
    keys = [task.key for task in tasks]
    files = {task.key: folder_of(tmp_path, task) for task in tasks}
    by_key = {task.key: task for task in tasks}
    ran: list[list[str]] = []

    def run_stack(cells: Any, *options: Any) -> Iterator[CellEvent]:
        assert options[-1] == tuple(task.cell for task in tasks)
        ran.append([cell.key for cell in cells])
        for key in ran[-1]:
            yield running(by_key[key])
        for i, key in enumerate(ran[-1]):
            locked = [is_locked(files[other]) for other in ran[-1]]
            assert locked == [j >= i for j in range(len(ran[-1]))]
            yield ended(by_key[key], "done")

    def no_cell(*arguments: Any) -> Iterator[CellEvent]:
        raise AssertionError

    monkeypatch.setattr(stack_run, "run_stack", run_stack)
    lock = take(files[keys[1]])
    assert lock
    write_json(files[keys[2]].status_file, SETTLED)
    events = work(stack_of(tasks), no_cell)
    assert [(event.key, word(event)) for event in events] == [
        (keys[1], "taken"),
        (keys[2], "error"),
        (keys[0], "running"),
        (keys[3], "running"),
        (keys[0], "done"),
        (keys[3], "done"),
    ]
    assert not any(is_locked(files[keys[i]]) for i in (0, 2, 3))
    write_json(files[keys[3]].status_file, SETTLED)
    events = work(stack_of(tasks), no_cell)
    assert words(events) == ["taken", "error", "error", "running", "done"]
    assert ran == [[keys[0], keys[3]], [keys[0]]]
    lock.release()


def test_a_stack_that_takes_too_long_to_end_is_marked(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tasks_of(("lsgan", 3))

    def run_stack(cells: Any, *options: Any) -> Iterator[CellEvent]:
        for task in tasks:
            yield running(task)
        yield ended(tasks[0], "done")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(stack_run, "run_stack", run_stack)
    events = work(stack_of(tasks), lambda *options: iter(()))
    assert words(events) == [*["running"] * 3, "done", "interrupted", "interrupted"]
    for task in tasks[1:]:
        files = folder_of(tmp_path, task)
        assert read_json(files.status_file)["reason"] == "asked to end, it took too long"
        assert not is_locked(files)


def test_a_worker_speaks_of_a_running_cell_now_and_then(work: Work) -> None:
    (task,) = tasks_of(("lsgan", 1))

    def runs(*options: Any) -> Iterator[CellEvent]:
        for _ in range(50):
            yield running(task)
        yield ended(task, "done")

    assert words(work(task, runs)) == ["running", "done"]


@pytest.mark.parametrize("where", ["step", "measurement", "start"])
def test_what_takes_too_long_is_interrupted_but_no_save_is(
    where: str, work: Work, tmp_path: Path
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    files = folder_of(tmp_path, task)

    def runs(
        cell: Any, folder: Path, device: str, stop: Callable[[], bool], *options: Any
    ) -> Iterator[CellEvent]:
        if where != "start":
            yield running(task)
        os.kill(os.getpid(), signal.SIGTERM)
        if where == "step":
            # The cell is between two steps
            assert stop()
        else:
            with pytest.raises(Interrupted) if where == "measurement" else nullcontext():
                time.sleep(5)
        time.sleep(0.3)
        yield ended(task, "interrupted", reason="saved")

    events = work(task, runs)
    assert words(events) == ["running", "interrupted"][where == "start" :]
    last = events[-1]
    assert isinstance(last, Ended)
    assert (last.status.reason == "saved") == (where != "start")
    assert not is_locked(files)
    if where == "start":
        assert read_json(files.status_file)["status"] == "interrupted"


def test_an_interrupt_after_the_commit_reports_what_was_committed(
    work: Work, tmp_path: Path
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    files = folder_of(tmp_path, task)

    def runs(*options: Any) -> Iterator[CellEvent]:
        yield running(task)
        write_json(files.status_file, {"key": task.key, "status": "diverged", "samples_seen": 0})
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    assert words(work(task, runs)) == ["running", "diverged"]
    assert read_json(files.status_file)["status"] == "diverged"


def test_a_device_that_cannot_be_had_is_not_the_cells_fault(work: Work, tmp_path: Path) -> None:
    (task,) = tasks_of(("lsgan", 1))
    (event,) = work(task, lambda *options: iter(()), device="cuda:99")
    assert isinstance(event, Fatal)
    assert event.key == task.key
    assert event.reason.startswith("no worker starts on cuda:99: ")
    assert not any(tmp_path.iterdir())


def test_sigterm_ends_a_worker_only_between_its_cells(tmp_path: Path) -> None:
    worker = CellWorker(None, "cpu", tmp_path, 60.0)  # type: ignore[arg-type]
    for doing in (Doing.RUNNING, Doing.REPORTING):
        worker.doing = doing
        worker.has_to_stop = True
        worker._stop(signal.SIGTERM, None)
    worker.doing = Doing.NOTHING
    with pytest.raises(SystemExit):
        worker._stop(signal.SIGTERM, None)


# A pool


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Planned:
    """A local pool of one worker and the workers it makes, which send what is planned for them and
    die."""

    def make(exit_code: int | None, *sent: list[Event]) -> tuple[local.Pool, list[Any]]:
        plan, made = iter(sent), []

        def worker(device: str, options: local.WorkerOptions) -> Any:
            ours, theirs = multiprocessing.Pipe()
            for event in next(plan, []):
                theirs.send(event)
            theirs.close()
            process = SimpleNamespace(
                exitcode=exit_code,
                kill=lambda: None,
                terminate=lambda: None,
                join=lambda seconds: None,
            )
            made.append(
                SimpleNamespace(
                    device=device,
                    connection=ours,
                    process=process,
                    unanswered=None,
                    has_answered=False,
                    is_reusable=True,
                )
            )
            return made[-1]

        monkeypatch.setattr(local, "Worker", worker)
        return local.Pool(["cpu"], OPTIONS), made

    return make


def events_of(pool: local.Pool, task: Task) -> list[Event]:
    """What a pool says of a task, to the end of all its cells."""
    pool.start(task)
    events: list[Event] = []
    while pool.busy:
        events += pool.wait(1.0)
    return events


def after_start(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Started)]


def test_a_worker_that_never_said_a_word_is_replaced_once_and_then_ends_the_run(
    planned: Planned,
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    pool, made = planned(-signal.SIGKILL)
    (event,) = after_start(events_of(pool, task))
    assert isinstance(event, Fatal)
    assert len(made) == 2
    assert event.reason.startswith("no worker starts on cpu: the worker was killed (signal 9)")


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [(-11, "the worker died (exit code -11)"), (None, "the worker hung as it ended")],
)
def test_a_worker_that_dies_later_is_lost_with_its_cell(
    exit_code: int | None, reason: str, planned: Planned
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    pool, made = planned(exit_code, [running(task)])
    events = after_start(events_of(pool, task))
    assert events == [running(task), Lost(task.key, reason, retry=False)]
    assert len(made) == 1


def test_the_worker_of_a_stack_is_free_once_all_its_cells_have_ended(planned: Planned) -> None:
    tasks = tasks_of(("lsgan", 3))
    sent: list[Event] = [*map(running, tasks), *(ended(task, "done") for task in tasks)]
    pool, made = planned(0, sent)
    pool.start(stack_of(tasks))
    heard: list[Event] = []
    while pool.busy:
        assert pool.idle == []
        heard += pool.wait(1.0)
    assert heard == [*(Started(task.key) for task in tasks), *sent]
    assert (pool.idle, pool.free_devices) == (made, [])


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [([], ["fatal", "lost"]), (["running"], ["lost", "lost"]), (["fatal"], ["fatal", "lost"])],
)
def test_the_end_of_a_stacks_worker_is_that_of_all_its_cells(
    sent: list[str], statuses: list[str], planned: Planned
) -> None:
    tasks = tasks_of(("lsgan", 2))
    known = {"running": running(tasks[0]), "fatal": Fatal(tasks[0].key, "full")}
    pool, _ = planned(-9, [known[name] for name in sent], [])
    events = events_of(pool, stack_of(tasks))
    ends = [event for event in after_start(events) if not isinstance(event, Running)]
    assert words(ends) == statuses
    assert {event.key for event in events} == {task.key for task in tasks}
    assert {event.key for event in ends} == {task.key for task in tasks}
    assert (pool.free_devices, pool.idle) == (["cpu"], [])


@pytest.mark.parametrize(
    ("status", "device", "is_reused"),
    [
        ("done", "cpu", True),
        ("diverged", "cuda:0", True),
        ("error", "cpu", True),
        ("error", "cuda:0", False),
        ("interrupted", "cpu", False),
        ("timeout", "cpu", False),
    ],
)
def test_a_worker_runs_another_cell_unless_its_device_may_be_spoiled(
    status: str, device: str, is_reused: bool
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    assert local.leaves_worker_sound(ended(task, status), device) == is_reused


def test_workers_that_were_asked_to_end_are_not_replaced(planned: Planned) -> None:
    (task,) = tasks_of(("lsgan", 1))
    pool, made = planned(0)
    pool.stop()
    assert words(after_start(events_of(pool, task))) == ["lost"]
    assert len(made) == 1


def test_a_worker_obeys_sigterm_from_its_first_moment() -> None:
    pool = local.Pool(["cpu"], OPTIONS)
    try:
        process = pool.idle[0].process
        # It has yet to import anything
        process.terminate()
        process.join()
        assert process.exitcode == 0
    finally:
        pool.close()
