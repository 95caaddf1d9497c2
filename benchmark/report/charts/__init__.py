"""The interactive charts of a report, drawn in the browser from data that the page holds.

A chart replaces the picture of its figure where JavaScript runs. On paper, and in browsers that run
no scripts, the picture stands."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.tables import Tables
from benchmark.drawing.style import distinct, style
from benchmark.report.charts import curves, differences, slider
from benchmark.report.charts.bundle import head
from benchmark.report.charts.values import plain_look

ELEMENT = Markup('<div class="chart" data-stem="{}" hidden></div>')


@dataclass
class Charts:
    """What a page needs to show charts."""

    head: str = ""
    """Markup: styles, data, plotting library and script, once, at the end of the page. Empty for
    none."""
    of: dict[str, Markup] = field(default_factory=dict)
    """Stem of a figure -> the element that its chart is drawn in."""


def charts(tables: Tables, evidence: Evidence, folder: Path) -> Charts:
    """The charts of a report. Raises UserError for damaged samples."""
    drawn: dict[str, dict[str, Any]] = {
        **curves.of_figures(tables),
        **differences.of_figures(evidence),
        **slider.of_figures(tables, folder),
    }
    if not drawn:
        return Charts()
    cells = tables.cells
    with distinct(tables.matrix.objective_labels):
        objectives = [plain_look(name, style(name)) for name in cells["objective"].unique()]
    data = {
        "objectives": objectives,
        "architectures": list(map(str, cells["architecture"].unique())),
        "datasets": list(map(str, cells["dataset"].unique())),
        "figures": drawn,
    }
    return Charts(head(data), {stem: ELEMENT.format(stem) for stem in drawn})
