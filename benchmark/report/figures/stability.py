"""Figures of stability: every cell's verdict, and what the critic's loss tells about quality and
overfitting."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmark.analysis.scores import PLACE
from benchmark.analysis.stopping import stopping
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import dots, lists, not_recorded, pages
from benchmark.drawing.style import VERDICT_LOOKS, Figure, inches, plain, save, wrap
from benchmark.store.result_set import FINISHED

QUANTITIES = {  # label, and what to know about it
    "loss_correlation": (
        "rank correlation of the critic's loss\nwith the ranking metric",
        "The correlation is Spearman's, within a run: at −1 (dashed) the loss rises with every improvement, as an "
        "estimate of −W₁ must, and could say when to stop; at 0 it tells nothing.",
    ),
    "overfit_gap": (
        "critic's loss on held-out −\non training samples",
        "Above 0 the critic knows its training samples; each objective in the unit of its own loss. All are probed "
        "on the same batches: a small offset that they share over few seeds is that of the batches.",
    ),
}


def verdicts(tables: Tables, folder: Path) -> list[Figure]:
    """How many seeds got which verdict: a stacked bar for each objective and place."""
    cells = tables.cells
    if not cells["status"].isin(FINISHED).any():
        return []
    verdict = cells["verdict"].where(cells["verdict"].notna(), "no verdict")
    place = cells["architecture"].map(wrap) + "\non " + cells["dataset"].map(plain)
    frame = cells[["objective", *PLACE]].assign(place=place, verdict=verdict)
    counts = frame.groupby([*frame], sort=False).size().rename("seeds").reset_index()
    names, places = list(frame["objective"].unique()), list(place.unique())
    turned = len(places) > 4  # many places grow downwards, not sideways
    rows, columns = (places, names) if turned else (names, places)
    step = 1.5 if any(len(wrap(name)) > len(name) for name in columns) or not turned else 1.15
    labels = [wrap(name) if name in names else name for name in (*rows, *columns)]
    height = max(0.36, 0.05 + inches(labels[: len(rows)]))
    size = (2.2 + step * len(columns), 0.8 + inches(labels[len(rows) :]) + height * len(rows))
    figure, ax = plt.subplots(figsize=size)
    total = counts.groupby(["place", "objective"])["seeds"].transform("sum")
    counts["order"] = counts["verdict"].map(list(VERDICT_LOOKS).index)
    counts = counts.assign(share=counts["seeds"] / total).sort_values("order", kind="stable")
    start = counts.groupby(["place", "objective"])["share"].cumsum() - counts["share"]
    for bar, left in zip(counts.to_dict("records"), start, strict=True):
        y, x = names.index(bar["objective"]), places.index(bar["place"])
        y, x = (x, y) if turned else (y, x)
        colour, hatch = VERDICT_LOOKS[bar["verdict"]]
        look: dict[str, Any] = {
            "color": colour,
            "hatch": hatch,
            "edgecolor": "0.25",
            "linewidth": 0.5,
            "height": 0.7,
        }
        ax.barh(y, 0.9 * bar["share"], left=x + 0.05 + 0.9 * left, **look)
        if bar["share"] < 1:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
            middle = x + 0.05 + 0.9 * (left + bar["share"] / 2)
            ax.text(middle, y, bar["seeds"], size=7, ha="center", va="center", bbox=box)
    ax.set(xlim=(0, len(columns)), ylim=(len(rows) - 0.4, -0.6))
    ax.set_yticks(range(len(rows)), labels[: len(rows)])
    ax.set_xticks([i + 0.5 for i in range(len(columns))], labels[len(rows) :])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    plt.setp(ax.spines.values(), visible=False)
    found = [name for name in VERDICT_LOOKS if name in set(counts["verdict"])]
    looks = [VERDICT_LOOKS[name] for name in found]
    patches = [
        plt.Rectangle(
            (0, 0), 1, 1, facecolor=colour, hatch=hatch, edgecolor="0.25", linewidth=0.5, label=name
        )
        for name, (colour, hatch) in zip(found, looks, strict=True)
    ]
    figure.legend(
        handles=patches, loc="outside lower center", ncols=min(4, len(patches)), frameon=False
    )
    caption = "A bar holds all seeds of an objective in a place, numbered where they differ. Ok: no failure was "
    caption += "seen, not: the samples are good. No verdict: not finished, or nothing measured."
    data = counts[["objective", *PLACE, "verdict", "seeds"]]
    return [save(figure, data, folder, Figure("verdicts", "Verdicts", caption, "stability"))]


def critic_loss(tables: Tables, folder: Path) -> list[Figure]:
    """Is the critic's loss a stopping criterion, and does the critic overfit: IQM over seeds with
    its interval."""
    rows = stopping(tables.cells)
    labels = {
        name: label for name, (label, _) in QUANTITIES.items() if name in set(rows["quantity"])
    }
    figures = []
    for of, of_page in pages(rows) if labels else ():
        figure, found = lists(of_page, labels, 2.2 + 3.2 * len(labels))
        for dataset, (axes, ys) in found.items():
            of_dataset = of_page[of_page["dataset"] == dataset]
            for ax, (quantity, label) in zip(axes, labels.items(), strict=True):
                shown = of_dataset[of_dataset["quantity"] == quantity]
                dots(ax, ys, shown, ("iqm", "ci_low", "ci_high"))
                if shown.empty:
                    not_recorded(ax)
                    continue
                ax.axvline(0, color="0.35", linewidth=1, zorder=0)
                ax.set_xlabel(label)
                if quantity == "loss_correlation":
                    ax.axvline(-1, color="0.35", linestyle="--", linewidth=1, zorder=0)
                    ax.set(xlim=(-1.08, 1.08), xticks=(-1, -0.5, 0, 0.5, 1))
                else:
                    _widen(ax, shown)
        notes = [QUANTITIES[name][1] for name in labels]
        caption = " ".join(["IQM over seeds with its 95 % interval, from five seeds on.", *notes])
        saved = Figure("critic_loss", "What the critic's loss tells", caption, "stability")
        figures.append(save(figure, of_page, folder, saved, of))
    return figures


def _widen(ax: Any, rows: pd.DataFrame) -> None:
    """A symmetric axis, linear near 0 where the losses' units differ by orders of magnitude."""
    size = rows[["iqm", "ci_low", "ci_high"]].abs().to_numpy(dtype=float)
    size = size[np.isfinite(size) & (size > 0)]
    if len(size):
        reach = 1.3 * size.max()
        if reach > 50 * np.median(size):
            ax.set_xscale("symlog", linthresh=float(f"{np.median(size):.0e}"))
        ax.set_xlim(-reach, reach)
