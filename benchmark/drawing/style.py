"""The look of every figure: colours, lines and markers of objectives, and the texts of labels.

Colours are fixed for each objective and safe for colour-blind readers. A label with parameters
keeps the hue of its objective, darker, with another line and marker. The name alone decides, so
that a new variant changes no other colour."""

import re
import textwrap
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties, findfont, get_font

from benchmark.matrix.cell import digest
from benchmark.metrics import metric, sign
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
DASHES = [(0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3))]
MARKERS = "sD^vPX"

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
    """Colour, line and marker of an objective's label, from its name and parameters alone."""
    name, _, parameters = label.partition("[")
    colour = COLOURS.get(name) or OTHERS[int(digest(name), 16) % len(OTHERS)]
    if not parameters:
        return {"color": colour, "linestyle": "-", "marker": "o"}
    pick = int(digest(parameters), 16)
    return {
        "color": darker(colour),
        "linestyle": DASHES[pick % len(DASHES)],
        "marker": MARKERS[pick % len(MARKERS)],
    }


def darker(colour: Any) -> tuple[float, ...]:
    """A colour at 60 % of its brightness, as red, green and blue from 0 to 1."""
    return tuple(0.6 * channel for channel in to_rgb(colour))


def log_values(values: pd.Series, metrics: pd.Series) -> pd.Series:
    """log10 of each value, negative where higher is better; NaN where there is no logarithm.
    metrics: the column of each value."""
    return np.log10(values.where(values > 0)) * metrics.map(sign)


def described(column: str) -> str:
    """A metric's label and its column: `FID (fid_classifier_750)`."""
    return f"{metric(column).label} ({column})"


def short(value: float) -> str:
    """Three digits, or a whole number from a thousand on."""
    if abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:,.0f}"


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
