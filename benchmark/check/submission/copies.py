"""Copies: runs that two submissions hold. A run that is repeated on the same kind of machine has
equal values, and other training seconds."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.check.submission.checks import named
from benchmark.errors import UserError
from benchmark.store.files import read_bytes, rows_of


def copies(folders: Sequence[Path]) -> dict[Path, list[str]]:
    """Folder of a submission → a reason for each other one that holds the same runs."""
    holders: dict[str, dict[Path, str]] = defaultdict(dict)
    for folder in folders:
        for key, sha256 in _runs(folder):
            holders[sha256][folder] = key
    shared: dict[Path, dict[Path, list[str]]] = defaultdict(lambda: defaultdict(list))
    for keys in holders.values():
        for folder, key in keys.items():
            for other in keys.keys() - {folder}:
                shared[folder][other].append(key)
    reasons: dict[Path, list[str]] = defaultdict(list)
    for folder, others in shared.items():
        for other, same in sorted(others.items()):
            fault = f"the evaluations are those of {other}, seconds included:"
            reasons[folder].append(f"{fault} {named(sorted(same))}")
    return reasons


def _runs(folder: Path) -> Iterator[tuple[str, str]]:
    """Key and hash of the evaluations of every run that was trained for a while. What cannot be
    read is refused by its own rule."""
    for file in sorted(folder.glob("cells/*/evals.jsonl")):
        try:
            content = read_bytes(file) or b""
            has_trained = any(row.get("train_seconds") for row in rows_of(file, content))
        except (UserError, OSError, ValueError):
            continue
        if has_trained:
            yield file.parent.name, hashlib.sha256(content).hexdigest()
