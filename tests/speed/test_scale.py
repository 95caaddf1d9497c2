"""`make speed`: what the verbs that train nothing cost, in seconds of the processor, so that other
processes hardly change them. Nothing is asserted about time."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark.report import report
from benchmark.store.code import ROOT
from tests.helpers import synthetic
from tests.studies.reference_page import pages
from tests.studies.reference_page.references import REFERENCE

MANY = 100_000 // 14 + 1  # seeds of the quick matrix
OBJECTIVES = ("minimax", "nonsaturating", "lsgan", "wgan", "wgan_gp")
# Of one name so few that they do not count as drawn
ARCHITECTURES = [f"{name}[width={width}]" for name in ("mlp", "dcgan") for width in range(8, 13)]
VERBS = {
    "list": ["list"],
    "list wgan_gp": ["list", "wgan_gp"],
    "status": ["status"],
    "compare": ["compare", "wgan_gp", "nonsaturating"],
    "check": ["check"],
    "run --dry-run": ["run", "--dry-run"],
    "run --dry-run, 100,000 cells": ["run", "--dry-run", "--set", f"seeds={MANY}"],
}


def cost(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of the processor, and MiB at the peak, of a call of the command line."""
    command = [sys.executable, "-m", "benchmark", *arguments]
    if arguments[0] != "list":
        command += ["--results", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as process:
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


@pytest.mark.parametrize("name", VERBS)
def test_a_verb(name: str, tmp_path: Path, benchmark: Any) -> None:
    """The first call imports torch where it plans or describes; later ones recall what it found."""
    arguments = VERBS[name]
    if arguments[0] not in ("list", "run"):
        synthetic.write(tmp_path / "quick", seeds=range(12))
    first, first_mib = cost(arguments, tmp_path)
    calls: list[tuple[float, float]] = []
    benchmark.pedantic(lambda: calls.append(cost(arguments, tmp_path)), rounds=3)
    later, later_mib = min(calls)
    benchmark.extra_info |= {"first": first, "later": later, "first_mib": first_mib}
    print(f"\n{name}: {first:.2f} s, {first_mib:.0f} MiB; later {later:.2f} s, {later_mib:.0f} MiB")


@pytest.mark.parametrize("num_cells", [1000, 5000])
def test_a_report(num_cells: int, tmp_path: Path, benchmark: Any) -> None:
    """Its wall time depends on the cores, which draw its figures together; the seconds of the
    processor are those of all of them."""
    groups = [(d, a) for d in ("digits", "gaussians8") for a in ARCHITECTURES]
    seeds = range(num_cells // (len(groups) * len(OBJECTIVES)))
    folder = synthetic.write(tmp_path / "many", objectives=OBJECTIVES, groups=groups, seeds=seeds)
    before = sum(os.times()[:4])
    benchmark.pedantic(lambda: report.write(folder), rounds=1)
    seconds = sum(os.times()[:4]) - before
    megabytes = (folder / "report/index.html").stat().st_size / 1e6
    benchmark.extra_info |= {"processor_seconds": seconds, "megabytes": megabytes}
    print(f"\n{num_cells:,} cells: {seconds:.1f} s of the processor, {megabytes:.1f} MB")


def test_the_page_over_all_references(tmp_path: Path, benchmark: Any) -> None:
    """From the committed rows, with the pages and figures of the studies."""
    shutil.copytree(REFERENCE, tmp_path / "reference")
    started = time.process_time()

    def make() -> None:
        pages.studies(tmp_path / "reference")
        pages.write(target=tmp_path)

    benchmark.pedantic(make, rounds=1)
    seconds = time.process_time() - started
    benchmark.extra_info["processor_seconds"] = seconds
    print(f"\nthe page over all references: {seconds:.0f} processor-seconds")
