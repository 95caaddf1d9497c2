"""Lists in a value on an axis are swept: all their combinations, or a sample of these.

{name = "dcgan", width = [16, 32, 64], norm = ["auto", "none"], sample = 4}
{name = "dcgan", width = [16, 32, 64], norm = ["auto", "none"], sample = {n = 4, seed = 1}}"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from benchmark.errors import UserError
from benchmark.matrix.cell import stream_seed

MOST_SAMPLED = 10_000  # combinations of a value
MOST_SEARCHED = 10_000  # configurations of an objective
Lists = dict[str, list[Any]]


def take_search(axis: str, name: str, table: dict[str, Any]) -> int:
    """The number of configurations that a value searches; 0 where it is not searched."""
    if "search" not in table:
        return 0
    search = table.pop("search")
    if axis != "objective":
        raise UserError(f"{axis} {name!r}: search is for objectives; every axis takes sample = N")
    if type(search) is not int or not 2 <= search <= MOST_SEARCHED:
        raise UserError(
            f"{axis} {name!r}: search must be a number of configurations from 2 to "
            f"{MOST_SEARCHED:,}, not {search!r}"
        )
    return search


def take_sample(where: str, table: dict[str, Any]) -> tuple[int, int] | None:
    """The number and the seed of the combinations that a value samples; None where it has all of
    them. `where` names the value."""
    if "sample" not in table:
        return None
    sample = table.pop("sample")
    options = dict(sample) if isinstance(sample, dict) else {"n": sample}
    num, seed = options.pop("n", None), options.pop("seed", 0)
    is_number = type(num) is int and 1 <= num <= MOST_SAMPLED
    if options or not is_number or type(seed) is not int:
        raise UserError(
            f"{where}: sample must be a number from 1 to {MOST_SAMPLED:,}, or a table such as "
            f"{{n = 50, seed = 0}}, not {sample!r}"
        )
    return num, seed


def combinations(
    where: str, lists: Lists, sample: tuple[int, int] | None
) -> Iterator[dict[str, Any]]:
    """Every combination of the values in lists, or as many of them as are sampled, each once. A
    larger sample begins with the smaller one, and what is drawn of a list does not depend on the
    others. Raises UserError for more than there are."""
    if sample is None:
        for combination in itertools.product(*lists.values()):
            yield dict(zip(lists, combination, strict=True))
        return
    num, seed = sample
    total = math.prod(map(len, lists.values()))
    if num > total:
        raise UserError(f"{where}: sample = {num:,} of {total:,} combinations")
    seen: set[tuple[int, ...]] = set()
    for draw in itertools.count():
        if len(seen) == num:
            return
        drawn = []
        for key, values in lists.items():
            drawn.append(stream_seed("sample", seed, key, draw) % len(values))
        if tuple(drawn) not in seen:
            seen.add(tuple(drawn))
            yield {key: lists[key][index] for key, index in zip(lists, drawn, strict=True)}
