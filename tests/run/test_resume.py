"""A cell cut off at any moment ends with the numbers of the uninterrupted one, bit for bit."""

import errno
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell, Choice
from benchmark.run.cell import cell_run, record
from benchmark.run.cell.cell_run import CellEvent, Interrupted, run_cell
from benchmark.run.events import Running
from benchmark.store.clocks import WALL_CLOCKS, seconds_spent
from benchmark.store.files import read_json, read_rows
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import Status
from benchmark.train.execution.modes import can_compile
from benchmark.train.loop import train
from benchmark.train.snapshot import CellState, Snapshot
from tests.helpers.cells import FORMS, small_cell
from variants.architectures import mlp

CELLS = {
    "points, critic steps": small_cell("wgan_gp", evaluation={"log_every": 3}),
    "batch norm, moving average, decay": small_cell(
        "nonsaturating", "images", ema=0.9, lr_decay="linear", steps=8, evaluation={"log_every": 3}
    ),
    "RMSprop, clipping, channels last": small_cell(
        "wgan", "images", steps=5, layout="channels_last"
    ),
    "bfloat16, samples": small_cell("lsgan", "images", precision="bf16", steps=None, samples=96),
    "spectral norm": replace(
        small_cell("minimax", "images", steps=6),
        architecture=Choice("dcgan", {"width": 8, "norm": "spectral"}),
    ),
}
FURTHER = {
    name: small_cell(name, steps=4, evaluation={"log_every": 3})
    for name in ("r1", "rpgan_r1r2", "fgan", "dragan", "relativistic_average", "wgan_div")
}
for name, params in FORMS:
    FURTHER[f"{name} {params}"] = small_cell(name, params=params, steps=3)
for optimizer in ("sgd", "optimistic_adam"):
    params = {"optimizer": optimizer, "lr": 1e-3}
    FURTHER[optimizer] = small_cell("r1", "images", params=params, steps=4)
FURTHER["attention"] = replace(
    small_cell("wgan_fdgp", "images", steps=4), architecture=Choice("attention")
)

needs_compiler = pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")


def through_a_file(state: CellState) -> CellState:
    """The state, saved and loaded again."""
    buffer = io.BytesIO()
    torch.save(state.plain(), buffer)
    buffer.seek(0)
    return CellState.from_plain(torch.load(buffer, weights_only=True))


def never(step: int) -> bool:
    return False


def run_whole(
    cell: Cell,
    cuts: Callable[[int], bool] = never,
    device: str = "cpu",
    execution: str = "auto",
) -> tuple[list[Any], Any]:
    """The rows of a training and its last state, cut off and resumed after each step that `cuts`
    names."""
    state: CellState | None = None
    rows: list[Any] = []
    while True:
        last = state
        step = state.progress.g_steps if state else 0
        asked: list[int] = []

        def pause(start: int = step, asked: list[int] = asked) -> bool:
            asked.append(0)
            return cuts(start + len(asked))

        for number, snapshot in enumerate(train(cell, device, state, pause, execution)):
            assert snapshot.state is not None
            if snapshot.row and (number or state is None):
                rows.append((snapshot.row, snapshot.evaluation_due, snapshot.layers))
            last = through_a_file(snapshot.state)
            if number and cuts(snapshot.g_steps) and snapshot.progress.share < 1:
                break
        else:
            return rows, last
        state = last


def same(one: Any, other: Any) -> bool:
    """Equal to the bit, NaN included."""
    if isinstance(one, torch.Tensor):
        return one.stride() == other.stride() and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


def parts(state: CellState) -> list[Any]:
    """The networks and the optimisers of a state."""
    return [state.networks, state.optimizers]


