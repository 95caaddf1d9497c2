"""Samples of every objective in a place: at equal generator steps, and at equal cost. The first row
shows real samples, where the result set has kept some."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmark.analysis.robustness import crossed
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import grid, headline
from benchmark.drawing.save import Figure, Passage, save, stem
from benchmark.drawing.style import Look, inches, plain, style, wrap
from benchmark.report.figures.saved import (
    Samples,
    equal_steps,
    first_seed,
    panes,
    read_samples,
    real_samples,
    saved_samples,
    steps_text,
)
from benchmark.text import place_name, visible

STRIP = 16  # images, or lines of text, of an objective
COLUMNS = 4  # of scatter plots
WIDTH = 9.5  # inches of a figure
GUTTER = 0.12  # between images, as a share of their side
CHARACTER = 0.06  # inches of a character of text
LONGEST = 120  # characters of a line that a picture shows
REAL_LABEL = "real samples"
REAL_COLOUR = "0.72"
STEPS_CAPTION = (
    "After {} generator steps: the most that all finished runs with this seed have saved samples "
    "of. A name says where a run has none of that step and shows its last before it."
)
COST_CAPTION = (
    "Each objective's last saved samples at or before {} critic forward-equivalents, the equal "
    "cost of this place; below its name the generator step that they are of."
)
FIRST_SAMPLES = "The first samples, not picked."
TEXT_SAMPLES = "The first samples, not picked; a line is a sample, · is a space."
REAL_POINTS = "Grey: real points."


class Sheet(NamedTuple):
    """The texts of a figure of samples."""

    name: str
    title: str
    caption: str
    labels: dict[str, str]
    """objective -> what stands below its name; empty for nothing."""


def draw(tables: Tables, folder: Path) -> list[Figure]:
    """Two figures per place, all of one seed: at equal generator steps, and at equal cost where it
    is known. Without the datasets that have robustness figures, which hold all architectures
    together."""
    samples = saved_samples(tables, folder)
    samples = samples[~samples["dataset"].isin(crossed(tables.cells))]
    figures = []
    for (dataset, architecture), rows in samples.groupby(PLACE, sort=False):
        rows = rows[rows["seed"] == first_seed(rows)]
        cells = tables.cells[tables.cells["key"].isin(rows["cell"])]
        real = real_samples(tables, folder, str(dataset))
        figures.append(_at_equal_steps(cells, rows, real, folder))
        budget = tables.equal_cost["equal_compute"].get((str(dataset), str(architecture)))
        # of one objective the two figures would be the same
        if budget is not None and len(cells) > 1:
            figures += _at_equal_cost(cells, rows, budget, real, folder)
    return figures


def _at_equal_steps(
    cells: pd.DataFrame, rows: pd.DataFrame, real: Samples | None, folder: Path
) -> Figure:
    steps = equal_steps(rows)
    shown = panes(cells, rows[rows["g_steps"] <= steps])
    notes = shown["g_steps"].map(steps_text).where(shown["g_steps"] < steps, "")
    title = f"Samples, {_place(cells)}, after {steps_text(steps)}, seed {cells['seed'].iloc[0]}"
    sheet = Sheet("samples", title, STEPS_CAPTION.format(f"{steps:,.0f}"), _labels(shown, notes))
    return _draw(shown, sheet, real, folder)


def _at_equal_cost(
    cells: pd.DataFrame, rows: pd.DataFrame, budget: float, real: Samples | None, folder: Path
) -> list[Figure]:
    """None where no run has samples below the budget."""
    # the budget is a median over runs: some may lie above it by a rounding
    shown = panes(cells, rows[rows["forwards"] <= budget * (1 + 1e-9)])
    if shown["file"].isna().all():
        return []
    title = f"Samples, {_place(cells)}, at equal cost, seed {cells['seed'].iloc[0]}"
    labels = _labels(shown, shown["g_steps"].map(steps_text))
    sheet = Sheet("samples_cost", title, COST_CAPTION.format(f"{budget:,.0f}"), labels)
    return [_draw(shown, sheet, real, folder)]


def _place(cells: pd.DataFrame) -> str:
    return place_name(cells["architecture"].iloc[0], cells["dataset"].iloc[0])


def _labels(shown: pd.DataFrame, notes: pd.Series) -> dict[str, str]:
    """objective -> the note and the mark of its run."""
    labels = {}
    for name, note, mark in zip(shown["objective"], notes, shown["mark"], strict=True):
        labels[str(name)] = "\n".join(filter(None, (note, mark)))
    return labels


def _draw(shown: pd.DataFrame, sheet: Sheet, real: Samples | None, folder: Path) -> Figure:
    """The figure of one place. shown: `panes`."""
    shown = shown[shown["file"].notna()]
    samples = {
        str(name): read_samples(Path(file))
        for name, file in zip(shown["objective"], shown["file"], strict=True)
    }
    first = next(iter(samples.values()))
    modality = _modality(first)
    names = [shown["dataset"].iloc[0], shown["architecture"].iloc[0]]
    caption = f"{sheet.caption} {note_of(modality, real is not None)}".rstrip()
    saved = Figure(stem(sheet.name, *names), sheet.title, caption, "first")
    data = shown[["objective", "key", "seed", "samples_seen", "g_steps", "forwards"]]
    data = data.rename(columns={"key": "cell"})
    labels = {name: f"{wrap(name)}\n{sheet.labels[name]}".rstrip() for name in samples}
    if modality == "points":
        figure = _scatters(samples, real, labels)
    else:
        rows = samples if real is None else {REAL_LABEL: real, **samples}
        labels |= {REAL_LABEL: REAL_LABEL}
        figure = _strips(rows, labels) if modality == "images" else _texts(rows, labels)
    if modality == "text":
        saved = replace(saved, passages=_passages(rows, sheet.labels))
        lines = {name: texts[:STRIP] for name, texts in samples.items()}
        data = data.assign(text=data["objective"].map(lines)).explode("text")
    headline(figure, sheet.title)
    return save(figure, data, folder, saved)


def note_of(modality: str, has_real: bool) -> str:
    """What a caption says of the samples that it stands below; empty for nothing."""
    if modality == "points":
        return REAL_POINTS if has_real else ""
    return TEXT_SAMPLES if modality == "text" else FIRST_SAMPLES


def _modality(samples: Samples) -> str:
    if isinstance(samples, list):
        return "text"
    return "images" if samples.ndim == 4 else "points"


def _strips(samples: dict[str, Any], labels: dict[str, str]) -> Any:
    """A line of images (n, C, H, W) per label."""
    line = max(0.58, 0.1 + 1.15 * inches(labels.values()))
    size = (WIDTH, line * len(samples) + 0.4)
    figure, axes = plt.subplots(len(samples), 1, figsize=size, squeeze=False)
    for ax, (name, images) in zip(axes[:, 0], samples.items(), strict=True):
        ax.imshow(tiled(images, 1, STRIP), interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(labels[name], rotation=0, ha="right", va="center")
        if name == REAL_LABEL:
            ax.yaxis.label.set_fontweight("bold")
        ax.set_frame_on(False)
    return figure


def tiled(images: np.ndarray, lines: int, columns: int) -> np.ndarray:
    """The first uint8 images of (n, C, H, W), at most lines x columns, as one picture (·, ·, 3)
    with white gutters between them. Images of few pixels are enlarged, so that a gutter can be
    narrower than a pixel of theirs."""
    images = images[: lines * columns]
    factor = max(1, -(-16 // images.shape[-1]))
    images = images.repeat(factor, axis=-1).repeat(factor, axis=-2)
    n, channels, height, width = images.shape
    gap = max(1, round(GUTTER * width))
    padded = np.full((lines * columns, height + gap, width + gap, 3), 255, dtype=np.uint8)
    padded[:n, :height, :width] = images.transpose(0, 2, 3, 1).repeat(3 // channels, axis=-1)
    sheet = padded.reshape(lines, columns, height + gap, width + gap, 3).swapaxes(1, 2)
    sheet = sheet.reshape(lines * (height + gap), columns * (width + gap), 3)
    return sheet[:-gap, :-gap]


def reach_of(samples: list[Any]) -> float:
    """The largest coordinate that scatter plots of points (n, 2) show."""
    ends = []
    for points in samples:
        known = points[np.isfinite(points).all(axis=1)]
        if len(known):
            ends.append(np.quantile(np.abs(known), 0.99))
    return float(1.1 * np.median(ends or [1.0]))


def _scatters(samples: dict[str, Any], real: Any, labels: dict[str, str]) -> Any:
    """A scatter plot of points (n, 2) per objective, all on one scale, over real points in grey,
    which also have the first plot."""
    reach = reach_of([*samples.values()])
    has_real = real is not None
    figure, axes = grid(len(samples) + has_real, COLUMNS, 2.3, 2.5)
    for ax in axes:
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
        if has_real:
            _points(ax, real, REAL_COLOUR)
    if has_real:
        axes[0].set_title(REAL_LABEL, fontsize=8, weight="bold")
    for ax, (name, points) in zip(axes[has_real:], samples.items(), strict=True):
        _points(ax, points, style(name)["color"])
        ax.set_title(labels[name], fontsize=8)
    return figure


def _points(ax: Axes, points: np.ndarray, colour: Any) -> None:
    known = points[np.isfinite(points).all(axis=1)]
    look: Look = {"s": 2, "alpha": 0.5, "linewidths": 0, "rasterized": True, "color": colour}
    ax.scatter(known[:, 0], known[:, 1], **look)


def _texts(samples: dict[str, Any], labels: dict[str, str]) -> Any:
    """A block of lines per label."""
    shown = {name: lines[:STRIP] for name, lines in samples.items()}
    longest = max(len(line) for lines in shown.values() for line in lines)
    width = 0.3 + CHARACTER * min(longest, LONGEST)
    columns = max(1, min(COLUMNS, int(WIDTH / width)))
    height = 0.15 + 0.122 * STRIP + inches(labels.values())
    figure, axes = grid(len(shown), columns, max(width, 1.9), height)
    for ax, (name, lines) in zip(axes, shown.items(), strict=True):
        text = "\n".join(visible(line)[:LONGEST] for line in lines)
        look = {"family": "monospace", "size": 7, "va": "top", "linespacing": 1.25}
        ax.text(0, 1, plain(text), transform=ax.transAxes, **look)
        colour = "0.2" if name == REAL_LABEL else style(name)["color"]
        ax.set_title(labels[name], loc="left", fontsize=8, color=colour)
        ax.set_axis_off()
    return figure


def _passages(samples: dict[str, Any], notes: dict[str, str]) -> tuple[Passage, ...]:
    """The lines of every label, for pages."""
    passages = []
    for name, lines in samples.items():
        note = notes.get(name, "").replace("\n", ", ")
        objective = "" if name == REAL_LABEL else name
        text = "\n".join(map(visible, lines[:STRIP]))
        passages.append(Passage(objective, name, f", {note}" if note else "", text))
    return tuple(passages)
