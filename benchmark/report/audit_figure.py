"""The audit of metrics as a picture: from which share of a fault on every metric sees it."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from benchmark.drawing import style
from benchmark.drawing.save import write_pictures
from benchmark.metrics import rank, short_name

REWARDED = "#E69F00"
UNSEEN = "#F2F2F2"
CELL = 0.3  # inches, the height of a row
FAINTEST = 0.15  # of the colour map, for what is seen at 100 %


@style.drawing()
def draw(limits: pd.DataFrame, stem: Path) -> None:
    """Write STEM.png and STEM.svg: a panel per dataset, a row per metric, a column per fault. A
    cell has the smallest share from which on the fault is seen, the darker the smaller; + and the
    share where the fault is rewarded. limits: the rows of limits.csv."""
    datasets = list(limits["dataset"].unique())
    names = [
        sorted(limits.loc[limits["dataset"] == dataset, "column"].unique(), key=rank)
        for dataset in datasets
    ]
    heights = [len(columns) + 2.5 for columns in names]
    figure, axes = plt.subplots(
        len(datasets), 1, figsize=(9, CELL * sum(heights)), height_ratios=heights, squeeze=False
    )
    for ax, dataset, columns in zip(axes[:, 0], datasets, names, strict=True):
        _panel(ax, limits[limits["dataset"] == dataset], columns)
        ax.set_title(dataset, fontsize=9, loc="left", fontweight="bold")
    figure.tight_layout()
    write_pictures(figure, stem)


def _panel(ax: Any, limits: pd.DataFrame, columns: list[str]) -> None:
    faults = list(limits["fault"].unique())
    for row in limits.to_dict("records"):
        x, y = faults.index(row["fault"]), columns.index(row["column"])
        _cell(ax, x, y, row["seen_from"], row["better_from"])
    ax.set_xlim(0, len(faults))
    ax.set_ylim(len(columns), 0)
    ax.set_xticks(np.arange(len(faults)) + 0.5, faults)
    ax.set_yticks(np.arange(len(columns)) + 0.5, [short_name(column) for column in columns])
    ax.tick_params(length=0, labelsize=7.5, labeltop=True, labelbottom=False)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _cell(ax: Any, x: int, y: int, seen_from: float, better_from: float) -> None:
    """A metric under a fault."""
    is_seen, is_rewarded = not np.isnan(seen_from), not np.isnan(better_from)
    texts = [f"{seen_from:.0%}"] if is_seen else []
    texts += [f"+ {better_from:.0%}"] if is_rewarded else []
    color: Any = UNSEEN
    ink = "black" if texts else "0.45"
    if is_rewarded:
        color = REWARDED
    elif is_seen:
        # 1 at a share of 1 %, FAINTEST at 100 %
        strength = FAINTEST + (1 - FAINTEST) * np.clip(-np.log10(seen_from) / 2, 0, 1)
        color = plt.get_cmap("Blues")(strength)
        ink = "white" if strength > 0.6 else "black"
    ax.add_patch(Rectangle((x + 0.03, y + 0.06), 0.94, 0.88, facecolor=color, linewidth=0))
    text = ", ".join(texts) or "not seen"
    ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=7, color=ink)
