"""Seeds trained as one stack: each cell's folder is that of its own run, whatever becomes of the
others."""

import os
import shutil
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.run.cell import cell_run, record, stack_run
from benchmark.run.cell.cell_run import CellEvent, Interrupted, run_cell
from benchmark.run.events import Running
from benchmark.store.clocks import seconds_spent
from benchmark.store.files import read_json, read_rows
from benchmark.store.layout import ResultSet
from benchmark.store.schema import Status
from benchmark.train import loop as train_module
from benchmark.train.execution import iteration
from benchmark.train.execution.iteration import StackRefused
from benchmark.train.execution.modes import can_compile
from benchmark.train.loop import never, train_stack
from tests.helpers.cells import small_cell
from tests.run.test_resume import numbers
from variants.objectives import wgan_gp

CELLS = [
    small_cell("wgan_gp", seed=seed, steps=6, evaluation={"log_every": 2, "schedule": [0, 0.5, 1]})
    for seed in range(3)
]


@pytest.fixture(scope="module", autouse=True)
def no_reference() -> Iterator[None]:
    """The reference workload would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "reference_workload", lambda device: (1.0, None))
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the cells, each run by itself."""
    folder = tmp_path_factory.mktemp("alone")
    for cell in CELLS:
        *_, last = run_cell(cell, folder, "cpu")
        assert last.status.status == "done"
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the cells, run as one stack without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    assert {status.status for status in ends(run_stack(CELLS, folder))} == {"done"}
    return folder


def run_stack(
    cells: list[Cell],
    folder: Path,
    stop: Callable[[], bool] = never,
    checkpoint_every: float = 60.0,
    execution: str = "auto",
) -> Generator[CellEvent, None, None]:
    """Run some of CELLS, which are one stack."""
    return stack_run.run_stack(cells, folder, "cpu", stop, checkpoint_every, execution, CELLS)


def ends(events: Iterable[CellEvent]) -> list[Status]:
    """How the cells ended, in their order."""
    last = {event.key: event.status for event in events}
    return [last[cell.key] for cell in CELLS]


def assert_like(folder: Path, alone: Path, cells: list[Cell] = CELLS) -> None:
    """The folders hold the same numbers to float tolerance, and the same files."""
    for cell in cells:
        ours, theirs = (numbers(of / "cells" / cell.key) for of in (folder, alone))
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert same(ours[name], value), (cell.seed, name)


def assert_exactly(folder: Path, whole: Path, cells: list[Cell] = CELLS) -> None:
    """The folders hold the same numbers bit for bit, and the same files."""
    for cell in cells:
        ours, theirs = (numbers(of / "cells" / cell.key) for of in (folder, whole))
        # As text, where NaN is NaN
        assert repr(ours) == repr(theirs), cell.seed


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, float):
        return ours == pytest.approx(theirs, rel=1e-3, abs=1e-5, nan_ok=True)
    return bool(ours == theirs)


def has_saved(event: CellEvent) -> bool:
    return isinstance(event, Running) and event.checkpoint


def cut_at(folder: Path, n: int, cells: list[Cell] = CELLS, execution: str = "auto") -> None:
    """Run a stack with a checkpoint after every step, and leave its folders as a process killed at
    the n-th event of a checkpoint would: what an orderly end writes is taken back."""
    events = run_stack(cells, folder, checkpoint_every=0.0, execution=execution)
    path, as_killed = folder / "cells", folder / "killed"
    for _ in range(n):
        while not has_saved(next(events)):
            pass
    shutil.copytree(path, as_killed)
    events.close()
    shutil.rmtree(path)
    as_killed.rename(path)


def test_every_cell_of_a_stack_is_that_of_its_own_run(alone: Path, tmp_path: Path) -> None:
    events = [*run_stack(CELLS, tmp_path)]
    assert_like(tmp_path, alone)
    for cell, last in zip(CELLS, ends(events), strict=True):
        assert last.status == "done"
        assert (last.execution.stack, last.execution.fallback) == (3, None)
        path = tmp_path / "cells" / cell.key
        assert read_json(path / "status.json")["execution"]["mode"] == "eager"
        assert {file.name for file in path.iterdir()} == {
            file.name for file in (alone / "cells" / cell.key).iterdir()
        }
    steps = [event.status.g_steps for event in events]
    assert steps == sorted(steps)  # in lockstep: nobody is ahead


