"""The two layouts of figures that show every place: `panels`, a line of axes for each, and `lists`,
a line of text for each objective in each; and what is drawn on them."""

from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.analysis.scores import PLACE
from benchmark.drawing.style import inches, one_line, plain, style

PLACES = 6  # as many in one figure; with more of them, a figure for each dataset


def pages(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows for one figure each, with what its title ends in: all, or one dataset's where there are
    many places."""
    if len(rows[PLACE].drop_duplicates()) <= PLACES:
        yield "", rows
        return
    for dataset, of_dataset in rows.groupby("dataset", sort=False, observed=True):
        yield str(dataset), of_dataset


def panels(
    rows: pd.DataFrame, labels: Iterable[str], *, width: float, height: float, **share: Any
) -> Any:
    """A figure with a line of axes, of `height` inches, per place of `rows`, an axes per label in
    it, and a legend of the objectives below: (figure, {(dataset, architecture): its axes}). A
    line's first axes is titled with the place.

    Placed by hand, in inches: to measure every tick label, as constrained layout does, takes a
    third of the time."""
    labels, places = (
        list(labels),
        list(rows[PLACE].drop_duplicates().itertuples(index=False, name=None)),
    )
    names = list(rows["objective"].unique())
    marks = [
        plt.Line2D([], [], label=one_line(name), markersize=5, **style(name)) for name in names
    ]
    texts = [one_line(name).split("\n") for name in names]
    longest = max(len(line) for text in texts for line in text)
    columns = max(1, min(4, len(marks), int(width / (0.85 + 0.085 * longest))))
    deep = -(-len(marks) // columns)  # a legend fills its columns one after the other
    below = 0.3 + 0.2 * max(sum(map(len, texts[i : i + deep])) for i in range(0, len(texts), deep))
    left, between, above, gap = 0.75, 0.2 if share.get("sharey") else 0.75, 0.3, 0.75
    tall = below + 0.5 + len(places) * (height + gap) - gap + above
    options: dict[str, Any] = {
        "squeeze": False,
        "figsize": (width, tall),
        "layout": "none",
        **share,
    }
    figure, axes = plt.subplots(len(places), len(labels), **options)
    span = (width - left - 0.15 - between * (len(labels) - 1)) / len(labels)
    at = {
        "left": left / width,
        "right": 1 - 0.15 / width,
        "bottom": (below + 0.5) / tall,
        "top": 1 - above / tall,
    }
    figure.subplots_adjust(**at, wspace=between / span, hspace=gap / height)
    figure.legend(handles=marks, loc="lower center", ncols=columns, frameon=False)
    for line, (dataset, architecture) in zip(axes, places, strict=True):
        _head(line, f"{architecture} on {dataset}")
    return figure, dict(zip(places, axes, strict=True))


def lists(rows: pd.DataFrame, labels: Iterable[str], width: float, name: str = "objective") -> Any:
    """A figure with a line of axes per dataset of `rows` and an axes per label in it; in each a
    line for every `name` of every architecture: (figure, {dataset: (its axes, {(architecture,
    name): y})})."""
    labels, found = list(labels), {}
    ys: dict[str, list[Any]] = {}
    for dataset, of_dataset in rows.groupby("dataset", sort=False):
        places = (
            of_dataset[["architecture", name]]
            .drop_duplicates()
            .groupby("architecture", sort=False)[name]
        )
        items = [
            (str(architecture), item)
            for architecture, of_place in places
            for item in [None, *of_place]
        ]
        ys[str(dataset)] = (
            items[1:] if len(places) == 1 else items
        )  # None: the architecture's own line
    texts = {
        item: one_line(str(item)) for items in ys.values() for _, item in items if item is not None
    }
    line = 0.08 + inches(texts.values())
    heights = [0.95 + line * len(items) for items in ys.values()]
    options: dict[str, Any] = {"squeeze": False, "sharey": "row", "height_ratios": heights}
    figure, axes = plt.subplots(len(ys), len(labels), figsize=(width, sum(heights)), **options)
    for axes_line, (dataset, items) in zip(axes, ys.items(), strict=True):
        ax, alone = axes_line[0], items[0][1] is not None
        ax.set(ylim=(len(items) - 0.4, -0.6), yticks=range(len(items)))
        ax.set_yticklabels(
            [plain(architecture) if item is None else texts[item] for architecture, item in items]
        )
        for text, (_, item) in zip(ax.get_yticklabels(), items, strict=True):
            text.set_weight("bold" if item is None else "normal")
        _head(axes_line, f"{items[0][0]} on {dataset}" if alone else dataset)
        found[dataset] = (axes_line, {item: y for y, item in enumerate(items)})
    return figure, found


def _head(line: Any, text: str) -> None:
    """A title over the first axes of a line; y is given for all, so that none is measured for a
    place to go."""
    for ax in line:
        ax.set_title(plain(text) if ax is line[0] else "", loc="left", weight="bold", size=9, y=1.0)


def dots(ax: Any, ys: dict[Any, int], rows: pd.DataFrame, of: Iterable[str]) -> None:
    """A mark at the first column of `of` and a line from the second to the third for every row, in
    the look of its objective; ys as in `lists`. An empty mark where a column `hollow` is true."""
    value, low, high = of
    for row in rows.to_dict("records"):
        y, look = (
            ys[row["architecture"], row.get("name", row["objective"])],
            style(row["objective"]),
        )
        look |= {"linestyle": "", "markersize": 5} | (
            {"markerfacecolor": "white"} if row.get("hollow") else {}
        )
        ax.plot(
            [row[low], row[high]], [y, y], color=look["color"], linewidth=2, solid_capstyle="butt"
        )
        ax.plot(row[value], y, **look)


def not_recorded(ax: Any) -> None:
    """Say that these axes have nothing to show."""
    ax.text(
        0.5,
        0.5,
        "not recorded",
        transform=ax.transAxes,
        ha="center",
        va="center",
        size=8,
        color="0.4",
    )
    ax.tick_params(labelbottom=False)


def log_axis(axis: Any) -> None:
    """A logarithmic axis, drawn already, with a few plain ticks: powers of ten only where there are
    enough of them."""
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low)
    fine = (
        MaxNLocator(4)
        if decades < 0.8
        else LogLocator(subs=(1, 2, 5) if decades < 2.2 else (1,), numticks=6)
    )
    axis.set_major_locator(fine)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-").replace("e+0", "e"))
    )
