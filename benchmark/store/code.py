"""…"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.matrix.cell import Cell, cell_from_spec

ROOT = Path(__file__).resolve().parent.parent.parent


# Provenance


SOURCES = ("train", "train/execution", "measure")  # the folders that a cell's numbers come from


def code_hash(cell: Cell) -> str:
    """The hash of the code a cell's numbers come from: its variants' files with the variants they
    import, and the step, train and measure modules.

    It stands beside the key, not in it: edited code shows as stale and throws no result away."""
    files = [ROOT / "benchmark/matrix/values.py"]
    files += [
        path for folder in SOURCES for path in sorted((ROOT / "benchmark" / folder).glob("*.py"))
    ]
    critic = cell.architecture.params.get("critic", cell.architecture.name)
    for folder, name in (
        ("objectives", cell.objective.name),
        ("architectures", cell.architecture.name),
        ("architectures", critic["name"] if isinstance(critic, dict) else critic),
        ("datasets", cell.dataset.name),
    ):
        files += _with_imports(ROOT / f"variants/{folder}/{name}.py")
    return _hash_files(tuple(dict.fromkeys(files)))


@cache
def _with_imports(file: Path) -> list[Path]:
    """A variant's file and those of variants/ that it imports, and they import."""
    found = [file]
    for path in found:  # grows as it is read
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.startswith("variants.")
            ):
                stem = ROOT / node.module.replace(
                    ".", "/"
                )  # a module, or a folder and modules in it
                named = [stem / f"{alias.name}.py" for alias in node.names]
                candidates = [stem.with_suffix(".py"), stem / "__init__.py", *named]
                found += [file for file in candidates if file.exists() and file not in found]
    return found


@cache
def _hash_files(files: tuple[Path, ...]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


State = dict[str, Any]


def is_stale(
    status: State, entry: dict[str, Any], spec: dict[str, Any], hashes: dict[Any, str]
) -> bool:
    """Whether other code or evaluation options than the present made a cell. `hashes` keeps the
    code's, by variants."""
    if status.get("evaluation_hash") != entry.get("evaluation_hash"):
        return True
    try:
        cell = cell_from_spec({"norm": "auto", **spec})
        variants = (cell.objective, cell.architecture, cell.dataset)
        if variants not in hashes:
            hashes[variants] = code_hash(cell)
    except (OSError, KeyError, TypeError, ValueError):
        # The file of a variant is gone, or another version wrote the spec
        return True
    return status.get("code") != hashes[variants]
