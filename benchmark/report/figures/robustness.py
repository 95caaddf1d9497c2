"""Which objective trains which architecture: figure 2 of Gulrajani et al. 2017 (arXiv:1704.00028),
with numbers.

Every image dataset with two architectures or more has three figures: samples at equal generator
steps, samples at equal raced seconds, and the final values. In all three a frame marks what
diverged or collapsed; the samples also name every other verdict but ok."""

from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmark.analysis.robustness import crossed, lost, nothing_learnt, robustness
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import headline, heat
from benchmark.drawing.save import Figure, save, stem
from benchmark.drawing.style import Look, described, excess, inches, short, wrap
from benchmark.report.figures.samples import REAL_LABEL, tiled
from benchmark.report.figures.saved import (
    Samples,
    equal_steps,
    finished,
    first_seed,
    panes,
    read_samples,
    real_samples,
    saved_samples,
    steps_text,
)
from benchmark.text import Record, duration

TILE = 4  # a pane shows TILE x TILE images
BYTES = 1e6  # of the images in a figure; with more, the panes show fewer images
WIDTH = 1.06  # from the left of a pane, whose side is 1, to the left of the next
HEIGHT = 1.24  # from the top of a pane to the top of the next, with the texts below it

# verdict -> frame; frames differ in the line too, so that they can be told apart without colour
COLLAPSED: Look = {"edgecolor": "#6A3D9A", "linewidth": 2.5, "linestyle": (0, (3, 3))}
FRAMES: dict[str, Look] = {
    "diverged": {"edgecolor": "#B2182B", "linewidth": 2.5, "linestyle": "-"},
    "collapsed": COLLAPSED,
    "late collapse": COLLAPSED,
}
HALO: Look = {"edgecolor": "white", "linewidth": 5.5}
"""Below a frame, so that the frame stands out from every colour."""

MARKS = (
    "Solid frame: diverged. Dashed frame: collapsed, or late collapse. Other verdicts are named, "
    "without a frame."
)
FINAL = (
    "Median of the final value over the seeds that finished, and how many seeds were lost. Light "
    "is good, on one scale, logarithmic where the metric has ratios; small differences are light. "
    f"{MARKS} A run that diverged is the worst value. Grey: no finished seed with a value, "
    "or an architecture with which nothing was learnt."
)
EQUAL_STEPS = (
    "After {} generator steps: the most that all finished runs have saved samples of, or, where "
    "they share none, those of the run that ended first. A run that has none of that step shows "
    "its last before it, with the step below."
)
EQUAL_TIME = (
    "Within a row, each run's last saved samples at or before the time on the left, the least that "
    "a finished run of that architecture took; below them the generator step and the time they are "
    "of. Times are generator steps × what one costs by the race before the first cell."
)
FIRST_SAMPLES = "The first {} samples, not picked."


class Sheet(NamedTuple):
    """The texts of a figure of samples."""

    name: str
    title: str
    caption: str
    labels: pd.Series
    """The text below every pane; NaN for none."""
    times: dict[Any, str] = {}
    """architecture -> its time."""


def draw(tables: Tables, folder: Path) -> list[Figure]:
    """The figures of every dataset with two architectures or more, as far as there are results:
    those of samples first."""
    samples = saved_samples(tables, folder)
    pictures = []
    values = []
    for dataset in crossed(tables.cells):
        values += final_values(tables, folder, dataset)
        rows = samples[samples["dataset"] == dataset]
        if rows.empty:
            continue
        seed = first_seed(rows)
        real = real_samples(tables, folder, dataset)
        is_shown = (tables.cells["dataset"] == dataset) & (tables.cells["seed"] == seed)
        cells = tables.cells[is_shown]
        rows = rows[rows["seed"] == seed]
        pictures.append(at_equal_steps(cells, rows, real, folder))
        cells = cells[cells["race_fault"] == ""]
        rows = rows[rows["cell"].isin(cells["key"])]
        if len(rows):
            pictures.append(at_equal_time(cells, rows, real, folder))
    return [*pictures, *values]


