"""Which objective trains which architecture: the grid of Gulrajani et al. 2017 (arXiv:1704.00028),
figure 2, with numbers. Per image dataset with two architectures or more: the final values, samples
at equal generator steps, and samples at equal training time. What diverged or collapsed is framed
in all three, every other verdict but ok named."""

from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmark.analysis.robustness import crossed, lost, robustness
from benchmark.analysis.tables import Tables
from benchmark.drawing.style import (
    Figure,
    described,
    heat,
    inches,
    log_values,
    plain,
    save,
    short,
    stem,
    wrap,
)
from benchmark.report.figures.samples import saved_samples

TILE = 4  # a pane shows TILE x TILE images
BYTES = 1e6  # of the images of a figure; with more, the panes show fewer
FRAMES: Any = {  # verdict -> frame; told apart by the line as well
    "diverged": {"edgecolor": "#B2182B", "linewidth": 2.5, "linestyle": "-"},
    "collapsed": {"edgecolor": "#6A3D9A", "linewidth": 2.5, "linestyle": (0, (3, 3))},
}
FRAMES["late collapse"] = FRAMES["collapsed"]
HALO: Any = {
    "edgecolor": "white",
    "linewidth": 5.5,
}  # below a frame, which then stands out from any colour
MARKS = "Solid frame: diverged. Dashed frame: collapsed, or late collapse. Other verdicts are named, without a frame."


def robustness_figures(tables: Tables, folder: Path) -> list[Figure]:
    """The figures of every dataset with two architectures or more, as far as there are results."""
    samples = saved_samples(tables, folder)
    figures = []
    for dataset in crossed(tables.cells):
        figures.append(final_values(tables, folder, dataset))
        rows = samples[samples["dataset"] == dataset]
        if len(rows):
            seed = (
                rows.groupby("seed", sort=False)["cell"].nunique().idxmax()
            )  # the first with the most panes
            cells = tables.cells[
                (tables.cells["dataset"] == dataset) & (tables.cells["seed"] == seed)
            ]
            rows = rows[rows["seed"] == seed]
            figures += [at_equal_steps(cells, rows, folder), at_equal_time(cells, rows, folder)]
    return [figure for figure in figures if figure]


def final_values(tables: Tables, folder: Path, dataset: str) -> Figure | None:
    """Architecture x objective: IQM over seeds of the primary metric's final value, and how many
    seeds were lost."""
    rows = robustness(tables, dataset)
    if not rows["n"].any():
        return None
    column = tables.primary[dataset]
    text = [
        "\n".join([*([short(row["iqm"])] if row["n"] > 0 else []), *lost(row)])
        for row in rows.to_dict("records")
    ]
    rows = rows.assign(log=log_values(rows["iqm"], pd.Series(column, rows.index)), text=text)
    order: dict[str, Any] = {
        "index": rows["architecture"].unique(),
        "columns": rows["objective"].unique(),
    }
    wide: Any = {
        name: rows.pivot(index="architecture", columns="objective", values=name).reindex(**order)
        for name in rows
    }
    height = max(0.75, 0.25 + inches(text), 0.1 + inches(map(wrap, order["index"])))
    height = 0.6 + inches(map(wrap, order["columns"])) + height * len(order["index"])
    figure, ax = plt.subplots(figsize=(2.2 + 1.5 * len(order["columns"]), height))
    heat(ax, wide["log"] - wide["log"].min(axis=None), wide["text"].fillna("not in\nthe matrix"))
    ax.set_xticks(ax.get_xticks(), [wrap(name) for name in order["columns"]], rotation=0)
    ax.xaxis.tick_top()
    for i, j in np.ndindex(wide["seeds"].shape):
        for inset, marks in ((0.05, ["diverged"]), (0.1, ["collapsed", "late collapse"])):
            if any(wide[mark].iloc[i, j] > 0 for mark in marks):
                look = FRAMES[marks[0]]
                corner, size = (j + inset, i + inset), 1 - 2 * inset
                for line in (HALO, look):
                    ax.add_patch(plt.Rectangle(corner, size, size, fill=False, **line))
    title = f"Robustness, {dataset}: final {described(column)}"
    figure.suptitle(plain(title), fontsize=10)
    caption = "IQM of the final value over the seeds that finished, and how many seeds were lost. Light is good, on "
    caption += f"one logarithmic scale. {MARKS} Diverged runs do not count in the IQM, all others do. Grey: no "
    caption += "finished seed."
    data = rows.drop(columns=["log", "text"])
    return save(
        figure, data, folder, Figure(stem("robustness_final", dataset), title, caption, "where")
    )


