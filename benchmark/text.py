"""…"""

from typing import Any

import numpy as np
import pandas as pd

Record = dict[Any, Any]


def number(value: float) -> str:
    """Three digits, a whole number from a thousand on, – for NaN, ∞."""
    if not np.isfinite(value):
        return "–" if np.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    return ("−" if value < 0 else "") + (f"{size:,.0f}" if size >= 1000 else f"{size:.3g}")


def interval(row: Record, value: str = "iqm", low: str = "ci_low", high: str = "ci_high") -> str:
    """`1.2 [1.0, 1.5]`, without the interval where there is none, or where P(better) has one of no
    width: a bootstrap of seeds that are separated wholly shows no doubt, which is more than they
    know."""
    known = row[low] < row[high] or (row[low] == row[high] and value != "p_improvement")
    return number(row[value]) + (f" [{number(row[low])}, {number(row[high])}]" if known else "")


def text(value: Any) -> str:
    """Any value of a status, an environment or a protocol."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {text(inner)}" for key, inner in value.items())
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "–" if missing else number(value) if isinstance(value, float) else str(value)


def listed(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def plural(n: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def span(values: pd.Series) -> str:
    """`3`, or `3 to 5`: the least and the greatest finite value."""
    finite = values[np.isfinite(values)]
    ends = dict.fromkeys([number(finite.min()), number(finite.max())]) if len(finite) else ["–"]
    return " to ".join(ends)


def escaped(text: object) -> str:
    """Text in Markdown: on one line, names as they are, never as markup."""
    special: Any = {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "|": "\\|",
        "*": "\\*",
        "`": "\\`",
        "\\": "\\\\",
    }
    return " ".join(str(text).splitlines()).translate(str.maketrans(special)).replace("](", "]\\(")
