"""Runs that are killed, again and again, at random moments, and disks that fill up: the next run
goes on, and the tables are those of the uninterrupted one."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark.store.code import ROOT
from benchmark.store.files import read_json
from benchmark.train.execution.modes import can_compile

KILLS = 30
MATRIX = """
objectives = ["nonsaturating", { name = "wgan", search = 3 }, "wgan_gp"]
architectures = [{ name = "mlp", width = 32 }]
datasets = ["gaussians8", { name = "digits", training = { steps = 500, ema = 0.9 } }]
seeds = 2
[training]
steps = 1200
batch_size = 32
[evaluation]
schedule = [0, 0.2, 0.4, 0.6, 0.8, 1]
n = { points = 500, images = 200 }
extractor = "classifier"
log_every = 20
[search]
final_seeds = 2
"""
# What two runs of one cell may differ in: clocks (`score` is made of seconds to a target), memory,
# environment
OWN = re.compile(
    r".*(seconds|seconds_to_target|_ms|_mb|equal_time|memory)(:.*)?"
    r"|score|raced_.*|race_fault|device|torch|git_commit|resumes|warnings|started|attempt|updated"
)


def command(root: Path, *arguments: str) -> list[str]:
    options = ["--matrix", str(root / "faulty.toml"), "--results", str(root), "--device", "cpu"]
    run = [sys.executable, "-m", "benchmark", "run"]
    return [*run, *options, "--jobs", "2", *arguments]


def start(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    log = (root / "log").open("ab")
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command(root, *arguments), env=variables, stdout=log, stderr=log, start_new_session=True
    )


def workers(driver: int) -> list[int]:
    """The processes that `driver` has spawned to run cells."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == driver and "spawn_main" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            # The process has ended
            continue
    return found


def time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        # The cell is done
        return 0.0


def tables(root: Path) -> dict[str, pd.DataFrame]:
    """The tables of a result set without clocks, memory and environment."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmark", "tables", "--matrix", "faulty", "--results", str(root)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    files = (root / "faulty" / "tables").glob("*.parquet")
    frames = {path.stem: pd.read_parquet(path) for path in files}
    # Summary and convergence name their clocks in rows
    for name, frame in frames.items():
        clocked = frame.select_dtypes("str").isin(["equal_time", "seconds"]).any(axis=1)
        columns = [column for column in frame if not OWN.fullmatch(column)]
        frames[name] = frame.loc[~clocked, columns].reset_index(drop=True)
    return frames


def assert_same_tables(one: Path, other: Path) -> None:
    first, second = tables(one), tables(other)
    assert {"cells", "evals", "steps", "layers", "search"} <= {*first} == {*second}
    assert len(first["evals"]) > 100
    for name in first:
        pd.testing.assert_frame_equal(first[name], second[name], check_exact=True, obj=name)


@dataclass
class Whole:
    """The matrix, run without an interruption."""

    root: Path
    mode: str
    stack: int

    @property
    def options(self) -> list[str]:
        return ["--stack", str(self.stack), "--execution", self.mode]


@pytest.fixture(scope="module", params=["eager 1", "eager 2", "compiled 2"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    mode, stack = request.param.split()
    if mode == "compiled" and not can_compile():
        pytest.skip("there is no C++ compiler")
    root = tmp_path_factory.mktemp("whole")
    (root / "faulty.toml").write_text(MATRIX)
    one = Whole(root, mode, int(stack))
    assert start(root, *one.options).wait(600) == 0, (root / "log").read_text()[-2000:]
    return one


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_matrix_killed_thirty_times_ends_with_the_tables_of_the_whole_one(
    whole: Whole, tmp_path: Path
) -> None:
    """Bit for bit, of seeds alone, in stacks and in compiled stacks."""
    (tmp_path / "faulty.toml").write_text(MATRIX)
    chance, kills, victims = random.Random(5), 0, {"worker": 0, "driver": 0, "both": 0}
    arguments = ("--checkpoint-every", "0.3", "--retry-errors", *whole.options)
    driver = start(tmp_path, *arguments)
    began, struck = time.monotonic(), time.time()
    while kills < KILLS:
        assert time.monotonic() - began < 1800
        time.sleep(chance.uniform(0, 3))
        found = workers(driver.pid) if driver.poll() is None else []
        saved = [time_of(path) for path in tmp_path.glob("faulty/cells/*/checkpoint.pt")]
        # Mostly in mid-cell
        if found and (chance.random() < 0.1 or max([0.0, *saved]) > struck):
            victim = chance.choice(["worker", "worker", "driver", "both"])
            # The victim may have ended in the meantime
            with suppress(ProcessLookupError):
                if victim == "both":
                    os.killpg(driver.pid, signal.SIGKILL)
                elif victim == "driver":
                    os.kill(driver.pid, signal.SIGKILL)
                else:
                    os.kill(chance.choice(found), signal.SIGKILL)
            kills, victims[victim] = kills + 1, victims[victim] + 1
            struck = time.time()
            if victim != "worker":
                driver.wait(60)
        if driver.poll() is not None:
            # Killed, or at its end with errors to retry
            driver = start(tmp_path, *arguments)
    driver.wait(600)
    assert start(tmp_path, *arguments).wait(600) == 0, (tmp_path / "log").read_text()[-2000:]
    statuses = [read_json(path) for path in (tmp_path / "faulty" / "cells").glob("*/status.json")]
    assert {status["status"] for status in statuses} == {"done"}
    resumes = sum(status["resumes"] for status in statuses)
    print(f"\n{kills} kills {victims}, {resumes} resumes, {time.monotonic() - began:.0f} s")
    assert resumes > 10
    ways = {(status["execution"]["mode"], status["execution"]["stack"]) for status in statuses}
    assert ways == {(whole.mode, whole.stack)}
    assert_same_tables(whole.root, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1.5 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(path)]
    has_mount = shutil.which("mount") is not None
    if not has_mount or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_one_line_and_the_next_one_goes_on(
    whole: Whole, small_disk: Path
) -> None:
    (small_disk / "faulty.toml").write_text(MATRIX)
    variables: dict[str, Any] = {
        "env": os.environ | {"PYTHONPATH": str(ROOT)},
        "capture_output": True,
        "text": True,
    }
    ended = subprocess.run(
        command(small_disk, "--checkpoint-every", "0.3", *whole.options),
        check=False,
        timeout=600,
        **variables,
    )
    assert ended.returncode == 2, ended.stderr
    assert "No space left on device" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    files = [*small_disk.glob("faulty/cells/*/status.json")]
    committed = [file for file in files if '"done"' in file.read_text()]
    assert 0 < len(committed) < 12
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    before = [file.stat().st_mtime_ns for file in committed]
    again = command(small_disk, *whole.options)
    ended = subprocess.run(again, check=False, timeout=600, **variables)
    assert ended.returncode == 0, ended.stderr
    assert before == [file.stat().st_mtime_ns for file in committed]
    assert_same_tables(whole.root, small_disk)