def test_the_clocks_of_a_stack_add_up_to_its_time(tmp_path: Path) -> None:
    began = time.perf_counter()
    last = ends(run_stack(CELLS, tmp_path))
    wall = time.perf_counter() - began
    assert 0.6 * wall < sum(map(seconds_spent, last)) < wall
    assert len({status.train_seconds for status in last}) == 1
    assert all(status.other_seconds >= 0 for status in last)


@pytest.mark.parametrize("n", [1, 3, 7, 12])
def test_a_killed_stack_ends_as_if_nothing_had_happened(
    n: int, whole: Path, tmp_path: Path
) -> None:
    """Also where the kill comes between the checkpoints of two cells."""
    cut_at(tmp_path, n)
    last = ends(run_stack(CELLS, tmp_path))
    assert_exactly(tmp_path, whole)
    saved = [n // 3 + (n % 3 > index) for index in range(3)]  # checkpoints of each cell
    assert [status.resumes for status in last] == [int(number > 0) for number in saved]
    assert [status.execution.stack for status in last] == [3, 3, 3]
    assert not any(status.warnings for status in last)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
def test_a_killed_compiled_stack_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """So do its cells that run without the others, from the start and from a checkpoint."""
    [*run_stack(CELLS, tmp_path / "whole", execution="compiled")]
    for n in (2, 8):
        cut_at(tmp_path / str(n), n, execution="compiled")
        last = ends(run_stack(CELLS, tmp_path / str(n), execution="compiled"))
        assert_exactly(tmp_path / str(n), tmp_path / "whole")
        for status in last:
            execution = status.execution
            assert (execution.mode, execution.stack, execution.fallback) == ("compiled", 3, None)
    some = [CELLS[2], CELLS[1]]
    [*run_stack(some, tmp_path / "start", execution="compiled")]
    assert_exactly(tmp_path / "start", tmp_path / "whole", some)
    cut_at(tmp_path / "later", 8, execution="compiled")
    [*run_stack(some, tmp_path / "later", execution="compiled")]
    assert_exactly(tmp_path / "later", tmp_path / "whole", some)


@pytest.mark.parametrize("chosen", [[0], [1], [2], [0, 2], [2, 1]])
def test_a_cell_of_a_stack_does_not_depend_on_those_that_run_with_it(
    chosen: list[int], whole: Path, tmp_path: Path
) -> None:
    """Neither from the start nor from a checkpoint."""
    cells = [CELLS[index] for index in chosen]
    [*run_stack(cells, tmp_path / "start")]
    assert_exactly(tmp_path / "start", whole, cells)
    cut_at(tmp_path, 8)
    [*run_stack(cells, tmp_path)]
    assert_exactly(tmp_path, whole, cells)


def test_a_cell_that_goes_on_alone_or_comes_into_a_stack_says_so(
    alone: Path, tmp_path: Path
) -> None:
    cut_at(tmp_path, 6)
    *_, last = run_cell(CELLS[1], tmp_path, "cpu")
    status = last.status
    assert (status.status, status.resumes, status.execution.label) == ("done", 1, "eager")
    assert status.executed_before == ["eager, stack of 3"]
    line = "the checkpoint is of execution eager, stack of 3, and from there on it is eager"
    assert status.warnings == [line]
    assert_like(tmp_path, alone, [CELLS[1]])
    events = run_cell(CELLS[0], tmp_path / "again", "cpu", checkpoint_every=0.0)
    while next(events).status.g_steps < 1:
        pass
    events.close()
    *_, last = run_stack([CELLS[0]], tmp_path / "again")
    assert (last.status.resumes, last.status.executed_before) == (1, ["eager"])
    assert_like(tmp_path / "again", alone, [CELLS[0]])


def test_a_resumed_stack_is_executed_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether steps agree with eager ones was decided at the start: rounding would depend on it."""
    with monkeypatch.context() as patch:
        # Fakes of all critic steps at once are refused
        answers = iter(["planted", ""])
        patch.setattr(iteration, "disagreement", lambda *_: next(answers))
        cut_at(tmp_path, 6)
    monkeypatch.setattr(iteration, "disagreement", lambda *_: "planted")
    for status in ends(run_stack(CELLS, tmp_path)):
        assert (status.resumes, status.execution.stack) == (1, 3)
        assert not status.execution.fakes_at_once
        assert not status.warnings


@pytest.mark.parametrize("after", [0, 4, 9, 20])
def test_a_stop_saves_every_cell_at_the_same_step(after: int, whole: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(0)
        return len(asked) > after

    last = ends(run_stack(CELLS, tmp_path, stop))
    assert {status.status for status in last} == {"interrupted"}
    assert len({status.g_steps for status in last}) == 1
    again = ends(run_stack(CELLS, tmp_path))
    assert [status.execution.stack for status in again] == [3, 3, 3]
    assert [status.resumes for status in again] == [int(after > 0)] * 3
    assert_exactly(tmp_path, whole)


@pytest.mark.parametrize("at", [0, 4, 8])
def test_an_interruption_while_one_is_measured_saves_all(
    at: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the signal of a worker that has to end: who is interrupted measures again, who has yet to
    measure does."""
    measure, calls = cell_run.eval_rows, []

    def interrupting(*arguments: Any) -> Any:
        calls.append(0)
        if len(calls) == at + 1:
            raise Interrupted
        return measure(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(cell_run, "eval_rows", interrupting)
        last = ends(run_stack(CELLS, tmp_path, lambda: len(calls) > at))
    left = [
        cell for cell, status in zip(CELLS, last, strict=True) if status.status == "interrupted"
    ]
    assert (len(calls), len(left)) == (
        at + 1,
        1 if at == 8 else 3,
    )  # the others had come to their end
    assert {status.g_steps for status in last} == {3 * (at // 3)}
    [*run_stack(left, tmp_path)]
    assert_exactly(tmp_path, whole)


@pytest.mark.parametrize("at", [0, 2, 7, 11])
def test_an_interruption_between_two_events_saves_all(at: int, whole: Path, tmp_path: Path) -> None:
    events = run_stack(CELLS, tmp_path, checkpoint_every=0.0)
    seen = [next(events) for _ in range(at + 1)]
    last = ends([*seen, events.throw(Interrupted), *events])
    assert {status.status for status in last} == {"interrupted"}
    assert len({status.g_steps for status in last}) == 1
    again = ends(run_stack(CELLS, tmp_path))
    assert {status.execution.stack for status in again} == {3}
    assert_exactly(tmp_path, whole)


def test_an_interruption_of_the_training_loses_only_what_came_after_the_checkpoints(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that takes too long: what was out is no state to save any more."""

    def interrupting(*arguments: Any) -> Iterator[Any]:
        for number, snapshots in enumerate(train_stack(*arguments)):
            if number == 3:
                raise Interrupted
            yield snapshots

    with monkeypatch.context() as patch:
        patch.setattr(stack_run, "train_stack", interrupting)
        last = ends(run_stack(CELLS, tmp_path, checkpoint_every=0.0))
    assert [(status.status, status.g_steps) for status in last] == [("interrupted", 2)] * 3
    last = ends(run_stack(CELLS, tmp_path))
    assert [(status.resumes, status.execution.stack) for status in last] == [(1, 3)] * 3
    assert_exactly(tmp_path, whole)


def test_one_that_diverges_ends_alone(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*arguments: Any) -> Iterator[Any]:
        for snapshots in train_stack(*arguments):
            if snapshots[0].g_steps == 2:
                next(snapshots[1].D.parameters()).data.fill_(torch.nan)
            yield snapshots

    monkeypatch.setattr(stack_run, "train_stack", poisoned)
    last = ends(run_stack(CELLS, tmp_path))
    assert [(status.status, status.onset) for status in last] == [
        ("done", None),
        ("diverged", 3),
        ("done", None),
    ]
    assert_exactly(tmp_path, whole, [CELLS[0], CELLS[2]])
    path = tmp_path / "cells" / CELLS[1].key
    assert [row["g_step"] for row in read_rows(path / "steps.jsonl")][-1] < 6
    assert not list(path.glob("checkpoint*"))


@pytest.mark.parametrize("error", [RuntimeError, FloatingPointError])
def test_what_goes_wrong_in_measuring_one_is_its_own(
    error: type[Exception], alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = cell_run.eval_rows

    def failing(snapshot: Any, *rest: Any) -> Any:
        if snapshot.cell == CELLS[0] and snapshot.g_steps:
            raise error("planted")
        return measure(snapshot, *rest)

    monkeypatch.setattr(cell_run, "eval_rows", failing)
    last = ends(run_stack(CELLS, tmp_path))
    assert [status.status for status in last[1:]] == ["done", "done"]
    assert last[0].status == ("error" if error is RuntimeError else "diverged")
    assert "planted" in last[0].reason
    assert_like(tmp_path, alone, CELLS[1:])


def test_an_error_of_the_training_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    g_loss = wgan_gp.Objective.g_loss

    def failing(self: Any, *arguments: Any) -> Any:
        calls.append(0)
        if len(calls) > 4:
            raise RuntimeError("planted\n fault")
        return g_loss(self, *arguments)

    monkeypatch.setattr(wgan_gp.Objective, "g_loss", failing)
    last = ends(run_stack(CELLS, tmp_path))
    assert [(status.status, status.reason) for status in last] == [
        ("error", "RuntimeError: planted fault")
    ] * 3
    for cell in CELLS:
        assert "in failing" in (tmp_path / "cells" / cell.key / "traceback.txt").read_text()


def test_a_refused_stack_runs_one_after_the_other_and_says_so(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(cells: Any, *rest: Any) -> Iterator[Any]:
        if len(cells) > 1:
            raise StackRefused("planted")
        yield from train_stack(cells, *rest)

    cut_at(tmp_path, 6)
    monkeypatch.setattr(stack_run, "train_stack", refusing)
    for status in ends(run_stack(CELLS, tmp_path)):
        execution = status.execution
        assert (status.status, status.resumes, execution.stack) == ("done", 1, 1)
        assert execution.fallback == "not stacked: planted"
    assert_like(tmp_path, alone)


def test_another_execution_goes_on_from_a_checkpoint_and_says_so(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relabelled(*arguments: Any) -> Iterator[Any]:
        for snapshots in train_stack(*arguments):
            for snapshot in snapshots:
                snapshot.execution.mode = "graphed"
            yield snapshots

    with monkeypatch.context() as patch:
        patch.setattr(stack_run, "train_stack", relabelled)
        cut_at(tmp_path, 6)
    line = (
        "the checkpoint is of execution graphed, stack of 3, and from there on it is eager, "
        "stack of 3"
    )
    last = ends(run_stack(CELLS, tmp_path))
    assert [(status.resumes, status.warnings) for status in last] == [(1, [line])] * 3
    assert_exactly(tmp_path, whole)


def test_where_nothing_can_be_written_the_others_are_saved(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append: Callable[..., None] = cell_run.append_rows

    def full(path: Path, rows: Any) -> None:
        if CELLS[1].key in str(path) and rows and rows[0].get("g_step"):
            raise OSError(28, "No space left on device")
        append(path, rows)

    with monkeypatch.context() as patch:
        patch.setattr(cell_run, "append_rows", full)
        with pytest.raises(UserError, match="No space left on device; what is finished stays"):
            [*run_stack(CELLS, tmp_path)]
    last = ends(run_stack(CELLS, tmp_path))
    assert {status.status for status in last} == {"done"}
    assert_like(tmp_path, alone)
    assert os.listdir(tmp_path) == ["cells"]


def test_an_interrupt_as_a_cell_is_opened_saves_the_others(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own status is left to the worker, as nothing is lost."""
    cut_at(tmp_path, 6)
    resume = record.CellRecord.open

    def interrupting(self: record.CellRecord) -> Any:
        if self.cell == CELLS[1]:
            raise Interrupted
        return resume(self)

    with monkeypatch.context() as patch:
        patch.setattr(record.CellRecord, "open", interrupting)
        with pytest.raises(Interrupted):
            [*run_stack(CELLS, tmp_path)]
    statuses = [ResultSet(tmp_path).cell(cell.key).status.status for cell in CELLS]
    assert statuses == ["interrupted", "running", "running"]
    assert {status.status for status in ends(run_stack(CELLS, tmp_path))} == {"done"}
    assert_like(tmp_path, alone)


def test_the_tensors_of_a_checkpoint_are_free_once_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would count as memory of the training."""
    left: list[weakref.ref[Any]] = []

    def watched(cells: Any, device: str, states: Any, *rest: Any) -> Iterator[Any]:
        for state in states:
            left.append(weakref.ref(state))
            left.extend(map(weakref.ref, state.networks["generator"].values()))
        del state
        training = train_stack(cells, device, states, *rest)
        del states
        for number, snapshots in enumerate(training):
            assert (number == 0) or not any(reference() is not None for reference in left)
            yield snapshots
            del snapshots

    cut_at(tmp_path, 6)
    monkeypatch.setattr(stack_run, "train_stack", watched)
    assert {status.status for status in ends(run_stack(CELLS, tmp_path))} == {"done"}
    assert len(left) > 3
    monkeypatch.undo()
    cut_at(tmp_path / "one", 2, [CELLS[0]])
    left.clear()
    monkeypatch.setattr(train_module, "train_stack", watched)
    *_, last = run_cell(CELLS[0], tmp_path / "one", "cpu")
    assert (last.status.status, last.status.resumes) == ("done", 1)
    assert len(left) > 1
