"""Exports, read back through each tracker's own reader and compared with the JSONL files."""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from benchmark.export import news as module
from benchmark.export.base import open_tracker, place_of
from benchmark.store.files import append_rows, read_rows
from tests.helpers import synthetic

Series = dict[
    tuple[str, str], list[tuple[int, float]]
]  # (run, series) -> (generator step, value), as they were written
STARTED, LATER = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"


def read_tensorboard(place: Path) -> Series:
    accumulators = import_module("tensorboard.backend.event_processing.event_accumulator")
    found: Series = {}
    for folder in {file.parent for file in place.rglob("*tfevents*")}:
        events = accumulators.EventAccumulator(
            str(folder), size_guidance={"scalars": 0, "images": 0}
        ).Reload()
        for series in events.Tags()["scalars"]:
            found[folder.name, series] = [
                (event.step, event.value) for event in events.Scalars(series)
            ]
        for series in events.Tags()["images"]:
            found[folder.name, series] = [
                (event.step, len(event.encoded_image_string)) for event in events.Images(series)
            ]
    return found


def mlflow_runs(place: Path | str) -> tuple[Any, list[Any]]:
    uri = place if isinstance(place, str) else f"sqlite:///{place}/mlflow.db"
    client = import_module("mlflow").MlflowClient(tracking_uri=uri)
    (experiment,) = (e for e in client.search_experiments() if e.name == "tiny")
    return client, list(client.search_runs([experiment.experiment_id]))


def read_mlflow(place: Path | str) -> Series:
    client, runs = mlflow_runs(place)
    found: Series = {}
    for run in runs:
        for series in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, series)
            found[run.info.run_name, series] = sorted(
                (metric.step, metric.value) for metric in history
            )
        sheets = client.list_artifacts(run.info.run_id, "samples")
        if sheets:
            found[run.info.run_name, "samples"] = [
                (int(Path(s.path).stem), s.file_size) for s in sheets
            ]
    return found


def wandb_records(file: Path) -> list[Any]:
    """A .wandb file: a LevelDB log (32 KiB blocks; crc, length, type; whole, first, middle, last)
    of Records."""
    record = import_module("wandb.proto.wandb_internal_pb2").Record
    content, at, parts, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(record.FromString(parts))
            parts = b""
    return found


def read_wandb(place: Path) -> Series:
    names: dict[str, str] = {}
    found: Series = defaultdict(list)
    for file in sorted(
        place.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns
    ):
        for record in wandb_records(file):
            if record.HasField("run"):
                names[file.stem] = record.run.display_name
            if record.HasField("history"):
                row = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                for series, value in row.items():
                    if series == "samples.size":
                        found[names[file.stem], "samples"].append((row["g_step"], value))
                    elif not series.startswith(("_", "samples.")) and series != "g_step":
                        found[names[file.stem], series].append((row["g_step"], float(value)))
    return found


