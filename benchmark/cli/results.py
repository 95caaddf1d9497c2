"""The verbs on results that are there: tables, plots, report, compare, check, accept, merge, sample
and export."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmark.errors import UserError, unknown

out = Console(highlight=False, markup=False, soft_wrap=True)
note = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

MatrixOption = Annotated[
    str, typer.Option("--matrix", help="Name of a shipped matrix, or path of a .toml file.")
]
ResultsOption = Annotated[Path, typer.Option("--results", help="Folder of all result sets.")]
RESULTS = Path("results/runs")


def tables(matrix: MatrixOption = "quick", results: ResultsOption = RESULTS) -> None:
    """Build the tables of a result set (parquet and CSV)."""
    from benchmark.analysis import tables as module

    folder = result_set(results, matrix)
    module.write(module.load(folder), folder)
    out.print(f"{folder / 'tables'}")


def plots(matrix: MatrixOption = "quick", results: ResultsOption = RESULTS) -> None:
    """Draw every figure (PNG, SVG and the CSV it shows)."""
    from benchmark.analysis import tables as tables_module
    from benchmark.report import figures as module

    folder = result_set(results, matrix)
    for figure in module.draw_all(tables_module.load(folder), folder):
        out.print(f"{folder / 'figures' / figure.stem}.png")


def report(matrix: MatrixOption = "quick", results: ResultsOption = RESULTS) -> None:
    """Write tables, figures, report.md and one self-contained index.html."""
    from benchmark.report import report as module

    out.print(f"{module.write(result_set(results, matrix))}")


def compare(
    names: Annotated[
        list[str],
        typer.Argument(help="Objective labels of one matrix, or result folders; first: reference."),
    ],
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    of: Annotated[
        str, typer.Option(help="What of each run: final, best, area, equal_time or all.")
    ] = "final",
    output: Annotated[
        Path | None, typer.Option(help="Also write compare.md, .csv and .html to this folder.")
    ] = None,
) -> None:
    """Compare objectives within a result set, or result sets of one matrix, with the first one.
    Prints Markdown."""
    from benchmark.analysis import sides as module
    from benchmark.analysis.compare import differences
    from benchmark.analysis.scores import RUN_VALUES
    from benchmark.analysis.tables import load
    from benchmark.report import compare_page
    from benchmark.store.result_set import read_matrix

    if of not in (valid := [*RUN_VALUES, "all"]):
        raise unknown("--of", of, valid)
    if output:
        writable(output, "--output")
    own = results / _stem(matrix)
    labels = {cell["objective"] for cell in read_matrix(own)["cells"]} if _is_set(own) else set()
    if not labels.issuperset(names) and any(os.sep in name or _is_set(name) for name in names):
        sides = module.of_sets(
            dict(zip(module.set_names(names), (load(Path(name)) for name in names), strict=True))
        )
    else:
        sides = module.of_labels(load(result_set(results, matrix)), names)
    found = differences(sides, RUN_VALUES if of == "all" else [of])
    print(compare_page.to_markdown(compare_page.page(sides, found)), end="")
    if output:
        note.print(f"{compare_page.write(output, sides, found)}")


def check(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    markdown: Annotated[
        Path | None, typer.Option(help="Append the table as Markdown to this file.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the verdicts as JUnit XML to this file.")
    ] = None,
) -> None:
    """Compare results with the committed baseline. Exit code 0: fine, 1: a regression, 2: could not
    compare."""
    from benchmark.analysis.tables import load
    from benchmark.check import baseline, output
    from benchmark.check.rule import exit_code

    folder = result_set(results, matrix)
    verdicts = baseline.compare(load(folder), folder.name)
    table = Table(
        "", "group", "metric", "baseline", "now", "band", "note", title=output.summary(verdicts)
    )
    for v in verdicts:
        numbers = ("" if x is None else f"{x:.4g}" for x in (v.baseline, v.current, v.band))
        table.add_row(v.mark, v.group, v.metric, *numbers, v.note)
    Console(highlight=False, markup=False, width=None if out.is_terminal else 200).print(table)
    print(output.summary(verdicts), *output.limits(verdicts), sep="\n")
    if markdown:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        with markdown.open("a") as file:
            file.write(output.to_markdown(verdicts))
    if junit:
        output.write_junit(verdicts, junit)
    raise typer.Exit(exit_code(verdicts))


def accept(matrix: MatrixOption = "quick", results: ResultsOption = RESULTS) -> None:
    """Make finished results the baseline of `ganbench check` (results/baselines/MATRIX.json)."""
    from benchmark.analysis.tables import load
    from benchmark.check.baseline import accept as accept_results

    folder = result_set(results, matrix)
    path, notes = accept_results(load(folder), folder.name)
    for text in notes:
        note.print(text)
    out.print(f"{path}")


def merge(
    folders: Annotated[list[Path], typer.Argument(help="Result folders of shards of one matrix.")],
    into: Annotated[
        Path, typer.Option(help="Folder of the joined result set, such as results/runs/quick.")
    ],
    prefer_first: Annotated[
        bool,
        typer.Option("--prefer-first", help="Keep the first of cells finished twice, differently."),
    ] = False,
) -> None:
    """Join result folders of shards that share no disk. Copies committed cells; the folders stay as
    they are."""
    from collections import Counter

    from benchmark.store import merge as module

    states, notes = module.merge(folders, writable(into, "--into"), prefer_first)
    for text in notes:
        note.print(text)
    counts = Counter(states).most_common()
    out.print(f"{into}: {', '.join(f'{n} {status}' for status, n in counts)}")


def sample(
    cell: Annotated[
        str, typer.Argument(help="A cell: its key, how it begins, or a pattern with * and ?.")
    ],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of samples.")] = 50_000,
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    output: Annotated[
        Path | None, typer.Option(help="Folder to write to; default: the set's samples/.")
    ] = None,
    png: Annotated[
        bool, typer.Option("--png", help="Write a folder of PNG files in the place of the npz.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Other latents than those the cell was measured on.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:0 or mps (untested).")
    ] = "auto",
) -> None:
    """Export samples of a finished cell for other tools: npz (`arr_0`) or PNG files."""
    folder = result_set(results, matrix)
    from benchmark.export import samples as module
    from benchmark.machine import devices

    target = writable(output or folder / "samples", "--output")
    key = module.find(folder, cell)
    path = module.export(folder, key, n, target, devices.devices_of(device, 1)[0], seed, png)
    if module.is_stale(folder, key):
        note.print(f"{key} is stale: other code than the present trained it, which sampled it now")
    out.print(f"{path}")


def export(
    tracker: Annotated[str, typer.Argument(help="tensorboard, mlflow or wandb.")],
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    only: Annotated[str, typer.Option(help='Cells, e.g. "objective=wgan_gp seed=0".')] = "",
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
) -> None:
    """Write results to an experiment tracker, one run per cell; once more: only what is new."""
    from benchmark.export import news as module
    from benchmark.export.trackers import open_tracker, place_of

    folder = result_set(results, matrix)
    place = place_of(tracker, to, folder)
    opened = open_tracker(
        tracker, writable(place, "--to") if isinstance(place, Path) else place, folder.name
    )
    for wrote in module.export(folder, opened, only, follow):
        if wrote:
            note.print(", ".join(f"{n} {what}" for what, n in wrote.items()))
        elif not follow:
            note.print("nothing new")
    out.print(f"{place} (look at it: {opened.hint})")


def result_set(results: Path, matrix: str) -> Path:
    """The result set of a matrix, named or by its file. Raises UserError where there is none."""
    folder = results / _stem(matrix)
    if not _is_set(folder):
        known = sorted(path.parent.name for path in results.glob("*/matrix.json"))
        raise UserError(
            f"no results of matrix {matrix!r} in {results}; there are: {', '.join(known) or 'none'}"
        )
    return folder


def _stem(matrix: str) -> str:
    return Path(matrix).name.removesuffix(".toml")


def _is_set(folder: str | Path) -> bool:
    return os.path.exists(
        os.path.join(folder, "matrix.json")
    )  # False for a name too long for a path, too


def writable(folder: Path, option: str) -> Path:
    """A folder that is there or can be made. Raises UserError, naming the option, where it cannot;
    writes nothing."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UserError(f"{option}: {there} is not a folder that can be written to")
    return folder
