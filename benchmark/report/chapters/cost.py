"""At what cost? Time, work and memory of a generator step, and the budgets of equal cost; the time
that runs took, as a record."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import clock_fault, raced_costs
from benchmark.report.page import (
    Chapter,
    Item,
    Table,
    at_place,
    each_place,
    place,
    records,
    tags_of,
    with_values,
)
from benchmark.store.clocks import WALL_CLOCKS
from benchmark.store.layout import ResultSet
from benchmark.text import Record, number

COSTS = {
    "ms": "raced ms per generator step",
    "spread": "± % over the race",
    "workloads": "reference workloads per generator step",
    "forwards": "critic forwards per generator step",
    "peak_memory_mb": "peak memory MiB",
    "train_seconds": "recorded training seconds",
    "share": "% of time measuring",
}
NOTE = (
    "A generator step includes its critic steps. Raced: before the first cell the objectives of a "
    "place took turns in one process, so that a busy machine slowed all alike; ± % is half the "
    "interquartile range over its rounds. The reference workload took its turn too: machines "
    "compare in its units. A critic forward is the work of one sample through the critic. The "
    "rest are medians over seeds. Memory: allocated on a GPU; on a CPU the whole process, which "
    "the libraries dominate. Recorded seconds are of a machine that may have done other work: "
    "nothing is compared by them."
)


def chapter(evidence: Evidence, folder: Path) -> Chapter:
    """A table per place: medians over seeds of COSTS, and the number of parameters."""
    cells = _with_costs(evidence.tables.cells)
    shown = with_values(COSTS, cells)
    heads = ["objective", *shown.values(), "parameters, generator", "critic"]
    result = Chapter("cost", "At what cost?", notes=[NOTE])
    for at, here in each_place(cells):
        groups = here.groupby("objective", sort=False)
        medians = groups[list(shown)].median().reset_index()
        table = Table(place(at), heads, tags=tags_of(at), fold="Cost by objective")
        for row, key in zip(records(medians), groups["key"].first(), strict=True):
            parameters = ResultSet(folder).cell(key).status.parameters
            texts = [number(row[name]) for name in shown]
            for network in ("generator", "discriminator"):
                texts.append(number(parameters.get(network, np.nan)))
            table.add([row["objective"], *texts], {**tags_of(at), "objective": [row["objective"]]})
        result.tables.append(table)
        line = _range(medians, clock_fault(here))
        result.items.append(Item(place(at), [line, *_budgets(evidence, at)], tags_of(at)))
    return result


def _with_costs(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that have trained, with the columns of COSTS."""
    cells = cells[cells["g_steps"] > 0]
    costs = raced_costs(cells)
    seconds = cells[list(WALL_CLOCKS)].sum(axis=1)
    return cells.assign(
        ms=costs["ms"],
        spread=100 * cells["raced_spread"].where(costs["ms"].notna()),
        workloads=costs["workloads"],
        forwards=costs["forwards"],
        share=100 * cells["eval_seconds"] / seconds,
    )


def _budgets(evidence: Evidence, at: Record) -> list[str]:
    """The equal costs at which the objectives of a place are compared."""
    if at_place(evidence.tables.cells, at)["objective"].nunique() == 1:
        return []
    parts = []
    for of, unit in (("equal_compute", "critic forward-equivalents"), ("equal_time", "raced s")):
        budget = evidence.tables.equal_cost[of].get((at["dataset"], at["architecture"]))
        if budget is not None:
            parts.append(f"{number(budget)} {unit}")
    return [f"Equal cost: {' and '.join(parts)}, those of the cheapest full run."] if parts else []


def _range(rows: pd.DataFrame, fault: str) -> str:
    """The least and the most milliseconds of a generator step in a place. fault: why they do not
    compare there."""
    if fault:
        return f"Seconds do not compare: {fault}."
    ordered = records(rows.sort_values("ms", kind="stable"))
    least, most = (f"{number(row['ms'])} ms" for row in (ordered[0], ordered[-1]))
    if least == most:
        whom = "for every objective" if len(ordered) > 1 else f"({ordered[0]['objective']})"
        return f"A generator step takes {least} {whom}."
    return (
        f"A generator step takes from {least} ({ordered[0]['objective']}) to {most} "
        f"({ordered[-1]['objective']})."
    )
