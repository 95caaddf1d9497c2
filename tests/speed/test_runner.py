"""`make speed`: a matrix run by one worker and by two, and by one of two threads, in turn.

Work is what the clocks of the cells count (training, measuring, probes, warm-up); all other time of
the workers is the runner's overhead: starting processes, loading, planning, writing, waiting for
the last cell. Nothing is asserted about time. GANBENCH_SEEDS=5 runs the whole quick matrix, about
25 minutes on 2 cores."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmark.store.clocks import WALL_CLOCKS
from benchmark.store.code import ROOT
from benchmark.store.files import read_json
from variants import _variables

SEEDS = _variables.value("GANBENCH_SEEDS") or "1"
SETTINGS = {"one worker": (1, 1), "two workers": (2, 1), "one worker, two threads": (1, 2)}


def run(folder: Path, jobs: int, threads: int) -> dict[str, float]:
    """Run the quick matrix. Seconds of wall time, of work, and of work's share in the workers'
    time."""
    command = ["run", "--matrix", "quick", "--device", "cpu", "--results", str(folder)]
    command += ["--set", f"seeds={SEEDS}", "--jobs", str(jobs), "--threads", str(threads)]
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "benchmark", *command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    wall = time.perf_counter() - started
    statuses = [read_json(path) for path in folder.glob("quick/cells/*/status.json")]
    clocks = {clock: sum(status[clock] for status in statuses) for clock in WALL_CLOCKS}
    work = sum(clocks.values()) - clocks["other_seconds"]
    return {
        "cells": len(statuses),
        "seconds": wall,
        "cells_per_minute": 60 * len(statuses) / wall,
        "overhead": 1 - work / (wall * jobs),
        "other_ms_per_cell": 1000 * clocks["other_seconds"] / len(statuses),
    }


def test_workers(tmp_path: Path, benchmark: Any) -> None:
    found: dict[str, dict[str, float]] = {}

    def all_settings() -> None:
        for name, (jobs, threads) in SETTINGS.items():
            found[name] = run(tmp_path / name.replace(" ", "_"), jobs, threads)
            shown = [f"{key} {value:.3f}" for key, value in found[name].items()]
            print(f"\n{name}: {', '.join(shown)}")

    benchmark.pedantic(all_settings, rounds=1)
    one, two = (found[name]["cells_per_minute"] for name in ("one worker", "two workers"))
    benchmark.extra_info |= {"two_workers_over_one": two / one, **found}
    print(f"\ntwo workers over one: {two / one:.3f}")
