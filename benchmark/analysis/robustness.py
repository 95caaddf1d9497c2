"""How many seeds of each objective and architecture survived, and how the others were lost."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmark.analysis.tables import Tables
from benchmark.analysis.verdicts import VERDICTS
from benchmark.store.schema import FINISHED

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
