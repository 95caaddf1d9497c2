"""Figures of quantities over a run: learning curves, gradient norms, gradient norms by layer,
scores. A line is the median over seeds, its band runs from the lowest seed to the highest."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter, MaxNLocator

from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables, joined
from benchmark.drawing.layout import log_axis, not_recorded, pages, panels
from benchmark.drawing.style import Figure, described, save, style

BAND = "Median over seeds; the band runs from the lowest seed to the highest."
POINTS = 120  # a line has no more: enough for its width
NORMS = {
    "d_grad_norm": "critic's gradient norm",
    "g_grad_norm": "generator's gradient norm",
    "slope": "slope ‖∇D‖ at x̂",
}
SCORES = {
    "separation": "gap of the scores ÷ their spread",
    "d_real_std": "spread of D(real)",
    "saturation": "share of σ(D) saturated",
    "clipped": "share of weights at ±c",
}
NETWORKS = {"D": "critic", "G": "generator"}


def learning_curves(tables: Tables, folder: Path) -> list[Figure]:
    """The primary metric against samples seen and against training seconds."""
    rows = joined(tables.evals, tables.cells)
    rows = rows[rows["metric"].astype(str) == rows["dataset"].map(tables.primary)]
    return [_learning(tables, folder, of, of_page) for of, of_page in pages(rows) if len(of_page)]


def _learning(tables: Tables, folder: Path, of: str, rows: pd.DataFrame) -> Figure:
    data = over_seeds(rows, "samples_seen", ["value"])
    clock = rows.groupby([*PLACE, "objective", "samples_seen"], sort=False, observed=True)[
        "train_seconds"
    ].median()
    data = data.join(clock, on=[*PLACE, "objective", "samples_seen"])
    clocks = {"samples_seen": "samples seen by the critic", "train_seconds": "training seconds"}
    figure, axes = panels(data, clocks, width=9, height=2.3, sharey="row")
    last = rows.sort_values("samples_seen", kind="stable").drop_duplicates("cell", keep="last")
    last = last[last["status"] == "diverged"]
    primary, targets = tables.primary, tables.cells.groupby(PLACE)["target"].first().to_dict()
    for place, of_place in data.groupby(PLACE, sort=False):
        dataset, architecture = map(str, place)
        column = primary[dataset]
        ends = last[(last["dataset"] == dataset) & (last["architecture"] == architecture)]
        for ax, (name, label) in zip(axes[place], clocks.items(), strict=True):
            lines(ax, of_place, name, markersize=3)
            ax.axhline(tables.floor(dataset, column), color="0.35", linestyle="--", linewidth=1)
            ax.axhline(targets[place], color="0.35", linestyle=":", linewidth=1.2)
            for end in ends.to_dict("records"):
                look = {
                    "color": style(end["objective"])["color"],
                    "markeredgecolor": "k",
                    "markersize": 8,
                }
                ax.plot(end[name], end["value"], "X", **look)
            ax.set_xlabel(label)
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
            ax.xaxis.set_major_locator(MaxNLocator(4))
        if place in tables.equal_seconds:
            axes[place][1].axvline(
                tables.equal_seconds[place], color="0.35", linestyle="-.", linewidth=1
            )
        axes[place][0].set_ylabel(described(column))
        if of_place["low"].min() > 0:
            axes[place][0].set_yscale("log")
            log_axis(axes[place][0].yaxis)
    caption = f"{BAND} Dashed line: the noise floor, real against held-out real; dotted: the target, where there is "
    caption += "one; dash-dotted: the equal training time. Seconds are those of training alone, without measuring. "
    caption += "✕: the last measurement of a run that diverged; the median goes on over the seeds that are left."
    return save(
        figure, data, folder, Figure("learning_curves", "Learning curves", caption, "speed"), of
    )


def gradient_norms(tables: Tables, folder: Path) -> list[Figure]:
    """Traces of both networks' gradient norms and of the critic's slope at x̂."""
    caption = f"{BAND} A gradient penalty pulls the slope to 1."
    rows = joined(tables.steps, tables.cells)
    return _traces(rows, NORMS, list(NORMS), folder, "gradient_norms", "Gradient norms", caption)


def scores(tables: Tables, folder: Path) -> list[Figure]:
    """Traces of the critic's scores, of the share of them that saturates the sigmoid, and of the
    weights at ±c."""
    rows = joined(tables.steps, tables.cells)
    spread = np.sqrt((rows["d_real_std"] ** 2 + rows["d_fake_std"] ** 2) / 2)
    rows = rows.assign(separation=(rows["d_real"] - rows["d_fake"]) / spread.where(spread > 0))
    caption = f"{BAND} First the mean score of real samples less that of fake ones, in standard deviations within a "
    caption += "batch: at 0 the critic does not tell them apart, far above it there is little overlap left. σ(D) is "
    caption += "saturated within 0.001 of 0 or 1; only losses with a sigmoid have it, only clipping has weights at "
    caption += "±c."
    return _traces(rows, SCORES, ["d_real_std"], folder, "scores", "Scores of the critic", caption)


def _traces(
    rows: pd.DataFrame,
    labels: dict[str, str],
    log: list[str],
    folder: Path,
    name: str,
    title: str,
    caption: str,
) -> list[Figure]:
    finite = np.isfinite(rows[[*labels]].astype(float))
    labels = {column: label for column, label in labels.items() if finite[column].any()}
    seen = rows[[*PLACE, "objective"]].assign(seen=pd.Series(finite[log].any(axis=1), rows.index))
    rows = rows[seen.groupby([*PLACE, "objective"])["seen"].transform("any").astype(bool)]
    figures = []
    for of, of_page in pages(rows) if labels else ():
        data = over_seeds(of_page, "g_step", list(labels))
        width, sharex = max(6.0, 3.0 * len(labels)), "all" if of else "row"
        figure, axes = panels(data, labels, width=width, height=1.7, sharex=sharex)
        for place, of_place in data.groupby(PLACE, sort=False, observed=True):
            for ax, (column, label) in zip(axes[place], labels.items(), strict=True):
                traces = of_place[of_place["quantity"] == column].dropna(subset="median")
                lines(ax, traces, "g_step", marker="", linewidth=1.2)
                ax.set_ylabel(label, size=8)
                if column in log and (traces["median"] > 0).any():
                    ax.set_yscale("log")
                    log_axis(ax.yaxis)
                elif traces.empty:
                    not_recorded(ax)
                elif column in ("saturation", "clipped"):
                    ax.set_ylim(-0.03, 1.03)
        for line in axes.values():
            plt.setp(line, xlabel="generator steps" if line is list(axes.values())[-1] else "")
            line[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
        figures.append(save(figure, data, folder, Figure(name, title, caption, "stability"), of))
    return figures


def layers(tables: Tables, folder: Path) -> list[Figure]:
    """Gradient norm of every weight tensor against its depth, at the last evaluation of each
    run."""
    rows = joined(tables.layers, tables.cells)
    rows = rows[rows["g_step"] == rows.groupby("cell", observed=True)["g_step"].transform("max")]
    weights = ~rows["layer"].astype(str).str.contains(r"bias$|norm")
    rows = rows[
        weights
        | ~weights.groupby([rows["cell"].astype(str), rows["network"].astype(str)]).transform("any")
    ]
    depth = rows.groupby(["cell", "network"], observed=True)["depth"].rank("dense")
    rows = rows.assign(layer_number=depth, network=rows["network"].astype(str))
    networks = {name: label for name, label in NETWORKS.items() if name in set(rows["network"])}
    figures = []
    for of, of_page in pages(rows) if networks else ():
        parts = [of_page[of_page["network"] == name] for name in networks]
        parts = [
            over_seeds(part, "layer_number", ["grad_norm"]).assign(network=part["network"].iloc[0])
            for part in parts
        ]
        data = pd.concat(parts, ignore_index=True)
        figure, axes = panels(data, networks, width=max(6.0, 4.5 * len(networks)), height=1.9)
        for place, of_place in data.groupby(PLACE, sort=False, observed=True):
            for ax, (network, label) in zip(axes[place], networks.items(), strict=True):
                traces = of_place[(of_place["network"] == network) & (of_place["median"] > 0)]
                lines(ax, traces, "layer_number", markersize=3)
                ax.set(
                    ylabel=f"{label}: gradient norm",
                    xlabel="weight tensor, from the input to the output",
                )
                ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
                if len(traces):
                    ax.set_yscale("log")
                    log_axis(ax.yaxis)
        caption = f"At each run's last evaluation. {BAND} Weights only, without biases and normalisation. A line "
        caption += "that falls or rises by orders of magnitude towards the input is a gradient that vanishes or "
        caption += "explodes."
        saved = Figure("layers", "Gradient norm of every layer", caption, "stability")
        figures.append(save(figure, data, folder, saved, of))
    return figures


def over_seeds(rows: pd.DataFrame, x: str, columns: list[str]) -> pd.DataFrame:
    """Long: dataset, architecture, objective, quantity, x, median, low, high and the n seeds behind
    them; about POINTS values of x in each place where there are more, the last among them."""
    distinct = rows[[*PLACE, x]].drop_duplicates().sort_values(x)
    by_place = distinct.groupby(PLACE, observed=True)[x]
    number, count = by_place.cumcount(), by_place.transform("size")
    every = np.ceil(count / POINTS)
    kept = distinct[(number % every == 0) | (number == count - 1)]
    if len(kept) < len(distinct):
        rows = rows.merge(kept, on=[*PLACE, x])
    long = rows.melt([*PLACE, "objective", x], columns, "quantity", "y").replace(
        [np.inf, -np.inf], np.nan
    )
    group = long.groupby([*PLACE, "objective", "quantity", x], sort=False, observed=True)["y"]
    return group.agg(median="median", low="min", high="max", n="count").reset_index()


def lines(ax: Any, data: pd.DataFrame, x: str, **look: Any) -> None:
    """A line and a band for each objective."""
    for name, rows in data.sort_values(x, kind="stable").groupby("objective", sort=False):
        line = {"linewidth": 1.4, "markersize": 4, **style(str(name)), **look}
        ax.fill_between(
            rows[x], rows["low"], rows["high"], color=line["color"], alpha=0.12, linewidth=0
        )
        ax.plot(rows[x], rows["median"], **line)
