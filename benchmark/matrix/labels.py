"""`label = "LSGAN (Pearson)"` in a value on an axis of a matrix: the display name of a variant.

Pages and tables for people call a variant by its display name. Cells, keys and stored tables keep
the label that is made of its parameters (`Choice.label`), so that another display name changes no
result. `{name = "wgan_gp", penalty_weight = [1, 10], label = "GP, λ {penalty_weight}"}` names every
variant of a sweep."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import variants
from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import AXES, Choice, DisplayNames, shown_value
from benchmark.matrix.options import Matrix
from benchmark.matrix.values import CLASSES, choices, defaults

LONGEST = 60  # characters
PLACEHOLDER = re.compile(r"\{(\w+)\}")
BRACE = re.compile("[{}]")
CONDITION = re.compile(r"\||(^|\s)[a-z_]+=")  # --only reads more than one name there
MOST_NAMED = 3  # variants that an error names


def unlabelled(matrix: Matrix) -> tuple[Matrix, DisplayNames]:
    """A matrix without display names, and these names. `reference`, `targets` and `exclude` may
    have display names; labels replace them.

    Raises UserError for a display name that is no short printable text, for one that two variants
    of an axis have, and for one that is the name or the label of a variant."""
    given = [*matrix.objectives, *matrix.architectures, *matrix.datasets]
    for extra in matrix.include:
        given += [extra.objective, extra.architecture, extra.dataset]
    if not any(isinstance(value, dict) and "label" in value for value in given):
        return matrix, {}
    options = matrix.plain()
    names: DisplayNames = {axis: {} for axis in AXES}
    labels: dict[str, list[str]] = {axis: [] for axis in AXES}
    for table, key, axis in _values(options):
        table[key], named = _named(axis, table[key])
        labels[axis] += [label for label, _ in named]
        for label, name in named:
            if name and names[axis].setdefault(label, name) != name:
                raise UserError(
                    f"{axis} {label} has two labels, {names[axis][label]!r} and {name!r}"
                )
    for axis in AXES:
        _check_distinct(axis, names[axis], labels[axis])
    _replace(options, names)
    return Matrix(**options), {axis: found for axis, found in names.items() if found}


def _values(options: dict[str, Any]) -> Iterator[tuple[Any, Any, str]]:
    """Every value on an axis: the list or table that holds it, its place there, and the axis."""
    for axis in AXES:
        for index in range(len(options[f"{axis}s"])):
            yield options[f"{axis}s"], index, axis
    for extra in options["include"]:
        for axis in AXES:
            yield extra, axis, axis


def _named(axis: str, value: Any) -> tuple[Any, list[tuple[str, str]]]:
    """A value without its display name, and the label and display name of each choice that it
    stands for; "" where it has none."""
    text = None
    if isinstance(value, dict):
        value = dict(value)
        text = value.pop("label", None)
    named = []
    for found in choices(axis, value):
        name = "" if text is None else _filled(axis, found.choice, text)
        named.append((found.choice.label, name))
    return value, named


def _filled(axis: str, choice: Choice, text: Any) -> str:
    """A display name with values for the parameters that it has in braces."""
    where = f"{axis} {choice.name!r}: label"
    if not isinstance(text, str):
        raise UserError(f"{where} must be a string, not {_quoted(text)}")
    values = defaults(axis, choice.name) | choice.params
    for key in PLACEHOLDER.findall(text):
        if key not in values:
            kind = f"parameter in the label of {axis} {choice.name!r}"
            raise unknown(kind, key[:LONGEST], values)
    if BRACE.search(PLACEHOLDER.sub("", text)):
        raise UserError(
            f"{where} {_quoted(text)} has a brace that is not part of {{parameter}}; parameters: "
            f"{', '.join(values)}"
        )
    name = PLACEHOLDER.sub(lambda match: _in_words(values[match[1]]), text)
    if not (name.isprintable() and name == name.strip() and 0 < len(name) <= LONGEST):
        raise UserError(
            f"{where} must have 1 to {LONGEST} printable characters, no blank at its ends, not "
            f"{_quoted(name)}"
        )
    if CONDITION.search(name):
        raise UserError(
            f"{where} {name!r} could not be named in --only, which reads | as `or` and "
            f"{'word='!r} as a condition"
        )
    return name


def _quoted(value: Any) -> str:
    """A value that is no display name, for a message: of a longer one the beginning."""
    text = repr(value)
    return text if len(text) <= LONGEST + 2 else f"{text[:LONGEST]}…"


def _in_words(value: Any) -> str:
    """A value in a display name: 1.0 as `1`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return shown_value(value)


def _check_distinct(axis: str, names: dict[str, str], labels: Sequence[str]) -> None:
    for name in names.values():
        named = [label for label, other in names.items() if other == name]
        if len(named) > 1:
            shown = ", ".join(named[:MOST_NAMED])
            raise UserError(
                f"{axis} label {name!r} is that of {len(named)} variants, such as {shown}; a sweep "
                "is told apart by its parameter in braces, as in 'λ {penalty_weight}'"
            )
        if name in labels or name in variants.names(CLASSES[axis][0]):
            raise UserError(f"{axis} label {name!r} is the name of a variant; give another one")


def _replace(options: dict[str, Any], names: DisplayNames) -> None:
    """Replace display names by labels where a matrix names its variants."""
    labels = {axis: {name: label for label, name in names[axis].items()} for axis in AXES}
    reference = options["reference"]
    options["reference"] = labels["objective"].get(reference, reference)
    targets = options["targets"].items()
    options["targets"] = {labels["dataset"].get(name, name): value for name, value in targets}
    for rule in options["exclude"]:
        for axis, condition in rule.items():
            if axis in labels and isinstance(condition, str):
                alternatives = [name.strip() for name in condition.split("|")]
                rule[axis] = "|".join(labels[axis].get(name, name) for name in alternatives)