TRACKERS: dict[str, tuple[str, str, Callable[[Any], Series]]] = {  # name -> library, place, reader
    "tensorboard": ("tensorboard", "", read_tensorboard),
    "mlflow": ("mlflow", "file", read_mlflow),
    "mlflow in a database": ("sqlalchemy", "", read_mlflow),
    "wandb": ("wandb", "", read_wandb),
}
SLOW = ("mlflow in a database",)  # making its tables takes 10 s


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TRACKERS]
)
def each(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Export":
    library, store, read = TRACKERS[request.param]
    if not find_spec(library):
        pytest.skip(f"{library} is not installed")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    name = request.param.partition(" ")[0]
    return Export(results(tmp_path), name, f"file://{tmp_path}/store" if store else "", read)


@pytest.fixture
def tensorboard(tmp_path: Path) -> "Export":
    pytest.importorskip("tensorboard")
    return Export(results(tmp_path), "tensorboard", "", read_tensorboard)


class Export:
    """A result set and a tracker."""

    def __init__(self, folder: Path, name: str, to: str, read: Callable[[Any], Series]) -> None:
        self.folder, self.name, self.to = folder, name, to
        self.place = place_of(name, to, folder)
        self.read = lambda: read(self.place)
        self.looks = lambda **options: module.export(
            folder, open_tracker(name, self.place, folder.name), **options
        )
        self.keys = [
            cell["key"] for cell in json.loads((folder / "matrix.json").read_text())["cells"]
        ]

    def run(self, **options: Any) -> dict[str, int]:
        (wrote,) = self.looks(**options)
        return dict(wrote)

    def cell(self, i: int) -> Path:
        return self.folder / "cells" / self.keys[i]

    def expected(self, *cells: int) -> Series:
        found: Series = {}
        for path in map(self.cell, cells):
            steps, evals = (
                list(read_rows(path / "steps.jsonl")),
                list(read_rows(path / "evals.jsonl")),
            )
            values = [
                (r["g_step"], name, v)
                for r in steps
                for name, v in r.items()
                if name not in ("schema", "g_step")
            ]
            values += [(r["g_steps"], r["metric"], r["value"]) for r in evals]
            values += {(r["g_steps"], "train_seconds", r["train_seconds"]) for r in evals}
            logged = {r["g_step"] for r in steps}
            values += {
                (r["g_steps"], "samples_seen", r["samples_seen"])
                for r in evals
                if r["g_steps"] not in logged
            }
            values += [
                (int(s.stem), "samples", s.stat().st_size) for s in path.glob("samples/*.png")
            ]
            for step, name, value in sorted(values, key=lambda value: value[0]):
                if value is not None:
                    found.setdefault((path.name, name), []).append((step, value))
        return found

    def check(self, *cells: int) -> None:
        """What the tracker holds is what the files of these cells hold, no more and no less."""
        same(self.read(), self.expected(*cells))


def same(found: Series, expected: Series) -> None:
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in points], name
        values, wanted = ([value for _, value in side] for side in (found[name], points))
        np.testing.assert_allclose(
            values, wanted, rtol=1e-6, err_msg=str(name)
        )  # TensorBoard's are float32


def results(tmp_path: Path) -> Path:
    """Four cells: done on points, diverged on points, done on images, an error before any row. More
    values per cell than MLflow takes at once."""
    folder = synthetic.write(
        tmp_path / "tiny", objectives=["wgan_gp", "lsgan"], seeds=[0], evaluations=3, steps=90,
        status={("lsgan", "gaussians8", 0): "diverged", ("lsgan", "digits", 0): "error"}, samples=False,
        fields=lambda objective, seed: {"started": STARTED},
    )  # fmt: skip
    cells = [
        folder / "cells" / cell["key"]
        for cell in json.loads((folder / "matrix.json").read_text())["cells"]
    ]
    for step in (100, 200):
        (cells[2] / "samples").mkdir(exist_ok=True)
        Image.new("L", (16, 16), step).save(cells[2] / f"samples/{step:06d}.png")
    for name in ("steps", "evals"):
        (cells[3] / f"{name}.jsonl").unlink()
    synthetic.edit(
        cells[3] / "status.json", reason="ValueError: odd | data", g_steps=0, train_seconds=0
    )
    return folder


def grow(path: Path, step: int, value: float = 1.0, *, seconds: float = 2.0) -> None:
    """A row of steps and an evaluation of two metrics."""
    append_rows(
        path / "steps.jsonl", [{"g_step": step, "samples_seen": 64 * step, "d_loss": value}]
    )
    at = {
        "samples_seen": 64 * step,
        "g_steps": step,
        "train_seconds": seconds,
        "stderr": None,
        "n": 750,
    }
    rows = [
        at | {"metric": name, "value": value, "protocol": "aaaaaaaa"}
        for name in ("swd_2k", "modes_covered_2k")
    ]
    append_rows(path / "evals.jsonl", rows)


def running(path: Path, **changes: Any) -> None:
    """Make a cell one that is under way, without rows."""
    for name in ("steps", "evals"):
        (path / f"{name}.jsonl").write_text("")
    synthetic.edit(
        path / "status.json", **{"status": "running", "g_steps": 0, "samples_seen": 0} | changes
    )


