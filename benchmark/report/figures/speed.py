"""Figures of speed: what the target cost on every clock, and how often each objective is near the
fastest."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter

from benchmark.analysis.convergence import LIMIT, TARGET_CLOCKS, profile
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import dots, lists, log_axis, not_recorded, pages
from benchmark.drawing.style import Figure, inches, one_line, save, style

LABELS = {
    "samples": "samples seen",
    "g_steps": "generator steps",
    "forwards": "critic forward-equivalents",
    "seconds": "training seconds",
}


def time_to_target(tables: Tables, folder: Path) -> list[Figure]:
    """The Kaplan–Meier median of what the target cost, with its interval, on every clock."""
    rows = tables.convergence[tables.convergence["n"] > 0]
    rows = rows[(rows.groupby(PLACE)["reached"].transform("max") > 0) & np.isfinite(rows["target"])]
    clocks = [name for name in TARGET_CLOCKS if name in set(rows["clock"])]
    figures = []
    for of, of_page in pages(rows) if clocks else ():
        figure, found = lists(of_page, clocks, 2.2 + 2.0 * len(clocks))
        for dataset, (axes, ys) in found.items():
            of_dataset = of_page[of_page["dataset"] == dataset]
            for ax, clock in zip(axes, clocks, strict=True):
                _costs(ax, ys, of_dataset[of_dataset["clock"] == clock])
                ax.set_xlabel(LABELS[clock])
            counts = of_dataset.groupby(["architecture", "objective"])[["reached", "n"]].max()
            for place, (reached, n) in zip(counts.index, counts.to_numpy().tolist(), strict=True):
                look: dict[str, Any] = {
                    "transform": ax.get_yaxis_transform(),
                    "va": "center",
                    "size": 8,
                }
                ax.text(1.03, ys[place], f"{reached}/{n}", **look)
        caption = "Median over seeds by Kaplan–Meier with its 95 % interval, from five seeds on; on the right, how "
        caption += "many of the runs reached the target. At ∞: not reached; an empty mark there is a median that was "
        caption += "not, a line that ends there an interval without an upper end. A cost is that of the first "
        caption += "evaluation at the target, as coarse as the evaluations are. Without the places in which no run "
        caption += "reached it."
        data = of_page[["objective", "architecture", "dataset", *of_page.columns[3:]]]
        figures.append(
            save(
                figure,
                data,
                folder,
                Figure("time_to_target", "Cost of the target", caption, "speed"),
                of,
            )
        )
    return figures


def _costs(ax: Any, ys: dict[Any, int], rows: pd.DataFrame) -> None:
    """The costs of one clock: medians and intervals; what is infinite stands on a line at the
    right."""
    ends = rows[["median", "ci_low", "ci_high"]].astype(float)
    finite = ends.to_numpy()[np.isfinite(ends) & (ends > 0)]
    if not len(finite):
        not_recorded(ax)
        return
    low, high = finite.min(), finite.max()
    reach = max(high / low, 2.0)
    never = high * reach**0.18
    shown = ends.clip(upper=never).assign(ci_low=ends["ci_low"].where(np.isfinite(ends["ci_low"])))
    dots(ax, ys, rows.assign(**shown, hollow=np.isinf(ends["median"])), ends.columns)
    ax.axvline(never, color="0.35", linestyle=":", linewidth=1, zorder=0)
    ax.set_xscale("log")
    ax.set_xlim(low / reach**0.1, high)
    log_axis(ax.xaxis)
    left, right = low / reach**0.1, never * reach**0.08
    apart, ticks = (right / left) ** 0.2, [never]
    for tick in sorted(ax.get_xticks(), reverse=True):
        if left <= tick <= ticks[-1] / (apart if len(ticks) > 1 else apart**0.6):
            ticks.append(tick)
    ax.set_xticks(ticks, ["∞", *map(EngFormatter(sep=""), ticks[1:])])
    ax.set_xlim(left, right)


def profiles(tables: Tables, folder: Path) -> list[Figure]:
    """AlgoPerf's performance profile on every clock, where two places or more have a target."""
    found = {clock: profile(tables.convergence, clock) for clock in TARGET_CLOCKS}
    found = {
        clock: parts
        for clock, parts in found.items()
        if len(parts[1]) and parts[1]["workloads"].iloc[0] > 1
    }
    if not found:
        return []
    names = list(tables.convergence["objective"].unique())
    labels = [one_line(name) for name in names]
    heights = [2.6, (0.1 + inches(labels)) * len(names)]
    size = (2.2 + 2.3 * len(found), sum(heights) + 1.4)
    figure, axes = plt.subplots(
        2, len(found), figsize=size, squeeze=False, sharey="row", height_ratios=heights
    )
    for top, bottom, (clock, (curve, scores)) in zip(*axes, found.items(), strict=True):
        for name, rows in curve.groupby("objective", sort=False):
            top.plot(
                rows["ratio"],
                rows["share"],
                **style(str(name)) | {"marker": "", "drawstyle": "steps-post"},
            )
        for row in scores.to_dict("records"):
            bottom.barh(
                names.index(row["objective"]),
                row["score"],
                height=0.6,
                color=style(row["objective"])["color"],
            )
        bottom.set(ylim=(len(names) - 0.4, -0.6), yticks=range(len(names)), yticklabels=labels)
        bottom.set(xlim=(0, 1), xlabel=f"mean share up to {LIMIT:g} ×")
        top.set_title(f"{LABELS[clock]}\n{scores['workloads'].iloc[0]} places", size=9)
        top.set(
            xlim=(1, LIMIT),
            ylim=(-0.03, 1.03),
            xlabel="ratio to the least cost",
            xticks=range(1, int(LIMIT) + 1),
        )
    axes[0, 0].set_ylabel("share of the places")
    data = pd.concat(
        [curve.assign(clock=clock) for clock, (curve, _) in found.items()], ignore_index=True
    )
    caption = "Above: the share of the places in which an objective's median cost of the target is within this "
    caption += f"ratio of the least of all objectives. Below: the mean of that share over ratios 1 to {LIMIT:g}, "
    caption += "AlgoPerf's score: 1 is always the first. Only places where every objective has run; a target not "
    caption += "reached is within no ratio."
    return [
        save(
            figure,
            data,
            folder,
            Figure("performance_profile", "Performance profile", caption, "speed"),
        )
    ]
