"""Matrices run to their end by real worker processes, and what an unhappy cell, a killed worker or
a signal leaves."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cli import main as cli
from benchmark.errors import UserError
from benchmark.machine import devices, memory
from benchmark.matrix import files as matrix_files
from benchmark.matrix import recall
from benchmark.matrix.cell import Cell, cell_from_spec
from benchmark.matrix.expand import expand
from benchmark.metrics import METRICS, column
from benchmark.run import prepare as prepare_module
from benchmark.run.cell import cell_run
from benchmark.run.cell.cell_run import run_cell
from benchmark.run.plan import estimate, pending
from benchmark.run.prepare import matrix_file as matrix_record
from benchmark.run.prepare import prepare
from benchmark.store.code import ROOT
from benchmark.store.files import check_committed, read_json, read_rows, write_bytes
from benchmark.store.layout import ResultSet
from benchmark.store.schema import RunStatus, Status
from benchmark.train import build
from benchmark.train import loop as train_module
from benchmark.train.data import make_dataset
from benchmark.train.loop import train
from benchmark.train.snapshot import Snapshot
from tests.conftest import Ended, matrix_text
from tests.helpers.pool import words
from variants.datasets import download
from variants.objectives import nonsaturating

COMMON = ("--device", "cpu", "--jobs", "1")
MISSING = Status(status=RunStatus.MISSING)


def statuses(folder: Path) -> dict[str, str]:
    """Status of every cell the matrix lists, by objective and seed."""
    results = ResultSet(folder)
    found = {}
    for entry in results.matrix.cells:
        status = read_json(results.cell(entry.key).status_file)
        found[f"{entry.objective} {entry.seed}"] = status.get("status", "missing")
    return found


def last_status(events: Iterator[Any]) -> Status:
    """How a cell ended."""
    *_, last = events
    return last.status


def written(folder: Path) -> dict[str, int]:
    """When each file of the cells was last written."""
    return {
        str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.glob("cells/**/*")
    }


# A matrix that goes well


@dataclass
class Finished:
    matrix: Path
    results: Path
    ended: int

    @property
    def folder(self) -> Path:
        return self.results / self.matrix.stem


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two objectives and two seeds, run by two workers."""
    folder = tmp_path_factory.mktemp("finished")
    path = folder / "well.toml"
    path.write_text(
        matrix_text(objectives='objectives = ["nonsaturating", "wgan_gp"]', seeds="seeds = 2")
    )
    before, code = sys.argv, 0
    options = ["--matrix", str(path), "--results", str(folder), "--device", "cpu", "--jobs", "2"]
    sys.argv = ["ganbench", "run", *options]
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    return Finished(path, folder, code)


def test_a_finished_matrix_has_every_file_of_every_cell(finished: Finished) -> None:
    assert finished.ended == 0
    listed = read_json(finished.folder / "matrix.json")["cells"]
    assert len(listed) == len(list(finished.folder.glob("cells/*"))) == 4
    for cell in listed:
        path = finished.folder / "cells" / cell["key"]
        assert sorted(
            file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()
        ) == [
            ".lock",
            "environment.json",
            "evals.jsonl",
            "first_steps.jsonl",
            "generator.pt",
            "layers.jsonl",
            "samples/000000.npz",
            "samples/000020.npz",
            "spec.json",
            "status.json",
            "steps.jsonl",
        ]
        for name in ("spec", "environment", "status"):
            assert json.loads((path / f"{name}.json").read_text())["schema"] == 1
        spec = read_json(path / "spec.json")
        assert cell_from_spec(spec).key == cell["key"] == spec["key"]


def test_statuses_count_what_was_done(finished: Finished) -> None:
    for path in finished.folder.glob("cells/*"):
        status = read_json(path / "status.json")
        critic_steps = 5 if path.name.startswith("wgan_gp") else 1
        assert (status["status"], status["reason"], status["onset"]) == ("done", None, None)
        assert (status["g_steps"], status["samples_seen"]) == (20, 20 * 8 * critic_steps)
        assert status["train_seconds"] > 0
        assert status["eval_seconds"] > 0
        assert status["peak_memory_mb"] > 10
        assert (status["precision"], status["layout"]) == ("float32", "contiguous")
        # 3 hidden layers of 8 units between 2 inputs and 2 or 1 outputs
        assert status["parameters"] == {
            "generator": (2 + 1) * 8 + 2 * (8 + 1) * 8 + (8 + 1) * 2,
            "discriminator": (2 + 1) * 8 + 2 * (8 + 1) * 8 + (8 + 1),
        }
        lr = 1e-4 if critic_steps == 5 else 2e-4
        assert (status["recipe"]["optimizer"], status["recipe"]["lr"]) == ("adam", lr)


