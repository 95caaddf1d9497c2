"""One cell of a matrix: its spec, key, folder, random streams, atomic files and environment."""

import ast
import hashlib
import json
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchmark import UserError

SCHEMA = 1
ROOT = Path(__file__).resolve().parent.parent
FINISHED = ("done", "diverged")  # the states that are results; divergence is one


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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")  # two machines share a cache
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; an empty dict where there is none."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: not a table")
    if value.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {value.get('schema')!r}; this version reads {SCHEMA}")
    return value


def cell_status(folder: Path, key: str) -> dict[str, Any]:
    """The committed status of a cell of a results folder; empty for a missing one, for a damaged file, and for a
    finished cell whose measurements are gone: such a cell runs again."""
    path = folder / "cells" / key
    try:
        status = read_json(path / "status.json")
    except DamagedError:
        return {}
    return {} if status.get("status") == "done" and not (path / "evals.jsonl").exists() else status


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to a JSONL file. NaN and infinities stay what they are (JSON's extension, as Python reads it)."""
    with path.open("a") as file:
        file.writelines(json.dumps({"schema": SCHEMA, **row}) + "\n" for row in rows)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file; a last line cut short by a crash is left out. Raises UserError for a damaged line."""
    if path.exists():
        with path.open() as file:
            for number, line in enumerate(file, 1):
                if line.endswith("\n"):
                    try:
                        yield json.loads(line)
                    except ValueError as error:
                        raise DamagedError(f"{path}, line {number} is damaged: {error}") from error


# Provenance


def code_hash(cell: Cell) -> str:
    """The hash of the code a cell's numbers come from: its variants' files with the variants they import, and the
    step, train and measure modules.

    It stands beside the key, not in it: edited code shows as stale and throws no result away."""
    files = [ROOT / f"benchmark/{name}.py" for name in ("choices", "step", "train", "batches", "probes")]
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


def environment(device: str) -> dict[str, Any]:
    """What a number depends on beside the spec: versions, processor, threads, flags, commit. No host or user names."""
    from importlib.metadata import version

    import torch

    cuda = device.startswith("cuda")
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("torch", "torchvision", "torch-fidelity", "numpy", "scipy")},
        "device": torch.cuda.get_device_name(device) if cuda else _processor(),
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "git": _git(),
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def _git() -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        diff = git("diff", "HEAD")
        return {"commit": git("rev-parse", "HEAD"), "dirty": digest(diff) if diff else None}
    except (OSError, subprocess.CalledProcessError):
        return None


def _plain(value: Any) -> str:
    """A parameter's value in a label; a choice within a choice by its own label. Without blanks, as --only asks."""
    if isinstance(value, dict) and "name" in value:
        return Choice(value["name"], {key: v for key, v in value.items() if key != "name"}).label
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list | bool) else str(value)
