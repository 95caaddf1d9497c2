"""`ganbench VERB`: one verb per stage. A user's mistake is one line on stderr and exit code 2."""

import ast
import json
import sys
from collections import Counter
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import variants
from benchmark import __version__
from benchmark.cli.results import (
    RESULTS,
    MatrixOption,
    ResultsOption,
    accept,
    check,
    compare,
    export,
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
from benchmark.errors import UserError, unknown
from benchmark.store.result_set import FINISHED, cell_status, read_protocols
from benchmark.train.execution.modes import MODES

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
        table = Table(
            "name", "what it is", title=axis, title_justify="left", box=None, padding=(0, 2)
        )
        for name in variants.names(axis):
            table.add_row(name, _first_line(Path(variants.__file__).parent / axis / f"{name}.py"))
        out.print(table)
    table = Table(
        "name", "what it is", title="matrices", title_justify="left", box=None, padding=(0, 2)
    )
    for path in sorted((Path(__file__).parent.parent / "matrices").glob("*.toml")):
        table.add_row(path.stem, path.read_text().partition("\n")[0].lstrip("# "))
    out.print(table)


@app.command()
def run(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    only: Annotated[
        str, typer.Option(help='Cells to run, e.g. "objective=wgan_gp architecture=dcgan seed=0".')
    ] = "",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override, e.g. training.steps=200.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print cells, options and estimated cost; stop.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Run all cells anew; if that is interrupted, run without --force to continue it.",
        ),
    ] = False,
    retry_errors: Annotated[
        bool,
        typer.Option("--retry-errors", help="Run cells that ended in an error or took too long."),
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Start no cell after the first error.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds that each cell may take; 0: no limit.")
    ] = 0,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait", help="Leave cells to another run that has them now (exit code 1 if any)."
        ),
    ] = False,
    checkpoint_every: Annotated[
        float, typer.Option(min=0, help="Seconds between two checkpoints of a cell.")
    ] = 60,
    jobs: Annotated[
        int, typer.Option(help="Cells at a time; 0: one per GPU, else one per CPU core.")
    ] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a local worker.")] = 1,
    shard: Annotated[
        str, typer.Option(help="i/n: the i-th of n parts of the cells, i from 1.")
    ] = "1/1",
    engine: Annotated[str, typer.Option(help="Where cells run: local or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Ray: the cluster, e.g. auto; default: one started here.")
    ] = None,
    cpus: Annotated[
        float | None, typer.Option("--cpus-per-cell", help="Ray: CPUs of a cell; default 1.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option("--gpus-per-cell", help="Ray: share of a GPU; default 1.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:0,cuda:1, or mps (untested).")
    ] = "auto",
    execution: Annotated[
        str,
        typer.Option(
            help=f"How cells train: auto, {', '.join(MODES)}; auto: eager on a CPU, graphed on CUDA."
        ),
    ] = "auto",
    stack: Annotated[
        str,
        typer.Option(
            help="Seeds trained as one model: auto, where measured to pay, or a number; 1: none (local engine)."
        ),
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, tf32 or bf16; default: the matrix's.")
    ] = "",
) -> None:
    """Run the cells of a matrix that are not committed yet; unfinished ones go on from their
    checkpoints."""
    from benchmark.matrix import expand as matrices

    part, parts = _shard(shard)
    if engine not in ("local", "ray"):
        raise unknown("engine", engine, ["local", "ray"])
    for flag, value in (("address", address), ("cpus-per-cell", cpus), ("gpus-per-cell", gpus)):
        if engine == "local" and value is not None:
            raise UserError(f"--{flag} {value} is for --engine ray")
    if engine == "ray" and threads != 1:
        raise UserError(
            f"--threads {threads} is for --engine local; on Ray a cell has as many as --cpus-per-cell"
        )
    chosen = [*(overrides or []), *([f"training.precision={precision}"] if precision else [])]
    if execution not in ("auto", *MODES):
        raise unknown("execution mode", execution, ["auto", *MODES])
    if stack != "auto" and not (stack.isdecimal() and int(stack)):
        raise unknown("stack", stack, ["auto", "a number of seeds from 1"])
    if engine == "ray" and stack not in ("auto", "1"):
        raise UserError(
            f"--stack {stack} is for --engine local; on Ray every seed trains by itself"
        )
    path = matrices.find(matrix)
    config, description = matrices.read(path, chosen)
    listed = matrices.expand(
        config
    )  # the tables know the whole matrix, whatever part of it runs here
    cells = {
        cell.key: cell
        for cell in (matrices.expand(config, only) if only else listed)[part - 1 :: parts]
    }

    from benchmark.cli.progress import Display, option_lines, plan_lines
    from benchmark.machine.devices import devices_of
    from benchmark.run import prepare
    from benchmark.run.driver import drive
    from benchmark.run.engines import local
    from benchmark.run.engines.base import Pool, Task
    from benchmark.run.ownership import renew
    from benchmark.run.queue import learned
    from benchmark.run.stack_size import stack_size
    from benchmark.store.code import is_stale
    from benchmark.store.locks import alone
    from benchmark.store.overview import counted

    # Plan
    devices = devices_of(device if engine == "local" or device == "cpu" else "auto", jobs)
    where = (
        "Ray"
        if engine == "ray"
        else f"{len(devices)} workers on {', '.join(dict.fromkeys(devices))}"
    )
    folder = writable(results / path.stem, "--results")
    known = {key: cell_status(folder, key) for key in cells}
    todo = prepare.pending(cells, known, force, retry_errors)
    out.print(f"{path.stem}: {len(cells)} cells, {len(todo)} to run, {where}, {folder}")
    for line in option_lines([*cells.values()]):
        out.print(line)
    if dry_run:
        estimates = prepare.estimate(cells, known, devices[0])
        for line in plan_lines(
            [*cells.values()], estimates, len(devices) if engine == "local" else None
        ):
            out.print(line)
        return
    hashes: dict[Any, str] = {}
    kept = [
        key
        for key in cells.keys() - todo.keys()
        if known[key]["status"] in FINISHED
        and is_stale(
            known[key], {"evaluation_hash": cells[key].evaluation_hash}, cells[key].spec, hashes
        )
    ]
    if kept:
        note.print(
            f"{len(kept)} committed cells are stale (other code or evaluation): kept; --force runs them anew"
        )
    if chosen:
        description += f"\nOverridden: {', '.join(chosen)}."

    # Prepare
    pool: Pool
    if engine == "ray" and todo:
        from benchmark.run.engines import ray

        cpus, gpus = (1.0 if cpus is None else cpus), gpus or 0.0  # 0: a whole one
        pool = ray.Pool(folder, address, device, jobs, cpus, gpus, checkpoint_every, execution)
    else:
        pool = local.Pool(folder, devices[: len(todo)], threads, checkpoint_every, execution)
    with closing(pool):
        note.print("preparing datasets, extractors and noise floors …")
        with alone(folder):
            there = read_protocols(folder)
            needed = [
                cell
                for key, cell in cells.items()
                if key in todo or cell.dataset.label not in there
            ]
            prepare.prepare(folder, path.stem, description, config, listed, needed, devices[0])

        # Run
        tasks = [Task(cell, known[key].get("attempt")) for key, cell in todo.items()]
        for task in tasks if force else []:
            renew(folder, task)
        seconds = learned((cell.spec, known[key]) for key, cell in cells.items())
        stopped = False
        with Display(len(tasks), pool.capacity()) as display:
            try:
                limits: dict[str, Any] = {
                    "timeout": timeout,
                    "fail_fast": fail_fast,
                    "wait": not no_wait,
                }
                asked = "1" if engine == "ray" else stack
                stacked = partial(stack_size, device=devices[0], execution=execution, asked=asked)
                drive(tasks, pool, folder, display.event, known=seconds, stack=stacked, **limits)
            except KeyboardInterrupt:
                stopped = True

    # Say what there is
    for key in todo.keys() - display.ended.keys():
        known[key] = cell_status(folder, key)  # another run has it, or nobody
    found = {key: display.ended.get(key) or known[key].get("status", "missing") for key in cells}
    done = sum(status in FINISHED for status in found.values())
    if stopped:
        line = (
            f"{done} of {len(cells)} cells are committed, the others go on from their checkpoints"
        )
        again = "again without --force" if force else "again"
        print(f"ganbench: interrupted; run {again} to continue: {line}", file=sys.stderr)
        sys.exit(130)
    out.print(f"{path.stem}: {counted(Counter(found.values()))}")
    if done < len(cells):
        raise typer.Exit(1)


