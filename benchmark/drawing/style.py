"""The look of every figure: colours, lines and markers of objectives, and the texts of labels.

Colours are fixed for each objective and safe for colour-blind readers. Labels with parameters keep
the hue of their objective: their shades run from light to dark in the order of the parameters'
values, with another line and marker each. `distinct` says which labels one result set has."""

import math
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

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

# Okabe & Ito 2008
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
LIGHTEST = 0.5  # the share of white in the lightest shade
DARKEST = 0.6  # the share of black in the darkest shade
DARK = 0.4  # lightness; the only shade of a darker colour is a lighter one
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
    """The look of each label. No two have one colour; up to five variants of an objective differ in
    line and marker too."""
    labels = list(dict.fromkeys(map(str, labels)))
    colours = _colours([base_of(label) for label in labels])
    chosen: dict[str, Look] = {}
    for name, colour in colours.items():
        if name in labels:
            chosen[name] = {"color": colour, "linestyle": DASHES[0], "marker": MARKERS[0]}
        variants = [label for label in labels if label != name and base_of(label) == name]
        variants.sort(key=parameters_of)
        for i, shade in enumerate(_shades(colour, len(variants))):
            chosen[variants[i]] = {
                "color": shade,
                "linestyle": DASHES[1 + i % (len(DASHES) - 1)],
                "marker": MARKERS[1 + i % (len(MARKERS) - 1)],
            }
    return {label: chosen[label] for label in labels}


def base_of(label: str) -> str:
    """The name of an objective, of the label of one of its variants."""
    return label.partition("[")[0]


def parameters_of(label: str) -> list[tuple[str, float, str]]:
    """The parameters of a label: name, value where it is a number, text. They sort as numbers
    do."""
    inside = label.partition("[")[2].removesuffix("]")
    parameters = []
    for part in re.split(r",(?=\w+=)", inside):
        name, _, text = part.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.inf
        parameters.append((name, value, text))
    return parameters


def _colours(names: list[str]) -> dict[str, Any]:
    """The colour of each name: its own, else one of OTHERS, of COLOURS, or of the whole circle of
    hues that is free."""
    names = list(dict.fromkeys(names))
    colours: dict[str, Any] = {name: COLOURS[name] for name in names if name in COLOURS}
    circle = sns.husl_palette(len(names), s=0.7, l=0.55).as_hex()
    for name in names:
        if name in colours:
            continue
        first = int(digest(name), 16) % len(OTHERS)
        candidates = [*OTHERS[first:], *OTHERS[:first], *COLOURS.values(), *circle]
        colours[name] = next(c for c in candidates if c not in colours.values())
    return {name: colours[name] for name in names}


def _shades(colour: Any, count: int) -> list[Any]:
    """Shades of a colour from light to dark, none of them the colour itself; of black, greys. A
    light colour has most of its shades on the dark side, where they differ more."""
    if count == 1:
        return [_mixed(colour, float(_lightness(colour) < DARK), DARKEST / 2)]
    if to_rgb(colour) == (0, 0, 0):
        return [(grey, grey, grey) for grey in np.linspace(0.22, 0.78, count)[::-1]]
    ends = (_mixed(colour, 1, LIGHTEST), colour, _mixed(colour, 0, DARKEST))
    highest, middle, lowest = map(_lightness, ends)
    num_light = round(count * (highest - middle) / (highest - lowest))
    light = np.linspace(LIGHTEST, 0, num_light, endpoint=False)
    dark = np.linspace(DARKEST, 0, count - num_light, endpoint=False)[::-1]
    shades = [_mixed(colour, 1, share) for share in light]
    return shades + [_mixed(colour, 0, share) for share in dark]


def _mixed(colour: Any, other: float, share: float) -> Any:
    """A colour with a share of white (1) or black (0)."""
    return tuple((1 - share) * channel + share * other for channel in to_rgb(colour))


def _lightness(colour: Any) -> float:
    """About how light a colour looks: the L* of CIELAB, as a share."""
    luminance = np.dot([0.2126, 0.7152, 0.0722], np.power(to_rgb(colour), 2.2))
    return float(np.cbrt(luminance))


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


def floor_name(column: str) -> str:
    """What real samples are to a metric column: of what is better the larger it is, no floor."""
    return "noise floor" if sign(column) == 1 else "real samples"


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
