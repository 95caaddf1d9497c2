"""A matrix: TOML -> list of cells. Pure: nothing is read but the file, nothing runs.

objectives = ["nonsaturating", {name = "wgan_gp", penalty_weight = [1, 10]}]   # a list of values is swept
architectures = [{name = "dcgan", width = 32}]
datasets = ["digits", {name = "gaussians8", training = {steps = 500}}]          # training of this dataset's cells
seeds = 5                                                                       # 0 … 4, or a list
[training]
[evaluation]
[[include]]                                                                     # cells beyond the product
[[exclude]]                                                                     # cells out of the product
"""

import inspect
import itertools
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn

import variants
from benchmark import UserError, unknown
from benchmark.cell import Cell, Choice
from benchmark.metrics import METRICS
from benchmark.options import BUDGETS, Matrix, Training, Value, validated
from variants.architectures import BatchNorm, build

FOLDER = Path(__file__).parent / "matrices"
AXES = ("objective", "architecture", "dataset")
CLASSES = {
    "objective": ("Objective",),
    "architecture": ("Generator", "Discriminator"),
    "dataset": ("Dataset",),
}
COUPLING = (BatchNorm, nn.modules.batchnorm._BatchNorm)
NORMS = (*COUPLING, nn.GroupNorm, nn.LayerNorm)


