"""…"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.errors import DamagedError, UserError
from variants._files import whole_file

SCHEMA = 1


# Files: written whole or not at all; reading never writes.


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write by temporary file, fsync and os.replace, with the schema number."""
    write_bytes(
        path, (json.dumps({"schema": SCHEMA, **value}, indent=1, default=str) + "\n").encode()
    )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new one, never a part."""
    with whole_file(path) as file:
        file.write(content)


def read_bytes(path: Path) -> bytes | None:
    """The content of a file; None where there is none. Raises UserError for one that cannot be
    read: it may be whole, so it is no DamagedError, after which a cell would run again."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; an empty dict where there is none."""
    content = read_bytes(path)
    if content is None:
        return {}
    try:
        value = json.loads(content)
    except ValueError as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: not a table")
    if value.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {value.get('schema')!r}; this version reads {SCHEMA}")
    return value


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to a JSONL file. NaN and infinities stay what they are (JSON's extension, as
    Python reads it)."""
    with path.open("a") as file:
        file.writelines(json.dumps({"schema": SCHEMA, **row}) + "\n" for row in rows)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file; a last line cut short by a crash is left out. Raises UserError for
    a damaged line."""
    for number, line in enumerate((read_bytes(path) or b"").split(b"\n")[:-1], 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise DamagedError(f"{path}, line {number} is damaged: {error}") from error
