"""The share of drawn architectures on which an objective succeeds, at every threshold."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from benchmark.analysis.designs.drawn import gather
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import headline, log_axis
from benchmark.drawing.save import Figure, save, stem
from benchmark.drawing.style import Look, described, style
from benchmark.metrics import metric, sign
from benchmark.stats.success import success_curve

CAPTION = (
    "The share of the drawn architectures that an objective trains to a final value better than a "
    "threshold; one that diverged is better than none. The band holds the share among all "
    "architectures that could be drawn, at every threshold together, with a probability of 95 %, "
    "for each objective by itself. Dotted: what counts as success."
)


def curves(tables: Tables, folder: Path) -> list[Figure]:
    """The success curves of every dataset with drawn architectures, an axes per metric."""
    drawn = gather(tables)
    figures: list[Figure] = []
    if drawn is None:
        return figures
    for dataset in drawn.architectures:
        finals = {column: of for (name, column), of in drawn.values.items() if name == dataset}
        known = {column: of for column, of in finals.items() if np.isfinite(of).any(axis=None)}
        if not known:
            continue
        size = (0.7 + 4.4 * len(known), 3.6)
        figure, axes = plt.subplots(1, len(known), squeeze=False, figsize=size, sharey=True)
        rows = []
        for ax, (column, of_column) in zip(axes[0], known.items(), strict=True):
            rows += _draw(ax, column, of_column)
            if drawn.criteria[dataset] and drawn.main(dataset).column == column:
                ax.axvline(drawn.main(dataset).threshold, color="0.4", linestyle=":", linewidth=1)
        axes[0][0].set_ylabel("share of architectures")
        axes[0][0].yaxis.set_major_formatter(PercentFormatter(1))
        handles, labels = axes[0][0].get_legend_handles_labels()
        columns = min(4, len(labels))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        title = f"Success over drawn architectures, {dataset}"
        headline(figure, title)
        saved = Figure(stem("success", dataset), title, CAPTION, "drawn")
        figures.append(save(figure, pd.DataFrame(rows), folder, saved))
    return figures


def _draw(ax: Axes, column: str, finals: pd.DataFrame) -> list[dict[str, object]]:
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
