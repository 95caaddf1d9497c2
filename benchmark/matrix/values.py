"""A value on an axis of a matrix becomes choices: variants with typed and checked parameters."""

import inspect
from dataclasses import asdict, fields, is_dataclass
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter, ValidationError

import variants
from benchmark.errors import UserError, unknown
from benchmark.matrix import recall
from benchmark.matrix.cell import Choice
from benchmark.matrix.mistakes import reason
from benchmark.matrix.options import OF_OBJECTIVE, Optimiser, Training, Value, as_read, validated
from benchmark.matrix.sweep import combinations, take_sample, take_search
from variants._recipes import CONSTANTS, RECIPE, Recipe

# Whose parameters a value may set: of an axis, and of the halves of an architecture if the matrix
# names both halves
CLASSES = {
    "objective": ("objectives", ("Objective",)),
    "architecture": ("architectures", ("Generator", "Discriminator")),
    "generator": ("architectures", ("Generator",)),
    "critic": ("architectures", ("Discriminator",)),
    "dataset": ("datasets", ("Dataset",)),
}
# What a value of an objective may set besides the fields of its class
OPTIONS = (*RECIPE, *OF_OBJECTIVE)
# Keys of a value that are no parameters of its variant
OTHER_KEYS = {
    "objective": ("search", "sample", "label"),
    "dataset": ("training", "sample", "label"),
    "architecture": ("critic", "training", "sample", "label"),
}

# The largest whole numbers, beyond which a network fits into no memory and a step does not end; and
# the largest other number that float32 holds
LARGEST_SIZES = {"objective": 10_000, "dataset": 1_000_000_000}
LARGEST_SIZE = 1_000_000
LARGEST_NUMBER = 3e38
LONGEST_TEXT = 500  # characters, of which labels are made

Params = dict[str, Any]


class AxisValue(NamedTuple):
    """A value on an axis of a cell."""

    choice: Choice

    training: dict[str, Any]
    """Training options of the cells that have this value."""

    search: int = 0
    """Configurations that are searched; 0: there is no search."""

    given: frozenset[str] = frozenset()
    """Parameters that a searched value sets."""


class Parameter(NamedTuple):
    """A parameter that a matrix may set."""

    annotation: Any
    default: Any

    is_location: bool = False
    """Whether the parameter only says where data lies on this machine."""

    is_in_label: bool = False
    """Whether the parameter is part of every choice, because its default is not the same on every
    machine."""


def choices(axis: str, value: Value) -> list[AxisValue]:
    """The choices that a value stands for: lists of parameters are swept. Raises UserError for an
    unknown name or parameter and for a parameter that its variant refuses."""
    table = {"name": value} if isinstance(value, str) else dict(value)
    name = _take_name(axis, table)
    training = _take_training(axis, name, table)
    search = take_search(axis, name, table)
    given = frozenset(table) if search else frozenset()
    found = recall.answer("choices", [axis, name, table], lambda: _choices(axis, name, table))
    return [AxisValue(Choice(**fields), training, search, given) for fields in found]


def _choices(axis: str, name: str, table: Params) -> list[dict[str, Any]]:
    """The choices of a variant and a table of its parameters, as JSON has them."""
    lists: dict[str, list[Any]] = {}
    sample = take_sample(f"{axis} {name!r}", table)
    if axis == "architecture" and "critic" in table:
        lists["critic"] = _critics(table.pop("critic"))
    known = parameters("generator" if lists else axis, name)
    _check_keys(axis, name, table, known)
    for key, value in table.items():
        lists[key] = value if isinstance(value, list) else [value]
    found = []
    for params in combinations(f"{axis} {name!r}", lists, sample):
        critic = params.pop("critic") if "critic" in lists and axis == "architecture" else None
        choice = _choice(axis, name, params, known)
        found.append(asdict(_with_critic(choice, critic)))
    return found