@pytest.mark.parametrize(
    ("name", "execution"),
    [
        *((name, "eager") for name in CELLS),
        ("batch norm, moving average, decay", "traced"),
        *(
            pytest.param(name, "compiled", marks=[needs_compiler, pytest.mark.slow])
            for name in CELLS
        ),
    ],
)
def test_a_training_cut_off_at_every_step_goes_on_bit_for_bit(name: str, execution: str) -> None:
    cell = CELLS[name]
    rows, state = run_whole(cell, execution=execution)
    assert (state.execution.mode, state.execution.fallback) == (execution, None)
    again, state_again = run_whole(cell, lambda step: True, execution=execution)
    assert len(rows) >= 2
    assert same(rows, again)
    assert same(parts(state), parts(state_again))
    some, state_some = run_whole(cell, lambda step: step % 4 == 2, execution=execution)
    assert same(rows, some)
    assert same(parts(state), parts(state_some))


@pytest.mark.parametrize("name", FURTHER)
def test_every_objective_and_optimiser_goes_on_bit_for_bit(name: str) -> None:
    rows, state = run_whole(FURTHER[name], execution="eager")
    again, state_again = run_whole(FURTHER[name], lambda step: True, execution="eager")
    assert same(rows, again)
    assert same(parts(state), parts(state_again))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CELLS)
def test_a_training_on_a_gpu_goes_on_to_rounding(name: str) -> None:
    rows, state = run_whole(CELLS[name], device="cuda")
    again, state_again = run_whole(CELLS[name], lambda step: True, "cuda")
    assert [row["g_step"] for row, _, _ in rows] == [row["g_step"] for row, _, _ in again]
    for role in ("generator", "critic"):
        weights, weights_again = state.networks[role], state_again.networks[role]
        for tensor, other in zip(weights.values(), weights_again.values(), strict=True):
            torch.testing.assert_close(tensor, other, rtol=1e-3, atol=1e-4)


def test_what_draws_by_itself_goes_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout draws from torch's default stream; so may other parts of the process between two
    steps."""
    forward = mlp.Discriminator.forward
    dropped = torch.nn.Dropout(0.5)
    monkeypatch.setattr(mlp.Discriminator, "forward", lambda self, x: forward(self, dropped(x)))
    cell = small_cell()

    def cuts(step: int) -> bool:
        torch.rand(step)
        return step % 3 == 0

    rows, state = run_whole(cell)
    again, state_again = run_whole(cell, cuts)
    assert same(rows, again)
    assert same(parts(state), parts(state_again))


def test_a_pause_changes_no_number_and_has_no_row() -> None:
    cell = small_cell(evaluation={"log_every": 5})
    paused = list(train(cell, "cpu", pause=lambda: True))
    assert [s.g_steps for s in paused] == list(range(21))
    assert [s.g_steps for s in paused if s.row] == [5, 10, 15, 20]
    assert [s.g_steps for s in paused if s.evaluation_due] == [0, 20]
    plain = list(train(cell, "cpu"))
    assert same([s.row for s in plain if s.row], [s.row for s in paused if s.row])


# A cell in its folder


@pytest.fixture(scope="module")
def cell() -> Cell:
    return small_cell("wgan_gp", steps=6, evaluation={"log_every": 2, "schedule": [0, 0.5, 1]})


@pytest.fixture(scope="module")
def whole(cell: Cell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the cell, run without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    assert end(run_cell(cell, folder, "cpu")).status == "done"
    return folder / "cells" / cell.key


def end(events: Iterator[CellEvent]) -> Status:
    """The last status of a cell."""
    *_, last = events
    return last.status


def numbers(path: Path) -> dict[str, Any]:
    """All that a cell's folder holds but for clocks, memory and environment."""
    timed = (*WALL_CLOCKS, "peak_memory_mb")
    found: dict[str, Any] = {}
    for file in path.glob("*.jsonl"):
        found[file.name] = [
            {name: value for name, value in row.items() if name not in timed}
            for row in read_rows(file)
        ]
    for file in path.glob("samples/*.npz"):
        found[file.name] = np.load(file)["samples"].tolist()
    weights = torch.load(path / "generator.pt", weights_only=True)
    found |= {name: weight.tolist() for name, weight in weights.items()}
    status = read_json(path / "status.json")
    names = ("status", "onset", "samples_seen", "g_steps", "progress", "forwards_per_d_step")
    return found | {name: status[name] for name in (*names, "protocol")}


