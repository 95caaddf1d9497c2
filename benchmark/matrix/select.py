"""Which cells a condition takes: `--only` of the command line, and the `exclude` of a matrix."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import variants
from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import AXES, Choice, DisplayNames

KEYS = (*AXES, "seed")
CONDITION = re.compile(r"\s+(?=[a-z_]+=)")  # between two conditions

Names = dict[str, tuple[str, ...]]
"""By key: what a condition may call this part of a cell."""

Rule = dict[str, set[str]]
"""By key: the names that meet the condition."""


class Candidate(NamedTuple):
    """What a condition looks at."""

    objective: Choice
    architecture: Choice
    dataset: Choice
    seed: int


def _named(
    candidates: Iterable[tuple[Choice, Choice, Choice, int]], display_names: DisplayNames
) -> list[Names]:
    """What conditions may call the candidates. A variant is called by its label, by its display
    name, or by its bare name, which takes all its variations; NAME[] is the variation without
    parameters."""
    known: dict[tuple[str, str], tuple[str, ...]] = {}
    named = []
    for *choices, seed in candidates:
        names: Names = {"seed": (str(seed),)}
        for axis, choice in zip(AXES, choices, strict=True):
            if (axis, choice.label) not in known:
                known[axis, choice.label] = _names(choice, display_names.get(axis, {}))
            names[axis] = known[axis, choice.label]
        named.append(names)
    return named


def _names(choice: Choice, display_names: dict[str, str]) -> tuple[str, ...]:
    names = [choice.label, choice.name]
    if choice.label in display_names:
        names.append(display_names[choice.label])
    if not choice.params:
        names.append(f"{choice.name}[]")
    return tuple(names)


def selected(
    candidates: Iterable[tuple[Choice, Choice, Choice, int]],
    only: str,
    display_names: DisplayNames,
) -> list[bool]:
    """Which cells `--only` takes, such as "objective=wgan|LSGAN (Pearson) seed=0". Raises UserError
    for a condition that names no cell."""
    names = _named(candidates, display_names)
    conditions: dict[str, str] = {}
    for part in CONDITION.split(only.strip()):
        key, value = name_and_value(part, "--only")
        if key in conditions:
            raise UserError(
                f"--only names {key} twice; for either of two write {key}={conditions[key]}|{value}"
            )
        conditions[key] = value
    rule = _rule(conditions, "--only", names, {})
    return [_meets(candidate, rule) for candidate in names]


def excluded(candidates: Sequence[Candidate], rules: list[dict[str, str | int]]) -> list[bool]:
    """Which cells a matrix excludes: those that meet all conditions of one of the rules. Raises
    UserError for a condition that names neither a cell nor a variant."""
    names = _named(candidates, {})
    variant_names = {axis: variants.names(f"{axis}s") for axis in AXES}
    is_excluded = [False] * len(names)
    for conditions in rules:
        rule = _rule(conditions, "exclude", names, variant_names)
        for index, candidate in enumerate(names):
            is_excluded[index] |= _meets(candidate, rule)
    return is_excluded


def name_and_value(text: str, flag: str) -> tuple[str, str]:
    """The two parts of `name=value`. Raises UserError where one is missing."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise UserError(f"{flag} takes name=value, not {text!r}")
    return name, value


def _rule(
    conditions: dict[str, str] | dict[str, str | int],
    where: str,
    candidates: list[Names],
    also_valid: dict[str, list[str]],
) -> Rule:
    """Conditions with their alternatives apart. Every name must be one of a candidate or one of
    `also_valid`."""
    if not conditions:
        raise UserError(f"{where} has a rule without a condition: it would take every cell")
    rule: Rule = {}
    for key, value in conditions.items():
        if key not in KEYS:
            raise unknown(f"key in {where}", key, KEYS)
        rule[key] = {name.strip() for name in str(value).split("|")}
        # A dict, which keeps the order of the cells
        valid: dict[str, None] = {}
        for candidate in candidates:
            valid |= dict.fromkeys(candidate[key])
        valid |= dict.fromkeys(also_valid.get(key, []))
        for name in sorted(rule[key]):
            if name not in valid:
                raise unknown(f"{key} in {where}", name, valid)
    return rule


def _meets(names: Names, rule: Rule) -> bool:
    return all(wanted.intersection(names[key]) for key, wanted in rule.items())
