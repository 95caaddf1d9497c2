"""`make speed`: the driver alone. 1,000 GPUs run 100,000 cells whose durations and files were
recorded: all that the driver does for a cell (hand out, lock, write its folder, commit, release)
without training. Nothing is asserted about time. GANBENCH_SIMULATED=10000 simulates fewer cells."""

import heapq
import os
import resource
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from benchmark.store.result_set import cell_status

from benchmark.matrix import expand as matrix
from benchmark.matrix.cell import Cell
from benchmark.run import prepare
from benchmark.run import run_cell as runner
from benchmark.run.driver import TICK, drive
from benchmark.run.engines import ray
from benchmark.run.engines.base import Event, Task
from benchmark.run.engines.ray_node import Sent, states
from benchmark.store.files import read_json

CELLS = int(os.environ.get("GANBENCH_SIMULATED", "100000"))
GPUS = 1000
# medians of the quick matrix on 2 CPU cores, as on its leaderboard
SECONDS = {"mlp": 8.0, "dcgan": 12.0}


class Simulated(ray.Pool):
    """A cluster whose time is virtual: a cell ends after its duration, with a recorded cell's
    files."""

    def __init__(self, folder: Path, recorded: Path) -> None:
        self.folder, self.recorded, self.out, self.clock = folder, recorded, {}, 0.0
        self.events, self.ends, self.writers = [], [], ThreadPoolExecutor(ray.WRITERS)
        self.fit, self.unfit = set(), {}
        self.files = {name: (recorded / name).read_bytes() for name in states(recorded)}
        self.last = read_json(recorded / "status.json")

    def capacity(self) -> int:
        return GPUS

    def _run(self, task: Task) -> Iterator[Sent]:
        status = self.last | {"key": task.cell.key, "status": "running"}
        yield status, {}, []
        yield status | {"status": "done"}, self.files, list(self.files)

    def start(self, task: Task) -> None:
        self.send = lambda avoid, **sent: self._run(task)
        super().start(task)
        seconds = SECONDS[task.cell.architecture.name] * (1 + task.cell.seed % 7 / 10)
        heapq.heappush(self.ends, (self.clock, task.cell.key))
        heapq.heappush(self.ends, (self.clock + seconds, task.cell.key))

    def _measuring(self, cell: Cell) -> tuple[str, dict[str, Any]]:
        return self.last["protocol"], {}

    def wait(self, seconds: float) -> list[Event]:
        self.clock = max(self.clock + TICK, self.ends[0][0] if self.ends else 0.0)
        keys = []
        while self.ends and self.ends[0][0] <= self.clock and self.ends[0][1] not in keys:
            keys.append(heapq.heappop(self.ends)[1])
        return list(self.writers.map(self._receive, keys))

    def _receive(self, key: str) -> Event:
        event = self._write(key, self.out[key], next(self.out[key].stream))
        if event["status"] != "running":
            self.out.pop(key).lock.release()
        return event

    def stop(self) -> None:
        raise AssertionError("nothing ends this run early")

    def close(self) -> None:
        assert not self.out


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A cell that was trained and measured."""
    config, _ = matrix.read(matrix.find("quick"), ["seeds=1", "training.steps=50"])
    cell = next(cell for cell in matrix.expand(config) if cell.dataset.name == "gaussians8")
    *_, last = runner.run_cell(cell, tmp_path, "cpu")
    assert last["status"] == "done"
    return tmp_path / "cells" / cell.key


def test_a_thousand_gpus(recorded: Path, tmp_path: Path, benchmark: Any) -> None:
    config, _ = matrix.read(matrix.find("quick"), [f"seeds={-(-CELLS // 14)}"])
    cells = {cell.key: cell for cell in matrix.expand(config)[:CELLS]}
    folder = tmp_path / "many"
    ended: list[str] = []

    def simulate() -> None:
        known = {key: cell_status(folder, key) for key in cells}
        tasks = [Task(cell) for cell in prepare.pending(cells, known, False, False).values()]
        drive(tasks, Simulated(folder, recorded), folder, lambda e: ended.append(e["status"]))

    started = time.process_time()
    benchmark.pedantic(simulate, rounds=1)
    statuses = [status for status in ended if status != "running"]
    assert statuses == ["done"] * CELLS
    benchmark.extra_info |= {
        "cells": CELLS,
        "ms_per_cell": 1000 * benchmark.stats.stats.mean / CELLS,
        "processor_ms_per_cell": 1000 * (time.process_time() - started) / CELLS,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "bytes_per_cell": sum(map(len, Simulated(folder, recorded).files.values())),
    }
    print("\n", benchmark.extra_info)
    shutil.rmtree(folder)