def classes(axis: str, name: str) -> list[Any]:
    """The classes of a variant that a value on an axis sets parameters of."""
    folder, class_names = CLASSES[axis]
    module = variants.load(folder, name)
    return [getattr(module, class_name) for class_name in class_names]


def parameters(axis: str, name: str) -> dict[str, Parameter]:
    """The parameters of a variant by name. Those of an objective include OPTIONS."""
    found: dict[str, Parameter] = {}
    for variant in classes(axis, name):
        locations: set[str] = set()
        in_label: set[str] = set()
        if is_dataclass(variant):
            locations = {field.name for field in fields(variant) if not field.compare}
            in_label = {field.name for field in fields(variant) if "in_label" in field.metadata}
        for key, given in inspect.signature(variant).parameters.items():
            if given.default is not given.empty:
                kinds = key in locations, key in in_label
                found[key] = Parameter(given.annotation, given.default, *kinds)
        if axis == "objective":
            if taken := sorted(found.keys() & {*OPTIONS}):
                raise UserError(f"objective {name!r}: its field {taken[0]} has an option's name")
            recipe = asdict(variant.recipe)
            for field in fields(Recipe):
                found[field.name] = Parameter(field.type, _as_list(recipe[field.name]))
            for option in OF_OBJECTIVE:
                known = Training.model_fields[option]
                found[option] = Parameter(known.annotation, known.default)
    return found


def defaults(axis: str, name: str) -> dict[str, Any]:
    """The defaults of the parameters of a variant, by name."""

    def find() -> dict[str, Any]:
        return {key: known.default for key, known in parameters(axis, name).items()}

    return recall.answer("defaults", [axis, name], find)


def _take_name(axis: str, table: Params) -> str:
    known = variants.names(CLASSES[axis][0])
    if "name" not in table:
        raise UserError(f"{axis} {table} has no name; valid: {', '.join(known)}")
    name: str = table.pop("name")
    if name not in known:
        raise unknown(axis, name, [*known, "or one of your own, with --variants"])
    return name


def _take_training(axis: str, name: str, table: Params) -> dict[str, Any]:
    training = table.pop("training", {})
    if training and axis not in ("dataset", "architecture"):
        raise UserError(
            f"{axis} {name!r}: training is set per dataset or architecture, not per {axis}"
        )
    if not isinstance(training, dict):
        raise UserError(
            f"{axis} {name!r}: training must be a table such as {{steps = 500}}, not {training!r}"
        )
    return training


def _check_keys(axis: str, name: str, table: Params, known: dict[str, Parameter]) -> None:
    for key in table:
        if key not in known:
            valid = [*known, *OTHER_KEYS.get(axis, ())]
            raise unknown(f"parameter of {axis} {name!r}", key, valid)
    for key, value in table.items():
        if value == []:
            raise UserError(f"{axis} {name!r}: {key} = [] sweeps no value")


def _choice(axis: str, name: str, params: Params, known: dict[str, Parameter]) -> Choice:
    """A variant with typed parameters. Raises UserError if the variant refuses them."""
    differing = {key: known[key].default for key in known if known[key].is_in_label}
    locations: Params = {}
    if axis == "objective" and "optimizer" in params:
        known = known | _constants(name, params["optimizer"], known)
    for key, value in params.items():
        typed = _typed(axis, name, key, value, known[key])
        if known[key].is_location:
            locations[key] = typed
        elif typed != known[key].default:
            differing[key] = typed
    choice = Choice(name, differing, locations)
    if axis == "objective":
        options = {key: differing.get(key, known[key].default) for key in RECIPE}
        Optimiser.check_given(params, f"objective {name!r}")
        validated(Optimiser, as_read(options, differing), f"objective {name!r}")
    if axis in ("objective", "dataset"):
        _check_values(axis, choice)
    return choice


