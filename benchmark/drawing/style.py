"""The look of every figure: colours, lines and markers of objectives, and the texts of labels.

Colours are fixed for each objective and safe for colour-blind readers. A label with parameters
keeps the hue of its objective, in another shade, with another line and marker. The name alone
decides, so that a new variant changes no other colour, except where two labels of one result set
would look alike: `distinct` gives the later one what is free."""

import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties, findfont, get_font

from benchmark.matrix.cell import digest
from benchmark.metrics import metric, short_name, sign
from benchmark.text import shortened

Look = dict[str, Any]  # keyword arguments of a matplotlib function

# Okabe & Ito 2008. Black has no darker shade: its variants differ in line and marker only.
COLOURS = {
    "minimax": "#E69F00",
    "nonsaturating": "#0072B2",
    "lsgan": "#009E73",
    "hinge": "#000000",
    "wgan": "#CC79A7",
    "wgan_gp": "#56B4E9",
    "wgan_fdgp": "#D55E00",
}
OTHERS = ("#332288", "#882255", "#999933", "#44AA99", "#661100", "#6E6E6E", "#117733")
# the first line and the first marker are those of a label without parameters
DASHES: list[Any] = [
    "-",
    (0, (4, 1.5)),
    (0, (1, 1)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (8, 3)),
]
MARKERS = "osD^vPX"
SHADES = (0.6, 0.8, 0.4)


class Pick(NamedTuple):
    """A shade of a colour, and the positions of a line in DASHES and of a marker in MARKERS."""

    shade: float
    dash: int
    marker: int


PLAIN = Pick(1, 0, 0)
_LOOKS: ContextVar[Mapping[str, Look]] = ContextVar("looks", default={})  # noqa: B039

LEAST_RANGE = 5

# verdict -> colour and hatch, so that verdicts differ without colour too
VERDICT_LOOKS = {
    "ok": ("#C9DDF0", ""),
    "diverged": ("#B2182B", ""),
    "exploding": ("#EE7733", "////"),
    "vanishing": ("#DDCC77", "...."),
    "saturated": ("#44AA99", "\\\\\\\\"),
    "collapsed": ("#6A3D9A", "xxxx"),
    "late collapse": ("#C2A5DC", "++++"),
    "stuck": ("#777777", "----"),
    "no verdict": ("#FFFFFF", ""),
}
LOOK: Any = {
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.handlelength": 3.5,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "ganbench",
    "hatch.linewidth": 0.6,
    "figure.dpi": 120,
    "image.composite_image": False,
}


def style(label: str) -> Look:
    """Colour, line and marker of an objective's label: those that `distinct` gave it, else those
    of its name and parameters alone."""
    known = _LOOKS.get().get(label)
    if known is None:
        known = looks([label])[label]
    return dict(known)


@contextmanager
def drawing(labels: Mapping[str, str] | Iterable[str] = ()) -> Iterator[None]:
    """Within it, figures look as here, and no two of these labels have one look. A mapping has the
    label of every display name.

    No warning reaches the user: what matplotlib warns of (a character that its font lacks, a number
    too large for an axis) is nothing that a reader of results can act on."""
    look = plt.rc_context(LOOK)
    with warnings.catch_warnings(), np.errstate(all="ignore"), sns.axes_style("whitegrid"), look:
        warnings.simplefilter("ignore")
        with distinct(labels):
            yield


@contextmanager
def distinct(labels: Mapping[str, str] | Iterable[str]) -> Iterator[None]:
    """Within it, no two of these labels, or of these display names, have one look."""
    if not isinstance(labels, Mapping):
        labels = {label: label for label in labels}
    chosen = looks(labels.values())
    token = _LOOKS.set({name: chosen[label] for name, label in labels.items()})
    try:
        yield
    finally:
        _LOOKS.reset(token)


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """The look of each label, no two alike for up to ninety variants of an objective. Up to five
    differ in their lines and in their markers, and up to fifteen in shade and line."""
    labels = list(dict.fromkeys(map(str, labels)))
    names = dict.fromkeys(label.partition("[")[0] for label in labels)
    colours = _colours(list(names))
    by_colour: dict[str, list[Pick]] = {}
    chosen = {}
    # labels without parameters first: their look is that of their name
    for label in sorted(labels, key=lambda label: "[" in label):
        name, _, parameters = label.partition("[")
        colour = colours[name]
        taken = by_colour.setdefault(colour, [])
        pick = PLAIN
        if parameters or PLAIN in taken:
            pick = _free(int(digest(parameters or name), 16), taken)
        taken.append(pick)
        chosen[label] = {
            "color": shaded(colour, pick.shade),
            "linestyle": DASHES[pick.dash],
            "marker": MARKERS[pick.marker],
        }
    return chosen


