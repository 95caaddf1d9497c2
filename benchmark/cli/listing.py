"""The verb list: what there is to compare, and what one name means."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmark.cli.options import VariantsOption, among, out

if TYPE_CHECKING:
    from benchmark.matrix.catalogue import Entry

WIDEST = 110  # characters of a line


def _names() -> list[str]:
    """Every name that list takes."""
    from benchmark.matrix.catalogue import KINDS, names

    return [*KINDS, *(name for kind in KINDS for name in names(kind))]


def list_names(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A kind, such as objectives, or a name; none: everything.",
            autocompletion=among(_names),
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    variants: VariantsOption = None,
) -> None:
    """List every objective, architecture, dataset, option, metric and matrix, or say of one what it
    is: its equation, paper and parameters, and the lines for a matrix file."""
    from benchmark.matrix.catalogue import KINDS, summaries

    found = {}
    if name is None or name in KINDS:
        found = {kind: summaries(kind) for kind in KINDS if name in (None, kind)}
        entries = [entry for of_kind in found.values() for entry in of_kind]
    else:
        from benchmark.matrix.description import find

        entries = find(name)
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1, ensure_ascii=False))
    elif found:
        for kind, of_kind in found.items():
            _overview(kind, of_kind)
        out.print("ganbench list NAME: its parameters, equation, paper and lines for a matrix file")
    else:
        for number, entry in enumerate(entries):
            out.print("\n" * (number > 0) + _title(entry))
            _describe(entry)


def _overview(kind: str, entries: "list[Entry]") -> None:
    """A table of the names of a kind with a line on each; the file of a variant of the user's."""
    from variants import SHIPPED

    table = _table("name", "what it is", title=kind)
    for entry in entries:
        is_own = entry.file is not None and not Path(entry.file).is_relative_to(SHIPPED.parent)
        table.add_row(entry.name, entry.summary + (f" ({entry.file})" if is_own else ""))
    out.print(table)


def _describe(entry: "Entry") -> None:
    """Everything about one name, below its title."""
    for paragraph in entry.description.split("\n\n"):
        out.print(f"\n{_filled(paragraph)}")
    out.print()
    if entry.parameters:
        table = _table("parameter", "default", "values", "meaning")
        for parameter in entry.parameters:
            default = "" if parameter.default is None else json.dumps(parameter.default)
            words = (parameter.name, default.strip('"'), parameter.values, parameter.meaning)
            table.add_row(*words)
        Console(highlight=False, markup=False, width=_width()).print(table)
        out.print()
    for name, fact in entry.facts.items():
        out.print(f"{name}: {fact}")
    for address in entry.papers:
        out.print(f"paper: {address}")
    if entry.file:
        out.print(f"source: {entry.file}")
    out.print(f"\nIn a matrix file:\n{entry.toml}")


def _title(entry: "Entry") -> str:
    return f"{entry.name} ({entry.kind}): {entry.summary}"


def _filled(paragraph: str) -> str:
    """A paragraph that fills the lines; equations and lists stay as they are."""
    if "  " in paragraph or paragraph.startswith("min over"):
        return paragraph
    return textwrap.fill(paragraph, _width())


def _width() -> int:
    return min(out.width, WIDEST) if out.is_terminal else WIDEST


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2))
    for name in columns[:-1]:
        table.add_column(name, no_wrap=name in ("name", "parameter"))
    # A long path goes on in the next line
    table.add_column(columns[-1], overflow="fold")
    return table