def cut_at(cell: Cell, folder: Path, at: int) -> CellEvent:
    """Begin or resume a cell with a checkpoint after every step, and leave its folder as a process
    killed at an event would: what an orderly end writes is taken back."""
    events = run_cell(cell, folder, "cpu", checkpoint_every=0.0)
    path, as_killed = folder / "cells", folder / "killed"
    event = [next(events) for _ in range(at + 1)][-1]
    shutil.copytree(path, as_killed)
    events.close()
    shutil.rmtree(path)
    as_killed.rename(path)
    return event


def test_a_cell_killed_again_and_again_is_the_whole_one(
    cell: Cell, whole: Path, tmp_path: Path
) -> None:
    for at in (1, 2, 3, 1, 2, 2):
        event = cut_at(cell, tmp_path, at)
        assert isinstance(event, Running)
        assert event.status.status == "running"
    status = end(run_cell(cell, tmp_path, "cpu"))
    path = tmp_path / "cells" / cell.key
    assert numbers(path) == numbers(whole)
    assert status.warnings == []
    assert (
        status.resumes == 6
    )  # the first event comes before a checkpoint: what was there is not lost
    assert len(read_json(path / "environment.json")["resumes"]) == 6
    assert not list(path.glob("checkpoint*"))


@pytest.mark.parametrize("again", [1, 2, 3])
def test_a_stop_in_the_middle_saves_a_checkpoint(
    cell: Cell, whole: Path, tmp_path: Path, again: int
) -> None:
    for _ in range(again):
        asked: list[int] = []

        def stop(asked: list[int] = asked) -> bool:
            asked.append(0)
            return len(asked) > 2

        status = end(run_cell(cell, tmp_path, "cpu", stop))
        assert (status.status, status.reason) == ("interrupted", None)
    assert status.g_steps > 0
    path = tmp_path / "cells" / cell.key
    assert (path / "checkpoint.pt").exists()
    assert end(run_cell(cell, tmp_path, "cpu")).resumes == again
    assert numbers(path) == numbers(whole)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("where", ["eval_rows", "layer_rows", "save_samples"])
def test_an_interruption_while_measuring_measures_again(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, at: int
) -> None:
    function, calls = getattr(cell_run, where), []

    def interrupting(*arguments: Any) -> Any:
        calls.append(0)
        if len(calls) == at + 1:
            raise Interrupted
        return function(*arguments)

    monkeypatch.setattr(cell_run, where, interrupting)
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert (status.status, status.g_steps) == ("interrupted", 3 * at)
    assert end(run_cell(cell, tmp_path, "cpu")).status == "done"
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


def test_an_interruption_at_the_very_end_has_nothing_left_to_train(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupting(files: CellFolder, snapshot: Snapshot) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(cell_run, "save_generator", interrupting)
        assert end(run_cell(cell, tmp_path, "cpu")).status == "interrupted"
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert (status.status, status.resumes) == ("done", 1)
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, lambda file: file.write_bytes(b"")])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    cell: Cell, whole: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    cut_at(cell, tmp_path, 4)
    path = tmp_path / "cells" / cell.key
    damage(path / "checkpoint.pt")
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert (status.resumes, status.warnings) == (1, ["checkpoint.pt is damaged"])
    assert read_json(path / "environment.json")["resumes"][0]["g_steps"] == 2
    assert numbers(path) == numbers(whole)


def test_without_a_whole_checkpoint_the_cell_starts_anew_and_says_so(
    cell: Cell, whole: Path, tmp_path: Path
) -> None:
    cut_at(cell, tmp_path, 4)
    path = tmp_path / "cells" / cell.key
    for name in ("checkpoint.pt", "checkpoint.before.pt"):
        truncate(path / name)
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert status.resumes == 0
    assert status.warnings == ["checkpoint.pt is damaged", "checkpoint.before.pt is damaged"]
    assert numbers(path) == numbers(whole)


