"""A worker that runs many cells one after the other keeps no memory, file or thread of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.store.code import ROOT
from tests.conftest import matrix_text

NUM_CELLS = 300
FIRST = 50  # cells after which nothing more is to be learnt or cached
# What 250 cells may add: less than a hundredth of a MiB each
MOST_MIB = 2.5

# Cells of two objectives in turn, as a worker runs them
WORKER = """
import json
import os
import sys
import threading
from pathlib import Path

import torch

from benchmark.machine import workload
from benchmark.machine.memory import _gib, keep_freed_memory
from benchmark.matrix.expand import expand
from benchmark.matrix.files import read
from benchmark.run.cell.cell_run import run_cell

torch.set_num_threads(1)
keep_freed_memory()
workload.REPEATS = 1
cells = expand(read(Path(sys.argv[1])).matrix)
states = []
for number in range(int(sys.argv[3])):
    cell = cells[number % 2 * (len(cells) // 2) + number // 2]
    for event in run_cell(cell, Path(sys.argv[2]), "cpu"):
        pass
    assert event.status.status == "done", event
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    states.append((1024 * _gib("self/status", "VmRSS"), files, threads))
print(json.dumps(states))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the figure is Linux's")
def test_a_worker_does_not_grow(tmp_path: Path) -> None:
    """After 300 cells it takes what it took after 50."""
    matrix = tmp_path / "tiny.toml"
    text = matrix_text(
        objectives='objectives = ["nonsaturating", "wgan_gp"]',
        seeds=f"seeds = {NUM_CELLS // 2}",
        training="[training]\nsteps = 2\nbatch_size = 8",
        evaluation='[evaluation]\nschedule = [0, 1]\nn = { points = 50 }\nmetrics = ["swd"]',
    )
    matrix.write_text(text)
    arguments = [str(matrix), str(tmp_path / "tiny"), str(NUM_CELLS)]
    ended = subprocess.run(
        [sys.executable, "-c", WORKER, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    resident, files, threads = zip(*json.loads(ended.stdout), strict=True)
    growth = max(resident[-FIRST:]) - max(resident[:FIRST])
    assert growth < MOST_MIB, resident[::10]
    assert (files[-1], threads[-1]) == (files[FIRST - 1], threads[FIRST - 1])
