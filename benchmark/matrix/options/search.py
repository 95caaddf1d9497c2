"""The options of a search: the table [search]."""

from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from benchmark.errors import unknown
from benchmark.matrix.mistakes import TAGS
from benchmark.matrix.options.strict import Strict
from benchmark.metrics import METRICS
from variants import _ranges

FIRST_FINAL_SEED = 1000
"""The seed that a number of final seeds counts from."""


class Range(Strict):
    """What the values of a parameter are drawn from: exactly one of log, uniform and choice."""

    log: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Uniform in the logarithm, between two positive numbers."""

    uniform: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Uniform between two numbers."""

    choice: Annotated[list[Any], Field(min_length=1)] | None = None
    """One of some values."""

    @model_validator(mode="after")
    def is_consistent(self) -> "Range":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"a range has exactly one of log, uniform, choice, not {found}")
        ends = self.log or self.uniform
        if ends and not ends[0] < ends[1]:
            raise ValueError(f"{given[0]} takes a smaller and a larger number, not {[*ends]}")
        if self.log and not self.log[0] > 0:
            raise ValueError(f"log takes two positive numbers, not {[*self.log]}")
        return self

    @property
    def range(self) -> _ranges.Range:
        if self.log:
            return _ranges.Log(*self.log)
        if self.uniform:
            return _ranges.Uniform(*self.uniform)
        return _ranges.OneOf(tuple(self.choice or ()))


def _range_tag(value: object) -> str | None:
    if value == "paper":
        return TAGS[str]
    return TAGS[dict] if isinstance(value, dict | Range) else None


Ranged = Annotated[
    Annotated[Literal["paper"], Tag(TAGS[str])] | Annotated[Range, Tag(TAGS[dict])],
    Discriminator(
        _range_tag,
        custom_error_type="type",
        custom_error_message="Input should be 'paper' or a range such as {log = [1e-5, 1e-2]}",
    ),
]


class Stop(Strict):
    """When the later configurations of a pool may end early."""

    at: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the budget at which they may end: one of the evaluation's schedule."""

    keep: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """They go on with a value there that this share of the first ones had, or a better one."""

    after: Annotated[int, Field(ge=7, le=10_000)] = 16
    """Number of the first configurations, which always train to their end; fewer than 7 in perfect
    order have an interval too wide to stop by."""


class Search(Strict):
    """How the values of an objective with `search = K` are searched."""

    ranges: Literal["wide", "narrow"] = "wide"
    """Which of its ranges a parameter is drawn from."""

    space: dict[str, Ranged] = {}
    """Parameter → a range of its own, such as {log = [1e-4, 1e-3]}; "paper": it is not searched."""

    sampler: Literal["random", "sobol", "tpe"] = "random"
    """random: independent points; sobol: points that fill the space evenly; tpe: each from the
    results of those before it (Optuna)."""

    metric: str | None = None
    """What the best configuration has the least of at the end; None: the metric that ranks."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the sampler."""

    final_seeds: Annotated[int, Field(gt=0, le=100_000)] = 10
    """Number of seeds of the final phase, which count from 1000."""

    stop: Stop | None = None
    """Which configurations end early; None: none."""

    @property
    def seeds(self) -> list[int]:
        """The seeds of the final phase."""
        return [*range(FIRST_FINAL_SEED, FIRST_FINAL_SEED + self.final_seeds)]

    @model_validator(mode="after")
    def is_known(self) -> "Search":
        name = self.metric
        falling = [row.name for row in METRICS.values() if row.direction == "min"]
        if name is not None and name not in falling:
            raise unknown("metric of a search, of which less is better", name, falling)
        if self.stop and self.sampler == "tpe":
            raise ValueError(
                "stop needs sampler = 'random' or 'sobol', not 'tpe', which learns from the end of "
                "every configuration"
            )
        return self

    @model_serializer(mode="wrap")
    def without_later_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The hash of a matrix is made of this: what earlier ones did not have is left out."""
        return self.without_defaults(serialise(self), ("stop",))
