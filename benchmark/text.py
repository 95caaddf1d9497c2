"""Numbers, names and errors as text for people: pages, figures and the terminal use the same."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Record = dict[Any, Any]  # a row of a frame: column -> value

# A label whose characters are told apart in the name of a file: `dcgan`, `mlp[width=8,depth=2]`
PLAIN_LABEL = re.compile(r"[\w=]*(\[\w+=[\w-]*(,\w+=[\w-]*)*\])?")
LONGEST_NAME = 120  # bytes of a file name, of which a file system takes 255
MOST_DECIMALS = 5  # of an interval
SMALLEST = 10**-MOST_DECIMALS

MARKDOWN = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {mark: f"\\{mark}" for mark in "|*`$\\"}
)
# An underscore inside a word is no markup
OUTER_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def number(value: float) -> str:
    """`0.123`, `1,235`, `−2.5`, `2.5e+12`, `1e−06`: three digits, or a whole number between a
    thousand and a billion. `–` for NaN."""
    if np.isnan(value):
        return "–"
    sign = "−" if value < 0 else ""
    size = abs(value)
    if np.isinf(size):
        return f"{sign}∞"
    if 999.5 <= size < 1e9:
        return f"{sign}{size:,.0f}"
    # a line breaks after a hyphen
    return f"{sign}{size:.3g}".replace("e-", "e−")


def interval(row: Record, value: str = "median", low: str = "ci_low", high: str = "ci_high") -> str:
    """`1.2 [1.0, 1.5]` from three columns of a row, all with the same decimals: to the second digit
    of the interval's width, to three digits of the largest, five decimals at most; counts stay
    whole. Where all three round to 0 the ends are rounded outwards: `0.00000 [0.00000, 0.00001]`.
    `1.23` where there is no interval."""
    is_known = row[low] <= row[high]
    if not is_known:
        return _alike([row[value]], fewest=0)[0]
    numbers = [row[value], row[low], row[high]]
    if 0 < max(map(abs, numbers)) < SMALLEST / 2:
        below, above = min(0.0, np.sign(row[low])), max(0.0, np.sign(row[high]))
        numbers = [0.0, SMALLEST * below, SMALLEST * above]
    return "{} [{}, {}]".format(*_alike(numbers))


def percent(share: float) -> str:
    """`74%`; `–` for NaN."""
    return "–" if np.isnan(share) else f"{share:.0%}"


def with_spread(value: float, spread: float | None) -> str:
    """`0.036 ± 0.010`: both rounded to the second digit of the spread, and to three of the value;
    `0.036` without a spread."""
    if spread is None or np.isnan(value):
        return number(value)
    if 0 < max(abs(value), spread) < SMALLEST / 2:
        value, spread = 0.0, SMALLEST
    digits = _digits([value, spread], spread)
    return f"{_rounded(value, digits)} ± {_rounded(spread, digits)}"


def _alike(numbers: Sequence[float], fewest: float = -np.inf) -> list[str]:
    """Numbers with the same decimals, those that the spread of the finite ones leaves certain.
    fewest: the least decimals; negative ones round what is left of the point."""
    finite = [value for value in numbers if np.isfinite(value)]
    if not finite:
        return [number(value) for value in numbers]
    digits = _digits(finite, max(finite) - min(finite))
    if digits is not None:
        digits = int(max(digits, fewest))
    return [_rounded(value, digits) for value in numbers]


def _digits(values: Sequence[float], width: float) -> int | None:
    """The digits behind the point that a spread of this width leaves certain; None for as many as
    `number` shows."""
    largest = max(map(abs, values))
    is_count = 2 <= largest < 1000 and all(float(value).is_integer() for value in values)
    if largest == 0 or is_count:
        return 0
    if not largest < 1e9:
        return None
    digits = 2 - int(np.floor(np.log10(largest)))
    if 0 < width < np.inf:
        digits = min(digits, 1 - int(np.floor(np.log10(width))))
    return min(digits, MOST_DECIMALS)


def _rounded(value: float, digits: int | None) -> str:
    if digits is None or not np.isfinite(value):
        return number(value)
    size = round(abs(value), digits)
    sign = "−" if value < 0 and size else ""
    return f"{sign}{size:,.{max(digits, 0)}f}"


def wins(row: Record) -> str:
    """`9 and 1 tied of 12 [0.43, 0.95]`: the seeds that are won, and the share's interval."""
    ties = f" and {row['ties']:.0f} tied" if row.get("ties") else ""
    won = f"{row['wins']:.0f}{ties} of {row['n']:.0f}"
    is_known = row["p_low"] <= row["p_high"]
    ends = f" [{row['p_low']:.2f}, {row['p_high']:.2f}]" if is_known else ""
    return won + ends


def cost(row: Record) -> str:
    """`400 [200, > 600]`: the median cost of a target. What no run reached is beyond what the runs
    had spent; `not reached` where all of these diverged."""
    beyond = "not reached" if np.isnan(row["spent"]) else f"> {number(row['spent'])}"
    has_interval = row["ci_low"] <= row["ci_high"] and np.isfinite(row["ci_low"])
    if not has_interval:
        return number(row["median"]).replace("∞", beyond)
    ends = _alike([row["median"], row["ci_low"], row["ci_high"]], fewest=0)
    return "{} [{}, {}]".format(*ends).replace("∞", beyond)