def _constants(name: str, optimizer: Any, known: dict[str, Parameter]) -> dict[str, Parameter]:
    """alpha and eps of an objective that is given another optimiser, whose defaults they have."""
    optimizer = _typed("objective", name, "optimizer", optimizer, known["optimizer"])
    if optimizer == known["optimizer"].default:
        return {}
    own = CONSTANTS[optimizer].items()
    return {key: known[key]._replace(default=value) for key, value in own}


def made(objective: Choice) -> Any:
    """An objective with its parameters; OPTIONS are left out. Raises ValueError for parameters that
    the objective refuses."""
    params = {key: value for key, value in objective.params.items() if key not in OPTIONS}
    return classes("objective", objective.name)[0](**params)


def _check_values(axis: str, choice: Choice) -> None:
    """Make an objective or a dataset: it refuses values that its type allows and its maths does
    not. Loads no data."""
    try:
        if axis == "objective":
            made(choice)
        else:
            classes(axis, choice.name)[0](**choice.params)
    except ValueError as error:
        raise UserError(f"{axis} {choice.label}: {error}") from error


def _typed(axis: str, name: str, key: str, value: Any, parameter: Parameter) -> Any:
    """A value in the type of its parameter, as JSON has it. Raises UserError for another type, for
    a size below 1, or below the default if that is lower, and for what float32 or memory cannot
    hold."""
    value = tuple(value) if isinstance(value, list) else value
    config = ConfigDict(strict=True, allow_inf_nan=False)
    try:
        adapter = TypeAdapter(parameter.annotation, config=config)
        typed = _as_list(adapter.validate_python(value))
    except ValidationError as error:
        message = reason(error.errors()[0] | {"input": value})
        if key == "betas":
            message += " (a list is swept: two numbers are one value as [[0.5, 0.9]])"
        raise UserError(f"{axis} {name!r}: {key}: {message}") from error
    _check_limits(axis, name, key, typed, parameter.default)
    if isinstance(typed, float) and typed == 0:
        # −0.0 is 0.0 in every label and key
        return 0.0
    return typed


def _check_limits(axis: str, name: str, key: str, value: Any, default: Any) -> None:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise UserError(
            f"{axis} {name!r}: {key} has {len(value):,} characters; at most {LONGEST_TEXT} are "
            "allowed"
        )
    if type(value) not in (int, float):
        return
    most: float = LARGEST_NUMBER
    if isinstance(value, int):
        most = LARGEST_SIZES.get(axis, LARGEST_SIZE)
        least = min(1, default) if isinstance(default, int) else 1
        if axis in ("architecture", "critic") and value < least:
            raise UserError(f"{axis} {name!r}: {key} must be at least {least}, not {value!r}")
    if abs(value) > most:
        raise UserError(f"{axis} {name!r}: {key} must be at most {most:,}, not {value!r}")


def _as_list(value: Any) -> Any:
    """A tuple as the list that JSON makes of it; anything else unchanged."""
    return list(value) if isinstance(value, tuple) else value


def _critics(value: Any) -> list[Choice]:
    """The critics that the `critic` of an architecture stands for: a name, a table with a name and
    parameters, or a list of these."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(entry, str | dict) for entry in values):
        raise UserError(
            "critic must be an architecture's name, a table with a name, or a list of them, "
            f"not {value!r}"
        )
    found: list[Choice] = []
    for entry in values:
        found += [critic.choice for critic in choices("critic", entry)]
    return found


def _with_critic(choice: Choice, critic: Choice | None) -> Choice:
    """An architecture with the critic of another one; unchanged if that is the critic which the
    architecture has without it."""
    if critic is None:
        return choice
    known = parameters("critic", choice.name)
    shared = {key: value for key, value in choice.params.items() if key in known}
    if (critic.name, critic.params) == (choice.name, shared):
        return choice
    named: Any = critic.name
    if critic.params:
        named = {"name": critic.name, **critic.params}
    return Choice(choice.name, choice.params | {"critic": named})
