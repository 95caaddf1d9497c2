"""What a report consists of, and how it becomes HTML and Markdown.

A report is a list of chapters of sentences, tables and figures. All of it is plain text; the
templates escape it. The filters of the HTML page hide what its tags name."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.store.frames import harmless
from benchmark.text import Record, number, place_name

FILL = re.compile("[·`]+")  # what fills lines of text

FILTERS = ("objective", "architecture", "dataset")
"""The axes that the page can be filtered by."""

TARGET_CLOCKS = {
    "samples": "samples",
    "g_steps": "generator steps",
    "forwards": "critic forwards",
    "seconds": "raced seconds",
}
"""What the target costs, and the head of its column."""

TRAINING_BUDGETS = {
    "steps": "generator steps",
    "samples": "samples seen by the critic",
    "seconds": "training seconds",
}
"""The training budgets that a cell's spec may have, and how sentences name them."""

Tags = Mapping[str, list[str]]
"""One of FILTERS -> the labels that something is about. It is hidden once one of them is."""


@dataclass
class TableRow:
    """A row of a table."""

    cells: list[str]
    tags: Tags = field(default_factory=dict)


@dataclass
class Table:
    """Rows under their heads, and a note."""

    title: str
    columns: list[str]
    rows: list[TableRow] = field(default_factory=list)
    note: str = ""
    folded: bool = False
    """Of secondary interest: shown on demand."""
    tags: Tags = field(default_factory=dict)
    column_tags: list[Tags] = field(default_factory=list)
    """Tags of every column; empty where no column has any."""

    def add(self, cells: list[str], tags: Tags) -> None:
        """Append a row."""
        self.rows.append(TableRow(cells, tags))


@dataclass
class Item:
    """Sentences about what the lead names."""

    lead: str
    lines: list[str]
    tags: Tags = field(default_factory=dict)


@dataclass
class Listing:
    """Lines of text as they are, for example a traceback, under a summary."""

    summary: str
    text: str
    tags: Tags = field(default_factory=dict)
    open: bool = False
    """Shown at once, not on demand."""


@dataclass
class Chapter:
    """A question and its answer, in reading order."""

    name: str
    """The chapter's anchor, and the `section` of its figures."""
    question: str
    answers: list[str] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)


def tags_of(row: Record) -> Tags:
    """The tags of a row of a frame: its labels on FILTERS, as far as it has them."""
    return {axis: [row[axis]] for axis in FILTERS if axis in row}


def place(row: Record) -> str:
    """The name of a row's place: `dcgan on digits`."""
    return place_name(row["architecture"], row["dataset"])


def floor_text(tables: Tables, dataset: str, column: str) -> str:
    """`0.12 ± 0.04`: the noise floor of a metric column and its spread."""
    entry = tables.protocols.get(dataset)
    return "–" if entry is None else entry.floor_text(column)


def marks_text(tables: Tables, dataset: str, column: str) -> str:
    """`; letter frequencies 0.9, uniform random text 0.997`: what else of a dataset a metric
    column was measured on. Empty for none."""
    marks = tables.marks(dataset, column)
    return "".join(f"; {name} {number(value)}" for name, value in marks.items())


def places(frame: pd.DataFrame) -> list[Record]:
    """The places of a frame, in the order in which they come first: dataset and architecture."""
    return records(frame[PLACE].drop_duplicates())


def by_place(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows place by place, in the order in which places come first."""
    return frame.sort_values(["dataset", "architecture"], kind="stable", key=_first_order)


def _first_order(labels: pd.Series) -> pd.Series:
    return pd.Series(pd.factorize(labels)[0], labels.index)


def at_place(frame: pd.DataFrame, row: Record) -> pd.DataFrame:
    """The rows of a frame with the dataset and the architecture of `row`."""
    is_there = frame["dataset"] == row["dataset"]
    return frame[is_there & (frame["architecture"] == row["architecture"])]


def records(frame: pd.DataFrame) -> list[Record]:
    """The rows of a frame as dicts."""
    return frame.to_dict("records")


def with_values(names: Mapping[str, str], frame: pd.DataFrame) -> dict[str, str]:
    """Of columns and their heads or labels, those with a value in the frame."""
    return {name: label for name, label in names.items() if frame[name].notna().any()}


def tags_of_figure(folder: Path, stem: str, axes: Mapping[str, list[str]]) -> Tags:
    """The tags of a figure, by figures/STEM.csv, the numbers it shows: the axes with several labels
    in the matrix (`axes`) of which the figure shows one."""
    path = folder / f"figures/{stem}.csv"
    available = pd.read_csv(path, nrows=0).columns
    columns = [axis for axis in FILTERS if axis in available and len(axes[axis]) > 1]
    shown = pd.read_csv(path, usecols=columns, dtype=str)
    tags = {}
    for axis in columns:
        labels = [label for label in axes[axis] if harmless(label) == shown[axis].iloc[0]]
        if labels and shown[axis].nunique() == 1:
            tags[axis] = labels[:1]
    return tags


def image(folder: Path, name: str) -> Markup:
    """The attributes of an <img>: src, the smaller of NAME.svg and NAME.png as a data URI, and
    width, a fifth more than the figure was drawn for."""
    svg = (folder / f"{name}.svg").read_bytes()
    png = (folder / f"{name}.png").read_bytes()
    uri = _data_uri("svg+xml", svg) if len(svg) < len(png) else _data_uri("png", png)
    points = re.search(rb'<svg [^>]*?width="([\d.]+)pt"', svg)
    width = str(round(float(points[1]) * 1.2 * 96 / 72)) if points else ""
    return Markup('src="{}" width="{}"').format(uri, width)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def faint(text: str) -> Markup:
    """Text for HTML in which the marks of spaces, and back-ticks that fill lines, are pale."""
    return Markup(FILL.sub(r'<span class="faint">\g<0></span>', str(escape(text))))


def attributes(axes: Mapping[str, list[str]]) -> Callable[[Tags], Markup]:
    """A filter that writes tags as data-AXIS="numbers of the labels", which the page's script
    reads. axes: all labels of each axis, in the order of their numbers."""

    def write(tags: Tags) -> Markup:
        written = Markup("")
        for axis in FILTERS:
            if axis in tags:
                numbers = " ".join(str(axes[axis].index(label)) for label in tags[axis])
                written += Markup(' data-{}="{}"').format(axis, numbers)
        return written

    return write


def templates() -> Environment:
    """The templates in templates/; the text in HTML is escaped without being asked."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
