"""How every figure looks and is saved: STEM.png (150 dpi), STEM.svg and STEM.csv (the numbers drawn) in figures/.

Colours are fixed per objective and safe for colour-blind eyes; a parameterised label keeps its objective's hue, darker,
with another line and marker. All of it comes from the name alone, so a new variant shifts no colour.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb

from benchmark.cell import digest
from benchmark.metrics import metric

COLOURS = {  # Okabe & Ito 2008; black has no darker shade, only other lines and markers
    **{"minimax": "#E69F00", "nonsaturating": "#0072B2", "lsgan": "#009E73", "hinge": "#000000"},
    **{"wgan": "#CC79A7", "wgan_gp": "#56B4E9", "wgan_fdgp": "#D55E00"},
}
OTHERS = ("#332288", "#882255", "#999933", "#44AA99", "#661100", "#6E6E6E", "#117733")
DASHES = [(0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3))]
MARKERS = "sD^vPX"
LOOK: Any = {
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
LOOK |= {"legend.handlelength": 3.5, "figure.constrained_layout.use": True, "svg.hashsalt": "ganbench"}


@dataclass(frozen=True)
class Figure:
    """A figure on disk: figures/STEM.png, .svg and .csv; title and caption are plain text."""

    stem: str
    title: str
    caption: str


def style(label: str) -> dict[str, Any]:
    """Colour, line and marker of an objective label, from its name and parameters alone."""
    name, _, params = label.partition("[")
    colour, pick = COLOURS.get(name, OTHERS[int(digest(name), 16) % len(OTHERS)]), int(digest(params), 16)
    if not params:
        return {"color": colour, "linestyle": "-", "marker": "o"}
    darker = tuple(0.6 * channel for channel in to_rgb(colour))
    return {"color": darker, "linestyle": DASHES[pick % len(DASHES)], "marker": MARKERS[pick % len(MARKERS)]}


def save(figure: Any, data: pd.DataFrame, folder: Path, saved: Figure) -> Figure:
    """Write the figure and the numbers it shows to `folder`/figures, and close it."""
    path = folder / "figures" / saved.stem
    figure.savefig(path.with_suffix(".png"), dpi=150, bbox_inches="tight")
    figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
    data.to_csv(path.with_suffix(".csv"), index=False)
    plt.close(figure)
    return saved


def grid(count: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure of `count` axes of width x height inches, in lines of `columns`."""
    lines, columns = -(-count // columns), min(columns, count)
    figure, axes = plt.subplots(lines, columns, figsize=(width * columns, height * lines + 0.4), squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure, list(axes.flat[:count])


def heat(ax: Any, worse: pd.DataFrame, texts: pd.DataFrame) -> None:
    """A heatmap from 0, the best and light, upwards, a text in every cell; NaN is grey."""
    sns.heatmap(
        worse, annot=texts, fmt="", annot_kws={"size": 8}, cmap="crest", cbar=False, linewidths=2, vmin=0, ax=ax
    )
    for i, j in np.argwhere(worse.isna().to_numpy()):
        ax.text(j + 0.5, i + 0.5, str(texts.fillna("–").iloc[i, j]), ha="center", va="center", size=8)
    ax.set_facecolor("0.88")
    ax.grid(False)
    ax.set(xlabel="", ylabel="")
    ax.set_yticks(ax.get_yticks(), [wrap(name) for name in worse.index], rotation=0)


def log_values(values: pd.Series, metrics: pd.Series) -> pd.Series:
    """log10 of each metric's value, negative where higher is better; NaN where there is no logarithm."""
    return np.log10(values.where(values > 0)) * metrics.map(lambda name: 1 if metric(name).direction == "min" else -1)


def stem(*names: str) -> str:
    """A file name of names."""
    return "".join(c if c.isalnum() or c in "_=" else "_" for c in "_".join(names))


def described(column: str) -> str:
    """A metric's label and its column."""
    return f"{metric(column).label} ({column})"


def short(value: float) -> str:
    """Three digits, or a whole number from a thousand on."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def wrap(label: str) -> str:
    """A variant's label on several lines: its name, then a line per parameter."""
    return plain(re.sub(r",(?=\w+=)", ",\n", label.replace("[", "\n[", 1)))


def plain(text: str) -> str:
    """A name is no formula."""
    return text.replace("$", r"\$")
