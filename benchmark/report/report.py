"""Tables + figures -> report/report.md and one self-contained report/index.html, by the two
templates beside this.

Chapters answer in order: did everything run; who wins where; how fast; how reliable; at what cost;
what failed; how sure are we; why do they behave so; how to reproduce. What they claim is decided in
`evidence`, by `stats.family`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from benchmark.analysis.evidence import Evidence, gather
from benchmark.analysis.tables import TABLES, Tables, load
from benchmark.analysis.tables import write as write_tables
from benchmark.report.chapters.certainty import failures, reproduce, sure
from benchmark.report.chapters.explanation import why, why_figures
from benchmark.report.chapters.speed import cost, reliable, speed
from benchmark.report.chapters.winners import completeness, ran, where
from benchmark.report.figures import overview as plots
from benchmark.report.page import AXES, Chapter, Tags, image, templates
from benchmark.store.files import write_bytes
from benchmark.text import escaped


def write(
    folder: Path, tables: Tables | None = None, figures: list[plots.Figure] | None = None
) -> Path:
    """Write the report of results/runs/MATRIX and return the path of index.html.

    Loads and writes the tables and draws the figures unless they are handed over. Raises what
    `tables.load` raises."""
    if tables is None:
        write_tables(tables := load(folder), folder)
    found = gather(tables)
    figures = plots.draw_all(tables, folder, found) if figures is None else figures
    explained = [(figure, Tags()) for figure in why_figures(folder)]  # of no axis of this matrix
    axes = {axis: list(map(str, tables.cells[axis].unique())) for axis in AXES}
    page = {
        "matrix": tables.matrix,
        "verdict": completeness(tables),
        "chapters": chapters(found, folder),
        "figures": [
            *((figure, _about(folder, figure.stem, axes)) for figure in figures),
            *explained,
        ],
        "axes": axes,
        "tables": TABLES,
    }
    environment = templates()
    environment.filters |= {
        "md": escaped,
        "of": _attributes(axes),
        "image": partial(image, folder / "figures"),
    }
    for name, template in (("report.md", "report.md.j2"), ("index.html", "report.html.j2")):
        write_bytes(
            folder / "report" / name, environment.get_template(template).render(page).encode()
        )
    return folder / "report/index.html"


def chapters(found: Evidence, folder: Path) -> list[Chapter]:
    """The report in reading order."""
    return [
        *(ran(found), where(found), speed(found), reliable(found), cost(found, folder)),
        *(failures(found, folder), sure(found), why(folder), reproduce(found.tables)),
    ]


def _about(folder: Path, stem: str, axes: dict[str, list[str]]) -> Tags:
    """The axes on which a figure shows one label only, of several in the matrix, by the numbers it
    shows."""
    path = folder / f"figures/{stem}.csv"
    columns = [
        axis for axis in AXES if axis in pd.read_csv(path, nrows=0).columns and len(axes[axis]) > 1
    ]
    shown = pd.read_csv(path, usecols=columns, dtype=str)
    return {axis: [shown[axis].iloc[0]] for axis in columns if shown[axis].nunique() == 1}


def _attributes(axes: dict[str, list[str]]) -> Callable[[Tags], Markup]:
    """Tags as data-AXIS="numbers of the labels"; the filters of the page look at them."""
    position = {axis: {label: i for i, label in enumerate(labels)} for axis, labels in axes.items()}

    def attributes(of: Tags) -> Markup:
        numbers = {
            axis: " ".join(str(position[axis][label]) for label in of[axis])
            for axis in AXES
            if axis in of
        }
        return Markup("").join(
            Markup(' data-{}="{}"').format(axis, value) for axis, value in numbers.items()
        )

    return attributes
