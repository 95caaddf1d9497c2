"""The seeds of a matrix: one for all random streams of a run, or two that are crossed."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from benchmark.matrix.mistakes import TAGS
from benchmark.matrix.options.strict import Strict, by_type

CROSSING = 1000
"""A crossed seed is CROSSING x the seed of the initial weights + the seed of the batches."""

Numbers = Annotated[
    Annotated[int, Field(gt=0, le=CROSSING), Tag(TAGS[int])]
    | Annotated[list[Annotated[int, Field(ge=0, lt=CROSSING)]], Tag(TAGS[list])],
    by_type("a valid integer or a valid list"),
]


class CrossedSeeds(Strict):
    """Every seed of initial weights with every seed of batches. Each is a number of seeds, which
    count from 0, or a list of them, all below 1000. The run of weights 3 and batches 1 has the seed
    3001; that of weights 3 and batches 3 trains as the run of seed 3 that is not crossed."""

    weights: Numbers
    """Of the initial weights of both networks."""

    batches: Numbers
    """Of what the steps draw: batches, latents, noise, labels."""

    @property
    def numbers(self) -> list[int]:
        """The crossed seeds, the batches fastest."""
        batches = _counted(self.batches)
        return [CROSSING * w + b for w in _counted(self.weights) for b in batches]


def _tag(seeds: object) -> str | None:
    return TAGS[dict] if isinstance(seeds, CrossedSeeds) else TAGS.get(type(seeds))


Seeds = Annotated[
    Annotated[int, Field(gt=0, le=100_000), Tag(TAGS[int])]
    | Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Tag(TAGS[list])]
    | Annotated[CrossedSeeds, Tag(TAGS[dict])],
    Discriminator(
        _tag,
        custom_error_type="type",
        custom_error_message="Input should be a valid integer, a valid list or a valid table",
    ),
]
"""A number of seeds, a list of them, or two such that are crossed."""


def numbers(seeds: Seeds) -> list[int]:
    """The seeds of cells. A number of seeds counts from 0."""
    return seeds.numbers if isinstance(seeds, CrossedSeeds) else _counted(seeds)


def weights_and_batches(seed: int) -> tuple[int, int]:
    """The seeds of initial weights and of batches that a crossed seed stands for."""
    return divmod(seed, CROSSING)


def _counted(seeds: int | list[int]) -> list[int]:
    return [*range(seeds)] if isinstance(seeds, int) else seeds
