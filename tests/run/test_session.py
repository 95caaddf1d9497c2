"""A run from its options to its summary: what is refused, planned, kept and counted."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.matrix.expand import expand
from benchmark.matrix.files import read
from benchmark.run import prepare, session
from benchmark.run.engines import local
from benchmark.run.events import CellNews, Task
from benchmark.run.events import Ended as CellEnded
from benchmark.run.options import RunOptions
from benchmark.run.ownership import superseded
from benchmark.run.reporter import Silent
from benchmark.run.session import Session, run_matrix
from benchmark.store.files import append_rows, read_json, write_json
from benchmark.store.layout import ResultSet
from benchmark.store.schema import RunStatus
from tests.conftest import Ended
from tests.helpers.pool import Simulated, folder_of
from tests.run.test_resume import numbers

COMMON = ("--device", "cpu")
MatrixFile = Callable[..., Path]
Ganbench = Callable[..., Ended]


def finish(results: Path, task: Task) -> None:
    """The folder of a finished cell as a run leaves it, with a checkpoint."""
    files = folder_of(results, task)
    status = {"status": "done", "samples_seen": 160, "attempt": "a", "progress": 1.0}
    write_json(files.status_file, {"key": task.key} | status)
    append_rows(files.evals, [{"samples_seen": 160}])
    files.checkpoint.write_bytes(b"of before")


class FinishesOne:
    """A driver that finishes the first cell, then gets a signal."""

    def __init__(
        self, tasks: list[Task], pool: Any, folder: Path, on_news: Any, **options: Any
    ) -> None:
        self.tasks, self.folder = tasks, folder

    def run(self) -> None:
        finish(self.folder, self.tasks[0])
        raise KeyboardInterrupt


def test_a_forced_run_that_was_interrupted_is_resumed_without_force(
    matrix_file: MatrixFile, ganbench: Ganbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = matrix_file(seeds="seeds = 3")
    for cell in expand(read(path).matrix):
        finish(tmp_path / "tiny", Task(cell))
    monkeypatch.setattr(session, "Driver", FinishesOne)
    monkeypatch.setattr(local, "Pool", lambda *options: Simulated())
    monkeypatch.setattr(prepare, "prepare", lambda *rest: None)
    command = ("run", "--matrix", path, "--results", tmp_path, *COMMON)
    ended = ganbench(*command, "--force")
    assert (ended.code, "3 cells, 3 to run" in ended.out) == (130, True)
    committed = "1 of 3 cells are finished, the others resume from their checkpoints"
    message = f"ganbench: interrupted; run again without --force to continue: {committed}\n"
    assert ended.err.endswith(message)
    assert "3 cells, 2 to run" in ganbench(*command).out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--engine slurm", "unknown engine 'slurm'; valid: local, ray"),
        ("--address auto", "--address auto is for --engine ray"),
        ("--cpus-per-cell 2", "--cpus-per-cell 2.0 is for --engine ray"),
        ("--gpus-per-cell 0.5", "--gpus-per-cell 0.5 is for --engine ray"),
        (
            "--engine ray --threads 2",
            "--threads 2 is for --engine local; on Ray a cell has as many as --cpus-per-cell",
        ),
        ("--engine ray", "--engine ray needs Ray: pip install ray"),
        (
            "--engine ray --stack 4",
            "--stack 4 is for --engine local; on Ray every seed trains by itself",
        ),
        (
            "--execution graph",
            "unknown execution mode 'graph' (did you mean 'graphed'?); "
            "valid: auto, eager, traced, compiled, graphed, compiled_graphed",
        ),
        ("--stack 0", "unknown stack '0'; valid: auto, a number of seeds from 1"),
        ("--stack many", "unknown stack 'many'; valid: auto, a number of seeds from 1"),
    ],
)
def test_options_of_the_other_engine_are_refused(
    options: str,
    message: str,
    matrix_file: MatrixFile,
    ganbench: Ganbench,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # As if Ray were not installed
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "benchmark.run.engines.ray", raising=False)
    from benchmark.run import engines as package

    monkeypatch.delattr(package, "ray", raising=False)
    command = ("run", "--matrix", matrix_file(), "--results", tmp_path, *COMMON)
    ended = ganbench(*command, *options.split())
    assert (ended.code, ended.err) == (2, f"ganbench: {message}\n")


@pytest.mark.parametrize("shard", ["", "1", "0/2", "3/2", "a/b", "1/2/3", "-1/2"])
def test_a_shard_that_cannot_be_is_refused(shard: str) -> None:
    with pytest.raises(UserError, match=r"--shard takes i/n with 1 ≤ i ≤ n, such as 2/8, not "):
        RunOptions(shard=shard)


def test_shards_divide_the_cells_and_know_the_whole_matrix(
    matrix_file: MatrixFile, tmp_path: Path
) -> None:
    path = matrix_file(seeds="seeds = 5")
    cells = expand(read(path).matrix)
    parts = [Session(path, RunOptions(shard=f"{i}/2", device="cpu"), tmp_path) for i in (1, 2)]
    first, second = ([*part.cells] for part in parts)
    assert sorted(first + second) == sorted(cell.key for cell in cells)
    assert (len(first), len(second)) == (3, 2)
    assert all(len(part.matrix_file.cells) == 5 for part in parts)


@pytest.mark.parametrize(("engine", "here"), [("local", True), ("ray", False)])
def test_a_plan_divides_by_the_workers_that_it_knows(
    engine: str, here: bool, matrix_file: MatrixFile, ganbench: Ganbench, tmp_path: Path
) -> None:
    command = ("run", "--matrix", matrix_file(), "--results", tmp_path, *COMMON, "--dry-run")
    out = ganbench(*command, "--engine", engine).out
    assert ("s of work" in out, "of work, with 1 worker " in out) == (True, here)


def test_stale_cells_are_kept_and_said_and_no_data_is_loaded_for_them(
    matrix_file: MatrixFile, ganbench: Ganbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = matrix_file()
    (cell,) = expand(read(path).matrix)
    results = ResultSet(tmp_path / "tiny")
    files = results.cell(cell.key)
    status = {"key": cell.key, "status": "done", "samples_seen": 160, "code": "of before"}
    write_json(files.status_file, status)
    append_rows(files.evals, [{"samples_seen": 160}])
    write_json(results.protocols_file, {"gaussians8": {"protocol": "p", "floor": {}}})
    monkeypatch.setattr(prepare, "load_dataset", lambda choice: pytest.fail("loaded"))
    ended = ganbench("run", "--matrix", path, "--results", tmp_path, *COMMON)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "tiny: 1 done")
    message = "1 finished cells are stale (different code or evaluation options): kept; "
    assert f"{message}--force runs them again\n" in ended.err


class Listening(Silent):
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def note(self, text: str) -> None:
        self.heard.append(text)

    def begin(self, num_cells: int, num_workers: int) -> None:
        self.heard.append(("begin", num_cells, num_workers))

    def news(self, news: CellNews) -> None:
        if isinstance(news.event, CellEnded):
            self.heard.append(news.event.status.status)

    def end(self) -> None:
        self.heard.append("end")


def test_a_run_of_a_matrix_reports_and_counts(matrix_file: MatrixFile, tmp_path: Path) -> None:
    path = matrix_file(seeds="seeds = 2")
    reporter = Listening()
    options = RunOptions(device="cpu", jobs=1, only="seed=0")
    summary = run_matrix(path, options, tmp_path, reporter)
    notes = ["preparing datasets, extractors and noise floors …"]
    notes += ["racing 1 objective of mlp[width=8] on gaussians8: what a generator step costs …"]
    assert reporter.heard == [*notes, ("begin", 1, 1), "done", "end"]
    assert (summary.name, summary.folder, summary.line) == (
        "tiny",
        tmp_path / "tiny",
        "tiny: 1 done",
    )
    assert (summary.num_finished, summary.is_complete, summary.interrupted) == (1, True, False)
    # The tables know the whole matrix
    assert len(read_json(tmp_path / "tiny" / "matrix.json")["cells"]) == 2
    again = Session(path, RunOptions(device="cpu", jobs=1), tmp_path)
    assert (len(again.cells), len(again.todo)) == (2, 1)
    assert set(summary.statuses.values()) == {RunStatus.DONE}


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        (
            {"architectures": 'architectures = [{ name = "mlp", width = 1000000 }]'},
            ["mlp[width=1000000]", "4,000,013,000,003 weights", "GiB"],
        ),
        (
            {"training": "[training]\nsteps = 5\nbatch_size = 100000000000"},
            ["batches of 100,000,000,000", "GiB"],
        ),
        (
            {"evaluation": "[evaluation]\nn = { points = 100000000000000 }"},
            ["the samples of an evaluation", "GiB"],
        ),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_with_its_size(
    parts: dict[str, str],
    named: list[str],
    matrix_file: MatrixFile,
    ganbench: Ganbench,
    tmp_path: Path,
) -> None:
    path = matrix_file(**parts)
    for flags in ((), ("--dry-run",)):
        ended = ganbench("run", "--matrix", path, "--results", tmp_path / "r", *COMMON, *flags)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert [text for text in named if text not in ended.err] == []
    assert not (tmp_path / "r").exists()


def stacks_of(session: Session) -> dict[int, list[int]]:
    """Seed → the seeds of its stack, of the cells that are to run."""
    found = {}
    for task in session.tasks(session.stacks(Silent()), session.todo):
        for member in task.members:
            found[member.cell.seed] = [cell.seed for cell in member.stack]
    return found


def test_stacks_depend_on_the_matrix_alone(matrix_file: MatrixFile, tmp_path: Path) -> None:
    """Not on a selection, a shard, the workers, or on what is finished."""
    path = matrix_file(seeds="seeds = 4")
    whole = {0: [0, 1], 1: [0, 1], 2: [2, 3], 3: [2, 3]}

    def session(**options: Any) -> Session:
        return Session(path, RunOptions(device="cpu", stack="2", **options), tmp_path)

    assert stacks_of(session(jobs=1)) == stacks_of(session(jobs=4)) == whole
    assert stacks_of(session(only="seed=1")) == {1: [0, 1]}
    assert stacks_of(session(shard="2/2")) == {1: [0, 1], 3: [2, 3]}
    cells = expand(read(path).matrix)
    finish(tmp_path / "tiny", Task(cells[0]))
    assert stacks_of(session()) == {1: [0, 1], 2: [2, 3], 3: [2, 3]}


@pytest.mark.parametrize("planned", ["running", "interrupted"])
def test_a_cell_that_another_run_finishes_after_the_plan_is_not_run_again(
    planned: str, matrix_file: MatrixFile, tmp_path: Path
) -> None:
    """The attempt that was at work when the run was planned is the one that ends the cell."""
    path = matrix_file(seeds="seeds = 1")
    cell = expand(read(path).matrix)[0]
    file = ResultSet(tmp_path / "tiny").cell(cell.key).status_file
    file.parent.mkdir(parents=True)
    write_json(file, {"status": planned, "attempt": "other"})
    session = Session(path, RunOptions(device="cpu"), tmp_path)
    tasks = session.tasks(session.stacks(Silent()), session.todo)
    (task,) = [task for task in tasks if task.key == cell.key]
    assert superseded(tmp_path / "tiny", task) is None
    write_json(file, {"status": "diverged", "attempt": "other"})
    assert superseded(tmp_path / "tiny", task) is not None


@pytest.mark.slow  # several runs with workers
def test_numbers_depend_neither_on_a_selection_nor_on_the_workers(
    matrix_file: MatrixFile, tmp_path: Path
) -> None:
    path = matrix_file(seeds="seeds = 4")
    cells = expand(read(path).matrix)
    run_matrix(path, RunOptions(device="cpu", stack="4", jobs=2), tmp_path / "whole")
    for options in (
        RunOptions(device="cpu", stack="4", jobs=1, only="seed=2"),
        RunOptions(device="cpu", stack="4", jobs=3, shard="1/2"),
        RunOptions(device="cpu", stack="4", jobs=1),
    ):
        run_matrix(path, options, tmp_path / "parts")
    for cell in cells:
        whole, parts = (
            numbers(tmp_path / folder / "tiny" / "cells" / cell.key)
            for folder in ("whole", "parts")
        )
        assert whole == parts
