"""Drawn architectures: the share on which an objective succeeds, at every threshold. Crossed seeds:
the final values, initial weights x batches."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from benchmark.analysis.designs import drawn, spread
from benchmark.analysis.scores import BATCHES, PLACE, WEIGHTS
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import headline, heat, log_axis, title
from benchmark.drawing.save import Figure, save, stem
from benchmark.drawing.style import Look, described, excess, short, style
from benchmark.metrics import metric, sign
from benchmark.stats.success import success_curve

SUCCESS = (
    "The share of the drawn architectures that an objective trains to a final value better than a "
    "threshold; one that diverged is better than none. The band holds the share among all "
    "architectures that could be drawn, at every threshold together, with a probability of 95 %, "
    "for each objective by itself. Dotted: what counts as success."
)


CROSSED = (
    "The final value of every run. Light is good, on a scale of its own for each objective. Rows "
    "that differ from one another say that initial weights make the value, columns that differ say "
    "it of batches, latents and noise. Grey: no finished run with a value."
)
CELL = 0.62  # inches


def success_curves(tables: Tables, folder: Path) -> list[Figure]:
    """The success curves of every dataset with drawn architectures, an axes per metric."""
    found = drawn.gather(tables)
    figures: list[Figure] = []
    if found is None:
        return figures
    for dataset in found.architectures:
        finals = {column: of for (name, column), of in found.values.items() if name == dataset}
        known = {column: of for column, of in finals.items() if np.isfinite(of).any(axis=None)}
        if not known:
            continue
        size = (0.7 + 4.4 * len(known), 3.6)
        figure, axes = plt.subplots(1, len(known), squeeze=False, figsize=size, sharey=True)
        rows = []
        for ax, (column, of_column) in zip(axes[0], known.items(), strict=True):
            rows += _draw_curves(ax, column, of_column)
            if found.criteria[dataset] and found.main(dataset).column == column:
                ax.axvline(found.main(dataset).threshold, color="0.4", linestyle=":", linewidth=1)
        axes[0][0].set_ylabel("share of architectures")
        axes[0][0].yaxis.set_major_formatter(PercentFormatter(1))
        handles, labels = axes[0][0].get_legend_handles_labels()
        columns = min(4, len(labels))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        words = f"Success over drawn architectures, {dataset}"
        headline(figure, words)
        saved = Figure(stem("success", dataset), words, SUCCESS, "drawn")
        figures.append(save(figure, pd.DataFrame(rows), folder, saved))
    return figures


def _draw_curves(ax: Axes, column: str, finals: pd.DataFrame) -> list[dict[str, object]]:
    """The curves of one metric. Returns the numbers that they show."""
    finite = finals.to_numpy()[np.isfinite(finals.to_numpy())]
    is_log = metric(column).primary and finite.min() > 0
    scaled = np.log(finite) if is_log else finite
    margin = 0.05 * (np.ptp(scaled) or 1.0)
    thresholds = np.linspace(scaled.min() - margin, scaled.max() + margin, 200)
    thresholds = np.exp(thresholds) if is_log else thresholds
    rows: list[dict[str, object]] = []
    for name, values in finals.iterrows():
        known = values.dropna().to_numpy()
        if not len(known):
            continue
        curve = success_curve(known, thresholds, minimise=sign(column) == 1)
        look: Look = style(str(name)) | {"marker": ""}
        ax.plot(thresholds, curve.share, **look, label=str(name), drawstyle="steps-post")
        ax.fill_between(thresholds, curve.low, curve.high, color=look["color"], alpha=0.07, lw=0)
        for threshold, share, low, high in zip(thresholds, *curve, strict=True):
            row = {"metric": column, "objective": name, "threshold": threshold}
            rows.append(row | {"share": share, "low": low, "high": high, "n": len(known)})
    ax.set_xlabel(described(column))
    ax.set_ylim(-0.02, 1.02)
    if is_log:
        ax.set_xscale("log")
        log_axis(ax.xaxis)
    return rows


def crossed_seeds(tables: Tables, folder: Path) -> list[Figure]:
    """A panel per objective of every place with crossed seeds."""
    found = spread.gather(tables)
    figures: list[Figure] = []
    if found is None:
        return figures
    for (dataset, architecture), rows in found.values.groupby(PLACE, sort=False):
        column = tables.primary[str(dataset)]
        panels = [*rows.groupby("objective", sort=False)]
        width = 0.6 + CELL * rows[BATCHES].nunique()
        height = 1.2 + CELL * rows[WEIGHTS].nunique()
        size = (width * len(panels), height)
        figure, axes = plt.subplots(1, len(panels), squeeze=False, figsize=size)
        for ax, (name, panel) in zip(axes[0], panels, strict=True):
            _draw_seeds(ax, panel, column)
            title(ax, str(name), width)
        axes[0][0].set_ylabel("seed of initial weights")
        place = f"{architecture} on {dataset}"
        headline(figure, f"{described(column)} of crossed seeds, {place}")
        saved = Figure(stem("spread", place), f"Crossed seeds, {place}", CROSSED, "spread")
        figures.append(save(figure, rows, folder, saved))
    return figures


def _draw_seeds(ax: Axes, runs: pd.DataFrame, column: str) -> None:
    """The runs of one objective, a row per seed of initial weights."""
    shown = runs.assign(worse=excess(runs["value"], column), text=runs["value"].map(short))
    shown[WEIGHTS] = shown[WEIGHTS].astype(str)
    worse, texts = (
        shown.pivot(index=WEIGHTS, columns=BATCHES, values=of) for of in ("worse", "text")
    )
    heat(ax, worse, texts)
    ax.set_xlabel("seed of batches")
