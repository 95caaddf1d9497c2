"""One function per figure. Each writes STEM.png (150 dpi), STEM.svg and STEM.csv (the numbers drawn) to figures/.

Colours are fixed per objective and safe for colour-blind eyes; a parameterised label keeps its objective's hue, darker,
with another line and marker. All of it comes from the name alone, so a new variant shifts no colour.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.ticker import EngFormatter

from benchmark.cell import digest
from benchmark.metrics import metric
from benchmark.tables import GROUP, Tables

COLOURS = {  # Okabe & Ito 2008
    **{"minimax": "#E69F00", "nonsaturating": "#0072B2", "lsgan": "#009E73"},
    **{"wgan": "#CC79A7", "wgan_gp": "#56B4E9", "wgan_fdgp": "#D55E00"},
}
OTHERS = ("#332288", "#882255", "#999933", "#44AA99", "#661100", "#6E6E6E", "#000000")
DASHES = [(0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3))]
MARKERS = "sD^vPX"
LOOK: Any = {
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
LOOK |= {"legend.handlelength": 3.5, "figure.constrained_layout.use": True, "svg.hashsalt": "ganbench"}
BAND = "Median over seeds; the band runs from the lowest seed to the highest."


@dataclass(frozen=True)
class Figure:
    """A figure on disk: figures/STEM.png, .svg and .csv; title and caption are plain text."""

    stem: str
    title: str
    caption: str


def style(label: str) -> dict[str, Any]:
    """Colour, line and marker of an objective label, from its name and parameters alone."""
    name, _, params = label.partition("[")
    colour, pick = COLOURS.get(name, OTHERS[int(digest(name), 16) % len(OTHERS)]), int(digest(params), 16)
    if not params:
        return {"color": colour, "linestyle": "-", "marker": "o"}
    darker = tuple(0.6 * channel for channel in to_rgb(colour))
    return {"color": darker, "linestyle": DASHES[pick % len(DASHES)], "marker": MARKERS[pick % len(MARKERS)]}


def draw_all(tables: Tables, folder: Path) -> list[Figure]:
    """Every figure the results so far allow, written to `folder`/figures, in reading order."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    with sns.axes_style("whitegrid"), plt.rc_context(LOOK):
        figures = [heatmap(tables, folder), learning_curves(tables, folder), *sample_grids(tables, folder)]
        figures += [cost(tables, folder), gradient_norms(tables, folder)]
    return [figure for figure in figures if figure]


def heatmap(tables: Tables, folder: Path) -> Figure | None:
    """Objective x (architecture on dataset): IQM of the primary metric's final value."""
    rows = tables.summary[tables.summary["of"] == "final"]
    rows = rows[rows["metric"] == rows["dataset"].map(tables.primary)]
    if rows["iqm"].isna().all():
        return None
    sign = rows["metric"].map(lambda name: 1 if metric(name).direction == "min" else -1)
    text = [_short(iqm) if n else "–" for iqm, n in zip(rows["iqm"], rows["n"], strict=True)]
    text = [
        f"{cell}\n{d}/{n} diverged" if d else cell
        for cell, d, n in zip(text, rows["diverged"], rows["n_expected"], strict=True)
    ]
    place = rows["architecture"] + "\non " + rows["dataset"] + "\n" + rows["metric"].map(_label)
    long = rows.assign(place=place, text=text, log=sign * np.log10(rows["iqm"].where(rows["iqm"] > 0)))
    order: dict[str, Any] = {"index": list(rows["objective"].unique()), "columns": list(place.unique())}
    texts, logs = (long.pivot(index="objective", columns="place", values=of).reindex(**order) for of in ("text", "log"))
    figure, ax = plt.subplots(figsize=(2.5 + 1.7 * len(order["columns"]), 1.2 + 0.45 * len(order["index"])))
    worse = logs - logs.min()
    sns.heatmap(
        worse, annot=texts, fmt="", annot_kws={"size": 8}, cmap="crest", cbar=False, linewidths=2, vmin=0, ax=ax
    )
    for i, j in np.argwhere(worse.isna().to_numpy()):
        ax.text(j + 0.5, i + 0.5, str(texts.fillna("–").iloc[i, j]), ha="center", va="center", size=8)
    ax.set_facecolor("0.88")
    ax.set(xlabel="", ylabel="")
    ax.set_yticks(ax.get_yticks(), [_wrap(name) for name in order["index"]], rotation=0)
    caption = (
        "IQM of the final value over the seeds that finished. Light is good; each column has its own scale, the log of "
    )
    caption += "the ratio to its best. Grey: no finished seed."
    return _save(figure, rows, folder, Figure("heatmap", "Where each objective ends", caption))


