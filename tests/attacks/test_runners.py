"""Three runs on one folder, killed at random, with `status` and `tables` beside them: every cell is
done once, with the numbers of one quiet run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.store.code import ROOT
from benchmark.store.files import read_rows
from benchmark.store.layout import ResultSet

MATRIX = """
objectives = ["nonsaturating", "wgan"]
architectures = [{ name = "mlp", width = 8 }]
datasets = ["gaussians8"]
seeds = 4
[training]
steps = 400
batch_size = 16
[evaluation]
schedule = [0, 0.5, 1]
n = { points = 200 }
log_every = 20
"""
RUNNERS, KILLS = 3, 6
CLOCKS = ("train_seconds",)


def start(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    where = ["--matrix", str(root / "shared.toml"), "--results", str(root)]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (root / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmark", *arguments, *where],
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def run(root: Path) -> subprocess.Popen[bytes]:
    options = ("--device", "cpu", "--jobs", "1", "--stack", "1", "--execution", "eager")
    return start(root, "run", *options, "--checkpoint-every", "0.5", "--retry-errors")


def numbers(root: Path) -> dict[str, list[dict[str, object]]]:
    """The evaluations of every cell without their clocks."""
    results = ResultSet(root / "shared")
    found = {}
    for entry in results.matrix.cells:
        rows = list(read_rows(results.cell(entry.key).evals))
        for row in rows:
            for clock in CLOCKS:
                del row[clock]
        found[entry.key] = rows
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills process groups")
def test_three_killed_runs_beside_readers_end_as_one_quiet_run(tmp_path: Path) -> None:
    quiet, busy = tmp_path / "quiet", tmp_path / "busy"
    for root in (quiet, busy):
        root.mkdir()
        (root / "shared.toml").write_text(MATRIX)
    assert run(quiet).wait(600) == 0, (quiet / "log").read_text()[-2000:]
    chance = random.Random(3)
    runners = [run(busy) for _ in range(RUNNERS)]
    began, kills = time.monotonic(), 0
    while kills < KILLS and time.monotonic() - began < 600:
        time.sleep(chance.uniform(2, 8))
        victim = chance.randrange(RUNNERS)
        if runners[victim].poll() is None:
            os.killpg(runners[victim].pid, signal.SIGKILL)
            runners[victim].wait(60)
            kills += 1
        if (busy / "shared" / "matrix.json").exists():
            for verb in ("status", "tables"):
                assert start(busy, verb).wait(120) == 0, (busy / "log").read_text()[-2000:]
        runners[victim] = run(busy)
    for runner in runners:
        assert runner.wait(600) == 0, (busy / "log").read_text()[-2000:]
    assert "Traceback" not in (busy / "log").read_text()
    assert numbers(busy) == numbers(quiet)
    results = ResultSet(busy / "shared")
    statuses = [results.cell(entry.key).status for entry in results.matrix.cells]
    assert {str(status.status) for status in statuses} == {"done"}
    for entry, status in zip(results.matrix.cells, statuses, strict=True):
        assert results.cell(entry.key).fault(status) is None
