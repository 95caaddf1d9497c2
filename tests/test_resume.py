"""A cell cut off at any moment ends with the numbers of the uninterrupted one, bit for bit."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import UserError, runner
from benchmark.cell import Cell, Choice, read_json, read_rows
from benchmark.runner import Interrupted, run_cell
from benchmark.train import Snapshot, train
from tests.cells import small_cell
from variants.architectures import mlp

CLOCKS = ("train_seconds", "eval_seconds", "probe_seconds", "warmup_seconds", "other_seconds", "peak_memory_mb")
CELLS = {
    "points, critic steps": small_cell("wgan_gp", evaluation={"log_every": 3}),
    "batch norm, moving average, decay": small_cell(
        "nonsaturating", "images", ema=0.9, lr_decay="linear", steps=8, evaluation={"log_every": 3}
    ),
    "RMSprop, clipping, channels last": small_cell("wgan", "images", steps=5, layout="channels_last"),
    "bfloat16, samples": small_cell("lsgan", "images", precision="bf16", steps=None, samples=96),
    "spectral norm": replace(
        small_cell("minimax", "images", steps=6), architecture=Choice("dcgan", {"width": 8, "norm": "spectral"})
    ),
}


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def run_whole(cell: Cell, cuts: Callable[[int], bool] = lambda step: False) -> tuple[list[Any], Any]:
    """The rows of a training and its last state, cut off and continued after each step that `cuts` names."""
    state: dict[str, Any] | None = None
    rows: list[Any] = []
    while True:
        last, step, asked = state, state["at"][0][0] if state else 0, []

        def pause(start: int = step, asked: list[int] = asked) -> bool:
            asked.append(0)
            return cuts(start + len(asked))

        for number, snapshot in enumerate(train(cell, "cpu", state, pause)):
            assert snapshot.state is not None
            if snapshot.row and (number or state is None):
                rows.append((snapshot.row, snapshot.due, snapshot.layers))
            last = through_a_file(snapshot.state)
            if number and cuts(snapshot.g_steps) and snapshot.progress < 1:
                break
        else:
            return rows, last
        state = last


def same(one: Any, other: Any) -> bool:
    """Equal to the bit, NaN included, but for the clocks and the memory of a state's `at`."""
    if isinstance(one, torch.Tensor):
        return one.stride() == other.stride() and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


@pytest.mark.parametrize("name", CELLS)
def test_a_training_cut_off_at_every_step_goes_on_bit_for_bit(name: str) -> None:
    cell = CELLS[name]
    rows, state = run_whole(cell)
    again, state_again = run_whole(cell, lambda step: True)
    assert len(rows) >= 2
    assert same(rows, again)
    assert same(state["parts"], state_again["parts"])
    some, state_some = run_whole(cell, lambda step: step % 4 == 2)
    assert same(rows, some)
    assert same(state["parts"], state_some["parts"])


def test_what_draws_by_itself_goes_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout draws from torch's default stream; so may other parts of the process between two steps."""
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
    assert same(state["parts"], state_again["parts"])


def test_a_pause_changes_no_number_and_has_no_row() -> None:
    cell = small_cell(evaluation={"log_every": 5})
    paused = list(train(cell, "cpu", pause=lambda: True))
    assert [s.g_steps for s in paused] == list(range(21))
    assert [s.g_steps for s in paused if s.row] == [5, 10, 15, 20]
    assert [s.g_steps for s in paused if s.due] == [0, 20]
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
    assert end(run_cell(cell, folder, "cpu"))["status"] == "done"
    return folder / "cells" / cell.key


def end(events: Iterator[dict[str, Any]]) -> dict[str, Any]:
    *_, last = events
    return last


def numbers(path: Path) -> dict[str, Any]:
    """All that a cell's folder holds but for clocks, memory and environment."""
    rows = {
        file.name: [{k: v for k, v in row.items() if k not in CLOCKS} for row in read_rows(file)]
        for file in path.glob("*.jsonl")
    }
    samples = {file.name: np.load(file)["samples"].tolist() for file in path.glob("samples/*.npz")}
    weights = torch.load(path / "generator.pt", weights_only=True)
    status = {
        key: read_json(path / "status.json")[key]
        for key in ("status", "onset", "samples_seen", "g_steps", "progress", "forwards_per_d_step", "protocol")
    }
    return rows | samples | {name: weight.tolist() for name, weight in weights.items()} | status


def cut_at(cell: Cell, folder: Path, at: int) -> dict[str, Any]:
    """Begin or continue a cell with a checkpoint after every step, and leave its folder as a process killed at an event
    would: what an orderly end writes is taken back."""
    events, path, as_killed = run_cell(cell, folder, "cpu", checkpoint_every=0.0), folder / "cells", folder / "killed"
    event = [next(events) for _ in range(at + 1)][-1]
    shutil.copytree(path, as_killed)
    events.close()
    shutil.rmtree(path)
    as_killed.rename(path)
    return event


def test_a_cell_killed_again_and_again_is_the_whole_one(cell: Cell, whole: Path, tmp_path: Path) -> None:
    for at in (1, 2, 3, 1, 2, 2):
        assert cut_at(cell, tmp_path, at)["status"] == "running"
    status = end(run_cell(cell, tmp_path, "cpu"))
    path = tmp_path / "cells" / cell.key
    assert numbers(path) == numbers(whole)
    assert status["warnings"] == []
    assert status["resumes"] == 6  # the first event comes before a checkpoint: what was there is not lost
    assert len(read_json(path / "environment.json")["resumes"]) == 6
    assert not list(path.glob("checkpoint*"))


