"""Figures of certainty, from `evidence`: paired differences, ranks under resampled seeds, what n
seeds can tell."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmark.analysis.evidence import ALPHA, Evidence
from benchmark.analysis.scores import PLACE
from benchmark.drawing.layout import dots, lists, pages
from benchmark.drawing.style import Figure, described, grid, plain, save, wrap
from benchmark.metrics import sign
from benchmark.stats.power import minimal_difference

BUDGETS = {"final": "at the end", "equal_time": "at equal training time"}
SEEDS = (5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40)


def differences(evidence: Evidence, folder: Path) -> list[Figure]:
    """Paired differences of every comparison with their intervals, and the probability of
    improvement."""
    rows = evidence.compared.dropna(subset=["difference", "p_improvement"], how="all")
    against = evidence.tables.matrix.get("reference")
    figures = []
    for of, of_page in pages(rows) if len(rows) else ():
        budgets = [name for name in BUDGETS if name in set(of_page["of"])]
        pairs = of_page["first"] + "\n− " + of_page["second"]
        of_page = of_page.assign(name=of_page["first"].where(of_page["second"] == against, pairs))
        of_page = of_page.assign(
            objective=of_page["first"], hollow=of_page["verdict"] == "not separated"
        )
        alone = (of_page["second"] == against).all()
        figure, found = lists(of_page, [*budgets, "p"], 9.5, "name")
        for dataset, (axes, ys) in found.items():
            of_dataset = of_page[of_page["dataset"] == dataset]
            column = of_dataset["metric"].iloc[0]
            side = "below" if sign(column) == 1 else "above"
            for ax, budget in zip(axes, budgets, strict=False):
                shown = of_dataset[of_dataset["of"] == budget]
                dots(ax, ys, shown, ("difference", "ci_low", "ci_high"))
                _spread(ax, shown)
                ax.axvline(0, color="0.35", linewidth=1, zorder=0)
                ax.set_xlabel(
                    f"{described(column)}\ndifference {BUDGETS[budget]}\n(better {side} 0)", size=8
                )
            ax = axes[-1]
            dots(
                ax,
                ys,
                of_dataset[of_dataset["of"] == budgets[0]],
                ("p_improvement", "p_low", "p_high"),
            )
            ax.axvline(0.5, color="0.35", linewidth=1, zorder=0)
            ax.set_xlim(-0.05, 1.05)
            ax.set_xlabel(f"P(a run is better)\n{BUDGETS[budgets[0]]}", size=8)
        paired = (
            "Each objective less the reference" if alone else "The first objective less the second"
        )
        caption = f"{paired}: IQM of the paired differences over seeds with its 95 % interval, and the probability "
        caption += "that a run of it is better than one of the other. Filled marks: separated, after Holm's "
        caption += "correction; empty marks: not separated. A difference without an interval has fewer than five "
        caption += "finite pairs."
        title = f"Differences from {against}" if alone else "Differences between objectives"
        data = of_page.drop(columns=["name", "objective", "hollow"])
        figures.append(
            save(figure, data, folder, Figure("differences", title, caption, "certainty"), of)
        )
    return figures


def _spread(ax: Any, rows: pd.DataFrame) -> None:
    """Linear near 0, logarithmic beyond, where a few differences dwarf the others."""
    size = rows[["difference", "ci_low", "ci_high"]].abs().to_numpy(dtype=float)
    size = size[np.isfinite(size) & (size > 0)]
    if len(size) and size.max() > 30 * np.median(size):
        ax.set_xscale("symlog", linthresh=float(f"{np.median(size):.0e}"))


def rank_stability(evidence: Evidence, folder: Path) -> list[Figure]:
    """Objective x rank: how often the objective has the rank when seeds are resampled."""
    rows = evidence.ranks.dropna(subset="probability")
    rows = rows[rows.groupby(PLACE)["rank"].transform("max") > 1]
    figures = []
    for of, of_page in pages(rows) if len(rows) else ():
        places = list(of_page.groupby(PLACE, sort=False))
        most = of_page["rank"].max()
        figure, axes = grid(len(places), 2, 2.2 + 0.38 * most, 0.9 + 0.3 * most)
        for ax, ((dataset, architecture), of_place) in zip(axes, places, strict=True):
            names = list(of_place["objective"].unique())
            wide = of_place.pivot(index="objective", columns="rank", values="probability").loc[
                names
            ]
            ax.imshow(wide, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            for i, j in np.argwhere(wide.to_numpy() >= 0.005):
                share = wide.iloc[i, j]
                ax.text(
                    j,
                    i,
                    f"{100 * share:.0f}",
                    size=8,
                    ha="center",
                    va="center",
                    color="w" if share > 0.6 else "k",
                )
            ax.set_yticks(range(len(names)), [wrap(name) for name in names])
            ax.set_xticks(range(len(names)), range(1, len(names) + 1))
            ax.set_xlabel("rank")
            ax.grid(False)
            ax.set_title(plain(f"{architecture} on {dataset}"), loc="left", weight="bold", size=9)
        caption = "Share of 2,000 resamples of the seeds, in percent, in which an objective has the rank by the IQM "
        caption += "of the final value; a diverged seed is the worst value, and ties share their ranks. One dark "
        caption += "cell in a line is a rank that these seeds settle."
        saved = Figure("rank_stability", "Ranks under resampled seeds", caption, "certainty")
        figures.append(save(figure, of_page, folder, saved, of))
    return figures


def power(evidence: Evidence, folder: Path) -> list[Figure]:
    """The smallest difference that n seeds tell, for the families of this matrix and for a single
    comparison."""
    found = evidence.power
    if found.empty:
        return []
    families = sorted({1, int(found["comparisons"].min()), int(found["comparisons"].max())})
    rows = [(m, n, minimal_difference(n, ALPHA / m)) for m in families for n in SEEDS]
    data = pd.DataFrame(rows, columns=["comparisons", "n", "smallest_sd"])
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    looks: list[Any] = [
        {"color": "0.5", "linestyle": "--"},
        {"color": "#0072B2"},
        {"color": "#D55E00"},
    ]
    for m, look in zip(families, looks, strict=False):
        curve = data[(data["comparisons"] == m) & np.isfinite(data["smallest_sd"])]
        label = "1 comparison" if m == 1 else f"{m} comparisons, as here"
        ax.plot(curve["n"], curve["smallest_sd"], marker="o", markersize=3, label=label, **look)
    for n in sorted(set(found["n"])):
        ax.axvline(n, color="0.35", linestyle=":", linewidth=1)
    ax.set(
        xlabel="seeds of each objective",
        ylabel="smallest difference told,\nin standard deviations of a seed",
    )
    ax.set(
        ylim=(0, None), xlim=(min(4.5, found["n"].min() - 0.5), max(*SEEDS, found["n"].max()) + 0.5)
    )
    ax.legend()
    caption = "The difference between two objectives that Mann–Whitney's test finds four times in five, for normal "
    caption += f"seeds, at a level of {ALPHA:g} ÷ comparisons (Holm's first step). A line begins where the seeds can "
    caption += "reach that level at all. Dotted: the seeds of this matrix."
    return [
        save(
            figure,
            data,
            folder,
            Figure("power", "What more seeds would tell", caption, "certainty"),
        )
    ]
