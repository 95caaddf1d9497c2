"""The options of a matrix file: their types, defaults and meaning. `validated` turns a mistake in
them into one line."""

from contextvars import ContextVar
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from benchmark.errors import unknown
from benchmark.matrix.mistakes import TAGS, one_line
from benchmark.metrics import METRICS

BUDGETS = ("steps", "samples", "seconds")


def _by_type(expected: str) -> Discriminator:
    """Chooses the member of a union by the type of a value: True is no int. `expected` is what the
    error for a value of another type says."""

    def tag(value: object) -> str | None:
        return TAGS.get(type(value))

    return Discriminator(
        tag, custom_error_type="type", custom_error_message=f"Input should be {expected}"
    )


def _recipe_tag(recipe: object) -> str | None:
    if recipe == "paper":
        return TAGS[str]
    return TAGS[dict] if isinstance(recipe, dict | Optimiser) else None


Positive = Annotated[int, Field(gt=0)]
Steps = Annotated[int, Field(gt=0, le=10**12)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seeds = Annotated[
    Annotated[int, Field(gt=0, le=100_000), Tag(TAGS[int])]
    | Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Tag(TAGS[list])],
    _by_type("a valid integer or a valid list"),
]
"""A number of seeds, or a list of them."""

Value = Annotated[
    Annotated[str, Tag(TAGS[str])] | Annotated[dict[str, Any], Tag(TAGS[dict])],
    _by_type("a valid string or a valid table"),
]
"""On an axis: a name, or a table with a name and parameters."""

Named = Annotated[
    Annotated[str, Tag(TAGS[str])] | Annotated[int, Tag(TAGS[int])],
    _by_type("a valid string or a valid integer"),
]
"""What an exclusion names: a label, a name or a seed."""


class Strict(BaseModel):
    """A table of a matrix file: immutable, with neither unknown keys nor other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def plain(self) -> dict[str, Any]:
        """The options as JSON values: what a cell's key and the stored files are made of."""
        return self.model_dump(mode="json")

    def replaced(self, **changes: Any) -> Self:
        """These options with some of them changed, validated."""
        return self.model_validate(self.plain() | changes)


def _without_defaults(
    model: Strict, options: dict[str, Any], names: tuple[str, ...]
) -> dict[str, Any]:
    """The options of a model, without those of `names` that have their default."""
    fields = type(model).model_fields
    at_default = {name for name in names if getattr(model, name) == fields[name].default}
    return {name: value for name, value in options.items() if name not in at_default}


class Optimiser(Strict):
    """One optimiser for both networks of every cell."""

    optimizer: Literal["adam", "rmsprop", "rmsprop_tf"] = "adam"
    """rmsprop is PyTorch's update, rmsprop_tf is TensorFlow's."""

    lr: Annotated[float, Field(gt=0, le=1e6)] = 2e-4
    """Learning rate."""

    betas: Annotated[tuple[Share, Share], Field(strict=False)] = (0.5, 0.999)
    """Of Adam."""

    alpha: Share = 0.99
    """Of RMSProp: the decay of the mean square; 0.9 of rmsprop_tf."""

    eps: Annotated[float, Field(gt=0, le=1)] | None = None
    """None: 1e-8; 1e-10 of rmsprop_tf, which adds it under the root."""

    d_lr: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Learning rate of the critic; None: lr."""

    g_lr: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Learning rate of the generator; None: lr."""

    weight_decay: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Added to the gradient of a parameter, times the parameter."""

    @model_validator(mode="before")
    @classmethod
    def with_own_alpha(cls, options: Any) -> Any:
        if isinstance(options, dict) and options.get("optimizer") == "rmsprop_tf":
            return {"alpha": 0.9, **options}
        return options

    @model_serializer(mode="wrap")
    def without_later_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A key is made of this: what earlier keys did not have is left out at its default."""
        return _without_defaults(self, serialise(self), ("eps", "d_lr", "g_lr", "weight_decay"))


Recipe = Annotated[
    Annotated[Literal["paper"], Tag(TAGS[str])] | Annotated[Optimiser, Tag(TAGS[dict])],
    Discriminator(
        _recipe_tag,
        custom_error_type="type",
        custom_error_message="Input should be 'paper' or a valid table",
    ),
]


CriticSteps = Annotated[
    Annotated[Literal["paper"], Tag(TAGS[str])]
    | Annotated[int, Field(gt=0, le=10_000), Tag(TAGS[int])],
    _by_type("'paper' or a valid integer"),
]

# Options that earlier keys did not have
LATER = ("ema_warmup", "critic_steps", "critic_pretrain", "instance_noise", "noise_decay")


