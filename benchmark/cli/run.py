"""The verbs that train or measure: run, measure, explain."""

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import (
    RESULTS,
    DeviceOption,
    MatrixOption,
    OnlyOption,
    ResultsOption,
    VariantsOption,
    among,
    command,
    named_path,
    note,
    out,
    result_set,
)
from benchmark.errors import unknown

# The options of `run` by what they are for: panels of its help
_which = partial(typer.Option, rich_help_panel="Which cells")
_again = partial(typer.Option, rich_help_panel="Failures and restarts")
_where = partial(typer.Option, rich_help_panel="Where cells run")
_how = partial(typer.Option, rich_help_panel="How cells train")

ENGINES = ("local", "ray")
EXECUTIONS = ("auto", "eager", "traced", "compiled", "graphed", "compiled_graphed")
PRECISIONS = ("float32", "tf32", "bf16")


def run(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    only: OnlyOption = "",
    overrides: Annotated[
        list[str] | None,
        _which("--set", help="Override, such as training.steps=200; may be repeated."),
    ] = None,
    shard: Annotated[str, _which(help="i/n: the i-th of n parts of the cells, i from 1.")] = "1/1",
    variants: VariantsOption = None,
    dry_run: Annotated[
        bool,
        _which("--dry-run", help="Print cells, options, missing data and cost; run nothing."),
    ] = False,
    memory: Annotated[
        bool, _which("--memory", help="Also print the memory of a training step; run nothing.")
    ] = False,
    force: Annotated[
        bool,
        _again(
            "--force",
            help="Run all cells from the start; if that is interrupted, continue without --force.",
        ),
    ] = False,
    retry_errors: Annotated[
        bool, _again("--retry-errors", help="Run cells that ended in an error or took too long.")
    ] = False,
    fail_fast: Annotated[
        bool, _again("--fail-fast", help="Start no cell after the first error.")
    ] = False,
    timeout: Annotated[
        float, _again(min=0, help="Seconds that each cell may take; 0: no limit.")
    ] = 0,
    no_wait: Annotated[
        bool,
        _again(
            "--no-wait",
            help="Skip cells that another process is running (exit code 1 if there are any).",
        ),
    ] = False,
    checkpoint_every: Annotated[
        float, _again(min=0, help="Seconds between two checkpoints of a cell.")
    ] = 60,
    jobs: Annotated[int, _where(help="Cells at a time; 0: one per GPU, or one per CPU core.")] = 0,
    threads: Annotated[int, _where(min=1, help="Threads of a local worker.")] = 1,
    device: Annotated[
        str, _where(help="auto, cpu, cuda, cuda:0,cuda:1, or mps (untested).")
    ] = "auto",
    engine: Annotated[
        str,
        _where(help="Where cells run: local or ray.", autocompletion=among(lambda: ENGINES)),
    ] = "local",
    address: Annotated[
        str | None,
        _where(help="Ray: the cluster, such as auto; default: one started here."),
    ] = None,
    cpus: Annotated[
        float | None, _where("--cpus-per-cell", help="Ray: CPUs of a cell; default 1.")
    ] = None,
    gpus: Annotated[
        float | None, _where("--gpus-per-cell", help="Ray: share of a GPU; default 1.")
    ] = None,
    execution: Annotated[
        str,
        _how(
            help="How cells train: auto, eager, traced, compiled, graphed or compiled_graphed; "
            "auto: the quickest way measured on a CPU, graphed on CUDA.",
            autocompletion=among(lambda: EXECUTIONS),
        ),
    ] = "auto",
    stack: Annotated[
        str,
        _how(
            help="Seeds trained as one model: auto (if measured to pay) or a number; 1: none "
            "(local engine)."
        ),
    ] = "auto",
    precision: Annotated[
        str,
        _how(
            help="float32, tf32 or bf16; default: the matrix's.",
            autocompletion=among(lambda: PRECISIONS),
        ),
    ] = "",
) -> None:
    """Run the cells of a matrix that are not finished; unfinished ones resume from their
    checkpoints."""
    from benchmark.cli.progress import Display, option_lines, plan_lines
    from benchmark.run.options import RunOptions
    from benchmark.run.session import Session

    options = RunOptions(
        only=only,
        overrides=tuple(overrides or ()),
        force=force,
        retry_errors=retry_errors,
        fail_fast=fail_fast,
        timeout=timeout,
        wait=not no_wait,
        checkpoint_every=checkpoint_every,
        jobs=jobs,
        threads=threads,
        shard=shard,
        engine=engine,
        address=address,
        cpus_per_cell=cpus,
        gpus_per_cell=gpus,
        device=device,
        execution=execution,
        stack=stack,
        precision=precision,
    )
    session = Session(matrix, options, results)
    out.print(session.headline)
    print_lines(option_lines([*session.cells.values()]))
    if dry_run:
        print_lines(plan_lines(session))
    if memory:
        from benchmark.train.step_memory import memory_lines

        print_lines(memory_lines(session.cells.values()))
    if dry_run or memory:
        return
    summary = session.run(Display())
    if summary.interrupted:
        again = "again without --force" if force else "again"
        print(
            f"ganbench: interrupted; run {again} to continue: {summary.num_finished} of "
            f"{len(summary.statuses)} cells are finished, the others resume from their "
            "checkpoints",
            file=sys.stderr,
        )
        sys.exit(130)
    out.print(summary.line)
    note.print(f"next: {command('report', matrix, results)}")
    if not summary.is_complete:
        raise typer.Exit(1)