def at_equal_steps(cells: pd.DataFrame, rows: pd.DataFrame, folder: Path) -> Figure:
    """Samples of one seed after the most generator steps that all finished runs have saved samples
    of; where they have none in common, after those of the run that ended first. `rows`: the saved
    samples of `cells`."""
    of_run = _finished(rows, "dataset").groupby("cell")["g_steps"]
    steps = max(set.intersection(*of_run.agg(set)), default=0) or of_run.max().min()
    panes = _panes(cells, rows[rows["g_steps"] <= steps]).assign(equal_steps=steps)
    labels = panes["g_steps"].where(panes["g_steps"] < steps).map(_steps, na_action="ignore")
    title = f"Robustness, {cells['dataset'].iloc[0]}: samples after {steps:,.0f} generator steps"
    caption = f"After {steps:,.0f} generator steps: the most that all finished runs have saved samples of, or, where "
    caption += "they share none, those of the run that ended first. A run that has none of that step shows its last "
    caption += "before it, with the step below."
    return _draw(panes, labels, {}, folder, "robustness_steps", title, caption)


def at_equal_time(cells: pd.DataFrame, rows: pd.DataFrame, folder: Path) -> Figure:
    """Samples of one seed at or before an equal training time within each architecture: the least
    that a finished run of it took. `rows`: the saved samples of `cells`."""
    ends = _finished(rows, "architecture").groupby(["architecture", "cell"])["train_seconds"].max()
    least = ends.groupby("architecture").min()
    panes = _panes(cells, rows[rows["train_seconds"] <= rows["architecture"].map(least)])
    panes = panes.assign(equal_seconds=panes["architecture"].map(least))
    title = f"Robustness, {cells['dataset'].iloc[0]}: samples at equal training time"
    caption = "Within a row, each run's last saved samples at or before the training time on the left, the least "
    caption += "that a finished run of that architecture took; below them the generator step and the time they are "
    caption += "of. The training clock only, without measuring."
    times = least.map(_seconds).to_dict()
    labels = (
        panes["g_steps"].map(_steps, na_action="ignore")
        + ", "
        + panes["train_seconds"].map(_seconds)
    )
    return _draw(panes, labels, times, folder, "robustness_time", title, caption)


def _finished(rows: pd.DataFrame, of: str) -> pd.DataFrame:
    """The samples of the runs that are done; of all runs of an `of` where none is."""
    done = rows["status"] == "done"
    return rows[done | ~done.groupby(rows[of]).transform("any")]


