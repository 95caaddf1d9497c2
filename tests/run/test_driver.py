"""Cells handed to a pool: their order, and what becomes of those that hang, are lost, or belong to
another runner."""

import errno
import fcntl
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.matrix import files
from benchmark.matrix.cell import Choice
from benchmark.matrix.expand import expand
from benchmark.run import driver, prepare
from benchmark.run import run_cell as runner
from benchmark.run import run_stack as stacked_runner
from benchmark.run import stack_size as stacking
from benchmark.run.driver import drive
from benchmark.run.engines import local, local_worker
from benchmark.run.engines.base import Event, Task
from benchmark.run.ownership import mark, renew, superseded
from benchmark.run.queue import learned
from benchmark.store.clocks import group
from benchmark.store.code import ROOT
from benchmark.store.files import append_rows, read_json, write_bytes, write_json
from benchmark.store.locks import alone, take, taken
from benchmark.train.build import make_networks
from benchmark.train.execution.modes import MODES
from tests.conftest import Ended, matrix_text
from tests.helpers.cells import small_cell

TOOK = {
    "train_seconds": 1.0,
    "eval_seconds": 0.5,
    "probe_seconds": 0.25,
    "warmup_seconds": None,
    "other_seconds": 0.25,
}


@dataclass
class Simulated:
    """A pool whose cells take virtual time: `seconds` of training, or none of it but the `events`
    planned for them."""

    size: int = 1
    seconds: Callable[[Task], float] = lambda task: 1.0
    events: dict[str, list[Event]] = field(default_factory=dict)  # key -> how its next starts end
    heeds: bool = True  # whether its cells end when asked to
    says: str = "running"  # the event when they begin; none: there is none
    now: float = 0.0
    started: list[Task] = field(default_factory=list)
    running: dict[str, tuple[float, Event]] = field(
        default_factory=dict
    )  # key -> when it ends, and how
    said: list[str] = field(default_factory=list)
    at: dict[float, Callable[[], None]] = field(default_factory=dict)  # what else happens, and when
    stacks: dict[str, Task] = field(default_factory=dict)  # key -> what its cell was started in

    def capacity(self) -> int:
        return self.size

    def start(self, task: Task) -> None:
        """A stack takes the seconds of all its cells; its cells end together, each with its
        share."""
        assert len({id(self.stacks[key]) for key in self.running}) < self.size
        stack = (task, *task.beside)
        for each in stack:
            key, seconds = each.cell.key, self.seconds(each)
            self.started.append(each)
            self.stacks[key] = task
            done = {"status": "done", "reason": None, "train_seconds": seconds}
            end = self.events.get(key, []).pop(0) if self.events.get(key) else done
            self.running[key] = (self.now + sum(map(self.seconds, stack)), {"key": key, **end})
            self.said += [key] if self.says else []

    def wait(self, seconds: float) -> list[Event]:
        events = [
            {"key": key, "status": self.says, "progress": 0.0}
            for key in self.said
            if key in self.running
        ]
        self.said = []
        soonest = min((when for when, _ in self.running.values()), default=self.now + seconds)
        self.pass_until(self.now if events else min(soonest, self.now + seconds))
        over = [key for key, (when, _) in self.running.items() if when <= self.now]
        return events + [self.running.pop(key)[1] for key in over]

    def pass_until(self, when: float) -> None:
        self.now = when
        for due in [due for due in self.at if due <= when]:
            self.at.pop(due)()

    def kill(self, key: str) -> None:
        del self.running[key]
        self.running = {
            k: v for k, v in self.running.items() if self.stacks[k] is not self.stacks[key]
        }

    def stop(self) -> None:
        if self.heeds:
            stopped = {"status": "interrupted", "reason": "interrupted"}
            self.running = {key: (self.now, {"key": key, **stopped}) for key in self.running}

    def close(self) -> None:
        self.running = {}


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Event]]:
    """`drive` on a simulated pool, by its clock. Returns the events of cells that are not
    running."""

    def call(
        tasks: list[Task], pool: Simulated, events: list[Event] | None = None, **options: Any
    ) -> list[Event]:
        clock = SimpleNamespace(
            monotonic=lambda: pool.now, sleep=lambda seconds: pool.pass_until(pool.now + seconds)
        )
        monkeypatch.setattr(driver, "time", clock)
        seen = [] if events is None else events
        drive(tasks, pool, tmp_path, lambda event: seen.append(event), **options)
        seen[:] = [event for event in seen if event["status"] != "running"]
        return seen

    return call


def tasks_of(*named: tuple[str, int]) -> list[Task]:
    return [
        Task(small_cell(objective, seed=seed))
        for objective, seeds in named
        for seed in range(seeds)
    ]


def names(tasks: list[Task]) -> list[str]:
    return [f"{task.cell.objective.name} {task.cell.seed}" for task in tasks]


def status_of(folder: Path, task: Task) -> dict[str, Any]:
    return read_json(folder / "cells" / task.cell.key / "status.json")


# The order


def test_what_is_learned_is_the_median_of_all_clocks_of_finished_cells() -> None:
    one, other = small_cell("lsgan").spec, small_cell("wgan").spec
    statuses = [
        (one, TOOK | {"status": "done", "train_seconds": seconds}) for seconds in (1.0, 3.0, 100.0)
    ]
    statuses += [(other, TOOK | {"status": "error"}), (one, {})]
    assert learned(statuses) == {group(one): 4.0}
    assert (
        group(one)
        == group(small_cell("lsgan", seed=7).spec)
        != group(small_cell("lsgan", steps=21).spec)
    )


def test_unknown_groups_come_first_and_then_the_longest(
    simulate: Callable[..., list[Event]],
) -> None:
    tasks = tasks_of(("lsgan", 2), ("wgan", 2), ("minimax", 2), ("wgan_gp", 2))
    known = {group(tasks[0].cell.spec): 5.0, group(tasks[2].cell.spec): 50.0}
    pool = Simulated(
        seconds=lambda task: {"minimax": 20.0, "wgan_gp": 70.0}.get(task.cell.objective.name, 1.0)
    )
    simulate(tasks, pool, known=known)
    first = ["minimax 0", "wgan_gp 0"]  # one of each, to know how long they take
    assert names(pool.started) == [
        *first,
        "wgan_gp 1",
        "wgan 0",
        "wgan 1",
        "minimax 1",
        "lsgan 0",
        "lsgan 1",
    ]


def test_every_cell_runs_once_and_never_more_than_there_is_room_for(
    simulate: Callable[..., list[Event]],
) -> None:
    tasks = tasks_of(("lsgan", 40), ("wgan", 40), ("minimax", 40))
    draw = random.Random(0)
    pool = Simulated(7, seconds=lambda task: draw.expovariate(1.0))  # `start` asserts the room
    events = simulate(tasks, pool)
    assert Counter(names(pool.started)) == Counter(names(tasks))
    assert Counter(event["key"] for event in events) == Counter(task.cell.key for task in tasks)