def names() -> list[str]:
    """The matrices that ship with the suite."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name_or_path: str) -> Path:
    """The file of a matrix, by the name of a shipped one or by its path."""
    path = FOLDER / f"{name_or_path}.toml"
    if path.exists():
        return path
    if name_or_path.endswith(".toml") and Path(name_or_path).is_file():
        return Path(name_or_path)
    raise unknown("matrix", name_or_path, [*names(), "or the path of a .toml file"])


def read(path: Path, overrides: list[str] | None = None) -> tuple[Matrix, str]:
    """A validated matrix and the comment that begins its file. Overrides are `training.steps=200`."""
    try:
        text = path.read_text()
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: {error}") from error
    for override in overrides or []:
        _override(raw, override)
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return validated(Matrix, raw, path.name), "\n".join(line.lstrip("# ") for line in lines)


def expand(matrix: Matrix, only: str = "") -> list[Cell]:
    """The cells of a matrix in its order, checked pair by pair. `only`: "objective=wgan_gp seed=0"."""
    axes = [[c for value in getattr(matrix, f"{axis}s") for c in choices(axis, value)] for axis in AXES]
    plans: list[Any] = list(itertools.product(*axes, _seeds(matrix.seeds)))
    named = [_named(plan[:3], plan[3]) for plan in plans]
    excluded = [
        _condition(rule, "exclude", named, {axis: variants.names(f"{axis}s") for axis in AXES})
        for rule in matrix.exclude
    ]
    plans = [
        plan for plan, names in zip(plans, named, strict=True) if not any(_meets(names, rule) for rule in excluded)
    ]
    for extra in matrix.include:
        seeds = _seeds(matrix.seeds if extra.seeds is None else extra.seeds)
        plans += itertools.product(*(choices(axis, getattr(extra, axis)) for axis in AXES), seeds)
    cells = [cell(matrix, *plan) for plan in plans]
    seen: dict[str, Cell] = {}
    for c in cells:
        if c.key in seen:
            raise UserError(f"duplicate cell {c.key}: the matrix names it twice")
        seen[c.key] = c
    if only:
        named = [_named(((c.objective,), (c.architecture,), (c.dataset,)), c.seed) for c in cells]
        rule = _condition(dict(_pair(part, "--only") for part in only.split()), "--only", named)
        cells = [c for c, names in zip(cells, named, strict=True) if _meets(names, rule)]
    if not cells:
        raise UserError(f"the matrix is empty{f' under --only {only!r}' if only else ''}: no cell is left to run")
    if matrix.reference and matrix.reference not in (labels := {c.objective.label for c in cells}) and not only:
        raise unknown("reference objective", matrix.reference, sorted(labels))
    return cells


def choices(axis: str, value: Value) -> list[tuple[Choice, dict[str, Any]]]:
    """The choices an axis value stands for (lists are swept), each with its training overrides."""
    table: dict[str, Any] = {"name": value} if isinstance(value, str) else dict(value)
    known = variants.names(f"{axis}s")
    if "name" not in table:
        raise UserError(f"{axis} {table} has no name; valid: {', '.join(known)}")
    name, training = table.pop("name"), table.pop("training", {})
    if name not in known:
        raise unknown(axis, name, known)
    if training and axis != "dataset":
        raise UserError(f"{axis} {name!r}: training is set per dataset, not per {axis}")
    if not isinstance(training, dict):
        raise UserError(f"{axis} {name!r}: training must be a table such as {{steps = 500}}, not {training!r}")
    defaults, where = options(axis, name)
    for key in table:
        if key not in defaults:
            raise unknown(
                f"parameter of {axis} {name!r}", key, [*defaults, *(["training"] if axis == "dataset" else [])]
            )
    for key, v in table.items():
        if v == []:
            raise UserError(f"{axis} {name!r}: {key} = [] sweeps no value")
    swept = [v if isinstance(v, list) else [v] for v in table.values()]
    found = []
    for values in itertools.product(*swept):
        params = {key: _typed(axis, name, key, v, *defaults[key]) for key, v in zip(table, values, strict=True)}
        choice = Choice(
            name,
            {key: v for key, v in params.items() if key not in where and v != defaults[key][1]},
            {key: v for key, v in params.items() if key in where},
        )
        if axis != "architecture":
            try:
                getattr(variants.load(f"{axis}s", name), CLASSES[axis][0])(**choice.params)
            except ValueError as error:
                raise UserError(f"{axis} {choice.label}: {error}") from error
        found.append((choice, training))
    return found


def options(axis: str, name: str) -> tuple[dict[str, tuple[Any, Any]], set[str]]:
    """The parameters of a variant, {name: (type, default)}, and which of them only say where data lies."""
    module = variants.load(f"{axis}s", name)
    found: dict[str, tuple[Any, Any]] = {}
    where: set[str] = set()
    for class_name in CLASSES[axis]:
        variant = getattr(module, class_name)
        for parameter in inspect.signature(variant).parameters.values():
            if parameter.default is not parameter.empty:
                found[parameter.name] = (parameter.annotation, parameter.default)
        if is_dataclass(variant):
            where |= {field.name for field in fields(variant) if not field.compare}
    return found, where


def cell(
    matrix: Matrix,
    objective: tuple[Choice, dict[str, Any]],
    architecture: tuple[Choice, dict[str, Any]],
    dataset: tuple[Choice, dict[str, Any]],
    seed: int,
) -> Cell:
    """One cell, refused where its objective and architecture contradict each other."""
    base = {key: value for key, value in matrix.training.items() if not (key in BUDGETS and {*BUDGETS} & {*dataset[1]})}
    training = validated(Training, base | dataset[1], "training")
    wanted, modality = matrix.evaluation.metrics, variants.load("datasets", dataset[0].name).Dataset.modality
    if wanted and not any(METRICS[name].modality == modality for name in wanted):
        valid = ", ".join(name for name, m in METRICS.items() if m.modality == modality)
        raise UserError(f"evaluation.metrics {wanted} has none for {dataset[0].label} ({modality}); valid: {valid}")
    if training.seconds and training.lr_decay != "none":
        raise UserError("training: lr_decay needs a budget in steps or samples, not in seconds")
    return Cell(
        objective[0],
        architecture[0],
        dataset[0],
        seed,
        training.model_dump(mode="json"),
        matrix.evaluation.model_dump(mode="json"),
        critic_norm(objective[0], architecture[0], dataset[0]),
    )


def critic_norm(objective: Choice, architecture: Choice, dataset: Choice) -> str:
    """The critic's normalisation: as set, else the paper's; layer norm for batch norm under a per-sample penalty;
    "none" where the critic has no layer that takes it.

    Raises UserError for a pair that cannot train: networks that refuse the shape, or a critic that couples the
    samples of a batch under a per-sample penalty. Builds the networks without memory (torch's meta device)."""
    penalty = variants.load("objectives", objective.name).Objective.per_sample_penalty
    shape = variants.load("datasets", dataset.name).Dataset.shape
    norm = architecture.params.get("norm", "auto")
    if norm == "auto":
        norm = variants.load("architectures", architecture.name).Discriminator.paper_norm
        norm = "layer" if norm == "batch" and penalty else norm
    try:
        generator, critic = build(architecture, shape, norm, "meta")
        scores = critic(generator(torch.empty(2, cast(Any, generator).latent_dim, device="meta"))).shape
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"{architecture.label} x {dataset.label}: {error}") from error
    if scores != (2,):
        raise UserError(f"{architecture.label} x {dataset.label}: a critic gives one score per sample, not {scores}")
    if penalty and any(isinstance(module, COUPLING) for module in critic.modules()):
        raise UserError(
            f"{objective.label} x {architecture.label}: a per-sample penalty and batch norm in the critic contradict "
            "each other (batch norm ties the samples of a batch together); use norm = 'layer', 'none' or 'auto'"
        )
    return norm if any(isinstance(module, NORMS) for module in critic.modules()) else "none"


