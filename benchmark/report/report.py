"""Write the report of a result set: report/report.md and one self-contained report/index.html.

Every chapter answers a question. What a chapter may claim is decided in `analysis.evidence`."""

from functools import partial
from pathlib import Path

from benchmark.analysis import published
from benchmark.analysis import tables as tables_module
from benchmark.analysis.designs.drawn import without_drawn
from benchmark.analysis.evidence import Evidence, gather
from benchmark.analysis.search.finals import shown
from benchmark.analysis.tables import Tables
from benchmark.drawing.save import Figure
from benchmark.drawing.style import distinct
from benchmark.report import figures as all_figures
from benchmark.report import first
from benchmark.report.chapters import (
    certainty,
    completeness,
    cost,
    explanation,
    failures,
    measures,
    reproduce,
    speed,
    stability,
    tuning,
    winners,
)
from benchmark.report.charts import charts
from benchmark.report.designs import drawn, spread
from benchmark.report.page import FILTERS, Chapter, Tags
from benchmark.report.render import (
    attributes,
    data_link,
    image,
    largest_svg,
    tags_of_figure,
    templates,
)
from benchmark.store.files import write_bytes
from benchmark.text import escaped

TEMPLATES = {"report.md": "report.md.j2", "index.html": "report.html.j2"}


def write(
    folder: Path,
    tables: Tables | None = None,
    figures: list[Figure] | None = None,
    evidence: Evidence | None = None,
) -> Path:
    """Write the report of results/runs/MATRIX and return the path of index.html.

    Without `tables`, the tables are loaded and written; without `figures`, all figures are drawn;
    without `evidence`, it is gathered from the tables.
    Raises what `tables.load` raises."""
    if tables is None:
        tables = tables_module.load(folder)
        published.write(tables.published, folder)
    if evidence is None:
        evidence = gather(without_drawn(shown(tables)))
    tables = evidence.tables
    if figures is None:
        figures = all_figures.draw_all(tables, folder, evidence)
    with distinct(tables.matrix.objective_labels):
        screen, answers = first.first_screen(evidence), chapters(evidence, folder)
    axes = {axis: list(map(str, tables.cells[axis].unique())) for axis in FILTERS}
    by_section: dict[str, list[tuple[Figure, Tags]]] = {}
    for figure in figures:
        tags = tags_of_figure(folder, figure.stem, axes)
        by_section.setdefault(figure.section, []).append((figure, tags))
    # The figures of the experiments show no objective of this matrix: no filter hides them.
    by_section["why"] = [(figure, {}) for figure in explanation.figures(folder)]
    pictures = [figure for of_section in by_section.values() for figure, _ in of_section]
    page = {
        "matrix": tables.matrix,
        "first": screen,
        "chapters": answers,
        "figures": by_section,
        "axes": axes,
        "charts": charts(tables, evidence, folder),
        "tables": [*(tables.with_pools or tables).published],
    }
    environment = templates()
    environment.filters["md"] = escaped
    environment.filters["attributes"] = attributes(axes)
    sizes = [(folder / f"figures/{figure.stem}.svg").stat().st_size for figure in pictures]
    largest = largest_svg(sizes)
    environment.filters["image"] = partial(image, folder / "figures", largest=largest)
    environment.filters["data_link"] = partial(data_link, folder / "figures")
    for name, template in TEMPLATES.items():
        text = environment.get_template(template).render(page)
        write_bytes(folder / "report" / name, text.encode())
    return folder / "report/index.html"


def chapters(evidence: Evidence, folder: Path) -> list[Chapter]:
    """The chapters of a report in reading order."""
    return [
        *drawn.chapters(evidence.tables),
        *spread.chapters(evidence.tables),
        winners.chapter(evidence),
        *tuning.chapters(evidence.tables),
        speed.chapter(evidence),
        stability.chapter(evidence),
        cost.chapter(evidence, folder),
        failures.chapter(evidence, folder),
        certainty.chapter(evidence),
        measures.chapter(evidence.tables, folder),
        explanation.chapter(folder),
        completeness.chapter(evidence),
        reproduce.chapter(evidence.tables, folder),
    ]
