"""One start of a cell, its first or after an end that came too early: the cell's folder and status while it runs."""

import secrets
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.cell import Cell, code_hash, commit_status, digest, read_json, write_json
from benchmark.checkpoint import cut_rows, load_checkpoint, row_lengths, save_checkpoint
from benchmark.environment import environment
from benchmark.schedule import spent
from benchmark.step import set_precision
from benchmark.train import Snapshot
from benchmark.workload import reference_workload

WRITTEN = 5.0  # seconds between two writes of a running status, at least
CHEAP = 50  # the next checkpoint is due when this many times the last one's cost has passed


class Attempt:
    """`status` is what status.json says next; `continued` what the cell goes on from, None where it starts anew."""

    def __init__(self, cell: Cell, path: Path, device: str, force: bool) -> None:
        set_precision(cell.training["precision"])  # before the environment is looked at
        self.path, self.device, self.entered = path, device, time.perf_counter()
        self.made_by = {"code": code_hash(cell), "evaluation options": digest(cell.evaluation)}
        self.continued, passed = (None, []) if force else load_checkpoint(path, self.made_by)
        if self.continued:
            self.status = self._resume(self.continued)
        else:
            self.status = self._begin(cell)
        self.status |= {"attempt": secrets.token_hex(4), "warnings": [*self.status["warnings"], *passed]}
        self.paces: list[float] = self.continued["paces"] if self.continued else []
        self.before = spent(self.status)
        self.lengths = row_lengths(path)  # of the rows of the snapshots handled so far
        self.written = self.saved = time.monotonic()
        self.cost = 0.0
        self.write()

    def _begin(self, cell: Cell) -> dict[str, Any]:
        """An empty folder but for the spec and the environment; the lock in it stays."""
        self.path.mkdir(parents=True, exist_ok=True)
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != ".lock":
                entry.unlink()
        spec = cell.spec | {"evaluation": cell.evaluation, "norm": cell.norm, "key": cell.key}
        write_json(self.path / "spec.json", spec)
        write_json(self.path / "environment.json", environment(self.device) | {"resumes": []})
        seconds = ("train_seconds", "eval_seconds", "probe_seconds", "warmup_seconds", "other_seconds")
        return {
            "key": cell.key,
            "status": "running",
            "reason": None,
            "onset": None,
            "progress": 0.0,
            "samples_seen": 0,
            "g_steps": 0,
            **dict.fromkeys(seconds, 0.0),
            "peak_memory_mb": 0.0,
            "device": self.device,
            "precision": cell.training["precision"],
            "layout": cell.training["layout"],
            "norm": cell.norm,
            "code": self.made_by["code"],
            "evaluation_hash": self.made_by["evaluation options"],
            "started": _now(),
            "resumes": 0,
            "warnings": [],
        }

    def _resume(self, saved: dict[str, Any]) -> dict[str, Any]:
        """The rows as they were at the checkpoint, and one environment more."""
        cut_rows(self.path, saved)
        (self.path / "traceback.txt").unlink(missing_ok=True)
        status: dict[str, Any] = saved["status"]
        facts = read_json(self.path / "environment.json")
        facts["resumes"] = [*facts["resumes"], {"g_steps": status["g_steps"], **environment(self.device)}]
        write_json(self.path / "environment.json", facts)
        return status | {"status": "running", "reason": None, "resumes": status["resumes"] + 1, "device": self.device}

    def time_reference(self) -> float:
        """Time the reference workload once more. Returns the seconds that took."""
        began = time.perf_counter()
        milliseconds, self.status["reference_mb"] = reference_workload(self.device)
        self.paces.append(milliseconds)
        self.status["reference_ms"] = sum(self.paces) / len(self.paces)  # the machine's pace may drift
        return time.perf_counter() - began

    def note(self) -> None:
        """Write the running status where the last one is some seconds old."""
        if time.monotonic() - self.written >= WRITTEN:
            self.write()

    def write(self, commit: bool = False) -> None:
        """Write status.json, with what is left over of the clock in `other_seconds`."""
        self.status["updated"] = _now()
        self.status["other_seconds"] += self.before + time.perf_counter() - self.entered - spent(self.status)
        if commit:
            commit_status(self.path, self.status)
        else:
            write_json(self.path / "status.json", self.status)
        self.written = time.monotonic()

    def due(self, every: float) -> bool:
        """Whether a checkpoint is due: `every` seconds since the last one, and often enough its cost; always at 0."""
        return not every or time.monotonic() - self.saved >= max(every, CHEAP * self.cost)

    def save(self, snapshot: Snapshot, handled: bool) -> None:
        """Save a checkpoint of a snapshot that is out, `handled` or not: whether its rows are written."""
        began = time.monotonic()
        value: dict[str, Any] = {"train": snapshot.state, "status": self.status, "handled": handled}
        value |= {"paces": self.paces, "made_by": self.made_by}
        save_checkpoint(self.path, value, self.lengths)
        self.saved = time.monotonic()
        self.cost = self.saved - began


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
