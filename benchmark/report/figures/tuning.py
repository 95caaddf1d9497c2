"""Tuning curves against configurations and against seconds, and what each parameter does."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmark.analysis.tables import Tables
from benchmark.drawing.axes import named_lines, view_of
from benchmark.drawing.layout import counted_axis, headline, log_axis, pages, panels
from benchmark.drawing.save import Figure, save, stem
from benchmark.drawing.style import Look, described, plain, style, wrap
from benchmark.metrics import metric
from benchmark.report.page import at_place, each_place, place, with_values

ABSCISSAS = {"k": "configurations tried", "seconds": "recorded training seconds"}
CURVES = (
    "Median of the best of k configurations drawn from the pool. Thin lines bound the band that "
    "covers the curve at every k together with a probability of 95 %; it has no end where it "
    "reaches the edge. On the right the same after the recorded training seconds of k "
    "configurations, which other work of the machine raises. Hollow: the published default, which "
    "is not among the drawn ones."
)
SENSITIVITY = (
    "Every configuration of the pools, a panel per objective and searched parameter: the metric at "
    "the end against the value. Ringed, on the dotted line: the published default; star: the pick; "
    "✕ at the top: diverged. The other parameters vary too."
)
NO_MARK = " A configuration that stopped early has no mark."
MOST_CHOICES = 4  # values of a parameter that are places on an axis, not numbers
WIDE = 30  # the ratio of values from which an axis is logarithmic


def curves(tables: Tables, folder: Path) -> list[Figure]:
    """The tuning curves of every place of a search, against ABSCISSAS."""
    tuning = tables.tuning
    if tuning is None or tuning.curves.empty:
        return []
    saved = Figure("tuning_curves", "Tuning curves", CURVES, "tuned")
    figures = []
    for part, page in pages(tuning.curves):
        figure, axes = panels(page, ABSCISSAS, width=9.5, height=2.9, sharey="row")
        for at, rows in each_place(page):
            line = axes[at["dataset"], at["architecture"]]
            pools = at_place(tuning.pools, at)
            for ax, abscissa in zip(line, ABSCISSAS, strict=True):
                _curves(ax, rows, pools, abscissa)
            column = tuning.columns[at["dataset"]]
            floor, marks = tables.floor(at["dataset"], column), tables.marks(at["dataset"], column)
            shown = np.concatenate([rows["median"], pools["default"]])
            named_lines([*line], shown, column, floor, marks)
            line[0].set_ylabel(described(column))
        figures.append(save(figure, page, folder, saved, part))
    return figures


def _curves(ax: Axes, rows: pd.DataFrame, pools: pd.DataFrame, abscissa: str) -> None:
    """The curves of a place against one abscissa, with bands and defaults."""
    for name, curve in rows.groupby("objective", sort=False):
        look = style(str(name))
        x = curve[abscissa]
        # an end that is not there lies far beyond the edge of the axes, which are set later
        low = curve["low"].replace([0, -np.inf], 1e-300)
        high = curve["high"].replace(np.inf, 1e300)
        ax.fill_between(x, low, high, color=look["color"], alpha=0.06, lw=0)
        for end in (low, high):
            ax.plot(x, end, color=look["color"], linewidth=0.7, alpha=0.7)
        finite = curve["median"].replace(np.inf, np.nan)
        ax.plot(x, finite, **look | {"marker": ""}, linewidth=1.6)
        default = pools.loc[pools["objective"] == name, "default"]
        hollow = look | {"linestyle": "", "markersize": 6, "markerfacecolor": "white"}
        ax.plot(len(default) * [x.iloc[0]], default, **hollow, markeredgewidth=1.5, zorder=3)
    ax.set_xscale("log")
    ax.set_xlabel(ABSCISSAS[abscissa])
    if abscissa == "k":
        most = rows["k"].max()
        # the powers of two that leave room for the last
        ticks = [*2 ** np.arange(np.log2(most / 1.2) // 1 + 1, dtype=int), most]
        ax.set_xticks(ticks, map(str, ticks))
        ax.set_xticks([], minor=True)
    else:
        log_axis(ax.xaxis)
        counted_axis(ax.xaxis)


def sensitivity(tables: Tables, folder: Path) -> list[Figure]:
    """Each searched parameter of each objective against the metric, a figure per place of a
    search."""
    tuning = tables.tuning
    figures: list[Figure] = []
    if tuning is None:
        return figures
    for at, rows in each_place(tuning.configurations):
        searched = {}
        for name, of_objective in rows.groupby("objective", sort=False):
            known = with_values(dict.fromkeys(tuning.parameters, ""), of_objective)
            searched[str(name)] = list(known)
        width = max(map(len, searched.values()))
        if not width or not np.isfinite(rows["value"]).any():
            continue
        size = (1.3 + 1.9 * width, 0.8 + 1.4 * len(searched))
        options: Look = {"squeeze": False, "figsize": size, "sharey": True}
        figure, axes = plt.subplots(len(searched), width, **options)
        column = tuning.columns[at["dataset"]]
        _heights(axes[0, 0], rows["value"], column)
        for line, (objective, parameters) in zip(axes, searched.items(), strict=True):
            for ax in line[len(parameters) :]:
                ax.set_axis_off()
            for ax, parameter in zip(line, parameters, strict=False):
                _sensitivity(ax, rows[rows["objective"] == objective], parameter)
            line[0].set_ylabel(wrap(objective), rotation=0, ha="right", va="center")
        title = f"What each parameter does, {place(at)}: {described(column)}"
        headline(figure, title)
        name_of_file = stem("sensitivity", at["dataset"], at["architecture"])
        caption = SENSITIVITY + NO_MARK if tuning.stop else SENSITIVITY
        saved = Figure(name_of_file, title, caption, "tuned")
        figures.append(save(figure, rows, folder, saved))
    return figures


def _heights(ax: Axes, values: pd.Series, column: str) -> None:
    """The scale and the limits of the y axis, which all panels share; diverged runs lie on top."""
    finite = values[np.isfinite(values)]
    is_log = metric(column).primary and finite.min() > 0
    view = view_of(finite.to_numpy(), {}, bool(is_log))
    if is_log:
        ax.set_yscale("log")
    ax.set_ylim(view.low, view.high)
    if is_log:
        log_axis(ax.yaxis)


def _sensitivity(ax: Axes, rows: pd.DataFrame, parameter: str) -> None:
    """The configurations of one objective by one parameter."""
    x = _abscissa(ax, rows[parameter])
    look: Look = {"color": style(str(rows["objective"].iloc[0]))["color"], "linestyle": ""}
    has_diverged = np.isinf(rows["value"])
    ax.plot(x, rows["value"].where(~has_diverged), "o", **look, markersize=4, alpha=0.7, mew=0)
    on_top: Look = {"transform": ax.get_xaxis_transform(), "clip_on": False}
    for at in x[has_diverged]:
        ax.plot(at, 1.0, "x", **look, **on_top, markersize=5)
    for mark, size in (("is_default", 9), ("is_pick", 10)):
        at = rows[mark] & ~has_diverged
        shape = "o" if mark == "is_default" else "*"
        ring: Look = {"markerfacecolor": "none" if mark == "is_default" else look["color"]}
        ax.plot(x[at], rows.loc[at, "value"], shape, ms=size, mec="k", mew=0.9, **ring)
    ax.axvline(x[rows["is_default"]].min(), color="0.35", linestyle=":", linewidth=1, zorder=0)
    ax.set_xlabel(plain(parameter), size=8, labelpad=1)


def _abscissa(ax: Axes, values: pd.Series) -> pd.Series:
    """Where the values of a parameter stand on the x axis of an axes, which it sets up."""
    choices = sorted(values.dropna().unique(), key=str)
    is_number = all(isinstance(value, int | float) for value in choices)
    if not is_number or len(choices) <= MOST_CHOICES:
        ax.set_xticks(range(len(choices)), [plain(str(value)) for value in choices])
        ax.set_xlim(-0.6, len(choices) - 0.4)
        return values.map({value: float(i) for i, value in enumerate(choices)})
    numbers = values.astype(float)
    if numbers.min() > 0 and numbers.max() > WIDE * numbers.min():
        ax.set_xscale("log")
        low, high = numbers.min(), numbers.max()
        ax.set_xlim(low / 1.3, high * 1.3)
        log_axis(ax.xaxis)
    return numbers
