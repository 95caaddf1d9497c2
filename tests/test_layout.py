"""The house: folders in the order of the pipeline, one direction of imports, small files."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from benchmark.store.code import ROOT

# A folder imports only what stands left of it; folders of one group may import each other's left
GROUPS = (
    "errors text stats metrics",
    "matrix store machine",
    "train measure",
    "analysis check drawing",
    "run explain export report",
    "api cli __main__",
)
ORDER = [name for group in GROUPS for name in group.split()]
TORCH_FREE = "errors text stats metrics store analysis check drawing report api cli"
PANDAS_FREE = "errors text metrics matrix machine train measure run"
PANDAS = {"pandas", "seaborn", "matplotlib"}
# Packages whose files lie in results/
FROM_RESULTS = (
    "benchmark.check.baselines",
    "benchmark.explain.reference",
    "benchmark.report.audit",
)
MAX_FILES = 12  # Python files of a folder, without __init__.py
MAX_LINES = 300
RECORDS = ROOT / "benchmark/store/schema.py"  # a list of fields with their meaning may be longer
MAX_FUNCTION = 55
SOURCES = [*sorted((ROOT / "benchmark").rglob("*.py")), *sorted((ROOT / "variants").rglob("*.py"))]


def part_of(file: Path) -> str:
    return file.relative_to(ROOT / "benchmark").parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether it is imported when the module is) of every import of a file."""
    tree = ast.parse(file.read_bytes())
    at_import = {id(node) for node in _at_import_time(tree.body)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                (f"{node.module}.{name.name}", id(node) in at_import) for name in node.names
            )
        elif isinstance(node, ast.Import):
            yield from ((name.name, id(node) in at_import) for name in node.names)


def _at_import_time(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if (isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING") or isinstance(
            node, ast.Try
        ):
            yield from _at_import_time(node.body)


@pytest.mark.parametrize("file", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_in_one_direction(file: Path) -> None:
    for name, at_import in imports(file):
        package, *rest = name.split(".")
        if "variants" in file.relative_to(ROOT).parts[:1]:
            assert package != "benchmark", "variants/ knows nothing of the suite"
            continue
        part = part_of(file)
        if package == "benchmark" and rest and rest[0] in ORDER and part in ORDER:
            assert ORDER.index(rest[0]) <= ORDER.index(part), f"{part} imports {rest[0]}"
        if at_import and package in ("torch", "torchvision"):
            assert part not in TORCH_FREE.split(), f"{part} imports torch"
        if package in PANDAS:
            assert part not in PANDAS_FREE.split(), f"{part}, on the run path, imports {package}"


def test_every_folder_has_its_place() -> None:
    parts = {part_of(file) for file in SOURCES if file.is_relative_to(ROOT / "benchmark")}
    assert parts - {"__init__"} == set(ORDER)


def test_folders_and_files_are_small() -> None:
    folders: dict[Path, int] = {}
    for file in SOURCES:
        lines = len(file.read_text(encoding="utf-8").splitlines())
        assert lines <= MAX_LINES or file == RECORDS, f"{file} has {lines} lines"
        if file.name != "__init__.py" and file.is_relative_to(ROOT / "benchmark"):
            folders[file.parent] = folders.get(file.parent, 0) + 1
    for folder, num_files in folders.items():
        assert num_files <= MAX_FILES, f"{folder} has {num_files} files"


@pytest.mark.parametrize("file", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short_and_without_nonlocal(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_bytes())):
        assert not isinstance(node, ast.Nonlocal)
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            signature = node.body[0].lineno - node.lineno
            assert length - signature <= MAX_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("file", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_names_its_encoding(file: Path) -> None:
    """Otherwise the locale decides."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if not isinstance(node, ast.Call):
            continue
        names = {keyword.arg for keyword in node.keywords}
        called = ast.unparse(node.func)
        if called.endswith((".read_text", ".write_text")):
            assert "encoding" in names, ast.unparse(node)
        # A zip has bytes alone
        if called == "open" or (
            called.endswith(".open") and _mode(node) and "archive" not in called
        ):
            assert "b" in (_mode(node) or "") or "encoding" in names, ast.unparse(node)
        if called.startswith("subprocess."):
            assert not {"text", "universal_newlines"} & names or "encoding" in names


def _mode(call: ast.Call) -> str | None:
    """The mode of a call that opens a file; None for a call without one."""
    values = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    for value in values:
        if isinstance(value, ast.Constant) and re.fullmatch("[rwax][bt+]{0,2}", str(value.value)):
            return str(value.value)
    return "r" if any(word.arg == "newline" for word in call.keywords) else None


def test_the_wheel_has_every_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for package in ("benchmark", "variants")
        for file in (ROOT / package).rglob("__init__.py")
    }
    assert set(listed) == {*folders, *FROM_RESULTS, "ganbench"}


STUDIES = [file.stem for file in sorted((ROOT / "tests/studies").glob("[!_]*.py"))]


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_can_be_started(name):
    import_module(f"tests.studies.{name}")
