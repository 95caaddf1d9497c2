"""How fast? What the targets cost on four clocks, and the performance profile's score."""

import numpy as np
import pandas as pd

from benchmark.analysis import convergence
from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import LEAST_PLACES, clock_fault
from benchmark.analysis.tables import Tables
from benchmark.analysis.targets import GIVEN
from benchmark.metrics import short_name
from benchmark.report.page import (
    TARGET_CLOCKS,
    Chapter,
    Item,
    Table,
    at_place,
    each_place,
    place,
    places,
    records,
    tags_of,
)
from benchmark.text import Record, cost, listed, number

TO_TARGET = (
    "Median over seeds of what a run had spent at its first evaluation at the target [exact 95 % "
    "interval]. > 600: half of the runs or more did not reach it within the 600 that they were "
    "trained for; not reached: all of these diverged. Critic forwards: all work, in passes of one "
    "sample through the critic. Raced seconds: generator steps × what one costs by the race."
)
NOT_REACHED = "No objective reaches it in half of its runs."
PROFILE = (
    "Share of targets that are reached, at the median, within a ratio of the best objective's "
    "cost; mean over ratios from 1 to {:g}: 1 is always first. Without the targets that no "
    "objective reaches. Targets: {}."
)


def chapter(evidence: Evidence) -> Chapter:
    """The cost of the targets on every clock that is known, a table per place. Who is first there
    is said where objectives compare: of two or more, unless no run was done."""
    tables = evidence.tables
    result = Chapter("speed", "How fast?")
    for at in places(tables.cells):
        why = tables.targets[at["dataset"], at["architecture"]].why
        if why:
            result.items.append(Item(place(at), [f"No target: {why}."], tags_of(at)))
    for at, here in each_place(tables.convergence):
        cells = at_place(tables.cells, at)
        lines = []
        if cells["objective"].nunique() > 1 and (cells["status"] == "done").any():
            lines = _firsts(tables, here, at["dataset"])
        fault = clock_fault(cells)
        if fault:
            lines.append(f"Seconds do not compare: {fault}.")
        if lines:
            result.items.append(Item(place(at), lines, tags_of(at)))
        costs = _costs(at, here)
        if costs.rows:
            result.tables.append(costs)
    scores = profile(tables)
    if scores.rows and len(places(tables.convergence)) >= LEAST_PLACES:
        result.tables.append(scores)
    return result


def _firsts(tables: Tables, rows: pd.DataFrame, dataset: str) -> list[str]:
    """A sentence for each target of a place, up to the first that no objective reaches."""
    lines = []
    for level, per_level in rows.groupby("level", sort=False):
        fastest = _fastest(per_level)
        lines.append(f"{_target(tables, per_level, str(level), dataset)}. {fastest}")
        if fastest == NOT_REACHED:  # and no harder one either
            break
    return lines


def _costs(at: Record, rows: pd.DataFrame) -> Table:
    """What the targets of a place cost. Targets that no run reached say nothing."""
    known = rows[rows["median"].notna()]["clock"].unique()
    clocks = {clock: head for clock, head in TARGET_CLOCKS.items() if clock in known}
    heads = ["objective", "target", "reached", *clocks.values()]
    table = Table(place(at), heads, note=TO_TARGET, tags=tags_of(at), fold="Cost of the targets")
    for (_, objective), group in rows.groupby(["level", "objective"], sort=False):
        by_clock = {row["clock"]: row for row in records(group)}
        of_level = rows[rows["level"] == group["level"].iloc[0]]
        if of_level["reached"].any():
            samples = by_clock["samples"]
            texts = [number(samples["target"]), f"{samples['reached']}/{samples['n']}"]
            texts += [cost(by_clock[clock]) for clock in clocks]
            tags = {**tags_of(at), "objective": [str(objective)]}
            table.add([str(objective), *texts], tags)
    return table


def _target(tables: Tables, rows: pd.DataFrame, level: str, dataset: str) -> str:
    """`classifier-FID (750) 30.6, 1/2 of the way from the untrained generator to the noise
    floor`."""
    target = f"{short_name(tables.primary[dataset])} {number(rows['target'].iloc[0])}"
    if level == GIVEN:
        return f"{target}, given in the matrix"
    return f"{target}, {level} of the way from the untrained generator to the noise floor"


def _fastest(rows: pd.DataFrame) -> str:
    """Which objectives reach a target first, on three clocks."""
    num_objectives = rows["objective"].nunique()
    costs: dict[str, list[str]] = {}  # by the objectives that are first
    for clock in ("g_steps", "forwards", "seconds"):
        times = rows[(rows["clock"] == clock) & np.isfinite(rows["median"])]
        if len(times):
            least = times["median"].min()
            first = list(times[times["median"] == least]["objective"])
            is_tie = 1 < len(first) == num_objectives
            names = f"all {num_objectives} objectives together" if is_tie else listed(first)
            costs.setdefault(names, []).append(f"{TARGET_CLOCKS[clock]} ({number(least)})")
    parts = [f"{names} by {listed(clocks)}" for names, clocks in costs.items()]
    if not parts:
        if not (rows["n"] > 0).any():
            return "What it costs is not known of any run."
        return NOT_REACHED
    return f"First there at the median: {'; '.join(parts)}."


def profile(tables: Tables) -> Table:
    """AlgoPerf's score per objective on every clock that is known."""
    scores = {}
    counts = []
    for clock, head in TARGET_CLOCKS.items():
        _, frame = convergence.profile(tables.convergence, clock)
        if len(frame):
            scores[head] = frame.set_index("objective")["score"]
            counts.append(f"{frame['workloads'].iloc[0]} by {head}")
    rows = pd.DataFrame(scores)
    rows = rows.iloc[np.argsort(-rows.sum(axis=1), kind="stable")]
    table = Table(
        "Performance profile over targets",
        ["objective", *scores],
        note=PROFILE.format(convergence.LIMIT, ", ".join(counts)),
    )
    for name, row in rows.iterrows():
        table.add([str(name), *map(number, row)], {"objective": [str(name)]})
    return table
