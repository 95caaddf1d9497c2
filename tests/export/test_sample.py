"""Samples of a cell exported for other tools."""

import fractions
import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import UserError
from benchmark.export import samples as sample
from benchmark.matrix import files as matrix
from benchmark.matrix.expand import expand
from benchmark.run import prepare
from benchmark.run.cell.cell_run import run_cell
from benchmark.store.layout import ResultSet
from tests.conftest import Ended, matrix_text
from tests.helpers import synthetic
from variants.datasets.python_topics import Dataset

DATASETS = 'datasets = ["gaussians8", "digits", "python_topics"]'
ARCHITECTURES = 'architectures = [{ name = "mlp", width = 8 }]'


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells on points, on grey images and on text, two seeds, each trained for a moment."""
    root = tmp_path_factory.mktemp("sample")
    parts = {"datasets": DATASETS, "architectures": ARCHITECTURES, "seeds": "seeds = 2"}
    evaluation = """[evaluation]
schedule = [0, 1]
log_every = 5
metrics = ["swd", "fid", "js_4"]
extractor = "classifier"
n = { points = 200, images = 300, text = 100 }"""
    (root / "tiny.toml").write_text(matrix_text(**parts, evaluation=evaluation))
    config, description = matrix.read(root / "tiny.toml")
    cells = expand(config)
    folder = root / "runs" / "tiny"
    record = prepare.matrix_file("tiny", description, config, cells)
    prepare.prepare(ResultSet(folder), record, cells, "cpu")
    for cell in cells:
        *_, last = run_cell(cell, folder, "cpu")
        assert last.status.status == "done"
    return folder


def measured(folder: Path, key: str) -> Any:
    """The first samples of the last evaluation, as the run saved them."""
    return np.load(max((folder / "cells" / key / "samples").glob("*.npz")))["samples"]


def test_the_first_samples_are_those_that_were_measured(results: Path, tmp_path: Path) -> None:
    points, images = (sample.find(results, f"*-{name}-seed0") for name in ("gaussians8", "digits"))
    found = np.load(sample.export(results, points, 1234, tmp_path, "cpu"))["arr_0"]
    assert (found.shape, found.dtype) == ((1234, 2), np.float32)
    assert (found[:200] == measured(results, points)[:200]).all()
    found = np.load(sample.export(results, images, 70, tmp_path, "cpu"))["arr_0"]
    assert (found.shape, found.dtype) == ((70, 8, 8, 3), np.uint8)
    saved = measured(results, images)  # (64, 1, 8, 8)
    assert (found[:64] == saved.transpose(0, 2, 3, 1)).all()  # grey, three times


def test_a_seed_draws_others_and_fewer_are_the_first_of_more(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "CHUNK", 500)

    def of(n: int, **options: Any) -> Any:
        return np.load(
            sample.export(
                results,
                "nonsaturating-mlp_width=8_-gaussians8-seed1",
                n,
                tmp_path,
                "cpu",
                **options,
            )
        )["arr_0"]

    many = of(1200)
    assert (of(700) == many[:700]).all()
    assert len(np.unique(many, axis=0)) == 1200  # no chunk is drawn twice
    other = of(1200, seed=7)
    assert not (other == many).all(axis=1).any()
    assert (of(1200, seed=7) == other).all()
    assert {path.name.partition("-seed1-")[2][8:] for path in tmp_path.iterdir()} == {
        "-1200.npz",
        "-700.npz",
        "-1200-seed7.npz",
    }


def test_png_files_are_the_same_images(results: Path, tmp_path: Path) -> None:
    array = np.load(sample.export(results, "*digits-seed0", 12, tmp_path, "cpu"))["arr_0"]
    folder = sample.export(results, "*digits-seed0", 12, tmp_path, "cpu", png=True)
    assert [path.name for path in sorted(folder.iterdir())] == [f"{i:06d}.png" for i in range(12)]
    assert all(
        (np.asarray(Image.open(folder / f"{i:06d}.png")) == array[i, :, :, 0]).all()
        for i in range(12)
    )
    for name, message in (("gaussians8", "points are"), ("python_topics", "text is")):
        with pytest.raises(UserError, match=f"^--png is for images; {message} written as npz"):
            sample.export(results, f"*{name}*-seed0", 12, tmp_path, "cpu", png=True)
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == ["", ".npz"]


def test_text_is_codes_and_lines(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "CHUNK", 100)
    path = sample.export(results, "*python_topics*-seed0", 450, tmp_path, "cpu")
    codes = np.load(path)["arr_0"]
    assert (codes.shape, codes.dtype) == ((450, 32), np.uint8)
    *lines, rest = path.with_name(f"{path.stem}.txt").read_text("utf-8").split("\n")
    characters = Dataset().characters
    assert lines == ["".join(characters[code] for code in row) for row in codes]
    assert rest == ""
    key = sample.find(results, "*python_topics*-seed0")
    assert (codes[:64] == measured(results, key)).all()
    saved = max((results / "cells" / key / "samples").glob("*.txt"))
    assert saved.read_text("utf-8") == "".join(f"{line}\n" for line in lines[:64])
    assert ResultSet(results).cell(key).status.files[f"samples/{saved.name}"].size == 64 * 33


def test_text_that_has_changed_is_not_decoded(results: Path, tmp_path: Path) -> None:
    key = sample.find(results, "*python_topics*-seed1")
    protocols = (results / "protocols.json").read_text()
    content = json.loads(protocols)
    (label,) = (name for name in content if name.startswith("python_topics"))
    entry = content[label] | {"dataset": {"content_hash": "0ther"}}
    del entry["sha256"]
    synthetic.edit(results / "protocols.json", **{label: entry})
    try:
        with pytest.raises(UserError, match=r"python_topics.*: it has changed .*before 0ther"):
            sample.export(results, key, 12, tmp_path, "cpu")
    finally:
        (results / "protocols.json").write_text(protocols)
    assert not list(tmp_path.iterdir())


def test_memory_is_that_of_a_chunk(tmp_path: Path) -> None:
    """40 MB of images are written in chunks of 2 MB."""
    chunks = (np.full((200, 64, 64, 3), i, np.uint8) for i in range(16))
    tracemalloc.start()
    path = sample._write_npz(tmp_path / "a.npz", chunks, 3200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6
    array = np.load(path)["arr_0"]
    assert array.shape == (3200, 64, 64, 3)
    assert (array[:, 0, 0, 0] == np.repeat(np.arange(16), 200)).all()


def test_an_export_cut_short_leaves_no_file(tmp_path: Path) -> None:
    def chunks():
        yield np.zeros((5, 2), np.float32)
        raise FloatingPointError("the generated samples are not finite")

    with pytest.raises(FloatingPointError):
        sample._write_npz(tmp_path / "a.npz", chunks(), 10)
    assert list(tmp_path.iterdir()) == []


def test_a_cell_is_found_by_what_tells_it_apart(tmp_path: Path) -> None:
    labels = (
        "wgan-mlp-digits-seed0-aa",
        "wgan-mlp-digits-seed1-bb",
        "wgan_fdgp_pairs=independent_-mlp-digits-seed1-cc",
    )
    synthetic.write(
        tmp_path,
        objectives=labels,
        groups=[("digits", "mlp")],
        seeds=[0],
        evaluations=1,
        samples=False,
    )
    cells = json.loads((tmp_path / "matrix.json").read_text())["cells"]
    synthetic.edit(
        tmp_path / "matrix.json", cells=[cell | {"key": cell["objective"]} for cell in cells]
    )
    assert [sample.find(tmp_path, label) for label in labels] == list(labels)
    assert sample.find(tmp_path, "wgan-mlp-digits-seed1") == labels[1]
    assert sample.find(tmp_path, "wgan_fdgp[pairs=independent]-mlp") == labels[2]
    assert sample.find(tmp_path, "*fdgp*seed?") == labels[2]
    with pytest.raises(
        UserError,
        match="'wgan-' names 2 cells, such as wgan-mlp-digits-seed0-aa, wgan-mlp-digits-seed1-bb; ",
    ):
        sample.find(tmp_path, "wgan-")
    with pytest.raises(
        UserError,
        match=r"no cell 'wgam-mlp-digits-seed1' in .*; nearest: wgan-mlp-digits-seed1-bb, ",
    ):
        sample.find(tmp_path, "wgam-mlp-digits-seed1")


def test_sample_on_the_command_line(
    results: Path, ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    where = (
        "--matrix",
        "tiny",
        "--results",
        results.parent,
        "--output",
        tmp_path / "out",
        "--device",
        "cpu",
    )
    ended = ganbench("sample", "nonsaturating-mlp_width=8_-digits-seed1", "--n", 3, *where)
    assert (ended.code, ended.err) == (0, "")
    assert np.load(ended.out.strip())["arr_0"].shape == (3, 8, 8, 3)
    key = sample.find(results, "*gaussians8-seed1")
    file = results / "cells" / key / "generator.pt"
    whole = file.read_bytes()
    for content, message in (
        (None, f"{key} has no generator.pt to sample: it was made before"),
        (
            pickle.dumps(fractions.Fraction(1, 2), protocol=2),
            f"{file} cannot be read: UnpicklingError: not weights alone\n",
        ),
        (b"no weights", f"{file} cannot be read: "),
        (whole[: len(whole) // 2], f"{file} cannot be read: "),
    ):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        ended = ganbench("sample", key, "--n", 3, *where)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert message in ended.err
    state = torch.load(
        results / "cells" / sample.find(results, "*gaussians8-seed0") / "generator.pt",
        weights_only=True,
    )
    torch.save({name: value * float("nan") for name, value in state.items()}, file)
    assert "not finite" in ganbench("sample", key, "--n", 3, *where).err
    file.write_bytes(whole)
    folder = file.parent
    status = (folder / "status.json").read_text()
    synthetic.edit(folder / "status.json", code="0ld")
    ended = ganbench("sample", key, "--n", 3, *where)
    assert (ended.code, ended.err) == (
        0,
        f"{key} is stale: different code trained it than the code that sampled it now\n",
    )
    for state in ("running", "interrupted", "error"):
        synthetic.edit(folder / "status.json", status=state)
        ended = ganbench("sample", key, "--n", 3, *where)
        assert (ended.code, ended.err) == (
            2,
            f"ganbench: {key} is {state}: samples are those of a finished cell\n",
        )
    (folder / "status.json").write_text(status)
    spec = (folder / "spec.json").read_text()
    for changes, message in (
        ({"evaluation": {}}, f"{folder}/spec.json does not say how the cell was sampled"),
        (
            {"architecture": {"name": "mpl", "params": {}}},
            f"{folder}/spec.json: unknown architecture 'mpl' (did you mean",
        ),
        ({"norm": None, "architecture": "mlp"}, f"{folder}/spec.json is damaged"),
        ({"training": {"batch_size": "many"}}, f"{folder}/spec.json is damaged: ValidationError"),
        (None, f"there is no {folder}/spec.json"),
    ):
        if changes:
            synthetic.edit(folder / "spec.json", **changes)
        else:
            (folder / "spec.json").unlink()
        ended = ganbench("sample", key, "--n", 3, *where)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert message in ended.err
        (folder / "spec.json").write_text(spec)
    assert "--n" in ganbench("sample", key, "--n", 0, *where).err
    assert "names 2 cells" in ganbench("sample", "*digits*", *where).err
    assert json.loads((results / "matrix.json").read_text())["name"] == "tiny"


def test_a_display_name_is_that_of_its_variant_alone(tmp_path):
    """One name is a part of another, and the label of one variant begins like that of another."""
    objectives = ["wgan_gp", "wgan_gp[penalty_weight=1]"]
    synthetic.write(
        tmp_path, objectives=objectives, groups=[("digits", "mlp")], seeds=[0], samples=False
    )
    keys = {entry.objective: entry.key for entry in ResultSet(tmp_path).matrix.cells}
    names = {"wgan_gp": "GP", "wgan_gp[penalty_weight=1]": "GP, λ 1"}
    synthetic.edit(tmp_path / "matrix.json", display_names={"objective": names})
    assert sample.find(tmp_path, "GP") == keys["wgan_gp"]
    assert sample.find(tmp_path, "GP, λ 1") == keys["wgan_gp[penalty_weight=1]"]