def test_the_time_left_is_what_waits_and_what_runs_over_the_workers(
    simulate: Callable[..., list[Event]],
) -> None:
    tasks = tasks_of(("lsgan", 5))
    events = simulate(tasks, Simulated(2, seconds=lambda task: 10.0 + task.cell.seed))
    # after the first (10 s): seeds 2, 3, 4 and the running seed 1, each expected to take 10 s, on
    # two workers
    assert events[0]["left"] == 20.0
    assert events[-1]["left"] == 0.0


# Stacks


def test_a_stack_takes_one_place_and_no_more_than_a_workers_share(
    simulate: Callable[..., list[Event]],
) -> None:
    asked = []

    def stack(cell: Any, waiting: int, share: int) -> int:
        asked.append((cell.objective.name, waiting, share))
        return min(waiting, share)

    pool = Simulated(2, seconds=lambda task: 10.0)  # `start` asserts the room
    tasks = tasks_of(("lsgan", 7), ("wgan", 3))
    events = simulate(tasks, pool, stack=stack)
    assert sorted(event["key"] for event in events) == sorted(task.cell.key for task in tasks)
    assert names(pool.started) == [
        *(f"lsgan {i}" for i in range(5)),
        *(f"wgan {i}" for i in range(3)),
        *names(tasks)[5:7],
    ]
    assert asked == [("lsgan", 7, 5), ("wgan", 3, 3), ("lsgan", 2, 1), ("lsgan", 1, 1)]
    assert pool.now == 50.0
    assert (
        events[2]["left"] == (2 * 10.0 + 5 * 10.0) / 2
    )  # as nothing was said of how far the other stack is