def final_values(tables: Tables, folder: Path, dataset: str) -> list[Figure]:
    """Architecture x objective: median over seeds of the primary metric's final value, and how many
    seeds were lost. No figure where no run has finished."""
    rows = robustness(tables, dataset)
    if not rows["n"].any():
        return []
    column = tables.primary[dataset]
    texts = [_final(row) for row in rows.to_dict("records")]
    architectures = list(rows["architecture"].unique())
    idle = [name for name in architectures if nothing_learnt(tables, dataset, name)]
    ranked = rows["median"].where(~rows["architecture"].isin(idle))
    rows = rows.assign(worse=excess(ranked, column), text=texts)
    objectives = list(rows["objective"].unique())
    wide: dict[str, pd.DataFrame] = {}
    for name in ("worse", "text", *FRAMES):
        by_place = rows.pivot(index="architecture", columns="objective", values=name)
        wide[name] = by_place.reindex(index=architectures, columns=objectives)
    heads = [wrap(name) for name in objectives]
    height = max(0.75, 0.25 + inches(texts), 0.1 + inches(map(wrap, architectures)))
    size = (2.2 + 1.5 * len(heads), 0.6 + inches(heads) + height * len(architectures))
    figure, ax = plt.subplots(figsize=size)
    heat(ax, wide["worse"], wide["text"].fillna("not in\nthe matrix"))
    ax.set_xticks(ax.get_xticks(), heads, rotation=0)
    ax.xaxis.tick_top()
    has_collapsed = (wide["collapsed"] > 0) | (wide["late collapse"] > 0)
    for i, j in np.argwhere((wide["diverged"] > 0).to_numpy()):
        _frame(ax, (j, i), 0.05, FRAMES["diverged"])
    for i, j in np.argwhere(has_collapsed.to_numpy()):
        _frame(ax, (j, i), 0.1, COLLAPSED)
    title = f"Robustness, {dataset}: final {described(column)}"
    headline(figure, title)
    data = rows.drop(columns=["worse", "text"])
    saved = Figure(stem("robustness_final", dataset), title, FINAL, "where")
    return [save(figure, data, folder, saved)]


def _final(row: Record) -> str:
    """The text of a cell: `24.1`, and a line for every way in which seeds were lost."""
    value = [short(row["median"])] if np.isfinite(row["median"]) else []
    return "\n".join([*value, *lost(row)])


def _frame(ax: Axes, corner: tuple[int, int], inset: float, look: Look) -> None:
    """A frame within the unit square at a corner, on a halo."""
    x, y = corner
    side = 1 - 2 * inset
    for line in (HALO, look):
        square = plt.Rectangle((x + inset, y + inset), side, side, fill=False, **line)
        ax.add_patch(square)


def at_equal_steps(
    cells: pd.DataFrame, rows: pd.DataFrame, real: Samples | None, folder: Path
) -> Figure:
    """Samples of one seed after the most generator steps that all finished runs have saved samples
    of; where they share none, after those of the run that ended first. rows: the saved samples of
    `cells`."""
    steps = equal_steps(rows)
    shown = panes(cells, rows[rows["g_steps"] <= steps]).assign(equal_steps=steps)
    earlier = shown["g_steps"].where(shown["g_steps"] < steps)
    sheet = Sheet(
        "robustness_steps",
        f"Robustness, {cells['dataset'].iloc[0]}: samples after {steps:,.0f} generator steps",
        EQUAL_STEPS.format(f"{steps:,.0f}"),
        earlier.map(steps_text, na_action="ignore"),
    )
    return _draw(shown, sheet, real, folder)


def at_equal_time(
    cells: pd.DataFrame, rows: pd.DataFrame, real: Samples | None, folder: Path
) -> Figure:
    """Samples of one seed at or before equal raced seconds within each architecture: the least
    that a finished run of it took. rows: the saved samples of `cells`."""
    ends = finished(rows, "architecture").groupby(["architecture", "cell"])["raced_seconds"].max()
    limits = ends.groupby("architecture").min()
    in_time = rows["raced_seconds"] <= rows["architecture"].map(limits)
    shown = panes(cells, rows[in_time])
    shown = shown.assign(equal_time=shown["architecture"].map(limits))
    steps = shown["g_steps"].map(steps_text, na_action="ignore")
    sheet = Sheet(
        "robustness_time",
        f"Robustness, {cells['dataset'].iloc[0]}: samples at equal raced seconds",
        EQUAL_TIME,
        steps + ", " + shown["raced_seconds"].map(_time),
        limits.map(_time).to_dict(),
    )
    return _draw(shown, sheet, real, folder)


def _time(seconds: float) -> str:
    return duration(seconds, digits=3)