def test_rows_stand_where_the_matrix_wants_them(finished: Finished) -> None:
    protocol = read_json(finished.folder / "protocols.json")["gaussians8"]["protocol"]
    for path in finished.folder.glob("cells/*"):
        evals, steps = list(read_rows(path / "evals.jsonl")), list(read_rows(path / "steps.jsonl"))
        metrics = [column(name, 200) for name, row in METRICS.items() if "points" in row.modality]
        assert [(row["g_steps"], row["metric"]) for row in evals] == [
            (g, name) for g in (0, 20) for name in metrics
        ]
        assert {(row["n"], row["protocol"]) for row in evals} == {(200, protocol)}
        assert all(np.isfinite(row["value"]) for row in evals)
        assert [row["g_step"] for row in steps] == [5, 10, 15, 20]
        assert all(np.isfinite(row["d_loss"]) and np.isfinite(row["g_loss"]) for row in steps)
        assert all(np.isnan(row["penalty"]) != path.name.startswith("wgan_gp") for row in steps)
        with np.load(path / "samples" / "000020.npz") as samples:
            assert samples["samples"].shape == (1000, 2)


def test_seeds_differ_and_objectives_start_alike(finished: Finished) -> None:
    def first(objective: str, seed: int) -> np.ndarray:
        (path,) = finished.folder.glob(f"cells/{objective}-*-seed{seed}-*")
        with np.load(path / "samples" / "000000.npz") as samples:
            return samples["samples"]

    assert np.array_equal(first("nonsaturating", 0), first("wgan_gp", 0))
    assert not np.array_equal(first("nonsaturating", 0), first("nonsaturating", 1))


def test_the_environment_names_no_machine_and_no_user(finished: Finished) -> None:
    for path in finished.folder.glob("cells/*/environment.json"):
        text = path.read_text().lower()
        private = {
            socket.gethostname(),
            os.environ.get("HOSTNAME", ""),
            str(Path.home()),
            str(ROOT),
            str(path.parent),
        }
        # Too short and common a word to look for
        if getpass.getuser() != "root":
            private.add(getpass.getuser())
        assert [name for name in private if len(name) > 3 and name.lower() in text] == []
        assert json.loads(text)["versions"]["torch"] == version("torch")
        assert json.loads(text)["threads"] == 1


@pytest.mark.slow
def test_seeds_trained_as_a_stack_are_those_trained_alone(
    matrix_file: Callable[..., Path], ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    path = matrix_file(objectives='objectives = ["wgan_gp"]', seeds="seeds = 3")
    ended = ganbench("run", "--matrix", path, "--results", tmp_path, *COMMON, "--stack", 3)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "tiny: 3 done"), ended.err

    def rows(folder: Path) -> list[dict[str, Any]]:
        found = [*read_rows(folder / "steps.jsonl"), *read_rows(folder / "evals.jsonl")]
        return [row | {"train_seconds": 0.0} for row in found]

    num_metrics = sum("points" in row.modality for row in METRICS.values())
    for cell in expand(matrix_files.read(path).matrix):
        assert last_status(run_cell(cell, tmp_path / "alone", "cpu")).execution.stack == 1
        alone = tmp_path / "alone" / "cells" / cell.key
        stacked = tmp_path / "tiny" / "cells" / cell.key
        assert read_json(stacked / "status.json")["execution"]["stack"] == 3
        assert len(rows(stacked)) == 4 + 2 * num_metrics
        for ours, theirs in zip(rows(stacked), rows(alone), strict=True):
            assert ours.keys() == theirs.keys()
            for name, value in theirs.items():
                if isinstance(value, float):
                    value = pytest.approx(value, rel=1e-3, abs=1e-6, nan_ok=True)
                assert ours[name] == value


