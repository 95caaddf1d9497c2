"""Files of a result set: written whole or not at all. Reading never writes."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.errors import DamagedError, UserError
from variants._files import whole_file

if TYPE_CHECKING:
    from pydantic import BaseModel

SCHEMA = 1
Kind = TypeVar("Kind", bound="BaseModel")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write by temporary file, fsync and os.replace, with the schema number."""
    text = json.dumps({"schema": SCHEMA, **value}, indent=1, default=str)
    write_bytes(path, f"{text}\n".encode())


def write_record(path: Path, record: "BaseModel") -> None:
    """Write the fields of a record that were set, as `write_json` does."""
    write_json(path, record.model_dump(exclude_unset=True))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new one, never a part."""
    with whole_file(path) as file:
        file.write(content)


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to a JSONL file. NaN and infinities stay what they are (Python's extension of
    JSON)."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"schema": SCHEMA, **row}) + "\n" for row in rows)


def read_bytes(path: Path) -> bytes | None:
    """The content of a file; None without a file. Raises UserError for a file that cannot be read:
    not DamagedError, after which a cell would run again, because the file may be whole."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file with its schema number; an empty dict without a file. Raises
    DamagedError for a file that is no JSON object, UserError for another schema."""
    content = read_bytes(path)
    if content is None:
        return {}
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: not a table")
    if value.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {value.get('schema')!r}; this version reads {SCHEMA}")
    return value


def read_record(path: Path, kind: type[Kind]) -> Kind | None:
    """The record that a JSON file holds; None without a file. Raises DamagedError for a file that
    holds something else."""
    content = read_json(path)
    if not content:
        return None
    del content["schema"]
    with validating(path):
        return kind.model_validate(content)


@contextmanager
def validating(path: Path) -> Iterator[None]:
    """Turns the first error of pydantic into a DamagedError that names file and field."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise DamagedError(
            f"{path} is not a {path.stem} file of this version: {field}: {reason}"
        ) from error


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file; a last line that a crash truncated is left out. Raises DamagedError
    for a damaged line."""
    lines = (read_bytes(path) or b"").split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{path}, line {number} is damaged: {error}") from error


def check_writable(folder: Path, option: str) -> Path:
    """A folder that exists or can be made; returns it and writes nothing. Raises UserError, naming
    the option, for a folder that cannot be written to."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise UserError(f"{option}: {existing} is not a folder that can be written to")
    return folder
