"""What the parameters of a searched objective are drawn from."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmark.errors import UserError, unknown
from benchmark.matrix import recall
from benchmark.matrix.options.search import Search
from benchmark.matrix.values import AxisValue, choices, classes, defaults
from variants._ranges import Log, OneOf, Range, Searched, Uniform

Space = dict[str, Range]
Values = dict[str, Any]

BETA1 = "beta1"
"""The first of the two `betas` of an objective."""
NORM = "norm"
"""Of the critic: a parameter of the architecture."""
# of all objectives alike: Lucic et al. 2018 (arXiv:1711.10337), with 5 critic steps in the narrow
# ranges too
SHARED = {
    "lr": Searched(Log(1e-5, 1e-2), Log(1e-4, 1e-3)),
    BETA1: Searched(Uniform(0.0, 0.999), OneOf((0.5,))),
    "critic_steps": Searched(OneOf((1, 5)), OneOf((1, 5))),
    NORM: Searched(OneOf(("auto", "none")), None),
}
KINDS: dict[str, type[Range]] = {"Log": Log, "Uniform": Uniform}


def space_of(objective: AxisValue, options: Search, has_norm: bool) -> Space:
    """Parameter → its range: those of all objectives, then the objective's own, then what the
    matrix adds. A parameter that the value sets is not searched. has_norm: whether the critic has a
    norm that may be left out."""
    name = objective.choice.name
    known = defaults("objective", name)
    optimizer = objective.choice.params.get("optimizer", known["optimizer"])
    ranges: dict[str, Range | None] = {}
    for key, searched in (SHARED | _declared(name)).items():
        ranges[key] = getattr(searched, options.ranges)
    for key, given in options.space.items():
        if key in known or key in SHARED:
            ranges[key] = None if given == "paper" else given.range
    if not optimizer.endswith("adam"):
        ranges[BETA1] = None
    if not has_norm:
        ranges[NORM] = None
    space = {}
    for key, found in ranges.items():
        is_set = key in objective.given or (key == BETA1 and "betas" in objective.given)
        is_parameter = key in known or key in (BETA1, NORM)
        if found and is_parameter and not is_set:
            space[key] = found
    _check(objective, space)
    return space


def check_names(objectives: list[str], options: Search) -> None:
    """Raise UserError for a range of what no searched objective has."""
    valid = [*SHARED]
    for name in objectives:
        valid += [key for key in defaults("objective", name) if key not in (*valid, "betas")]
    for key in options.space:
        if key not in valid:
            raise unknown("parameter in search.space", key, valid)


def configured(objective: AxisValue, values: Values) -> AxisValue:
    """An objective with the searched values that are its own. Raises UserError for values that it
    refuses."""
    changes = {key: value for key, value in values.items() if key != NORM}
    if BETA1 in changes:
        known = defaults("objective", objective.choice.name) | objective.choice.params
        changes["betas"] = [changes.pop(BETA1), known["betas"][1]]
    return replaced("objective", objective, changes)


def replaced(axis: str, value: AxisValue, changes: Values) -> AxisValue:
    """A value on an axis with some of its parameters changed, checked as those of a matrix are."""
    table: Values = {"name": value.choice.name}
    for key, param in (value.choice.params | changes).items():
        # A list is swept: a list that is one value stands in a list
        table[key] = [param] if isinstance(param, list) else param
    return AxisValue(choices(axis, table)[0].choice, value.training)


def published(objective: AxisValue, space: Space) -> Values:
    """The values of the default."""
    values = defaults("objective", objective.choice.name) | objective.choice.params
    values |= {BETA1: values["betas"][0], NORM: "auto"}
    return {key: values[key] for key in space}


def is_whole(objective: AxisValue, key: str) -> bool:
    """Whether a parameter is a whole number."""
    default = defaults("objective", objective.choice.name).get(key)
    return isinstance(default, int) and not isinstance(default, bool)


def _declared(name: str) -> dict[str, Searched]:
    """The ranges that the file of an objective declares."""

    def find() -> dict[str, Any]:
        (objective,) = classes("objective", name)
        known = defaults("objective", name)
        for key in objective.search:
            if key not in known:
                raise unknown(f"parameter in `search` of objective {name!r}", key, known)
        return {key: [*map(_plain, searched)] for key, searched in objective.search.items()}

    found = recall.answer("search", [name], find)
    return {key: Searched(*map(_range, pair)) for key, pair in found.items()}


def _plain(found: Range | None) -> list[Any] | None:
    """A range as JSON has it."""
    return None if found is None else [type(found).__name__, *asdict(found).values()]


def _range(plain: list[Any] | None) -> Any:
    if plain is None:
        return None
    kind, *fields = plain
    return OneOf(tuple(fields[0])) if kind == OneOf.__name__ else KINDS[kind](*fields)


def _check(objective: AxisValue, space: Space) -> None:
    """Raise UserError for a range with a value that the objective refuses, and for a space in which
    configurations would be the same."""
    label = objective.choice.label
    for key, found in space.items():
        for value in _ends(found, is_whole(objective, key)):
            if key != NORM:
                configured(objective, {key: value})
    numbers = [key for key in space if not isinstance(space[key], OneOf)]
    if all(is_whole(objective, key) for key in numbers):
        raise UserError(
            f"search of objective {label}: no parameter has a range of real numbers: write "
            "the values as lists, with sample = N for some of their combinations"
        )


def _ends(found: Range, is_whole: bool) -> Iterator[Any]:
    """The values between which all others lie."""
    if isinstance(found, OneOf):
        yield from found.values
        return
    for end in (found.low, found.high):
        yield round(end) if is_whole else end
