"""One start of a cell, its first or after an end that came too early: the cell's folder and status
while it runs."""

import secrets
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.machine.environment import environment
from benchmark.machine.workload import reference_workload
from benchmark.matrix.cell import Cell
from benchmark.run.checkpoint import cut_rows, load_checkpoint, row_lengths, save_checkpoint
from benchmark.store.clocks import CLOCKS, spent
from benchmark.store.code import code_hash
from benchmark.store.files import SCHEMA, read_json, write_json
from benchmark.store.result_set import commit_status
from benchmark.train.snapshot import Snapshot
from benchmark.train.step import set_precision

WRITTEN = 5.0  # seconds between two writes of a running status, at least
CHEAP = 50  # the next checkpoint is due when this many times the last one's cost has passed


class Attempt:
    """`status` is what status.json says next; `continued` what the cell goes on from, None where it
    starts anew."""

    def __init__(
        self, cell: Cell, path: Path, device: str, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        set_precision(cell.training.precision)  # before the environment is looked at
        self.cell, self.path, self.device, self.clock, self.entered = (
            cell,
            path,
            device,
            clock,
            clock(),
        )
        self.made_by = {
            "format": SCHEMA,
            "code": code_hash(cell),
            "evaluation options": cell.evaluation_hash,
        }
        self.continued, passed = load_checkpoint(path, self.made_by)
        warnings = [f"{name} {why}" for name, why in passed.items()]
        self.cost = 0.0  # seconds that the last checkpoint took
        self.written = self.saved = time.monotonic()
        if self.continued:
            self._resume(self.continued, [*passed], warnings)
        else:
            self.begin(warnings)

    def begin(self, warnings: list[str]) -> None:
        """Start anew: an empty folder but for the spec and the environment; the lock in it
        stays."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "status.json").unlink(
            missing_ok=True
        )  # first: it must not speak of what is gone
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != ".lock":
                entry.unlink()
        cell, self.continued = self.cell, None
        spec = cell.spec | {
            "evaluation": cell.evaluation.plain(),
            "norm": cell.norm,
            "key": cell.key,
        }
        write_json(self.path / "spec.json", spec)
        write_json(self.path / "environment.json", environment(self.device) | {"resumes": []})
        self.status: dict[str, Any] = {
            "key": cell.key,
            "onset": None,
            "progress": 0.0,
            "samples_seen": 0,
            "g_steps": 0,
            **dict.fromkeys(CLOCKS, 0.0),
            "peak_memory_mb": 0.0,
            "precision": cell.training.precision,
            "layout": cell.training.layout,
            "norm": cell.norm,
            "code": self.made_by["code"],
            "evaluation_hash": self.made_by["evaluation options"],
            "started": _now(),
            "resumes": 0,
            "warnings": [],
        }
        self.paces: list[float] = []
        self._enter(warnings)

    def _resume(self, saved: dict[str, Any], passed: list[str], warnings: list[str]) -> None:
        """The folder as it was at the checkpoint, and one environment more."""
        cut_rows(self.path, saved)
        for name in (*passed, "traceback.txt"):
            (self.path / name).unlink(missing_ok=True)
        self.status, self.paces = saved["status"], saved["paces"]
        for file in self.path.glob("samples/*"):
            if file.stem.isdecimal() and int(file.stem) > self.status["g_steps"]:
                file.unlink()
        facts = read_json(self.path / "environment.json")
        resumes = [
            *facts.get("resumes", []),
            {"g_steps": self.status["g_steps"], **environment(self.device)},
        ]
        write_json(self.path / "environment.json", facts | {"resumes": resumes})
        self.status["resumes"] = len(resumes)
        self._enter(warnings)

    def _enter(self, warnings: list[str]) -> None:
        self._sweep()
        self.status |= {"status": "running", "reason": None, "device": self.device}
        self.status |= {
            "attempt": secrets.token_hex(4),
            "warnings": [*self.status["warnings"], *warnings],
        }
        self.before = spent(self.status)
        self.lengths = row_lengths(self.path)  # of the rows of the snapshots handled so far
        self.write()

    def _sweep(self) -> None:
        """Remove what writers that were killed have left beside their files."""
        for file in [*self.path.glob(".*"), *self.path.glob("samples/.*")]:
            if file.name != ".lock":
                file.unlink()

    def time_reference(self) -> float:
        """Time the reference workload once more. Returns the seconds that took."""
        began = time.perf_counter()
        milliseconds, self.status["reference_mb"] = reference_workload(self.device)
        self.paces.append(milliseconds)
        self.status["reference_ms"] = sum(self.paces) / len(
            self.paces
        )  # the machine's pace may drift
        return time.perf_counter() - began

    def note(self) -> None:
        """Write the running status where the last one is some seconds old."""
        if time.monotonic() - self.written >= WRITTEN:
            self.write()

    def write(self, commit: bool = False) -> None:
        """Write status.json."""
        self.status["updated"] = _now()
        self._clock()
        if commit:
            self._sweep()
            commit_status(self.path, self.status)
        else:
            write_json(self.path / "status.json", self.status)
        self.written = time.monotonic()

    def due(self, every: float) -> bool:
        """Whether a checkpoint is due: `every` seconds since the last one, and often enough its
        cost; always at 0."""
        return not every or time.monotonic() - self.saved >= max(every, CHEAP * self.cost)

    def save(self, snapshot: Snapshot, handled: bool) -> None:
        """Save a checkpoint of a snapshot that is out, `handled` or not: whether its rows are
        written."""
        began = time.monotonic()
        self._clock()
        value: dict[str, Any] = {"train": snapshot.state, "status": self.status, "handled": handled}
        value |= {"paces": self.paces, "made_by": self.made_by}
        save_checkpoint(self.path, value, self.lengths)
        self.saved = time.monotonic()
        self.cost = self.saved - began

    def _clock(self) -> None:
        """Put what no other clock has counted into `other_seconds`."""
        self.status["other_seconds"] += (
            self.before + self.clock() - self.entered - spent(self.status)
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
