"""Who may write a cell: cells that another run has settled, ends of cells whose process is gone,
and --force."""

from pathlib import Path

import pytest

from benchmark.run.events import Task
from benchmark.run.ownership import restart, superseded, write_end
from benchmark.store.files import append_rows, read_json, write_json
from benchmark.store.layout import CellFolder
from benchmark.store.locks import take
from benchmark.store.schema import RunStatus
from tests.helpers.pool import folder_of, tasks_of


@pytest.fixture
def task() -> Task:
    (task,) = tasks_of(("lsgan", 1))
    return task


def test_what_another_run_has_settled_since_is_not_run_again(task: Task, tmp_path: Path) -> None:
    file = folder_of(tmp_path, task).status_file

    def end(status: str, attempt: str) -> str | None:
        write_json(file, {"status": status, "attempt": attempt})
        settled = superseded(tmp_path, Task(task.cell, "planned"))
        if settled is None:
            return None
        assert settled.key == task.key
        return settled.status

    assert superseded(tmp_path, task) is None
    assert [end(status, "other") for status in ("running", "interrupted")] == [None, None]
    for status in ("error", "timeout", "diverged"):
        assert end(status, "other") == status
    # The error that --retry-errors asks to run again
    assert end("error", "planned") is None
    # A status of an earlier version, without an attempt
    write_json(file, {"status": "error"})
    assert superseded(tmp_path, task) is None


def test_the_end_of_a_cell_whose_process_is_gone_keeps_what_is_known(
    task: Task, tmp_path: Path
) -> None:
    files = folder_of(tmp_path, task)
    before = {"status": "running", "g_steps": 7, "attempt": "a", "of_another_version": 1}
    write_json(files.status_file, before)
    status = write_end(tmp_path, task, RunStatus.TIMEOUT, "too long")
    assert status is not None
    assert {"schema": 1} | status.plain() == read_json(files.status_file)
    changed = {"status": "timeout", "reason": "too long", "key": task.key}
    assert status.plain() == before | changed | {"updated": status.updated}


def test_the_end_of_a_cell_that_never_began_is_written(task: Task, tmp_path: Path) -> None:
    status = write_end(tmp_path, task, RunStatus.ERROR, "killed")
    assert status is not None
    assert {"schema": 1} | status.plain() == read_json(folder_of(tmp_path, task).status_file)
    assert status.plain().keys() == {"key", "status", "reason", "updated"}


@pytest.mark.parametrize("settled", ["diverged", "error"])
def test_the_end_that_another_run_has_written_stays(
    settled: str, task: Task, tmp_path: Path
) -> None:
    files = folder_of(tmp_path, task)
    before = {"status": settled, "attempt": "of another"}
    write_json(files.status_file, before)
    status = write_end(tmp_path, Task(task.cell, "a"), RunStatus.INTERRUPTED, "too long")
    assert status is not None
    assert status.plain() == before | {"key": task.key}
    assert read_json(files.status_file) == {"schema": 1} | before


# --force


def finish(results: Path, task: Task) -> CellFolder:
    """The folder of a finished cell as a run leaves it, and a checkpoint as an unfinished cell has
    it."""
    files = folder_of(results, task)
    status = {"status": "done", "samples_seen": 160, "attempt": "a", "progress": 1.0}
    write_json(files.status_file, {"key": task.key} | status)
    append_rows(files.evals, [{"samples_seen": 160}])
    files.checkpoint.write_bytes(b"of before")
    return files


def test_a_cell_to_be_run_from_the_start_keeps_its_results_until_it_starts(
    task: Task, tmp_path: Path
) -> None:
    restart(tmp_path, task)
    # There is nothing of the cell
    assert not any(tmp_path.iterdir())
    files = finish(tmp_path, task)
    before = {file.name: file.read_bytes() for file in files.path.iterdir()}
    # Another run has finished the cell since
    restart(tmp_path, Task(task.cell, "another"))
    lock = take(files)
    assert lock
    restart(tmp_path, Task(task.cell, "a"))
    lock.release()
    after = {file.name: file.read_bytes() for file in files.path.iterdir() if file != files.lock}
    assert after == before
    restart(tmp_path, Task(task.cell, "a"))
    status = read_json(files.status_file)
    assert [status[name] for name in ("status", "attempt", "progress")] == ["interrupted", "a", 0.0]
    assert files.evals.read_bytes() == before["evals.jsonl"]
    assert not files.checkpoint.exists()