def test_a_second_run_does_nothing(finished: Finished, ganbench: Callable[..., Ended]) -> None:
    before = written(finished.folder)
    ended = ganbench("run", "--matrix", finished.matrix, "--results", finished.results, *COMMON)
    assert ended.code == 0
    assert "4 cells, 0 to run" in ended.out
    assert f"next: ganbench report --matrix {finished.matrix} --results " in ended.err
    of_finished = ("--matrix", finished.matrix, "--results", finished.results, *COMMON)
    ended = ganbench("run", *of_finished, "--dry-run")
    assert ended.out.endswith("\nnothing is left to run\n")
    assert written(finished.folder) == before


def test_only_missing_and_unfinished_cells_are_run_again(
    finished: Finished, ganbench: Callable[..., Ended]
) -> None:
    (missing,) = finished.folder.glob("cells/nonsaturating-*-seed0-*")
    (unfinished,) = finished.folder.glob("cells/wgan_gp-*-seed1-*")
    # Done, but its last evaluation did not reach the disk
    (cut,) = finished.folder.glob("cells/wgan_gp-*-seed0-*")
    evals = {path.name: (path / "evals.jsonl").read_text() for path in (missing, unfinished, cut)}
    (cut / "evals.jsonl").write_text("".join(evals[cut.name].splitlines(keepends=True)[:5]))
    shutil.rmtree(missing)
    status = json.loads((unfinished / "status.json").read_text()) | {"status": "running"}
    (unfinished / "status.json").write_text(json.dumps(status))
    with (unfinished / "evals.jsonl").open("a") as file:
        file.write('{"half a line')
    before = written(finished.folder)
    ended = ganbench("run", "--matrix", finished.matrix, "--results", finished.results, *COMMON)
    assert (ended.code, "4 cells, 3 to run" in ended.out) == (0, True)
    assert set(statuses(finished.folder).values()) == {"done"}
    after = written(finished.folder)
    touched = {name.split("/")[1] for name in after if before.get(name) != after[name]}
    assert touched == {missing.name, unfinished.name, cut.name}
    # The same numbers again, apart from the clock
    for path in (missing, unfinished, cut):
        again = list(read_rows(path / "evals.jsonl"))
        first = [json.loads(line) for line in evals[path.name].splitlines()]
        assert [row | {"train_seconds": 0} for row in again] == [
            row | {"train_seconds": 0} for row in first
        ]


@pytest.mark.slow
def test_force_runs_committed_cells_again(
    finished: Finished, ganbench: Callable[..., Ended]
) -> None:
    before = written(finished.folder)
    only = "objective=wgan_gp seed=0"
    common = ("run", "--matrix", finished.matrix, "--results", finished.results, *COMMON)
    ended = ganbench(*common, "--force", "--only", only)
    assert (ended.code, "1 cell, 1 to run" in ended.out) == (0, True)
    after = written(finished.folder)
    (path,) = finished.folder.glob("cells/wgan_gp-*-seed0-*")
    assert {name.split("/")[1] for name in after if before.get(name) != after[name]} == {path.name}
    assert len(read_json(finished.folder / "matrix.json")["cells"]) == 4


# Cells that do not go well

OBJECTIVE = '''"""Planted: {name}."""

import os
import signal
import time
from pathlib import Path

from variants.objectives import nonsaturating


class Objective(nonsaturating.Objective):
    g_step = 0

    def d_steps(self, g_step):
        self.g_step = g_step + 1
        return 1

    def g_loss(self, D, real, fake, noise=None):
        loss = super().g_loss(D, real, fake, noise)
        if self.g_step == 7{condition}:
            {action}
        return loss
'''
# What happens at the seventh generator step
ACTIONS = {
    "exploding": ("", "loss = loss * float('nan')"),
    "raising": (" and 'MENDED' not in os.environ", "raise RuntimeError('planted\\n  fault')"),
    "vanishing": (" and 'MENDED' not in os.environ", "os.kill(os.getpid(), signal.SIGKILL)"),
    "waiting": (
        " and 'MENDED' not in os.environ",
        "Path(os.environ['MARKER']).write_text(str(os.getpid())); time.sleep(120)",
    ),
}


