"""Options and consoles that several verbs share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from benchmark.errors import UserError

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


MatrixOption = Annotated[
    str, typer.Option("--matrix", help="Name of a shipped matrix, or path of a .toml file.")
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


def result_set(results: Path, matrix: str) -> Path:
    """The result set of a matrix, named or by its file. Raises UserError if there is none, and
    where another matrix of the same name made it."""
    from benchmark.matrix.files import name_of
    from benchmark.store.layout import ResultSet
    from benchmark.store.origin import check_named

    folder = results / name_of(matrix)
    if not ResultSet(folder).exists:
        known = sorted(path.parent.name for path in results.glob("*/matrix.json"))
        raise UserError(
            f"no results of matrix {matrix!r} in {results}; there are: {', '.join(known) or 'none'}"
        )
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
