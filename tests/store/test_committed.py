"""Result sets that were changed, or made to harm: a change is seen, nothing outside is touched."""

import errno
import hashlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.analysis import published, tables
from benchmark.errors import DamagedError, UserError
from benchmark.report.figures.saved import read_samples
from benchmark.run.cell.checkpoint import Checkpoint, cut_rows, load_checkpoint
from benchmark.run.options import RunOptions
from benchmark.run.session import Session
from benchmark.store.files import SEAL, append_rows, read_json, read_rows
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.locks import is_locked
from benchmark.store.merge import merge
from benchmark.store.schema import RunStatus, Status
from tests.conftest import Ended
from tests.helpers import synthetic
from tests.helpers.trained import tiny_matrix, trained_set

MATRIX = tiny_matrix("nonsaturating")
ROWS = ("evals.jsonl", "steps.jsonl", "layers.jsonl")
FACTS = ("spec.json", "environment.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result set of two cells."""
    return trained_set(tmp_path_factory.mktemp("trained") / "matrix", MATRIX)


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> ResultSet:
    return ResultSet(shutil.copytree(trained, tmp_path / "matrix"))


@pytest.fixture
def cell(results: ResultSet) -> CellFolder:
    return results.cell(results.matrix.cells[0].key)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that no verb may read or write."""
    path = tmp_path / "outside" / "secret"
    path.parent.mkdir()
    path.write_text("SECRET\n")
    return path


def change_a_digit(path: Path) -> None:
    """Add 1 to a digit in the middle of a file."""
    content = bytearray(path.read_bytes())
    digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
    i = digits[len(digits) // 2]
    content[i] = ord("0") + (content[i] - ord("0") + 1) % 10
    path.write_bytes(bytes(content))


def test_a_status_that_is_lost_is_a_fault_of_a_cell_with_evaluations(cell: CellFolder) -> None:
    cell.status_file.unlink()
    status, fault = cell.read_status()
    assert (status.status, fault) == ("missing", f"{cell.status_file} is lost")
    cell.evals.unlink()
    assert cell.read_status()[1] is None


def test_a_committed_cell_names_all_its_files(cell: CellFolder) -> None:
    samples = {"samples/000000.npz", "samples/000010.npz"}
    names = samples | {"generator.pt", "first_steps.jsonl", *ROWS, *FACTS}
    assert cell.status.files.keys() == names
    assert cell.fault(cell.status) is None


@pytest.mark.parametrize("name", [*ROWS, *FACTS])
def test_a_changed_digit_of_a_committed_file_is_an_error_that_names_it(
    name: str, results: ResultSet, cell: CellFolder
) -> None:
    change_a_digit(cell.path / name)
    with pytest.raises(DamagedError, match=f"{name} is damaged"):
        tables.load(results.path)
    with pytest.raises(UserError, match=f"{name}.*is damaged"):
        merge([results.path], results.path.with_name("merged"))
    assert not results.path.with_name("merged").exists()


@pytest.mark.parametrize("name", [*ROWS, *FACTS])
def test_the_file_of_another_cell_is_an_error_that_names_it(
    name: str, results: ResultSet, cell: CellFolder
) -> None:
    other = results.cell(results.matrix.cells[1].key)
    (cell.path / name).write_bytes((other.path / name).read_bytes())
    same = cell.status.files[name] == other.status.files[name]
    if same:
        return
    with pytest.raises(DamagedError, match=f"{cell.key}/{name} is damaged"):
        tables.load(results.path)


def test_changed_samples_are_not_drawn(cell: CellFolder) -> None:
    path = cell.samples / "000010.npz"
    assert read_samples(path).shape == (1000, 2)
    np.savez_compressed(path, samples=np.zeros((1000, 2), np.float32))
    with pytest.raises(DamagedError, match=r"000010.npz is damaged"):
        read_samples(path)


def test_changed_weights_of_a_generator_are_not_sampled(
    results: ResultSet, cell: CellFolder, ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    weights = torch.load(cell.generator, weights_only=True)
    next(iter(weights.values())).flatten()[0] += 1
    torch.save(weights, cell.generator)
    where = ("--matrix", "matrix", "--results", results.path.parent, "--device", "cpu")
    ended = ganbench("sample", cell.key, "--n", 2, "--output", tmp_path / "out", *where)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "generator.pt is damaged" in ended.err
    ended = ganbench("measure", "--force", *where)
    assert ended.code == 1
    assert f"{cell.key}: {cell.generator} is damaged" in ended.out
    assert "1 cell measured again" in ended.out


def test_a_cell_without_its_generator_and_samples_is_sound(
    results: ResultSet, cell: CellFolder
) -> None:
    cell.generator.unlink()
    shutil.rmtree(cell.samples)
    assert cell.fault(cell.status) is None
    assert len(tables.load(results.path).cells) == 2


@pytest.mark.parametrize("name", [*ROWS, *FACTS, "generator.pt"])
def test_run_trains_a_damaged_cell_again_and_no_other(
    name: str, results: ResultSet, cell: CellFolder
) -> None:
    path = cell.path / name
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    session = Session(MATRIX, RunOptions(jobs=1, device="cpu"), results.path.parent)
    assert [*session.todo] == [cell.key]
    assert name in session.faults[cell.key]
    # The attempt tells whether another run has settled the cell since
    assert session.known[cell.key].attempt == cell.status.attempt


def test_a_changed_status_counts_as_missing_and_is_said(
    results: ResultSet, cell: CellFolder, ganbench: Callable[..., Ended]
) -> None:
    content = json.loads(cell.status_file.read_text())
    cell.status_file.write_text(json.dumps(content | {"train_seconds": 1e-3}))
    assert cell.status.status == RunStatus.MISSING
    ended = ganbench("tables", "--matrix", "matrix", "--results", results.path.parent)
    assert ended.code == 0
    assert f"missing: 1: {cell.status_file} is damaged" in ended.err
    assert tables.load(results.path).cells["status"].to_list() == ["missing", "done"]


def test_a_changed_target_or_floor_is_an_error(results: ResultSet) -> None:
    for file, change in (
        (results.matrix_file, lambda content: content.update(targets={"gaussians8": 9.0})),
        (results.protocols_file, lambda content: content["gaussians8"]["floor"].update(swd_200=9)),
    ):
        before = file.read_text()
        content = json.loads(before)
        change(content)
        file.write_text(json.dumps(content))
        with pytest.raises(UserError, match=f"{file.name}.*a value is not the one that was writt"):
            tables.load(results.path)
        file.write_text(before)


def test_a_json_file_is_changed_by_hand_without_its_seal(results: ResultSet) -> None:
    content = json.loads(results.matrix_file.read_text())
    del content[SEAL]
    results.matrix_file.write_text(json.dumps(content | {"targets": {"gaussians8": 9.0}}))
    assert tables.load(results.path).matrix.targets == {"gaussians8": 9.0}


def test_a_measure_that_is_killed_between_rows_and_status_leaves_a_done_cell(
    cell: CellFolder, results: ResultSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.run import measure_again

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CellFolder, "commit", die)
    monkeypatch.setattr(measure_again, "_is_same", lambda *_: False)
    with pytest.raises(KeyboardInterrupt):
        measure_again.measure_again(results.path, "cpu", force=True, note=lambda _: None)
    monkeypatch.undo()
    assert cell.fault(cell.status) is None
    assert tables.load(results.path).cells["status"].to_list() == ["done", "done"]
    done = measure_again.measure_again(results.path, "cpu", force=True, note=lambda _: None)
    assert done.measured == 2
    assert "evals.jsonl" in cell.status.files


@pytest.mark.parametrize("status", ["diverged", "error", "interrupted"])
def test_measure_says_which_cells_it_leaves_out(
    status: str, results: ResultSet, cell: CellFolder, ganbench: Callable[..., Ended]
) -> None:
    synthetic.edit(cell.status_file, status=status, files={})
    ended = ganbench("measure", "--matrix", "matrix", "--results", results.path.parent)
    assert ended.code == 0
    assert f"not measured, because not done: 1 {status}" in ended.out


def test_a_full_disk_leaves_the_tables_as_they_are(
    results: ResultSet, ganbench: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--matrix", "matrix", "--results", results.path.parent)
    assert ganbench("tables", *where).code == 0
    before = {path: path.read_bytes() for path in results.tables.iterdir()}

    def fill(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    for arguments in (("tables", *where), ("merge", results.path, "--into", results.path / "new")):
        ended = ganbench(*arguments)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
    ended = ganbench("tables", *where)
    assert f"{results.tables}" in ended.err
    assert "No space left on device" in ended.err
    assert {path: path.read_bytes() for path in results.tables.iterdir()} == before


# Made to harm


def put_link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def put_pipe(path: Path, _: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("put", [put_link, put_pipe])
@pytest.mark.parametrize("name", ["matrix.json", "protocols.json"])
def test_a_link_or_a_pipe_in_place_of_a_file_of_the_set_is_not_read(
    name: str, put: Callable[[Path, Path], None], results: ResultSet, outside: Path
) -> None:
    put(results.path / name, outside)
    with pytest.raises(UserError, match=f"{name} cannot be read: it is a"):
        tables.load(results.path)


@pytest.mark.parametrize("put", [put_link, put_pipe])
@pytest.mark.parametrize("name", ["status.json", *FACTS, *ROWS])
def test_a_link_or_a_pipe_in_place_of_a_file_of_a_cell_is_not_read(
    name: str,
    put: Callable[[Path, Path], None],
    results: ResultSet,
    outside: Path,
    cell: CellFolder,
) -> None:
    put(cell.path / name, outside)
    with pytest.raises(UserError, match=f"{name} cannot be read: it is a"):
        tables.load(results.path)
    with pytest.raises(UserError, match=f"{name} cannot be read: it is a"):
        merge([results.path], results.path.with_name("merged"))


@pytest.mark.parametrize("name", ["cells", "tables", "figures", "report", "samples", "exports"])
def test_a_folder_of_the_set_that_is_a_link_is_refused(
    name: str, results: ResultSet, outside: Path
) -> None:
    shutil.rmtree(results.path / name, ignore_errors=True)
    (results.path / name).symlink_to(outside.parent)
    with pytest.raises(UserError, match=f"{name} is a symbolic link"):
        tables.load(results.path)
    with pytest.raises(UserError, match=f"{name} is a symbolic link"):
        Session(MATRIX, RunOptions(jobs=1, device="cpu"), results.path.parent)
    assert os.listdir(outside.parent) == ["secret"]


@pytest.mark.parametrize("name", ["", "samples"])
def test_a_folder_of_a_cell_that_is_a_link_is_refused(
    name: str, results: ResultSet, outside: Path, cell: CellFolder
) -> None:
    folder = cell.path / name
    shutil.rmtree(folder)
    folder.symlink_to(outside.parent)
    with pytest.raises(UserError, match="is a symbolic link"):
        tables.load(results.path)
    with pytest.raises(UserError, match="is a symbolic link"):
        Session(MATRIX, RunOptions(jobs=1, device="cpu"), results.path.parent)


def test_a_merge_copies_no_file_that_a_link_leads_to(
    results: ResultSet, outside: Path, cell: CellFolder
) -> None:
    (cell.path / "notes.txt").symlink_to(outside)
    with pytest.raises(UserError, match=r"notes.txt cannot be copied: it is a link"):
        merge([results.path], results.path.with_name("merged"))
    copies = [*results.path.with_name("merged").rglob("notes.txt")]
    assert copies == []


def test_tables_replace_a_link_and_not_what_it_leads_to(results: ResultSet, outside: Path) -> None:
    results.tables.mkdir(exist_ok=True)
    put_link(results.tables / "cells.csv", outside)
    published.write(tables.load(results.path).published, results.path)
    assert outside.read_text() == "SECRET\n"
    assert not (results.tables / "cells.csv").is_symlink()


def test_a_resume_leaves_the_other_name_of_a_file_as_it_is(tmp_path: Path, outside: Path) -> None:
    """A backup of hard links keeps its content."""
    files = CellFolder(tmp_path / "cell")
    files.path.mkdir()
    os.link(outside, files.evals)
    cut_rows(files, Checkpoint({}, {}, False, [], {}, {"evals.jsonl": (3, "")}))
    assert files.evals.read_text() == "SEC"
    assert outside.read_text() == "SECRET\n"


@pytest.mark.parametrize("put", [put_link, put_pipe])
def test_a_lock_that_is_none_is_not_followed_and_holds_nobody_up(
    put: Callable[[Path, Path], None], cell: CellFolder, outside: Path
) -> None:
    put(cell.lock, outside.with_name("new"))
    assert not is_locked(cell)
    assert not outside.with_name("new").exists()


class Bomb:
    """What a pickle may do to who loads it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("content", [pickle.dumps(Bomb()), pickle.dumps({"made_by": 3}), b"", b"x"])
def test_a_checkpoint_that_is_none_is_passed_over_and_not_unpickled(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = CellFolder(tmp_path / "cell")
    files.path.mkdir()
    digest = hashlib.sha256(content).hexdigest().encode()
    files.checkpoint.write_bytes(digest + b"\n" + content)
    assert load_checkpoint(files, {}) == (None, {"checkpoint.pt": "is damaged"})
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_names_rows_of_its_own_cell_alone(tmp_path: Path, outside: Path) -> None:
    files = CellFolder(tmp_path / "cell")
    files.path.mkdir()
    buffer = io.BytesIO()
    content = outside.read_bytes()
    rows = {"../outside/secret": (len(content), hashlib.sha256(content).hexdigest())}
    progress = {"g_steps": 0, "samples_seen": 0, "share": 0.0, "logged_at": 0}
    training = {"progress": progress, "counters": {}}
    value = Checkpoint(training, {"status": "running"}, False, [], {}, rows)
    torch.save(vars(value), buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    files.checkpoint.write_bytes(digest + b"\n" + buffer.getvalue())
    assert load_checkpoint(files, {})[0] is None


def test_rows_twice_or_backwards_or_of_another_schema_are_errors(tmp_path: Path) -> None:
    synthetic.write(tmp_path, groups=[("gaussians8", "mlp")], samples=False)
    path = next(tmp_path.glob("cells/*/evals.jsonl"))
    rows = [*read_rows(path)]
    for changed, reason in (
        (rows[:1] + rows, "a row is twice"),
        (rows[-3:-1] + rows[:-3] + rows[-1:], "its rows run backwards in g_steps"),
        ([rows[0] | {"schema": 2}, *rows[1:]], "line 1 has schema 2; this version reads 1"),
    ):
        path.unlink()
        append_rows(path, changed)
        with pytest.raises(UserError, match=f"{path.name}.*{reason}"):
            tables.load(tmp_path)


def test_texts_of_json_files_control_no_terminal(
    results: ResultSet, cell: CellFolder, ganbench: Callable[..., Ended]
) -> None:
    reason = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e out of memory"
    synthetic.edit(cell.status_file, status="error", reason=reason, files={})
    synthetic.edit(cell.environment_file, device="\x1b[31mCPU")
    where = ("--matrix", "matrix", "--results", results.path.parent)
    shown = ""
    for verb in ("status", "tables"):
        ended = ganbench(verb, *where)
        assert ended.code == 0
        shown += ended.out + ended.err
    shown += (results.tables / "cells.csv").read_text(encoding="utf-8")
    assert not {*"\x1b\x07\x9b\u202e"} & {*shown}
    assert shown.count("out of memory") == 2
    assert cell.status.reason is not None
    assert "\x1b" not in cell.status.reason


@pytest.mark.parametrize("size", [2 * 2**30])
def test_a_huge_file_is_not_read(size: int, results: ResultSet, cell: CellFolder) -> None:
    """Sparse: it takes no room on the disk."""
    os.truncate(cell.steps, size)
    with pytest.raises(UserError, match=r"steps.jsonl cannot be read: it is larger than 1024 MiB"):
        tables.load(results.path)
    os.truncate(results.protocols_file, size)
    with pytest.raises(UserError, match=r"protocols.json cannot be read: it is larger"):
        tables.load(results.path)


def test_half_a_character_is_damage(tmp_path: Path) -> None:
    synthetic.write(tmp_path, groups=[("gaussians8", "mlp")], samples=False)
    path = tmp_path / "matrix.json"
    path.write_text(path.read_text().replace("gaussians8", "gaussians\\ud800"))
    with pytest.raises(DamagedError, match=r"matrix.json is damaged: .*surrogates"):
        tables.load(tmp_path)


def test_a_missing_status_has_no_fault(tmp_path: Path) -> None:
    assert CellFolder(tmp_path / "cell").read_status() == (Status(status=RunStatus.MISSING), None)


@pytest.mark.parametrize("depth", [51, 900, 100_000])
def test_what_nests_too_deep_is_damaged(depth: int, tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        nested = opening * depth + "1" + closing * depth
        path.write_text(f'{{"schema": 1, "x": {nested}}}\n')
        with pytest.raises(DamagedError, match=r"status\.json is damaged: "):
            read_json(path)
        with pytest.raises(DamagedError, match=r"status\.json, line 1 is damaged: "):
            list(read_rows(path))
    path.write_text(f'{{"schema": 1, "x": {json.dumps([[[1]]] * 100)}}}\n')
    assert read_json(path)["x"][99] == [[1]]
