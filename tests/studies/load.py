"""Whether load changes what is claimed: one matrix run alone, and again with busy processes.

`python -m tests.studies.load FOLDER [--whole]` runs a cut of the quick matrix (--whole: all of it)
into FOLDER twice and prints, for every place and objective, what a generator step costs by both
races and the values at equal cost. It ends with 1 where a value at equal compute differs, a value
at equal raced seconds or a ratio of raced costs differs by more than 5 %, or a verdict changes."""

import multiprocessing
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.analysis import tables
from benchmark.analysis.evidence import comparisons
from benchmark.analysis.scores import PLACE, clock_fault
from benchmark.analysis.tables import Tables
from benchmark.run.options import RunOptions
from benchmark.run.session import run_matrix

BUSY = 2  # processes that run with the second
LARGEST = 0.05  # change of a value or of a ratio of costs, as a share
CUT = (
    'objectives=["nonsaturating", "lsgan", "wgan", "wgan_gp"]',
    "training.steps=60",
    "evaluation.schedule=[0, 0.25, 0.5, 0.75, 1]",
)


def spin() -> None:
    """Work without end."""
    matrix = np.random.default_rng(0).normal(size=(256, 256))
    while True:
        matrix = np.tanh(matrix @ matrix / 256)


@contextmanager
def busy(num_processes: int) -> Iterator[None]:
    """So many processes work during the block."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=spin, daemon=True) for _ in range(num_processes)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def run(folder: Path, overrides: tuple[str, ...]) -> Tables:
    """Run the matrix into a folder and read its tables."""
    shutil.rmtree(folder, ignore_errors=True)
    summary = run_matrix("quick", RunOptions(device="cpu", overrides=overrides), folder)
    print(summary.line, flush=True)
    return tables.load(summary.folder)


def per_objective(found: Tables) -> pd.DataFrame:
    """Place and objective → the raced cost ÷ that of the place's first objective, its spread, and
    the medians over seeds of the primary metric at equal cost."""
    cells = found.cells
    rows = []
    for (dataset, architecture, objective), group in cells.groupby(
        [*PLACE, "objective"], sort=False
    ):
        here = cells[(cells["dataset"] == dataset) & (cells["architecture"] == architecture)]
        column = found.primary[dataset]
        row = {"place": f"{architecture} on {dataset}", "objective": objective}
        row["ms"] = group["raced_ms"].iloc[0]
        row["ratio"] = row["ms"] / here["raced_ms"].iloc[0]
        row["spread"] = group["raced_spread"].iloc[0]
        row["wall_ms"] = 1000 * (group["train_seconds"] / group["g_steps"]).median()
        for of in ("equal_compute", "equal_time"):
            row[of] = group[f"{column}:{of}"].median()
        row["fault"] = clock_fault(here)
        rows.append(row)
    return pd.DataFrame(rows).set_index(["place", "objective"])


def verdicts(found: Tables) -> pd.Series:
    """The verdict of every comparison."""
    return comparisons(found).set_index([*PLACE, "of", "first", "second"])["verdict"].sort_index()


def differences(alone: Tables, loaded: Tables) -> list[str]:
    """What load changed, beyond what is promised."""
    one, other = per_objective(alone), per_objective(loaded)
    shown = one.join(other.add_suffix(" loaded"))
    print(shown.drop(columns=["fault", "fault loaded"]).to_string(float_format="{:.4g}".format))
    numbers = ["ratio", "equal_time"]
    change = other[numbers] / one[numbers] - 1
    print(f"largest change of a ratio of costs: {change['ratio'].abs().max():.1%}")
    print(
        f"largest change of a median at equal raced seconds: {change['equal_time'].abs().max():.1%}"
    )
    found = []
    for column in alone.cells.columns:
        is_exact = column.endswith((":equal_compute", ":final"))
        if is_exact and not alone.cells[column].equals(loaded.cells[column]):
            found.append(f"{column} differs")
    for name in ("ratio", "equal_time"):
        for where, value in change[name][~(change[name].abs() <= LARGEST)].items():
            found.append(f"{' '.join(where)}: {name} changed by {value:.1%}")
    before, after = verdicts(alone), verdicts(loaded)
    if not before.equals(after):
        found.append(f"verdicts:\n{before[before != after.reindex(before.index)]}\n{after}")
    for name, frame in (("alone", one), ("with busy processes", other)):
        found += [f"{name}: {fault}" for fault in frame["fault"].unique() if fault]
    return found


def main(folder: Path, overrides: tuple[str, ...]) -> int:
    alone = run(folder / "alone", overrides)
    with busy(BUSY):
        loaded = run(folder / "loaded", overrides)
    found = differences(alone, loaded)
    print("\n".join(found) or "load changed nothing beyond what is promised")
    return int(bool(found))


if __name__ == "__main__":
    whole = "--whole" in sys.argv[2:]
    sys.exit(main(Path(sys.argv[1]), () if whole else CUT))
