"""How sure the evidence is: paired differences, ranks under resampled seeds, what n seeds tell."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmark.analysis.evidence import ALPHA, Evidence
from benchmark.analysis.scores import PLACE
from benchmark.drawing.layout import Lines, dots, grid, lists, pages, title
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import Look, described, inches, wrap
from benchmark.metrics import sign
from benchmark.stats.power import minimal_difference
from benchmark.text import place_name

COMPARED_AT = {"final": "at the end", "equal_time": "at equal raced seconds"}
SEEDS = (5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40)  # numbers of seeds on the power curve
DIFFERENCES = (
    "{}: IQM of the paired differences over seeds with its 95 % interval, and the probability that "
    "a run of it is better than one of the other. Filled marks: separated, after Holm's "
    "correction; empty marks: not separated. A difference without an interval has fewer than five "
    "finite pairs."
)
RANKS = (
    "Share of 2,000 resamples of the seeds, in percent, in which an objective has the rank by the "
    "IQM of the final value; a diverged seed is the worst value, and ties share their ranks. One "
    "dark cell in a line is a rank that these seeds settle."
)
POWER = (
    "The difference between two objectives that Mann–Whitney's test finds four times in five, for "
    f"normal seeds, at a level of {ALPHA:g} ÷ comparisons (Holm's first step). A line begins where "
    "the seeds can reach that level at all. Dotted: the seeds of this matrix."
)
POWER_LOOKS: list[Look] = [
    {"color": "0.5", "linestyle": "--"},
    {"color": "#0072B2"},
    {"color": "#D55E00"},
]


def differences(evidence: Evidence, folder: Path) -> list[Figure]:
    """Paired differences of every comparison with their intervals, and the probability of
    improvement."""
    rows = evidence.compared.dropna(subset=["difference", "p_improvement"], how="all")
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
    """The comparisons of one dataset: the differences at every budget, and the probability of
    improvement at the first one."""
    column = rows["metric"].iloc[0]
    better = "below" if sign(column) == 1 else "above"
    *axes, last = lines.axes
    for ax, budget in zip(axes, budgets, strict=True):
        shown = rows[rows["of"] == budget]
        dots(ax, lines.heights, shown, ("difference", "ci_low", "ci_high"))
        _spread(ax, shown)
        ax.axvline(0, color="0.35", linewidth=1, zorder=0)
        label = f"{described(column)}\ndifference {COMPARED_AT[budget]}\n(better {better} 0)"
        ax.set_xlabel(label, size=8)
    shown = rows[rows["of"] == budgets[0]]
    dots(last, lines.heights, shown, ("p_improvement", "p_low", "p_high"))
    last.axvline(0.5, color="0.35", linewidth=1, zorder=0)
    last.set_xlim(-0.05, 1.05)
    last.set_xlabel(f"P(a run is better)\n{COMPARED_AT[budgets[0]]}", size=8)


def _spread(ax: Axes, rows: pd.DataFrame) -> None:
    """An axis that is linear near 0 and logarithmic beyond, where a few differences dwarf the
    others."""
    sizes = rows[["difference", "ci_low", "ci_high"]].abs().to_numpy(dtype=float)
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if len(sizes) and sizes.max() > 30 * np.median(sizes):
        ax.set_xscale("symlog", linthresh=float(f"{np.median(sizes):.0e}"))


def rank_stability(evidence: Evidence, folder: Path) -> list[Figure]:
    """Objective x rank: how often the objective has the rank when seeds are resampled."""
    rows = evidence.ranks.dropna(subset="probability")
    rows = rows[rows.groupby(PLACE)["rank"].transform("max") > 1]
    if rows.empty:
        return []
    saved = Figure("rank_stability", "Ranks under resampled seeds", RANKS, "certainty")
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
            title(ax, name, width - 2, loc="left", weight="bold", size=9)
        figures.append(save(figure, page, folder, saved, part))
    return figures


def _ranks(ax: Axes, rows: pd.DataFrame) -> None:
    """The shares of one place, in percent."""
    objectives = list(rows["objective"].unique())
    wide = rows.pivot(index="objective", columns="rank", values="probability").loc[objectives]
    ax.imshow(wide, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.argwhere(wide.to_numpy() >= 0.005):
        share = wide.iloc[i, j]
        look: Look = {"color": "w" if share > 0.6 else "k", "ha": "center", "va": "center"}
        ax.text(j, i, f"{100 * share:.0f}", size=8, **look)
    ax.set_yticks(range(len(objectives)), [wrap(name) for name in objectives])
    ax.set_xticks(range(len(objectives)), [str(i + 1) for i in range(len(objectives))])
    ax.set_xlabel("rank")
    ax.grid(False)


def power(evidence: Evidence, folder: Path) -> list[Figure]:
    """The smallest difference that n seeds tell, for the families of this matrix and for a single
    comparison."""
    known = evidence.power
    if known.empty:
        return []
    counts = known["comparisons"]
    families = sorted({1, int(counts.min()), int(counts.max())})
    rows = []
    for comparisons in families:
        for n in SEEDS:
            smallest = minimal_difference(n, ALPHA / comparisons)
            rows.append((comparisons, n, smallest))
    data = pd.DataFrame(rows, columns=["comparisons", "n", "smallest_sd"])
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    for comparisons, look in zip(families, POWER_LOOKS, strict=False):
        is_shown = (data["comparisons"] == comparisons) & np.isfinite(data["smallest_sd"])
        curve = data[is_shown]
        label = "1 comparison" if comparisons == 1 else f"{comparisons} comparisons, as here"
        ax.plot(curve["n"], curve["smallest_sd"], marker="o", markersize=3, label=label, **look)
    for n in sorted(set(known["n"])):
        ax.axvline(n, color="0.35", linestyle=":", linewidth=1)
    ax.set_xlabel("seeds of each objective")
    ax.set_ylabel("smallest difference told,\nin standard deviations of a seed")
    ax.set_ylim(0, None)
    ax.set_xlim(min(4.5, known["n"].min() - 0.5), max(*SEEDS, known["n"].max()) + 0.5)
    ax.legend()
    saved = Figure("power", "What more seeds would tell", POWER, "certainty")
    return [save(figure, data, folder, saved)]
