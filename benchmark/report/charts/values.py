"""How a chart's data says a look, a number and a place."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from benchmark.drawing.axes import end_text
from benchmark.drawing.style import Look

DIGITS = 4  # of a number in a chart
MARKERS = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle",
    "v": "inverted_triangle",
    "P": "plus",
    "X": "x",
}


def plain_look(label: str, look: Look) -> dict[str, Any]:
    """The label of an objective, in whole and as it ends a line, with its look: colour, dash in
    pixels, marker."""
    dash = look["linestyle"]
    pixels = [] if isinstance(dash, str) else [round(2 * length) for length in dash[1]]
    return {
        "label": label,
        "end": end_text(label),
        "colour": to_hex(look["color"]),
        "dash": pixels,
        "marker": MARKERS[look["marker"]],
    }


def numbers(values: pd.Series | np.ndarray) -> list[float | None]:
    """Numbers of DIGITS digits; null for what is not finite."""
    return [number(value) for value in np.asarray(values, dtype=float)]


def number(value: float) -> float | None:
    """A number of DIGITS digits; None for what is not finite."""
    if not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")
