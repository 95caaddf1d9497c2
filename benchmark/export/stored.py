"""What an export reads of a cell: sheets of samples and rows, whole and as they were committed."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from benchmark.errors import DamagedError
from benchmark.store.files import read_bytes, rows_of
from benchmark.store.layout import CellFolder
from benchmark.store.schema import Status
from benchmark.text import described

StoredRow = dict[str, Any]


def sheets_of(files: CellFolder, after: int) -> dict[int, Path]:
    """The sheets of samples beyond a generator step, by step. A link is none: it may lead to any
    file. Raises DamagedError for a file that is no picture of a usual size."""
    sheets = {}
    for path in sorted(files.samples.glob("*.png")):
        if not path.stem.isdecimal() or path.is_symlink() or int(path.stem) <= after:
            continue
        sheets[int(path.stem)] = path
        try:
            with Image.open(io.BytesIO(read_bytes(path) or b""), formats=["PNG"]) as image:
                image.verify()
        # PIL raises many kinds of error
        except Exception as error:
            raise DamagedError(f"{path} is damaged: {described(error)}") from error
    return sheets


def rows_of_cell(
    files: CellFolder, path: Path, status: Status, **required: type
) -> list[StoredRow]:
    """The rows of a JSONL file of a cell. Raises DamagedError where one lacks a required field, and
    for a file that is not as it was committed."""
    try:
        rows = list(rows_of(path, files.content(path, status)))
    except FileNotFoundError:
        return []
    for name, kind in required.items():
        if not all(isinstance(row.get(name), kind) for row in rows):
            raise DamagedError(f"{path} is damaged: a row has no {name}")
    return rows
