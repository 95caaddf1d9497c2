"""What each tracker shows of a cell besides its values, and what is refused."""

import errno
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import DamagedError, UserError
from benchmark.export.base import LIBRARIES, open_tracker, place_of
from benchmark.matrix.cell import digest
from tests.export.exports import STARTED, Export, running
from tests.export.readers import mlflow_runs, wandb_records


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
    assert diverged.data.params["evaluation.n.images"] == "750"
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
    return digest([each.keys[i], STARTED], 16)


def test_a_mistake_is_one_line(
    tensorboard: Export,
    ganbench: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = ("--results", tensorboard.folder.parent, "--matrix", "tiny")
    ended = ganbench("export", "tensorbord", *at)
    assert ended.code == 2
    assert ended.err == (
        "ganbench: unknown tracker 'tensorbord' (did you mean 'tensorboard'?); "
        "valid: tensorboard, mlflow, wandb, bencher\n"
    )
    ended = ganbench("export", "tensorboard", *at, "--only", "objective=wgan")
    assert ended.code == 2
    assert "unknown objective in --only 'wgan' (did you mean 'wgan_gp'?)" in ended.err
    (tmp_path / "file").touch()
    ended = ganbench("export", "tensorboard", *at, "--to", tmp_path / "file")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--to" in ended.err
    libraries = {"tensorboard": "tensorboard", "mlflow": "sqlalchemy", "wandb": "wandb"}
    for name, library in libraries.items():
        with monkeypatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            # forget what was imported of both, so that it is imported again
            for module_name in list(sys.modules):
                if module_name.startswith((f"{library}.", f"benchmark.export.{name}")):
                    patch.delitem(sys.modules, module_name)
            patch.setitem(sys.modules, library, None)
            ended = ganbench("export", name, *at)
            assert ended.code == 2
            assert ended.err == (
                f"ganbench: export {name} needs {library}, which is missing: "
                f"pip install {LIBRARIES[name]}\n"
            )


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


@pytest.mark.parametrize("damage", ["text", "a folder"])
def test_a_damaged_database_of_mlflow_is_named_at_once(damage: str, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    database = tmp_path / "mlflow.db"
    if damage == "text":
        database.write_text("not a database\n" * 100)
    else:
        database.mkdir()
    with pytest.raises(UserError, match=r"mlflow\.db: .*database"):
        open_tracker("mlflow", tmp_path, "tiny")


def test_an_error_of_the_database_of_mlflow_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    module = import_module("benchmark.export.mlflow")

    def damaged(*_: Any, **__: Any) -> None:
        raise sqlalchemy.exc.DatabaseError("SELECT 1", None, Exception("image is malformed"))

    monkeypatch.setattr(module, "MlflowClient", damaged)
    with pytest.raises(UserError, match=r"mlflow\.db: .*image is malformed"):
        open_tracker("mlflow", tmp_path, "tiny")


def test_a_damaged_tag_of_mlflow_is_named() -> None:
    module = pytest.importorskip("benchmark.export.mlflow")
    for stored in ("{", '{"evals": 3}', '{"other": 1}', '{"sheet": "x"}', "[]"):
        with pytest.raises(DamagedError, match=r"the tag ganbench\.exported of run 12 is damaged"):
            module._seen("12", stored)


def test_a_full_disk_names_the_file(tensorboard: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("benchmark.export.tensorboard")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.RecordWriter, "write", full)
    with pytest.raises(OSError, match="No space left") as caught:
        tensorboard.run()
    assert Path(caught.value.filename).name == module.EVENTS