def done(path: Path, step: int) -> None:
    synthetic.edit(path / "status.json", status="done", g_steps=step, samples_seen=64 * step)


def test_reads_back_what_the_files_hold(each: Export) -> None:
    wrote = each.run()
    assert wrote["cells"] == 4
    assert wrote["sheets"] == 2
    each.check(0, 1, 2)  # the fourth has no rows: tags alone
    assert math.isnan(each.read()[each.keys[1], "d_loss"][-1][1])  # why it diverged
    assert (each.keys[1], "penalty") not in each.read()  # null: nothing to write


def test_again_adds_nothing_twice_and_what_is_new(each: Export) -> None:
    each.run()
    assert each.run() == {}
    each.check(0, 1, 2)
    grow(each.cell(2), 2000)
    done(each.cell(2), 2000)
    Image.new("L", (16, 16), 9).save(each.cell(2) / "samples/002000.png")
    assert each.run() == {"cells": 1, "values": 5, "sheets": 1}
    each.check(0, 1, 2)


def test_follows_rows_that_grow_are_cut_back_and_come_again(
    each: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)
    path = each.cell(0)
    running(path)
    grow(path, 20, 1.0)
    looks = each.looks(follow=True)
    assert next(looks)["cells"] == 4
    assert next(looks) == {}
    grow(path, 40, 2.0)
    kept = {name: (path / f"{name}.jsonl").read_text() for name in ("steps", "evals")}
    grow(path, 60, 3.0)
    assert next(looks) == {"cells": 1, "values": 10}
    for name, text in kept.items():  # resumed from the checkpoint at 40
        (path / f"{name}.jsonl").write_text(text)
    synthetic.edit(path / "status.json", resumes=1)
    assert next(looks) == {"cells": 1}
    grow(path, 60, 3.0)
    assert next(looks) == {}
    grow(path, 80, 4.0)
    done(path, 80)
    assert next(looks) == {"cells": 1, "values": 5}
    assert next(looks, None) is None  # nothing is left to run
    each.check(0, 1, 2)


def test_a_cell_started_anew_is_another_run(each: Export) -> None:
    each.run()
    before = each.read()
    path = each.cell(0)
    running(path, started=LATER)
    grow(path, 20, 7.0)
    done(path, 20)
    assert each.run() == {"cells": 1, "values": 5}
    assert each.run() == {}
    found = each.read()
    if each.name == "mlflow":  # runs of one name
        assert [value for _, value in found[each.keys[0], "d_loss"]] in (
            [7.0],
            [v for _, v in before[each.keys[0], "d_loss"]],
        )
        assert len(mlflow_runs(each.place)[1]) == 5
        return
    assert found[f"{each.keys[0]}-2", "d_loss"] == [(20, 7.0)]
    same({name: v for name, v in found.items() if not name[0].endswith("-2")}, before)


def test_a_line_half_written_comes_when_it_is_whole(tensorboard: Export) -> None:
    path = tensorboard.cell(0)
    running(path)
    grow(path, 20)
    whole = (path / "evals.jsonl").read_text()
    (path / "evals.jsonl").write_text("")
    tensorboard.run()
    (path / "evals.jsonl").write_text(whole[:-30])  # the second of two metrics of one evaluation
    assert tensorboard.run() == {"cells": 1, "values": 2}
    assert (tensorboard.keys[0], "modes_covered_2k") not in tensorboard.read()
    (path / "evals.jsonl").write_text(whole)
    assert tensorboard.run() == {"cells": 1, "values": 1}
    tensorboard.check(0, 1, 2)


def test_a_damaged_line_is_named(tensorboard: Export) -> None:
    path = tensorboard.cell(1) / "steps.jsonl"
    path.write_text('{"schema": 1, "samples_seen": 3}\n')
    with pytest.raises(UserError, match=rf"{path} is damaged: a row has no g_step"):
        tensorboard.run()


