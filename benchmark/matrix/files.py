"""Matrix files: the names of the shipped ones, reading, and the overrides of `--set`."""

import itertools
import os
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import UserError, unknown
from benchmark.matrix.options import BUDGETS, Matrix, validated
from benchmark.matrix.select import name_and_value

FOLDER = Path(__file__).parent.parent / "matrices"
LONGEST_NAME = 200  # bytes; a file system takes 255, and names of files are made of the name


# Where a paragraph of the head begins: before `Cost:`, `Expect, from single runs:` and the like
PARAGRAPH = re.compile(r"^(?=[A-Z]\w*(?:, [^.:]+| \([^)]*\))?: )", re.MULTILINE)


class Loaded(NamedTuple):
    """What a matrix file holds."""

    matrix: Matrix

    description: str
    """The comment that begins the file."""


def names() -> list[str]:
    """The matrices that ship with the suite."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def is_shipped(name_or_path: str) -> bool:
    """Whether a matrix ships with the suite."""
    return name_or_path in names()


def name_of(name_or_path: str) -> str:
    """The name of a matrix, which is that of its file and of the folder of its results. Raises
    UserError for a name that no folder can have."""
    name = Path(name_or_path).name.removesuffix(".toml")
    is_long = len(name.encode(errors="replace")) > LONGEST_NAME
    if not name.strip(" .") or not name.isprintable() or is_long:
        raise UserError(
            f"matrix {name_or_path!r}: its results have no folder of that name; a name has 1 to "
            f"{LONGEST_NAME} bytes, all printable, and a letter or digit"
        )
    return name


def find(name_or_path: str) -> Path:
    """The file of a matrix, by the name of a shipped one or by its path. Raises UserError if there
    is none."""
    if is_shipped(name_or_path):
        return FOLDER / f"{name_or_path}.toml"
    own = Path(os.path.expanduser(name_or_path))
    if own.suffix == ".toml" and own.is_file():
        return own
    raise unknown("matrix", name_or_path, [*names(), "or the path of a .toml file"])


def read(path: Path, overrides: list[str] | None = None) -> Loaded:
    """Read and validate a matrix file. overrides: of `--set`, such as "training.steps=200". Raises
    UserError for a file that cannot be read and for a mistake in it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: {error}") from error
    for override in overrides or []:
        _override(raw, override)
    return Loaded(validated(Matrix, raw, path.name), description_of(text))


class OpenMatrix(NamedTuple):
    """A matrix that was read."""

    config: Matrix
    name: str
    description: str

    file: Path | None = None
    """The file of a matrix that does not ship with the suite."""


def open_matrix(matrix: str | Path | Matrix, overrides: list[str]) -> OpenMatrix:
    """A matrix by the name of a shipped one, by the path of a file, or as it is. Raises
    UserError."""
    if isinstance(matrix, Matrix):
        if overrides:
            raise UserError("overrides are for a matrix file; change the Matrix itself")
        return OpenMatrix(matrix, "matrix", "")
    path = find(str(matrix))
    config, description = read(path, overrides)
    if overrides:
        description += f"\nOverridden: {', '.join(overrides)}."
    file = None if is_shipped(str(matrix)) else path
    return OpenMatrix(config, name_of(str(matrix)), description, file)


def description_of(text: str) -> str:
    """The comment that begins the text of a matrix file."""
    comment = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return "\n".join(line.lstrip("# ") for line in comment)


def cost_of(description: str) -> str:
    """What the head of a matrix says of its cost, on one line; the empty string where it says
    nothing."""
    for paragraph in PARAGRAPH.split(description):
        if paragraph.startswith("Cost: "):
            return " ".join(paragraph.split()).removeprefix("Cost: ")
    return ""


def _override(raw: dict[str, Any], override: str) -> None:
    """Set one option of a matrix before it is validated."""
    name, value = name_and_value(override, "--set")
    path = name.strip().split(".")
    tables = _tables_with_training(raw)
    table: Any = raw
    for part in path[:-1]:
        if isinstance(table, dict):
            table.setdefault(part, {})
        table = table[_key(table, part, override)]
        if not isinstance(table, dict | list):
            raise UserError(f"--set {override}: {part!r} is not a table")
    table[_key(table, path[-1], override)] = _parsed(value)
    if path[0] == "training" and len(path) > 1:
        _drop_overridden(raw["training"], tables, path[1])


def _key(table: dict[str, Any] | list[Any], part: str, override: str) -> str | int:
    """The name of an option in a table; in a list the position, from 0."""
    if isinstance(table, dict):
        return part
    if part.isdecimal() and int(part) < len(table):
        return int(part)
    valid = f"valid: 0 to {len(table) - 1}"
    raise UserError(f"--set {override}: the list has no position {part!r}; {valid}")


def _parsed(value: str) -> Any:
    """A value in TOML; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _drop_overridden(training: dict[str, Any], tables: list[dict[str, Any]], option: str) -> None:
    """Remove what an overridden training option replaces: other budgets, and the same option in the
    training of datasets and architectures."""
    replaced = BUDGETS if option in BUDGETS else (option,)
    for name in replaced:
        if name != option:
            training.pop(name, None)
        for table in tables:
            table["training"].pop(name, None)


def _tables_with_training(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """The datasets and architectures of an unvalidated matrix that have training options of their
    own."""
    values = [raw.get("datasets"), raw.get("architectures")]
    for entry in raw.get("include") or []:
        if isinstance(entry, dict):
            values.append(list(entry.values()))
    tables = []
    for several in values:
        for value in several if isinstance(several, list) else []:
            if isinstance(value, dict) and isinstance(value.get("training"), dict):
                tables.append(value)
    return tables
