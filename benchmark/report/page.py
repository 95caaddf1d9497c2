"""What pages are made of: chapters of sentences, tables and traces, all plain text; the templates
escape it.

Everything is `of` objectives, architectures and datasets, by which the page's filters hide it."""

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmark.text import Record

AXES = ("objective", "architecture", "dataset")
CLOCKS = {
    "samples": "samples",
    "g_steps": "generator steps",
    "forwards": "critic forwards",
    "seconds": "seconds",
}
Tags = dict[
    str, list[str]
]  # axis -> the labels that something is about; hidden as soon as one of them is


@dataclass
class Row:
    """A row of a table."""

    cells: list[str]
    of: Tags = field(default_factory=dict)


@dataclass
class Table:
    """Rows under their heads, and a note. folded: secondary, shown on demand. column_of: tags of
    the columns."""

    title: str
    columns: list[str]
    rows: list[Row] = field(default_factory=list)
    note: str = ""
    folded: bool = False
    of: Tags = field(default_factory=dict)
    column_of: list[Tags] = field(default_factory=list)


@dataclass
class Item:
    """Sentences about what its lead names."""

    lead: str
    lines: list[str]
    of: Tags = field(default_factory=dict)


@dataclass
class Trace:
    """Lines of text as they are, under a summary; shown on demand, or at once."""

    summary: str
    text: str
    of: Tags = field(default_factory=dict)
    open: bool = False


@dataclass
class Chapter:
    """A question and its answer, in reading order. name: its anchor, and the `section` of the
    figures in it."""

    name: str
    question: str
    answers: list[str] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)


def tags(row: Record) -> Tags:
    """The tags of a row of a frame: of AXES, those it has."""
    return {axis: [row[axis]] for axis in AXES if axis in row}


def place(row: Record) -> str:
    """`dcgan on digits`."""
    return f"{row['architecture']} on {row['dataset']}"


def by_place(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows place by place, in the order in which places come first."""
    return frame.sort_values(
        ["dataset", "architecture"],
        kind="stable",
        key=lambda labels: pd.Series(pd.factorize(labels)[0], labels.index),
    )


def at_place(frame: pd.DataFrame, row: Record) -> pd.DataFrame:
    """The rows of a frame with the dataset and the architecture of `row`."""
    return frame[
        (frame["dataset"] == row["dataset"]) & (frame["architecture"] == row["architecture"])
    ]


def records(frame: pd.DataFrame) -> list[Record]:
    """The rows of a frame as dicts."""
    return frame.to_dict("records")


def image(folder: Path, name: str) -> Markup:
    """src, the smaller of NAME.svg and NAME.png as a data URI, and width, a fifth above what it was
    drawn for."""
    stem = folder / name
    svg, png = stem.with_suffix(".svg").read_bytes(), stem.with_suffix(".png").read_bytes()
    kind, content = ("svg+xml", svg) if len(svg) < len(png) else ("png", png)
    points = re.search(rb'<svg [^>]*?width="([\d.]+)pt"', svg)
    width = round(float(points[1]) * 1.2 * 96 / 72) if points else ""
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Markup('src="{}" width="{}"').format(uri, width)


def templates() -> Environment:
    """The templates beside this file; text in HTML is escaped by itself."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
