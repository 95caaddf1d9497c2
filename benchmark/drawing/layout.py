"""Where axes stand in a figure, and what figures draw on them.

Two layouts show every place: `panels`, a line of axes for each place, and `lists`, a line of text
for each objective in each place."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.analysis.scores import PLACE
from benchmark.drawing.style import Look, inches, plain, style, wrap, wrap_long
from benchmark.text import place_name, shortened

MOST_PLACES = 6  # in one figure; results with more places have a figure for each dataset

LEAST_DARK = 0.3  # in a heatmap: powers of ten, a factor of two

# inches around the axes of `panels`
LEFT = 0.75
RIGHT = 0.15
ABOVE = 0.3
BELOW = 0.5  # between the axes and the legend
GAP = 0.75  # between two lines of axes

Item = tuple[str, str | None]  # architecture and name; None: the architecture's own line


class Page(NamedTuple):
    """The rows that one figure shows."""

    part: str
    """The dataset that the rows are of; empty for all."""
    rows: pd.DataFrame


class Lines(NamedTuple):
    """One dataset in a figure of `lists`."""

    axes: Any
    """An axes per label."""
    heights: dict[Any, int]
    """(architecture, name) -> y of its line."""


class _Legend(NamedTuple):
    handles: list[Any]
    columns: int
    inches: float
    """Its height."""


def pages(rows: pd.DataFrame) -> Iterator[Page]:
    """The rows of one figure, or of a figure per dataset for more than MOST_PLACES places."""
    if len(rows[PLACE].drop_duplicates()) <= MOST_PLACES:
        yield Page("", rows)
        return
    for dataset, per_dataset in rows.groupby("dataset", sort=False, observed=True):
        yield Page(str(dataset), per_dataset)


def grid(count: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure with `count` axes of width x height inches each, in lines of `columns`."""
    columns = min(columns, count)
    lines = -(-count // columns)
    size = (width * columns, height * lines + 0.4)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure, list(axes.flat[:count])


def panels(
    rows: pd.DataFrame,
    labels: Iterable[str],
    *,
    width: float,
    height: float,
    right: float = RIGHT,
    **share: Any,
) -> tuple[Any, dict[Any, Any]]:
    """A line of axes, `height` inches tall, per place of `rows`; in each line an axes per label;
    below them a legend of the objectives. right: inches right of the axes. share: as plt.subplots
    takes it.

    Returns the figure and {(dataset, architecture): its axes}. The axes are placed by hand:
    constrained layout measures every tick label, which takes a third of the time."""
    count = len(list(labels))
    places = list(rows[PLACE].drop_duplicates().itertuples(index=False, name=None))
    legend = _legend(rows["objective"].unique(), width)
    between = 0.2 if share.get("sharey") else 0.75
    bottom = legend.inches + BELOW
    total = bottom + len(places) * (height + GAP) - GAP + ABOVE
    options: Look = {"squeeze": False, "figsize": (width, total), "layout": "none", **share}
    figure, axes = plt.subplots(len(places), count, **options)
    panel = (width - LEFT - right - between * (count - 1)) / count
    figure.subplots_adjust(
        left=LEFT / width,
        right=1 - right / width,
        bottom=bottom / total,
        top=1 - ABOVE / total,
        wspace=between / panel,
        hspace=GAP / height,
    )
    figure.legend(handles=legend.handles, loc="lower center", ncols=legend.columns, frameon=False)
    for line, (dataset, architecture) in zip(axes, places, strict=True):
        _head(line, place_name(architecture, dataset), width)
    return figure, dict(zip(places, axes, strict=True))


def _legend(names: Iterable[str], width: float) -> _Legend:
    """The marks of the objectives, in as many columns as a figure of this width has room for."""
    marks = []
    line_counts = []
    longest = 0
    for name in names:
        label = wrap_long(name)
        marks.append(plt.Line2D([], [], label=label, markersize=5, **style(name)))
        lines = label.split("\n")
        line_counts.append(len(lines))
        longest = max(longest, *map(len, lines))
    columns = max(1, min(4, len(marks), int(width / (0.85 + 0.085 * longest))))
    # A legend fills its columns one after the other.
    per_column = -(-len(marks) // columns)
    tallest = max(sum(line_counts[i : i + per_column]) for i in range(0, len(marks), per_column))
    return _Legend(marks, columns, 0.3 + 0.2 * tallest)


def lists(
    rows: pd.DataFrame, labels: Iterable[str], width: float, name: str = "objective"
) -> tuple[Any, dict[str, Lines]]:
    """A line of axes per dataset of `rows`, an axes per label in it; each axes has a line of text
    for every value of column `name` in every architecture. Returns the figure and the `Lines` of
    every dataset."""
    items = {
        str(dataset): _items(per_dataset[["architecture", name]].drop_duplicates())
        for dataset, per_dataset in rows.groupby("dataset", sort=False)
    }
    line = 0.08 + inches(wrap_long(str(value)) for value in rows[name].unique())
    heights = [0.95 + line * len(of_dataset) for of_dataset in items.values()]
    options: Look = {"squeeze": False, "sharey": "row", "height_ratios": heights}
    size = (width, sum(heights))
    figure, axes = plt.subplots(len(items), len(list(labels)), figsize=size, **options)
    lines = {}
    for axes_line, (dataset, of_dataset) in zip(axes, items.items(), strict=True):
        _name_lines(axes_line[0], of_dataset)
        architecture, first = of_dataset[0]
        title = dataset if first is None else place_name(architecture, dataset)
        _head(axes_line, title, width)
        lines[dataset] = Lines(axes_line, {item: y for y, item in enumerate(of_dataset)})
    return figure, lines


def _items(names: pd.DataFrame) -> list[Item]:
    """The lines of one dataset, from its (architecture, name). Every architecture has a line of its
    own before its names, unless it is the only one."""
    items: list[Item] = []
    groups = names.groupby("architecture", sort=False)
    for architecture, group in groups:
        items.append((str(architecture), None))
        items += [(str(architecture), name) for name in group.iloc[:, 1]]
    if len(groups) == 1:
        return items[1:]
    return items


def _name_lines(ax: Axes, items: list[Item]) -> None:
    """The texts of the lines left of an axes, architectures in bold, the first line on top."""
    ax.set(ylim=(len(items) - 0.4, -0.6), yticks=range(len(items)))
    texts = []
    for architecture, name in items:
        texts.append(plain(architecture) if name is None else wrap_long(str(name)))
    ax.set_yticklabels(texts)
    for label, (_, name) in zip(ax.get_yticklabels(), items, strict=True):
        label.set_fontweight("bold" if name is None else "normal")


def _head(line: Any, text: str, width: float) -> None:
    """A title over the first axes of a line, no wider than the figure, which is `width` inches
    wide. y is given for all titles, so that matplotlib does not measure the axes to find one."""
    head = textwrap.fill(shortened(text), int(9 * width))
    titles = [plain(head), *[""] * (len(line) - 1)]
    for ax, title in zip(line, titles, strict=True):
        ax.set_title(title, loc="left", weight="bold", size=9, y=1.0)


def headline(figure: Any, text: str) -> None:
    """The title of a figure, on as many lines as its width asks for."""
    figure.suptitle(plain(_wrapped(text, figure.get_figwidth())), fontsize=10)


def title(ax: Axes, text: str, width: float, **look: Any) -> None:
    """The title of an axes of `grid`, on as many lines as `width` inches ask for."""
    ax.set_title(plain(_wrapped(text, width)), **look)


def _wrapped(text: str, width: float) -> str:
    """Text on lines of `width` inches, at ten points."""
    lines = []
    for line in text.split("\n"):
        lines += textwrap.wrap(line, max(16, int(12 * width)), break_on_hyphens=False)
    return "\n".join(lines)


def dots(
    ax: Axes, heights: Mapping[Any, float], rows: pd.DataFrame, columns: Iterable[str]
) -> None:
    """A mark per row at the first of three columns, and a line from the second to the third, in the
    look of its objective. heights: as in `Lines`. The mark is empty where the row's `hollow` is
    true."""
    value, low, high = columns
    for row in rows.to_dict("records"):
        y = heights[row["architecture"], row.get("name", row["objective"])]
        look = style(row["objective"]) | {"linestyle": "", "markersize": 5}
        if row.get("hollow"):
            look |= {"markerfacecolor": "white", "markersize": 6.5, "markeredgewidth": 1.6}
        ends = [row[low], row[high]]
        ax.plot(ends, [y, y], color=look["color"], linewidth=2, solid_capstyle="butt")
        ax.plot(row[value], y, **look)


def heat(ax: Axes, worse: pd.DataFrame, texts: pd.DataFrame) -> None:
    """A heatmap of `worse` from 0, the best and lightest value, upwards, with a text in every cell.
    The darkest value is the largest one, or LEAST_DARK where all are smaller. NaN is grey."""
    darkest = max([LEAST_DARK, *worse.to_numpy(dtype=float)[worse.notna()]])
    options: Look = {"xticklabels": False, "yticklabels": False, "cbar": False, "linewidths": 2}
    options |= {"annot": texts, "fmt": "", "annot_kws": {"size": 8}, "cmap": "crest"}
    options |= {"vmin": 0, "vmax": darkest}
    sns.heatmap(worse, ax=ax, **options)
    shown = texts.fillna("–")
    for i, j in np.argwhere(worse.isna().to_numpy()):
        ax.text(j + 0.5, i + 0.5, str(shown.iloc[i, j]), ha="center", va="center", size=8)
    ax.set_facecolor("0.88")
    ax.grid(False)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(worse.shape[1]) + 0.5, worse.columns)
    ax.set_yticks(np.arange(worse.shape[0]) + 0.5, [wrap(name) for name in worse.index])


def not_recorded(ax: Axes) -> None:
    """Say that an axes has nothing to show."""
    place: Look = {"transform": ax.transAxes, "ha": "center", "va": "center"}
    ax.text(0.5, 0.5, "not recorded", **place, size=8, color="0.4")
    ax.set(xticks=[], xlabel="", ylabel="", facecolor="none")
    ax.grid(False)
    plt.setp(ax.spines.values(), visible=False)


def log_axis(axis: Any) -> None:
    """Give a logarithmic axis a few plain ticks. What it shows is drawn already. Only an axis that
    spans many powers of ten has ticks at nothing else."""
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high) - np.log10(low)
    locator: Any = LogLocator(subs=(1,), numticks=6)
    if decades < 0.8:
        locator = MaxNLocator(4)
    elif decades < 2.2:
        locator = LogLocator(subs=(1, 2, 5), numticks=6)
    axis.set_major_locator(locator)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(plain_number))


def counted_axis(axis: Any) -> None:
    """Give an axis of steps, samples or seconds plain ticks: `0.15`, `500`, `20k`, `3M`."""
    axis.set_major_formatter(FuncFormatter(amount))


def amount(value: float, _: int | None = None) -> str:
    """`0.15`, `500`, `20k`, `3M`: without the prefixes below one, whose `m` reads as minutes."""
    if abs(value) < 1000:
        return plain_number(value)
    return str(EngFormatter(sep="")(value))


def plain_number(value: float, _: int | None = None) -> str:
    """`0.01`, `500`, `1e-5`, `1e6`."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")
