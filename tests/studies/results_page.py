"""The tables of results/README.md that say what the stored fields and the metrics mean.

`python -m tests.studies.results_page` writes them between their marks, from the docstrings of the
records in benchmark/store/schema.py, the rows of METRICS, and the docstrings of the metrics.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise

from benchmark.measure import images, points, text  # noqa: F401  they register their metrics
from benchmark.measure.protocol import FUNCTIONS
from benchmark.metrics import METRICS
from benchmark.store import schema
from benchmark.store.code import ROOT

PAGE = ROOT / "results" / "README.md"
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.S)
RECORDS = (
    "MatrixFile",
    "Entry",
    "Protocol",
    "DatasetFacts",
    "ExtractorFacts",
    "Spec",
    "Status",
    "Execution",
    "CommittedFile",
    "Race",
    "Raced",
    "Environment",
)
DIRECTIONS = {"min": "low", "max": "high"}


def record_lines(name: str) -> Iterator[str]:
    """One row per field of a record."""
    yield "| field | |"
    yield "|---|---|"
    record = getattr(schema, name)
    meanings = {}
    for part in record.__mro__:
        if issubclass(part, schema.Record):
            meanings |= _meanings(part)
    for field in record.model_fields:
        yield f"| `{field}` | {_cell(meanings.get(field))} |"


def _meanings(record: type) -> dict[str, str]:
    """The text under each field that a class adds."""
    (definition,) = ast.parse(inspect.getsource(record)).body
    assert isinstance(definition, ast.ClassDef)
    meanings = {}
    for field, meaning in pairwise(definition.body):
        if isinstance(field, ast.AnnAssign) and isinstance(meaning, ast.Expr):
            meanings[ast.unparse(field.target)] = ast.literal_eval(meaning.value)
    return meanings


def metric_lines() -> Iterator[str]:
    """One row per metric."""
    yield "| name | for | better | unit | ranks | gated | |"
    yield "|---|---|---|---|---|---|---|"
    for name, row in METRICS.items():
        modality = row.modality[0]
        docstring = inspect.getdoc(FUNCTIONS[modality][name].compute) or ""
        values = [
            f"`{name}`",
            ", ".join(row.modality),
            DIRECTIONS[row.direction] if row.ideal is None else f"near {row.ideal:g}",
            row.unit,
            "yes" if row.primary else "",
            "yes" if row.gate else "",
            _cell(docstring),
        ]
        yield f"| {' | '.join(values)} |"


def _cell(docstring: str | None) -> str:
    """A docstring in one cell of a table."""
    assert docstring, "every field has a meaning"
    line = " ".join(docstring.split()).replace("|", "\\|")
    return line.removesuffix(".")


def generated(name: str) -> str:
    """The table of a block."""
    lines = metric_lines() if name == "METRICS" else record_lines(name)
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """A page with the present tables."""
    return BLOCK.sub(lambda block: f"{block[1]}{generated(block[2])}{block[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
