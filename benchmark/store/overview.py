"""The state of a result set, live and after the fact: every cell's progress, speed, time left and
failure, and when the matrix will be done. Reads only, and takes no file at its word: it may be
damaged, cut short or someone else's."""

import os
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.errors import UserError
from benchmark.store.clocks import CLOCKS, group, spent
from benchmark.store.code import State, is_stale
from benchmark.store.locks import taken
from benchmark.store.result_set import FINISHED, SETTLED, cell_status, read_matrix

GONE = "its process is gone"
CENTURIES = 1e10  # seconds; a calendar ends
EARLY = (
    0.1  # of the budget: up to here a cell's own pace tells less than what others of its group took
)


class Reader:
    """Reads a result set again and again; what has not changed since is not read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.matrix: tuple[Any, dict[str, Any]] = (None, {})  # signature of the file, content
        self.files: dict[str, tuple[Any, State]] = {}  # key -> signature of its status.json, state
        self.groups: dict[str, str] = {}  # by key
        self.hashes: dict[Any, str] = {}

    def overview(self) -> dict[str, Any]:
        """What `status --json` prints: matrix, counts, running, stale, seconds_left, guessed,
        finish, cells.

        seconds_left: worker-seconds of what is to run; None where nothing tells. guessed: cells of
        a group that has never run, counted with the median of the other groups. finish: local time,
        ISO 8601, with as many workers as now; None while nothing runs. No NaN, no infinities.
        Raises UserError without a sound matrix.json."""
        entries = self._matrix()["cells"]
        cells = [self._state(entry) for entry in entries]
        whole = self._expected(cells)
        typical = median(whole.values()) if whole else None
        guessed, left = 0, []
        for cell in cells:
            if cell["status"] not in SETTLED:
                expected = whole.get(self.groups[cell["key"]])
                guessed += expected is None
                cell["seconds_left"] = _left(cell, typical if expected is None else expected)
                left.append(cell["seconds_left"])
        running = [cell for cell in cells if cell["status"] == "running"]
        workers = sum(1 / cell["stack"] for cell in running)
        total = None if None in left else sum(left)
        finish = None
        if running and total is not None:
            longest = max(cell["seconds_left"] * cell["stack"] for cell in running)
            ahead = timedelta(seconds=min(max(total / workers, longest), CENTURIES))
            finish = (datetime.now().astimezone() + ahead).isoformat(timespec="seconds")
        return {
            "matrix": self.folder.name,
            "counts": dict(Counter(cell["status"] for cell in cells).most_common()),
            "running": len(running),
            "stale": sum(cell["stale"] for cell in cells),
            "seconds_left": total,
            "guessed": guessed,
            "finish": finish,
            "cells": cells,
        }

    def _matrix(self) -> dict[str, Any]:
        signature = _signature(self.folder / "matrix.json")
        if signature is None or signature != self.matrix[0]:
            self.matrix = (signature, read_matrix(self.folder))
            self.groups = {entry["key"]: group(entry["spec"]) for entry in self.matrix[1]["cells"]}
            self.files = {}
        return self.matrix[1]

    def _state(self, entry: dict[str, Any]) -> State:
        """A cell as it is: what the file calls running is so only while a process holds the cell's
        lock."""
        state = self._read(entry)
        if state["status"] in FINISHED:
            return {**state}
        if taken(self.folder, entry["key"]):
            return {**state, "status": "running", "reason": None}
        if (
            state["status"] == "running" and (state := self._read(entry))["status"] == "running"
        ):  # not ended meanwhile
            state = {**state, "status": "interrupted", "reason": GONE}
        waits = state["status"] == "interrupted" and not state["stale"]
        return {
            **state,
            "checkpoint": waits
            and os.path.exists(self.folder / "cells" / entry["key"] / "checkpoint.pt"),
        }

    def _read(self, entry: dict[str, Any]) -> State:
        """What the files of a cell say."""
        path = self.folder / "cells" / entry["key"] / "status.json"
        signature = _signature(path)
        if signature is None or self.files.get(entry["key"], (None,))[0] != signature:
            status: dict[str, Any] = {}
            if signature is not None:
                try:
                    status = cell_status(self.folder, entry["key"])
                    status = status or {
                        "reason": "its files are damaged or cut short, it will run again"
                    }
                except UserError as error:  # unreadable, or of another version
                    status = {"reason": str(error)}
            stale = "status" in status and is_stale(status, entry, entry["spec"], self.hashes)
            self.files[entry["key"]] = (signature, _shown(entry, status, stale))
        return self.files[entry["key"]][1]

    def _expected(self, cells: list[State]) -> dict[str, float]:
        """Seconds of a whole cell by group: what finished cells of it took, else what running ones
        are heading for."""
        took, heading = defaultdict(list), defaultdict(list)
        for cell in cells:
            if cell["status"] in FINISHED and cell["seconds"] is not None:
                took[self.groups[cell["key"]]].append(cell["seconds"])
            elif cell["status"] == "running" and (left := _own_pace(cell)) is not None:
                heading[self.groups[cell["key"]]].append(cell["seconds"] + left)
        return {name: median(seconds) for name, seconds in {**heading, **took}.items()}


def counted(counts: dict[str, int]) -> str:
    """`68 done, 2 diverged`."""
    return ", ".join(f"{n} {status}" for status, n in Counter(counts).most_common()) or "no cells"


def _shown(entry: dict[str, Any], status: dict[str, Any], stale: bool) -> State:
    """What `status` says of a cell; every field is there, of a type and a size to be expected."""
    clocks = {name: _number(status.get(name)) for name in CLOCKS}
    steps, seconds = _number(status.get("g_steps")), clocks["train_seconds"]
    return {
        **{name: entry[name] for name in ("key", "objective", "architecture", "dataset", "seed")},
        "status": _line(status.get("status")) or "missing",
        "reason": _line(status.get("reason")),
        "warnings": [_line(text) for text in status.get("warnings", [])],
        "stale": stale,
        "progress": 1.0
        if status.get("status") == "done"
        else min(_number(status.get("progress")) or 0.0, 1.0),
        "checkpoint": False,
        "resumes": status.get("resumes", 0),
        "g_steps": steps,
        "steps_per_second": steps / seconds if steps and seconds else None,
        "seconds": _number(spent(status)),
        **clocks,
        "seconds_left": None,
        "execution": _line((status.get("execution") or {}).get("mode")),
        "stack": (status.get("execution") or {}).get("stack", 1),
        "started": _line(status.get("started")),
        "updated": _line(status.get("updated")),
        "device": _line(status.get("device")),
    }


def _left(cell: State, whole: float | None) -> float | None:
    """Seconds until a cell has ended, of the seconds of a whole one."""
    if cell["status"] == "running" and (left := _own_pace(cell)) is not None:
        return left
    kept = cell["progress"] if cell["status"] == "running" or cell["checkpoint"] else 0.0
    return None if whole is None else whole * (1 - kept)


def _own_pace(cell: State) -> float | None:
    """Seconds left at the pace a cell has had so far; None as long as that tells little."""
    if cell["progress"] < EARLY or not cell["seconds"]:
        return None
    once = (cell["warmup_seconds"] or 0.0) + (cell["compile_seconds"] or 0.0)
    return max(0.0, cell["seconds"] - once) * (1 - cell["progress"]) / cell["progress"]


def _signature(path: Path) -> Any:
    """What differs once a file is written anew; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _number(value: Any) -> float | None:
    """A number a time or a count can be; None for anything else, NaN and infinities among it."""
    return value if isinstance(value, int | float) and 0 <= value < 1e18 else None


def _line(value: Any) -> str | None:
    """A text in one line, without what would steer a terminal."""
    return (
        " ".join("".join(c if c.isprintable() else " " for c in value).split())
        if isinstance(value, str)
        else None
    )
