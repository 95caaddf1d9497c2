"""A forest plot, a row at a time: dots with their intervals on a common axis, as inline SVG."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from markupsafe import Markup

from benchmark.text import number

WIDTH = 180  # pixels of an axis
HEIGHT = 24
MARGIN = 12
MOST_TICKS = 4
SVG = '<svg viewBox="0 0 {} {}" aria-hidden="true">{}</svg>'
LINE = '<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>'
DOTS = {
    "filled": '<circle cx="{0:.1f}" cy="{1}" r="4" fill="{2}"/>',
    "hollow": '<circle class="hollow" cx="{0:.1f}" cy="{1}" r="3.5" style="stroke: {2}"/>',
    "mark": '<path class="diamond" d="M{0:.1f} {1} m-5 0 l5 -5 l5 5 l-5 5 z"/>',
}
"""By the look of a dot."""
BEYOND = '<path d="M{:.1f} {} l8 5 l-8 5z" fill="{}"/>'
TICK = '<text x="{:.1f}" y="12" text-anchor="middle">{}</text>'


class Dot(NamedTuple):
    """A value with its interval. Infinite: beyond the axis. NaN: not known."""

    value: float
    low: float
    high: float
    colour: str
    look: str = "filled"
    """One of DOTS."""


class Axis(NamedTuple):
    """The axis of the dots of a table."""

    low: float
    high: float
    is_log: bool
    floor: float
    """Of real samples; NaN for none."""

    @property
    def mark(self) -> Markup:
        """A style that says where the value of real samples is; empty for none."""
        if not math.isfinite(self.floor):
            return Markup("")
        share = self.position(self.floor) / WIDTH
        return Markup(' style="--floor: {:.1%}"').format(share)

    def position(self, value: float) -> float:
        """Where a value stands, in pixels; what lies beyond the axis stands at its end."""
        inside = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.is_log:
            inside, low, high = (math.log10(end) for end in (inside, low, high))
        return MARGIN + (WIDTH - 2 * MARGIN) * (inside - low) / (high - low)

    def ticks(self) -> list[float]:
        """A few round values on the axis."""
        # Seconds to import
        from matplotlib.ticker import LogLocator, MaxNLocator

        if not self.is_log:
            ticks = MaxNLocator(MOST_TICKS).tick_values(self.low, self.high)
            return self._inside(ticks)
        decades = self._inside(LogLocator(numticks=20).tick_values(self.low, self.high))
        if len(decades) < 2:
            finer = LogLocator(subs=(1, 2, 5), numticks=20).tick_values(self.low, self.high)
            decades = self._inside(finer)
        return decades[:: math.ceil(len(decades) / MOST_TICKS)]

    def _inside(self, ticks: Iterable[float]) -> list[float]:
        return [float(tick) for tick in ticks if self.low <= tick <= self.high]


def axis_of(values: Iterable[float], floor: float, is_log: bool) -> Axis | None:
    """The axis that holds all finite values; None for none. is_log: where all are positive."""
    finite = [value for value in (*values, floor) if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    if is_log and low > 0:
        return Axis(low / 1.15, high * 1.15, True, floor)
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
    return Axis(low - margin, high + margin, False, floor)


def head(axis: Axis) -> Markup:
    """The ticks of an axis."""
    parts = []
    for tick in axis.ticks():
        x = axis.position(tick)
        parts.append(LINE.format("tick", x, x, 15, 19))
        parts.append(TICK.format(x, number(tick)))
    return Markup(SVG.format(WIDTH, 20, "".join(parts)))


def row(axis: Axis, dot: Dot | None) -> Markup:
    """The dot of a row and its interval."""
    parts = []
    middle = HEIGHT // 2
    if dot is not None and dot.low <= dot.high:
        ends = axis.position(dot.low), axis.position(dot.high)
        parts.append(LINE.format("range", *ends, middle, middle))
        parts += [LINE.format("range", end, end, middle - 5, middle + 5) for end in ends]
    if dot is not None and math.isinf(dot.value):
        parts.append(BEYOND.format(WIDTH - MARGIN, middle - 5, dot.colour))
    elif dot is not None and not math.isnan(dot.value):
        position = axis.position(dot.value)
        parts.insert(0, DOTS[dot.look].format(position, middle, dot.colour))
    return Markup(SVG.format(WIDTH, HEIGHT, "".join(parts)))
