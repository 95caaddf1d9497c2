"""`make speed`: the driver alone. 1,000 GPUs run 100,000 cells whose durations and files were
recorded: all that the driver does for a cell (hand out, lock, write its folder, commit, release)
without training. Nothing is asserted about time. GANBENCH_SIMULATED=10000 simulates fewer cells."""

import heapq
import resource
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from variants import _variables

pytest.importorskip("ray")

from benchmark.matrix import files as matrix
from benchmark.matrix.cell import Cell
from benchmark.matrix.expand import expand
from benchmark.run.cell.cell_run import run_cell
from benchmark.run.driver import TICK, Driver
from benchmark.run.engines import ray
from benchmark.run.engines.ray_node import Sent, signatures
from benchmark.run.events import CellNews, Ended, Event, Running, Task
from benchmark.run.plan import pending
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import RunStatus

CELLS = int(_variables.value("GANBENCH_SIMULATED") or "100000")
GPUS = 1000
# medians of the quick matrix on 2 CPU cores, as on its leaderboard
SECONDS = {"mlp": 8.0, "dcgan": 12.0}


class Simulated(ray.Pool):
    """A cluster whose time is virtual: a cell ends after its duration, with a recorded cell's
    files."""

    def __init__(self, folder: Path, recorded: CellFolder) -> None:
        self.results = ResultSet(folder)
        self.in_flight = {}
        self.events = []
        self.writers = ThreadPoolExecutor(ray.WRITERS)
        self.fit = set()
        self.unfit = {}
        self.clock = 0.0
        self.ends: list[tuple[float, str]] = []  # when something happens to a cell: a heap
        self.files = {name: (recorded.path / name).read_bytes() for name in signatures(recorded)}
        self.last = recorded.status

    def capacity(self) -> int:
        return GPUS

    def _run(self, task: Task) -> Iterator[Sent]:
        update = {"key": task.key, "status": RunStatus.RUNNING}
        running = self.last.model_copy(update=update)
        done = running.model_copy(update={"status": RunStatus.DONE})
        yield Sent(Running(task.key, running), {}, [])
        yield Sent(Ended(task.key, done), self.files, list(self.files))

    def start(self, task: Task) -> None:
        self.send = lambda avoid, **sent: self._run(task)
        super().start(task)
        seconds = SECONDS[task.cell.architecture.name] * (1 + task.cell.seed % 7 / 10)
        heapq.heappush(self.ends, (self.clock, task.key))
        heapq.heappush(self.ends, (self.clock + seconds, task.key))

    def _measuring(self, cell: Cell) -> tuple[str, dict[str, Any]]:
        assert self.last.protocol
        return self.last.protocol, {}

    def wait(self, seconds: float) -> list[Event]:
        self.clock = max(self.clock + TICK, self.ends[0][0] if self.ends else 0.0)
        keys: list[str] = []
        while self.ends and self.ends[0][0] <= self.clock and self.ends[0][1] not in keys:
            keys.append(heapq.heappop(self.ends)[1])
        return list(self.writers.map(self._receive, keys))

    def _receive(self, key: str) -> Event:
        cell = self.in_flight[key]
        event = self._write(key, cell, next(cell.stream))
        if isinstance(event, Ended):
            self.in_flight.pop(key).lock.release()
        return event

    def stop(self) -> None:
        raise AssertionError("nothing ends this run early")

    def close(self) -> None:
        assert not self.in_flight


@pytest.fixture
def recorded(tmp_path: Path) -> CellFolder:
    """A cell that was trained and measured."""
    config, _ = matrix.read(matrix.find("quick"), ["seeds=1", "training.steps=50"])
    cell = next(cell for cell in expand(config) if cell.dataset.name == "gaussians8")
    *_, last = run_cell(cell, tmp_path, "cpu")
    assert last.status.status == "done"
    return ResultSet(tmp_path).cell(cell.key)


def test_a_thousand_gpus(recorded: CellFolder, tmp_path: Path, benchmark: Any) -> None:
    config, _ = matrix.read(matrix.find("quick"), [f"seeds={-(-CELLS // 14)}"])
    cells = {cell.key: cell for cell in expand(config)[:CELLS]}
    folder = tmp_path / "many"
    ended: list[str] = []

    def note(news: CellNews) -> None:
        if isinstance(news.event, Ended):
            ended.append(news.event.status.status)

    def simulate() -> None:
        known = {key: ResultSet(folder).cell(key).status for key in cells}
        todo = pending(cells, known, force=False, retry_errors=False)
        tasks = [Task(cell) for cell in todo.values()]
        Driver(tasks, Simulated(folder, recorded), folder, note).run()

    started = time.process_time()
    benchmark.pedantic(simulate, rounds=1)
    assert ended == ["done"] * CELLS
    benchmark.extra_info |= {
        "cells": CELLS,
        "ms_per_cell": 1000 * benchmark.stats.stats.mean / CELLS,
        "processor_ms_per_cell": 1000 * (time.process_time() - started) / CELLS,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "bytes_per_cell": sum(map(len, Simulated(folder, recorded).files.values())),
    }
    print("\n", benchmark.extra_info)
    shutil.rmtree(folder)