@pytest.mark.parametrize("again", [1, 2, 3])
def test_a_stop_in_the_middle_saves_a_checkpoint(cell: Cell, whole: Path, tmp_path: Path, again: int) -> None:
    for _ in range(again):
        asked: list[int] = []

        def stop(asked: list[int] = asked) -> bool:
            asked.append(0)
            return len(asked) > 2

        status = end(run_cell(cell, tmp_path, "cpu", stop))
        assert (status["status"], status["reason"]) == ("interrupted", None)
    assert status["g_steps"] > 0
    path = tmp_path / "cells" / cell.key
    assert (path / "checkpoint.pt").exists()
    assert end(run_cell(cell, tmp_path, "cpu"))["resumes"] == again
    assert numbers(path) == numbers(whole)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("where", ["evaluate", "layer_rows", "save_samples"])
def test_an_interruption_while_measuring_measures_again(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, at: int
) -> None:
    function, calls = getattr(runner, where), []

    def interrupting(*arguments: Any) -> Any:
        calls.append(0)
        if len(calls) == at + 1:
            raise Interrupted
        return function(*arguments)

    monkeypatch.setattr(runner, where, interrupting)
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert (status["status"], status["g_steps"]) == ("interrupted", 3 * at)
    assert end(run_cell(cell, tmp_path, "cpu"))["status"] == "done"
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


def test_an_interruption_at_the_very_end_has_nothing_left_to_train(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupting(path: Path, snapshot: Snapshot) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(runner, "save_generator", interrupting)
        assert end(run_cell(cell, tmp_path, "cpu"))["status"] == "interrupted"
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert (status["status"], status["resumes"]) == ("done", 1)
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
    assert (status["resumes"], status["warnings"]) == (1, ["checkpoint.pt is damaged"])
    assert read_json(path / "environment.json")["resumes"][0]["g_steps"] == 2
    assert numbers(path) == numbers(whole)


def test_without_a_whole_checkpoint_the_cell_starts_anew_and_says_so(cell: Cell, whole: Path, tmp_path: Path) -> None:
    cut_at(cell, tmp_path, 4)
    path = tmp_path / "cells" / cell.key
    for name in ("checkpoint.pt", "checkpoint.before.pt"):
        truncate(path / name)
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert status["resumes"] == 0
    assert status["warnings"] == ["checkpoint.pt is damaged", "checkpoint.before.pt is damaged"]
    assert numbers(path) == numbers(whole)


@pytest.mark.parametrize("name", ["evals.jsonl", "steps.jsonl", "layers.jsonl"])
def test_rows_that_were_cut_or_changed_are_written_again(cell: Cell, whole: Path, tmp_path: Path, name: str) -> None:
    cut_at(cell, tmp_path, 6)
    path = tmp_path / "cells" / cell.key
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-5])  # a line cut short
    status = end(run_cell(cell, tmp_path, "cpu"))
    assert status["warnings"]
    assert all(name in warning for warning in status["warnings"])
    assert numbers(path) == numbers(whole)


def test_a_row_written_after_the_checkpoint_is_dropped(cell: Cell, whole: Path, tmp_path: Path) -> None:
    cut_at(cell, tmp_path, 4)
    path = tmp_path / "cells" / cell.key
    for file in path.glob("*.jsonl"):
        with file.open("a") as rows:
            rows.write(json.dumps({"schema": 1, "g_step": 4, "cut": "sho"})[:-4])
    assert end(run_cell(cell, tmp_path, "cpu"))["resumes"] == 1
    assert numbers(path) == numbers(whole)


def test_other_code_or_another_evaluation_starts_anew(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(cell, tmp_path, 4)
    other = replace(cell, evaluation=cell.evaluation | {"schedule": [0, 1]})
    cut_at(other, tmp_path, 4)
    found = read_json(tmp_path / "cells" / cell.key / "status.json")
    assert (found["resumes"], found["warnings"]) == (
        0,
        ["checkpoint.pt is of other evaluation options", "checkpoint.before.pt is of other evaluation options"],
    )
    assert end(run_cell(other, tmp_path, "cpu", force=True))["warnings"] == []


def test_a_dataset_that_has_vanished_leaves_its_cell_to_the_next_run(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(cell, tmp_path, 4)

    def gone(choice: Choice) -> Any:
        raise FileNotFoundError(2, "No such file or directory", "/data/gone")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "make_dataset", gone)
        status = end(run_cell(cell, tmp_path, "cpu"))
    assert status["status"] == "interrupted"
    assert status["reason"].startswith("dataset gaussians8: [Errno 2] No such file or directory: '/data/gone'")
    assert end(run_cell(cell, tmp_path, "cpu"))["resumes"] == 1
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


def test_a_full_disk_stops_the_run_and_loses_nothing(
    cell: Cell, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, rows: Any) -> None:
        raise OSError(28, "No space left on device")

    cut_at(cell, tmp_path, 4)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "append_rows", full)
        with pytest.raises(UserError, match="No space left on device; what is committed stays"):
            end(run_cell(cell, tmp_path, "cpu"))
    assert end(run_cell(cell, tmp_path, "cpu"))["status"] == "done"
    assert numbers(tmp_path / "cells" / cell.key) == numbers(whole)


def test_the_clocks_go_on_and_add_up(cell: Cell, tmp_path: Path) -> None:
    cut_at(cell, tmp_path, 4)
    first = torch.load(
        io.BytesIO((tmp_path / "cells" / cell.key / "checkpoint.pt").read_bytes()[65:]), weights_only=True
    )["status"]
    status = end(run_cell(cell, tmp_path, "cpu"))
    for clock in CLOCKS[:4]:
        assert status[clock] > first[clock] > 0
    assert status["other_seconds"] > 0
    assert status["started"] == first["started"]
    assert status["attempt"] != first["attempt"]
