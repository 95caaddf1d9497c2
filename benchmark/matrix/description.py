"""Everything that the sources say of a name in the catalogue: meaning, equation, paper, parameters,
and lines for a matrix file."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

import variants
from benchmark.errors import UserError, nearest
from benchmark.matrix import files, recall
from benchmark.matrix.catalogue import (
    KINDS,
    OPTIONS,
    Entry,
    Parameter,
    generic_columns,
    names,
    summary,
)
from benchmark.matrix.cell import AXES
from benchmark.matrix.expand import expand
from benchmark.matrix.labels import unlabelled
from benchmark.matrix.options import Training
from benchmark.matrix.values import OPTIONS as OF_OBJECTIVES
from benchmark.matrix.values import classes, parameters
from benchmark.metrics import METRICS, metric
from benchmark.text import as_toml, plural
from variants._recipes import Recipe

MEASURING = Path(__file__).parent.parent / "measure"
# `width: Units of a hidden layer.` in a docstring, to the next such line or a blank one
MEANING = re.compile(r"^(\w+): (.+(?:\n(?!\w+: ).+)*)", re.MULTILINE)
EQUATION = re.compile(r"^min over .+(?:\n.+)*", re.MULTILINE)
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
WORDS = {float: "number", int: "whole number", bool: "true or false", str: "text"}
# What has no default and must be given
GIVEN = {"training": "steps = 1000"}


def find(name: str) -> list[Entry]:
    """Everything of this name: a dataset and a matrix may share it. The column of a metric finds
    the metric. Raises UserError for an unknown name, VariantError for a variant that does not
    import."""
    all_names = {kind: names(kind) for kind in KINDS}
    found = [_entry(kind, name) for kind in KINDS if name in all_names[kind]]
    recall.save()
    if found:
        return found
    try:
        return [_entry("metrics", metric(name).name)]
    except UserError as error:
        every = [*KINDS, *(each for of_kind in all_names.values() for each in of_kind)]
        raise UserError(
            f"nothing is called {name!r}{nearest(name, every)}; valid: {', '.join(KINDS)}, and "
            "every name that `ganbench list` shows"
        ) from error


def _entry(kind: str, name: str) -> Entry:
    describe = {"options": _options, "metrics": _metric, "matrices": _matrix}.get(kind, _variant)
    entry = describe(summary(kind, name))
    equation = EQUATION.search(entry.description)
    addresses = [f"https://arxiv.org/abs/{number}" for number in ARXIV.findall(entry.description)]
    return replace(
        entry,
        equation=equation[0] if equation else "",
        papers=list(dict.fromkeys(addresses)),
    )


def _variant(entry: Entry) -> Entry:
    """A variant as its classes describe it."""
    plain = recall.answer("describe", [asdict(entry)], lambda: asdict(_by_classes(entry)))
    listed = [Parameter(**parameter) for parameter in plain.pop("parameters")]
    return Entry(**plain, parameters=listed)


def _by_classes(entry: Entry) -> Entry:
    """A variant by its classes. A parameter that both networks of an architecture have is one."""
    axis = AXES[variants.AXES.index(entry.kind)]
    known = parameters(axis, entry.name)
    said = meanings(Training) | meanings(Recipe) if axis == "objective" else {}
    docs: list[str] = []
    for variant in reversed(classes(axis, entry.name)):
        said = said | meanings(variant)
        docs.insert(0, _without_meanings(inspect.getdoc(variant) or "", known))
    listed, pasted = [], {}
    for key, parameter in known.items():
        words = _in_words(parameter.annotation)
        listed.append(Parameter(key, _plain(parameter.default), words, said.get(key, "")))
        differs_by_machine = parameter.is_location or parameter.is_in_label
        if key not in OF_OBJECTIVES and not differs_by_machine:
            pasted[key] = parameter.default
    toml = f"{entry.kind} = [{_pasted(entry.name, pasted)}]"
    return replace(entry, description="\n\n".join(docs), parameters=listed, toml=toml)


def _options(entry: Entry) -> Entry:
    model = OPTIONS[entry.name]
    said = meanings(model)
    listed = []
    lines = [f"[{entry.name}]", *GIVEN.get(entry.name, "").splitlines()]
    for key, option in model.model_fields.items():
        default = _plain(option.get_default())
        listed.append(Parameter(key, default, _in_words(option.annotation), said.get(key, "")))
        if default is not None:
            lines.append(f"{key} = {as_toml(default)}")
    description = inspect.getdoc(model) or ""
    return replace(entry, description=description, parameters=listed, toml="\n".join(lines))


def _metric(entry: Entry) -> Entry:
    row = METRICS[entry.name]
    better = "smaller is better" if row.direction == "min" else "larger is better"
    if row.ideal is not None:
        better = f"{row.ideal:g} is right, and nothing is ranked by it"
    band = "does not judge it"
    if row.gate:
        band = f"reports no loss below {row.absolute:g}"
        band += f" or {row.relative:.0%}, whichever is larger" if row.relative else ""
    facts = {
        "column": f"{', '.join(generic_columns(row).values())} (N: number of samples)",
        "of": ", ".join(row.modality),
        "unit": row.unit or "none",
        "direction": better,
        "ranks objectives": "yes" if row.primary else "no",
        "ganbench check": band,
    }
    docs = [_docstring(MEASURING / f"{modality}.py", row.name) for modality in row.modality]
    toml = f"[evaluation]\nmetrics = [{as_toml(row.name)}]"
    return replace(entry, description="\n\n".join(dict.fromkeys(docs)), facts=facts, toml=toml)


def _docstring(file: Path, name: str) -> str:
    """The docstring of a function in a file."""
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
    return ""


def _matrix(entry: Entry) -> Entry:
    config = files.read(files.find(entry.name)).matrix
    paragraphs = files.PARAGRAPH.split(entry.description)
    description = "\n\n".join(text.strip() for text in paragraphs if text.strip())
    cells = expand(config)
    _, names = unlabelled(config)
    facts = {}
    for axis in AXES:
        labels = dict.fromkeys(getattr(cell, axis).label for cell in cells)
        of_axis = names.get(axis, {})
        facts[f"{axis}s"] = "; ".join(of_axis.get(label, label) for label in labels)
    num_seeds = len({cell.seed for cell in cells})
    facts["cells"] = f"{len(cells):,}, of {plural(num_seeds, 'seed')} each"
    toml = "\n".join(f"{kind} = {as_toml(getattr(config, kind))}" for kind in variants.AXES)
    return replace(entry, description=description, facts=facts, toml=toml)


@cache
def meanings(described: type) -> dict[str, str]:
    """What the parameters of a class mean, by name: the string under a field, or a line `name:
    Meaning.` in the docstring of the class, of a class that it extends, or of their packages."""
    found: dict[str, str] = {}
    for base in reversed(described.__mro__):
        if not base.__module__.startswith(("variants.", "benchmark.")):
            continue
        package = sys.modules[base.__module__.rpartition(".")[0]]
        for text in (package.__doc__, base.__doc__):
            for name, meaning in MEANING.findall(inspect.cleandoc(text or "")):
                found[name] = " ".join(meaning.split())
        found |= _under_fields(base)
    return found


def _under_fields(described: type) -> dict[str, str]:
    """The strings under the fields of a class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(described))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    field = ""  # that the statement before declares
    for statement in tree.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                field = name
                continue
            case ast.Expr(value=ast.Constant(value=text)) if field and isinstance(text, str):
                found[field] = " ".join(text.split())
        field = ""
    return found