@app.command()
def status(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the state of the matrix and its cells as JSON.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it live, until nothing is left to run.")
    ] = False,
) -> None:
    """Show the state of every cell: what is done, running, missing, what failed and why, and the
    time left."""
    folder = result_set(results, matrix)
    from benchmark.cli import status as status_page
    from benchmark.store import overview as module

    if watch:
        if as_json or not out.is_terminal:
            raise UserError(
                "--watch draws on a terminal; without one, call `ganbench status --json` again and again"
            )
        with suppress(KeyboardInterrupt):
            status_page.watch(folder, out)
        return
    now = module.Reader(folder).overview()
    if as_json:
        print(json.dumps(now, indent=1, allow_nan=False))
        return
    for line in status_page.lines(now):
        out.print(line)


for verb in (tables, plots, report, compare, check, accept, merge, sample, export):
    app.command()(verb)


@app.command()
def explain(
    name: Annotated[str | None, typer.Argument(help="An experiment; none: all of them.")] = None,
    full: Annotated[bool, typer.Option("--full", help="At the literature's size: hours.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Cases at a time; 0: one per CPU core.")] = 0,
    results: Annotated[
        Path, typer.Option("--results", help="Folder for tables, figures and the page.")
    ] = Path("results/explain"),
) -> None:
    """Run small exact experiments that show why an objective behaves as it does, and write them as
    one page."""
    from benchmark.explain import entries
    from benchmark.explain import runner as module
    from benchmark.report import explain_page as _page

    if name is not None and name not in entries.names():
        raise unknown("experiment", name, entries.names())
    chosen = entries.names() if name is None else [name]
    folder = writable(results, "--results")
    for experiment, entry in module.run(chosen, folder, full, jobs):
        out.print(f"{experiment} ({entry['seconds']:.0f} s of a core): {entry['finding']}")
        page = _page.write(folder)
    out.print(f"{page}")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"ganbench {__version__}")
        raise typer.Exit


def main() -> None:
    """The console script: a user's mistake is one line and exit code 2, Ctrl-C 130."""
    try:
        if (
            code := app(prog_name="ganbench", standalone_mode=False)
        ) == 130:  # what typer makes of a Ctrl-C
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
        print(
            "ganbench: interrupted; run again to continue with what is not yet committed",
            file=sys.stderr,
        )
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
