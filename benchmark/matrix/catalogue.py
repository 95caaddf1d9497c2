"""What a matrix can name: objectives, architectures, datasets, options, metrics and other matrices,
by the first lines of their sources. Imports no variant."""

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import variants
from benchmark.matrix import files
from benchmark.matrix.options import Evaluation, Optimiser, Search, Training
from benchmark.metrics import METRICS, Metric, short_name
from benchmark.text import described

# the tables of a matrix file
OPTIONS: dict[str, type[BaseModel]] = {
    "training": Training,
    "training.recipe": Optimiser,
    "evaluation": Evaluation,
    "search": Search,
}
KINDS = (*variants.AXES, "options", "metrics", "matrices")


@dataclass(frozen=True)
class Parameter:
    """A parameter that a matrix may set."""

    name: str

    default: Any
    """As JSON has it; None where the source has no default of its own."""

    values: str
    """Its type in words, or its values: `one | two`."""

    meaning: str
    """Empty where the source says nothing."""


@dataclass(frozen=True)
class Entry:
    """What there is to say of a name."""

    kind: str
    """One of KINDS."""

    name: str

    summary: str
    """One line."""

    file: str | None = None
    """Path of the source; None for a row of a table of the suite."""

    description: str = ""

    equation: str = ""
    """Lines of the description; empty for what is no objective."""

    papers: list[str] = field(default_factory=list)
    """Addresses."""

    facts: dict[str, str] = field(default_factory=dict)
    parameters: list[Parameter] = field(default_factory=list)

    toml: str = ""
    """Lines of a matrix file that set the defaults."""


def names(kind: str) -> list[str]:
    """The names of a kind. Raises VariantError for a folder of variants that cannot be used."""
    if kind in variants.AXES:
        return variants.names(kind)
    return {"options": list(OPTIONS), "metrics": list(METRICS)}.get(kind) or files.names()


def summaries(kind: str) -> list[Entry]:
    """An entry with a summary for every name of a kind."""
    return [summary(kind, name) for name in names(kind)]


def summary(kind: str, name: str) -> Entry:
    """The entry of a name, with a summary alone."""
    if kind in variants.AXES:
        file = variants.origin(kind, name)
        return Entry(kind, name, _first_line(file), str(file))
    if kind == "metrics":
        first, *_ = generic_columns(METRICS[name]).values()
        return Entry(kind, name, short_name(first))
    if kind == "options":
        first = " ".join((OPTIONS[name].__doc__ or "").split()).partition(". ")[0]
        return Entry(kind, name, f"{first.rstrip('.')}.")
    file = files.find(name)
    head, _, rest = files.description_of(file.read_text(encoding="utf-8")).partition("\n\n")
    return Entry(kind, name, " ".join(head.split()), str(file), rest)


def generic_columns(metric: Metric) -> dict[str, str]:
    """The column of a metric by modality, with words in the place of its protocol:
    `fid_EXTRACTOR_N`."""
    extractors = {"images": "_EXTRACTOR"}
    return {name: f"{metric.name}{extractors.get(name, '')}_N" for name in metric.modality}


def _first_line(path: Path) -> str:
    try:
        docstring = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (SyntaxError, ValueError) as error:
        return f"does not import: {described(error)}"
    return docstring.partition("\n")[0]