def _typed(axis: str, name: str, key: str, value: Any, annotation: Any, default: Any) -> Any:
    try:
        typed = TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{axis} {name!r}: {key}: {error.errors()[0]['msg']}, not {value!r}") from error
    if axis == "architecture" and type(typed) is int and typed < min(1, default):
        raise UserError(f"{axis} {name!r}: {key} must be at least {min(1, default)}, not {value!r}")
    return typed


def _override(raw: dict[str, Any], text: str) -> None:
    key, value = _pair(text, "--set")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word
    *path, last = key.strip().split(".")
    datasets = raw.get("datasets")
    for part in path:
        raw = raw.setdefault(part, {})
        if not isinstance(raw, dict):
            raise UserError(f"--set {text}: {part!r} is not a table")
    raw[last] = parsed
    if path == ["training"]:  # --set has the last word: over a dataset's own training, too
        gone = BUDGETS if last in BUDGETS else (last,)
        for other in set(gone) - {last}:
            raw.pop(other, None)
        for table in datasets if isinstance(datasets, list) else []:
            if isinstance(table, dict) and isinstance(table.get("training"), dict):
                table["training"] = {key: v for key, v in table["training"].items() if key not in gone}


def _pair(text: str, flag: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key or not value:
        raise UserError(f"{flag} takes name=value, not {text!r}")
    return key, value


def _condition(
    rule: dict[str, Any], where: str, named: list[dict[str, tuple[str, ...]]], also: dict[str, list[str]] | None = None
) -> dict[str, set[str]]:
    """A rule as {key: the names that meet it}; every name must occur in the plan, or in `also`."""
    if not rule:
        raise UserError(f"{where} has a rule without a condition: it would take every cell")
    found = {}
    for key, value in rule.items():
        if key not in (*AXES, "seed"):
            raise unknown(f"key in {where}", key, (*AXES, "seed"))
        found[key] = {name.strip() for name in str(value).split("|")}
        valid = dict.fromkeys([*(name for names in named for name in names[key]), *(also or {}).get(key, [])])
        for name in sorted(found[key]):
            if name not in valid:
                raise unknown(f"{key} in {where}", name, valid)
    return found


def _seeds(seeds: int | list[int]) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, int) else seeds


def _named(chosen: Any, seed: int) -> dict[str, tuple[str, ...]]:
    """What a condition may call each part of a cell: a variant by its label or its bare name."""
    names = {axis: (choice[0].label, choice[0].name) for axis, choice in zip(AXES, chosen, strict=True)}
    return names | {"seed": (str(seed),)}


def _meets(names: dict[str, tuple[str, ...]], rule: dict[str, set[str]]) -> bool:
    return all(wanted & {*names[key]} for key, wanted in rule.items())
