"""The verbs of the gate: check, accept, history and verify."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmark.cli.options import (
    RESULTS,
    MatrixOption,
    ResultsOption,
    VariantsOption,
    named_path,
    note,
    out,
    result_set,
    tables_of,
)
from benchmark.errors import unknown
from benchmark.text import plural

if TYPE_CHECKING:
    from benchmark.check.verdict import Verdict

BaselinesOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of baselines; default: $GANBENCH_BASELINES, else results/baselines. check "
        "also finds the shipped ones.",
        parser=named_path,
        metavar="PATH",
    ),
]
MarkdownOption = Annotated[
    Path | None,
    typer.Option(
        help="Append the table as Markdown to this file.", parser=named_path, metavar="PATH"
    ),
]
WIDTH = 200  # columns of the table if it is not printed on a terminal


def check(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    markdown: MarkdownOption = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            help="Write the verdicts as JUnit XML to this file.", parser=named_path, metavar="PATH"
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Numbers that differ (≠) are a regression as well.")
    ] = False,
    strict_if_same: Annotated[
        bool,
        typer.Option(
            "--strict-if-same",
            help="--strict, where baseline and results are of the same kind of processor, PyTorch, "
            "execution and, for compiled steps, C++ compiler.",
        ),
    ] = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every comparison, those that are + as well.")
    ] = False,
    baselines: BaselinesOption = None,
    variants: VariantsOption = None,
) -> None:
    """Compare results with their baseline. Exit code 0: fine, 1: a regression, 2: could not
    compare."""
    from benchmark.check.baseline import BASELINES, compare, find
    from benchmark.check.output import (
        LEGEND,
        failing,
        headline,
        limits,
        scope,
        shown,
        summary,
        to_markdown,
        write_junit,
    )
    from benchmark.check.verdict import exit_code
    from benchmark.store.files import check_writable

    folder = result_set(results, matrix)
    for option, file in (("--markdown", markdown), ("--junit", junit)):
        if file:
            check_writable(file.parent, option)
    place = _named(baselines)
    baseline = find(folder.name, place)
    if place is None and baseline.parent.resolve() != BASELINES.resolve():
        note.print(f"no baseline in {BASELINES}: compared with the shipped one, {baseline}")
    verdicts, not_exact = compare(tables_of(folder), folder.name, baseline.parent)
    strict = strict or (strict_if_same and not not_exact)
    remarks = [*limits(verdicts), scope(not_exact, strict)]
    print(headline(verdicts, strict), summary(verdicts), *remarks, sep="\n")
    printed = shown(verdicts) if show_all else failing(verdicts)
    if printed:
        _print(printed)
        print(LEGEND)
    num_fine = sum(verdict.mark == "+" for verdict in verdicts)
    if num_fine and not show_all:
        print(f"{plural(num_fine, 'comparison')} + (not worse): --all shows every comparison")
    if markdown:
        _append(markdown, to_markdown(verdicts, remarks, strict))
    if junit:
        write_junit(verdicts, junit, strict)
    raise typer.Exit(exit_code(verdicts, strict))


def _print(verdicts: "list[Verdict]") -> None:
    from benchmark.check.output import short_number

    table = Table("", "group", "metric", "baseline", "now", "band", "note")
    for verdict in verdicts:
        numbers = [short_number(x) for x in (verdict.baseline, verdict.current, verdict.band)]
        table.add_row(verdict.mark, verdict.group, verdict.metric, *numbers, verdict.note)
    _to_console(table)


def _to_console(table: Table) -> None:
    width = None if out.is_terminal else WIDTH
    Console(highlight=False, markup=False, width=width).print(table)


def _append(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as opened:
        opened.write(text)


def _named(folder: Path | None) -> Path | None:
    """The folder of baselines that the command line or the variable names; None without either."""
    from variants import _variables

    if folder is None:
        return _variables.folder("GANBENCH_BASELINES")
    return folder


def accept(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    baselines: BaselinesOption = None,
    variants: VariantsOption = None,
) -> None:
    """Make finished results the baseline of `ganbench check`: MATRIX.json in the folder of
    baselines."""
    from benchmark.check import baseline

    folder = result_set(results, matrix)
    file, notes = baseline.accept(tables_of(folder), folder.name, _named(baselines))
    for text in notes:
        note.print(text)
    out.print(f"{file}")


def verify(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Result sets that are submitted; default: all submissions of this version.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    since: Annotated[
        str,
        typer.Option(
            help="A commit: code and values of submissions that it has are not compared again.",
            metavar="COMMIT",
        ),
    ] = "",
    markdown: MarkdownOption = None,
    baselines: BaselinesOption = None,
) -> None:
    """Check submissions to the leaderboard, and print it. Exit code 0: accepted, 1: refused, 2: bad
    input."""
    from benchmark.check.submission.board import HEAD, boards, headline, to_markdown
    from benchmark.check.submission.rules import read_rules, rules_file
    from benchmark.check.submission.verify import verify_all

    file = rules_file()
    rules = read_rules(file)
    place = _named(baselines)
    found = verify_all(folders or [], rules, place, since)
    for verified in found:
        print(headline(verified))
        for refusal in verified.refusals:
            print(f"  {refusal.rule}: {refusal.reason}")
        for text in verified.notes:
            print(f"  note: {text}")
    if not found:
        print(f"no submissions in {file.parent}")
    leaderboards = [*boards([v for v in found if not v.refusals], rules, place)]
    for title, rows in leaderboards:
        print(f"\n{title}")
        _print_rows(HEAD, [row.texts for row in rows])
    if markdown:
        _append(markdown, to_markdown(found, leaderboards))
    raise typer.Exit(1 if any(verified.refusals for verified in found) else 0)


def history(
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Baselines or result sets, the oldest first; default: the baseline of the matrix "
            "at every commit that changed it.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    matrix: MatrixOption = "quick",
    baselines: BaselinesOption = None,
    since: Annotated[
        str, typer.Option(help="Only changes that are found at this commit or later count.")
    ] = "",
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Write the means as CSV for Apache Otava to this file.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every group, metric and commit.")
    ] = False,
) -> None:
    """Look for changes of quality over commits, slow ones too. Exit code 0: none, 1: a change, 2:
    bad input."""
    from benchmark.check.baseline import BASELINES
    from benchmark.check.history import output, read
    from benchmark.check.history.series import look_through, series_of
    from benchmark.matrix.files import name_of
    from benchmark.store.files import check_writable

    if csv:
        check_writable(csv.parent, "--csv")
    if places:
        commits = read.from_files(places)
    else:
        folder = _named(baselines) or BASELINES
        commits = read.from_git(folder / f"{name_of(matrix)}.json", note.print)
    series = series_of(commits)
    found, limit = look_through(series)
    names = [commit.name for commit in commits]
    if since and since not in names:
        raise unknown("commit", since, names)
    if since:
        found = [change for change in found if change.end.number >= names.index(since)]
    if csv:
        csv.parent.mkdir(parents=True, exist_ok=True)
        output.write_otava(commits, series, csv)
    print(output.headline(commits, series, found, limit))
    if found:
        _print_rows(output.CHANGES, output.change_rows(commits, found))
    if show_all:
        _print_rows(output.PER_PLACE, output.place_rows(commits, series))
    else:
        _print_rows(output.COLUMNS, output.series_rows(series))
    raise typer.Exit(1 if found else 0)


def _print_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    _to_console(table)
