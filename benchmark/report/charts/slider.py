"""The data of the sliders: the samples that were saved at each evaluation, of one seed in every
place.

Images are pictures with a strip per evaluation, one below the other; points are bytes; texts are
lines. All of them together take about BUDGET bytes: with many places fewer samples of fewer
evaluations are shown."""

import base64
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmark.analysis.robustness import crossed
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.drawing.save import stem
from benchmark.report.charts.curves import CLOCKS
from benchmark.report.charts.values import number, numbers
from benchmark.report.figures.samples import LONGEST, STRIP, note_of, reach_of, tiled
from benchmark.report.figures.saved import (
    Samples,
    equal_steps,
    first_seed,
    panes,
    read_samples,
    real_samples,
    saved_samples,
)
from benchmark.text import place_name, visible

BUDGET = 5_000_000  # bytes of the samples of a page
LEAST_IMAGES = 4  # in a strip
LEAST_POINTS = 100
MOST_POINTS = 1000
MOST_EVALUATIONS = 24  # of a run
MOST_IN_ALL = 2500  # evaluations of all runs
SMALL = 16  # pixels a side; images that are no larger are kept without loss
LARGEST = 64  # pixels a side; larger images are made smaller
LOSSY = 0.5  # bytes of a value of a larger image, about
NOTE = (
    "Every objective's last samples at or before the position of the slider; below its name the "
    "generator step that they are of. {}"
)


def of_figures(tables: Tables, folder: Path) -> dict[str, dict[str, Any]]:
    """Stem of a figure of samples at equal steps -> its chart. Raises UserError for damaged
    samples."""
    rows = saved_samples(tables, folder)
    if rows.empty:
        return {}
    most = int(
        np.clip(MOST_IN_ALL / rows.groupby([*PLACE, "objective"]).ngroups, 2, MOST_EVALUATIONS)
    )
    groups = rows.groupby(PLACE, sort=False)
    rows = pd.concat([_thinned(per_place, most) for _, per_place in groups])
    share = BUDGET / len(rows)
    charts: dict[str, dict[str, Any]] = {}
    for (dataset, architecture), per_place in rows.groupby(PLACE, sort=False):
        real = real_samples(tables, folder, str(dataset))
        place = _place(tables.cells, per_place, real, share)
        if dataset in crossed(tables.cells):
            name = stem("robustness_steps", str(dataset))
        else:
            name = stem("samples", str(dataset), str(architecture))
        chart: dict[str, Any] = {"kind": "samples", "clocks": dict(CLOCKS), "places": []}
        charts.setdefault(name, chart)["places"].append(place)
    for chart in charts.values():
        first: dict[str, Any] = chart["places"][0]
        note = note_of(first["modality"], first["real"] is not None)
        chart["note"] = NOTE.format(note).strip()
    return charts


def _thinned(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """The samples of one seed, of at most `most` evaluations of a run: its last among them."""
    rows = rows[rows["seed"] == first_seed(rows)].sort_values("g_steps", kind="stable")
    runs = rows.groupby("cell", sort=False)
    left = runs.cumcount(ascending=False)
    every = np.ceil(runs["g_steps"].transform("size") / most)
    return rows[left % every == 0]


def _place(
    cells: pd.DataFrame, rows: pd.DataFrame, real: Samples | None, share: float
) -> dict[str, Any]:
    """The samples of one place. share: bytes of the samples of one evaluation."""
    first = rows.iloc[0]
    objectives = list(map(str, cells["objective"].unique()))
    marks = panes(cells, rows).set_index("key")["mark"]
    modality = str(first["modality"])
    samples: dict[str, list[Any]] = {}
    for name, per_objective in rows.groupby("objective", sort=False):
        samples[str(name)] = [read_samples(Path(file)) for file in per_objective["file"]]
    pack: Callable[[list[Any]], dict[str, Any]] = _as_lines
    if modality == "points":
        every = [points for evaluations in samples.values() for points in evaluations]
        pack = partial(_as_bytes, reach=reach_of(every), share=share)
    elif modality == "images":
        pack = partial(_as_picture, share=share)
    shown = {}
    for name, per_objective in rows.groupby("objective", sort=False):
        clocks = {clock: numbers(per_objective[clock]) for clock in CLOCKS}
        position = str(objectives.index(str(name)))
        shown[position] = {
            "clocks": clocks,
            "samples": pack(samples[str(name)]),
            "mark": marks[per_objective["cell"].iloc[0]],
        }
    place = place_name(first["architecture"], first["dataset"])
    return {
        "name": f"{place}, seed {first['seed']}",
        "dataset": str(first["dataset"]),
        "architecture": str(first["architecture"]),
        "modality": modality,
        "start": number(equal_steps(rows)),
        "real": None if real is None else pack([real]),
        "objectives": shown,
    }


def _as_picture(evaluations: list[np.ndarray], share: float) -> dict[str, Any]:
    """Images (n, C, H, W) of every evaluation as one picture with transparent gutters, with the
    width and the height of a strip in pixels."""
    pixels = evaluations[0].shape[-1]
    is_small = pixels <= SMALL
    each = evaluations[0][0].size if is_small else LOSSY * evaluations[0].shape[1] * LARGEST**2
    count = int(np.clip(share / each, LEAST_IMAGES, STRIP))
    strips = []
    for images in evaluations:
        gutters = tiled(np.zeros_like(images), 1, count)[..., :1]
        strip = Image.fromarray(np.concatenate([tiled(images, 1, count), 255 - gutters], axis=-1))
        if pixels > LARGEST:
            strip = strip.resize([side * LARGEST // pixels for side in strip.size])
        # an empty line below, so that no strip shows the edge of the next
        strips.append(np.pad(np.asarray(strip), ((0, 2), (0, 0), (0, 0))))
    content = io.BytesIO()
    picture = Image.fromarray(np.concatenate(strips))
    picture.save(content, "WEBP", lossless=is_small, quality=80)
    height, width, _ = strips[0].shape
    return {"picture": _base64(content.getvalue()), "width": width, "height": height}


def _as_bytes(evaluations: list[np.ndarray], reach: float, share: float) -> dict[str, Any]:
    """Points (n, 2) of every evaluation as pairs of bytes: 0 is −reach, 255 is reach. What lies
    beyond is left out."""
    count = int(np.clip(share / 2, LEAST_POINTS, MOST_POINTS))
    packed = []
    for points in evaluations:
        shown = points[:count]
        shown = shown[(np.abs(shown) <= reach).all(axis=1)]
        scaled = np.round((shown + reach) * 255 / (2 * reach)).astype(np.uint8)
        packed.append(_base64(scaled.tobytes()))
    return {"points": packed}


def _as_lines(evaluations: list[list[str]]) -> dict[str, Any]:
    """The first lines of every evaluation."""
    texts = []
    for lines in evaluations:
        texts.append("\n".join(visible(line)[:LONGEST] for line in lines[:STRIP]))
    return {"texts": texts}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
