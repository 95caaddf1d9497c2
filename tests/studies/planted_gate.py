"""The gate of `ganbench check` against mistakes planted in a copy of the code, and against no
change at all.

    python -m tests.studies.planted_gate POOL OUT [NAME …] [--seeds 5]

POOL holds the quick matrix with many seeds (`ganbench run --matrix quick --set seeds=25`). NAME is
one of PLANTS or of UNCHANGED in plants.py; without names all are run. A mistake's cells are trained
with seeds 0-4 (--seeds) in a copy of the code that has it (OUT/NAME); POOL's own cells of those
seeds stand for all others, and the whole is judged against POOL. Under a setting of UNCHANGED all
cells are trained with these seeds. Writes planted.csv, unchanged.csv, false_alarms.csv,
detectable.csv and README.md, whose numbers come from the four, to OUT; with another number of
seeds, mistakes alone and planted_N_seeds.csv. What is trained is kept: a study that was ended goes
on. All together take about two hours on 2 CPU cores."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmark.analysis.tables import load
from benchmark.check import rule as gate
from benchmark.check.baseline import measured
from benchmark.check.numbers import compare_numbers
from benchmark.check.rows import (
    COST,
    NUMBERS,
    BaselineRow,
    RerunRow,
    Row,
    baseline_rows,
    common_seeds,
    of_seeds,
)
from benchmark.check.traces import Trace, traces
from benchmark.check.verdict import Verdict, exit_code
from benchmark.stats.intervals import robust_spread
from benchmark.store.code import ROOT
from benchmark.store.layout import ResultSet
from benchmark.store.origin import path_of
from tests.studies import gate_page
from tests.studies.gate_power import detectable, false_alarms, paired_alarms
from tests.studies.plants import PLANTS, UNCHANGED, Setting

SEEDS = 5  # of a rerun; those of the project's own CI
BUSY = "while True: pass"


class Side(NamedTuple):
    """What the gate compares, of one result set."""

    rows: list[RerunRow]
    traces: list[Trace]


def train(name: str, pool: Path, out: Path, num_seeds: int) -> None:
    """Train the cells that a mistake or a setting concerns, in a copy of the code of its own."""
    if (out / name / "trained").exists():
        return
    code = out / name / "code"
    shutil.rmtree(code, ignore_errors=True)
    for folder in ("benchmark", "variants"):
        shutil.copytree(ROOT / folder, code / folder, ignore=shutil.ignore_patterns("__pycache__"))
    setting, options = UNCHANGED.get(name, Setting("")), []
    if name in PLANTS:
        plant = PLANTS[name]
        (code / plant.file).write_text(plant.planted(code), encoding="utf-8")
        options = ["--only", plant.only]
    command = ["nice", "-n", "10", sys.executable, "-m", "benchmark", "run", "--device", "cpu"]
    command += [*of_pool(pool, num_seeds), "--results", str(out / name), *options, *setting.options]
    # A cache of its own: what a mistake computes must not be used by others
    variables = {"PYTHONPATH": str(code), "GANBENCH_CACHE": str(out / name / "cache")}
    with busy(setting.busy):
        subprocess.run(
            command, cwd=code, env=os.environ | variables | setting.environment, check=True
        )
    (out / name / "trained").touch()


def of_pool(pool: Path, num_seeds: int) -> Iterator[str]:
    """The options that name the matrix of the pool, with so many seeds."""
    matrix = ResultSet(pool).matrix
    overrides = []
    file = None
    if matrix.command:
        file = matrix.command.file
        overrides = [text for text in matrix.command.overrides if not text.startswith("seeds=")]
    yield from ("--matrix", str(path_of(file, pool)) if file else matrix.name)
    for override in [*overrides, f"seeds={num_seeds}"]:
        yield from ("--set", override)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes keep a core busy."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def side_of(folder: Path) -> Side:
    """The rows and traces of the finished groups of a results folder, whatever code made them.

    A cost only where every seed has it: some cells of a pool may be older than the reference
    workload."""
    tables = load(folder)
    rows = []
    for row in measured(tables):
        is_whole = len(row.finite_values) == len(row.values)
        if not row.unfinished and (row.metric not in COST or is_whole):
            rows.append(replace(row, stale=0))
    return Side(rows, traces(tables))


def judged(pool: Side, rerun: Side, num_seeds: int = SEEDS) -> list[Verdict]:
    """A rerun of some groups, with the pool's own cells of the same seeds for all others, against
    the pool."""
    trained = {row.key: row for row in rerun.rows}
    seeds = {str(seed) for seed in range(num_seeds)}
    new = [trained.get(row.key, row) for row in of_seeds(pool.rows, seeds)]
    old = baseline_rows(pool.rows)
    numbers = compare_numbers(pool.traces, rerun.traces, old, new)
    return [*gate.judge(old, new), *numbers]


def effect(verdict: Verdict, row: BaselineRow) -> float:
    """By how many robust standard deviations of the baseline's seeds the median is worse.

    0 where the seeds do not vary."""
    values = row.finite_values
    spread = robust_spread(values) if values else 0.0
    if not spread or verdict.current is None or verdict.baseline is None:
        return 0.0
    return row.sign * (verdict.current - verdict.baseline) / spread


def seen(verdicts: Sequence[Verdict], pool: Side, rerun: Side) -> dict[str, object]:
    """What the gate says of a rerun, of the groups that were trained in it."""
    keys = {row.key for row in rerun.rows}
    old = {(row.title, row.metric): row for row in baseline_rows(pool.rows) if row.key in keys}
    titles = {trace.title for trace in rerun.traces}
    hit = [v for v in verdicts if (v.group, v.metric) in old]
    numbers = [v for v in verdicts if v.metric == NUMBERS and v.group in titles]
    effects = {"": 0.0}
    for verdict in hit:
        row = old[verdict.group, verdict.metric]
        if row.family == "quality":
            effects[f"{verdict.group} {verdict.metric}"] = effect(verdict, row)
    largest = max(effects, key=effects.__getitem__)
    marks = [v.mark for v in hit]
    differing = [v for v in numbers if v.mark == "≠"]
    result = {0: "as before", 1: "red", 2: "x"}[exit_code(verdicts)]
    if result == "as before" and differing:
        result = "≠"
    return {
        "result": result,
        "groups": len(titles),
        "groups_differ": len(differing),
        "first_difference": first_step(differing),
        "groups_red": len({v.group for v in hit if v.mark in "−!"}),
        "comparisons": len(effects) - 1,
        "worse": marks.count("−"),
        "diverged": marks.count("!"),
        "suspect": marks.count("~"),
        "incomparable": marks.count("x"),
        "largest_effect_sd": round(effects[largest], 2),
        "of": largest,
    }


def first_step(differing: Sequence[Verdict]) -> str:
    """Where numbers part, of the groups that differ."""
    places = [verdict.note.split(":")[0].removeprefix("numbers differ ") for verdict in differing]
    return "; ".join(dict.fromkeys(sorted(places)))


def planted(name: str, pool: Side, out: Path, num_seeds: int = SEEDS) -> dict[str, object]:
    """A row of planted.csv."""
    plant, rerun = PLANTS[name], side_of(result_set(out / name))
    facts = {"plant": name, "kind": plant.kind, "what": plant.what, "cells": plant.only}
    return facts | seen(judged(pool, rerun, num_seeds), pool, rerun)


def unchanged(name: str, pool: Side, out: Path) -> dict[str, object]:
    """A row of unchanged.csv."""
    rerun = side_of(result_set(out / name))
    facts = {"setting": name, "what": UNCHANGED[name].what}
    return facts | seen(judged(pool, rerun), pool, rerun)


def result_set(folder: Path) -> Path:
    """The one result set in a folder of results."""
    (file,) = folder.glob("*/matrix.json")
    return file.parent


def seeds_of(rows: Sequence[Row]) -> list[str]:
    return sorted(common_seeds(rows), key=int)


def main(folder: Path, out: Path, names: list[str]) -> None:
    for name in names:
        train(name, folder, out, SEEDS)
    pool, cells = side_of(folder), load(folder).cells
    settings = [name for name in names if name in UNCHANGED]
    frames = {
        "planted": pd.DataFrame([planted(name, pool, out) for name in names if name in PLANTS]),
        "unchanged": pd.DataFrame([unchanged(name, pool, out) for name in settings]),
        "detectable": detectable(pool.rows),
    }
    twins = [side_of(result_set(out / name)).rows for name in settings]
    alarms = [*false_alarms(pool.rows), *paired_alarms(pool.rows, twins)]
    frames["false_alarms"] = pd.DataFrame(alarms)
    for name, frame in frames.items():
        write(frame, out / f"{name}.csv")
    device, torch = (" and ".join(cells[name].dropna().unique()) for name in ("device", "torch"))
    page = gate_page.page(pool.rows, frames, f"{device}, PyTorch {torch}")
    (out / "README.md").write_text(page, encoding="utf-8")
    gate_page.draw(frames["planted"], out / "planted")


def with_seeds(folder: Path, out: Path, names: list[str], num_seeds: int) -> None:
    """Mistakes alone, with another number of seeds."""
    for name in names:
        train(name, folder, out, num_seeds)
    pool = side_of(folder)
    rows = [planted(name, pool, out, num_seeds) for name in names]
    write(pd.DataFrame(rows), out / f"planted_{num_seeds}_seeds.csv")


def write(frame: pd.DataFrame, file: Path) -> None:
    frame.to_csv(file, index=False, float_format="%.4g")


def command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", default=[*UNCHANGED, *PLANTS])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    return parser.parse_args()


if __name__ == "__main__":
    asked = command_line()
    if asked.seeds == SEEDS:
        main(asked.pool.resolve(), asked.out.resolve(), asked.names)
    else:
        with_seeds(asked.pool.resolve(), asked.out.resolve(), asked.names, asked.seeds)
