"""At what cost? Time, work and memory of a generator step, and the time spent measuring."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import PLACE, clock_fault, ms_per_g_step
from benchmark.report.page import (
    Chapter,
    Item,
    Table,
    at_place,
    by_place,
    place,
    places,
    records,
    tags_of,
    with_values,
)
from benchmark.store.clocks import WALL_CLOCKS
from benchmark.store.layout import ResultSet
from benchmark.text import Record, number

COSTS = {
    "ms": "ms per generator step",
    "forwards": "critic forwards per generator step",
    "workloads": "reference workloads per generator step",
    "train_seconds": "training seconds",
    "share": "% of time measuring",
    "peak_memory_mb": "peak memory MiB",
}
# Not comparable between cells that were executed in different ways
TIMES = ("ms", "workloads", "train_seconds", "share")
NOTE = (
    "Medians over seeds. A generator step includes its critic steps; a critic forward is the work "
    "of one sample through the critic. The reference workload runs in the same process as the "
    "cell: machines compare in its units. Memory: allocated on a GPU; on a CPU the whole process, "
    "which the libraries dominate."
)


def chapter(evidence: Evidence, folder: Path) -> Chapter:
    """Medians over seeds of COSTS, and the number of parameters."""
    cells = _with_costs(evidence.tables.cells)
    shown = with_values(COSTS, cells)
    heads = ["where", "objective", *shown.values(), "parameters, generator", "critic"]
    table = Table("Cost", heads, note=NOTE)
    groups = by_place(cells).groupby([*PLACE, "objective"], sort=False)
    medians = groups[list(shown)].median().reset_index()
    faults = _faults(cells)
    for row, key in zip(records(medians), groups["key"].first(), strict=True):
        parameters = ResultSet(folder).cell(key).status.parameters
        texts = [number(row[name]) for name in shown]
        if faults[row["dataset"], row["architecture"]]:
            texts = [
                "?" if name in TIMES else text for name, text in zip(shown, texts, strict=True)
            ]
        for network in ("generator", "discriminator"):
            texts.append(number(parameters.get(network, np.nan)))
        table.add([place(row), row["objective"], *texts], tags_of(row))
    result = Chapter("cost", "At what cost?", tables=[table])
    for at in places(medians):
        rows = records(at_place(medians, at).sort_values("ms", kind="stable"))
        fault = faults[at["dataset"], at["architecture"]]
        line = f"times do not compare: {fault}." if fault else _range(rows)
        result.items.append(Item(place(at), [line], tags_of(at)))
    return result


def _faults(cells: pd.DataFrame) -> dict[tuple[str, str], str]:
    """(dataset, architecture) → why times do not compare there; empty where they do."""
    faults = {}
    for (dataset, architecture), rows in cells.groupby(PLACE):
        faults[str(dataset), str(architecture)] = clock_fault(rows)
    return faults


def _with_costs(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that have trained, with the columns of COSTS."""
    cells = cells[cells["g_steps"] > 0]
    ms = ms_per_g_step(cells)
    seconds = cells[list(WALL_CLOCKS)].sum(axis=1)
    return cells.assign(
        ms=ms,
        workloads=ms / cells["reference_ms"],
        forwards=cells["forwards"] / cells["g_steps"],
        share=100 * cells["eval_seconds"] / seconds,
    )


def _range(rows: list[Record]) -> str:
    """The least and the most milliseconds of a generator step. rows: in the order of `ms`."""
    least, most = (f"{number(row['ms'])} ms ({row['objective']})" for row in (rows[0], rows[-1]))
    if len(rows) == 1:
        return f"a generator step takes {least}."
    return f"a generator step takes from {least} to {most}."
