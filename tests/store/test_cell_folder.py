"""status.json as it is read: of this version, of others, and damaged."""

from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.run.plan import pending
from benchmark.store.files import append_rows, read_json, write_bytes, write_json
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import RunStatus
from tests.helpers.cells import small_cell

CELL = small_cell()


@pytest.fixture
def files(tmp_path: Path) -> CellFolder:
    return ResultSet(tmp_path).cell(CELL.key)


def is_pending(files: CellFolder, **options: bool) -> bool:
    chosen = {"force": False, "retry_errors": False} | options
    return bool(pending({CELL.key: CELL}, {CELL.key: files.status}, **chosen))


def test_a_status_of_an_older_version_with_fewer_fields_loads(files: CellFolder) -> None:
    former = {"status": "error", "reason": "planted", "g_steps": 7, "train_seconds": 1}
    write_json(files.status_file, former)
    status = files.status
    assert status.status is RunStatus.ERROR
    assert (status.reason, status.g_steps, status.train_seconds) == ("planted", 7, 1)
    assert (status.key, status.attempt, status.execution, status.warnings) == (None, None, None, [])
    assert not is_pending(files)
    assert is_pending(files, retry_errors=True)
    # Written again, it has no more fields than before
    files.write_status(status)
    assert read_json(files.status_file) == {"schema": 1} | former


def test_fields_of_a_newer_version_are_kept(files: CellFolder) -> None:
    newer = {"status": "interrupted", "execution": {"mode": "eager", "shards": 2}, "energy": 3.5}
    write_json(files.status_file, newer)
    status = files.status
    assert (status.status, status.execution.mode) == ("interrupted", "eager")
    files.write_status(status)
    assert read_json(files.status_file) == {"schema": 1} | newer


@pytest.mark.parametrize("status", ["paused", "DONE", "", None, 3, ["done"]])
def test_a_cell_with_an_unknown_status_runs_again(status: Any, files: CellFolder) -> None:
    write_json(files.status_file, {"key": CELL.key, "status": status, "samples_seen": 160})
    append_rows(files.evals, [{"samples_seen": 160}])
    assert files.status.status is RunStatus.MISSING
    assert files.status.plain() == {"status": "missing"}
    assert is_pending(files)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": 1}',
        b'{"schema": 1, "g_steps": 3}',
        b'{"schema": 1, "status": "done", "g_steps": "3"}',
        b'{"schema": 1, "status": "error", "key": "another"}',
        b"\xff\xfe",
    ],
)
def test_a_cell_with_a_damaged_status_runs_again(content: bytes, files: CellFolder) -> None:
    write_bytes(files.status_file, content)
    assert files.status.status is RunStatus.MISSING
    assert is_pending(files)


def test_a_status_of_another_schema_is_named(files: CellFolder) -> None:
    write_bytes(files.status_file, b'{"schema": 2, "status": "done"}')
    with pytest.raises(UserError, match=r"status\.json has schema 2; this version reads 1"):
        files.status  # noqa: B018  reads the file


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        (None, "missing"),
        (b"", "missing"),
        (b'{"samples_seen": 160}\n', "done"),
        (b'{"samples_seen": 0}\n{"samples_seen": 160}\n', "done"),
        (b'{"samples_seen": 0}\n', "missing"),
        (b'{"samples_seen": 160}\n{"sam', "missing"),
        (b'{"samples_seen": 160}\nnull\n', "missing"),
        (b"x" * 9000 + b'\n{"samples_seen": 160}\n', "done"),
    ],
)
def test_a_done_cell_is_done_with_all_its_evaluations(
    rows: bytes | None, status: str, files: CellFolder
) -> None:
    write_json(files.status_file, {"key": CELL.key, "status": "done", "samples_seen": 160})
    if rows is not None:
        write_bytes(files.evals, rows)
    assert files.status.status == status
    assert is_pending(files) == (status == "missing")


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        (None, "diverged"),
        (b"", "diverged"),
        (b'{"samples_seen": 80}\n', "diverged"),
        (b'{"samples_seen": 240}\n', "missing"),
        (b'{"samples_seen": 80}\n{"sam', "missing"),
    ],
)
def test_a_cell_may_diverge_before_its_first_evaluation(
    rows: bytes | None, status: str, files: CellFolder
) -> None:
    write_json(files.status_file, {"key": CELL.key, "status": "diverged", "samples_seen": 160})
    if rows is not None:
        write_bytes(files.evals, rows)
    assert files.status.status == status


@pytest.mark.parametrize(
    ("time", "status"),
    [
        ("2024-01-01T00:00:00+00:00", "interrupted"),
        ("2999-01-01T00:00:00+00:00", "interrupted"),
        ("yesterday", "missing"),
        ("", "missing"),
        ("9999-12-31T25:00:00", "missing"),
    ],
)
@pytest.mark.parametrize("field", ["started", "updated"])
def test_a_status_has_times_that_can_be_read(
    field: str, time: str, status: str, files: CellFolder
) -> None:
    write_json(files.status_file, {"key": CELL.key, "status": "interrupted", field: time})
    found, fault = files.read_status()
    assert found.status == status
    assert (fault is None) == (status != "missing")
    assert fault is None or f"{field}: {time!r} is no time" in fault
