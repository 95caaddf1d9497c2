"""Which objective trains which architecture: figure 2 of Gulrajani et al. 2017 (arXiv:1704.00028),
with numbers.

Every image dataset with two architectures or more has three figures: the final values, samples at
equal generator steps, and samples at equal raced seconds. In all three a frame marks what diverged
or collapsed; the samples also name every other verdict but ok."""

from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmark.analysis.robustness import crossed, lost, robustness
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import headline, heat
from benchmark.drawing.save import Figure, save, stem
from benchmark.drawing.style import Look, described, excess, inches, short, wrap
from benchmark.report.figures.samples import read_samples, saved_samples
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
    f"{MARKS} A run that diverged is the worst value. Grey: no finished seed with a value."
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
    """The figures of every dataset with two architectures or more, as far as there are results."""
    samples = saved_samples(tables, folder)
    figures = []
    for dataset in crossed(tables.cells):
        figures += final_values(tables, folder, dataset)
        rows = samples[samples["dataset"] == dataset]
        if rows.empty:
            continue
        # the first of the seeds with the most panes
        seed = rows.groupby("seed", sort=False)["cell"].nunique().idxmax()
        is_shown = (tables.cells["dataset"] == dataset) & (tables.cells["seed"] == seed)
        cells = tables.cells[is_shown]
        rows = rows[rows["seed"] == seed]
        figures.append(at_equal_steps(cells, rows, folder))
        cells = cells[cells["race_fault"] == ""]
        rows = rows[rows["cell"].isin(cells["key"])]
        if len(rows):
            figures.append(at_equal_time(cells, rows, folder))
    return figures


def final_values(tables: Tables, folder: Path, dataset: str) -> list[Figure]:
    """Architecture x objective: median over seeds of the primary metric's final value, and how many
    seeds were lost. No figure where no run has finished."""
    rows = robustness(tables, dataset)
    if not rows["n"].any():
        return []
    column = tables.primary[dataset]
    texts = [_final(row) for row in rows.to_dict("records")]
    rows = rows.assign(worse=excess(rows["median"], column), text=texts)
    architectures = list(rows["architecture"].unique())
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


def at_equal_steps(cells: pd.DataFrame, rows: pd.DataFrame, folder: Path) -> Figure:
    """Samples of one seed after the most generator steps that all finished runs have saved samples
    of; where they share none, after those of the run that ended first. rows: the saved samples of
    `cells`."""
    per_run = _finished(rows, "dataset").groupby("cell")["g_steps"]
    steps = max(set.intersection(*per_run.agg(set)), default=0) or per_run.max().min()
    panes = _panes(cells, rows[rows["g_steps"] <= steps]).assign(equal_steps=steps)
    earlier = panes["g_steps"].where(panes["g_steps"] < steps)
    sheet = Sheet(
        "robustness_steps",
        f"Robustness, {cells['dataset'].iloc[0]}: samples after {steps:,.0f} generator steps",
        EQUAL_STEPS.format(f"{steps:,.0f}"),
        earlier.map(_steps, na_action="ignore"),
    )
    return _draw(panes, sheet, folder)


def at_equal_time(cells: pd.DataFrame, rows: pd.DataFrame, folder: Path) -> Figure:
    """Samples of one seed at or before equal raced seconds within each architecture: the least
    that a finished run of it took. rows: the saved samples of `cells`."""
    finished = _finished(rows, "architecture")
    ends = finished.groupby(["architecture", "cell"])["raced_seconds"].max()
    limits = ends.groupby("architecture").min()
    in_time = rows["raced_seconds"] <= rows["architecture"].map(limits)
    panes = _panes(cells, rows[in_time])
    panes = panes.assign(equal_time=panes["architecture"].map(limits))
    steps = panes["g_steps"].map(_steps, na_action="ignore")
    sheet = Sheet(
        "robustness_time",
        f"Robustness, {cells['dataset'].iloc[0]}: samples at equal raced seconds",
        EQUAL_TIME,
        steps + ", " + panes["raced_seconds"].map(_time),
        limits.map(_time).to_dict(),
    )
    return _draw(panes, sheet, folder)


def _steps(steps: float) -> str:
    return f"{steps:,.0f} steps"


def _time(seconds: float) -> str:
    return duration(seconds, digits=3)


