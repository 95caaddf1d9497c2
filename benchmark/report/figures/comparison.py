"""The figure of a comparison: learning curves of its sides, a panel per group."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from benchmark.analysis.compare import curves
from benchmark.analysis.sides import Sides
from benchmark.drawing.axes import named_lines
from benchmark.drawing.layout import counted_axis, grid, title
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import (
    DASHES,
    MARKERS,
    Look,
    darker,
    described,
    drawing,
    plain,
    style,
)
from benchmark.text import place_name

PANEL = 4.6  # inches
NO_OBJECTIVE = "0.4"  # the colour of a side in the legend, where no objective gives it one
CAPTION = (
    "Median over seeds; the band runs from the lowest seed to the highest, the dashed line is the "
    "noise floor. Where a run diverged, the median goes on over the seeds that are left."
)


def draw(sides: Sides, folder: Path) -> Figure | None:
    """figures/curves: the metric that ranks against samples seen, a line per side. None where no
    metric ranks."""
    data = curves(sides)
    if data.empty:
        return None
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    groups = data.groupby(sides.by, sort=False)
    with drawing(sides.labels):
        figure, axes = grid(len(groups), 3, PANEL, 3.6)
        for ax, (_, group) in zip(axes, groups, strict=True):
            _panel(ax, sides, group)
        handles = []
        for name in sides.names:
            look = _style(sides, name, None)
            handles.append(plt.Line2D([], [], label=plain(name), markersize=5, **look))
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        return save(figure, data, folder, Figure("curves", "Learning curves", CAPTION))


def _panel(ax: Axes, sides: Sides, group: pd.DataFrame) -> None:
    """The curves of one group, and the noise floor."""
    first = group.iloc[0]
    dataset = first["dataset"]
    name = place_name(first["architecture"], dataset)
    if "objective" in sides.by:
        name = f"{first['objective']}\n{name}"
    title(ax, name, PANEL)
    for name in sides.names:
        line = group[group["side"] == name]
        look = _style(sides, name, first.get("objective"))
        band: Look = {"color": look["color"], "alpha": 0.12, "lw": 0}
        ax.fill_between(line["samples_seen"], line["low"], line["high"], **band)
        ax.plot(line["samples_seen"], line["median"], linewidth=1.6, markersize=4, **look)
    shown, column = group[["low", "high"]].to_numpy(), sides.primary[dataset]
    named_lines([ax], shown, column, sides.floors[dataset], sides.marks[dataset])
    ax.set(xlabel="samples seen by the critic", ylabel=described(column))
    counted_axis(ax.xaxis)


def _style(sides: Sides, side: str, objective: str | None) -> Look:
    """An objective's own look. A result set has its own line and marker, in the colour of the
    panel's objective: lighter for the first result set than for the others."""
    if "objective" not in sides.by:
        return style(side)
    i = sides.names.index(side)
    colour = style(objective)["color"] if objective else NO_OBJECTIVE
    return {
        "color": to_rgb(colour) if i == 0 else darker(colour),
        "linestyle": DASHES[i % len(DASHES)],
        "marker": MARKERS[i % len(MARKERS)],
    }
