"""The limits of axes, the lines of named values, and names at the ends of lines."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmark.drawing.layout import log_axis, plain_number
from benchmark.drawing.style import Look, floor_name, plain, short, style
from benchmark.metrics import metric
from benchmark.text import shortened

STRETCH = 0.3  # the share of its length that an axis grows by, at most, to show a named value


class View(NamedTuple):
    """The limits of an axis, and the named values that it shows as lines."""

    low: float
    high: float
    within: dict[str, float]
    beyond: str
    """The other named values, with arrows: `↓ noise floor 0.12`. Empty for none."""


def view_of(values: np.ndarray, named: Mapping[str, float], is_log: bool) -> View:
    """The limits of an axis that shows all values. A named value, such as the noise floor, is
    within them unless it would stretch the axis by more than STRETCH."""
    finite = values[np.isfinite(values)].astype(float)
    scaled = np.log10(finite) if is_log else finite
    low, high = (scaled.min(), scaled.max()) if len(scaled) else (0.0, 1.0)
    reach = STRETCH * (high - low or 1.0)
    within = {}
    beyond = []
    for name, value in named.items():
        if not np.isfinite(value) or (is_log and value <= 0):
            continue
        at = np.log10(value) if is_log else value
        if low - reach <= at <= high + reach:
            within[name] = value
        else:
            beyond.append(f"{'↓' if at < low else '↑'} {name} {short(value)}")
    ends = [low, high, *(np.log10(value) if is_log else value for value in within.values())]
    margin = 0.05 * (max(ends) - min(ends) or 1.0)
    limits = [min(ends) - margin, max(ends) + margin]
    low, high = (10**end for end in limits) if is_log else limits
    return View(float(low), float(high), within, "\n".join(beyond))


def spread(ax: Axes, sizes: np.ndarray, reach: float) -> None:
    """Make the x axis linear near 0 and logarithmic beyond, with ticks that have room. sizes: of
    what it shows, without signs; reach: of the axis."""
    threshold = float(f"{np.median(sizes):.0e}")
    ax.set_xscale("symlog", linthresh=threshold)
    top = math.floor(math.log10(reach))
    bottom = math.ceil(math.log10(threshold))
    every = max(1, -(-(top - bottom + 1) // 3))
    ticks = [10.0**power for power in range(top, bottom - 1, -every)]
    ax.set_xticks([*(-tick for tick in ticks), 0, *ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(plain_number))


def end_labels(ax: Axes, ends: Mapping[str, tuple[float, float]], size: float = 7) -> None:
    """Names right of an axes whose limits are set, each joined to the end of its line, (x, y), and
    none over another. An axes has room for about twelve."""
    height = ax.get_window_extent().height / ax.figure.dpi
    apart = 1.25 * size / 72 / height
    to_axes = ax.transData + ax.transAxes.inverted()
    wanted = {name: float(to_axes.transform(end)[1]) for name, end in ends.items()}
    names = sorted(wanted, key=wanted.__getitem__)
    heights: list[float] = []
    for name in names:
        lowest = heights[-1] + apart if heights else -1.0
        heights.append(max(wanted[name], lowest))
    # what the last ones were pushed up, all move down by half
    pushed = [height - wanted[name] for name, height in zip(names, heights, strict=True)]
    shift = max(pushed, default=0.0) / 2
    for name, y in zip(names, heights, strict=True):
        colour = style(name)["color"]
        line: Look = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6}
        place: Look = {"xycoords": "data", "textcoords": "axes fraction", "va": "center"}
        text = ax.annotate(
            plain(end_text(name)), ends[name], (1.02, y - shift), arrowprops=line, **place
        )
        text.set(size=size, color="0.2")


def end_text(label: str) -> str:
    """What a label is called at the end of a line: its parameters where it has some."""
    inside = label.partition("[")[2].removesuffix("]")
    return shortened(inside or label, 28)


def named_lines(
    axes: list[Axes], shown: np.ndarray, column: str, floor: float, marks: Mapping[str, float]
) -> None:
    """Set the limits of axes that share y, by the values of a metric column they show, and draw the
    lines of real samples (floor) and of marks. What would stretch the axis is an arrow with its
    name and value."""
    is_log = metric(column).primary and np.min(shown[np.isfinite(shown)], initial=np.inf) > 0
    floor_line = floor_name(column)
    view = view_of(shown, {floor_line: floor, **marks}, bool(is_log))
    first = axes[0]
    if is_log:
        first.set_yscale("log")
    first.set_ylim(view.low, view.high)
    if is_log:
        log_axis(first.yaxis)
    for ax in axes:
        for name, value in view.within.items():
            if name == floor_line:
                ax.axhline(value, color="0.35", linestyle="--", linewidth=1)
                continue
            ax.axhline(value, color="0.55", linewidth=0.6, zorder=1)
            # below the line, so that no name reaches the line above
            side = "bottom" if value == max(marks.values()) else "top"
            place: Look = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": side}
            ax.text(0.99, value, plain(name), **place, size=6, color="0.35")
    if view.beyond:
        box: Look = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
        corner: Look = {"transform": first.transAxes, "va": "bottom", "size": 7, "bbox": box}
        first.text(0.02, 0.03, plain(view.beyond), **corner)
