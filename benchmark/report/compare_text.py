"""A comparison as Markdown, and as tables for a terminal."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text

from benchmark.report.page import Claim, Table, TableRow
from benchmark.text import escaped

if TYPE_CHECKING:
    from benchmark.drawing.save import Figure

INTERVAL = re.compile(r" (\[[^\]]*\])")
COLOURS = {"better": "green", "worse": "red"}


@dataclass
class ComparisonPage:
    """A comparison, in reading order. All of it is plain text, which the renderers escape."""

    title: str
    claims: list[Claim]
    """What is tested; empty where no metric ranks."""
    sections: list[Table]
    remarks: list[str] = field(default_factory=list)
    """Why nothing is tested."""


def to_markdown(comparison: ComparisonPage, figure: "Figure | None" = None) -> str:
    """The page as Markdown; names are escaped. figure: the learning curves, where they are
    drawn."""
    parts = [f"# {escaped(comparison.title)}"]
    lines = [f"- {escaped(claim.budget)}: {escaped(claim.sentence)}" for claim in comparison.claims]
    lines += [f"- {escaped(text)}" for text in comparison.remarks]
    parts.append("\n".join(lines))
    if figure:
        parts.append(f"![{escaped(figure.title)}](figures/{figure.stem}.png)")
    for section in comparison.sections:
        heads = [section.columns, ["---"] * len(section.columns)]
        table = [*heads, *(row.cells for row in section.rows)]
        parts += [f"## {escaped(section.title)}", "\n".join(map(_line, table))]
        if section.note:
            parts.append(escaped(section.note))
    return "\n\n".join(parts) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def to_terminal(comparison: ComparisonPage, console: Console) -> None:
    """Print the title, every table in the width of the console, and the note of the last one, which
    says what was compared. Intervals are those of the metrics that rank; the page has all."""
    console.print(comparison.title, style="bold", markup=False)
    for section in comparison.sections:
        console.print(f"\n{section.title}", style="bold", markup=False)
        if section.columns[0] != "where":
            console.print(_terminal_table(section, section.rows, 0))
            continue
        # A place has a line of its own, and not a column of narrow lines
        for where, rows in groupby(section.rows, key=lambda row: row.cells[0]):
            console.print(where, style="cyan", markup=False)
            console.print(_terminal_table(section, rows, 1))
    note = comparison.sections[-1].note
    if note:
        console.print(f"\n{note}", markup=False)


def _terminal_table(section: Table, rows: Iterable[TableRow], first: int) -> TerminalTable:
    """Rows of a section, from their column `first` on."""
    table = TerminalTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for head in section.columns[first:]:
        table.add_column(Text(head), overflow="fold")
    # An interval stands below its value: two narrow lines fit where a long one does not
    interval = "\n\\1" if section.axis else ""
    for row in rows:
        shown = []
        for text in row.cells[first:]:
            shown.append(Text(INTERVAL.sub(interval, text), COLOURS.get(text, "")))
        table.add_row(*shown)
    return table
