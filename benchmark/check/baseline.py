"""Measure results for the gate, compare them with their baseline, and accept them as the next one.

A baseline is MATRIX.json in a folder of baselines: the rows of rows.py, the traces of traces.py and
the rate of false alarms. The folder is results/baselines in the working directory, unless another
one is named."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.analysis.scores import is_crossed, raced_costs
from benchmark.analysis.tables import Tables
from benchmark.check.numbers import compare_numbers, origins_differ
from benchmark.check.rows import (
    COST,
    DIVERGED,
    UNKNOWN,
    RerunRow,
    baseline_rows,
    useless,
)
from benchmark.check.rule import MANY_SEEDS, FalseAlarms, false_alarms, judge
from benchmark.check.shipped import IN_CHECKOUT, INSTALLED, check_is_shipped
from benchmark.check.stored import Baseline, baseline_file, read_baseline
from benchmark.check.traces import GROUP, traces
from benchmark.check.verdict import Verdict
from benchmark.errors import UserError
from benchmark.matrix.cell import AXES, digest
from benchmark.metrics import metric
from benchmark.stats.intervals import Array
from benchmark.store.files import write_json
from benchmark.store.schema import FINISHED, MatrixFile, RunStatus
from benchmark.text import plural

BASELINES = Path("results/baselines")
CROSSED = "its seeds are crossed: runs that share weights or batches are not independent"
FACTS = ["key", "seed", "status", "protocol", "executed", "stale"]  # of a run


def measured(tables: Tables) -> list[RerunRow]:
    """The rows of a rerun: for each group every gated metric's final values, and three more.

    `diverged` is 0 or 1. The two of COST are milliseconds of a generator step by the race of the
    place, the same for all seeds, and peak memory, both ÷ those of the reference workload in the
    same race or process; memory has no value on a CPU. A run that a search stopped has no row."""
    runs = tables.runs[tables.runs["status"] != RunStatus.STOPPED]
    training = {entry.key: entry.spec.training for entry in tables.matrix.cells}
    gated = _gated_columns(tables)
    values = _values(runs, {column for columns in gated.values() for column in columns})
    number = runs.groupby(GROUP, sort=False).ngroup().to_numpy()
    untrained = _untrained(tables, runs["key"], number)
    rows = []
    facts = runs[[*GROUP, *FACTS]].astype(object)
    for i in range(number.max(initial=-1) + 1):
        members = np.flatnonzero(number == i)
        group = facts.iloc[members]
        first = group.iloc[0]
        done = (group["status"] == "done").to_numpy()
        protocol = next(iter(group["protocol"].dropna()), None)
        executed = _executed(group)
        for column in [*gated.get(first["dataset"], []), DIVERGED, *COST]:
            of_group = values[column][members]
            unmeasured = 0
            if column not in COST:
                unmeasured = int((done & ~np.isfinite(of_group)).sum())
            row = RerunRow(
                objective=first["objective"],
                architecture=first["architecture"],
                dataset=first["dataset"],
                metric=column,
                protocol=protocol,
                training=digest(training[first["key"]]),
                values=_by_seed(group["seed"], of_group),
                untrained=_finite_or_none(untrained[i].get(column, np.nan)),
                executed="" if column == DIVERGED else executed,
                unfinished=int((~group["status"].isin(FINISHED)).sum()),
                unmeasured=unmeasured,
                stale=int(group["stale"].sum()),
            )
            rows.append(row)
    return rows


def accept(tables: Tables, name: str, folder: Path | None = None) -> tuple[Path, list[str]]:
    """Write NAME.json to a folder of baselines from finished results. Returns its path and notes.

    The notes say what the baseline replaces, which groups have no value, which metrics are useless
    as a gate, and how often unchanged code would go red. Raises UserError for results that are
    unfinished, stale, without a value or of crossed seeds, and for those of another matrix than the
    shipped one of this name where its baseline would be replaced; OSError where the file cannot be
    written."""
    path = (folder or BASELINES) / f"{name}.json"
    if path.exists() and not path.is_file():
        raise UserError(f"cannot accept {name}: {path} is not a file")
    rows = measured(tables)
    reason = CROSSED if is_crossed(tables.runs).any() else _unacceptable(rows)
    if reason:
        raise UserError(f"cannot accept {name}: {reason}")
    if path.parent.resolve() == IN_CHECKOUT:
        check_is_shipped(rows, name)
    groups = baseline_rows(rows)
    alarms = false_alarms(rows)
    notes = []
    if path.exists():
        notes.append(_what_is_replaced(path, name))
    without_value = [row.title for row in rows if row.family == "quality" and not row.finite_values]
    for title in dict.fromkeys(without_value):
        notes.append(f"every seed diverged: {title}: its divergence alone is gated")
    for row in groups:
        reason = useless(row)
        if reason:
            notes.append(f"useless as a gate: {row.title} {row.metric}: {reason}")
    fewest_seeds = min(len(row.values) for row in rows)
    notes.append(_false_alarm_note(alarms, fewest_seeds))
    write_json(path, baseline_file(name, alarms, Baseline(groups, traces(tables))))
    return path, notes


class Comparison(NamedTuple):
    """Results against a baseline."""

    verdicts: list[Verdict]
    not_exact: str
    """Why the numbers of a seed need not be equal to the bit; the empty string where they must."""


def compare(tables: Tables, name: str, folder: Path | None = None) -> Comparison:
    """Results against the baseline of their matrix.

    Raises UserError where there is none, or none of this version."""
    baseline = read_baseline(find(name, folder), name)
    rows, now = measured(tables), traces(tables)
    numbers = compare_numbers(baseline.traces, now, baseline.rows, rows)
    verdicts = [*judge(baseline.rows, rows), *numbers]
    shown = [replace(verdict, group=_shown(verdict.group, tables.matrix)) for verdict in verdicts]
    return Comparison(shown, origins_differ(baseline.traces, now))


def _shown(group: str, matrix: MatrixFile) -> str:
    """The title of a group, `wgan / dcgan / digits`, with display names."""
    labels = group.split(" / ")
    if len(labels) != len(AXES):
        return group
    return " / ".join(matrix.shown(*named) for named in zip(AXES, labels, strict=True))


def find(name: str, folder: Path | None = None) -> Path:
    """The baseline of a matrix in a folder; without a folder in BASELINES, then among the shipped
    ones. Raises UserError where there is none."""
    folders = [folder] if folder else [BASELINES, IN_CHECKOUT, INSTALLED]
    if folders[0].exists() and not folders[0].is_dir():
        raise UserError(f"{folders[0]} is a file, not a folder of baselines")
    for place in folders:
        path = place / f"{name}.json"
        if path.exists():
            return path
    known = sorted({file.stem for place in folders for file in place.glob("*.json")})
    raise UserError(
        f"no baseline for matrix {name!r} in {folders[0]}; "
        f"there are: {', '.join(known) or 'none'} (ganbench accept)"
    )


def _gated_columns(tables: Tables) -> dict[str, list[str]]:
    """The metric columns that are gated, by dataset, sorted by name."""
    dataset = tables.evals["cell"].map(tables.runs.set_index("key")["dataset"])
    columns = tables.evals["metric"].groupby(dataset).unique().to_dict()
    gated = {}
    for name, measured_columns in columns.items():
        gated[str(name)] = [column for column in sorted(measured_columns) if metric(column).gate]
    return gated


def _values(runs: pd.DataFrame, columns: Iterable[str]) -> dict[str, Array]:
    """The values of all runs by column: gated metrics, divergence, speed, memory."""
    values = {column: runs[f"{column}:final"] for column in columns}
    values["relative speed"] = raced_costs(runs)["workloads"]
    values["relative memory"] = runs["peak_memory_mb"] / runs["reference_mb"]
    done = runs["status"] == "done"
    arrays = {column: of_all.where(done).to_numpy() for column, of_all in values.items()}
    return arrays | {DIVERGED: (runs["status"] == "diverged").to_numpy(float)}


def _untrained(
    tables: Tables, keys: pd.Series, number: NDArray[np.integer[Any]]
) -> list[dict[Any, float]]:
    """By group, every metric before the first step, by column: the median over runs. keys, number:
    of every run, and its group."""
    start = tables.evals[tables.evals["g_steps"] == 0]
    by_cell = start.pivot_table(index="cell", columns="metric", values="value", observed=True)
    medians = by_cell.reindex(keys).groupby(number).median()
    return medians.to_dict("records")


def _executed(group: pd.DataFrame) -> str:
    """How the finished cells of a group were executed."""
    known = group["executed"][group["status"] == "done"].dropna()
    return "; ".join(sorted(known.unique())) or UNKNOWN


def _by_seed(seeds: pd.Series, values: Array) -> dict[str, float | None]:
    pairs = zip(seeds, values, strict=True)
    return {str(seed): _finite_or_none(value) for seed, value in pairs}


def _finite_or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _unacceptable(rows: Sequence[RerunRow]) -> str:
    """Why results cannot become a baseline; the empty string where they can."""
    unfinished = sum(row.unfinished for row in rows if row.metric == DIVERGED)
    if unfinished:
        num_cells = sum(len(row.values) for row in rows if row.metric == DIVERGED)
        count = f"{unfinished} of {plural(num_cells, 'cell')}"
        return f"the results are incomplete, {count} unfinished; run the matrix to its end first"
    if any(row.stale for row in rows):
        return "other code or evaluation options made the results; run with --force"
    for row in rows:
        if row.unmeasured:
            seeds = f"{row.unmeasured} of {len(row.values)} seeds finished without a value"
            return f"{row.title} {row.metric}: {seeds}"
    quality = [row for row in rows if row.family == "quality"]
    unseen = {row.title for row in rows} - {row.title for row in quality}
    if unseen:
        return f"the results of {min(unseen)} have no value of a metric to gate"
    if not any(row.finite_values for row in quality):
        return "the results have no value of a metric to gate: every run diverged"
    return ""


def _what_is_replaced(path: Path, name: str) -> str:
    try:
        rows = read_baseline(path, name).rows
    except UserError:
        return "replaces a file that is not a baseline of this version"
    return f"replaces a baseline of {max(len(row.values) for row in rows)} seeds"


def _false_alarm_note(alarms: FalseAlarms | None, fewest_seeds: int) -> str:
    if alarms is None:
        return (
            f"{fewest_seeds} seeds: too few to estimate false alarms and to tell small changes; "
            f"{MANY_SEEDS} can"
        )
    red, reruns = alarms["red"], alarms["reruns"]
    note = f"false alarms: {red} of {reruns} reruns of unchanged code go red"
    if red > reruns / 20:
        note += ", more than 1 in 20: the bands are too narrow"
    return note
