"""`ganbench VERB`: one verb per stage. A user's mistake is one line on stderr and exit code 2."""

import ast
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import variants
from benchmark import UserError, __version__, unknown
from benchmark.cell import FINISHED
from benchmark.cli_results import (
    RESULTS,
    MatrixOption,
    ResultsOption,
    accept,
    check,
    compare,
    merge,
    note,
    out,
    plots,
    report,
    result_set,
    sample,
    tables,
    writable,
)

app = typer.Typer(
    name="ganbench",
    help="Benchmark GAN objectives: which objective, on which architecture, how fast, how good, how reliably?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_variants() -> None:
    """List every objective, architecture, dataset and matrix."""
    for axis in variants.AXES:
        table = Table("name", "what it is", title=axis, title_justify="left", box=None, padding=(0, 2))
        for name in variants.names(axis):
            table.add_row(name, _first_line(Path(variants.__file__).parent / axis / f"{name}.py"))
        out.print(table)
    table = Table("name", "what it is", title="matrices", title_justify="left", box=None, padding=(0, 2))
    for path in sorted((Path(__file__).parent / "matrices").glob("*.toml")):
        table.add_row(path.stem, path.read_text().partition("\n")[0].lstrip("# "))
    out.print(table)


@app.command()
def run(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    only: Annotated[str, typer.Option(help='Cells to run, e.g. "objective=wgan_gp architecture=dcgan seed=0".')] = "",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override, e.g. training.steps=200.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print cells, options and estimated cost; stop.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run cells that are committed, too.")] = False,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Run cells that ended in an error.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first error.")] = False,
    jobs: Annotated[int, typer.Option(help="Worker processes; 0: one per GPU, else one per CPU core.")] = 0,
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n parts of the cells, i from 1.")] = "1/1",
    engine: Annotated[str, typer.Option(help="Where cells run: local.")] = "local",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0,cuda:1, or mps (untested).")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, tf32 or bf16; default: the matrix's.")] = "",
) -> None:
    """Run the cells of a matrix that are not committed yet."""
    from benchmark import matrix as matrices

    part, parts = _shard(shard)
    if engine != "local":
        raise unknown("engine", engine, ["local"])
    chosen = [*(overrides or []), *([f"training.precision={precision}"] if precision else [])]
    path = matrices.find(matrix)
    config, description = matrices.read(path, chosen)
    cells = matrices.expand(config, only)[part - 1 :: parts]

    from benchmark import runner
    from benchmark.engines import local
    from benchmark.progress import Display, option_lines, plan_lines

    devices = local.devices_of(device, jobs)
    folder = writable(results / path.stem, "--results")
    todo = runner.pending(folder, cells, force, retry_errors)
    where = ", ".join(dict.fromkeys(devices))
    out.print(f"{path.stem}: {len(cells)} cells, {len(todo)} to run, {len(devices)} workers on {where}, {folder}")
    for line in option_lines(cells):
        out.print(line)
    if dry_run:
        for line in plan_lines(cells, runner.estimate(folder, cells, devices[0]), len(devices)):
            out.print(line)
        return
    if chosen:
        description += f"\nOverridden: {', '.join(chosen)}."
    note.print("preparing datasets, extractors and noise floors …")
    listed = matrices.expand(config)  # the tables know the whole matrix, whatever part of it runs here
    runner.prepare(folder, path.stem, description, config, listed, cells, devices[0])
    if todo:
        with Display(len(todo), min(len(devices), len(todo))) as display:
            local.run(todo, folder, devices, 1, display.event, fail_fast)
    found = [state for state in runner.states(folder) if state["key"] in {cell.key for cell in cells}]
    out.print(f"{path.stem}: {runner.count(found)}")
    if any(state["status"] not in FINISHED for state in found):
        raise typer.Exit(1)


@app.command()
def status(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="Print every cell's state as JSON.")] = False,
) -> None:
    """Show the state of every cell: what is done, running, missing, and what failed and why."""
    folder = result_set(results, matrix)
    from benchmark import runner

    found = runner.states(folder)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    out.print(f"{folder.name}: {len(found)} cells: {runner.count(found)}")
    for state in found:
        if state["status"] != "done":
            reason = f": {state['reason']}" if state["reason"] else ""
            out.print(f"  {state['status']:12} {state['key']}{reason}")


for verb in (tables, plots, report, compare, check, accept, merge, sample):
    app.command()(verb)


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="An experiment; none: all of them.")] = "",
    results: Annotated[Path, typer.Option("--results", help="Folder for tables and figures.")] = Path(
        "results/explain"
    ),
) -> None:
    """Run small exact experiments that show why an objective behaves as it does."""
    from benchmark import explain as module

    if name and name not in module.names():
        raise unknown("experiment", name, module.names())
    for experiment in [name] if name else module.names():
        started = time.perf_counter()
        finding = module.run(experiment, results)
        out.print(f"{experiment} ({time.perf_counter() - started:.1f} s): {finding}")
        out.print(f"  {results / experiment}.csv, .png")


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"ganbench {__version__}")
        raise typer.Exit


def main() -> None:
    """The console script: a user's mistake is one line and exit code 2, Ctrl-C 130."""
    try:
        if (code := app(prog_name="ganbench", standalone_mode=False)) == 130:  # what typer makes of a Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except UserError as error:
        print(f"ganbench: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a file or folder that cannot be read or written
        where = error.filename2 or error.filename  # of two, the one written to
        where = f"{where}: " if where else ""
        print(f"ganbench: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("ganbench: interrupted; run again to continue with the cells not yet committed", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what typer says of a wrong command line
            raise
        if message := error.format_message():  # empty where it has printed the help
            print(f"ganbench: {message} (see ganbench --help)", file=sys.stderr)
        sys.exit(2)


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UserError(f"--shard takes i/n with 1 ≤ i ≤ n, such as 2/8, not {text!r}")
    return int(part), int(parts)


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
