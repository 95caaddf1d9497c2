"""The data of the forest plots: every comparison of every place at every budget."""

from typing import Any

import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import PLACE
from benchmark.drawing.layout import pages
from benchmark.drawing.save import stem
from benchmark.drawing.style import described
from benchmark.metrics import sign
from benchmark.report.charts.values import number
from benchmark.report.figures.certainty import (
    COMPARED_AT,
    DIFFERENCE,
    limits,
    with_values,
    within,
)
from benchmark.text import place_name

STEM = "differences"


def of_figures(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Stem of a figure of differences -> its chart."""
    rows = with_values(evidence)
    if rows.empty:
        return {}
    objectives = list(evidence.tables.cells["objective"].unique())
    reference = evidence.tables.matrix.reference
    charts = {}
    for part, page in pages(rows):
        present = set(page["of"])
        charts[stem(STEM, part) if part else STEM] = {
            "kind": "differences",
            "budgets": {of: label for of, label in COMPARED_AT.items() if of in present},
            "places": [
                _place(str(dataset), str(architecture), per_place, objectives, reference)
                for (dataset, architecture), per_place in page.groupby(PLACE, sort=False)
            ],
        }
    return charts


def _place(
    dataset: str,
    architecture: str,
    rows: pd.DataFrame,
    objectives: list[str],
    reference: str | None,
) -> dict[str, Any]:
    column = str(rows["metric"].iloc[0])
    budgets = {}
    for of, of_budget in rows.groupby("of", sort=False):
        shown = within(of_budget).to_dict("records")
        low, high = limits(of_budget)
        budgets[str(of)] = {
            "range": [number(low), number(high)],
            "rows": [_row(row, objectives, reference) for row in shown],
        }
    better = "below" if sign(column) == 1 else "above"
    return {
        "name": place_name(architecture, dataset),
        "dataset": dataset,
        "architecture": architecture,
        "axis": f"{described(column)}\ndifference (better {better} 0)",
        "budgets": budgets,
    }


def _row(row: dict[Any, Any], objectives: list[str], reference: str | None) -> dict[str, Any]:
    """One comparison."""
    is_against_reference = row["second"] == reference
    name = row["first"] if is_against_reference else f"{row['first']} − {row['second']}"
    values = {name: number(row[name]) for name in (*DIFFERENCE, "p_improvement", "p_holm")}
    pair = {"first": objectives.index(row["first"]), "second": objectives.index(row["second"])}
    return {"name": name, "n": int(row["n"]), "verdict": row["verdict"], **pair, **values}