def text(value: Any) -> str:
    """Any value of a stored file: dicts as `key value, key value`; None and NaN as `–`."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {text(inner)}" for key, inner in value.items())
    if value is None:
        return "–"
    if isinstance(value, float):
        return number(value)
    return str(value)


def as_toml(value: Any) -> str:
    """A value as a matrix file has it; of a dict without what is None."""
    if isinstance(value, dict):
        given = {key: inner for key, inner in value.items() if inner is not None}
        pairs = [f"{key} = {as_toml(inner)}" for key, inner in given.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def duration(seconds: float | None, digits: int = 0) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`; `unknown time` for None.

    digits: one unit with so many significant digits instead, `3.4 min`, from two minutes on in
    minutes and from two hours on in hours."""
    if seconds is None:
        return "unknown time"
    if digits:
        return _in_one_unit(seconds, digits)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def _in_one_unit(seconds: float, digits: int) -> str:
    amount, unit = seconds / 3600, "h"
    if seconds < 120:
        amount, unit = seconds, "s"
    elif seconds < 7200:
        amount, unit = seconds / 60, "min"
    # rounded first: 107 to two digits is 110, and not 1.1e+02
    return f"{float(f'{amount:.{digits}g}'):g} {unit}"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def counted(counts: Mapping[str, int]) -> str:
    """`68 done, 2 diverged`."""
    parts = [f"{n} {status}" for status, n in Counter(counts).most_common()]
    return ", ".join(parts) or "no cells"


def plural(n: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    ending = "" if n == 1 else "s"
    return f"{n:,} {noun}{ending}"


def capitalised(sentence: str) -> str:
    """`At equal compute` for `at equal compute`; the rest stays as it is."""
    return sentence[:1].upper() + sentence[1:]


def span(values: ArrayLike) -> str:
    """`3`, or `3 to 5`: the smallest and the largest finite value. `–` where there is none."""
    numbers = np.asarray(values, dtype=float)
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return "–"
    least, greatest = number(finite.min()), number(finite.max())
    if least == greatest:
        return least
    return f"{least} to {greatest}"


def spanned(values: ArrayLike, noun: str) -> str:
    """`1 seed`, `3 to 5 seeds`."""
    shown = span(values)
    return f"{shown} {noun}" if shown == "1" else f"{shown} {noun}s"


def place_name(architecture: str, dataset: str) -> str:
    """`dcgan on digits`: how a place is called everywhere."""
    return f"{architecture} on {dataset}"


def file_name(*names: str, longest: int = LONGEST_NAME) -> str:
    """The name of a file about these names, without a suffix: what is neither a letter, a digit
    nor one of `_=-` becomes `_`. Different names have different file names, also where case and
    Unicode form do not count: a hash ends a name that is not plain or takes more than `longest`
    bytes."""
    joined = "_".join(names)
    safe = "".join(c if c.isalnum() or c in "_=-" else "_" for c in joined)
    is_plain = all(PLAIN_LABEL.fullmatch(name) for name in names)
    is_plain &= unicodedata.normalize("NFKC", joined).casefold() == joined
    if is_plain and len(safe.encode()) <= longest:
        return safe
    digest = hashlib.sha256(joined.encode(errors="replace")).hexdigest()
    return f"{cut(safe, longest - 9)}-{digest[:8]}"


def shortened(label: str, longest: int = 100) -> str:
    """A label that a figure has room for: of a longer one the beginning and 4 digits of its
    hash."""
    if len(label) <= longest:
        return label
    digest = hashlib.sha256(label.encode(errors="replace")).hexdigest()
    return f"{label[: longest - 6]}… {digest[:4]}"


def cut(text: str, num_bytes: int) -> str:
    """The beginning of a text that is at most so many bytes long in UTF-8."""
    return text.encode(errors="replace")[:num_bytes].decode(errors="ignore")


def one_line(error: object) -> str:
    """The text of an error, or of anything else, on one line with single spaces."""
    return " ".join(str(error).split())


def printable(value: Any) -> Any:
    """A value of JSON whose texts control no terminal: other characters than printable ones, tabs
    and line ends become spaces, in keys too."""
    if isinstance(value, str):
        if value.isprintable():
            return value
        return "".join(c if c.isprintable() or c in "\n\t" else " " for c in value)
    if isinstance(value, dict):
        return {printable(name): printable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [printable(inner) for inner in value]
    return value


def described(error: BaseException, longest: int = 500) -> str:
    """The type and the text of an error on one line, the text at most so many characters long."""
    return f"{type(error).__name__}: {one_line(error)[:longest]}"


def visible(line: str) -> str:
    """A line of generated text as people see it: `·` for a space, `□` for what cannot be
    printed."""
    shown = (c if c.isprintable() else "□" for c in line)
    return "".join(shown).replace(" ", "·")


def escaped(value: object) -> str:
    """Text as Markdown shows it: on one line, and without a character that is read as markup."""
    line = " ".join(str(value).splitlines())
    line = OUTER_UNDERSCORE.sub(r"\\_", line.translate(MARKDOWN))
    return line.replace("](", "]\\(").replace("~~", "\\~\\~")