def measure(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    only: OnlyOption = "",
    variants: VariantsOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Measure every finished cell again.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Measure finished cells again whose measurements are stale or incomplete, from their stored
    final generators. Earlier evaluations keep the values they have."""
    from benchmark.machine.devices import devices_of
    from benchmark.run.measure_again import measure_again

    folder = result_set(results, matrix)
    place = devices_of(device, 1)[0]
    done = measure_again(folder, place, only=only, force=force, note=note.print)
    print_lines(done.lines)
    if done.failed:
        raise typer.Exit(1)


def audit(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; default: the set's audit/.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    variants: VariantsOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Plant faults in real samples of every dataset of a matrix and say which metric sees which
    fault, from which share on."""
    from benchmark import api
    from benchmark.matrix.files import name_of
    from benchmark.store.files import check_writable
    from benchmark.store.layout import ResultSet

    folder = output or ResultSet(results / name_of(matrix)).audit
    target = check_writable(folder, "--output" if output else "--results")
    page = api.audit(matrix, target, device, note=note.print)
    out.print(f"{page}")


def _experiments() -> list[str]:
    from benchmark.explain import entries

    return entries.names()


def explain(
    name: Annotated[
        str | None,
        typer.Argument(
            help="An experiment; none: all of them.", autocompletion=among(_experiments)
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="At the literature's size: hours.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Cases at a time; 0: one per CPU core.")] = 0,
    results: Annotated[
        Path,
        typer.Option(
            "--results",
            help="Folder for tables, figures and the page.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = Path("results/explain"),
    variants: VariantsOption = None,
) -> None:
    """Run small experiments that show why an objective behaves as it does; writes one
    page."""
    from benchmark.explain import entries, runner
    from benchmark.report import explain_page
    from benchmark.store.files import check_writable

    names = entries.names()
    if name is not None and name not in names:
        raise unknown("experiment", name, names)
    chosen = names if name is None else [name]
    folder = check_writable(results, "--results")
    page = folder
    for experiment, entry in runner.run(chosen, folder, full, jobs):
        out.print(f"{experiment} ({entry.seconds:.0f} s of a core): {entry.finding}")
        page = explain_page.write(folder)
    out.print(f"{page}")


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        out.print(line)
