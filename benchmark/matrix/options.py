"""The options of a matrix file: their types, defaults and meaning, and a mistake in them as one
line."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.errors import UserError, unknown
from benchmark.metrics import METRICS

BUDGETS = ("steps", "samples", "seconds")
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seeds = Annotated[int, Field(gt=0, le=100_000)] | list[Annotated[int, Field(ge=0, lt=2**31)]]
Value = str | dict[str, Any]  # on an axis: a name, or a table with a name and parameters
TAG = re.compile(
    r"str|int|Optimiser|(literal|list|dict|constrained)\W.*"
)  # pydantic's names of a union's members


class Strict(BaseModel):
    """A table of a matrix file: immutable, with neither unknown keys nor other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def plain(self) -> dict[str, Any]:
        """The options as JSON values: what a cell's key and the stored files are made of."""
        return self.model_dump(mode="json")

    def replaced(self, **changes: Any) -> Self:
        """These options with some of them changed, validated."""
        return self.model_validate(self.plain() | changes)


class Optimiser(Strict):
    """One optimiser for both networks of every cell."""

    optimizer: Literal["adam", "rmsprop"] = "adam"
    lr: Annotated[float, Field(gt=0, le=1e6)] = 2e-4
    betas: Annotated[tuple[Share, Share], Field(strict=False)] = (0.5, 0.999)
    alpha: Share = 0.99


class Training(Strict):
    """How every cell is trained. Exactly one of steps, samples and seconds is the budget."""

    batch_size: Positive = 64
    steps: Positive | None = None  # generator steps
    samples: Positive | None = None  # real samples passed through the critic
    seconds: Annotated[float, Field(gt=0)] | None = None  # of training time
    recipe: Literal["paper"] | Optimiser = "paper"  # each objective's own optimiser, or one for all
    lr_decay: Literal["none", "linear"] = "none"  # linear: to 0 at the end of the budget
    generator_batch_multiple: Positive = 1
    ema: Share = 0.0  # decay of the generator's moving average per step; 0: none
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    layout: Literal["contiguous", "channels_last"] = (
        "contiguous"  # memory format of images and convolution weights
    )

    @model_validator(mode="after")
    def one_budget(self) -> "Training":
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"set exactly one budget of {', '.join(BUDGETS)}, not {' and '.join(given) or 'none'}"
            )
        return self


class SampleSizes(Strict):
    points: Annotated[int, Field(ge=2)] = 2000
    images: Annotated[int, Field(ge=10)] = 10_000  # the Inception score has ten splits


class Evaluation(Strict):
    """When and how a run is measured. Not part of a cell's key."""

    schedule: list[Annotated[float, Field(ge=0, le=1)]] = [
        0,
        0.1,
        0.2,
        0.4,
        0.6,
        0.8,
        1,
    ]  # shares of the budget
    n: SampleSizes = SampleSizes()  # generated samples per evaluation
    n_real: Annotated[int, Field(ge=0)] = 0  # training images they are held against; 0: all
    metrics: list[str] = []  # of those METRICS knows; none named: all of the modality
    extractor: str = "inception-v3-compat"
    extractor_weights: str | None = None  # path of the extractor's weights
    kid_subsets: Positive = 100
    kid_subset_size: Positive = 1000
    sampling_statistics: Literal["batch", "ema"] = (
        "batch"  # batch norm in sampling: the batch's, or averages
    )
    log_every: Positive = 50  # generator steps between rows of steps.jsonl

    @model_validator(mode="after")
    def known(self) -> "Evaluation":
        if 0 < self.n_real < 10:
            raise ValueError(f"n_real must be 0 (all) or at least 10, not {self.n_real}")
        for name in self.metrics:
            if name not in METRICS:
                raise unknown("metric", name, METRICS)
        if (
            not self.schedule
            or sorted(set(self.schedule)) != self.schedule
            or self.schedule[-1] != 1
        ):
            raise ValueError(
                "schedule must be a rising list of shares of the budget that ends with 1, such as [0, 0.5, 1], "
                f"not {self.schedule}"
            )
        return self


class Include(Strict):
    """Cells beyond the product."""

    objective: Value
    architecture: Value
    dataset: Value
    seeds: Seeds | None = None  # the matrix's unless given


class Matrix(Strict):
    """A whole matrix file."""

    objectives: list[Value]
    architectures: list[Value]
    datasets: list[Value]
    seeds: Seeds = 5
    reference: Annotated[str, Field(min_length=1)] | None = (
        None  # the objective all others are tested against; its median best is the target
    )
    targets: dict[
        str, Annotated[float, Field(gt=0)]
    ] = {}  # dataset -> target of the time to target, in the place of the reference's
    training: dict[str, Any] = {}
    evaluation: Evaluation = Evaluation()
    include: list[Include] = []
    exclude: list[dict[str, str | int]] = []


def validated(model: Any, raw: dict[str, Any], where: str) -> Any:
    """Validate by pydantic, turning the deepest of its errors into one line."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found = error.errors()
        first = max(
            found, key=lambda e: len(e["loc"])
        )  # of a union's members, the one that matched furthest
        path = _path(first)
        name = ".".join(path)
        if first["type"] == "extra_forbidden":
            raise unknown(f"key in {where}", name, _keys(model, path[:-1])) from error
        prefix = "Input should be "
        same = [e["msg"] for e in found if _path(e) == path and e["msg"].startswith(prefix)]
        expected = prefix + " or ".join(
            dict.fromkeys(message.removeprefix(prefix) for message in same)
        )
        message = expected if same else first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] in ("missing", "value_error") else f", not {first['input']!r}"
        message = re.sub(r"dictionary( or instance of \w+)?", "table", message)
        raise UserError(f"{where}: {name + ': ' if name else ''}{message}{given}") from error


def _path(error: Any) -> list[str]:
    """Where in the file an error lies."""
    *path, last = map(str, error["loc"]) if error["loc"] else [""]
    path = [part for part in path if not TAG.fullmatch(part)]
    return [*path, last] if error["type"] == "extra_forbidden" or not TAG.fullmatch(last) else path


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        if not part.isdecimal():
            annotation = model.model_fields[part].annotation
            inner = [annotation, *getattr(annotation, "__args__", ())]
            model = next(
                kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)
            )
    return [".".join([*path, key]) for key in model.model_fields]