@dataclass
class Planted:
    """A copy of the project with objectives that misbehave, and a matrix over them."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "results" / "ill"

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        options = "--matrix ill.toml --results results"
        command = [sys.executable, "-m", "benchmark", "run", *options.split()]
        variables = {key: value for key, value in os.environ.items() if key != "MENDED"}
        variables |= {"PYTHONPATH": str(self.root), "MARKER": str(self.root / "marker")}
        return subprocess.Popen(
            [*command, *COMMON, *arguments],
            cwd=self.root,
            env=variables | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A background job of a shell ignores the signal
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def until_waiting(self, driver: subprocess.Popen[str]) -> int:
        """Waits until a worker is in mid-cell; its process id."""
        marker, deadline = self.root / "marker", time.monotonic() + 120
        while not (marker.exists() and marker.read_text()):
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        worker = int(marker.read_text())
        marker.unlink()
        return worker

    def status(self, objective: str) -> dict[str, Any]:
        (path,) = self.folder.glob(f"cells/{objective}-*")
        return read_json(path / "status.json")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    root = tmp_path_factory.mktemp("planted")
    for package in ("benchmark", "variants"):
        shutil.copytree(ROOT / package, root / package)
    for name, (condition, action) in ACTIONS.items():
        text = OBJECTIVE.format(name=name, condition=condition, action=action)
        (root / "variants" / "objectives" / f"{name}.py").write_text(text)
    names = ["exploding", "raising", "vanishing", "lsgan", "waiting", "nonsaturating"]
    (root / "ill.toml").write_text(matrix_text(objectives=f"objectives = {json.dumps(names)}"))
    return Planted(root)


def gone(process: int) -> bool:
    """Whether a process has ended (or is about to: a zombie)."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.fixture(scope="module")
