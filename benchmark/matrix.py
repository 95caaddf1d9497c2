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
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from torch import nn

import variants
from benchmark import UserError, unknown
from benchmark.cell import Cell, Choice
from benchmark.metrics import METRICS
from variants.architectures import BatchNorm, build

FOLDER = Path(__file__).parent / "matrices"
AXES = ("objective", "architecture", "dataset")
CLASSES = {
    "objective": ("Objective",),
    "architecture": ("Generator", "Discriminator"),
    "dataset": ("Dataset",),
}
COUPLING = (BatchNorm, nn.modules.batchnorm._BatchNorm)
BUDGETS = {"steps", "samples", "seconds"}
Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Optimiser(Strict):
    """One optimiser for both networks of every cell."""

    optimizer: Literal["adam", "rmsprop"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    alpha: float = 0.99


class Training(Strict):
    """How every cell is trained. Exactly one of steps, samples and seconds is the budget."""

    batch_size: Positive = 64
    steps: Positive | None = None  # generator steps
    samples: Positive | None = None  # real samples passed through the critic
    seconds: Annotated[float, Field(gt=0)] | None = None  # of training time
    recipe: Literal["paper"] | Optimiser = "paper"  # each objective's own optimiser, or one for all
    lr_decay: Literal["none", "linear"] = "none"  # linear: to 0 at the end of the budget
    generator_batch_multiple: Positive = 1
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of the generator's moving average per step; 0: none
    precision: Literal["float32", "tf32", "bf16"] = "float32"

    @model_validator(mode="after")
    def one_budget(self) -> "Training":
        if sum(budget is not None for budget in (self.steps, self.samples, self.seconds)) != 1:
            raise ValueError("set exactly one budget: steps, samples or seconds")
        return self


class SampleSizes(Strict):
    points: Positive = 2000
    images: Positive = 10_000


class Evaluation(Strict):
    """When and how a run is measured. Not part of a cell's key."""

    schedule: list[Annotated[float, Field(ge=0, le=1)]] = [0, 0.1, 0.2, 0.4, 0.6, 0.8, 1]  # shares of the budget
    n: SampleSizes = SampleSizes()  # generated samples per evaluation
    n_real: Annotated[int, Field(ge=0)] = 0  # training images they are held against; 0: all
    metrics: list[str] = []  # of those METRICS knows; none named: all of the modality
    extractor: str = "inception-v3-compat"
    extractor_weights: str | None = None  # path of the extractor's weights
    kid_subsets: Positive = 100
    kid_subset_size: Positive = 1000
    log_every: Positive = 50  # generator steps between rows of steps.jsonl

    @model_validator(mode="after")
    def known(self) -> "Evaluation":
        for name in self.metrics:
            if name not in METRICS:
                raise unknown("metric", name, METRICS)
        if not self.schedule or sorted(set(self.schedule)) != self.schedule:
            raise ValueError("schedule must be a rising list of shares of the budget, such as [0, 0.5, 1]")
        return self


class Matrix(Strict):
    """A whole matrix file."""

    objectives: list[str | dict[str, Any]]
    architectures: list[str | dict[str, Any]]
    datasets: list[str | dict[str, Any]]
    seeds: int | list[int] = 5
    reference: str | None = None  # the objective whose median best is the target of time-to-target
    training: dict[str, Any] = {}
    evaluation: Evaluation = Evaluation()
    include: list[dict[str, Any]] = []
    exclude: list[dict[str, Any]] = []


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
    return _validated(Matrix, raw, path.name), "\n".join(line.lstrip("# ") for line in lines)


def expand(matrix: Matrix, only: str = "") -> list[Cell]:
    """The cells of a matrix in its order, checked pair by pair. `only`: "objective=wgan_gp seed=0"."""
    seeds = list(range(matrix.seeds)) if isinstance(matrix.seeds, int) else matrix.seeds
    axes = [[c for value in getattr(matrix, f"{axis}s") for c in choices(axis, value)] for axis in AXES]
    excluded = [_condition(rule, "exclude") for rule in matrix.exclude]
    planned: list[Any] = [
        plan
        for plan in itertools.product(*axes, seeds)
        if not any(_meets(_named(plan[:3], plan[3]), rule) for rule in excluded)
    ]
    for rule in matrix.include:
        if not set(AXES) <= set(rule) <= {*AXES, "seeds"}:
            raise UserError(f"include needs objective, architecture and dataset (and may set seeds), not {rule}")
        planned += itertools.product(*(choices(axis, rule[axis]) for axis in AXES), rule.get("seeds", seeds))
    cells = [cell(matrix, *plan) for plan in planned]
    seen: dict[str, Cell] = {}
    for c in cells:
        if c.key in seen:
            raise UserError(f"duplicate cell {c.key}: the matrix names it twice")
        seen[c.key] = c
    if only:
        rule = _condition(dict(_pair(part, "--only") for part in only.split()), "--only")
        cells = [c for c in cells if _meets(_named(((c.objective,), (c.architecture,), (c.dataset,)), c.seed), rule)]
    if not cells:
        raise UserError(f"the matrix is empty{f' under --only {only!r}' if only else ''}: no cell is left to run")
    if matrix.reference and matrix.reference not in (labels := {c.objective.label for c in cells}) and not only:
        raise unknown("reference objective", matrix.reference, sorted(labels))
    return cells


def choices(axis: str, value: str | dict[str, Any]) -> list[tuple[Choice, dict[str, Any]]]:
    """The choices an axis value stands for (lists are swept), each with its training overrides."""
    table: dict[str, Any] = {"name": value} if isinstance(value, str) else dict(value)
    name, training = table.pop("name", None), table.pop("training", {})
    if name not in variants.names(f"{axis}s"):
        raise unknown(axis, name, variants.names(f"{axis}s"))
    if training and axis != "dataset":
        raise UserError(f"{axis} {name!r}: training is set per dataset, not per {axis}")
    defaults, where = options(axis, name)
    for key in table:
        if key not in defaults:
            raise unknown(
                f"parameter of {axis} {name!r}", key, [*defaults, *(["training"] if axis == "dataset" else [])]
            )
    swept = [value if isinstance(value, list) else [value] for value in table.values()]
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
    base = {key: value for key, value in matrix.training.items() if not (key in BUDGETS and BUDGETS & set(dataset[1]))}
    training = _validated(Training, base | dataset[1], "training")
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
    """The critic's normalisation: as set, else the paper's; layer norm for batch norm under a per-sample penalty.

    Raises UserError for a pair that cannot train: networks that refuse the shape, or a critic that couples the
    samples of a batch under a per-sample penalty. Builds the networks without memory (torch's meta device)."""
    penalty = variants.load("objectives", objective.name).Objective.per_sample_penalty
    shape = variants.load("datasets", dataset.name).Dataset.shape
    norm = architecture.params.get("norm", "auto")
    if norm == "auto":
        norm = variants.load("architectures", architecture.name).Discriminator.paper_norm
        norm = "layer" if norm == "batch" and penalty else norm
    try:
        _, critic = build(architecture, shape, norm, "meta")
    except ValueError as error:
        raise UserError(f"{architecture.label} x {dataset.label}: {error}") from error
    if penalty and any(isinstance(module, COUPLING) for module in critic.modules()):
        raise UserError(
            f"{objective.label} x {architecture.label}: a per-sample penalty and batch norm in the critic contradict "
            "each other (batch norm ties the samples of a batch together); use norm = 'layer', 'none' or 'auto'"
        )
    return norm


def _validated(model: Any, raw: dict[str, Any], where: str) -> Any:
    """Validate by pydantic, turning the first of its errors into one line."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        path = [
            str(part) for part in first["loc"] if not str(part).startswith(("literal", "Optimiser", "list[", "dict["))
        ]
        name = ".".join(path)
        if first["type"] == "extra_forbidden":
            raise unknown(f"key in {where}", name, _keys(model, path[:-1])) from error
        message = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] in ("missing", "value_error") else f", not {first['input']!r}"
        raise UserError(f"{where}: {name + ': ' if name else ''}{message}{given}") from error


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        model = next(kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel))
    return [".".join([*path, key]) for key in model.model_fields]


def _typed(axis: str, name: str, key: str, value: Any, annotation: Any, default: Any) -> Any:
    try:
        return TypeAdapter(annotation).validate_python(value, strict=not isinstance(default, float))
    except ValidationError as error:
        raise UserError(f"{axis} {name!r}: {key}: {error.errors()[0]['msg']}, not {value!r}") from error


def _override(raw: dict[str, Any], text: str) -> None:
    key, value = _pair(text, "--set")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word
    *path, last = key.split(".")
    for part in path:
        raw = raw.setdefault(part, {})
        if not isinstance(raw, dict):
            raise UserError(f"--set {text}: {part!r} is not a table")
    raw[last] = parsed


def _pair(text: str, flag: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key or not value:
        raise UserError(f"{flag} takes name=value, not {text!r}")
    return key, value


def _condition(rule: dict[str, Any], where: str) -> dict[str, str]:
    for key in rule:
        if key not in (*AXES, "seed"):
            raise unknown(f"key in {where}", key, (*AXES, "seed"))
    return {key: str(value) for key, value in rule.items()}


def _named(chosen: Any, seed: Any) -> dict[str, tuple[str, ...]]:
    """What a condition may call each part of a cell: a variant by its label or its bare name."""
    names = {axis: (choice[0].label, choice[0].name) for axis, choice in zip(AXES, chosen, strict=True)}
    return names | {"seed": (str(seed),)}


def _meets(names: dict[str, tuple[str, ...]], rule: dict[str, str]) -> bool:
    return all(set(value.split(" | ")) & set(names[key]) for key, value in rule.items())