def learning_curves(tables: Tables, folder: Path) -> Figure | None:
    """The primary metric against samples seen: median over seeds, band from the lowest to the highest seed."""
    rows = _joined(tables.evals, tables.cells)
    rows = rows[rows["metric"] == rows["dataset"].map(tables.primary)]
    if rows.empty:
        return None
    data = _over_seeds(rows, "samples_seen", ["value"])
    figure, axes = _facets(rows, height=3.8)
    last = rows.sort_values("samples_seen").drop_duplicates("cell", keep="last")
    for place, of_facet in data.groupby(GROUP, sort=False):
        dataset, architecture = map(str, place)
        ax, column = axes[dataset, architecture], tables.primary[dataset]
        _lines(ax, of_facet, "samples_seen")
        ax.axhline(tables.floor(dataset, column), color="0.35", linestyle="--", linewidth=1)
        ends = last[
            (last["dataset"] == dataset) & (last["architecture"] == architecture) & (last["status"] == "diverged")
        ]
        for objective, x, y in zip(ends["objective"], ends["samples_seen"], ends["value"], strict=True):
            ax.plot(x, y, "X", color=style(objective)["color"], markersize=8, markeredgecolor="k")
        ax.set_yscale("log" if of_facet["low"].min() > 0 else "linear")
        ax.set(xlabel="samples seen by the critic", ylabel=_label(column))
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    _legend(figure, rows["objective"].unique())
    caption = f"{BAND} Dashed line: the noise floor, real against held-out real. ✕: the last measurement of a run that "
    caption += "diverged; the median goes on over the seeds that are left."
    return _save(figure, data, folder, Figure("learning_curves", "Learning curves", caption))


def sample_grids(tables: Tables, folder: Path) -> list[Figure]:
    """Per dataset and architecture: samples of every objective at equal samples seen, all of one seed."""
    rows = _joined(tables.evals[["cell", "samples_seen", "g_steps"]].drop_duplicates(), tables.cells)
    names = [f"{cell}/samples/{step:06.0f}.npz" for cell, step in zip(rows["cell"], rows["g_steps"], strict=True)]
    rows = rows.assign(file=[str(folder / "cells" / name) for name in names])
    rows = rows[rows["file"].map(os.path.exists).astype(bool)]
    return [_samples(of_place, folder, *map(str, place)) for place, of_place in rows.groupby(GROUP, sort=False)]


