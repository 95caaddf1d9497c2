"""Points and values that a search draws: a larger number of them begins with those of a smaller."""

from collections.abc import Callable
from functools import cache
from typing import Any

from benchmark.errors import UserError
from benchmark.matrix.cell import stream_seed
from benchmark.matrix.search.space import SHARED, Space
from variants._ranges import OneOf, Range

DIGITS = 3  # significant ones of a number, as long as its numbers then differ
MOST_DIGITS = 17
MOST_SOBOL = 32  # parameters: a Sobol sequence of more has other points
Point = Callable[[str, int], float]
"""(parameter, number of the configuration) → a number in [0, 1)."""


def random_point(seed: int) -> Point:
    """Independent uniform numbers. One does not depend on which others are drawn: all objectives
    have the same ones of a parameter."""
    return lambda key, number: stream_seed("search", seed, key, number) / 2**63


def sobol_point(seed: int, space: Space) -> Point:
    """A scrambled Sobol sequence. The parameters that all objectives have come first, and so have
    the same numbers. Raises UserError for more than MOST_SOBOL parameters."""
    keys = [*dict.fromkeys([*SHARED, *space])]
    if len(keys) > MOST_SOBOL:
        raise UserError(f"sampler = 'sobol' takes {MOST_SOBOL} parameters, not {len(keys)}")

    def point(key: str, number: int) -> float:
        index = number - 1
        return float(_sobol(seed, index.bit_length())[index][keys.index(key)])

    return point


@cache
def _sobol(seed: int, power: int) -> Any:
    """The first 2**power points, (2**power, MOST_SOBOL)."""
    import numpy as np
    from scipy.stats.qmc import Sobol

    sampler = Sobol(MOST_SOBOL, scramble=True, rng=np.random.default_rng(seed))
    return sampler.random_base2(power)


def drawn(key: str, found: Range, point: Point, num: int, is_whole: bool) -> list[Any]:
    """The values of a parameter in configurations 1 to num."""
    values: list[Any] = []
    for number in range(1, num + 1):
        values.append(value_of(found, found.at(point(key, number)), is_whole, values))
    return values


def value_of(found: Range, value: Any, is_whole: bool, earlier: list[Any]) -> Any:
    """A drawn value as a matrix has it: one of the choices, a whole number, or a number of few
    digits within its range that neither an earlier configuration nor a paper has."""
    if isinstance(found, OneOf):
        return value
    if is_whole:
        return round(value)
    for digits in range(DIGITS, MOST_DIGITS + 1):
        rounded = min(max(float(f"{value:.{digits}g}"), found.low), found.high)
        # What papers publish has fewer digits
        if rounded not in earlier and rounded != float(f"{rounded:.{DIGITS - 1}g}"):
            break
    return rounded
