"""One function per figure: values, curves and bars. `draw_all` draws the samples and the robustness figures as well."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import EngFormatter

from benchmark.figure import LOOK, Figure, described, grid, heat, log_values, plain, save, short, style, wrap
from benchmark.robustness_plots import robustness_figures
from benchmark.sample_plots import sample_grids
from benchmark.tables import GROUP, Tables, crossed, joined

BAND = "Median over seeds; the band runs from the lowest seed to the highest."


def draw_all(tables: Tables, folder: Path) -> list[Figure]:
    """Every figure the results so far allow, written to `folder`/figures, in reading order."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    with sns.axes_style("whitegrid"), plt.rc_context(LOOK):
        figures = [*robustness_figures(tables, folder), heatmap(tables, folder), learning_curves(tables, folder)]
        figures += [*sample_grids(tables, folder), cost(tables, folder), gradient_norms(tables, folder)]
    return [figure for figure in figures if figure]


def heatmap(tables: Tables, folder: Path) -> Figure | None:
    """Objective x (architecture on dataset): IQM of the primary metric's final value. Without the datasets that have a
    robustness figure, which shows the same."""
    rows = tables.summary[(tables.summary["of"] == "final") & ~tables.summary["dataset"].isin(crossed(tables.cells))]
    rows = rows[rows["metric"] == rows["dataset"].map(tables.primary)]
    if rows["iqm"].isna().all():
        return None
    text = [short(iqm) if n else "–" for iqm, n in zip(rows["iqm"], rows["n"], strict=True)]
    text = [
        f"{cell}\n{d}/{n} diverged" if d else cell
        for cell, d, n in zip(text, rows["diverged"], rows["n_expected"], strict=True)
    ]
    place = rows["architecture"].map(wrap) + "\non " + rows["dataset"].map(plain) + "\n" + rows["metric"].map(described)
    long = rows.assign(place=place, text=text, log=log_values(rows["iqm"], rows["metric"]))
    order: dict[str, Any] = {"index": list(rows["objective"].unique()), "columns": list(place.unique())}
    texts, logs = (long.pivot(index="objective", columns="place", values=of).reindex(**order) for of in ("text", "log"))
    figure, ax = plt.subplots(figsize=(2.5 + 1.7 * len(order["columns"]), 1.2 + 0.45 * len(order["index"])))
    heat(ax, logs - logs.min(), texts)
    caption = (
        "IQM of the final value over the seeds that finished. Light is good; each column has its own scale, the log of "
    )
    caption += "the ratio to its best. Grey: no finished seed."
    return save(figure, rows, folder, Figure("heatmap", "Where each objective ends", caption))


def learning_curves(tables: Tables, folder: Path) -> Figure | None:
    """The primary metric against samples seen: median over seeds, band from the lowest to the highest seed."""
    rows = joined(tables.evals, tables.cells)
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
        ax.set(xlabel="samples seen by the critic", ylabel=described(column))
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    _legend(figure, rows["objective"].unique())
    caption = f"{BAND} Dashed line: the noise floor, real against held-out real. ✕: the last measurement of a run that "
    caption += "diverged; the median goes on over the seeds that are left."
    return save(figure, data, folder, Figure("learning_curves", "Learning curves", caption))


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
        ax.set_yticks(range(len(names)), [wrap(name) for name in names])
        ax.set(xlabel="training ms per generator step", ylim=(len(names) - 0.4, -0.6))
        ax.set_xlim(left=0)
    caption = "One mark per seed, bar at the median. The training clock only, without measuring; a generator step "
    caption += "includes its critic steps. Cells that shared a machine with other work are slower."
    columns = ["key", "objective", *GROUP, "seed", "ms_per_g_step"]
    return save(figure, rows[columns], folder, Figure("cost", "Cost of a generator step", caption))


def gradient_norms(tables: Tables, folder: Path) -> Figure | None:
    """Traces of both networks' gradient norms and of the critic's slope at x̂: median over seeds, lowest to highest."""
    panels = {
        "d_grad_norm": "critic's gradient norm",
        "g_grad_norm": "generator's gradient norm",
        "slope": "slope ‖∇D‖ at x̂",
    }
    rows = joined(tables.steps, tables.cells)
    if rows.empty:
        return None
    data = _over_seeds(rows, "g_step", list(panels))
    places = list(data.groupby(GROUP, sort=False))
    figure, axes = plt.subplots(len(places), 3, figsize=(12.5, 0.6 + 2.4 * len(places)), squeeze=False, sharex="row")
    for line, (place, of_facet) in zip(axes, places, strict=True):
        dataset, architecture = map(str, place)
        line[0].set_ylabel(f"{wrap(architecture)}\non {plain(dataset)}")
        for ax, name in zip(line, panels, strict=True):
            traces = of_facet[of_facet["quantity"] == name]
            _lines(ax, traces, "g_step", marker="", linewidth=1.2)
            ax.set_yscale("log" if (traces["median"] > 0).any() else "linear")
    for top, bottom, label in zip(axes[0], axes[-1], panels.values(), strict=True):
        top.set_title(label)
        bottom.set_xlabel("generator steps")
    _legend(figure, rows["objective"].unique())
    return save(
        figure,
        data,
        folder,
        Figure("gradient_norms", "Gradient norms", f"{BAND} A gradient penalty pulls the slope to 1."),
    )


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
    figure, axes = grid(len(places), 3, 4.6, height)
    for ax, (dataset, architecture) in zip(axes, places, strict=True):
        ax.set_title(plain(f"{architecture} on {dataset}"))
    return figure, dict(zip(places, axes, strict=True))


def _legend(figure: Any, names: Iterable[str]) -> None:
    lines = [plt.Line2D([], [], label=plain(name), markersize=5, **style(name)) for name in names]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False)