def _samples(rows: pd.DataFrame, folder: Path, dataset: str, architecture: str) -> Figure:
    reach = rows.groupby(["seed", "objective"])["samples_seen"].max().groupby("seed").agg(["size", "min"])
    reach = reach.sort_values(["size", "min"], kind="stable", ascending=False)
    seed, common = reach.index[0], reach["min"].iloc[0]  # the seed with the most objectives that have reached the most
    chosen = rows[(rows["seed"] == seed) & (rows["samples_seen"] <= common)].sort_values("samples_seen", kind="stable")
    names = rows["objective"].unique()
    chosen = (
        chosen.drop_duplicates("objective", keep="last").set_index("objective").reindex(names).dropna(subset="cell")
    )
    samples = {name: np.load(file)["samples"] for name, file in chosen["file"].items()}
    behind = chosen["samples_seen"][chosen["samples_seen"] < common]
    labels = {name: _wrap(name) + (f"\nat {behind[name]:,.0f}" if name in behind else "") for name in samples}
    figure = (_strips if rows["modality"].iloc[0] == "images" else _scatters)(samples, labels)
    title = f"Samples, {architecture} on {dataset}, after {common:,.0f} samples seen, seed {seed}"
    figure.suptitle(_plain(title), fontsize=10)
    caption = (
        f"Each objective's last evaluation at or before {common:,.0f} samples seen by the critic, the most that all of "
    )
    caption += "them have reached with this seed; a name says where it is earlier. The first samples, not picked."
    stem = "".join(c if c.isalnum() or c in "_=" else "_" for c in f"samples_{dataset}_{architecture}")
    return _save(
        figure, chosen[["cell", "seed", "samples_seen", "g_steps"]].reset_index(), folder, Figure(stem, title, caption)
    )


