"""The figure of a comparison: learning curves of its sides, a panel per group."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.ticker import EngFormatter

from benchmark.analysis.compare import curves
from benchmark.analysis.sides import Sides
from benchmark.drawing.style import (
    DASHES,
    LOOK,
    MARKERS,
    Figure,
    described,
    grid,
    plain,
    save,
    style,
)


def draw(sides: Sides, folder: Path) -> Figure:
    """figures/curves: the primary metric against samples seen, a line per side."""
    data = curves(sides)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    groups = data.groupby(sides.by, sort=False)
    with sns.axes_style("whitegrid"), plt.rc_context(LOOK):
        figure, axes = grid(len(groups), 3, 4.6, 3.6)
        for ax, (_, of_group) in zip(axes, groups, strict=True):
            first = of_group.iloc[0]
            dataset, title = first["dataset"], f"{first['architecture']} on {first['dataset']}"
            ax.set_title(
                plain(f"{first['objective']}\n{title}" if "objective" in sides.by else title)
            )
            for name in sides.names:
                line, look = (
                    of_group[of_group["side"] == name],
                    _style(sides, name, first.get("objective")),
                )
                ax.fill_between(
                    line["samples_seen"],
                    line["low"],
                    line["high"],
                    color=look["color"],
                    alpha=0.12,
                    lw=0,
                )
                ax.plot(line["samples_seen"], line["median"], linewidth=1.6, markersize=4, **look)
            ax.axhline(sides.floors[dataset], color="0.35", linestyle="--", linewidth=1)
            ax.set_yscale("log" if of_group["low"].min() > 0 else "linear")
            ax.set(xlabel="samples seen by the critic", ylabel=described(sides.primary[dataset]))
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        looks = {name: _style(sides, name, None) for name in sides.names}
        lines = [
            plt.Line2D([], [], label=plain(name), markersize=5, **look)
            for name, look in looks.items()
        ]
        figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False)
        caption = "Median over seeds; the band runs from the lowest seed to the highest, the dashed line is the noise "
        caption += "floor. Where a run diverged, the median goes on over the seeds that are left."
        return save(figure, data, folder, Figure("curves", "Learning curves", caption))


def _style(sides: Sides, side: str, objective: str | None) -> dict[str, Any]:
    """An objective's own look; a result set's line and marker, in the colour of the panel's
    objective, the first's lighter than the others'."""
    if "objective" not in sides.by:
        return style(side)
    i = sides.names.index(side)
    colour = to_rgb(style(objective)["color"] if objective else "0.4")
    shade = colour if i == 0 else tuple(0.6 * channel for channel in colour)
    return {"color": shade, "linestyle": ["-", *DASHES][i % 6], "marker": ["o", *MARKERS][i % 7]}
