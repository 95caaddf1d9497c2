"""What a report consists of: a first screen, then chapters of sentences, tables and figures.

All of it is plain text, which the templates escape (`render`). The filters of the HTML page hide
what its tags name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd

from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.report.forest import Axis, Dot
from benchmark.text import Record, place_name

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
    dot: Dot | None = None
    """What a table with an axis draws in this row."""
    is_mark: bool = False
    """Of something that no objective made, such as real samples."""


@dataclass
class Group:
    """Neighbouring columns under one head."""

    title: str
    num_columns: int
    tags: Tags = field(default_factory=dict)


@dataclass
class Table:
    """Rows under their heads, and a note."""

    title: str
    columns: list[str]
    rows: list[TableRow] = field(default_factory=list)
    note: str = ""
    fold: str = ""
    """Of secondary interest: shown on demand, under these words. Tables that share them share a
    fold."""
    tags: Tags = field(default_factory=dict)
    column_tags: list[Tags] = field(default_factory=list)
    """Tags of every column; empty where no column has any."""
    groups: list[Group] = field(default_factory=list)
    """Groups of all columns but the first; empty for one line of heads."""
    axis: Axis | None = None
    """Of the dots in the rows."""

    def add(self, cells: list[str], tags: Tags) -> None:
        """Append a row."""
        self.rows.append(TableRow(cells, tags))


@dataclass
class Item:
    """Sentences about what the lead names."""

    lead: str
    lines: list[str]
    tags: Tags = field(default_factory=dict)
    figure: str = ""
    """The stem of the figure that stands below it."""


@dataclass
class Listing:
    """Lines of text as they are, for example a traceback, under a summary."""

    summary: str
    text: str
    tags: Tags = field(default_factory=dict)
    open: bool = False
    """Shown at once, not on demand."""
    is_trace: bool = False
    """Of a cell that failed: closed on paper."""


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
    notes: list[str] = field(default_factory=list)
    """How its numbers are read."""

    @property
    def folds(self) -> dict[str, list[Table]]:
        """The folded tables, by what they are folded under."""
        folds: dict[str, list[Table]] = {}
        for table in self.tables:
            if table.fold:
                folds.setdefault(table.fold, []).append(table)
        return folds


@dataclass
class Claim:
    """A sentence on who leads at a budget, in parts that look different."""

    budget: str
    leader: str = ""
    text: str = ""
    verdict: str = ""
    after: str = ""
    """Follows the verdict at once: with a blank or a mark."""

    @property
    def sentence(self) -> str:
        """The sentence without its budget."""
        parts = filter(None, (self.leader, self.text, self.verdict))
        return f"{' '.join(parts)}{self.after}."


@dataclass
class Card:
    """What is known of a place."""

    place: str
    scale: str
    """The metric that ranks, and what it is for real samples."""
    claims: list[Claim]
    remarks: list[str]
    """What failed, and what is not compared."""
    tags: Tags
    is_ranked: bool = True
    """False where nothing was learnt, or no run has finished."""


@dataclass
class FirstScreen:
    """The answers in short."""

    status: str
    cards: list[Card]
    error_rate: str
    """How often a report like this one makes a false claim."""
    verdicts: Table | None
    """Objective x (place, budget), or turned: better or worse. None where nothing is compared."""
    legend: str


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


def places(frame: pd.DataFrame) -> list[Record]:
    """The places of a frame, in the order in which they come first: dataset and architecture."""
    return records(frame[PLACE].drop_duplicates())


def each_place(frame: pd.DataFrame) -> Iterator[tuple[Record, pd.DataFrame]]:
    """The places of a frame, each with its rows."""
    for at in places(frame):
        yield at, at_place(frame, at)


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
