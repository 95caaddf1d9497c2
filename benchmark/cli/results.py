"""The verbs that read results: tables, plots, report, compare, merge, sample and export."""

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from benchmark.cli.options import (
    RESULTS,
    DeviceOption,
    MatrixOption,
    OnlyOption,
    ResultsOption,
    VariantsOption,
    among,
    named_path,
    note,
    out,
    result_set,
    set_names,
    stored,
    tables_of,
)
from benchmark.errors import UserError, unknown

if TYPE_CHECKING:
    from benchmark.analysis.tables import Tables


def tables(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    variants: VariantsOption = None,
) -> None:
    """Build the tables of a result set (parquet and CSV)."""
    from benchmark.analysis.published import write
    from benchmark.store.files import check_writable
    from benchmark.store.layout import ResultSet

    folder = check_writable(result_set(results, matrix), "--results")
    write(tables_of(folder).published, folder)
    out.print(f"{ResultSet(folder).tables}")


def plots(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    variants: VariantsOption = None,
) -> None:
    """Draw every figure (PNG, SVG and the CSV it shows)."""
    from benchmark.report.figures import draw_all
    from benchmark.store.files import check_writable
    from benchmark.store.layout import ResultSet

    folder = check_writable(result_set(results, matrix), "--results")
    for figure in draw_all(tables_of(folder), folder):
        out.print(f"{ResultSet(folder).figures / figure.stem}.png")


def report(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    variants: VariantsOption = None,
) -> None:
    """Write tables, figures, report.md and one self-contained index.html. Prints a short
    leaderboard and the page's path."""
    from benchmark.analysis.designs.drawn import without_drawn
    from benchmark.analysis.evidence import gather
    from benchmark.analysis.published import write as write_tables
    from benchmark.analysis.search.finals import shown
    from benchmark.report import leaderboard
    from benchmark.report.report import write
    from benchmark.store.files import check_writable

    folder = check_writable(result_set(results, matrix), "--results")
    found = tables_of(folder)
    write_tables(found.published, folder)
    evidence = gather(without_drawn(shown(found)))
    page = write(folder, found, evidence=evidence)
    for line in leaderboard.lines(evidence):
        out.print(line)
    out.print(f"{page}")


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Objective labels of one matrix, or result folders; first: reference.",
            autocompletion=stored("objective"),
        ),
    ],
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    of: Annotated[
        str,
        typer.Option(
            help="What of each run: final, best, area, equal_compute, equal_time or all.",
            autocompletion=among(
                lambda: ("final", "best", "area", "equal_compute", "equal_time", "all")
            ),
        ),
    ] = "final",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Also write compare.md, .csv and .html to this folder.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    variants: VariantsOption = None,
) -> None:
    """Compare objectives within a result set, or result sets of one matrix, with the first one.
    Prints tables on a terminal, and Markdown elsewhere."""
    from benchmark.analysis.compare import differences
    from benchmark.analysis.scores import RUN_VALUES
    from benchmark.analysis.sides import of_labels, of_sets
    from benchmark.matrix.files import name_of
    from benchmark.report import compare_page
    from benchmark.report.compare_text import to_markdown, to_terminal
    from benchmark.store.files import check_writable

    valid = [*RUN_VALUES, "all"]
    if of not in valid:
        raise unknown("--of", of, valid)
    if output:
        check_writable(output, "--output")
    if _are_folders(names, results / name_of(matrix)):
        loaded = [_compared_set(Path(name)) for name in names]
        sides = of_sets(dict(zip(set_names(names), loaded, strict=True)))
    else:
        sides = of_labels(tables_of(result_set(results, matrix)), names)
    rows = differences(sides, RUN_VALUES if of == "all" else [of])
    comparison = compare_page.page(sides, rows)
    if out.is_terminal:
        to_terminal(comparison, Console(highlight=False))
    else:
        print(to_markdown(comparison), end="")
    if output:
        note.print(f"{compare_page.write(output, sides, rows)}")


def _are_folders(names: list[str], folder: Path) -> bool:
    """Whether names are result folders, and not objectives of the matrix in `folder`."""
    from benchmark.store.layout import ResultSet

    results = ResultSet(folder)
    if results.exists:
        matrix = results.matrix
        labels = {entry.objective for entry in matrix.cells}
        if labels.issuperset(matrix.label_of("objective", name) for name in names):
            return False
    return any(os.sep in name or ResultSet(Path(name)).exists for name in names)


