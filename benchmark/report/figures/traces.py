"""Quantities over a run: gradient norms, gradient norms by layer, scores.

A line is the median over seeds, its band runs from the lowest seed to the highest."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmark.analysis.published import joined
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import (
    log_axis,
    not_recorded,
    pages,
    panels,
)
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import Look, style

MOST_POINTS = 120  # on a line; more would not be seen at its width
SHARES = ("saturation", "clipped")  # quantities between 0 and 1
NETWORKS = {"D": "critic", "G": "generator"}
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
BAND = "Median over seeds; the band runs from the lowest seed to the highest."
NORMS_CAPTION = f"{BAND} A gradient penalty pulls the slope to 1."
LAYERS_CAPTION = (
    f"At each run's last evaluation. {BAND} Weights only, without biases and normalisation. A line "
    "that falls or rises by orders of magnitude towards the input is a gradient that vanishes or "
    "explodes."
)
SCORES_CAPTION = (
    f"{BAND} First the mean score of real samples less that of fake ones, in standard deviations "
    "within a batch: at 0 the critic does not tell them apart, far above it there is little "
    "overlap left. σ(D) is saturated within 0.001 of 0 or 1; only losses with a sigmoid have it, "
    "only clipping has weights at ±c."
)
NORMS_FIGURE = Figure("gradient_norms", "Gradient norms", NORMS_CAPTION, "stability")
LAYERS_FIGURE = Figure("layers", "Gradient norm of every layer", LAYERS_CAPTION, "stability")
SCORES_FIGURE = Figure("scores", "Scores of the critic", SCORES_CAPTION, "stability")


class Quantities(NamedTuple):
    """What a figure of traces shows."""

    labels: dict[str, str]
    """column of `steps` -> the label of its axes."""
    logarithmic: list[str]
    """The columns on a logarithmic axis. A run without a finite value of any of them is left
    out."""


def gradient_norms(tables: Tables, folder: Path) -> list[Figure]:
    """Traces of both networks' gradient norms and of the critic's slope at x̂."""
    rows = joined(tables.steps, tables.cells)
    return _traces(rows, Quantities(NORMS, list(NORMS)), NORMS_FIGURE, folder)


def scores(tables: Tables, folder: Path) -> list[Figure]:
    """Traces of the critic's scores, of the share of them that saturates the sigmoid, and of the
    weights at ±c."""
    rows = joined(tables.steps, tables.cells)
    spread = np.sqrt((rows["d_real_std"] ** 2 + rows["d_fake_std"] ** 2) / 2)
    rows = rows.assign(separation=(rows["d_real"] - rows["d_fake"]) / spread.where(spread > 0))
    return _traces(rows, Quantities(SCORES, ["d_real_std"]), SCORES_FIGURE, folder)


def _traces(
    rows: pd.DataFrame, quantities: Quantities, saved: Figure, folder: Path
) -> list[Figure]:
    """Quantities against generator steps, an axes per quantity that was recorded."""
    finite: Any = np.isfinite(rows[list(quantities.labels)].astype(float))
    labels = {name: label for name, label in quantities.labels.items() if finite[name].any()}
    if not labels:
        return []
    group = [*PLACE, "objective"]
    has_value = finite[quantities.logarithmic].any(axis=1)
    known = rows[group].assign(known=has_value).groupby(group)["known"].transform("any")
    rows = rows[known.astype(bool)]
    width = max(6.0, 3.0 * len(labels))
    figures = []
    for part, page in pages(rows):
        data = over_seeds(page, "g_step", list(labels))
        sharex = "all" if part else "row"
        figure, axes = panels(data, labels, width=width, height=1.7, sharex=sharex)
        for place, per_place in data.groupby(PLACE, sort=False, observed=True):
            for ax, (name, label) in zip(axes[place], labels.items(), strict=True):
                ax.set_ylabel(label, size=8)
                traces = per_place[per_place["quantity"] == name].dropna(subset="median")
                _trace(ax, traces, name, name in quantities.logarithmic)
        axes_lines = list(axes.values())
        for axes_line in axes_lines:
            axes_line[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
        plt.setp(axes_lines[-1], xlabel="generator steps")
        figures.append(save(figure, data, folder, saved, part))
    return figures


def _trace(ax: Axes, traces: pd.DataFrame, name: str, is_logarithmic: bool) -> None:
    """One quantity of one place."""
    lines(ax, traces, "g_step", marker="", linewidth=1.2)
    if is_logarithmic and (traces["median"] > 0).any():
        ax.set_yscale("log")
        log_axis(ax.yaxis)
    elif traces.empty:
        not_recorded(ax)
    elif name in SHARES:
        ax.set_ylim(-0.03, 1.03)


def layers(tables: Tables, folder: Path) -> list[Figure]:
    """Gradient norm of every weight tensor against its depth, at the last evaluation of each
    run."""
    rows = _last_weights(joined(tables.layers, tables.cells))
    present = rows["network"].unique()
    networks = {name: label for name, label in NETWORKS.items() if name in present}
    if not networks:
        return []
    figures = []
    for part, page in pages(rows):
        frames = []
        for network in networks:
            frame = over_seeds(page[page["network"] == network], "layer_number", ["grad_norm"])
            frames.append(frame.assign(network=network))
        data = pd.concat(frames, ignore_index=True)
        figure, axes = panels(data, networks, width=max(6.0, 4.5 * len(networks)), height=1.9)
        for place, per_place in data.groupby(PLACE, sort=False, observed=True):
            for ax, (network, label) in zip(axes[place], networks.items(), strict=True):
                ax.set_ylabel(f"{label}: gradient norm")
                _norms_by_layer(ax, per_place[per_place["network"] == network])
        figures.append(save(figure, data, folder, LAYERS_FIGURE, part))
    return figures


def _last_weights(rows: pd.DataFrame) -> pd.DataFrame:
    """The weights at the last evaluation of each run, numbered by depth (`layer_number`). Biases
    and normalisation are left out, except in a network that has nothing else."""
    rows = rows[rows["g_step"] == rows.groupby("cell", observed=True)["g_step"].transform("max")]
    rows = rows.assign(network=rows["network"].astype(str))
    is_weight = ~rows["layer"].astype(str).str.contains(r"bias$|norm")
    has_weights = is_weight.groupby([rows["cell"].astype(str), rows["network"]]).transform("any")
    rows = rows[is_weight | ~has_weights]
    depth = rows.groupby(["cell", "network"], observed=True)["depth"].rank("dense")
    return rows.assign(layer_number=depth)


def _norms_by_layer(ax: Axes, rows: pd.DataFrame) -> None:
    """The gradient norms of one network in one place."""
    shown = rows[rows["median"] > 0]
    lines(ax, shown, "layer_number", markersize=3)
    ax.set_xlabel("weight tensor, from the input to the output")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(shown):
        ax.set_yscale("log")
        log_axis(ax.yaxis)


def over_seeds(rows: pd.DataFrame, x: str, columns: list[str]) -> pd.DataFrame:
    """Long: dataset, architecture, objective, quantity, x, median, low, high and the n seeds behind
    them. A place with more than MOST_POINTS values of x keeps about as many, the last among
    them."""
    distinct = rows[[*PLACE, x]].drop_duplicates().sort_values(x)
    by_place = distinct.groupby(PLACE, observed=True)[x]
    position = by_place.cumcount()
    count = by_place.transform("size")
    every = np.ceil(count / MOST_POINTS)
    kept = distinct[(position % every == 0) | (position == count - 1)]
    if len(kept) < len(distinct):
        rows = rows.merge(kept, on=[*PLACE, x])
    long = rows.melt([*PLACE, "objective", x], columns, "quantity", "y")
    long = long.replace([np.inf, -np.inf], np.nan)
    group = long.groupby([*PLACE, "objective", "quantity", x], sort=False, observed=True)["y"]
    return group.agg(median="median", low="min", high="max", n="count").reset_index()


def lines(ax: Axes, data: pd.DataFrame, x: str, **look: Any) -> None:
    """A line and a band for each objective."""
    for name, rows in data.sort_values(x, kind="stable").groupby("objective", sort=False):
        line: Look = {"linewidth": 1.4, "markersize": 4, **style(str(name)), **look}
        band: Look = {"color": line["color"], "alpha": 0.12, "linewidth": 0}
        ax.fill_between(rows[x], rows["low"], rows["high"], **band)
        ax.plot(rows[x], rows["median"], **line)
