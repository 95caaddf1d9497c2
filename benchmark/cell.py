"""One cell of a matrix: its spec, key, folder, random streams, atomic files and the hash of its code."""

import ast
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from benchmark import UserError

SCHEMA = 1
ROOT = Path(__file__).resolve().parent.parent
FINISHED = ("done", "diverged")  # the states that are results; divergence is one
SETTLED = (*FINISHED, "error", "timeout")  # left alone by the next run; of these only errors may be asked for again


class DamagedError(UserError):
    """A result file that cannot be read."""


@dataclass(frozen=True)
class Choice:
    """A value on an axis: the variant's name, its non-default parameters, and where its data lies (no part of its
    identity: a path on one machine)."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.label, _plain(self.where)))

    @property
    def label(self) -> str:
        """`wgan_fdgp[pairs=independent]`: the name everywhere, group key and colour key."""
        inside = ",".join(f"{key}={_plain(value)}" for key, value in sorted(self.params.items()))
        return f"{self.name}[{inside}]" if inside else self.name


@dataclass(frozen=True)
class Cell:
    """Objective x architecture x dataset x seed with the options it is trained and measured under."""

    objective: Choice
    architecture: Choice
    dataset: Choice
    seed: int
    training: dict[str, Any]
    evaluation: dict[str, Any] = field(default_factory=dict)
    norm: str = "auto"  # the critic's normalisation once `auto` is resolved against the objective

    @property
    def spec(self) -> dict[str, Any]:
        """What the key is made of: everything that changes the training. Device and evaluation do not."""
        choices = {"objective": self.objective, "architecture": self.architecture, "dataset": self.dataset}
        named = {axis: {"name": choice.name, "params": choice.params} for axis, choice in choices.items()}
        return {**named, "seed": self.seed, "training": self.training}

    @property
    def key(self) -> str:
        """A readable name and 8 hex digits of the sha256 of the canonical spec."""
        names = [self.objective.label, self.architecture.label, self.dataset.label, f"seed{self.seed}"]
        readable = "-".join("".join(c if c.isalnum() or c in "_=." else "_" for c in name) for name in names)
        return f"{readable[:120]}-{digest(self.spec)}"

    def stream(self, *names: object) -> int:
        """The seed of a random stream, from (seed, dataset, architecture, names) and not from the objective, nor from
        another architecture's critic, so that all objectives, and all critics of one generator, start from the same
        weights and see the same batches and latents."""
        own = {key: value for key, value in self.architecture.params.items() if key != "critic"}
        return stream_seed(self.seed, self.dataset.label, Choice(self.architecture.name, own).label, *names)


def stream_seed(*names: object) -> int:
    """A 63-bit seed from any names, the same on every machine and in every process."""
    text = "\x1f".join(map(str, names)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def digest(value: Any, length: int = 8) -> str:
    """The first hex digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


def cell_from_spec(spec: dict[str, Any]) -> Cell:
    """The cell a spec.json describes."""
    objective, architecture, dataset = (Choice(**spec[axis]) for axis in ("objective", "architecture", "dataset"))
    return Cell(
        objective, architecture, dataset, spec["seed"], spec["training"], spec.get("evaluation", {}), spec["norm"]
    )


# Files: written whole or not at all; reading never writes.


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write by temporary file, fsync and os.replace, with the schema number."""
    write_bytes(path, (json.dumps({"schema": SCHEMA, **value}, indent=1, default=str) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new one, never a part."""
    with whole_file(path) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name, in the place of one that may be there, once it is closed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")  # two machines share a cache
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_bytes(path: Path) -> bytes | None:
    """The content of a file; None where there is none. Raises UserError for one that cannot be read: it may be whole,
    so it is no DamagedError, after which a cell would run again."""
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


def read_stored(path: Path) -> dict[str, Any]:
    """The content of a JSON file of a results folder, without its schema number, with what `stored` asks of a file of
    this name; an empty dict where there is none. Raises DamagedError for another content."""
    from pydantic import ValidationError

    from benchmark.stored import FILES

    value = read_json(path)
    value.pop("schema", None)
    try:
        if value:
            FILES[path.stem].validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise DamagedError(f"{path} is not a {path.stem} file of this version: {at}: {reason}") from error
    return value


def read_matrix(folder: Path) -> dict[str, Any]:
    """The matrix.json of a results folder: name, hash, config, and its cells. Raises UserError for a folder without
    one, for a file that is none, and for a cell's key that is no plain file name or occurs twice."""
    matrix = read_stored(folder / "matrix.json")
    if not matrix:
        raise UserError(f"no matrix.json in {folder}: not the results of a matrix; `ganbench run` writes them")
    return matrix


def read_protocols(folder: Path) -> dict[str, Any]:
    """The protocols.json of a results folder: protocol and floor by dataset."""
    return read_stored(folder / "protocols.json")


def cell_status(folder: Path, key: str) -> dict[str, Any]:
    """The committed status of a cell of a results folder; empty, so that the cell runs again, for a missing one, for a
    damaged file, for the folder of another cell, and for a finished cell whose evaluations are gone or cut short."""
    path = folder / "cells" / key
    try:
        status = read_stored(path / "status.json")
    except DamagedError:
        return {}
    whole = status.get("status") not in FINISHED or _has_evaluations(path / "evals.jsonl", status)
    return status if whole and status.get("key", key) == key else {}


def _has_evaluations(path: Path, status: dict[str, Any]) -> bool:
    """Whether the rows of a finished cell go to its end: of a done one to the samples that its status counts; one that
    diverged may have ended before its first. Looks at the end of the file alone."""
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


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to a JSONL file. NaN and infinities stay what they are (JSON's extension, as Python reads it)."""
    with path.open("a") as file:
        file.writelines(json.dumps({"schema": SCHEMA, **row}) + "\n" for row in rows)


def commit_status(path: Path, status: dict[str, Any]) -> None:
    """Write the last status.json of a cell's folder, its rows first on the disk: a status never says more than they."""
    for file in path.glob("*.jsonl"):
        with file.open("rb") as rows:
            os.fsync(rows.fileno())
    write_json(path / "status.json", status)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file; a last line cut short by a crash is left out. Raises UserError for a damaged line."""
    for number, line in enumerate((read_bytes(path) or b"").split(b"\n")[:-1], 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise DamagedError(f"{path}, line {number} is damaged: {error}") from error


# Provenance


SOURCES = (
    *("choices", "build", "batches", "draws", "step", "stack", "iteration", "graph", "cost", "products", "train"),
    *("snapshot", "probes"),
)  # the modules, beside measure, that a cell's numbers come from


def code_hash(cell: Cell) -> str:
    """The hash of the code a cell's numbers come from: its variants' files with the variants they import, and the
    step, train and measure modules.

    It stands beside the key, not in it: edited code shows as stale and throws no result away."""
    files = [ROOT / f"benchmark/{name}.py" for name in SOURCES]
    files += sorted((ROOT / "benchmark/measure").glob("*.py"))
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
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("variants."):
                stem = ROOT / node.module.replace(".", "/")  # a module, or a folder and modules in it
                named = [stem / f"{alias.name}.py" for alias in node.names]
                candidates = [stem.with_suffix(".py"), stem / "__init__.py", *named]
                found += [file for file in candidates if file.exists() and file not in found]
    return found


@cache
def _hash_files(files: tuple[Path, ...]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _plain(value: Any) -> str:
    """A parameter's value in a label; a choice within a choice by its own label. Without blanks, as --only asks."""
    if isinstance(value, dict) and "name" in value:
        return Choice(value["name"], {key: v for key, v in value.items() if key != "name"}).label
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list | bool) else str(value)