def _strips(samples: dict[Any, Any], labels: dict[Any, str], columns: int = 16) -> Any:
    figure, axes = plt.subplots(len(samples), 1, figsize=(9.5, 0.58 * len(samples) + 0.4), squeeze=False)
    for ax, (name, images) in zip(axes[:, 0], samples.items(), strict=True):
        framed = np.pad(images[:columns], ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=255)
        strip = np.concatenate(list(framed), axis=-1).transpose(1, 2, 0)  # (H, columns * W, C)
        ax.imshow(strip.repeat(3, axis=-1) if strip.shape[-1] == 1 else strip, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(labels[name], rotation=0, ha="right", va="center")
        sns.despine(ax=ax, left=True, bottom=True)
    return figure


def _scatters(samples: dict[Any, Any], labels: dict[Any, str], columns: int = 4) -> Any:
    figure, axes = _grid(len(samples), columns, 2.3, 2.5)
    finite = [points[np.isfinite(points).all(axis=1)] for points in samples.values()]
    reach = 1.1 * np.median([np.quantile(np.abs(points), 0.99) for points in finite if len(points)] or [1.0])
    for ax, name, points in zip(axes, samples, finite, strict=True):
        ax.scatter(*points.T, s=2, alpha=0.5, linewidths=0, color=style(name)["color"], rasterized=True)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
        ax.set_title(labels[name], fontsize=8)
    return figure


def cost(tables: Tables, folder: Path) -> Figure | None:
    """Training milliseconds per generator step, critic steps included: one mark per seed, a bar at the median."""
    rows = tables.cells[tables.cells["g_steps"] > 0]
    if rows.empty:
        return None
    rows = rows.assign(ms_per_g_step=1000 * rows["train_seconds"] / rows["g_steps"])
    names = list(rows["objective"].unique())
    figure, axes = _facets(rows, height=0.8 + 0.32 * len(names))
    for place, of_place in rows.groupby(GROUP, sort=False):
        ax = axes[place]
        for name, ms in of_place.groupby("objective")["ms_per_g_step"]:
            look = style(str(name)) | {"linestyle": "", "markersize": 4}
            ax.barh(names.index(name), ms.median(), height=0.6, color=look["color"], alpha=0.35)
            ax.plot(ms, [names.index(name)] * len(ms), **look)
        ax.set_yticks(range(len(names)), [_wrap(name) for name in names])
        ax.set(xlabel="training ms per generator step", ylim=(len(names) - 0.4, -0.6))
        ax.set_xlim(left=0)
    caption = "One mark per seed, bar at the median. The training clock only, without measuring; a generator step "
    caption += "includes its critic steps. Cells that shared a machine with other work are slower."
    columns = ["key", "objective", *GROUP, "seed", "ms_per_g_step"]
    return _save(figure, rows[columns], folder, Figure("cost", "Cost of a generator step", caption))


def gradient_norms(tables: Tables, folder: Path) -> Figure | None:
    """Traces of both networks' gradient norms and of the critic's slope at x̂: median over seeds, lowest to highest."""
    panels = {
        "d_grad_norm": "critic's gradient norm",
        "g_grad_norm": "generator's gradient norm",
        "slope": "slope ‖∇D‖ at x̂",
    }
    rows = _joined(tables.steps, tables.cells)
    if rows.empty:
        return None
    data = _over_seeds(rows, "g_step", list(panels))
    places = list(data.groupby(GROUP, sort=False))
    figure, axes = plt.subplots(3, len(places), figsize=(1 + 4.2 * len(places), 7.5), squeeze=False, sharex="col")
    for column, ((dataset, architecture), of_facet) in zip(axes.T, places, strict=True):
        column[0].set_title(_plain(f"{architecture} on {dataset}"))
        column[2].set_xlabel("generator steps")
        for ax, (name, label) in zip(column, panels.items(), strict=True):
            traces = of_facet[of_facet["quantity"] == name]
            _lines(ax, traces, "g_step", marker="", linewidth=1.2)
            ax.set_yscale("log" if (traces["median"] > 0).any() else "linear")
            ax.set_ylabel(label)
    _legend(figure, rows["objective"].unique())
    return _save(
        figure,
        data,
        folder,
        Figure("gradient_norms", "Gradient norms", f"{BAND} A gradient penalty pulls the slope to 1."),
    )


def _joined(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    axes = cells[["key", "objective", *GROUP, "seed", "modality", "status"]].rename(columns={"key": "cell"})
    return axes.merge(rows, on="cell")  # in the order of the matrix


def _over_seeds(rows: pd.DataFrame, x: str, columns: list[str]) -> pd.DataFrame:
    """Long: dataset, architecture, objective, quantity, x, median, low, high and the n seeds behind them."""
    long = rows.melt([*GROUP, "objective", x], columns, "quantity", "y").replace([np.inf, -np.inf], np.nan)
    group = long.groupby([*GROUP, "objective", "quantity", x], sort=False)["y"]
    return group.agg(median="median", low="min", high="max", n="count").reset_index()


def _lines(ax: Any, data: pd.DataFrame, x: str, **look: Any) -> None:
    for name, rows in data.sort_values(x, kind="stable").groupby("objective", sort=False):
        line = {"linewidth": 1.6, "markersize": 4, **style(str(name)), **look}
        ax.fill_between(rows[x], rows["low"], rows["high"], color=line["color"], alpha=0.12, linewidth=0)
        ax.plot(rows[x], rows["median"], **line)


def _facets(rows: pd.DataFrame, height: float) -> tuple[Any, dict[Any, Any]]:
    places = list(rows[GROUP].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = _grid(len(places), 3, 4.6, height)
    for ax, (dataset, architecture) in zip(axes, places, strict=True):
        ax.set_title(_plain(f"{architecture} on {dataset}"))
    return figure, dict(zip(places, axes, strict=True))


def _grid(count: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    lines, columns = -(-count // columns), min(columns, count)
    figure, axes = plt.subplots(lines, columns, figsize=(width * columns, height * lines + 0.4), squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure, list(axes.flat[:count])


def _legend(figure: Any, names: Iterable[str]) -> None:
    lines = [plt.Line2D([], [], label=_plain(name), markersize=5, **style(name)) for name in names]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False)


def _save(figure: Any, data: pd.DataFrame, folder: Path, saved: Figure) -> Figure:
    path = folder / "figures" / saved.stem
    figure.savefig(path.with_suffix(".png"), dpi=150, bbox_inches="tight")
    figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
    data.to_csv(path.with_suffix(".csv"), index=False)
    plt.close(figure)
    return saved


def _label(column: str) -> str:
    return f"{metric(column).label} ({column})"


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _wrap(label: str) -> str:
    return _plain(label.replace("[", "\n["))


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # a name is no formula
