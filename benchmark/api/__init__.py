"""ganbench from Python: the public names, imported as `ganbench`.

    import ganbench

    cells = ganbench.cells("quick", only="objective=wgan_gp seed=0")
    for snapshot in ganbench.train(cells[0]):
        print(snapshot.g_steps, snapshot.train_seconds)

    summary = ganbench.run("quick", only="seed=0", jobs=2)
    results = ganbench.load(summary.folder)
    print(results.scores)
    print(results.compare("wgan_gp", "wgan_fdgp"))

All names are resolved when they are used: `import ganbench` loads neither torch nor pandas. A
script that calls `run` needs the guard `if __name__ == "__main__":`, because worker processes
import the script again.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import __version__
from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.api.results import Results
    from benchmark.matrix.cell import Cell
    from benchmark.matrix.options import Matrix
    from benchmark.run.measure_again import Measured
    from benchmark.run.options import RunOptions
    from benchmark.run.reporter import Reporter, Summary
    from benchmark.train.snapshot import Snapshot

__all__ = [
    "Cell",
    "Matrix",
    "Results",
    "RunOptions",
    "Snapshot",
    "Summary",
    "UserError",
    "__version__",
    "add_variants",
    "audit",
    "cells",
    "load",
    "measure",
    "run",
    "train",
]

# Public classes → the modules that define them
_CLASSES = {
    "Cell": "benchmark.matrix.cell",
    "Matrix": "benchmark.matrix.options",
    "Results": "benchmark.api.results",
    "RunOptions": "benchmark.run.options",
    "Snapshot": "benchmark.train.snapshot",
    "Summary": "benchmark.run.reporter",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


def add_variants(folder: str | Path) -> None:
    """Add a folder with objectives/, architectures/ or datasets/ of your own, for this process and
    all that it starts. Raises UserError for a folder that cannot be used."""
    import variants

    try:
        variants.add_folder(_path(folder, "folder"))
    except variants.VariantError as error:
        raise UserError(str(error)) from error


def cells(
    matrix: "str | Path | Matrix", only: str = "", overrides: Sequence[str] = ()
) -> "list[Cell]":
    """The cells of a matrix: the name of a shipped one, the path of a TOML file, or a Matrix.

    only: conditions such as "objective=wgan_gp seed=0". overrides: options of the matrix file that
    are changed, such as "training.steps=200". Raises UserError."""
    from benchmark.matrix.expand import expand
    from benchmark.matrix.files import open_matrix

    return expand(open_matrix(matrix, list(overrides)).config, _text(only, "only"))


def train(cell: "Cell", device: str = "cpu", execution: str = "auto") -> "Iterator[Snapshot]":
    """Train one cell and measure nothing. Yields a snapshot at the start, at every log interval and
    when an evaluation is due; the training clock stops while a snapshot is handed out.
    Raises UserError for a device that is not here and an unknown execution."""
    from benchmark.errors import unknown
    from benchmark.machine.devices import devices_of
    from benchmark.matrix.cell import Cell
    from benchmark.train.execution.modes import MODES
    from benchmark.train.loop import train as train_cell

    if not isinstance(cell, Cell):
        raise UserError(f"train takes a cell of ganbench.cells, not {cell!r}")
    if execution not in ("auto", *MODES):
        raise unknown("execution mode", execution, ["auto", *MODES])
    return train_cell(cell, devices_of(_text(device, "device"), 1)[0], execution=execution)


def run(
    matrix: "str | Path | Matrix",
    results: str | Path = "results/runs",
    reporter: "Reporter | None" = None,
    **options: Any,
) -> "Summary":
    """Run a matrix as `ganbench run` does, into results/MATRIX. Returns the status of every cell.

    options: the fields of RunOptions, such as only="seed=0", jobs=4, device="cuda", force=True.
    reporter: its methods are called with the progress of the run; without one nothing is
    printed. Raises UserError."""
    from benchmark.errors import unknown
    from benchmark.run.options import RunOptions
    from benchmark.run.session import run_matrix

    valid = [field.name for field in fields(RunOptions)]
    for name in options:
        if name not in valid:
            raise unknown("option", name, valid)
    _look_around()
    return run_matrix(matrix, RunOptions(**options), _path(results, "results"), reporter)


def measure(
    folder: str | Path,
    device: str = "cpu",
    *,
    only: str = "",
    force: bool = False,
    note: Callable[[str], object] = lambda text: None,
) -> "Measured":
    """Measure the finished cells of a result set again whose measurements are stale or incomplete,
    as `ganbench measure` does. Raises UserError."""
    from benchmark.machine.devices import devices_of
    from benchmark.run.measure_again import measure_again

    _look_around()
    device = devices_of(_text(device, "device"), 1)[0]
    only = _text(only, "only")
    return measure_again(_path(folder, "folder"), device, only=only, force=force, note=note)


def audit(
    matrix: "str | Path | Matrix",
    folder: str | Path,
    device: str = "cpu",
    *,
    overrides: Sequence[str] = (),
    note: Callable[[str], object] = lambda text: None,
) -> Path:
    """Plant faults in real samples of every dataset of a matrix, measure each with every metric as
    the matrix measures it, and write what the metrics see into a folder, as `ganbench audit` does.
    Returns the page. Raises UserError."""
    from benchmark.machine.devices import devices_of
    from benchmark.measure.audit.run import audit_datasets
    from benchmark.report import audit_page

    _look_around()
    place = devices_of(_text(device, "device"), 1)[0]
    found = audit_datasets(cells(matrix, overrides=overrides), place, note)
    return audit_page.write(_path(folder, "folder"), *found)


def load(folder: str | Path) -> "Results":
    """The results of a matrix: the folder of its result set, such as results/runs/quick. Raises
    UserError."""
    from benchmark.api.results import Results

    return Results(_path(folder, "folder"))


def _look_around() -> None:
    """What the command line does before a verb: check the variables, and find a home folder."""
    from benchmark.machine.home import provide_home
    from variants import _variables

    try:
        _variables.check()
        provide_home()
    except _variables.VariableError as error:
        raise UserError(str(error)) from error


def _path(value: object, name: str) -> Path:
    if isinstance(value, str | os.PathLike) and str(value).strip():
        return Path(value)
    raise UserError(f"{name} takes the path of a folder, not {value!r}")


def _text(value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    raise UserError(f"{name} takes a string, not {value!r}")
