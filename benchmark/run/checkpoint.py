"""Checkpoints of an unfinished cell: whole or not there, checksummed, safe to load. The one before
is kept as well."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from benchmark.errors import UserError
from benchmark.store.files import whole_file

NAMES = ("checkpoint.pt", "checkpoint.before.pt")
ROWS = ("steps.jsonl", "evals.jsonl", "layers.jsonl")


def row_lengths(path: Path) -> dict[str, int]:
    """The bytes of every file of rows of a cell's folder: where a checkpoint taken now would cut
    them."""
    return {name: (path / name).stat().st_size if (path / name).exists() else 0 for name in ROWS}


def save_checkpoint(path: Path, value: dict[str, Any], lengths: dict[str, int]) -> None:
    """Save what a cell continues from: tensors and plain values, and what its rows were up to these
    lengths. The rows reach the disk first."""
    rows = {
        name: (length, _digest(path / name, length)) for name, length in lengths.items() if length
    }
    buffer = io.BytesIO()
    torch.save(tree_map_only(torch.Tensor, _by_itself, value) | {"rows": rows}, buffer)
    new, before = (path / name for name in NAMES)
    if new.exists():
        os.replace(new, before)
    with whole_file(new) as file:
        file.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode() + b"\n")
        file.write(buffer.getbuffer())


def _by_itself(tensor: torch.Tensor) -> torch.Tensor:
    """A part of a larger tensor, as those of a stack's cells are, without the rest, which would be
    saved with it."""
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


def load_checkpoint(
    path: Path, made_by: dict[str, Any]
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The newest checkpoint of a cell's folder that is whole, fits its rows and was `made_by` the
    same; None where there is none. And the others, by name, with why they were passed over. Raises
    UserError for a file that cannot be read."""
    passed = {}
    for name in NAMES:
        try:
            content = (path / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError(f"{path / name} cannot be read: {error.strerror}") from error
        body = memoryview(content)[65:]
        if hashlib.sha256(body).hexdigest().encode() != content[:64]:
            passed[name] = "is damaged"
            continue
        value = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        changed = [key for key, made in made_by.items() if value["made_by"].get(key) != made]
        damaged = [
            row
            for row, (length, sha256) in value["rows"].items()
            if _digest(path / row, length) != sha256
        ]
        if changed:
            passed[name] = f"is of other {' and '.join(changed)}"
        elif damaged:
            passed[name] = f"does not fit {', '.join(damaged)}"
        else:
            return value, passed
    return None, passed


def cut_rows(path: Path, value: dict[str, Any]) -> None:
    """Drop the rows written after a checkpoint."""
    for name in ROWS:
        if (path / name).exists():
            os.truncate(path / name, value["rows"].get(name, (0, ""))[0])


def drop_checkpoints(path: Path) -> None:
    """Remove a cell's checkpoints: it is committed."""
    for name in NAMES:
        (path / name).unlink(missing_ok=True)


def _digest(file: Path, length: int) -> str:
    """The sha256 of a file's first bytes, which are then on the disk; empty where it has fewer."""
    if not file.exists():
        return ""
    with file.open("rb") as rows:
        content = rows.read(length)
        os.fsync(rows.fileno())
    return hashlib.sha256(content).hexdigest() if len(content) == length else ""