class Training(Strict):
    """How every cell is trained. Exactly one of steps, samples and seconds is the budget."""

    batch_size: Steps = 64
    """Samples of a batch."""

    steps: Steps | None = None
    """Generator steps."""

    samples: Steps | None = None
    """Real samples passed through the critic."""

    seconds: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Seconds of training."""

    recipe: Recipe = "paper"
    """Each objective's own optimiser, or one optimiser for all objectives."""

    lr_decay: Literal["none", "linear"] = "none"
    """linear: the learning rate falls to 0 at the end of the budget."""

    generator_batch_multiple: Positive = 1
    """Batch size of a generator step, in batches."""

    ema: Share = 0.0
    """Decay per step of the generator's moving average; 0: no average."""

    ema_warmup: bool = False
    """After t steps the decay is at most (1 + t)/(10 + t)."""

    critic_steps: CriticSteps = "paper"
    """Critic steps per generator step: each objective's own, or one number for all."""

    critic_pretrain: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Critic steps before the first generator step, on top of its own."""

    instance_noise: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Standard deviation of Gaussian noise on all samples that the critic sees in training."""

    noise_decay: Literal["linear", "none"] = "linear"
    """linear: the noise falls to 0 at the end of the budget."""

    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """Of matrix products and convolutions; bf16 by autocast."""

    layout: Literal["contiguous", "channels_last"] = "contiguous"
    """Memory format of images and convolution weights."""

    @model_validator(mode="after")
    def is_consistent(self) -> "Training":
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"set exactly one budget of {', '.join(BUDGETS)}, not {found}")
        if self.ema_warmup and not self.ema:
            raise ValueError("ema_warmup needs an ema above 0")
        if self.noise_decay == "none" and not self.instance_noise:
            raise ValueError("noise_decay needs an instance_noise above 0")
        return self

    @model_serializer(mode="wrap")
    def without_later_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A key is made of this: what earlier keys did not have is left out at its default."""
        return _without_defaults(self, serialise(self), LATER)

    def d_steps(self, objective: Any, g_step: int) -> int:
        """Critic steps before generator step `g_step` (0, 1, …)."""
        is_paper = self.critic_steps == "paper"
        steps: int = objective.d_steps(g_step) if is_paper else self.critic_steps
        return steps + self.critic_pretrain if g_step == 0 else steps

    def average_decay(self, g_step: int) -> float:
        """The decay of the generator's moving average after generator step `g_step` (0, 1, …)."""
        if not self.ema_warmup:
            return self.ema
        return min(self.ema, (1 + g_step) / (10 + g_step))


class SampleSizes(Strict):
    """Generated samples per evaluation, by modality."""

    points: Annotated[int, Field(ge=2)] = 2000

    images: Annotated[int, Field(ge=10)] = 10_000
    """At least 10, because the Inception score has ten splits."""

    text: Annotated[int, Field(ge=2)] = 2000


class Evaluation(Strict):
    """When and how a run is measured. Not part of a cell's key."""

    schedule: list[Annotated[float, Field(ge=0, le=1)]] = [0, 0.1, 0.2, 0.4, 0.6, 0.8, 1]
    """Shares of the budget at which the run is measured."""

    n: SampleSizes = SampleSizes()
    """Generated samples per evaluation."""

    n_real: Annotated[int, Field(ge=0)] = 0
    """Number of training images that generated images are compared with; 0: all of them."""

    metrics: list[str] = []
    """Names from METRICS; empty: all metrics of the modality."""

    extractor: str = "inception-v3-compat"
    """The network whose features images are compared by."""

    extractor_weights: str | None = None
    """Path of the weights of the extractor."""

    kid_subsets: Annotated[int, Field(gt=0, le=100_000)] = 100
    """Random subsets that KID is averaged over."""

    kid_subset_size: Positive = 1000
    """Images of a subset."""

    sampling_statistics: Literal["batch", "ema"] = "batch"
    """What batch norm uses in sampling: the statistics of the batch, or moving averages."""

    log_every: Positive = 50
    """Generator steps between two rows of steps.jsonl."""

    @model_validator(mode="after")
    def is_known(self) -> "Evaluation":
        if 0 < self.n_real < 10:
            raise ValueError(f"n_real must be 0 (all) or at least 10, not {self.n_real}")
        for name in self.metrics:
            if name not in METRICS:
                raise unknown("metric", name, METRICS)
        rises = sorted(set(self.schedule)) == self.schedule
        if not self.schedule or not rises or self.schedule[-1] != 1:
            raise ValueError(
                "schedule must be a rising list of shares of the budget that ends with 1, such as "
                f"[0, 0.5, 1], not {self.schedule}"
            )
        return self


class Include(Strict):
    """Cells beyond the product of the axes."""

    objective: Value
    architecture: Value
    dataset: Value

    seeds: Seeds | None = None
    """None: the seeds of the matrix."""


class Matrix(Strict):
    """A whole matrix file. Raises UserError with one line for a mistake in it."""

    objectives: list[Value]
    architectures: list[Value]
    datasets: list[Value]
    seeds: Seeds = 5

    reference: Annotated[str, Field(min_length=1)] | None = None
    """Objective that all others are tested against."""

    targets: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Label of a dataset, or its bare name, which stands for all its variations → what a run has to
    reach in the metric that ranks. It replaces the targets at ¼, ½ and ¾ of the way from the
    untrained generator to the noise floor."""

    training: dict[str, Any] = {}
    """Validated as `Training` for every cell: a dataset or an architecture may change options."""

    evaluation: Evaluation = Evaluation()
    include: list[Include] = []
    exclude: list[dict[str, Named]] = []

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise one_line(type(self), error, _where.get()) from error


# What the message of a mistake calls a matrix: its file has a name
_where: ContextVar[str] = ContextVar("where", default="Matrix")
Model = TypeVar("Model", bound=Strict)


def validated(model: type[Model], raw: dict[str, Any], where: str) -> Model:
    """A table of a matrix file as its options. Raises UserError with one line for the deepest
    mistake in it; `where` names the table."""
    token = _where.set(where)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise one_line(model, error, where) from error
    finally:
        _where.reset(token)