def _compared_set(folder: Path) -> "Tables":
    """The tables of a result set that is compared. Raises UserError where it has nothing that
    tables are made of."""
    from benchmark.store.layout import ResultSet

    results = ResultSet(folder)
    if results.exists and not results.cells.exists() and not results.tables.exists():
        raise UserError(
            f"{folder} has neither cells nor tables: nothing to compare; copy the set with its "
            "cells/ or its tables/"
        )
    return tables_of(folder)


def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Result folders of shards of one matrix.", parser=named_path, metavar="PATH"
        ),
    ],
    into: Annotated[
        Path,
        typer.Option(
            help="Folder of the joined result set, such as results/runs/quick.",
            parser=named_path,
            metavar="PATH",
        ),
    ],
    prefer_first: Annotated[
        bool,
        typer.Option("--prefer-first", help="Keep the first of cells finished twice, differently."),
    ] = False,
) -> None:
    """Join result folders of shards that share no disk. Copies finished cells; the folders stay as
    they are."""
    from benchmark.store.files import check_writable
    from benchmark.store.merge import merge as merge_folders
    from benchmark.text import counted

    merged = merge_folders(folders, check_writable(into, "--into"), prefer_first)
    for text in merged.notes:
        note.print(text)
    out.print(f"{into}: {counted(Counter(map(str, merged.statuses)))}")


def sample(
    cell: Annotated[
        str,
        typer.Argument(
            help="A cell: its key, how it begins, or a pattern with * and ?.",
            autocompletion=stored("key"),
        ),
    ],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of samples.")] = 50_000,
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; default: the set's samples/.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    png: Annotated[
        bool, typer.Option("--png", help="Write a folder of PNG files instead of the npz.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Other latents than those the cell was measured on.")
    ] = None,
    device: DeviceOption = "auto",
    variants: VariantsOption = None,
) -> None:
    """Export samples of a finished cell for other tools: npz (`arr_0`; text also as lines, in a
    .txt next to it) or PNG files."""
    from benchmark.export import samples
    from benchmark.machine.devices import devices_of
    from benchmark.store.files import check_writable
    from benchmark.store.layout import ResultSet

    folder = result_set(results, matrix)
    target = check_writable(output or ResultSet(folder).samples, "--output")
    key = samples.find(folder, cell)
    path = samples.export(folder, key, n, target, devices_of(device, 1)[0], seed, png)
    if samples.is_stale(folder, key):
        note.print(f"{key} is stale: different code trained it than the code that sampled it now")
    out.print(f"{path}")


def export(
    tracker: Annotated[
        str,
        typer.Argument(
            help="tensorboard, mlflow or wandb; or bencher, a file of final values.",
            autocompletion=among(lambda: ("tensorboard", "mlflow", "wandb", "bencher")),
        ),
    ],
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    only: OnlyOption = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until every cell has ended, or Ctrl-C.")
    ] = False,
    to: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="Folder, or MLflow's tracking URI; default: the set's exports/TRACKER.",
        ),
    ] = "",
    variants: VariantsOption = None,
) -> None:
    """Write results to an experiment tracker, one run per cell; once more: only what is new."""
    from benchmark.export import bencher, news
    from benchmark.export.base import open_tracker, place_of
    from benchmark.store.files import check_writable
    from benchmark.text import plural

    folder = result_set(results, matrix)
    if tracker == "bencher":
        if only or follow:
            raise UserError("bencher takes a whole result set: leave out --only and --follow")
        out.print(f"{bencher.export(tables_of(folder), to)}")
        return
    place = place_of(tracker, to, folder)
    if isinstance(place, Path):
        check_writable(place, "--to")
    opened = open_tracker(tracker, place, folder.name)
    for wrote in news.export(folder, opened, only, follow):
        if wrote:
            note.print(", ".join(plural(n, what.removesuffix("s")) for what, n in wrote.items()))
        elif not follow:
            note.print("nothing new")
    out.print(f"{place} (look at it: {opened.hint})")
