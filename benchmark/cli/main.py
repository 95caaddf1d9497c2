"""`ganbench VERB`: one verb per stage. A mistake of the user is one line on stderr and exit
code 2."""

import atexit
import gc
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from benchmark import __version__
from benchmark.cli.check import accept, check, history, verify
from benchmark.cli.help import epilog, help_of
from benchmark.cli.listing import list_names
from benchmark.cli.options import (
    RESULTS,
    MatrixOption,
    ResultsOption,
    VariantsOption,
    among,
    command,
    named_path,
    out,
    result_set,
)
from benchmark.cli.results import compare, export, merge, plots, report, sample, tables
from benchmark.cli.run import audit, explain, measure, run
from benchmark.cli.streams import open_standard_streams
from benchmark.errors import UserError
from benchmark.text import one_line, printable

app = typer.Typer(
    name="ganbench",
    help=(
        "Benchmark GAN objectives: which objective, on which architecture, how fast, how good, how "
        "reliably?"
    ),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(""),
    pretty_exceptions_enable=False,
)


def status(
    matrix: MatrixOption = "quick",
    results: ResultsOption = RESULTS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the state of the matrix and its cells as JSON.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it live, until nothing is left to run.")
    ] = False,
    variants: VariantsOption = None,
) -> None:
    """Show the state of every cell: what is done, running, missing, what failed and why, and the
    time left."""
    from benchmark.cli import status as page
    from benchmark.store.reader import Reader

    folder = result_set(results, matrix)
    if watch:
        if as_json or not out.is_terminal:
            raise UserError(
                "--watch draws on a terminal; without one, call `ganbench status --json` again and "
                "again"
            )
        with suppress(KeyboardInterrupt):
            page.watch(folder, out)
    now = Reader(folder).overview()
    if as_json:
        print(json.dumps(now.plain(), indent=1, allow_nan=False))
        return
    if not watch:
        for line in page.lines(now):
            out.print(line)
    out.print(page.report_line(now, command("report", matrix, results)))


def new(
    axis: Annotated[
        str,
        typer.Argument(
            help="objective, architecture or dataset.",
            autocompletion=among(lambda: ("objective", "architecture", "dataset")),
        ),
    ],
    name: Annotated[str, typer.Argument(help="Name of the variant and of its file.")],
    folder: Annotated[
        Path,
        typer.Option(
            "--variants",
            help="Folder of your own variants; made if missing.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = Path("my_variants"),
) -> None:
    """Write the first file of a variant of your own, and a test for it."""
    from benchmark.cli.scaffold import scaffold

    for path in scaffold(axis, name, folder):
        out.print(f"{path}")
    out.print(f"next: pytest {folder}/tests, ganbench list --variants {folder}")


# By what they are for
VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "What there is": {"list": list_names, "new": new, "help": help_of},
    "Train and measure": {"run": run, "status": status, "measure": measure, "merge": merge},
    "Results": {"report": report, "tables": tables, "plots": plots, "compare": compare},
    "Regressions": {"check": check, "accept": accept, "history": history, "verify": verify},
    "Other tools": {"sample": sample, "export": export},
    "Understand": {"explain": explain, "audit": audit},
}
for purpose, verbs in VERBS.items():
    for name, verb in verbs.items():
        text = " ".join((verb.__doc__ or "").split())
        app.command(name, help=text, epilog=epilog(name), rich_help_panel=purpose)(verb)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"ganbench {__version__}")
        raise typer.Exit


def script() -> None:
    """The console script: `main` in a process of its own. The garbage collector looks through all
    objects of pandas several times as they are imported, and once more at the end: about a sixth of
    what `check` costs."""
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    main()


def main() -> None:
    """Call a verb: a mistake of the user is one line and exit code 2, Ctrl-C is 130."""
    output = open_standard_streams()
    try:
        _call()
    except SystemExit as end:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if output and output.error and not end.code:
            fail(f"standard output: {output.error.strerror}")
        raise


def _call() -> None:
    """Call the verb of the command line. Raises SystemExit with its exit code."""
    from variants import VariantError
    from variants._variables import VariableError

    try:
        _look_around()
        code = app(prog_name="ganbench", standalone_mode=False)
        if code == 130:
            # What typer makes of a Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except (UserError, VariantError, VariableError) as error:
        fail(str(error))
    except OSError as error:
        # A file or folder that cannot be read or written; of two, the one written to
        where = error.filename2 or error.filename
        reason = error.strerror or str(error)
        fail(f"{where}: {reason}" if where else reason)
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted; run again to continue with what is not finished yet", 130)
    except Exception as error:
        # What typer says of a wrong command line; empty if it has printed the help
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()
        if message:
            fail(f"{message} (see ganbench --help)")
        sys.exit(2)


def _look_around() -> None:
    """What every verb needs of its surroundings: a command line that is text, variables that can be
    used, and a home folder."""
    from benchmark.machine.home import provide_home
    from variants import _variables

    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            name = os.fsencode(argument).decode(errors="backslashreplace")
            raise UserError(
                f"{name}: the name is no text in {sys.getfilesystemencoding()}; rename the "
                "file, or use a locale of UTF-8, such as LC_ALL=C.UTF-8"
            ) from error
    for text in _variables.unknown():
        print(f"ganbench: {text}", file=sys.stderr)
    _variables.check()
    provide_home()


def fail(message: str, code: int = 2) -> None:
    """End with one line on stderr."""
    print(f"ganbench: {one_line(printable(message))}", file=sys.stderr)
    sys.exit(code)