def _colours(names: list[str]) -> dict[str, str]:
    """The colour of each name: its own, else one of OTHERS, or of COLOURS, that is free."""
    colours = {name: COLOURS[name] for name in names if name in COLOURS}
    for name in names:
        if name in colours:
            continue
        first = int(digest(name), 16) % len(OTHERS)
        candidates = [*OTHERS[first:], *OTHERS[:first], *COLOURS.values()]
        free = [colour for colour in candidates if colour not in colours.values()]
        colours[name] = next(iter([*free, *candidates]))
    return colours


def _free(preferred: int, taken: list[Pick]) -> Pick:
    """The look of a variant that differs most from those that are taken, from the preferred one
    on."""
    num_dashes, num_markers = len(DASHES) - 1, len(MARKERS) - 1
    ordered = []
    for shade in SHADES:
        # neighbours differ in line and marker, whose numbers have no common divisor
        for i in range(preferred, preferred + num_dashes * num_markers):
            ordered.append(Pick(shade, 1 + i % num_dashes, 1 + i % num_markers))
    free = [pick for pick in ordered if pick not in taken]

    def likeness(pick: Pick) -> tuple[int, int]:
        alike = [(pick.dash == other.dash, pick.marker == other.marker) for other in taken]
        lines = [pick.dash == other.dash and pick.shade == other.shade for other in taken]
        return sum(lines), sum(map(sum, alike))

    return min(free or ordered, key=likeness)


def shaded(colour: Any, shade: float) -> Any:
    """A colour at a share of its brightness; black, which has none, as a grey. 1: as it is."""
    if shade == 1:
        return colour
    channels = to_rgb(colour)
    if not any(channels):
        return tuple([0.75 * (1 - shade)] * 3)
    return tuple(shade * channel for channel in channels)


def darker(colour: Any) -> Any:
    """A colour at 60 % of its brightness, as red, green and blue from 0 to 1."""
    return tuple(0.6 * channel for channel in to_rgb(colour))


def excess(values: pd.Series, column: str) -> pd.Series:
    """How much worse each value of a metric column is than the best of them, which is 0.

    In powers of ten of their ratio for a distance whose values are all positive. Else as a share of
    the largest difference, or of LEAST_RANGE bands of the regression check where that is more."""
    row = metric(column)
    numbers = values.astype(float)
    finite = numbers.where(np.isfinite(numbers))
    if row.primary and finite.min() > 0:
        logs = finite.transform(np.log10)
        return logs - logs.min()
    worse = sign(column) * finite
    worse = worse - worse.min()
    return worse / max(worse.max(), LEAST_RANGE * row.absolute)


def described(column: str) -> str:
    """A metric column in words that matplotlib reads as they are: `classifier-FID (750)`."""
    return plain(short_name(column))


def short(value: float) -> str:
    """Three digits, or a whole number between a thousand and a billion."""
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def wrap(label: str) -> str:
    """A variant's label on several lines: its name, then a line per parameter, none longer than
    about 1.5 inches."""
    lines: list[str] = []
    for line in re.sub(r",(?=\w+=)", ",\n", shortened(label).replace("[", "\n[", 1)).split("\n"):
        lines += textwrap.wrap(line, 22, break_on_hyphens=False)
    return plain("\n".join(lines))


def wrap_long(label: str, longest: int = 26) -> str:
    """A variant's label on one line if it has at most `longest` characters, else as `wrap`."""
    if len(label) > longest:
        return wrap(label)
    return plain(label)


def inches(labels: Iterable[str]) -> float:
    """The height of the tallest label in inches, at eight points."""
    return 0.16 * max(label.count("\n") + 1 for label in labels)


def plain(text: str) -> str:
    """Text that matplotlib does not read as a formula; a letter that the font lacks is a box."""
    letters = _letters()
    known = "".join(c if c == "\n" or ord(c) in letters else "□" for c in text)
    return known.replace("$", r"\$")


@cache
def _letters() -> frozenset[int]:
    """The letters of the font, as code points."""
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