def test_a_stack_has_the_time_of_all_its_cells_and_ends_as_one(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    tasks = tasks_of(("lsgan", 3), ("wgan", 1))
    hung = [task.cell.key for task in tasks[:3]]
    pool = Simulated(2, seconds=lambda task: 1e9 if task.cell.key in hung else 59.0)
    events = simulate(tasks, pool, timeout=60, stack=lambda cell, waiting, share: waiting)
    assert {event["key"]: event["status"] for event in events} == dict.fromkeys(hung, "timeout") | {
        tasks[3].cell.key: "done"
    }
    assert 180 < pool.now < 182
    reason = "its stack of 3 took longer than 60 s (--timeout) for each"
    assert {status_of(tmp_path, task)["reason"] for task in tasks[:3]} == {reason}


def test_a_stack_that_says_nothing_at_all_ends_the_run(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    pool = Simulated(seconds=lambda task: 1e9, says="started", at={600.0: signalled(signal.SIGINT)})
    with pytest.raises(
        UserError, match=r"lsgan.*: its worker said nothing for 120 s \(--timeout\)"
    ):
        simulate(
            tasks_of(("lsgan", 2)), pool, timeout=60, stack=lambda cell, waiting, share: waiting
        )


def test_members_of_a_stack_that_others_have_are_waited_for_by_themselves(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    tasks = tasks_of(("lsgan", 3))
    lock = take(tmp_path, tasks[1].cell.key)
    assert lock
    pool = Simulated(events={tasks[1].cell.key: [{"status": "taken"}]}, at={30.0: lock.release})
    events = simulate(tasks, pool, stack=lambda cell, waiting, share: waiting)
    assert names(pool.started) == ["lsgan 0", "lsgan 1", "lsgan 2", "lsgan 1"]
    assert [event["status"] for event in events] == ["done", "taken", "done", "done"]
    assert pool.started[-1].beside == ()


def test_a_stack_that_does_not_end_in_time_is_ended(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    pool = Simulated(seconds=lambda task: 1e9, heeds=False, at={5.0: signalled(signal.SIGTERM)})
    tasks = tasks_of(("lsgan", 3))
    with pytest.raises(KeyboardInterrupt):
        simulate(tasks, pool, stack=lambda cell, waiting, share: 2)
    assert [status_of(tmp_path, task).get("status") for task in tasks] == [
        "interrupted",
        "interrupted",
        None,
    ]


@pytest.mark.parametrize(
    ("changed", "waiting", "share", "execution", "asked", "size"),
    [
        ({}, 7, 99, "auto", "auto", 1),  # 64 units: 5 gain 1.34
        ({}, 8, 99, "auto", "auto", 8),
        ({}, 99, 99, "auto", "auto", 16),
        ({}, 99, 15, "auto", "auto", 8),  # a worker's share is less
        ({"width": 32}, 8, 99, "eager", "auto", 8),  # smaller networks gain as much at least
        ({"batch_size": 32}, 8, 99, "auto", "auto", 8),
        ({"batch_size": 96}, 8, 99, "auto", "auto", 1),  # between two rows the larger one counts
        ({"width": 128}, 99, 99, "auto", "auto", 1),
        ({"width": 128}, 99, 99, "compiled", "auto", 8),
        ({"width": 256}, 99, 99, "compiled", "auto", 1),  # larger than what was measured
        ({}, 99, 99, "graphed", "auto", 1),
        ({"width": 256}, 99, 1, "auto", "5", 5),
        ({}, 3, 99, "auto", "5", 3),
        ({}, 99, 99, "auto", "1", 1),
        ({"seconds": 9.0}, 99, 99, "auto", "5", 1),
        ({"place": "images"}, 99, 99, "auto", "auto", 1),
    ],
)
def test_a_stack_is_made_where_it_was_measured_to_pay(
    changed: dict[str, Any], waiting: int, share: int, execution: str, asked: str, size: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "stacks.csv").write_text(
        "device,mode,kind,weights,batch_size,stack,ratio\n"
        "cpu,eager,mlp,17219,64,5,1.34\ncpu,eager,mlp,17219,64,8,1.76\ncpu,eager,mlp,17219,64,16,2.16\n"
        "cpu,eager,mlp,67203,64,8,1.15\ncpu,eager,mlp,67203,64,16,1.29\n"
        "cpu,compiled,mlp,67203,64,5,1.73\ncpu,compiled,mlp,67203,64,8,1.73\n"
    )
    monkeypatch.setattr(stacking, "TABLE", tmp_path / "stacks.csv")
    stacking.measured.cache_clear()
    width, place = changed.pop("width", 64), changed.pop("place", "points")
    cell = small_cell("wgan_gp", place, **{"batch_size": 64, **changed})
    if place == "points":
        cell = replace(cell, architecture=Choice("mlp", {"width": width}))
    assert (
        stacking.stack_size(cell, waiting, share, device="cpu", execution=execution, asked=asked)
        == size
    )
    assert stacking.stack_size(cell, waiting, share, device="cuda:0", execution=execution) == 1
    stacking.measured.cache_clear()


def test_the_measured_table_is_sound() -> None:
    rows = stacking.measured()
    assert {row["device"] for row in rows} <= {"cpu", "cuda"}
    assert {row["mode"] for row in rows} <= {*MODES}
    assert {row["kind"] for row in rows} <= {"mlp", "conv"}
    assert all(row["stack"] > 1 and row["ratio"] > 0 and row["work"] > 0 for row in rows)


def test_weights_are_counted_as_they_are_trained() -> None:
    for cell, kind in ((small_cell("wgan_gp"), "mlp"), (small_cell("lsgan", "images"), "conv")):
        weights = sum(p.numel() for network in make_networks(cell) for p in network.parameters())
        assert stacking.networks(cell.architecture, cell.dataset, cell.norm) == (kind, weights)


# Cells that do not end by themselves


def test_a_time_limit_counts_from_the_first_event_and_keeps_the_checkpoint(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    hung, well = tasks_of(("lsgan", 1), ("wgan", 1))
    path = tmp_path / "cells" / hung.cell.key
    write_json(
        path / "status.json",
        {"key": hung.cell.key, "status": "running", "g_steps": 7, "attempt": "a"},
    )
    (path / "checkpoint.pt").write_bytes(b"kept")
    pool = Simulated(seconds=lambda task: 1e9 if task == hung else 59.0)
    events = simulate([hung, well], pool, timeout=60)
    assert [(event["key"], event["status"]) for event in events] == [
        (hung.cell.key, "timeout"),
        (well.cell.key, "done"),
    ]
    assert 119 < pool.now < 121  # 60 s for the one, then 59 s for the other
    status = status_of(tmp_path, hung)
    assert (status["status"], status["reason"]) == ("timeout", "took longer than 60 s (--timeout)")
    assert (status["g_steps"], (path / "checkpoint.pt").read_bytes()) == (7, b"kept")


def test_a_cell_that_has_not_begun_has_no_time_limit_yet(
    simulate: Callable[..., list[Event]],
) -> None:
    pool = Simulated(seconds=lambda task: 1000.0, says="")  # it waits for a node
    assert [event["status"] for event in simulate(tasks_of(("lsgan", 1)), pool, timeout=60)] == [
        "done"
    ]


def test_a_worker_that_says_nothing_at_all_ends_the_run_at_the_time_limit(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    pool = Simulated(
        seconds=lambda task: 1e9, says="started"
    )  # a device or a disk that does not answer
    pool.at = {600.0: signalled(signal.SIGINT)}  # lest this hangs, too
    tasks = tasks_of(("lsgan", 2))
    with pytest.raises(UserError, match=r"lsgan.*: its worker said nothing for 60 s \(--timeout\)"):
        simulate(tasks, pool, timeout=60)
    assert (len(pool.started), 60 < pool.now < 62) == (1, True)
    assert not any(status_of(tmp_path, task) for task in tasks)  # they are as pending as before


def test_a_cell_of_a_lost_node_is_started_again_three_times(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    twice, always = tasks_of(("lsgan", 1), ("wgan", 1))
    lost = {"status": "lost", "reason": "its node was lost", "retry": True}
    pool = Simulated(2, events={twice.cell.key: [lost] * 2, always.cell.key: [lost] * 9})
    events = simulate([twice, always], pool)
    assert Counter(names(pool.started)) == {"lsgan 0": 3, "wgan 0": 4}
    assert {event["key"]: event["status"] for event in events} == {
        twice.cell.key: "done",
        always.cell.key: "error",
    }
    assert status_of(tmp_path, always)["reason"] == "its node was lost"


def test_a_dead_worker_ends_its_cell_unless_the_cell_was_committed_before(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    broken, committed = tasks_of(("lsgan", 1), ("wgan", 1))
    write_json(
        tmp_path / "cells" / committed.cell.key / "status.json",
        {"status": "diverged", "attempt": "b"},
    )
    lost = {"status": "lost", "reason": "killed", "retry": False}
    pool = Simulated(events={task.cell.key: [lost] for task in (broken, committed)})
    events = simulate([broken, committed], pool)
    assert [event["status"] for event in events] == ["error", "diverged"]
    assert status_of(tmp_path, broken)["reason"] == "killed"
    assert status_of(tmp_path, committed)["status"] == "diverged"


def test_a_finished_cell_whose_next_worker_died_before_it_began_stays_finished(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    before = {"status": "diverged", "attempt": "a", "samples_seen": 7}
    write_json(tmp_path / "cells" / task.cell.key / "status.json", before)
    lost = {"status": "lost", "reason": "killed", "retry": False}
    events = simulate([Task(task.cell, "a")], Simulated(events={task.cell.key: [lost]}, says=""))
    assert [event["status"] for event in events] == ["diverged"]
    assert status_of(tmp_path, task) == {"schema": 1} | before


@pytest.mark.parametrize(("fail_fast", "started"), [(False, 6), (True, 2)])
def test_fail_fast_starts_no_cell_after_the_first_error(
    fail_fast: bool, started: int, simulate: Callable[..., list[Event]]
) -> None:
    tasks = tasks_of(("lsgan", 6))
    error = {"status": "error", "reason": "planted"}
    pool = Simulated(2, lambda task: 1.0 + task.cell.seed, {tasks[0].cell.key: [error]})
    events = simulate(tasks, pool, fail_fast=fail_fast)
    assert (len(events), len(pool.started)) == (started, started)  # the other one runs to its end


# Cells of other runners


def test_a_cell_of_another_runner_is_waited_for_and_then_run(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    theirs, ours = tasks_of(("lsgan", 1), ("wgan", 1))
    lock = take(tmp_path, theirs.cell.key)
    assert lock
    pool = Simulated(events={theirs.cell.key: [{"status": "taken"}]}, at={30.0: lock.release})
    events = simulate([theirs, ours], pool)
    assert [event["status"] for event in events] == ["taken", "done", "done"]
    assert names(pool.started) == ["lsgan 0", "wgan 0", "lsgan 0"]
    assert 30 < pool.now < 34


def test_without_waiting_it_is_left_to_the_other(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    theirs, ours = tasks_of(("lsgan", 1), ("wgan", 1))
    lock = take(tmp_path, theirs.cell.key)
    assert lock
    pool = Simulated(events={theirs.cell.key: [{"status": "taken"}]})
    assert [event["status"] for event in simulate([theirs, ours], pool, wait=False)] == [
        "taken",
        "done",
    ]
    lock.release()


def test_what_another_runner_has_settled_since_is_not_run_again(tmp_path: Path) -> None:
    cell = small_cell()

    def found(status: str, attempt: str | None) -> str | None:
        write_json(
            tmp_path / "cells" / cell.key / "status.json", {"status": status, "attempt": attempt}
        )
        event = superseded(tmp_path, Task(cell, "planned"))
        return event and event["status"]

    assert superseded(tmp_path, Task(cell)) is None
    assert [found(status, "other") for status in ("running", "interrupted")] == [None, None]
    assert [found(status, "other") for status in ("error", "timeout", "diverged")] == [
        "error",
        "timeout",
        "diverged",
    ]
    assert found("error", "planned") is None  # the error that --retry-errors asks to run again
    write_json(
        tmp_path / "cells" / cell.key / "status.json", {"status": "error"}
    )  # of an earlier version
    assert superseded(tmp_path, Task(cell)) is None


HOLD = """
import sys, time
from pathlib import Path
from benchmark.store.locks import take
lock = take(Path(sys.argv[1]), "key")
print("held" if lock else "taken", flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        assert taken(tmp_path, "key")
        assert take(tmp_path, "key", 0.0) is None
        assert mark(tmp_path, "key", "error", "not ours") is None
        assert not (tmp_path / "cells" / "key" / "status.json").exists()
        holder.kill()
    assert not taken(tmp_path, "key")
    lock = take(tmp_path, "key", 0.0)
    assert lock
    assert taken(tmp_path, "key")  # by this process, too
    lock.release()
    marked = mark(tmp_path, "key", "error", "ours")
    assert marked
    assert {"schema": 1} | marked == read_json(tmp_path / "cells" / "key" / "status.json")
    assert (marked["status"], marked["reason"]) == ("error", "ours")


def test_asking_for_a_lock_writes_nothing(tmp_path: Path) -> None:
    assert not taken(tmp_path, "key")
    assert not any(tmp_path.iterdir())
    (tmp_path / "cells").write_text("in the way")
    assert not taken(tmp_path, "key")


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("left", [False, True])
def test_a_file_system_without_locks_is_named(
    left: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else filelock takes a file's presence for a lock: one that a killed process left would be
    waited for forever."""

    def flock(file: Any, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    if left:
        write_bytes(tmp_path / "cells" / "key" / ".lock", b"1\nelsewhere\n")
    with pytest.raises(
        UserError, match=r"the file system of \S+cells/key has no locks.*ganbench merge"
    ):
        take(tmp_path, "key")
    with pytest.raises(UserError, match=r"has no locks"), alone(tmp_path):
        pass


def test_waiting_for_another_run_that_prepares_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone(tmp_path):
        pass
    assert capsys.readouterr().err == ""
    other = (tmp_path / ".lock").open("rb")
    fcntl.flock(other, fcntl.LOCK_EX)
    threading.Timer(0.2, other.close).start()
    with alone(tmp_path):
        assert capsys.readouterr().err == f"waiting for another run, which prepares {tmp_path}\n"


def test_results_are_read_where_there_is_no_fcntl() -> None:
    """As on Windows."""
    names = ("store.locks", "export.news", "store.merge", "cli.status", "analysis.tables")
    modules = ", ".join(f"benchmark.{name}" for name in names)
    code = f"import sys; sys.modules['fcntl'] = None; import {modules}"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


# --force


def done(folder: Path, task: Task) -> Path:
    """A finished cell's folder as a run leaves it, and a checkpoint as an unfinished one has it."""
    path = folder / "cells" / task.cell.key
    status = {
        "key": task.cell.key,
        "status": "done",
        "samples_seen": 160,
        "attempt": "a",
        "progress": 1.0,
    }
    write_json(path / "status.json", status)
    append_rows(path / "evals.jsonl", [{"samples_seen": 160}])
    (path / "checkpoint.pt").write_bytes(b"of before")
    return path


def test_a_cell_to_be_run_anew_keeps_its_results_until_it_starts(tmp_path: Path) -> None:
    (task,) = tasks_of(("lsgan", 1))
    renew(tmp_path, task)
    assert not any(tmp_path.iterdir())  # there is nothing of it
    path = done(tmp_path, task)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    renew(tmp_path, Task(task.cell, "another"))  # another runner has finished it since
    lock = take(tmp_path, task.cell.key)
    assert lock
    renew(tmp_path, Task(task.cell, "a"))
    lock.release()
    assert {
        file.name: file.read_bytes() for file in path.iterdir() if file.name != ".lock"
    } == before
    renew(tmp_path, Task(task.cell, "a"))
    status = read_json(path / "status.json")
    assert [status[name] for name in ("status", "attempt", "progress")] == ["interrupted", "a", 0.0]
    assert (path / "evals.jsonl").read_bytes() == before["evals.jsonl"]
    assert not (path / "checkpoint.pt").exists()


def test_a_forced_run_that_was_interrupted_is_continued_without_force(
    matrix_file: Callable[..., Path],
    ganbench: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = matrix_file(seeds="seeds = 3")
    cells = expand(files.read(path)[0])
    for cell in cells:
        done(tmp_path / "tiny", Task(cell))

    def drive(tasks: list[Task], pool: Any, folder: Path, *rest: Any, **options: Any) -> None:
        for task in tasks[:1]:
            done(folder, task)
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "drive", drive)
    monkeypatch.setattr(local, "Pool", lambda *options: Simulated())
    monkeypatch.setattr(prepare, "prepare", lambda *rest: None)
    command = ("run", "--matrix", path, "--results", tmp_path, "--device", "cpu")
    ended = ganbench(*command, "--force")
    assert (ended.code, "3 cells, 3 to run" in ended.out) == (130, True)
    committed = "1 of 3 cells are committed, the others go on from their checkpoints"
    assert ended.err.endswith(
        f"ganbench: interrupted; run again without --force to continue: {committed}\n"
    )
    assert "3 cells, 2 to run" in ganbench(*command).out


def test_a_folder_that_cannot_be_written_to_ends_the_run(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    (tmp_path / "cells").write_text("in the way")
    with pytest.raises(UserError, match=r"cells/\w+.* cannot be written to: "):
        take(tmp_path, "key")
    lost = {"status": "lost", "reason": "killed", "retry": False}
    tasks = tasks_of(("lsgan", 3))
    pool = Simulated(events={tasks[0].cell.key: [lost]})
    with pytest.raises(UserError, match=r"cannot be written to: "):
        simulate(tasks, pool)
    assert len(pool.started) == 1


# The end, if it comes early


def signalled(*signals: int) -> Callable[[], None]:
    return lambda: [os.kill(os.getpid(), signum) for signum in signals] and None


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_cells_save_what_they_have(
    signum: int, simulate: Callable[..., list[Event]]
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    pool, events = Simulated(2, lambda task: 100.0, at={5.0: signalled(signum)}), []
    with pytest.raises(KeyboardInterrupt):
        simulate(tasks_of(("lsgan", 6)), pool, events)
    assert [event["status"] for event in events if event["status"] != "running"] == [
        "interrupted"
    ] * 2
    assert (len(pool.started), pool.now < 6) == (2, True)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_cells_that_do_not_end_in_time_are_ended(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    pool, events = (
        Simulated(2, lambda task: 1e9, heeds=False, at={5.0: signalled(signal.SIGTERM)}),
        [],
    )
    tasks = tasks_of(("lsgan", 3))
    with pytest.raises(KeyboardInterrupt):
        simulate(tasks, pool, events)
    assert 25 < pool.now < 27
    assert [status_of(tmp_path, task).get("status") for task in tasks] == [
        "interrupted",
        "interrupted",
        None,
    ]


@pytest.mark.parametrize("signals", [True, False])
@pytest.mark.parametrize(("says", "status"), [("running", "interrupted"), ("started", None)])
def test_what_ends_the_run_and_the_workers_makes_no_cell_an_error(
    signals: bool,
    says: str,
    status: str | None,
    simulate: Callable[..., list[Event]],
    tmp_path: Path,
) -> None:
    tasks = tasks_of(("lsgan", 2))
    first = (
        {"status": "interrupted", "reason": None}
        if signals
        else {"status": "fatal", "reason": "full"}
    )
    second = {"status": "lost", "reason": "the worker died (exit code -15)", "retry": True}
    ends = {task.cell.key: [end] for task, end in zip(tasks, (first, second), strict=True)}
    pool = Simulated(
        2, events=ends, says=says, at={1.0: signalled(signal.SIGTERM)} if signals else {}
    )
    with pytest.raises(KeyboardInterrupt if signals else UserError):
        simulate(tasks, pool)
    assert status_of(tmp_path, tasks[1]).get("status") == status
    assert len(pool.started) == 2


@dataclass
class Failing(Simulated):
    """`wait` or the third `start` fails once; `left`: what was running as it was closed."""

    fails: str = ""
    left: list[str] | None = None

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
        self.left = [*self.running] if self.left is None else self.left
        super().close()


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("start", "a worker cannot be started: no process is left"),
        ("wait", "workers cannot be heard: no answer"),
    ],
)
def test_when_the_system_refuses_running_cells_save_what_they_have(
    fails: str, said: str, simulate: Callable[..., list[Event]]
) -> None:
    pool, events = Failing(3, lambda task: 100.0, fails=fails), []
    with pytest.raises(UserError, match=f"^{said}$"):
        simulate(tasks_of(("lsgan", 3)), pool, events)
    assert {event["status"] for event in events if event["status"] != "running"} == {"interrupted"}
    assert (pool.left, pool.now < 3) == ([], True)


@pytest.mark.parametrize(
    ("error", "seconds"), [(BrokenPipeError, 1.0), (BrokenPipeError, 100.0), (SystemExit, 100.0)]
)
def test_when_nothing_can_be_said_running_cells_save_what_they_have(
    error: type[BaseException], seconds: float, simulate: Callable[..., list[Event]]
) -> None:
    class Broken(list[Event]):
        def append(self, event: Event) -> None:
            if event["status"] == "done":
                raise error

    pool = Failing(2, lambda task: seconds if task.cell.seed else 1.0)
    with pytest.raises(error):
        simulate(tasks_of(("lsgan", 3)), pool, Broken())
    assert (pool.left, len(pool.started), pool.now < 3) == ([], 2, True)


def test_a_second_signal_ends_the_run_at_once(
    simulate: Callable[..., list[Event]], tmp_path: Path
) -> None:
    at = {5.0: signalled(signal.SIGINT), 6.0: signalled(signal.SIGINT)}
    pool = Simulated(2, lambda task: 1e9, heeds=False, at=at)
    with pytest.raises(KeyboardInterrupt):
        simulate(tasks_of(("lsgan", 3)), pool)
    assert (pool.now < 7, pool.running) == (True, {})


def test_when_nothing_more_can_be_written_the_others_are_stopped(
    simulate: Callable[..., list[Event]],
) -> None:
    tasks, events = tasks_of(("lsgan", 5)), []
    pool = Simulated(
        2,
        lambda task: 1.0 + 9 * task.cell.seed,
        {tasks[0].cell.key: [{"status": "fatal", "reason": "full"}]},
    )
    with pytest.raises(UserError, match=r"^full$"):
        simulate(tasks, pool, events)
    assert [event["status"] for event in events if event["status"] != "running"] == ["interrupted"]
    assert (len(pool.started), pool.now < 3) == (2, True)


# A worker


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., list[Event]]]:
    """What a worker reports, in this process, with something in the place of what runs a cell."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGALRM)}
    monkeypatch.setattr(local_worker, "PATIENCE", 0.1)

    def call(
        task: Task, run_cell: Callable[..., Iterator[Event]], device: str = "cpu"
    ) -> list[Event]:
        tasks, events = iter([task]), []

        def recv() -> Task:
            for task in tasks:
                return task
            raise EOFError

        monkeypatch.setattr(runner, "run_cell", run_cell)
        local_worker.work(
            SimpleNamespace(recv=recv, send=events.append), device, tmp_path, 1, 60.0, "auto"
        )
        return events

    yield call
    signal.setitimer(signal.ITIMER_REAL, 0)
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_a_worker_runs_a_cell_under_its_lock_and_none_that_another_has_or_has_settled(
    work: Callable[..., list[Event]], tmp_path: Path
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    key = task.cell.key

    def runs(*options: Any) -> Iterator[Event]:
        assert taken(tmp_path, key)
        yield {"key": key, "status": "done"}

    lock = take(tmp_path, key)
    assert lock
    assert work(task, runs) == [{"key": key, "status": "taken"}]
    lock.release()
    assert work(task, runs) == [{"key": key, "status": "done"}]
    assert not taken(tmp_path, key)
    write_json(
        tmp_path / "cells" / key / "status.json", {"status": "error", "attempt": "of another"}
    )
    assert [event["status"] for event in work(task, runs)] == ["error"]


def test_a_worker_runs_of_a_stack_what_it_can_have(
    work: Callable[..., list[Event]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each under its own lock, which is free once the cell has ended; one left is no stack."""
    tasks = tasks_of(("lsgan", 4))
    keys = [task.cell.key for task in tasks]
    stack = Task(tasks[0].cell, beside=tuple(tasks[1:]))
    ran: list[list[str]] = []

    def run_stack(cells: Any, *options: Any) -> Iterator[Event]:
        ran.append([cell.key for cell in cells])
        for key in ran[-1]:
            yield {"key": key, "status": "running"}
        for i, key in enumerate(ran[-1]):
            assert [taken(tmp_path, each) for each in ran[-1]] == [
                j >= i for j in range(len(ran[-1]))
            ]
            yield {"key": key, "status": "done"}

    def run_cell(cell: Any, *options: Any) -> Iterator[Event]:
        return run_stack([cell])

    monkeypatch.setattr(stacked_runner, "run_stack", run_stack)
    lock = take(tmp_path, keys[1])
    assert lock
    write_json(
        tmp_path / "cells" / keys[2] / "status.json", {"status": "error", "attempt": "of another"}
    )
    events = work(stack, run_cell)
    assert [(event["key"], event["status"]) for event in events[:2]] == [
        (keys[1], "taken"),
        (keys[2], "error"),
    ]
    assert [(event["key"], event["status"]) for event in events[2:]] == [
        (key, status) for status in ("running", "done") for key in (keys[0], keys[3])
    ]
    assert not any(taken(tmp_path, keys[i]) for i in (0, 2, 3))
    write_json(
        tmp_path / "cells" / keys[3] / "status.json", {"status": "error", "attempt": "of another"}
    )
    assert [event["status"] for event in work(stack, run_cell)] == [
        "taken",
        "error",
        "error",
        "running",
        "done",
    ]
    assert ran == [[keys[0], keys[3]], [keys[0]]]
    lock.release()


def test_a_stack_that_takes_too_long_to_end_is_marked(
    work: Callable[..., list[Event]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tasks_of(("lsgan", 3))

    def run_stack(cells: Any, *options: Any) -> Iterator[Event]:
        for cell in cells:
            yield {"key": cell.key, "status": "running"}
        yield {"key": cells[0].key, "status": "done"}
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(stacked_runner, "run_stack", run_stack)
    events = work(Task(tasks[0].cell, beside=tuple(tasks[1:])), lambda *options: iter(()))
    assert [event["status"] for event in events] == [
        *["running"] * 3,
        "done",
        "interrupted",
        "interrupted",
    ]
    for task in tasks[1:]:
        assert status_of(tmp_path, task)["reason"] == "asked to end, it took too long"
        assert not taken(tmp_path, task.cell.key)


def test_a_worker_speaks_of_a_running_cell_now_and_then(work: Callable[..., list[Event]]) -> None:
    (task,) = tasks_of(("lsgan", 1))

    def runs(*options: Any) -> Iterator[Event]:
        for _ in range(50):
            yield {"key": task.cell.key, "status": "running"}
        yield {"key": task.cell.key, "status": "done"}

    assert [event["status"] for event in work(task, runs)] == ["running", "done"]


@pytest.mark.parametrize("where", ["step", "measurement", "start"])
def test_what_takes_too_long_is_interrupted_but_no_save_is(
    where: str, work: Callable[..., list[Event]], tmp_path: Path
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    key = task.cell.key

    def runs(
        cell: Any, folder: Path, device: str, stop: Callable[[], bool], *options: Any
    ) -> Iterator[Event]:
        if where != "start":
            yield {"key": key, "status": "running"}
        os.kill(os.getpid(), signal.SIGTERM)
        if where == "step":
            assert stop()  # so it is between two steps
        else:
            with pytest.raises(runner.Interrupted) if where == "measurement" else nullcontext():
                time.sleep(5)
        time.sleep(0.3)
        yield {"key": key, "status": "interrupted", "reason": "saved"}

    events = work(task, runs)
    assert [event["status"] for event in events] == ["running", "interrupted"][where == "start" :]
    assert (events[-1]["reason"] == "saved") == (where != "start")
    assert not taken(tmp_path, key)
    if where == "start":
        assert status_of(tmp_path, task)["status"] == "interrupted"


def test_a_device_that_cannot_be_had_is_not_the_cells_fault(
    work: Callable[..., list[Event]], tmp_path: Path
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    (event,) = work(task, lambda *options: iter(()), device="cuda:99")
    assert (event["key"], event["status"]) == (task.cell.key, "fatal")
    assert event["reason"].startswith("no worker starts on cuda:99: ")
    assert not any(tmp_path.iterdir())


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[local.Pool, list[Any]]]:
    """A local pool of one worker and the workers it makes, which send what is planned for them and
    die."""

    def make(exitcode: int | None, *sent: list[Event]) -> tuple[local.Pool, list[Any]]:
        plan, made = iter(sent), []

        def worker(device: str, *options: Any) -> Any:
            ours, theirs = multiprocessing.Pipe()
            for event in next(plan, []):
                theirs.send(event)
            theirs.close()
            nothing = {
                "kill": lambda: None,
                "terminate": lambda: None,
                "join": lambda seconds: None,
            }  # never without
            process = SimpleNamespace(exitcode=exitcode, **nothing)
            made.append(
                SimpleNamespace(
                    device=device,
                    connection=ours,
                    process=process,
                    unheard=None,
                    proven=False,
                    spoiled=False,
                )
            )
            return made[-1]

        monkeypatch.setattr(local, "Worker", worker)
        return local.Pool(Path(), ["cpu"], 1, 60.0), made

    return make


def news_of(pool: local.Pool, task: Task) -> list[Event]:
    """What a pool says of a cell, to its end."""
    pool.start(task)
    events: list[Event] = []
    while pool.busy:
        events += pool.wait(1.0)
    return [event for event in events if event["status"] != "started"]


def test_a_worker_that_never_said_a_word_is_replaced_once_and_then_ends_the_run(
    planned: Callable[..., tuple[local.Pool, list[Any]]],
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    pool, made = planned(-signal.SIGKILL)
    (event,) = news_of(pool, task)
    assert (event["status"], len(made)) == ("fatal", 2)
    assert event["reason"].startswith("no worker starts on cpu: the worker was killed (signal 9)")


@pytest.mark.parametrize(
    ("exitcode", "said"),
    [(-11, "the worker died (exit code -11)"), (None, "the worker hung as it ended")],
)
def test_a_worker_that_dies_later_is_lost_with_its_cell(
    exitcode: int | None, said: str, planned: Callable[..., tuple[local.Pool, list[Any]]]
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    running = {"key": task.cell.key, "status": "running"}
    pool, made = planned(exitcode, [running])
    assert news_of(pool, task) == [
        running,
        {"key": task.cell.key, "status": "lost", "reason": said, "retry": False},
    ]
    assert len(made) == 1


def test_the_worker_of_a_stack_is_free_once_all_its_cells_have_ended(
    planned: Callable[..., tuple[local.Pool, list[Any]]],
) -> None:
    tasks = tasks_of(("lsgan", 3))
    keys = [task.cell.key for task in tasks]
    sent = [{"key": key, "status": status} for status in ("running", "done") for key in keys]
    pool, made = planned(0, sent)
    pool.start(Task(tasks[0].cell, beside=tuple(tasks[1:])))
    heard: list[Event] = []
    while pool.busy:
        assert pool.idle == []
        heard += pool.wait(1.0)
    assert heard == [*({"key": key, "status": "started"} for key in keys), *sent]
    assert (pool.idle, pool.free) == (made, [])


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [([], ["fatal", "lost"]), (["running"], ["lost", "lost"]), (["fatal"], ["fatal", "lost"])],
)
def test_the_end_of_a_stacks_worker_is_that_of_all_its_cells(
    sent: list[str], statuses: list[str], planned: Callable[..., tuple[local.Pool, list[Any]]]
) -> None:
    tasks = tasks_of(("lsgan", 2))
    events = [{"key": tasks[0].cell.key, "status": status, "reason": "full"} for status in sent]
    pool, _ = planned(-9, events, [])
    pool.start(Task(tasks[0].cell, beside=(tasks[1],)))
    heard: list[Event] = []
    while pool.busy:
        heard += pool.wait(1.0)
    assert [
        event["status"] for event in heard if event["status"] not in ("started", "running")
    ] == statuses
    assert {event["key"] for event in heard} == {task.cell.key for task in tasks}
    assert (pool.free, pool.idle) == (["cpu"], [])


def test_workers_that_were_asked_to_end_are_not_replaced(
    planned: Callable[..., tuple[local.Pool, list[Any]]],
) -> None:
    (task,) = tasks_of(("lsgan", 1))
    pool, made = planned(0)
    pool.stop()
    assert [event["status"] for event in news_of(pool, task)] == ["lost"]
    assert len(made) == 1


def test_a_worker_heeds_sigterm_from_its_first_moment(tmp_path: Path) -> None:
    pool = local.Pool(tmp_path, ["cpu"], 1, 60.0)
    try:
        process = pool.idle[0].process
        process.terminate()  # it has yet to import anything
        process.join()
        assert process.exitcode == 0
    finally:
        pool.close()


# Real processes

PLANTED = '''"""A planted objective: it says what is trained, and may be held up in step 29."""

import os
import time
from pathlib import Path

from variants.objectives import nonsaturating


class Objective(nonsaturating.Objective):
    g_step = 0

    def d_steps(self, g_step):
        if g_step >= self.g_step:
            self.g_step = g_step + 1
            with open(os.environ["TRAINED"], "a") as file:
                print(Path(__file__).stem, os.getpid(), g_step, file=file)
        return 1

    def g_loss(self, D, real, fake, noise=None):
        name = Path(__file__).stem
        while self.g_step == 30 and name in os.environ.get("HELD", "") and not Path(f"go_{name}").exists():
            time.sleep(0.02)
        return super().g_loss(D, real, fake, noise)
'''


@dataclass
class Planted:
    """A copy of the project with objectives that can be held up, and a matrix over some of them."""

    root: Path

    def start(
        self, *objectives: str, options: str = "--jobs 2", held: str = "", seeds: int = 1
    ) -> subprocess.Popen[str]:
        """`ganbench run` of a matrix over these objectives, 60 steps each; some are `held` in step
        29."""
        text = matrix_text(
            objectives=f"objectives = {list(objectives)}",
            training="[training]\nsteps = 60\nbatch_size = 8",
            seeds=f"seeds = {seeds}",
        )
        (self.root / "planted.toml").write_text(text)
        command = (
            "-m benchmark run --matrix planted.toml --results . --device cpu --checkpoint-every 0"
        )
        own = {"PYTHONPATH": str(self.root), "TRAINED": str(self.root / "trained"), "HELD": held}
        return subprocess.Popen(
            [sys.executable, *command.split(), *options.split()],
            cwd=self.root,
            env=os.environ | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # a shell's background job ignores it
        )

    def trained(self) -> dict[str, dict[int, list[int]]]:
        """Objective -> process -> generator steps."""
        found: dict[str, dict[int, list[int]]] = {}
        for line in (
            (self.root / "trained").read_text().splitlines()
            if (self.root / "trained").exists()
            else []
        ):
            name, process, g_step = line.split()
            found.setdefault(name, {}).setdefault(int(process), []).append(int(g_step))
        return found

    def wait_for(self, *objectives: str) -> set[int]:
        """Waits until these are in step 29. Returns their processes."""
        until(
            lambda: all(
                any(29 in steps for steps in self.trained().get(name, {}).values())
                for name in objectives
            )
        )
        return {process for name in objectives for process in self.trained()[name]}

    def release(self, *objectives: str) -> None:
        for name in objectives:
            (self.root / f"go_{name}").touch()

    def status(self, objective: str) -> dict[str, Any]:
        (path,) = self.root.glob(f"planted/cells/{objective}-*")
        return read_json(path / "status.json") | {"checkpoint": (path / "checkpoint.pt").exists()}


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(process: int) -> bool:
    """Whether a process has ended (or is about to: a zombie)."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    for package in ("benchmark", "variants"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("one", "two", "three"):
        (tmp_path / "variants" / "objectives" / f"{name}.py").write_text(PLANTED)
    return Planted(tmp_path)


@pytest.mark.slow
def test_two_runs_on_one_folder_run_every_cell_once(planted: Planted) -> None:
    cells = ("one", "two", "three")
    both = [planted.start(*cells, options="--jobs 1", held="one two") for _ in range(2)]
    workers = planted.wait_for("one", "two")
    planted.release("one", "two")
    for run in both:
        out, err = run.communicate(timeout=120)
        assert (run.returncode, out.splitlines()[-1]) == (0, "planted: 3 done"), err
    trained = planted.trained()
    assert {name: list(of.values()) for name, of in trained.items()} == {
        name: [[*range(60)]] for name in cells
    }
    assert {process for of in trained.values() for process in of} == workers
    assert len(workers) == 2


@pytest.mark.slow
def test_workers_of_a_killed_driver_save_what_they_have_and_end(planted: Planted) -> None:
    driver = planted.start("one", "two", held="one two")
    workers = planted.wait_for("one", "two")
    driver.kill()
    planted.release("one", "two")
    driver.communicate()
    until(lambda: all(map(gone, workers)))
    for name in ("one", "two"):
        status = planted.status(name)
        assert (status["status"], status["checkpoint"]) == ("interrupted", True)
    again = planted.start("one", "two")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    for name, of in planted.trained().items():
        before, after = of.values()
        assert (before + after, planted.status(name)["resumes"]) == (
            [*range(60)],
            1,
        )  # no step again, none left out


@pytest.mark.slow
def test_a_worker_killed_while_it_waits_is_replaced(tmp_path: Path) -> None:
    pool = local.Pool(tmp_path, ["cpu"], 1, 60.0)

    def run(seed: int) -> int | None:
        """Runs a cell; the process of the worker that ended it."""
        pool.start(Task(small_cell(seed=seed)))
        until(lambda: any(event["status"] == "done" for event in pool.wait(1.0)))
        return pool.idle[0].process.pid

    try:
        first = run(0)
        assert run(1) == first
        assert first
        os.kill(first, signal.SIGKILL)
        assert run(2) != first
        assert pool.capacity() == len(pool.idle) == 1
    finally:
        pool.close()


@pytest.mark.slow
def test_killed_workers_and_a_killed_driver_lose_no_more_than_the_step_they_were_in(
    planted: Planted,
) -> None:
    driver = planted.start("one", "two", held="one two")
    workers = planted.wait_for("one", "two")
    for process in (driver.pid, *workers):
        os.kill(process, signal.SIGKILL)
    driver.communicate()
    assert {planted.status(name)["status"] for name in ("one", "two")} == {"running"}
    again = planted.start("one", "two")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    for name, of in planted.trained().items():
        assert [*of.values()] == [[*range(30)], [*range(29, 60)]]
        assert planted.status(name)["status"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_a_stack_that_was_cut_off_goes_on_as_one(killed: bool, planted: Planted) -> None:
    """Killed with its driver, or asked to end: its seeds lose the step they were in, or nothing."""
    driver = planted.start("one", held="one", seeds=3, options="--jobs 1 --stack 3")
    (worker,) = planted.wait_for("one")
    if killed:
        for process in (driver.pid, worker):
            os.kill(process, signal.SIGKILL)
    else:
        os.killpg(driver.pid, signal.SIGTERM)
        planted.release("one")
    _, err = driver.communicate(timeout=60)
    paths = sorted(planted.root.glob("planted/cells/one-*"))
    assert [path.name.split("-")[3] for path in paths] == ["seed0", "seed1", "seed2"]
    for path in paths:
        assert read_json(path / "status.json")["status"] == (
            "running" if killed else "interrupted"
        ), err
        assert (path / "checkpoint.pt").exists()
    again = planted.start("one", seeds=3, options="--jobs 1 --stack 3")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    before, after = planted.trained()["one"].values()
    assert before + after == ([*range(30), *range(29, 60)] if killed else [*range(60)])
    for path in paths:
        status = read_json(path / "status.json")
        assert (status["status"], status["resumes"], status["execution"]["stack"]) == ("done", 1, 3)


@pytest.mark.slow
def test_a_hung_worker_ends_its_cell_which_can_be_continued(planted: Planted) -> None:
    run = planted.start("one", "two", "three", options="--jobs 2 --timeout 15", held="one")
    out, err = run.communicate(timeout=120)
    assert (run.returncode, out.splitlines()[-1]) == (1, "planted: 2 done, 1 timeout"), err
    (process,) = planted.trained()["one"]
    assert gone(process)
    status = planted.status("one")
    assert (status["status"], status["checkpoint"]) == ("timeout", True)
    assert status["reason"] == "took longer than 15 s (--timeout)"
    left = planted.start("one", "two", "three")
    assert "3 cells, 0 to run" in left.communicate(timeout=120)[0]
    assert left.returncode == 1
    retried = planted.start("one", "two", "three", options="--jobs 2 --retry-errors")
    assert "3 cells, 1 to run" in retried.communicate(timeout=120)[0]
    assert (retried.returncode, planted.status("one")["resumes"]) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_ends_even_a_hung_cell(signum: int, planted: Planted) -> None:
    run = planted.start("one", "two", "three", held="one two")
    workers = planted.wait_for("one", "two")
    os.killpg(run.pid, signum)  # as a terminal or a scheduler does: to the driver and its workers
    planted.release("two")
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    committed = "0 of 3 cells are committed, the others go on from their checkpoints"
    assert err.splitlines()[-1] == f"ganbench: interrupted; run again to continue: {committed}"
    assert "Traceback" not in err
    assert all(map(gone, workers))
    for name in ("one", "two"):
        status = planted.status(name)
        assert (status["status"], status["checkpoint"]) == ("interrupted", True)
    again = planted.start("one", "two", "three")
    again.communicate(timeout=120)
    assert (again.returncode, planted.status("one")["resumes"]) == (0, 1)
    assert [*planted.trained()["one"].values()] == [[*range(30)], [*range(29, 60)]]
    before, after = planted.trained()["two"].values()
    assert before + after == [*range(60)]  # no step again, none left out


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(planted: Planted) -> None:
    run = planted.start("one", held="one")
    workers = planted.wait_for("one")
    os.killpg(run.pid, signal.SIGINT)
    time.sleep(1)  # the worker gives the step 5 s
    assert run.poll() is None
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert (run.returncode, "Traceback" in err) == (130, False)
    assert all(map(gone, workers))
    status = planted.status("one")
    assert (status["status"], status["checkpoint"]) == (
        "running",
        True,
    )  # it had no time to say how it ended


# The command line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--engine slurm", "unknown engine 'slurm'; valid: local, ray"),
        ("--address auto", "--address auto is for --engine ray"),
        ("--gpus-per-cell 0.5", "--gpus-per-cell 0.5 is for --engine ray"),
        (
            "--engine ray --threads 2",
            "--threads 2 is for --engine local; on Ray a cell has as many as --cpus-per-cell",
        ),
        ("--engine ray", "--engine ray needs Ray: pip install 'ganbench[ray]'"),
        (
            "--engine ray --stack 4",
            "--stack 4 is for --engine local; on Ray every seed trains by itself",
        ),
        (
            "--execution graph",
            "unknown execution mode 'graph' (did you mean 'graphed'?); "
            "valid: auto, eager, compiled, graphed, compiled_graphed",
        ),
        ("--stack 0", "unknown stack '0'; valid: auto, a number of seeds from 1"),
        ("--stack many", "unknown stack 'many'; valid: auto, a number of seeds from 1"),
    ],
)
def test_options_of_the_other_engine_are_refused(
    options: str,
    said: str,
    matrix_file: Callable[..., Path],
    ganbench: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "benchmark.run.engines.ray", raising=False)
    from benchmark.run import engines as package

    monkeypatch.delattr(package, "ray", raising=False)
    ended = ganbench(
        "run", "--matrix", matrix_file(), "--results", tmp_path, "--device", "cpu", *options.split()
    )
    assert (ended.code, ended.err) == (2, f"ganbench: {said}\n")


@pytest.mark.parametrize(("engine", "here"), [("local", True), ("ray", False)])
def test_a_plan_divides_by_the_workers_that_it_knows(
    engine: str,
    here: bool,
    matrix_file: Callable[..., Path],
    ganbench: Callable[..., Ended],
    tmp_path: Path,
) -> None:
    command = (
        "run",
        "--matrix",
        matrix_file(),
        "--results",
        tmp_path,
        "--device",
        "cpu",
        "--dry-run",
    )
    out = ganbench(*command, "--engine", engine).out
    assert ("worker-minutes" in out, "min here" in out) == (True, here)


def test_stale_cells_are_kept_and_said_and_no_data_is_loaded_for_them(
    matrix_file: Callable[..., Path],
    ganbench: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = matrix_file()
    (cell,) = expand(files.read(path)[0])
    folder = tmp_path / "tiny"
    status = {"key": cell.key, "status": "done", "samples_seen": 160, "code": "of before"}
    write_json(folder / "cells" / cell.key / "status.json", status)
    append_rows(folder / "cells" / cell.key / "evals.jsonl", [{"samples_seen": 160}])
    write_json(folder / "protocols.json", {"gaussians8": {"protocol": "p", "floor": {}}})
    monkeypatch.setattr(prepare, "make_dataset", lambda choice: pytest.fail("loaded"))
    ended = ganbench("run", "--matrix", path, "--results", tmp_path, "--device", "cpu")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "tiny: 1 done")
    assert (
        "1 committed cells are stale (other code or evaluation): kept; --force runs them anew\n"
        in ended.err
    )
