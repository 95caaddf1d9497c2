"""By how much rounding alone moves the first numbers of a run.

    python -m tests.studies.rounding OUT [--matrix quick] [--steps 100] [SETTING …]

Trains a matrix with seeds 0 and 1 for some generator steps under every setting, in a process of its
own, and compares with the first setting. Writes one file of numbers per setting, which is kept, and
rounding.csv: the largest and the median relative difference over the runs, by setting, dataset and
generator step. Differences are relative as in benchmark/check/numbers.py. The quick matrix takes
about two minutes per setting on an idle core."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.check.traces import SCORES, STEP
from benchmark.store.code import ROOT
from tests.studies.plants import UNCHANGED

STEPS = (1, 2, 3, 5, 10, 20, 50, 100)
# setting -> its environment, and how the steps are executed
SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "default": ({}, "eager"),
    "onednn_avx2": (UNCHANGED["onednn_avx2"].environment, "eager"),
    "aten_avx2": (UNCHANGED["aten_avx2"].environment, "eager"),
    "slow_sets": (UNCHANGED["slow_sets"].environment, "eager"),
    "sse": (UNCHANGED["slow_sets"].environment | {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}, "eager"),
    "stack": ({}, "stack"),
    "compiled": ({}, "compiled"),
    "two_threads": ({"THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}, "eager"),
}


def run(mode: str, matrix: str, last: int) -> list[dict[str, Any]]:
    """Train all cells. One entry per cell: group, seed, first steps, metrics before the first."""
    import torch

    from benchmark.matrix.expand import expand
    from benchmark.matrix.files import find, read
    from benchmark.measure.instrument import measure
    from benchmark.train.loop import train_stack

    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    execution = "eager" if mode == "stack" else mode
    cells = expand(read(find(matrix), ["seeds=2"]).matrix)
    groups: dict[tuple[str, ...], list[Any]] = {}
    for cell in cells:
        label = (cell.objective.label, cell.architecture.label, cell.dataset.label)
        groups.setdefault(label, []).append(cell)
    entries = []
    for label, group in groups.items():
        stacks = [group] if mode == "stack" else [[cell] for cell in group]
        for stack in stacks:
            found = [{"g": label, "seed": cell.seed, "first": [], "u": {}} for cell in stack]
            for snapshots in train_stack(stack, "cpu", execution=execution):
                for entry, snapshot in zip(found, snapshots, strict=True):
                    if snapshot is None:
                        continue
                    entry["first"] += snapshot.first_steps
                    if not snapshot.g_steps:
                        entry["u"] = {k: v.value for k, v in measure(snapshot, "cpu").items()}
                if snapshots[0] is None or snapshots[0].g_steps >= last:
                    break
            entries += found
    return entries


def relative(one: dict[str, float], other: dict[str, float]) -> float:
    """The largest relative difference of two rows of a step."""
    pairs = [(name, one[name], other[name]) for name in STEP if one[name] == one[name]]
    scores = [abs(x) for name, *values in pairs if name in SCORES for x in values]
    found = [0.0]
    for name, x, y in pairs:
        size = max(scores) if name in SCORES else max(abs(x), abs(y))
        found.append(abs(x - y) / (size or 1.0))
    return max(found)


def differences(out: Path, setting: str) -> Iterator[dict[str, Any]]:
    """The differences of a setting to the first one, by run and step."""
    base, others = (
        {(*entry["g"], entry["seed"]): entry for entry in json.loads(path.read_text())}
        for path in (out / "default.json", out / f"{setting}.json")
    )
    for key in base.keys() & others.keys():
        one, other = base[key], others[key]
        rows = {row["g_step"]: row for row in other["first"]}
        names = {"setting": setting, "dataset": key[2]}
        sizes = [
            abs(value - other["u"][name]) / (abs(value) or 1.0)
            for name, value in one["u"].items()
            if value == value
        ]
        yield {**names, "step": 0, "difference": max(sizes)}
        for row in one["first"]:
            if row["g_step"] in STEPS and row["g_step"] in rows:
                size = relative(row, rows[row["g_step"]])
                yield {**names, "step": row["g_step"], "difference": size}


def main(out: Path, names: list[str], matrix: str, last: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(["default", *names]):
        environment, mode = SETTINGS[name]
        file = out / f"{name}.json"
        if not file.exists():
            command = [sys.executable, "-m", "tests.studies.rounding", "--child", mode]
            command += ["--matrix", matrix, "--steps", last, str(file)]
            variables = os.environ | {"OMP_NUM_THREADS": environment.get("THREADS", "1")}
            subprocess.run(command, cwd=ROOT, env=variables | environment, check=True)
        rows += [] if name == "default" else differences(out, name)
    grouped = pd.DataFrame(rows).groupby(["setting", "dataset", "step"], sort=False)["difference"]
    table = grouped.agg(runs="count", largest="max", median=np.median).reset_index()
    table.to_csv(out / "rounding.csv", index=False, float_format="%.1e")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("settings", nargs="*", default=list(SETTINGS))
    parser.add_argument("--matrix", default="quick")
    parser.add_argument("--steps", default=str(STEPS[-1]))
    parser.add_argument("--child")
    given = parser.parse_intermixed_args()
    if given.child:
        found = run(given.child, given.matrix, int(given.steps))
        given.out.write_text(json.dumps(found))
    else:
        main(given.out.resolve(), given.settings, given.matrix, given.steps)
