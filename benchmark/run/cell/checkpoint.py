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
from pydantic import TypeAdapter
from torch.utils._pytree import tree_map_only

from benchmark.store.files import open_file, read_bytes, whole_file, write_bytes
from benchmark.store.layout import CellFolder
from benchmark.store.schema import Status
from benchmark.train.snapshot import CellState

FORMAT = 3  # of what a checkpoint holds
ZIP = b"PK"  # how what torch saves begins
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


ADAPTER = TypeAdapter(Checkpoint)


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
        content = read_bytes(file)
        if content is None:
            continue
        value = _loaded(content)
        changed = [key for key, made in made_by.items() if value["made_by"].get(key) != made]
        if value["made_by"] and changed:
            unused[file.name] = f"is of other {' and '.join(changed)}"
            continue
        checkpoint = _parsed(value)
        if checkpoint is None:
            unused[file.name] = "is damaged"
            continue
        damaged = list(_damaged_rows(files, checkpoint))
        if damaged:
            unused[file.name] = f"does not fit {', '.join(damaged)}"
            continue
        return checkpoint, unused
    return None, unused


def _loaded(content: bytes) -> dict[str, Any]:
    """The tensors and plain values of a file, with a table `made_by`, which is empty for a damaged
    file and for one that holds something else, such as one that was not written here."""
    nothing: dict[str, Any] = {"made_by": {}}
    body = memoryview(content)[HEAD:]
    is_whole = hashlib.sha256(body).hexdigest().encode() == content[: HEAD - 1]
    if not is_whole or bytes(body[:2]) != ZIP:
        return nothing
    try:
        # Torch unpickles tensors and plain values alone
        value = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    # torch raises many kinds of error
    except Exception:
        return nothing
    is_table = isinstance(value, dict) and isinstance(value.get("made_by"), dict)
    return value if is_table else nothing


def _parsed(value: dict[str, Any]) -> Checkpoint | None:
    """The checkpoint of a table; None for one that lacks a part."""
    try:
        checkpoint = ADAPTER.validate_python(value)
        CellState.from_plain(checkpoint.training)
        Status.model_validate(checkpoint.status)
    except (TypeError, ValueError, KeyError):
        return None
    return checkpoint


def checkpoints(files: CellFolder) -> tuple[Path, Path]:
    """The files of both checkpoints, the newest first."""
    return files.checkpoint, files.former_checkpoint


def cut_rows(files: CellFolder, checkpoint: Checkpoint) -> None:
    """Drop the rows that were written after a checkpoint."""
    for file in files.rows:
        if file.exists():
            length, _ = checkpoint.rows.get(file.name, (0, ""))
            # A new file, and not a shorter one: the old one may have other names elsewhere
            write_bytes(file, (read_bytes(file) or b"")[:length])


def drop_checkpoints(files: CellFolder) -> None:
    """Remove the checkpoints of a cell."""
    for file in checkpoints(files):
        file.unlink(missing_ok=True)


def _damaged_rows(files: CellFolder, checkpoint: Checkpoint) -> Iterator[str]:
    names = {file.name for file in files.rows}
    for name, (length, sha256) in checkpoint.rows.items():
        if name not in names or _digest(files.path / name, length) != sha256:
            yield name


def _digest(file: Path, length: int) -> str:
    """The sha256 of the first bytes of a file, which then are on the disk; empty if the file has
    fewer."""
    if not file.exists():
        return ""
    with open_file(file) as rows:
        content = rows.read(length)
        os.fsync(rows.fileno())
    return hashlib.sha256(content).hexdigest() if len(content) == length else ""