def _without_meanings(text: str, known: Iterable[str]) -> str:
    """A docstring without its lines `name: Meaning.`."""
    for found in MEANING.finditer(text):
        if found[1] in known:
            text = text.replace(found[0], "")
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _in_words(annotation: Any) -> str:
    """`number`, `two | one`, `text or table`: a type for people."""
    if annotation in WORDS:
        return WORDS[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin is tuple:
        return "list" if inner[-1] is Ellipsis else f"{len(inner)} numbers"
    if hasattr(annotation, "__metadata__"):
        return _in_words(inner[0])
    if origin is list:
        return "list"
    if isinstance(annotation, type):
        return "table" if issubclass(annotation, BaseModel | dict) else ""
    words = [_in_words(part) for part in inner]
    return " or ".join(dict.fromkeys(word for word in words if word))


def _plain(value: Any) -> Any:
    """A default as JSON has it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def _pasted(name: str, params: dict[str, Any]) -> str:
    """A value on an axis: a name, or a table with parameters."""
    given = {key: value for key, value in params.items() if value is not None}
    if not given:
        return as_toml(name)
    # A list is swept: a list that is one value stands in a list
    for key, value in given.items():
        given[key] = [value] if isinstance(value, list | tuple) else value
    return as_toml({"name": name, **given})