def test_a_cell_that_is_not_yet_built_waits(tensorboard: Export) -> None:
    running(tensorboard.cell(0), recipe={})
    status = json.loads((tensorboard.cell(0) / "status.json").read_text())
    del status["recipe"]
    (tensorboard.cell(0) / "status.json").write_text(json.dumps(status))
    assert tensorboard.run()["cells"] == 3
    shutil.rmtree(tensorboard.cell(0))
    assert tensorboard.run() == {}


def test_what_a_killed_export_left_is_written_over(tensorboard: Export) -> None:
    tensorboard.run()
    (file,) = (Path(tensorboard.place) / tensorboard.keys[0]).iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole + whole[-300:])  # written, not remembered
    grow(tensorboard.cell(0), 2000)
    done(tensorboard.cell(0), 2000)
    tensorboard.run()
    tensorboard.check(0, 1, 2)
    file.write_bytes(whole)
    grow(tensorboard.cell(0), 2020)
    done(tensorboard.cell(0), 2020)
    with pytest.raises(UserError, match="shorter than what was exported"):
        tensorboard.run()


def test_ctrl_c_ends_between_two_cells(
    tensorboard: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = open_tracker("tensorboard", tensorboard.place, "tiny")
    write = tracker.write

    def interrupted(news: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write(news)

    monkeypatch.setattr(tracker, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(module.export(tensorboard.folder, tracker))
    tensorboard.check(0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert tensorboard.run()["cells"] == 3
    tensorboard.check(0, 1, 2)


def test_ctrl_c_is_how_following_ends(
    tensorboard: Export, ganbench: Callable[..., Any], monkeypatch: Any
) -> None:
    running(tensorboard.cell(0))
    find = module.read_matrix

    def looked(folder: Path) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return find(folder)

    monkeypatch.setattr(module, "read_matrix", looked)
    at = ("--results", tensorboard.folder.parent, "--matrix", "tiny")
    assert ganbench("export", "tensorboard", "--follow", *at).code == 0
    assert ganbench("export", "tensorboard", *at).code == 130


def test_tensorboard_shows_options_state_and_training_time(tensorboard: Export) -> None:
    tensorboard.run()
    accumulators = import_module("tensorboard.backend.event_processing.event_accumulator")
    plugin = import_module("tensorboard.plugins.hparams.plugin_data_pb2").HParamsPluginData
    folder = Path(tensorboard.place) / tensorboard.keys[1]
    events = accumulators.EventAccumulator(str(folder)).Reload()
    metadata = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    options = plugin.FromString(metadata).session_start_info.hparams
    assert options["objective"].string_value == "lsgan"
    assert options["training.steps"].number_value == 600
    assert options["training.recipe.lr"].number_value == 1e-3
    assert options["recipe.lr"].number_value == 2e-4
    text = events.Tensors("cell")[0].tensor_proto.string_val[0].decode()
    for line in (
        "status | diverged",
        "reason | d_loss is NaN",
        "torch | 2.14.1",
        "git_commit | 0123456789abcdef",
    ):
        assert f"| {line} |" in text
    first, last = (
        event.wall_time for event in (events.Scalars("d_loss")[0], events.Scalars("d_loss")[-1])
    )
    assert last - first == pytest.approx(2.0 / 100 * 1780)  # 2 seconds per 100 steps
    # no name of the host, which the library's own writer puts there
    assert [file.name for file in folder.iterdir()] == ["events.out.tfevents.0.ganbench"]


@pytest.mark.parametrize("each", ["mlflow"], indirect=True)
def test_mlflow_has_options_tags_and_how_it_ended(each: Export) -> None:
    each.run()
    runs = {run.data.tags["key"]: run for run in mlflow_runs(each.place)[1]}
    ends = [runs[key].info.status for key in each.keys]
    assert ends == ["FINISHED", "FINISHED", "FINISHED", "FAILED"]
    diverged = runs[each.keys[1]]
    assert diverged.data.params["training.batch_size"] == "64"
    assert diverged.data.params["evaluation.n"] == "750"
    expected = {
        "status": "diverged",
        "reason": "d_loss is NaN",
        "objective": "lsgan",
        "seed": "0",
        "torch": "2.14.1",
    }
    assert expected.items() <= diverged.data.tags.items()
    running(each.cell(1))
    each.run()
    found = next(run for run in mlflow_runs(each.place)[1] if run.data.tags["key"] == each.keys[1])
    assert found.info.status == "KILLED"  # nobody holds its lock
    assert found.data.tags["reason"] == "its process is gone"


@pytest.mark.parametrize("each", ["wandb"], indirect=True)
def test_wandb_has_options_and_state_and_names_no_machine(
    each: Export, capfd: pytest.CaptureFixture[str]
) -> None:
    each.run()
    (file,) = Path(each.place).glob(f"wandb/*/*{wandb_id(each, 1)}.wandb")
    records = wandb_records(file)
    (run,) = (record.run for record in records if record.HasField("run"))
    config = {item.key: json.loads(item.value_json) for r in records for item in r.config.update}
    config |= {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["objective"] == "lsgan"
    assert config["training.recipe.lr"] == 1e-3
    assert (run.project, run.run_group, list(run.tags)) == (
        "tiny",
        "lsgan",
        ["lsgan", "mlp", "gaussians8"],
    )
    summary = {
        item.key or item.nested_key[0]: item.value_json
        for r in records
        for item in r.summary.update
    }
    assert summary["status"] == '"diverged"'
    assert not run.host
    assert not any(record.HasField("environment") for record in records)
    assert capfd.readouterr() == ("", "")


def wandb_id(each: Export, i: int) -> str:
    from benchmark.matrix.cell import digest

    return digest([each.keys[i], STARTED], 16)


def test_only_takes_the_cells_of_run(tensorboard: Export) -> None:
    assert tensorboard.run(only="objective=wgan_gp dataset=digits")["cells"] == 1
    tensorboard.check(2)
    assert tensorboard.run(only="architecture=mlp[] seed=0")["cells"] == 2
    tensorboard.check(0, 1, 2)


def test_a_mistake_is_one_line(
    tensorboard: Export,
    ganbench: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = ("--results", tensorboard.folder.parent, "--matrix", "tiny")
    ended = ganbench("export", "tensorbord", *at)
    assert (ended.code, ended.err) == (
        2, "ganbench: unknown tracker 'tensorbord' (did you mean 'tensorboard'?); valid: tensorboard, mlflow, wandb\n"
    )  # fmt: skip
    ended = ganbench("export", "tensorboard", *at, "--only", "objective=wgan")
    assert ended.code == 2
    assert "unknown objective in --only 'wgan' (did you mean 'wgan_gp'?)" in ended.err
    (tmp_path / "file").touch()
    ended = ganbench("export", "tensorboard", *at, "--to", tmp_path / "file")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--to" in ended.err
    for name, library in (
        ("tensorboard", "tensorboard"),
        ("mlflow", "sqlalchemy"),
        ("wandb", "wandb"),
    ):
        with monkeypatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            for module_name in list(sys.modules):
                if module_name.startswith((f"{library}.", f"benchmark.export.{name}")):
                    patch.delitem(sys.modules, module_name)
            patch.setitem(sys.modules, library, None)
            ended = ganbench("export", name, *at)
            assert (ended.code, ended.err) == (
                2, f"ganbench: export {name} needs {library}, which is missing: pip install 'ganbench[track]'\n"
            )  # fmt: skip


def test_disabled_wandb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(UserError, match="WANDB_MODE is disabled"):
        open_tracker("wandb", tmp_path, "tiny")


def test_mlflow_takes_its_own_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert place_of("mlflow", "", tmp_path) == "http://localhost:5000"
    assert place_of("mlflow", "runs", tmp_path) == Path("runs")
    assert place_of("mlflow", "sqlite:///runs.db", tmp_path) == "sqlite:///runs.db"
    assert place_of("tensorboard", "", tmp_path) == tmp_path / "exports/tensorboard"


def test_needs_no_torch() -> None:
    code = "import sys, benchmark.export.news; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
