"""How many seeds of each objective and architecture survived, how the others were lost, and
whether anything was learnt in a place."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmark.analysis.scores import why_unranked
from benchmark.analysis.tables import Tables
from benchmark.analysis.thresholds import value
from benchmark.analysis.verdicts import VERDICTS
from benchmark.metrics import metric
from benchmark.store.schema import FINISHED
from benchmark.text import counted

LOSSES = [verdict for verdict in VERDICTS if verdict != "ok"]


def crossed(cells: pd.DataFrame) -> list[str]:
    """The image datasets with two architectures or more.

    They can answer which objective trains which architecture."""
    images = cells[cells["modality"] == "images"]
    counts = images.groupby("dataset", sort=False)["architecture"].nunique()
    return list(counts.index[counts > 1])


def robustness(tables: Tables, dataset: str) -> pd.DataFrame:
    """Architecture x objective of a dataset: seeds in the matrix, done, unfinished and LOSSES.

    These are counts of cells. n, median, ci_low, ci_high: of the final value of the primary metric,
    as in `summary`."""
    cells, summary = tables.cells, tables.summary
    by = ["architecture", "objective"]
    rows = cells[cells["dataset"] == dataset]
    marks = {"done": rows["status"] == "done", "unfinished": ~rows["status"].isin(FINISHED)}
    for verdict in LOSSES:
        marks[verdict] = rows["verdict"] == verdict
    counts = rows[by].assign(seeds=1, **marks).groupby(by, sort=False).sum()
    is_final = (summary["dataset"] == dataset) & (summary["of"] == "final")
    finals = summary[is_final & (summary["metric"] == tables.primary.get(dataset))].set_index(by)
    return counts.join(finals[["n", "median", "ci_low", "ci_high"]]).reset_index()


def lost(row: Mapping[Any, Any]) -> list[str]:
    """How the seeds of a row of `robustness` were lost: ["1/5 diverged", "2/5 late collapse"]."""
    ways = [*LOSSES, "unfinished"]
    return [f"{row[way]}/{row['seeds']} {way}" for way in ways if row[way]]


def nothing_learnt(tables: Tables, dataset: str, architecture: str) -> str:
    """That nothing was learnt in a place, which has no ranking then: a clause without a point.
    Empty where a run learnt something, and where all runs diverged.

    A run learnt nothing if it is stuck, or if its best value of a distance that ranks is no better
    than a stuck one's may be."""
    here = _at(tables, dataset, architecture)
    alive = here[here["verdict"].notna() & (here["verdict"] != "diverged")]
    idle = alive["verdict"] == "stuck"
    column = tables.primary.get(dataset)
    if column is not None and metric(column).primary:
        untrained = tables.untrained[dataset, architecture]
        idle |= alive[f"{column}:best"] >= value("stuck") * untrained
    if alive.empty or not idle.all():
        return ""
    verdicts = counted(Counter(here["verdict"].dropna()))
    return f"nothing was learnt here: no ranking ({verdicts})"


def why_no_ranking(tables: Tables, dataset: str, architecture: str) -> str:
    """Why the objectives of a place have no ranking: a clause without a point."""
    here = _at(tables, dataset, architecture)
    reason = nothing_learnt(tables, dataset, architecture)
    return reason or why_unranked(here, tables.primary.get(dataset))


def _at(tables: Tables, dataset: str, architecture: str) -> pd.DataFrame:
    is_here = tables.cells["dataset"] == dataset
    return tables.cells[is_here & (tables.cells["architecture"] == architecture)]
