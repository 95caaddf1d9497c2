"""Write results/reference/index.html and README.md, and the pages that studies make."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from jinja2 import ChoiceLoader, FileSystemLoader
from markupsafe import Markup

from benchmark import __version__
from benchmark.report import audit_page, explain_page
from benchmark.report.page import FILTERS, records
from benchmark.report.render import LARGEST_SVG, attributes, templates
from benchmark.store.files import write_bytes
from benchmark.text import escaped, number, plural
from tests.speed import recorded
from tests.studies import gate_page, penalty_page, time_split, tricks_page
from tests.studies.reference_page import board, findings, settings
from tests.studies.reference_page.references import REFERENCE, Reference, read_all

TEMPLATES = Path(__file__).parent / "templates"
PAGES = {"index.html": "index.html.j2", "README.md": "README.md.j2"}


def main() -> None:
    """Make the pages of the studies, then the page over all."""
    studies()
    write()


def studies(folder: Path = REFERENCE) -> None:
    """The pages and figures that are made from committed tables, each in its folder."""
    audit = folder / "audit"
    values, limits = (records(pd.read_csv(audit / name)) for name in ("audit.csv", "limits.csv"))
    audit_page.write(audit, values, limits)
    explain_page.write(folder / "explain")
    gate = folder / "gate"
    gate_page.draw(pd.read_csv(gate / "planted.csv"), gate / "planted")
    tricks_page.write(folder / "tricks")
    penalty = folder / "penalty-cost"
    penalty_page.write(pd.read_csv(penalty / "penalty_cost.csv"), penalty)
    speed = folder / "speed"
    recorded.draw(pd.read_csv(speed / "speed.csv"), speed / "speed")
    time_split.draw(pd.read_csv(speed / "time_split.csv"), speed)


def write(folder: Path = REFERENCE, target: Path | None = None) -> None:
    """The page over all references of a folder, as HTML and as Markdown, into it or `target`."""
    references = read_all(folder)
    here = settings.of(references)
    page = {
        "references": references,
        "version": __version__,
        "findings": findings.of(here, references),
        "total": total(references),
        "boards": board.tables(here),
        "by_place": board.by_place(here),
    }
    environment = templates()
    environment.loader = ChoiceLoader([environment.loader, FileSystemLoader(TEMPLATES)])
    environment.filters |= {"md": escaped, "prose_md": prose_md, "picture": picture}
    # nothing of this page is filtered
    environment.filters["attributes"] = attributes({axis: [] for axis in FILTERS})
    for name, template in PAGES.items():
        text = environment.get_template(template).render(page)
        write_bytes((target or folder) / name, text.encode())


def total(references: Sequence[Reference]) -> str:
    """`9 result sets: 2,000 runs, 50 hours of training and measuring …`"""
    sets = [one.evidence.tables for one in references if one.evidence is not None]
    cells = pd.concat([(tables.with_pools or tables).cells for tables in sets])
    seconds = cells["train_seconds"].sum() + cells["eval_seconds"].sum()
    return (
        f"{plural(len(sets), 'result set')} of {len(cells):,} runs, which took "
        f"{number(seconds / 3600)} hours of training and measuring by the clock, run by "
        "run. Each study below states its own cost."
    )


def prose_md(text: str) -> str:
    """A sentence for Markdown; what stands between back-ticks is code."""
    parts = re.split("(`[^`]+`)", text)
    return "".join(part if part[:1] == "`" else escaped(part) for part in parts)


def picture(reference: Reference, name: str) -> Markup:
    """The attributes of an <img>: src, NAME.svg or, for a large one, NAME.png, and width."""
    svg = reference.folder / f"{name}.svg"
    content = svg.read_bytes()
    points = re.search(rb'<svg [^>]*?width="([\d.]+)pt"', content)
    suffix = "png" if len(content) > LARGEST_SVG else "svg"
    width = round(float(points[1]) * 1.2 * 96 / 72) if points else ""
    src = f"{reference.name}/{name}.{suffix}"
    return Markup('src="{}" width="{}"').format(src, width)
