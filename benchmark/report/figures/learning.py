"""Learning curves: the metric that ranks, on every clock.

A line is the median over seeds, its band runs from the lowest seed to the highest."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from benchmark.analysis.published import joined
from benchmark.analysis.scores import EQUAL_COST, PLACE
from benchmark.analysis.tables import Tables
from benchmark.drawing.axes import end_labels, end_text, named_lines
from benchmark.drawing.layout import counted_axis, pages, panels
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import base_of, described, style
from benchmark.report.figures.traces import BAND, lines, over_seeds
from benchmark.report.page import with_values

MOST_NAMED = 14  # lines with names at their ends
CLOCKS = {
    "samples_seen": "samples seen by the critic",
    "forwards": "critic forward-equivalents",
    "raced_seconds": "raced seconds",
}
# clock -> the budget of equal cost on it
BUDGETS = {clock: of for of, clock in EQUAL_COST.items()}
LEARNING_CAPTION = (
    f"{BAND} Dashed line: the noise floor, real against held-out real, or an arrow where it lies "
    "far off; dotted: the targets within reach; dash-dotted: the equal cost. Raced seconds: "
    "generator steps × what one costs by the race before the first cell. ✕: the last measurement "
    "of a run that diverged; the median goes on over the seeds that are left."
)
LEARNING_FIGURE = Figure("learning_curves", "Learning curves", LEARNING_CAPTION, "speed")


def learning_curves(tables: Tables, folder: Path) -> list[Figure]:
    """The primary metric against samples seen, critic forward-equivalents and raced seconds, as far
    as they are known."""
    rows = joined(tables.evals, tables.cells)
    rows = rows[rows["metric"].astype(str) == rows["dataset"].map(tables.primary)]
    figures = []
    for part, page in pages(rows):
        if page.empty:
            continue
        data = over_seeds(page, "samples_seen", ["value"])
        key = [*PLACE, "objective", "samples_seen"]
        costs = page.groupby(key, sort=False, observed=True)[[*BUDGETS]].median()
        data = data.join(costs, on=key)
        clocks = with_values(CLOCKS, data)
        right = 0.15 + _room(data["objective"].unique())
        width = 0.85 + 4 * len(clocks) + right
        figure, axes = panels(data, clocks, width=width, height=2.3, right=right, sharey="row")
        ends = diverged_ends(page)
        for place, per_place in data.groupby(PLACE, sort=False):
            _learning(dict(zip(clocks, axes[place], strict=True)), tables, per_place, ends)
        figures.append(save(figure, data, folder, LEARNING_FIGURE, part))
    return figures


def at_places(rows: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    """The rows of these places, in their order."""
    return rows.merge(places[PLACE], on=PLACE)


def diverged_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The last evaluation of every run that diverged, a row per metric."""
    ordered = rows[rows["status"] == "diverged"].sort_values("samples_seen", kind="stable")
    return ordered.drop_duplicates(["cell", "metric"], keep="last")


def _room(names: Any) -> float:
    """Inches right of the curves for the names at their ends: of a sweep, whose lines are of one
    hue."""
    if not is_sweep(names):
        return 0.0
    return 0.15 + 0.06 * max(len(end_text(name)) for name in names)


def is_sweep(names: Any) -> bool:
    """Whether two labels or more are variants of one objective, and few enough to be named."""
    bases = pd.Series([base_of(name) for name in names if "[" in name])
    return len(names) <= MOST_NAMED and bool(bases.duplicated().any())


def _learning(axes: dict[str, Any], tables: Tables, data: pd.DataFrame, ends: pd.DataFrame) -> None:
    """The curves of one place, an axes by clock, with the noise floor, target and equal cost."""
    dataset = str(data["dataset"].iloc[0])
    architecture = str(data["architecture"].iloc[0])
    targets = tables.targets[dataset, architecture].values
    ends = ends[(ends["dataset"] == dataset) & (ends["architecture"] == architecture)]
    column = tables.primary[dataset]
    for clock, ax in axes.items():
        lines(ax, data, clock, markersize=3)
        for end in ends.to_dict("records"):
            look = {"color": style(end["objective"])["color"], "markeredgecolor": "k"}
            ax.plot(end[clock], end["value"], "X", **look, markersize=8)
        ax.set_xlabel(CLOCKS[clock])
        counted_axis(ax.xaxis)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        budget = tables.equal_cost.get(BUDGETS.get(clock, ""), {}).get((dataset, architecture))
        if budget is not None:
            ax.axvline(budget, color="0.35", linestyle="-.", linewidth=1)
    first = axes["samples_seen"]
    first.set_ylabel(described(column))
    shown = np.concatenate([data[["low", "high"]].to_numpy().ravel(), ends["value"].to_numpy()])
    floor, marks = tables.floor(dataset, column), tables.marks(dataset, column)
    named_lines([*axes.values()], shown, column, floor, marks)
    low, high = first.get_ylim()
    for target in targets.values():
        if low <= target <= high:
            for ax in axes.values():
                ax.axhline(target, color="0.35", linestyle=":", linewidth=1.2)
    if _room(data["objective"].unique()):
        clock, last = list(axes.items())[-1]
        final = data.sort_values(clock, kind="stable").drop_duplicates("objective", keep="last")
        final = final[np.isfinite(final["median"])].set_index("objective")
        end_labels(last, {str(name): (row[clock], row["median"]) for name, row in final.iterrows()})
