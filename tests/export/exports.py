"""A small result set, exported to a tracker and compared with what the tracker's reader finds."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.export import news
from benchmark.export.base import open_tracker, place_of
from benchmark.store.files import append_rows, read_rows
from tests.export.readers import Series
from tests.helpers import synthetic

STARTED = "2026-01-01T00:00:00+00:00"
LATER = "2026-01-02T00:00:00+00:00"


class Export:
    """A result set and a tracker."""

    def __init__(self, folder: Path, name: str, to: str, read: Callable[[Any], Series]) -> None:
        self.folder, self.name, self.to = folder, name, to
        self.place = place_of(name, to, folder)
        self.read = lambda: read(self.place)
        self.keys = keys_of(folder)

    def looks(self, **options: Any) -> Iterator[Counter[str]]:
        """An export under way: what each look wrote."""
        tracker = open_tracker(self.name, self.place, self.folder.name)
        return news.export(self.folder, tracker, **options)

    def run(self, **options: Any) -> dict[str, int]:
        """An export that looks once, and what it wrote."""
        (wrote,) = self.looks(**options)
        return dict(wrote)

    def cell(self, i: int) -> Path:
        return self.folder / "cells" / self.keys[i]

    def expected(self, *cells: int) -> Series:
        """The series that the files of these cells hold, without those of no finite value."""
        found: Series = {}
        for path in map(self.cell, cells):
            for step, name, value in sorted(values_of(path), key=lambda value: value[0]):
                if value is not None:
                    found.setdefault((path.name, name), []).append((step, value))
        return {name: points for name, points in found.items() if np.isfinite(points).all(1).any()}

    def check(self, *cells: int) -> None:
        """What the tracker holds is what the files of these cells hold, no more and no less."""
        same(self.read(), self.expected(*cells))


def keys_of(folder: Path) -> list[str]:
    """The keys of the cells, in the order of the matrix."""
    cells = json.loads((folder / "matrix.json").read_text())["cells"]
    return [cell["key"] for cell in cells]


def values_of(path: Path) -> list[tuple[int, str, float | None]]:
    """Generator step, series and value of all that the files of a cell hold."""
    values = []
    logged = set()
    for row in read_rows(path / "steps.jsonl"):
        logged.add(row["g_step"])
        series = {name: row[name] for name in row if name not in ("schema", "g_step")}
        values += [(row["g_step"], name, value) for name, value in series.items()]
    once = set()  # per evaluation, which has a row for each metric
    for row in read_rows(path / "evals.jsonl"):
        step = row["g_steps"]
        values.append((step, row["metric"], row["value"]))
        once.add((step, "train_seconds", row["train_seconds"]))
        if step not in logged:
            once.add((step, "samples_seen", row["samples_seen"]))
    for sheet in path.glob("samples/*.png"):
        values.append((int(sheet.stem), "samples", sheet.stat().st_size))
    return [*values, *once]


def same(found: Series, expected: Series) -> None:
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in points], name
        values = [value for _, value in found[name]]
        wanted = [value for _, value in points]
        # TensorBoard's values are float32
        np.testing.assert_allclose(values, wanted, rtol=1e-6, err_msg=str(name))


def results(tmp_path: Path) -> Path:
    """Four cells: done on points, diverged on points, done on images, an error before any row. More
    values per cell than MLflow takes at once."""
    folder = synthetic.write(
        tmp_path / "tiny",
        objectives=["wgan_gp", "lsgan"],
        seeds=[0],
        evaluations=3,
        steps=90,
        status={("lsgan", "gaussians8", 0): "diverged", ("lsgan", "digits", 0): "error"},
        samples=False,
        fields=lambda objective, seed: {"started": STARTED},
    )
    cells = [folder / "cells" / key for key in keys_of(folder)]
    for step in (100, 200):
        (cells[2] / "samples").mkdir(exist_ok=True)
        Image.new("L", (16, 16), step).save(cells[2] / f"samples/{step:06d}.png")
    for name in ("steps", "evals"):
        (cells[3] / f"{name}.jsonl").unlink()
    failed = {"reason": "ValueError: odd | data", "g_steps": 0, "train_seconds": 0}
    synthetic.edit(cells[3] / "status.json", **failed)
    return folder


def grow(path: Path, step: int, value: float = 1.0, *, seconds: float = 2.0) -> None:
    """A row of steps and an evaluation of two metrics."""
    row = {"g_step": step, "samples_seen": 64 * step, "d_loss": value}
    append_rows(path / "steps.jsonl", [row])
    evaluation = {
        "samples_seen": 64 * step,
        "g_steps": step,
        "train_seconds": seconds,
        "stderr": None,
        "n": 750,
        "value": value,
        "protocol": "aaaaaaaa",
    }
    rows = [evaluation | {"metric": name} for name in ("swd_2k", "modes_covered_2k")]
    append_rows(path / "evals.jsonl", rows)


def running(path: Path, **changes: Any) -> None:
    """Make a cell one that is running and has no rows."""
    for name in ("steps", "evals"):
        (path / f"{name}.jsonl").write_text("")
    status = {"status": "running", "g_steps": 0, "samples_seen": 0}
    synthetic.edit(path / "status.json", **status | changes)


def done(path: Path, step: int) -> None:
    """Make a cell one that is done at a generator step."""
    synthetic.edit(path / "status.json", status="done", g_steps=step, samples_seen=64 * step)
