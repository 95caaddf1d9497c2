"""Checkpoints of an unfinished cell: whole or not there, checksummed, safe to load. The checkpoint
before the last is kept as well."""

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from benchmark.errors import UserError
from benchmark.store.files import whole_file
from benchmark.store.layout import CellFolder

FORMAT = 3  # of what a checkpoint holds
HEAD = 65  # bytes: the sha256 of the rest in hex digits, and a line feed
RowLengths = dict[str, int]  # bytes of every file of rows, by name


@dataclass
class Checkpoint:
    """What a cell is resumed from: tensors and plain values."""

    training: dict[str, Any]
    """The CellState of the training, plain."""

    status: dict[str, Any]
    """The Status at that moment, plain."""

    handled: bool
    """Whether the rows of the snapshot are written."""

    reference_times: list[float]
    """Times of the reference workload so far, in milliseconds."""

    made_by: dict[str, Any]
    """What a checkpoint must share with the present run to be resumed."""

    rows: dict[str, tuple[int, str]] = field(default_factory=dict)
    """File of rows → its length in bytes, and the sha256 of so many bytes."""


def row_lengths(files: CellFolder) -> RowLengths:
    """The lengths of the files of rows now: where a checkpoint taken now would cut them."""
    return {file.name: file.stat().st_size if file.exists() else 0 for file in files.rows}


def save_checkpoint(files: CellFolder, checkpoint: Checkpoint, lengths: RowLengths) -> None:
    """Save a checkpoint, after the rows that it counts on have reached the disk."""
    for name, length in lengths.items():
        if length:
            checkpoint.rows[name] = (length, _digest(files.path / name, length))
    buffer = io.BytesIO()
    torch.save(tree_map_only(torch.Tensor, _alone, vars(checkpoint)), buffer)
    if files.checkpoint.exists():
        os.replace(files.checkpoint, files.former_checkpoint)
    with whole_file(files.checkpoint) as file:
        file.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode() + b"\n")
        file.write(buffer.getbuffer())


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor without the rest of its storage, which would be saved with it: the tensors of the
    cells of a stack share storage."""
    is_part = tensor.untyped_storage().nbytes() > tensor.nbytes
    return tensor.clone() if is_part else tensor


def load_checkpoint(
    files: CellFolder, made_by: dict[str, Any]
) -> tuple[Checkpoint | None, dict[str, str]]:
    """The newest checkpoint of a cell that is whole, fits its rows and was `made_by` the same; None
    if there is none. And the others, by name, with why they were not used. Raises UserError for a
    file that cannot be read."""
    unused = {}
    for file in checkpoints(files):
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}") from error
        body = memoryview(content)[HEAD:]
        if hashlib.sha256(body).hexdigest().encode() != content[: HEAD - 1]:
            unused[file.name] = "is damaged"
            continue
        value = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        changed = [key for key, made in made_by.items() if value["made_by"].get(key) != made]
        if changed:
            unused[file.name] = f"is of other {' and '.join(changed)}"
            continue
        checkpoint = Checkpoint(**value)
        damaged = list(_damaged_rows(files, checkpoint))
        if damaged:
            unused[file.name] = f"does not fit {', '.join(damaged)}"
            continue
        return checkpoint, unused
    return None, unused


def checkpoints(files: CellFolder) -> tuple[Path, Path]:
    """The files of both checkpoints, the newest first."""
    return files.checkpoint, files.former_checkpoint


def cut_rows(files: CellFolder, checkpoint: Checkpoint) -> None:
    """Drop the rows that were written after a checkpoint."""
    for file in files.rows:
        if file.exists():
            length, _ = checkpoint.rows.get(file.name, (0, ""))
            os.truncate(file, length)


def drop_checkpoints(files: CellFolder) -> None:
    """Remove the checkpoints of a cell."""
    for file in checkpoints(files):
        file.unlink(missing_ok=True)


def _damaged_rows(files: CellFolder, checkpoint: Checkpoint) -> Iterator[str]:
    for name, (length, sha256) in checkpoint.rows.items():
        if _digest(files.path / name, length) != sha256:
            yield name


def _digest(file: Path, length: int) -> str:
    """The sha256 of the first bytes of a file, which then are on the disk; empty if the file has
    fewer."""
    if not file.exists():
        return ""
    with file.open("rb") as rows:
        content = rows.read(length)
        os.fsync(rows.fileno())
    return hashlib.sha256(content).hexdigest() if len(content) == length else ""
