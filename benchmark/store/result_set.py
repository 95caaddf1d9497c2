"""…"""

import json
import os
from pathlib import Path
from typing import Any

from benchmark.errors import DamagedError, UserError
from benchmark.store.files import read_json, write_json

FINISHED = ("done", "diverged")  # the states that are results; divergence is one
SETTLED = (
    *FINISHED,
    "error",
    "timeout",
)  # left alone by the next run; of these only errors may be asked for again


def read_stored(path: Path) -> dict[str, Any]:
    """The content of a JSON file of a results folder, without its schema number, with what `stored`
    asks of a file of this name; an empty dict where there is none. Raises DamagedError for another
    content."""
    from pydantic import ValidationError

    from benchmark.store.schema import FILES

    value = read_json(path)
    value.pop("schema", None)
    try:
        if value:
            FILES[path.stem].validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise DamagedError(
            f"{path} is not a {path.stem} file of this version: {at}: {reason}"
        ) from error
    return value


def read_matrix(folder: Path) -> dict[str, Any]:
    """The matrix.json of a results folder: name, hash, config, and its cells. Raises UserError for
    a folder without one, for a file that is none, and for a cell's key that is no plain file name
    or occurs twice."""
    matrix = read_stored(folder / "matrix.json")
    if not matrix:
        raise UserError(
            f"no matrix.json in {folder}: not the results of a matrix; `ganbench run` writes them"
        )
    return matrix


def read_protocols(folder: Path) -> dict[str, Any]:
    """The protocols.json of a results folder: protocol and floor by dataset."""
    return read_stored(folder / "protocols.json")


def cell_status(folder: Path, key: str) -> dict[str, Any]:
    """The committed status of a cell of a results folder; empty, so that the cell runs again, for a
    missing one, for a damaged file, for the folder of another cell, and for a finished cell whose
    evaluations are gone or cut short."""
    path = folder / "cells" / key
    try:
        status = read_stored(path / "status.json")
    except DamagedError:
        return {}
    whole = status.get("status") not in FINISHED or _has_evaluations(path / "evals.jsonl", status)
    return status if whole and status.get("key", key) == key else {}


def _has_evaluations(path: Path, status: dict[str, Any]) -> bool:
    """Whether the rows of a finished cell go to its end: of a done one to the samples that its
    status counts; one that diverged may have ended before its first. Looks at the end of the file
    alone."""
    done = status["status"] == "done"
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            *rows, rest = file.read().split(b"\n")
    except FileNotFoundError:
        return not done
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if rest or not rows:
        return not (rest or done)
    try:
        seen = json.loads(rows[-1])["samples_seen"]
        return bool(seen == status["samples_seen"] if done else seen <= status["samples_seen"])
    except (ValueError, KeyError, TypeError):
        return False


def commit_status(path: Path, status: dict[str, Any]) -> None:
    """Write the last status.json of a cell's folder, its rows first on the disk: a status never
    says more than they."""
    for file in path.glob("*.jsonl"):
        with file.open("rb") as rows:
            os.fsync(rows.fileno())
    write_json(path / "status.json", status)