def _panes(cells: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, with the last of its samples among `rows` and its mark."""
    last = (
        rows.sort_values("g_steps", kind="stable")
        .drop_duplicates("cell", keep="last")
        .set_index("cell")
    )
    names = ["key", "architecture", "objective", "dataset", "seed", "status", "onset", "verdict"]
    panes = cells[names].join(last[["g_steps", "samples_seen", "train_seconds", "file"]], on="key")
    return panes.assign(mark=[_mark(pane) for pane in panes.to_dict("records")])


def _mark(pane: dict[Any, Any]) -> str:
    if pane["status"] == "diverged":
        return f"diverged at step {pane['onset']:,.0f}"
    if pane["status"] != "done":
        return str(pane["status"])
    return "" if pd.isna(pane["verdict"]) or pane["verdict"] == "ok" else str(pane["verdict"])


def _draw(
    panes: pd.DataFrame,
    labels: pd.Series,
    times: dict[Any, str],
    folder: Path,
    name: str,
    title: str,
    caption: str,
) -> Figure:
    """Architectures (rows) x objectives (columns) of panes, by architecture with a time, by pane
    with a label. All on one axes: a pane is a square of side 1, and an axes for each would take
    most of the time."""
    rows, columns = list(panes["architecture"].unique()), list(panes["objective"].unique())
    figure, ax = plt.subplots(figsize=(1.5 + 1.5 * len(columns), 0.8 + 1.75 * len(rows)))
    records = panes.assign(label=labels.fillna("")).to_dict("records")
    found = {(pane["architecture"], pane["objective"]): pane for pane in records}
    images = {
        place: np.load(pane["file"])["samples"]
        for place, pane in found.items()
        if not pd.isna(pane["file"])
    }
    side = _side(len(images), next(iter(images.values()))) if images else TILE
    for (i, architecture), (j, objective) in product(enumerate(rows), enumerate(columns)):
        x, y, pane = 1.06 * j, 1.24 * i, found.get((architecture, objective))
        if pane and (architecture, objective) in images:
            picture = _tile(images[architecture, objective], side)
            ax.imshow(picture, extent=(x, x + 1, y + 1, y), interpolation="none")
            text = "\n".join(filter(None, (pane["mark"], pane["label"])))
            ax.text(x + 0.5, y + 1.03, text, ha="center", va="top", size=7)
        else:
            text = (
                "not in\nthe matrix"
                if pane is None
                else pane["mark"].replace(" at", "\nat") or "no samples"
            )
            ax.add_patch(plt.Rectangle((x, y), 1, 1, facecolor="0.92", edgecolor="0.8"))
            ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", size=8)
        if pane and (look := FRAMES.get(pane["verdict"])):
            ax.add_patch(plt.Rectangle((x, y), 1, 1, fill=False, clip_on=False, **look))
    for j, objective in enumerate(columns):
        ax.text(1.06 * j + 0.5, -0.05, wrap(objective), ha="center", va="bottom", size=8)
    for i, architecture in enumerate(rows):
        time = f"\n\n{times[architecture]}" if architecture in times else ""
        ax.text(-0.08, 1.24 * i + 0.5, wrap(architecture) + time, ha="right", va="center", size=8)
    ax.set(xlim=(-0.02, 1.06 * len(columns)), ylim=(1.24 * len(rows), -0.02), aspect="equal")
    ax.set_axis_off()
    title += f", seed {panes['seed'].iloc[0]}"
    figure.suptitle(plain(title), fontsize=10)
    caption += f" The first {side**2} samples, not picked. {MARKS}"
    saved = Figure(stem(name, panes["dataset"].iloc[0]), title, caption, "where")
    return save(figure, panes.drop(columns="file"), folder, saved)


def _side(panes: int, images: np.ndarray) -> int:
    """TILE, or fewer images a side where that many of (n, C, H, W) would make a heavy figure."""
    return int(np.clip(np.sqrt(BYTES / (panes * images[0].size)), 2, TILE))


def _tile(images: np.ndarray, side: int) -> np.ndarray:
    """The first side x side of uint8 images (n, C, H, W) as one picture (side H, side W, 3)."""
    sheet = images[: side**2].reshape(side, side, *images.shape[1:]).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(side * images.shape[2], side * images.shape[3], images.shape[1])
    return sheet.repeat(3 // images.shape[1], axis=-1)


def _steps(steps: float) -> str:
    return f"{steps:,.0f} steps"


def _seconds(seconds: float) -> str:
    """`12 s`, `3.4 min`, `2.1 h`."""
    size, unit = (1, "s") if seconds < 120 else (60, "min") if seconds < 7200 else (3600, "h")
    return f"{seconds / size:.3g} {unit}"
