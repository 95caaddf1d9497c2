"""How sure the evidence is: paired differences, ranks seed by seed, what n seeds tell."""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmark.analysis.evidence import ALPHA, Evidence
from benchmark.analysis.scores import PLACE
from benchmark.drawing.axes import spread
from benchmark.drawing.layout import Lines, dots, grid, lists, pages, title
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import Look, described, inches, style, wrap
from benchmark.metrics import sign
from benchmark.stats.power import told_share
from benchmark.text import place_name

COMPARED_AT = {
    "final": "at the end",
    "equal_compute": "at equal critic forwards",
    "equal_time": "at equal raced seconds",
}
DIFFERENCE = ["difference", "ci_low", "ci_high"]
SEEDS = (5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40)  # numbers of seeds on the power curve
DIFFERENCES = (
    "{}: median of the paired differences over seeds, and the share of the seeds on which the "
    "first is better, with exact 95 % intervals, from five seeds on. Filled marks: separated by "
    "the sign test, after Holm's correction over all comparisons; empty marks: not separated. A "
    "run that diverged is worse than any other: such a difference is an arrow at the edge."
)
RANKS = (
    "The number of seeds on which an objective has the rank by the final value; a run that "
    "diverged is the worst, and ties share their ranks. A rank that an objective has on every seed "
    "is one dark cell."
)
POWER = (
    "The share of seeds on which an objective has to be better for the sign test to find it four "
    f"times in five, at a level of {ALPHA:g} ÷ comparisons (Holm's first step). A line begins "
    "where the seeds can reach that level at all. Dotted: the seeds of this matrix."
)
POWER_LOOKS: list[Look] = [
    {"color": "0.5", "linestyle": "--"},
    {"color": "#0072B2"},
]


def differences(evidence: Evidence, folder: Path) -> list[Figure]:
    """Paired differences of every comparison with their intervals, and the share of the seeds that
    are won."""
    rows = with_values(evidence)
    if rows.empty:
        return []
    reference = evidence.tables.matrix.reference
    figures = []
    for part, page in pages(rows):
        is_against_reference = page["second"] == reference
        budgets = [name for name in COMPARED_AT if name in page["of"].unique()]
        pairs = page["first"] + "\n− " + page["second"]
        shown = page.assign(
            name=page["first"].where(is_against_reference, pairs),
            objective=page["first"],
            hollow=page["verdict"] == "not separated",
        )
        figure, datasets = lists(shown, [*budgets, "p"], 9.5, "name")
        for dataset, lines in datasets.items():
            _differences(lines, shown[shown["dataset"] == dataset], budgets)
        title = "Differences between objectives"
        caption = DIFFERENCES.format("The first objective less the second")
        if is_against_reference.all():
            title = f"Differences from {reference}"
            caption = DIFFERENCES.format("Each objective less the reference")
        saved = Figure("differences", title, caption, "certainty")
        figures.append(save(figure, page, folder, saved, part))
    return figures


def _differences(lines: Lines, rows: pd.DataFrame, budgets: list[str]) -> None:
    """The comparisons of one dataset: the differences at every budget, and the share of the seeds
    that are won at the first one."""
    column = rows["metric"].iloc[0]
    better = "below" if sign(column) == 1 else "above"
    *axes, last = lines.axes
    for ax, budget in zip(axes, budgets, strict=True):
        shown = rows[rows["of"] == budget]
        dots(ax, lines.heights, within(shown), DIFFERENCE)
        _spread(ax, shown)
        ax.set_xlim(*limits(shown))
        _arrows(ax, lines, shown)
        ax.axvline(0, color="0.35", linewidth=1, zorder=0)
        name = textwrap.fill(described(column), 30)
        label = f"{name}\ndifference {COMPARED_AT[budget]}\n(better {better} 0)"
        ax.set_xlabel(label, size=8)
    shown = rows[rows["of"] == budgets[0]]
    dots(last, lines.heights, shown, ("p_improvement", "p_low", "p_high"))
    last.axvline(0.5, color="0.35", linewidth=1, zorder=0)
    last.set_xlim(-0.05, 1.05)
    last.set_xlabel(f"share of the seeds won\n{COMPARED_AT[budgets[0]]}", size=8)


def _arrows(ax: Axes, lines: Lines, rows: pd.DataFrame) -> None:
    """An arrow at the edge for each difference that is infinite."""
    for row in rows[np.isinf(rows["difference"].astype(float))].to_dict("records"):
        is_right = row["difference"] > 0
        look: Look = {"color": style(row["objective"])["color"], "clip_on": False, "markersize": 7}
        y = lines.heights[row["architecture"], row["name"]]
        ax.plot(ax.get_xlim()[is_right], y, ">" if is_right else "<", **look)


def with_values(evidence: Evidence) -> pd.DataFrame:
    """The comparisons that have values, of places where not every run diverged."""
    rows = evidence.compared.dropna(subset=["difference", "p_improvement"], how="all")
    cells = evidence.tables.cells
    alive = cells[cells["verdict"].notna() & (cells["verdict"] != "diverged")]
    return rows.merge(alive[PLACE].drop_duplicates(), on=PLACE)


