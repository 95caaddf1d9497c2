"""Options and consoles that several verbs share."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from benchmark.errors import UserError, nearest

if TYPE_CHECKING:
    from benchmark.analysis.tables import Tables

RESULTS = Path("results/runs")

out = Console(highlight=False, markup=False, soft_wrap=True)
note = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def named_path(text: str | Path) -> Path:
    """The parser of every option that names a file or folder. A blank value is refused: it is a
    variable of the shell that is not set, and would mean the working directory."""
    if not str(text).strip():
        raise typer.BadParameter("is blank; give a path, such as . for the working directory")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise typer.BadParameter(f"{text}: there is no home folder") from error


def _add_variants(folders: list[Path] | None) -> list[Path] | None:
    """Add folders of variants before the verb begins. Raises VariantError for a folder that cannot
    be used, of GANBENCH_VARIANTS too: without its files every cell would seem to be stale."""
    import variants

    for axis in variants.AXES:
        variants.names(axis)
    for folder in folders or []:
        variants.add_folder(folder)
    return folders


def among(values: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """The completion of an option or argument that takes one of some values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values() if value.startswith(incomplete)]

    return complete


def _matrices(incomplete: str) -> list[str]:
    """Shipped matrices, and the folders and .toml files that a path begins."""
    from benchmark.matrix.files import names

    folder, _, _ = incomplete.rpartition("/")
    paths = [
        path for path in Path(folder or ".").glob("*") if path.is_dir() or path.suffix == ".toml"
    ]
    ends = [f"{path}/" if path.is_dir() else str(path) for path in sorted(paths)]
    return among(lambda: [*names(), *ends])(incomplete)


def stored(axis: str) -> Callable[[typer.Context, str], list[str]]:
    """The completion of what a result set holds: values of an axis, or `key`."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        from benchmark.matrix.files import name_of
        from benchmark.store.layout import ResultSet

        given = context.params
        folder = Path(given.get("results") or RESULTS) / name_of(given.get("matrix") or "quick")
        results = ResultSet(folder)
        entries = results.matrix.cells if results.exists else []
        return among(lambda: dict.fromkeys(getattr(entry, axis) for entry in entries))(incomplete)

    return complete


MatrixOption = Annotated[
    str,
    typer.Option(
        "--matrix",
        help="Name of a shipped matrix, or path of a .toml file.",
        autocompletion=_matrices,
    ),
]
ResultsOption = Annotated[
    Path,
    typer.Option("--results", help="Folder of all result sets.", parser=named_path, metavar="PATH"),
]
# Its callback does everything: the verbs do not read their parameter
VariantsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--variants",
        help="Folder with objectives/, architectures/ or datasets/ of your own; may be repeated. "
        "GANBENCH_VARIANTS names such folders, too.",
        callback=_add_variants,
        parser=named_path,
        metavar="PATH",
        is_eager=True,
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0 or mps (untested).")]
OnlyOption = Annotated[str, typer.Option(help='Cells, such as "objective=wgan_gp seed=0".')]


def command(verb: str, matrix: str, results: Path) -> str:
    """`ganbench VERB` of a result set, to be copied into a shell."""
    words = ["ganbench", verb, "--matrix", matrix]
    if results != RESULTS:
        words += ["--results", str(results)]
    return shlex.join(words)


def result_set(results: Path, matrix: str) -> Path:
    """The result set of a matrix, named or by its file. Raises UserError if there is none, and
    where another matrix of the same name made it."""
    from benchmark.matrix.files import is_shipped, name_of
    from benchmark.store.layout import ResultSet
    from benchmark.store.origin import check_named

    folder = results / name_of(matrix)
    if not ResultSet(folder).exists:
        known = sorted(path.parent.name for path in results.glob("*/matrix.json"))
        hint = nearest(folder.name, known)
        message = (
            f"no results of matrix {matrix!r} in {results}{hint}; "
            f"there are: {', '.join(known) or 'none'}"
        )
        if is_shipped(matrix) or Path(matrix).is_file():
            message += f"; `{command('run', matrix, results)}` makes them"
        raise UserError(message)
    check_named(ResultSet(folder), matrix)
    return folder


def tables_of(folder: Path) -> "Tables":
    """The tables of a result set; of cells that are left out, because their files are damaged, a
    note. Raises UserError."""
    from benchmark.analysis.tables import load

    tables = load(folder)
    if tables.damaged:
        first = tables.damaged[0]
        note.print(f"damaged cells that count as missing: {len(tables.damaged)}: {first}")
    return tables


def set_names(folders: Sequence[str]) -> list[str]:
    """What tells result folders apart: their paths without the parts at both ends that are alike.

    Raises UserError for a folder named twice, however it is written."""
    resolved = [Path(folder).resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if resolved.count(path) > 1:
            raise UserError(f"{folder} is named twice: compare takes different result sets")
    parts = [Path(folder).parts for folder in folders]
    head = _num_alike(parts)
    tail = _num_alike([part[head:][::-1] for part in parts])
    names = [str(Path(*part[head : len(part) - tail])) for part in parts]
    is_clear = len(set(names)) == len(names) and "." not in names
    return names if is_clear else list(map(str, folders))


def _num_alike(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all paths begin with."""
    num_alike = 0
    for column in zip(*parts, strict=False):
        if any(first != second for first, second in pairwise(column)):
            break
        num_alike += 1
    return num_alike