def _finished(rows: pd.DataFrame, axis: str) -> pd.DataFrame:
    """The samples of the runs that are done; of all runs with a label of `axis` where none is."""
    done = rows["status"] == "done"
    return rows[done | ~done.groupby(rows[axis]).transform("any")]


def _panes(cells: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, with the last of its samples among `rows` and its mark."""
    ordered = rows.sort_values("g_steps", kind="stable")
    last = ordered.drop_duplicates("cell", keep="last").set_index("cell")
    names = ["key", "architecture", "objective", "dataset", "seed", "status", "onset", "verdict"]
    panes = cells[names].join(last[["g_steps", "samples_seen", "raced_seconds", "file"]], on="key")
    return panes.assign(mark=[_mark(pane) for pane in panes.to_dict("records")])


def _mark(pane: Record) -> str:
    """What a pane says of its run: nothing where the run is done and ok."""
    if pane["status"] == "diverged":
        return f"diverged at step {pane['onset']:,.0f}"
    if pane["status"] != "done":
        return str(pane["status"])
    if pd.isna(pane["verdict"]) or pane["verdict"] == "ok":
        return ""
    return str(pane["verdict"])


def _draw(panes: pd.DataFrame, sheet: Sheet, folder: Path) -> Figure:
    """Architectures (rows) x objectives (columns) of panes. All are on one axes, on which a pane is
    a square of side 1: an axes for each would take most of the time."""
    rows = list(panes["architecture"].unique())
    columns = list(panes["objective"].unique())
    by_place: dict[Any, Record] = {}
    for pane in panes.assign(label=sheet.labels.fillna("")).to_dict("records"):
        by_place[pane["architecture"], pane["objective"]] = pane
    images = _images(by_place)
    side = _side(len(images), next(iter(images.values()))) if images else TILE
    figure, ax = plt.subplots(figsize=(1.5 + 1.5 * len(columns), 0.8 + 1.75 * len(rows)))
    for (i, architecture), (j, objective) in product(enumerate(rows), enumerate(columns)):
        place = (architecture, objective)
        corner = (WIDTH * j, HEIGHT * i)
        if place in images:
            _show(ax, corner, by_place[place], _tile(images[place], side))
        else:
            _show_empty(ax, corner, by_place.get(place))
        verdict = by_place[place]["verdict"] if place in by_place else None
        if verdict in FRAMES:
            look = {"fill": False, "clip_on": False, **FRAMES[verdict]}
            ax.add_patch(plt.Rectangle(corner, 1, 1, **look))
    for j, objective in enumerate(columns):
        ax.text(WIDTH * j + 0.5, -0.05, wrap(objective), ha="center", va="bottom", size=8)
    for i, architecture in enumerate(rows):
        head = wrap(architecture)
        if architecture in sheet.times:
            head += f"\n\n{sheet.times[architecture]}"
        ax.text(-0.08, HEIGHT * i + 0.5, head, ha="right", va="center", size=8)
    ax.set(xlim=(-0.02, WIDTH * len(columns)), ylim=(HEIGHT * len(rows), -0.02), aspect="equal")
    ax.set_axis_off()
    title = f"{sheet.title}, seed {panes['seed'].iloc[0]}"
    headline(figure, title)
    caption = f"{sheet.caption} {FIRST_SAMPLES.format(side**2)} {MARKS}"
    saved = Figure(stem(sheet.name, panes["dataset"].iloc[0]), title, caption, "where")
    return save(figure, panes.drop(columns="file"), folder, saved)


def _images(by_place: dict[Any, Record]) -> dict[Any, np.ndarray]:
    """The saved images (n, C, H, W) of every pane that has some."""
    images: dict[Any, np.ndarray] = {}
    for place, pane in by_place.items():
        if not pd.isna(pane["file"]):
            images[place] = read_samples(Path(pane["file"]))
    return images


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


def _tile(images: np.ndarray, side: int) -> np.ndarray:
    """The first side x side of uint8 images (n, C, H, W) as one picture (side H, side W, 3)."""
    _, channels, height, width = images.shape
    sheet = images[: side**2].reshape(side, side, channels, height, width)
    sheet = sheet.transpose(0, 3, 1, 4, 2).reshape(side * height, side * width, channels)
    return sheet.repeat(3 // channels, axis=-1)