def within(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with differences that can be drawn: what is infinite is far outside."""
    most = _largest(rows)
    return rows.assign(**rows[DIFFERENCE].astype(float).clip(-10 * most, 10 * most))


def limits(rows: pd.DataFrame) -> tuple[float, float]:
    """The ends of an axis that shows 0 and every finite difference; on both sides of 0 where
    another one is infinite."""
    values = rows[DIFFERENCE].to_numpy(dtype=float)
    if np.isinf(values).any():
        most = 1.15 * _largest(rows)
        return -most, most
    finite = values[np.isfinite(values)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    margin = 0.06 * (high - low or 1.0)
    return low - margin, high + margin


def _largest(rows: pd.DataFrame) -> float:
    """The largest finite difference or end of an interval, without its sign; 1 for none."""
    sizes = rows[DIFFERENCE].abs().to_numpy(dtype=float)
    return float(max(sizes[np.isfinite(sizes)], default=0.0)) or 1.0


def _spread(ax: Axes, rows: pd.DataFrame) -> None:
    """An axis that is linear near 0 and logarithmic beyond, where a few differences dwarf the
    others."""
    sizes = rows[DIFFERENCE].abs().to_numpy(dtype=float)
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if len(sizes) and sizes.max() > 30 * np.median(sizes):
        spread(ax, sizes, sizes.max())


def ranks(evidence: Evidence, folder: Path) -> list[Figure]:
    """Objective x rank: on how many seeds the objective has the rank."""
    rows = evidence.ranks[evidence.ranks["n"] > 0]
    rows = rows[rows.groupby(PLACE)["rank"].transform("max") > 1]
    if rows.empty:
        return []
    saved = Figure("ranks", "Ranks seed by seed", RANKS, "certainty")
    figures = []
    for part, page in pages(rows):
        places = list(page.groupby(PLACE, sort=False))
        most = page["rank"].max()
        line = max(0.3, 0.05 + inches(map(wrap, page["objective"].unique())))
        width = 2.2 + 0.38 * most
        figure, axes = grid(len(places), 2, width, 0.9 + line * most)
        for ax, ((dataset, architecture), per_place) in zip(axes, places, strict=True):
            _ranks(ax, per_place)
            name = place_name(str(architecture), str(dataset))
            name += f", {per_place['n'].iloc[0]} seeds"
            title(ax, name, width - 2, loc="left", weight="bold", size=9)
        figures.append(save(figure, page, folder, saved, part))
    return figures


def _ranks(ax: Axes, rows: pd.DataFrame) -> None:
    """The numbers of seeds of one place."""
    objectives = list(rows["objective"].unique())
    wide = rows.pivot(index="objective", columns="rank", values="seeds").loc[objectives]
    ax.imshow(wide, cmap="Blues", vmin=0, vmax=rows["n"].iloc[0], aspect="auto")
    for i, j in np.argwhere(wide.to_numpy() > 0):
        seeds = wide.iloc[i, j]
        is_dark = seeds > 0.6 * rows["n"].iloc[0]
        look: Look = {"color": "w" if is_dark else "k", "ha": "center", "va": "center"}
        ax.text(j, i, f"{seeds:.3g}", size=8, **look)
    ax.set_yticks(range(len(objectives)), [wrap(name) for name in objectives])
    ax.set_xticks(range(len(objectives)), [str(i + 1) for i in range(len(objectives))])
    ax.set_xlabel("rank")
    ax.grid(False)


def power(evidence: Evidence, folder: Path) -> list[Figure]:
    """The share of seeds that n seeds tell from a half, for the comparisons of this matrix and for
    a single one."""
    known = evidence.power
    if known.empty or evidence.compared.empty:
        return []
    families = sorted({1, int(known["comparisons"].iloc[0])})
    rows = []
    for comparisons in families:
        for n in SEEDS:
            rows.append((comparisons, n, told_share(n, ALPHA / comparisons)))
    data = pd.DataFrame(rows, columns=["comparisons", "n", "told_share"])
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    for comparisons, look in zip(families, POWER_LOOKS, strict=False):
        is_shown = (data["comparisons"] == comparisons) & np.isfinite(data["told_share"])
        curve = data[is_shown]
        label = "1 comparison" if comparisons == 1 else f"{comparisons} comparisons, as here"
        ax.plot(curve["n"], curve["told_share"], marker="o", markersize=3, label=label, **look)
    for n in sorted(set(known["n"])):
        ax.axvline(n, color="0.35", linestyle=":", linewidth=1)
    ax.set_xlabel("seeds of each objective")
    ax.set_ylabel("share of seeds won\nthat is found four times in five")
    ax.set_ylim(0.5, 1.02)
    ax.set_xlim(min(4.5, known["n"].min() - 0.5), max(*SEEDS, known["n"].max()) + 0.5)
    ax.legend()
    saved = Figure("power", "What more seeds would tell", POWER, "certainty")
    return [save(figure, data, folder, saved)]
