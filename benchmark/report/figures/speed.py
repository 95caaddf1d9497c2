"""What the targets cost on every clock, how often each objective is near the fastest, and what a
generator step costs."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmark.analysis.convergence import LIMIT, profile
from benchmark.analysis.scores import LEAST_PLACES, PLACE, raced_costs
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import Lines, amount, dots, lists, log_axis, not_recorded, pages
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import Look, inches, style, wrap_long
from benchmark.report.page import with_values

CLOCK_LABELS = {
    "samples": "samples seen",
    "g_steps": "generator steps",
    "forwards": "critic forward-equivalents",
    "seconds": "raced seconds",
}
COST_LABELS = {
    "ms": "raced ms per generator step",
    "workloads": "the same ÷ the reference workload",
    "forwards": "critic forward-equivalents\nper generator step",
}
COST = (
    "A generator step with its critic steps: milliseconds by the race before the first cell, in "
    "which all objectives of a place took turns; a line holds the middle half of its rounds. The "
    "reference workload took its turn too: machines compare in its units. Forward-equivalents are "
    "the same on every machine."
)
TO_TARGET = (
    "Median over seeds with its exact 95 % interval, from five seeds on; on the right, how many of "
    "the runs reached each target. Of several marks in a line the uppermost is of the easiest "
    "target: a quarter, a half, three quarters of the way from the untrained generator to the "
    "noise floor. At >: beyond the training budget; an empty mark there is a median, a line that "
    "ends there an interval. A cost is that of the first evaluation at the target, as coarse as "
    "the evaluations are. Without the targets that no run reached."
)
PROFILE = (
    "Above: the share of the targets of which an objective's median cost is within this ratio of "
    f"the least of all objectives. Below: the mean of that share over ratios 1 to {LIMIT:g}, "
    "AlgoPerf's score: 1 is always the first. Only targets that one objective reaches, in places "
    "where every objective has run; a target not reached is within no ratio."
)


def time_to_target(tables: Tables, folder: Path) -> list[Figure]:
    """The median of what each target cost, with its interval, on every clock."""
    rows = tables.convergence[tables.convergence["n"] > 0]
    is_reached = rows.groupby([*PLACE, "level"])["reached"].transform("max") > 0
    rows = rows[is_reached]
    known = rows["clock"].unique()
    clocks = [name for name in CLOCK_LABELS if name in known]
    if not clocks:
        return []
    saved = Figure("time_to_target", "Cost of the targets", TO_TARGET, "speed")
    figures = []
    for part, page in pages(rows):
        figure, datasets = lists(page, clocks, 2.2 + 2.0 * len(clocks))
        for dataset, lines in datasets.items():
            per_dataset = page[page["dataset"] == dataset]
            for ax, clock in zip(lines.axes, clocks, strict=True):
                _costs(ax, lines, per_dataset[per_dataset["clock"] == clock])
                ax.set_xlabel(CLOCK_LABELS[clock])
            _reached(lines, per_dataset)
        data = page[["objective", "architecture", "dataset", *page.columns[3:]]]
        figures.append(save(figure, data, folder, saved, part))
    return figures


def _reached(lines: Lines, rows: pd.DataFrame) -> None:
    """How many of the runs reached each target, right of the last axes."""
    ax = lines.axes[-1]
    look: Look = {"transform": ax.get_yaxis_transform(), "va": "center", "size": 8}
    for item, per_item in rows.groupby(["architecture", "objective"], sort=False):
        counts = per_item.groupby("level", sort=False)[["reached", "n"]].max()
        reached = " ".join(map(str, counts["reached"]))
        ax.text(1.03, lines.heights[item], f"{reached} of {counts['n'].max()}", **look)


def _costs(ax: Axes, lines: Lines, rows: pd.DataFrame) -> None:
    """The costs of one clock: medians and intervals. What is infinite stands on a line at the
    right."""
    ends = rows[["median", "ci_low", "ci_high"]].astype(float)
    finite = ends.to_numpy()[np.isfinite(ends) & (ends > 0)]
    if not len(finite):
        not_recorded(ax)
        return
    low = finite.min()
    high = finite.max()
    reach = max(high / low, 2.0)
    never = high * reach**0.18  # where infinity stands
    left = low / reach**0.1
    right = never * reach**0.08
    shown = ends.clip(upper=never).assign(ci_low=ends["ci_low"].where(np.isfinite(ends["ci_low"])))
    shown = rows.assign(**shown, hollow=np.isinf(ends["median"]))
    levels = list(rows["level"].unique())
    for offset, level in zip(_offsets(len(levels)), levels, strict=True):
        heights = {item: height + offset for item, height in lines.heights.items()}
        dots(ax, heights, shown[shown["level"] == level], ends.columns)
    ax.axvline(never, color="0.35", linestyle=":", linewidth=1, zorder=0)
    ax.set_xscale("log")
    ax.set_xlim(left, high)
    log_axis(ax.xaxis)
    ticks = _ticks(ax, left, right, never)
    ax.set_xticks([never, *ticks], [">", *map(amount, ticks)])
    ax.set_xlim(left, right)


def _offsets(num_levels: int) -> list[float]:
    """Where the marks of the levels stand within a line: 0 is its middle."""
    if num_levels == 1:
        return [0.0]
    return np.linspace(-0.27, 0.27, num_levels).tolist()


def _ticks(ax: Axes, left: float, right: float, never: float) -> list[float]:
    """The ticks of an axis from left to right, from the largest on, that leave room for the texts
    between them and for the ∞ at `never`."""
    apart = (right / left) ** 0.2
    most = never / apart**0.6
    ticks: list[float] = []
    for tick in sorted(ax.get_xticks(), reverse=True):
        if left <= tick <= most:
            ticks.append(tick)
            most = tick / apart
    return ticks


def profiles(tables: Tables, folder: Path) -> list[Figure]:
    """AlgoPerf's performance profile on every clock. None over fewer than LEAST_PLACES places: the
    shares of so few targets say nothing."""
    curves: dict[str, pd.DataFrame] = {}
    scores: dict[str, pd.DataFrame] = {}
    if len(tables.convergence[PLACE].drop_duplicates()) < LEAST_PLACES:
        return []
    for clock in CLOCK_LABELS:
        curve, score = profile(tables.convergence, clock)
        if len(score) and score["workloads"].iloc[0] > 1:
            curves[clock] = curve.assign(clock=clock)
            scores[clock] = score
    if not curves:
        return []
    names = list(tables.convergence["objective"].unique())
    labels = [wrap_long(name) for name in names]
    heights = [2.6, (0.1 + inches(labels)) * len(names)]
    options: Look = {"squeeze": False, "sharey": "row", "height_ratios": heights}
    size = (2.2 + 2.3 * len(curves), sum(heights) + 1.4)
    figure, axes = plt.subplots(2, len(curves), figsize=size, **options)
    for top, bottom, clock in zip(axes[0], axes[1], curves, strict=True):
        targets = scores[clock]["workloads"].iloc[0]
        top.set_title(f"{CLOCK_LABELS[clock]}\n{targets} targets", size=9)
        _shares(top, curves[clock])
        _scores(bottom, scores[clock], names)
        bottom.set(ylim=(len(names) - 0.4, -0.6), yticks=range(len(names)), yticklabels=labels)
    axes[0, 0].set_ylabel("share of the targets")
    data = pd.concat(curves.values(), ignore_index=True)
    saved = Figure("performance_profile", "Performance profile", PROFILE, "speed")
    return [save(figure, data, folder, saved)]


def _shares(ax: Axes, curve: pd.DataFrame) -> None:
    """The performance profile: a step function per objective."""
    for name, rows in curve.groupby("objective", sort=False):
        look = style(str(name)) | {"marker": "", "drawstyle": "steps-post"}
        ax.plot(rows["ratio"], rows["share"], **look)
    options: Look = {"xlim": (1, LIMIT), "ylim": (-0.03, 1.03)}
    ax.set(**options, xlabel="ratio to the least cost", xticks=range(1, int(LIMIT) + 1))


def _scores(ax: Axes, scores: pd.DataFrame, names: list[str]) -> None:
    """The score of every objective as a bar."""
    for row in scores.to_dict("records"):
        colour: Any = style(row["objective"])["color"]
        ax.barh(names.index(row["objective"]), row["score"], height=0.6, color=colour)
    ax.set(xlim=(0, 1), xlabel=f"mean share up to {LIMIT:g} ×")


def cost(tables: Tables, folder: Path) -> list[Figure]:
    """What a generator step costs: COST_LABELS, as far as they are known."""
    cells = tables.cells[tables.cells["g_steps"] > 0]
    groups = cells.assign(**raced_costs(cells)).groupby([*PLACE, "objective"], sort=False)
    rows = groups[[*COST_LABELS, "raced_spread"]].median().reset_index()
    labels = with_values(COST_LABELS, rows)
    if not labels:
        return []
    figures = []
    for part, page in pages(rows):
        figure, datasets = lists(page, labels, 3.0 + 2.6 * len(labels))
        # inches: the last tick label of an axes stands out at its end
        figure.set_layout_engine("constrained", w_pad=0.14)
        for dataset, lines in datasets.items():
            per_dataset = page[page["dataset"] == dataset]
            for ax, (column, label) in zip(lines.axes, labels.items(), strict=True):
                ax.set_xlabel(label)
                _steps(ax, lines, per_dataset, column)
        saved = Figure("cost", "Cost of a generator step", COST, "cost")
        data = page[["objective", *PLACE, *labels, "raced_spread"]]
        figures.append(save(figure, data, folder, saved, part))
    return figures


def _steps(ax: Axes, lines: Lines, rows: pd.DataFrame, column: str) -> None:
    """The cost of a generator step of every objective of a dataset, with its spread where it was
    raced."""
    spread = 0.0 if column == "forwards" else rows["raced_spread"]
    value = rows[column]
    ends = {"value": value, "low": value / (1 + spread), "high": value * (1 + spread)}
    dots(ax, lines.heights, rows.assign(**ends), list(ends))
    if value.isna().all():
        not_recorded(ax)
    else:
        ax.set_xscale("log")
        log_axis(ax.xaxis)
