"""The hash of the code that a cell's numbers come from: of its meaning, not of its wording."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import variants
from benchmark.matrix import recall
from benchmark.matrix.cell import Cell
from benchmark.store.schema import Spec, Status

ROOT = Path(__file__).resolve().parent.parent.parent
TRAINING = ("benchmark/train", "benchmark/train/execution", "benchmark/matrix/pairs.py")
MEASURING = ("benchmark/measure",)
EMPTY: tuple[object, ...] = (
    None,
    [],
    "",
)  # fields that some versions of Python write and others leave out


def training_code(cell: Cell | Spec) -> str:
    """12 hex digits of the sha256 of the code that trains a cell: the folder train/, the files of
    its variants, and the files of variants/ that these import.

    The hash stands next to the key and is no part of it: results of other code are marked as stale
    and never thrown away. Raises VariantError for a variant whose file is gone."""
    chosen = variants_of(cell)

    def find() -> str:
        files = {variants.origin(axis, name) for axis, name in chosen}
        return _hash((*files_of(TRAINING), *_with_imports(tuple(sorted(files)), "variants")))

    known: str = recall.answer("training_code", [chosen], find)
    return known


def variants_of(cell: Cell | Spec) -> tuple[tuple[str, str], ...]:
    """(axis, name) of every variant that a cell is made of; a critic of another architecture is a
    variant of its own."""
    critic = cell.architecture.params.get("critic", cell.architecture.name)
    if isinstance(critic, dict):
        critic = critic.get("name")
    return (
        ("objectives", cell.objective.name),
        ("architectures", cell.architecture.name),
        # a damaged spec may have anything, of which there is no variant
        ("architectures", str(critic)),
        ("datasets", cell.dataset.name),
    )


def measuring_code(modality: str) -> str:
    """12 hex digits of the sha256 of the code that measures a modality: its file in measure/, the
    files of measure/ that this imports, and instrument.py, which imports all modalities."""
    folder = ROOT / MEASURING[0]

    def find() -> str:
        files = _with_imports((folder / f"{modality}.py",), "benchmark.measure")
        return _hash((*files, folder / "instrument.py"))

    known: str = recall.answer("measuring_code", [modality], find)
    return known


def code_of(places: tuple[str, ...]) -> str:
    """12 hex digits of the sha256 of the code in folders and files of the checkout."""
    return _hash(files_of(places))


class CodeHashes:
    """The hashes of the present code, each computed once."""

    def __init__(self) -> None:
        self._training: dict[object, str | None] = {}  # by variants
        self._measuring: dict[str, str] = {}  # by modality

    def is_stale(self, status: Status, evaluation_hash: str | None, cell: Cell | Spec) -> bool:
        """Whether other code or other evaluation options trained a cell than the present ones."""
        if status.evaluation_hash != evaluation_hash:
            return True
        return status.code != self.training(cell)

    def is_measured_by_other_code(self, status: Status, modality: str) -> bool:
        """Whether other code measured a cell than the present one."""
        if modality not in self._measuring:
            self._measuring[modality] = measuring_code(modality)
        return status.measuring_code != self._measuring[modality]

    def training(self, cell: Cell | Spec) -> str | None:
        """The hash of the code that would train a cell now; None if the file of a variant is gone,
        and for the spec of a later version."""
        if isinstance(cell, Spec) and cell.is_of_a_later_version:
            return None
        chosen = variants_of(cell)
        if chosen not in self._training:
            try:
                self._training[chosen] = training_code(cell)
            except (OSError, ValueError):
                self._training[chosen] = None
        return self._training[chosen]


@cache
def definitions(file: Path) -> list[str]:
    """The statements of a module as text that depends neither on comments, docstrings, imports and
    layout nor on the version of Python."""
    tree = ast.parse(file.read_bytes())
    return [_meaning(statement) for statement in tree.body if not _is_silent(statement)]


@cache
def _imports(file: Path) -> list[ast.Import | ast.ImportFrom]:
    """The imports anywhere in a module."""
    nodes = ast.walk(ast.parse(file.read_bytes()))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def _meaning(node: object) -> str:
    """A syntax tree as text."""
    if isinstance(node, list):
        return f"[{' '.join(_meaning(item) for item in node if not _is_silent(item))}]"
    if isinstance(node, ast.Constant):
        return f"Constant({node.value!r})"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [
        f"{name}={_meaning(value)}" for name, value in ast.iter_fields(node) if value not in EMPTY
    ]
    return f"{type(node).__name__}({' '.join(fields)})"


def _is_silent(node: object) -> bool:
    """Whether a statement has no meaning of its own: an import, or a string such as a docstring."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return isinstance(node.value.value, str)
    return False


@cache
def _hash(files: tuple[Path, ...]) -> str:
    """The hash of all definitions in sorted order: a definition may move from file to file."""
    found = sorted(text for file in files for text in definitions(file))
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]


@cache
def files_of(places: tuple[str, ...]) -> tuple[Path, ...]:
    """The modules of folders and files of the checkout."""
    files: list[Path] = []
    for name in places:
        place = ROOT / name
        files += sorted(place.glob("*.py")) if place.is_dir() else [place]
    return tuple(files)


@cache
def _with_imports(first: tuple[Path, ...], package: str) -> tuple[Path, ...]:
    """Files, and the files of a package that they import, and that these import."""
    files = list(first)
    for file in files:  # grows while it is read
        for found in _imported(file, package):
            if found not in files:
                files.append(found)
    return tuple(files)


def _imported(file: Path, package: str) -> Iterator[Path]:
    """The files of a package that a module imports anywhere in it."""
    for node in _imports(file):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_in(alias.name, package):
                    yield from _files(_places(alias.name), [])
        else:
            names = [alias.name for alias in node.names]
            module = node.module or ""
            if node.level:
                folder = file.parents[node.level - 1]
                yield from _files([folder.joinpath(*module.split("."))], names)
            elif _is_in(module, package):
                yield from _files(_places(module), names)


def _is_in(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def _files(places: list[Path], names: list[str]) -> Iterator[Path]:
    """The files that an import may mean: a module, a package, or modules of a package."""
    for place in places:
        modules = [place / f"{name}.py" for name in names]
        for candidate in (place.with_suffix(".py"), place / "__init__.py", *modules):
            if candidate.exists():
                yield candidate


def _places(module: str) -> list[Path]:
    """Where a module or package may lie, without its suffix: variants lie in several folders."""
    first, *rest = module.split(".")
    if first == "variants" and rest:
        return [Path(folder).joinpath(*rest[1:]) for folder in variants.search_path(rest[0])]
    return [ROOT.joinpath(first, *rest)]