def _draw(shown: pd.DataFrame, sheet: Sheet, real: Samples | None, folder: Path) -> Figure:
    """Architectures (rows) x objectives (columns) of panes, below a row of real samples where there
    are some. All are on one axes, on which a pane is a square of side 1: an axes for each would
    take most of the time."""
    first = [] if real is None else [REAL_LABEL]
    rows = [*first, *shown["architecture"].unique()]
    columns = list(shown["objective"].unique())
    by_place: dict[Any, Record] = {}
    for pane in shown.assign(label=sheet.labels.fillna("")).to_dict("records"):
        by_place[pane["architecture"], pane["objective"]] = pane
    images = _images(by_place)
    side = _side(len(images), next(iter(images.values()))) if images else TILE
    figure, ax = plt.subplots(figsize=(1.5 + 1.5 * len(columns), 0.8 + 1.75 * len(rows)))
    if real is not None:
        _show_real(ax, np.asarray(real), side, len(columns))
    for (i, architecture), (j, objective) in product(enumerate(rows), enumerate(columns)):
        if architecture != REAL_LABEL:
            place = (architecture, objective)
            _pane(ax, (WIDTH * j, HEIGHT * i), by_place.get(place), images.get(place), side)
    for j, objective in enumerate(columns):
        ax.text(WIDTH * j + 0.5, -0.05, wrap(objective), ha="center", va="bottom", size=8)
    for i, architecture in enumerate(rows):
        head = wrap(architecture)
        if architecture in sheet.times:
            head += f"\n\n{sheet.times[architecture]}"
        ax.text(-0.08, HEIGHT * i + 0.5, head, ha="right", va="center", size=8)
    ax.set(xlim=(-0.02, WIDTH * len(columns)), ylim=(HEIGHT * len(rows), -0.02), aspect="equal")
    ax.set_axis_off()
    title = f"{sheet.title}, seed {shown['seed'].iloc[0]}"
    headline(figure, title)
    caption = f"{sheet.caption} {FIRST_SAMPLES.format(side**2)} {MARKS}"
    name = stem(sheet.name, shown["dataset"].iloc[0])
    saved = Figure(name, title, caption, "first")
    return save(figure, shown.drop(columns="file"), folder, saved)


def _images(by_place: dict[Any, Record]) -> dict[Any, np.ndarray]:
    """The saved images (n, C, H, W) of every pane that has some."""
    images: dict[Any, np.ndarray] = {}
    for place, pane in by_place.items():
        if not pd.isna(pane["file"]):
            images[place] = np.asarray(read_samples(Path(pane["file"])))
    return images


def _show_real(ax: Axes, images: np.ndarray, side: int, most: int) -> None:
    """Real images in the first row, side x side in a pane, in as many of `most` panes as they
    fill."""
    for j in range(min(most, max(1, len(images) // side**2))):
        picture = tiled(images[j * side**2 :], side, side)
        ax.imshow(picture, extent=(WIDTH * j, WIDTH * j + 1, 1, 0), interpolation="none")


def _pane(
    ax: Axes,
    corner: tuple[float, float],
    pane: Record | None,
    images: np.ndarray | None,
    side: int,
) -> None:
    """A pane with its samples, or with why there are none, and the frame of its verdict."""
    if pane is None or images is None:
        _show_empty(ax, corner, pane)
    else:
        _show(ax, corner, pane, tiled(images, side, side))
    verdict = pane["verdict"] if pane else None
    if verdict in FRAMES:
        look = {"fill": False, "clip_on": False, **FRAMES[verdict]}
        ax.add_patch(plt.Rectangle(corner, 1, 1, **look))


def _show(ax: Axes, corner: tuple[float, float], pane: Record, picture: np.ndarray) -> None:
    """A pane's samples, with its mark and its label below."""
    x, y = corner
    ax.imshow(picture, extent=(x, x + 1, y + 1, y), interpolation="none")
    text = "\n".join(filter(None, (pane["mark"], pane["label"])))
    ax.text(x + 0.5, y + 1.03, text, ha="center", va="top", size=7)


def _show_empty(ax: Axes, corner: tuple[float, float], pane: Record | None) -> None:
    """A grey pane that says why there are no samples."""
    x, y = corner
    text = "not in\nthe matrix"
    if pane is not None:
        text = pane["mark"].replace(" at", "\nat") or "no samples"
    ax.add_patch(plt.Rectangle(corner, 1, 1, facecolor="0.92", edgecolor="0.8"))
    ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", size=8)


def _side(panes: int, images: np.ndarray) -> int:
    """TILE, or fewer images a side where that many of (n, C, H, W) would make a heavy figure."""
    return int(np.clip(np.sqrt(BYTES / (panes * images[0].size)), 2, TILE))
