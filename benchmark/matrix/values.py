"""What a value on an axis stands for: the variant's choice, its parameters typed and checked, a
pair's legality."""

import inspect
import itertools
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from typing import Any, cast

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn

import variants
from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import Choice
from benchmark.matrix.options import Optimiser, Value, validated
from variants.architectures import BatchNorm, build, critic_of
from variants.objectives import RECIPE, Recipe

# whose parameters a value may set: of an axis, and of an architecture's halves where both are named
CLASSES = {
    "objective": ("objectives", ("Objective",)),
    "architecture": ("architectures", ("Generator", "Discriminator")),
    "generator": ("architectures", ("Generator",)),
    "critic": ("architectures", ("Discriminator",)),
    "dataset": ("datasets", ("Dataset",)),
}
COUPLING = (BatchNorm, nn.modules.batchnorm._BatchNorm)
NORMS = (*COUPLING, nn.GroupNorm, nn.LayerNorm)


def choices(axis: str, value: Value) -> list[tuple[Choice, dict[str, Any]]]:
    """The choices an axis value stands for (lists are swept), each with its training overrides."""
    table: dict[str, Any] = {"name": value} if isinstance(value, str) else dict(value)
    known = variants.names(CLASSES[axis][0])
    if "name" not in table:
        raise UserError(f"{axis} {table} has no name; valid: {', '.join(known)}")
    name, training = table.pop("name"), table.pop("training", {})
    if name not in known:
        raise unknown(axis, name, known)
    if training and axis not in ("dataset", "architecture"):
        raise UserError(
            f"{axis} {name!r}: training is set per dataset or architecture, not per {axis}"
        )
    if not isinstance(training, dict):
        raise UserError(
            f"{axis} {name!r}: training must be a table such as {{steps = 500}}, not {training!r}"
        )
    critics = (
        _critics(table.pop("critic")) if axis == "architecture" and "critic" in table else [None]
    )
    defaults, where = options("generator" if critics[0] else axis, name)
    for key in table:
        if key not in defaults:
            also = {"dataset": ["training"], "architecture": ["critic", "training"]}.get(axis, [])
            raise unknown(f"parameter of {axis} {name!r}", key, [*defaults, *also])
    for key, v in table.items():
        if v == []:
            raise UserError(f"{axis} {name!r}: {key} = [] sweeps no value")
    swept = [v if isinstance(v, list) else [v] for v in table.values()]
    found = []
    for critic, *values in itertools.product(critics, *swept):
        params = {
            key: _typed(axis, name, key, v, *defaults[key])
            for key, v in zip(table, values, strict=True)
        }
        choice = Choice(
            name,
            {key: v for key, v in params.items() if key not in where and v != defaults[key][1]},
            {key: v for key, v in params.items() if key in where},
        )
        if axis == "objective":
            recipe = {key: choice.params.get(key, defaults[key][1]) for key in RECIPE}
            validated(Optimiser, recipe, f"objective {name!r}")
        if axis in ("objective", "dataset"):
            own = {
                key: v for key, v in choice.params.items() if axis == "dataset" or key not in RECIPE
            }
            try:
                classes(axis, name)[0](**own)
            except ValueError as error:
                raise UserError(f"{axis} {choice.label}: {error}") from error
        found.append((_with_critic(choice, critic), training))
    return found


def classes(axis: str, name: str) -> list[Any]:
    """The classes of a variant that a value of an axis sets parameters of."""
    folder, class_names = CLASSES[axis]
    return [getattr(variants.load(folder, name), class_name) for class_name in class_names]


def options(axis: str, name: str) -> tuple[dict[str, tuple[Any, Any]], set[str]]:
    """The parameters of a variant, {name: (type, default)}, and which of them only say where data
    lies. An objective's include those of its optimiser."""
    found: dict[str, tuple[Any, Any]] = {}
    where: set[str] = set()
    for variant in classes(axis, name):
        for parameter in inspect.signature(variant).parameters.values():
            if parameter.default is not parameter.empty:
                found[parameter.name] = (parameter.annotation, parameter.default)
        if is_dataclass(variant):
            where |= {field.name for field in fields(variant) if not field.compare}
        if axis == "objective":
            own = asdict(variant.recipe)
            found |= {
                field.name: (field.type, _listed(own[field.name])) for field in fields(Recipe)
            }
    return found, where


@cache  # one answer for all seeds
def critic_norm(objective: Choice, architecture: Choice, dataset: Choice) -> str:
    """The critic's normalisation: as set, else the objective's, else the paper's; layer norm for
    batch norm under a per-sample penalty; "none" where the critic has no layer that takes it.

    Raises UserError for a pair that cannot train: networks that refuse the shape, or a critic that
    couples the samples of a batch under a per-sample penalty. Builds the networks without memory
    (torch's meta device)."""
    loss = classes("objective", objective.name)[0]
    shape = classes("dataset", dataset.name)[0](**dataset.params).shape
    name, params = critic_of(architecture)
    norm = params.get("norm", "auto")
    if norm == "auto":
        norm = loss.critic_norm or classes("critic", name)[0].paper_norm
        norm = "layer" if norm == "batch" and loss.per_sample_penalty else norm
    try:
        generator, critic = build(architecture, shape, norm, "meta")
        scores = critic(
            generator(torch.empty(2, cast(Any, generator).latent_dim, device="meta"))
        ).shape
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"{architecture.label} x {dataset.label}: {error}") from error
    if scores != (2,):
        raise UserError(
            f"{architecture.label} x {dataset.label}: a critic gives one score per sample, not {scores}"
        )
    if loss.per_sample_penalty and any(isinstance(module, COUPLING) for module in critic.modules()):
        raise UserError(
            f"{objective.label} x {architecture.label}: a per-sample penalty and batch norm in the critic contradict "
            "each other (batch norm ties the samples of a batch together); use norm = 'layer', 'none' or 'auto'"
        )
    normed = norm == "spectral" or any(isinstance(module, NORMS) for module in critic.modules())
    return norm if normed else "none"


def _critics(value: Any) -> list[Choice | None]:
    """The critics an architecture's `critic` stands for: a name, a table with a name and
    parameters, or a list."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, str | dict) for v in values):
        raise UserError(
            f"critic must be an architecture's name, a table with a name, or a list of them, not {value!r}"
        )
    return [choice for v in values for choice, _ in choices("critic", v)]


def _with_critic(choice: Choice, critic: Choice | None) -> Choice:
    """The architecture with another one's critic; the very same where it is the critic it has
    anyway."""
    if critic is None:
        return choice
    shared = {
        key: v for key, v in choice.params.items() if key in options("critic", choice.name)[0]
    }
    if (critic.name, critic.params) == (choice.name, shared):
        return choice
    named: Any = {"name": critic.name, **critic.params} if critic.params else critic.name
    return Choice(choice.name, choice.params | {"critic": named})


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _typed(axis: str, name: str, key: str, value: Any, annotation: Any, default: Any) -> Any:
    value = tuple(value) if isinstance(value, list) else value
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False))
        typed = _listed(adapter.validate_python(value))
    except ValidationError as error:
        hint = (
            " (a list is swept: two numbers are one value as [[0.5, 0.9]])"
            if key == "betas"
            else ""
        )
        raise UserError(
            f"{axis} {name!r}: {key}: {error.errors()[0]['msg']}, not {value!r}{hint}"
        ) from error
    if axis in ("architecture", "critic") and type(typed) is int and typed < min(1, default):
        raise UserError(f"{axis} {name!r}: {key} must be at least {min(1, default)}, not {value!r}")
    return typed
