"""The verbs of the gate: check and accept."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmark.cli.options import (
    RESULTS,
    MatrixOption,
    ResultsOption,
    VariantsOption,
    note,
    out,
    result_set,
    tables_of,
)

WIDTH = 200  # columns of the table if it is not printed on a terminal


def check(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    markdown: Annotated[
        Path | None, typer.Option(help="Append the table as Markdown to this file.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the verdicts as JUnit XML to this file.")
    ] = None,
    variants: VariantsOption = None,
) -> None:
    """Compare results with the committed baseline. Exit code 0: fine, 1: a regression, 2: could not
    compare."""
    from benchmark.check.baseline import compare
    from benchmark.check.output import limits, summary, to_markdown, write_junit
    from benchmark.check.rule import exit_code

    folder = result_set(results, matrix)
    verdicts = compare(tables_of(folder), folder.name)
    table = Table("", "group", "metric", "baseline", "now", "band", "note", title=summary(verdicts))
    for verdict in verdicts:
        numbers = [_number(x) for x in (verdict.baseline, verdict.current, verdict.band)]
        table.add_row(verdict.mark, verdict.group, verdict.metric, *numbers, verdict.note)
    width = None if out.is_terminal else WIDTH
    Console(highlight=False, markup=False, width=width).print(table)
    print(summary(verdicts), *limits(verdicts), sep="\n")
    if markdown:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        with markdown.open("a", encoding="utf-8") as file:
            file.write(to_markdown(verdicts))
    if junit:
        write_junit(verdicts, junit)
    raise typer.Exit(exit_code(verdicts))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def accept(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    variants: VariantsOption = None,
) -> None:
    """Make finished results the baseline of `ganbench check`: results/baselines/MATRIX.json of the
    checkout, wherever you are."""
    from benchmark.check import baseline

    folder = result_set(results, matrix)
    path, notes = baseline.accept(tables_of(folder), folder.name)
    for text in notes:
        note.print(text)
    out.print(f"{path}")