def interrupted(planted: Planted) -> Planted:
    """The matrix, run until Ctrl-C. Tests only read its results."""
    driver = planted.start()
    worker = planted.until_waiting(driver)
    # As a terminal does: to the driver and its workers
    os.killpg(driver.pid, signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert err.splitlines()[-1].startswith("ganbench: interrupted; run again")
    assert "Traceback" not in err
    assert gone(worker)
    assert statuses(planted.folder) == {
        "exploding 0": "diverged",
        "raising 0": "error",
        "vanishing 0": "error",
        "lsgan 0": "done",
        "waiting 0": "interrupted",
        "nonsaturating 0": "missing",
    }
    return planted


def test_a_diverging_cell_ends_at_its_onset(interrupted: Planted) -> None:
    status = interrupted.status("exploding")
    assert (status["status"], status["onset"]) == ("diverged", 7)
    assert status["reason"]
    (path,) = interrupted.folder.glob("cells/exploding-*")
    assert [row["g_step"] for row in read_rows(path / "steps.jsonl")] == [5, 10]
    assert {row["g_steps"] for row in read_rows(path / "evals.jsonl")} == {0}


def test_a_raising_cell_keeps_its_reason_and_its_traceback(interrupted: Planted) -> None:
    assert interrupted.status("raising")["reason"] == "RuntimeError: planted fault"
    (path,) = interrupted.folder.glob("cells/raising-*")
    assert "variants/objectives/raising.py" in (path / "traceback.txt").read_text()


def test_a_killed_worker_ends_its_cell_and_not_the_run(interrupted: Planted) -> None:
    reason = interrupted.status("vanishing")["reason"]
    assert reason.startswith("the worker was killed (signal 9): most often for lack of memory")
    # The next cell, by a new worker
    assert interrupted.status("lsgan")["status"] == "done"


def test_only_interrupted_and_missing_cells_are_pending(interrupted: Planted) -> None:
    listed = [read_json(path) for path in interrupted.folder.glob("cells/*/spec.json")]
    cells = {spec["key"]: cell_from_spec(spec) for spec in listed}
    known = {key: ResultSet(interrupted.folder).cell(key).status for key in cells}

    def names(force: bool = False, retry_errors: bool = False) -> set[str]:
        chosen = pending(cells, known, force=force, retry_errors=retry_errors)
        return {cell.objective.name for cell in chosen.values()}

    assert names() == {"waiting"}
    assert names(retry_errors=True) == {"waiting", "raising", "vanishing"}
    assert names(force=True) == {"waiting", "raising", "vanishing", "exploding", "lsgan"}


def test_an_interrupted_matrix_is_interrupted_again_run_to_its_end_and_mended(
    interrupted: Planted, tmp_path: Path
) -> None:
    root = tmp_path / "planted"
    shutil.copytree(interrupted.root, root)
    planted = Planted(root)
    sigterm_stops_the_run_and_its_workers(planted)
    the_next_run_finishes_and_fails_for_the_errors(planted)
    errors_are_retried_on_request_and_divergence_is_no_failure(planted)


def sigterm_stops_the_run_and_its_workers(planted: Planted) -> None:
    driver = planted.start()
    worker = planted.until_waiting(driver)
    driver.terminate()
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "6 cells, 2 to run" in out
    assert gone(worker)
    assert planted.status("waiting")["status"] == "interrupted"


def the_next_run_finishes_and_fails_for_the_errors(planted: Planted) -> None:
    driver = planted.start(MENDED="1")
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 1, err
    assert "6 cells, 2 to run" in out
    found = statuses(planted.folder)
    assert found["waiting 0"] == found["nonsaturating 0"] == "done"
    assert found["raising 0"] == found["vanishing 0"] == "error"


def errors_are_retried_on_request_and_divergence_is_no_failure(planted: Planted) -> None:
    driver = planted.start("--retry-errors", MENDED="1")
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, err
    assert "6 cells, 2 to run" in out
    assert "5 done, 1 diverged" in out
    assert not list(planted.folder.glob("cells/*/traceback.txt"))


# A worker by itself


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    """A cell that trains in a moment."""
    path = tmp_path / "tiny.toml"
    path.write_text(matrix_text())
    (cell,) = expand(matrix_files.read(path).matrix)
    return cell


def test_samples_that_are_not_finite_are_divergence(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*arguments: Any) -> Iterator[Snapshot]:
        for snapshot in train(*arguments):
            if snapshot.progress.share == 1:
                next(snapshot.G.parameters()).data.fill_(torch.inf)
            yield snapshot

    monkeypatch.setattr(cell_run, "train", poisoned)
    *events, last = run_cell(cell, tmp_path, "cpu", checkpoint_every=0)
    status = last.status
    assert (status.status, status.onset) == ("diverged", 20)
    assert status.reason == "the generated samples are not finite"
    rows = read_rows(tmp_path / "cells" / cell.key / "evals.jsonl")
    assert {row["g_steps"] for row in rows} == {0}
    shares = [0.0, *(step / 20 for step in range(20))]
    assert [event.status.progress for event in events] == shares
    assert words(events) == ["running"] * 21
    assert [event.status.status for event in events] == ["running"] * 21


def test_what_cannot_be_measured_is_refused_before_training(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(matrix_text(evaluation="[evaluation]\nn = { points = 20_001 }"))
    config, description = matrix_files.read(path)
    cells = expand(config)
    record = matrix_record("tiny", description, config, cells)
    with pytest.raises(UserError, match="20001, but only 20000 points are held out") as caught:
        prepare(ResultSet(tmp_path / "results"), record, cells, "cpu")
    assert "gaussians8" in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_images_that_were_left_out_are_counted_and_named(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_split, held = make_dataset(cell.dataset).splits
    splits = (
        replace(train_split, corrupt=tuple(f"{i}.png" for i in range(25))),
        replace(held, corrupt=("h.png",)),
    )
    texts = {"source": "", "licence": "", "split": "", "note": ""}
    dataset = SimpleNamespace(splits=splits, shape=(2,), modality="points", **texts)
    monkeypatch.setattr(prepare_module, "load_dataset", lambda choice: dataset)
    config, description = matrix_files.read(tmp_path / "tiny.toml")
    results = ResultSet(tmp_path / "results")
    prepare(results, matrix_record("tiny", description, config, [cell]), [cell], "cpu")
    (entry,) = [v for v in read_json(results.protocols_file).values() if isinstance(v, dict)]
    assert entry["dataset"]["corrupt"] == {"n": 26, "names": [f"{i}.png" for i in range(20)]}
    assert entry["dataset"]["shape"] == [2]
    assert results.protocols["gaussians8"].plain() == entry


def test_held_out_samples_are_kept_for_pictures(cell: Cell, tmp_path: Path) -> None:
    config, description = matrix_files.read(tmp_path / "tiny.toml")
    results = ResultSet(tmp_path / "results")
    record = matrix_record("tiny", description, config, [cell])
    prepare(results, record, [cell], "cpu")
    ((name, committed),) = results.protocols["gaussians8"].real.items()
    file = results.path / "real" / name
    before = file.read_bytes()
    check_committed(file, before, committed)
    with np.load(file) as kept:
        points = {tuple(point) for point in kept["samples"]}
    assert len(points) == 1000
    held = make_dataset(cell.dataset).splits[1].samples
    assert points < {tuple(point) for point in held.numpy()}
    prepare(results, record, [cell], "cpu")
    assert file.read_bytes() == before


def test_an_estimate_downloads_nothing(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = []

    def loading(choice: Any) -> Any:
        with pytest.raises(OSError, match="nothing is downloaded here") as caught:
            download("MNIST", tmp_path)
        refusals.append(caught)
        raise OSError("not on this machine")

    monkeypatch.delenv("GANBENCH_OFFLINE", raising=False)
    monkeypatch.setattr(recall, "_kept", lambda: None)
    monkeypatch.setattr(build, "open_workbench", loading)
    assert estimate({cell.key: cell}, {cell.key: MISSING}, "cpu") == {cell.key: None}
    assert len(refusals) == 1
    assert "GANBENCH_OFFLINE" not in os.environ


def test_an_estimate_trains_with_one_thread(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a small step wait for one another on a busy machine: seconds a step."""
    seen = []

    def watched(*arguments: Any, **options: Any) -> Iterator[Snapshot]:
        seen.append(torch.get_num_threads())
        yield from train(*arguments, **options)

    monkeypatch.setattr(train_module, "train", watched)
    monkeypatch.setattr(recall, "_kept", lambda: None)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        estimate({cell.key: cell}, {cell.key: MISSING}, "cpu")
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


# Memory

CUDA = (
    "CUDA out of memory. Tried to allocate 1.95 GiB. GPU 0 has a total capacity of 14.57 GiB of "
    "which 1.58 GiB is free. Process 2493055 has 12.02 GiB memory in use. Including non-PyTorch "
    "memory, this process has 966.00 MiB memory in use. Of the allocated memory 734.07 MiB is "
    "allocated by PyTorch, and 33.93 MiB is reserved by PyTorch but unallocated. If reserved but "
    "unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid "
    "fragmentation.  See documentation for Memory Management  "
    "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
)


def test_out_of_memory_names_the_sizes_and_what_to_change() -> None:
    message = memory.out_of_memory(torch.OutOfMemoryError(CUDA), "cuda:0")
    assert message == (
        "out of memory on cuda:0: 1.95 GiB more asked for, 734.07 MiB in use by this process, "
        "1.58 GiB of 14.57 GiB free; try a smaller training.batch_size or width, precision = bf16, "
        "or fewer cells at a time (--jobs)"
    )
    other = memory.out_of_memory(
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `f(h)`"), "cuda:0"
    )
    assert other
    assert "CUBLAS_STATUS_ALLOC_FAILED" in other
    assert memory.out_of_memory(RuntimeError("shapes cannot be multiplied"), "cuda:0") is None


def test_a_cell_out_of_memory_ends_as_an_error_and_leaves_its_memory(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[weakref.ref[Any]] = []

    def g_loss(
        self: Any, D: Any, real: torch.Tensor, fake: torch.Tensor, noise: Any = None
    ) -> torch.Tensor:
        left.extend(map(weakref.ref, (real, fake)))
        if len(left) > 8:
            raise torch.OutOfMemoryError(CUDA)
        return -D(fake).mean()

    with monkeypatch.context() as patch:
        patch.setattr(nonsaturating.Objective, "g_loss", g_loss)
        status = last_status(run_cell(cell, tmp_path, "cpu"))
    assert status.status == "error"
    message = "out of memory on cpu: 1.95 GiB more asked for, 734.07 MiB in use"
    assert status.reason.startswith(message)
    assert "g_loss" in (tmp_path / "cells" / cell.key / "traceback.txt").read_text()
    # As the next cell begins
    memory.release_memory("cpu")
    assert len(left) == 10
    assert not any(reference() is not None for reference in left)
    known = {cell.key: ResultSet(tmp_path).cell(cell.key).status}
    assert pending({cell.key: cell}, known, force=False, retry_errors=False) == {}
    assert pending({cell.key: cell}, known, force=False, retry_errors=True) == {cell.key: cell}
    assert last_status(run_cell(cell, tmp_path, "cpu")).status == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="the figures are Linux's")
def test_a_batch_beyond_any_memory_is_out_of_memory_on_a_cpu_too(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index of 8 PB is beyond a processor's address space: the allocator refuses it at once."""
    # Beyond what a matrix may ask for
    training = cell.training.model_copy(update={"batch_size": 10**15})
    absurd = replace(cell, training=training)
    status = last_status(run_cell(absurd, tmp_path, "cpu"))
    assert status.status == "error"
    assert status.reason.startswith("out of memory on cpu: 7,450,580.60 GiB more asked for, ")
    assert "GiB in use by this process" in status.reason
    # An estimate trains, too: here with the error of the same allocator
    error = next(iter((tmp_path / "cells").glob("*/traceback.txt"))).read_text().splitlines()[-1]
    error = error.removeprefix("RuntimeError: ")

    def refused(*arguments: Any, **options: Any) -> None:
        raise RuntimeError(error)

    monkeypatch.setattr(train_module, "train", refused)
    monkeypatch.setattr(recall, "_kept", lambda: None)
    with pytest.raises(UserError, match=r"out of memory on cpu: 7,450,580\.60 GiB more asked for"):
        estimate({cell.key: cell}, {cell.key: MISSING}, "cpu")


def test_peak_memory_is_the_greatest_of_the_training_alone(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted anew from each snapshot on: without the warm-up (1000 here) and what measuring
    takes."""
    counted, peaks = [1000.0], iter([7.0, 30.0, 20.0, 10.0])
    monkeypatch.setattr(cell_run, "release_memory", lambda device: None)
    monkeypatch.setattr(cell_run, "reset_peak_memory", lambda device: counted.__setitem__(0, 0.0))
    monkeypatch.setattr(train_module, "peak_memory_mb", lambda device: counted[0] + next(peaks))
    monkeypatch.setattr(cell_run, "REPORT_EVERY", float("inf"))
    assert last_status(run_cell(cell, tmp_path, "cpu")).peak_memory_mb == 30.0


# Devices


@pytest.mark.parametrize(
    ("device", "jobs", "expected"),
    [
        ("auto", 0, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", 2, ["cuda:0", "cuda:1"]),
        ("auto", 7, ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1", "cuda:2", "cuda:0"]),
        ("cuda:2,cuda:0", 0, ["cuda:2", "cuda:0"]),
        ("cuda:1", 3, ["cuda:1"] * 3),
        ("cpu", 2, ["cpu"] * 2),
    ],
)
def test_workers_take_the_devices_in_turn(
    device: str, jobs: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_may_have_gpus", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices.devices_of(device, jobs) == expected


def test_named_devices_without_a_worker_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(
        UserError,
        match=r"--jobs 1 leaves cuda:2 of --device cuda:0,cuda:2 without a worker; .* 2 jobs",
    ):
        devices.devices_of("cuda:0,cuda:2", 1)
    with pytest.raises(
        UserError, match=r"'cuda:3' .*valid: auto, cpu, cuda:0, cuda:1, cuda:2, cuda"
    ):
        devices.devices_of("cuda:3", 0)


def test_mps_is_taken_by_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="unknown device 'mps'"):
        devices.devices_of("mps", 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.devices_of("mps", 0) == ["mps"]
    assert set(devices.devices_of("auto", 2)) == {"cpu"}


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "in_the_way").mkdir()
    with pytest.raises(OSError, match="in_the_way"):
        write_bytes(tmp_path / "in_the_way", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["in_the_way"]
