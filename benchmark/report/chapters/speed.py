"""How fast? What the target cost on four clocks, and the performance profile's score."""

import numpy as np
import pandas as pd

from benchmark.analysis import convergence
from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import clock_fault
from benchmark.analysis.tables import Tables
from benchmark.metrics import metric
from benchmark.report.page import (
    TARGET_CLOCKS,
    Chapter,
    Item,
    Table,
    at_place,
    place,
    places,
    records,
    tags_of,
)
from benchmark.text import interval, listed, number

TO_TARGET = (
    "Median over seeds of what a run had spent at its first evaluation at the target, with its "
    "95 % interval (Kaplan–Meier: a run that ended before is censored there, one that diverged "
    "never reaches it). ∞: not reached by half of the runs. Critic forwards: all work, in passes "
    "of one sample through the critic. Raced seconds: generator steps × what one costs by the race."
)
PROFILE = (
    "Share of places whose target is reached, at the median, within a ratio of the best "
    "objective's cost; mean over ratios from 1 to {:g}: 1 is always first. Places: {}."
)


def chapter(evidence: Evidence) -> Chapter:
    """The cost of the target on every clock that is known."""
    tables = evidence.tables
    result = Chapter("speed", "How fast?")
    rows = tables.convergence[tables.convergence["target"].notna()]
    for at in places(tables.cells):
        why = tables.targets[at["dataset"], at["architecture"]].why
        if why:
            result.items.append(Item(place(at), [f"no target: {why}."], tags_of(at)))
    if rows.empty:
        return result
    known = rows[rows["median"].notna()]["clock"].unique()
    clocks = {clock: head for clock, head in TARGET_CLOCKS.items() if clock in known}
    heads = ["where", "objective", "reached", *clocks.values()]
    table = Table("To the target", heads, note=TO_TARGET)
    for at in places(rows):
        here = at_place(rows, at)
        fault = clock_fault(at_place(tables.cells, at))
        sentence = f"{_target(tables, here, at['dataset'])}. {_fastest(here, fault)}"
        result.items.append(Item(place(at), [sentence], tags_of(at)))
        for objective, per_objective in here.groupby("objective", sort=False):
            by_clock = {row["clock"]: row for row in records(per_objective)}
            reached = f"{by_clock['samples']['reached']}/{by_clock['samples']['n']}"
            times = [interval(by_clock[clock], "median") for clock in clocks]
            tags = tags_of({**at, "objective": objective})
            table.add([place(at), str(objective), reached, *times], tags)
    result.tables.append(table)
    if len(places(rows)) > 1:
        result.tables.append(profile(tables))
    return result


def _target(tables: Tables, rows: pd.DataFrame, dataset: str) -> str:
    """`target FID 30.6, given in the matrix`."""
    label = ""
    if dataset in tables.primary:
        label = metric(tables.primary[dataset]).label
    source = f"the median best of {tables.matrix.reference}"
    if dataset in tables.matrix.targets:
        source = "given in the matrix"
    return f"target {label} {number(rows['target'].iloc[0])}, {source}"


def _fastest(rows: pd.DataFrame, fault: str) -> str:
    """Which objectives reach the target of a place first, on three clocks. fault: why seconds do
    not compare there."""
    parts = []
    for clock in ("g_steps", "forwards", "seconds"):
        times = rows[(rows["clock"] == clock) & np.isfinite(rows["median"])]
        if len(times):
            least = times["median"].min()
            names = listed(list(times[times["median"] == least]["objective"]))
            parts.append(f"{names} by {TARGET_CLOCKS[clock]} ({number(least)})")
    if not parts:
        if not (rows["n"] > 0).any():
            return "What it costs is not known of any run."
        return "No objective reaches it in half of its runs."
    fastest = f"First there at the median: {'; '.join(parts)}."
    if fault:
        fastest += f" Seconds do not compare: {fault}."
    return fastest


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
        "Performance profile over places",
        ["objective", *scores],
        note=PROFILE.format(convergence.LIMIT, ", ".join(counts)),
    )
    for name, row in rows.iterrows():
        table.add([str(name), *map(number, row)], {"objective": [str(name)]})
    return table
