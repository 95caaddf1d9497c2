"""The options of a matrix file: their types, defaults and meaning. `validated` turns a mistake in
them into one line."""

from contextvars import ContextVar
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from benchmark.errors import unknown
from benchmark.matrix.mistakes import TAGS, one_line
from benchmark.matrix.options.search import Search as Search
from benchmark.matrix.options.search import Stop as Stop
from benchmark.matrix.options.seeds import CrossedSeeds as CrossedSeeds
from benchmark.matrix.options.seeds import Seeds as Seeds
from benchmark.matrix.options.strict import Positive, Strict, by_type
from benchmark.matrix.options.training import BUDGETS as BUDGETS
from benchmark.matrix.options.training import OF_OBJECTIVE as OF_OBJECTIVE
from benchmark.matrix.options.training import Optimiser as Optimiser
from benchmark.matrix.options.training import Training as Training
from benchmark.matrix.options.training import as_read as as_read
from benchmark.metrics import METRICS

Value = Annotated[
    Annotated[str, Tag(TAGS[str])] | Annotated[dict[str, Any], Tag(TAGS[dict])],
    by_type("a valid string or a valid table"),
]
"""On an axis: a name, or a table with a name and parameters."""

Named = Annotated[
    Annotated[str, Tag(TAGS[str])] | Annotated[int, Tag(TAGS[int])],
    by_type("a valid string or a valid integer"),
]
"""What an exclusion names: a label, a name or a seed."""


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

    search: Search = Search()
    """Of the objectives that are searched."""

    include: list[Include] = []
    exclude: list[dict[str, Named]] = []

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise one_line(type(self), error, _where.get()) from error

    @model_validator(mode="before")
    @classmethod
    def with_seeds_of_a_search(cls, options: Any) -> Any:
        """Configurations of a search have one seed unless the matrix says otherwise."""
        if not isinstance(options, dict) or "seeds" in options:
            return options
        values = options.get("objectives")
        for value in values if isinstance(values, list) else []:
            if isinstance(value, dict) and "search" in value:
                return {**options, "seeds": 1}
        return options

    @model_serializer(mode="wrap")
    def without_later_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The hash of a matrix is made of this: what earlier ones did not have is left out."""
        return self.without_defaults(serialise(self), ("search",))


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
