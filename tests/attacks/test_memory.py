"""A worker that runs many cells one after the other keeps no memory, file or thread of them."""

import os
import sys
import threading
from pathlib import Path

import pytest

from benchmark.machine import workload
from benchmark.matrix.cell import Cell
from benchmark.run.cell.cell_run import run_cell
from benchmark.store.schema import RunStatus
from tests.helpers.cells import small_cell

FEW, MANY = 50, 300
MORE = 20.0  # MiB that FEW to MANY cells may add


def state() -> tuple[float, int, int]:
    """Resident MiB, open files and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    num_files = len(os.listdir("/proc/self/fd"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, num_files, threading.active_count()


def run(cell: Cell, folder: Path) -> RunStatus:
    *_, last = run_cell(cell, folder, "cpu")
    return last.status.status


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_worker_is_flat_over_300_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reference workload takes most of the time of so small a cell
    monkeypatch.setattr(workload, "REPEATS", 1)
    states = {}
    for seed in range(MANY):
        objective = ("nonsaturating", "wgan_gp")[seed % 2]
        cell = small_cell(objective, seed=seed, steps=3)
        assert run(cell, tmp_path) == RunStatus.DONE
        states[seed + 1] = state()
    few, many = states[FEW], states[MANY]
    print(f"\nafter {FEW} cells {few}, after {MANY} {many}")
    assert many[0] < few[0] + MORE
    assert many[1:] == few[1:]
