"""How a page becomes HTML: templates, pictures and files as data URIs, chips, tags for filters."""

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmark.report import forest
from benchmark.report.page import FILTERS, Table, Tags
from benchmark.store.files import read_bytes
from benchmark.store.frames import HOLES, harmless

FILL = re.compile("[·`]+")  # what fills lines of text
CODE = re.compile("`([^`]+)`")
# Where a name, or a cell's key, breaks
BREAKS = re.compile(r"(?=\[)|(?<=,)(?=\D)|(?<=\w)(?=_\w+=)|(?<=_-)")
# What is said of an objective, or of its runs: class of its chip, and sign
CHIPS = {
    "better": ("good", "+"),
    "worse": ("bad", "−"),
    "not separated": ("flat", "·"),
    "reference": ("flat", "="),
}
CHIP = '<span class="chip {}"><span class="sign">{}</span> {}</span>'
MARK = (
    '<span class="chip {}" title="{}"><span class="sign">{}</span><span class="heard">{}</span>'
    "</span>"
)
# Among all pairs: `+3 −1`, better than three, worse than one
COUNTS = re.compile(r"\+(\d+) −(\d+)")
DECIMALS = re.compile(rb"([1-9]\d*\.\d\d)\d+")
# Of an SVG file: what no browser draws
UNDRAWN = re.compile(rb"<!--.*?-->|<metadata>.*?</metadata>|\s+(?=<)", re.DOTALL)
# Characters of a data URI that need no escape, neither in it nor in an attribute of HTML
PLAIN = " !$'()*+,-./:;=?@_~[]|{}"
LARGEST_SVG = 200_000
"""Bytes of an SVG file that a page shows; of a larger one it shows the PNG file."""
MOST_SVG = 8_000_000
"""Bytes of all SVG files that a page shows; of the largest of more it shows the PNG files."""
MOST_EMBEDDED = 32_000
"""Bytes of a CSV file that a page holds; of a larger one it has the path."""


def tags_of_figure(folder: Path, stem: str, axes: Mapping[str, list[str]]) -> Tags:
    """The tags of a figure, by figures/STEM.csv, the numbers it shows: of the axes with several
    labels in the matrix (`axes`), the labels that the figure shows."""
    path = folder / f"figures/{stem}.csv"
    available = pd.read_csv(path, nrows=0).columns
    columns = [axis for axis in FILTERS if axis in available and len(axes[axis]) > 1]
    shown = pd.read_csv(path, usecols=columns, dtype=str, **HOLES)
    tags = {}
    for axis in columns:
        names = set(shown[axis].dropna())
        labels = [label for label in axes[axis] if harmless(label) in names]
        if labels:
            tags[axis] = labels
    return tags


def largest_svg(sizes: Iterable[int]) -> int:
    """Bytes of the largest SVG file that a page with SVG files of these sizes shows."""
    total = 0
    for size in sorted(sizes):
        total += size
        if total > MOST_SVG:
            return min(size - 1, LARGEST_SVG)
    return LARGEST_SVG


def image(folder: Path, name: str, largest: int = LARGEST_SVG) -> Markup:
    """The attributes of an <img>: src, NAME.svg as a data URI, or NAME.png for one of more bytes
    than `largest`, and width, a fifth more than the figure was drawn for."""
    svg = (folder / f"{name}.svg").read_bytes()
    points = re.search(rb'<svg [^>]*?width="([\d.]+)pt"', svg)
    width = str(round(float(points[1]) * 1.2 * 96 / 72)) if points else ""
    if len(svg) > largest:
        uri = _data_uri("image/png", (folder / f"{name}.png").read_bytes())
    else:
        uri = _svg_uri(svg)
    return Markup(f'src="{uri}" width="{width}"')


def _svg_uri(svg: bytes) -> str:
    """An SVG file as a data URI, as text: a quarter shorter than in base64."""
    # a hundredth of a point is not seen, and scales are below 1
    svg = UNDRAWN.sub(b"", DECIMALS.sub(rb"\1", svg)).replace(b"\n", b" ")
    if b"'" not in svg:
        # A quote is escaped, an apostrophe is not
        svg = svg.replace(b'"', b"'")
    return f"data:image/svg+xml,{quote(svg, safe=PLAIN)}"


def data_link(folder: Path, name: str) -> Markup:
    """Where the numbers of a figure are: a link that saves NAME.csv out of the page, or, for a
    large file, its path in the result set."""
    content = read_bytes(folder / f"{name}.csv") or b""
    if not 0 < len(content) <= MOST_EMBEDDED:
        return Markup("<code>figures/{}.csv</code>").format(name)
    link = '<a download="{}.csv" href="{}">Numbers (CSV)</a>'
    return Markup(link).format(name, _data_uri("text/csv", content))


def label(name: str) -> Markup:
    """A name for HTML that breaks before its parameters and between them, as does a cell's key."""
    return Markup("<wbr>").join(BREAKS.split(name))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def faint(text: str) -> Markup:
    """Text for HTML in which the marks of spaces, and back-ticks that fill lines, are pale."""
    return Markup(FILL.sub(r'<span class="faint">\g<0></span>', str(escape(text))))


def prose(text: str) -> Markup:
    """A sentence for HTML; what stands between back-ticks is code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))


def chip(text: str) -> Markup:
    """A verdict as a coloured chip with its sign; any other text as it is."""
    look = _look(text)
    if look is None:
        return escape(text)
    kind, sign = look
    if not sign:
        return Markup('<span class="chip {}">{}</span>').format(kind, text)
    return Markup(CHIP).format(kind, sign, text)


def mark(text: str) -> Markup:
    """A verdict as a chip that shows its sign alone; people who hear the page hear the word."""
    look = _look(text)
    if look is None or not look[1]:
        return chip(text)
    return Markup(MARK).format(look[0], text, look[1], text)


def _look(text: str) -> tuple[str, str] | None:
    """The class and the sign of a verdict's chip; None for what is no verdict."""
    counts = COUNTS.fullmatch(text)
    if counts is None:
        return CHIPS.get(text)
    ahead, behind = (int(count) > 0 for count in counts.groups())
    if ahead == behind:
        return "flat", ""
    return ("good" if ahead else "bad"), ""


def lines(text: str) -> Markup:
    """The lines of a cell; a verdict is a chip."""
    return Markup("\n").join(map(chip, text.split("\n")))


def without_repeats(tables: Sequence[Table]) -> list[tuple[Table, str]]:
    """Every table with its note, which is empty where the next table has the same."""
    noted = []
    for table, following in zip_longest(tables, tables[1:]):
        is_repeated = following is not None and following.note == table.note
        noted.append((table, "" if is_repeated else table.note))
    return noted


def attributes(axes: Mapping[str, list[str]]) -> Callable[[Tags], Markup]:
    """A filter that writes tags as data-AXIS="numbers of the labels", which the page's script
    reads. axes: all labels of each axis, in the order of their numbers."""

    def write(tags: Tags) -> Markup:
        written = Markup("")
        for axis in FILTERS:
            known = [axes[axis].index(label) for label in tags.get(axis, []) if label in axes[axis]]
            if known:
                numbers = " ".join(map(str, known))
                written += Markup(' data-{}="{}"').format(axis, numbers)
        return written

    return write


def templates() -> Environment:
    """The templates in templates/; the text in HTML is escaped without being asked."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"faint": faint, "prose": prose, "chip": chip, "mark": mark}
    environment.filters |= {"label": label, "lines": lines, "ticks": forest.head}
    environment.filters["without_repeats"] = without_repeats
    environment.globals["dot"] = forest.row
    return environment