@pytest.mark.parametrize(
    "name", ["evals.jsonl", "steps.jsonl", "first_steps.jsonl", "layers.jsonl"]
)
def test_rows_that_were_cut_or_changed_are_written_again(
    cell: Cell, whole: Path, tmp_path: Path, name: str
) -> None:
    cut_at(cell, tmp_path, 6)
    path = tmp_path / "cells" / cell.key
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-5])  # a line cut short
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert status.warnings
    assert all(name in warning for warning in status.warnings)
    assert numbers(path) == numbers(whole)


def test_a_row_written_after_the_checkpoint_is_dropped(
    cell: Cell, whole: Path, tmp_path: Path
) -> None:
    cut_at(cell, tmp_path, 4)
    path = tmp_path / "cells" / cell.key
    for file in path.glob("*.jsonl"):
        with file.open("a") as rows:
            rows.write(json.dumps({"schema": 1, "g_step": 4, "cut": "sho"})[:-4])
    assert end(run_cell(cell, tmp_path, "cpu")).resumes == 1
    assert numbers(path) == numbers(whole)


@pytest.mark.parametrize("other", ["code", "evaluation options", "format"])
def test_a_checkpoint_of_something_else_is_not_continued(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    with monkeypatch.context() as patch:
        if other == "code":
            patch.setattr(record, "training_code", lambda cell: "0ther")
        if other == "format":
            patch.setattr(record, "FORMAT", 0)
        schedule = {"schedule": [0, 1]} if other == "evaluation options" else {}
        cut_at(replace(cell, evaluation=cell.evaluation.replaced(**schedule)), tmp_path, 4)
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert status.resumes == 0
    assert status.warnings == [
        f"checkpoint.pt is of other {other}",
        f"checkpoint.before.pt is of other {other}",
    ]
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


def test_a_checkpoint_of_the_first_format_is_passed_over(
    cell: Cell, whole: Path, tmp_path: Path
) -> None:
    """It held tuples that were read by position, under other names."""
    cut_at(cell, tmp_path, 4)
    path = tmp_path / "cells" / cell.key
    (path / "checkpoint.before.pt").unlink()
    made_by = {
        "format": 1,
        "code": record.training_code(cell),
        "evaluation options": cell.evaluation_hash,
    }
    counted = (0.1, None, {}, (1.0, 1.0), 1.0, False, None)
    training = {
        "at": ((2, 32, 0.5, *counted), 2),
        "clocks": (0.0, 0.0, 0.0),
        "trace": torch.zeros(0, 6),
        "parts": [{"weight": torch.ones(1)}] * 4,
    }
    status = {"status": "running", "g_steps": 2}
    rows = {"steps.jsonl": (10**6, "not the rows that are there")}
    former = {"train": training, "status": status, "handled": True, "paces": [1.0], "rows": rows}
    buffer = io.BytesIO()
    torch.save(former | {"made_by": made_by}, buffer)
    checksum = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    (path / "checkpoint.pt").write_bytes(checksum + b"\n" + buffer.getvalue())
    last = end(run_cell(cell, tmp_path, "cpu"))
    assert (last.status, last.resumes) == ("done", 0)
    assert last.warnings == ["checkpoint.pt is of other format"]
    assert numbers(path) == numbers(whole)


def test_a_state_through_a_checkpoint_has_the_same_parts(cell: Cell) -> None:
    """Names, numbers and types: of the counters, too."""
    *_, snapshot = train(cell, "cpu")
    assert snapshot.state is not None
    loaded = through_a_file(snapshot.state)
    assert loaded.progress == snapshot.progress
    assert same(vars(loaded.counters), vars(snapshot.counters))
    assert isinstance(loaded.counters.forwards, tuple)
    assert same(parts(loaded), parts(snapshot.state))
    assert same(loaded.trace, snapshot.state.trace)


def test_an_interrupt_after_the_commit_leaves_the_result(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker then finds the cell finished."""

    def interrupting(files: CellFolder) -> None:
        raise Interrupted

    monkeypatch.setattr(cell_run, "drop_checkpoints", interrupting)
    with pytest.raises(Interrupted):
        end(run_cell(cell, tmp_path, "cpu"))
    assert ResultSet(tmp_path).cell(cell.key).status.status == "done"
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


def test_a_mistake_that_a_cell_finds_is_an_error_of_this_cell(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on with other cells: only a folder that cannot be written to ends it."""

    def refusing(*arguments: Any) -> Any:
        raise UserError("no such weights")

    monkeypatch.setattr(cell_run, "open_instrument", refusing)
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert (status.status, status.reason) == ("error", "UserError: no such weights")
    monkeypatch.setattr(cell_run, "open_workbench", refusing)
    assert end(run_cell(cell, tmp_path, "cpu")).status == "error"


@pytest.mark.parametrize("writer", ["write", "save", "commit"])
def test_a_folder_that_cannot_be_written_to_ends_the_run(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    """Whatever the error of the file system is: here a stale handle, without a file's name."""

    def stale(*arguments: Any) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    events = run_cell(cell, tmp_path, "cpu")
    if writer != "write":
        next(events)
    monkeypatch.setattr(record.CellRecord, writer, stale)
    if writer == "save":
        next(events)
    with pytest.raises(UserError, match="Stale file handle; what is finished stays"):
        end(events) if writer != "save" else events.throw(Interrupted)


def test_a_checkpoint_of_another_protocol_is_not_continued(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data edited, or a classifier trained anew, since the cell was cut off."""
    with monkeypatch.context() as patch:
        patch.setattr(cell_run, "protocol_id", lambda instrument: "0ther")
        cut_at(cell, tmp_path, 4)
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert (status.status, status.resumes) == ("done", 0)
    assert status.warnings[0].startswith(
        "the checkpoint was measured under protocol 0ther, now it is "
    )
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


@pytest.mark.parametrize(
    "changed",
    [
        {"evaluation": {"schedule": [0.5, 1]}},
        {"evaluation": {"log_every": 100}},
        {"steps": None, "samples": 6 * 5 * 16},
        {"steps": None, "samples": 6 * 5 * 16 - 1},
    ],
)
def test_budgets_and_schedules(changed: dict[str, Any], tmp_path: Path) -> None:
    cell = small_cell("wgan_gp", **{"steps": 6, "evaluation": {}} | changed)
    assert end(run_cell(cell, tmp_path / "whole", "cpu")).status == "done"
    for at in (3, 2, 4):
        cut_at(cell, tmp_path, at)
    assert end(run_cell(cell, tmp_path, "cpu")).resumes == 3
    assert numbers(tmp_path / "cells" / cell.key) == numbers(
        tmp_path / "whole" / "cells" / cell.key
    )


def test_a_cell_that_diverges_after_a_resume(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*arguments: Any) -> Iterator[Snapshot]:
        for snapshot in train(*arguments):
            if snapshot.g_steps == 5:
                next(snapshot.D.parameters()).data.fill_(torch.nan)
            yield snapshot

    cut_at(cell, tmp_path, 4)
    monkeypatch.setattr(cell_run, "train", poisoned)
    cut_at(cell, tmp_path, 3)
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert (status.status, status.onset) == ("diverged", 6)
    assert not list((tmp_path / "cells" / cell.key).glob("checkpoint*"))


def test_a_budget_in_seconds_goes_on_where_it_stood(tmp_path: Path) -> None:
    cell = small_cell("wgan_gp", steps=None, seconds=1.0, evaluation={"schedule": [0, 0.5, 1]})
    cut_at(cell, tmp_path, 2)
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert (status.status, status.resumes) == ("done", 1)
    assert 1.0 <= status.train_seconds < 10
    steps = [row["g_step"] for row in read_rows(tmp_path / "cells" / cell.key / "steps.jsonl")]
    assert steps == list(range(1, status.g_steps + 1))


WRITERS = ("replace", "fsync", "unlink", "truncate", "rmdir", "mkdir")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("before", ["nothing", "a checkpoint", "a result to replace"])
def test_a_kill_at_any_write_loses_nothing(
    cell: Cell, whole: Path, tmp_path: Path, before: str
) -> None:
    """A process that ends at the n-th change it makes to the disk, for every n."""

    def change(n: int, folder: Path) -> int:
        """The exit code of a process that runs the cell: 9 when it was killed."""
        if child := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        code, left = 1, [n]

        def killing(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return function(*arguments, **options)

            return call

        try:
            for name in WRITERS:
                setattr(os, name, killing(getattr(os, name)))
            code = int(end(run_cell(cell, folder, "cpu", checkpoint_every=0.0)).status != "done")
        finally:
            os._exit(code)

    start = tmp_path / "start"
    if before == "a result to replace":
        shutil.copytree(whole.parent, start / "cells")
    elif before == "a checkpoint":
        cut_at(cell, start, 4)
    n, code = 0, 9
    while code == 9:
        folder = tmp_path / str(n)
        if start.exists():
            shutil.copytree(start, folder)
        code = change(n, folder)
        status = ResultSet(folder).cell(cell.key).status.status
        if status != "done":  # else the kill came after the commit, or before anything was touched
            assert end(run_cell(cell, folder, "cpu")).status == "done"
        path = folder / "cells" / cell.key
        assert numbers(path) == numbers(whole)
        assert status == "done" or not [file for file in path.rglob(".*") if file.name != ".lock"]
        shutil.rmtree(folder)
        n += 1
    assert code == 0
    assert n > 30


def test_a_dataset_that_has_vanished_leaves_its_cell_to_the_next_run(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(cell, tmp_path, 4)

    def gone(choice: Choice) -> Any:
        raise FileNotFoundError(2, "No such file or directory", "/data/gone")

    with monkeypatch.context() as patch:
        patch.setattr(cell_run, "load_dataset", gone)
        status = end(run_cell(cell, tmp_path, "cpu"))
    assert status.status == "interrupted"
    assert status.reason.startswith(
        "dataset gaussians8: [Errno 2] No such file or directory: '/data/gone'"
    )
    assert end(run_cell(cell, tmp_path, "cpu")).resumes == 2
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


def test_a_full_disk_stops_the_run_and_loses_nothing(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, rows: Any) -> None:
        raise OSError(28, "No space left on device")

    cut_at(cell, tmp_path, 4)
    with monkeypatch.context() as patch:
        patch.setattr(cell_run, "append_rows", full)
        with pytest.raises(UserError, match="No space left on device; what is finished stays"):
            end(run_cell(cell, tmp_path, "cpu"))
    assert end(run_cell(cell, tmp_path, "cpu")).status == "done"
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


def test_the_clocks_go_on_and_add_up(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The processor's seconds: a busy machine adds none
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    began = time.perf_counter()
    status = end(run_cell(cell, tmp_path / "once", "cpu"))
    wall = time.perf_counter() - began
    assert 0.9 * wall < seconds_spent(status) < time.perf_counter() - began
    wall = 0.0
    for calls in (2, 2, 10**9):
        asked = iter(range(calls))
        began = time.perf_counter()
        status = end(run_cell(cell, tmp_path, "cpu", lambda asked=asked: next(asked, None) is None))
        wall += time.perf_counter() - began
        assert 0.9 * wall < seconds_spent(status) < wall
    assert (status.status, status.resumes) == ("done", 2)
    clocks = [clock for clock in WALL_CLOCKS if clock != "compile_seconds"]
    assert all(getattr(status, clock) > 0 for clock in clocks)


def test_a_checkpoint_is_due_every_minute_and_no_oftener_than_it_is_cheap(
    cell: Cell, tmp_path: Path
) -> None:
    files = CellFolder(tmp_path / cell.key)
    at = record.CellRecord(cell, files, "cpu", time.perf_counter)
    for since, cost, due in (
        (59, 0, False),
        (61, 0, True),
        (61, 1.2, True),
        (61, 1.3, False),
        (66, 1.3, True),
    ):
        at.saved_at, at.checkpoint_cost = time.monotonic() - since, cost
        assert at.is_checkpoint_due(60.0) == due
    assert at.is_checkpoint_due(0.0)
