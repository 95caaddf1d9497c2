"""The cells of a searched objective in a place: pool, pick and final.

Which cells there are follows from the matrix and from what its pool reached, and from nothing
else: a search that is killed goes on as if it had not been."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.matrix.options import Search, Stop
from benchmark.matrix.search.draws import Point, drawn, random_point, sobol_point, value_of
from benchmark.matrix.search.part import FINAL, POOL, Part, Rung
from benchmark.matrix.search.pick import mean_value, pick
from benchmark.matrix.search.rungs import Reached, decide
from benchmark.matrix.search.space import (
    NORM,
    Values,
    configured,
    is_whole,
    published,
    replaced,
    space_of,
)
from benchmark.matrix.search.tpe import FIRST, ask
from benchmark.matrix.values import AxisValue, defaults

Outcomes = Mapping[str, Reached]
"""Key → what a settled cell of a pool reached."""

Searched = tuple[Cell, Part]
CellsOf = Callable[[AxisValue, AxisValue, list[int]], list[Cell]]
"""Objective, architecture and seeds → cells."""


@dataclass
class Group:
    """A searched objective in a place."""

    objective: AxisValue
    architecture: AxisValue
    seeds: list[int]
    """Of the pool."""

    options: Search
    cells_of: CellsOf

    def __post_init__(self) -> None:
        shared = set(self.seeds) & set(self.options.seeds)
        if shared:
            raise UserError(
                f"search: seed {min(shared)} is one of the pool and one of the final phase; the "
                f"final seeds are {self.options.seeds[0]} to {self.options.seeds[-1]}"
            )
        if self.options.stop and len(self.seeds) > 1:
            raise UserError(
                f"search.stop: a run ends by its own value, so a pool has one seed, not "
                f"{len(self.seeds)}"
            )
        first, *_ = self.cells_of(self.objective, self.architecture, self.seeds)
        self.space = space_of(self.objective, self.options, _may_lose_norm(first))
        self.num = self.objective.search

    def cells(self, outcomes: Outcomes) -> Iterator[Searched]:
        """The cells that are known by now: of the pool, of the default on the final seeds, and of
        the pick once its pool is settled. The configurations that may end early are known once
        those before them are settled."""
        reached: dict[int, list[float]] = {}
        early: list[float] = []
        configurations: list[Values] = []
        rung, stop = None, self.options.stop
        for values in self.configurations(reached):
            number = len(configurations)
            if stop and number == stop.after:
                if len(reached) < number:
                    break
                rung = self._rung(stop, early, [end for (end,) in reached.values()])
            configurations.append(values)
            here = [*self._cells(number, values, POOL, rung)]
            yield from here
            known = [outcomes[cell.key] for cell, _ in here if cell.key in outcomes]
            if len(known) == len(here):
                reached[number] = [value.end for value in known]
                early += [value.early for value in known]
        yield from self._cells(0, configurations[0], FINAL)
        best = pick(reached) if len(reached) == self.num else 0
        if best:
            yield from self._cells(best, configurations[best], FINAL)

    def _rung(self, stop: Stop, early: list[float], ends: list[float]) -> Rung | None:
        """Where the later configurations may end early."""
        limit = decide(early, ends, stop.keep).limit
        if math.isinf(limit):
            return None
        return Rung(at=stop.at, limit=limit, metric=self.options.metric)

    def configurations(self, reached: Mapping[int, list[float]]) -> Iterator[Values]:
        """The values of each configuration; under tpe of those that can be asked for."""
        yield published(self.objective, self.space)
        if self.options.sampler == "tpe":
            yield from self._asked(reached)
            return
        columns = self._columns(self.num)
        for number in range(self.num - 1):
            yield {key: column[number] for key, column in columns.items()}

    def _columns(self, num: int) -> dict[str, list[object]]:
        """The drawn values of every parameter in configurations 1 to num − 1."""
        seed = self.options.seed
        point: Point = random_point(seed)
        if self.options.sampler == "sobol":
            point = sobol_point(seed, self.space)
        columns = {}
        for key, found in self.space.items():
            whole = is_whole(self.objective, key)
            columns[key] = drawn(key, found, point, num - 1, whole)
        return columns

    def _asked(self, reached: Mapping[int, list[float]]) -> Iterator[Values]:
        """The first configurations at random, then each from those before it."""
        first = self._columns(min(FIRST, self.num))
        whole = [key for key in self.space if is_whole(self.objective, key)]
        known = [published(self.objective, self.space)]
        for number in range(1, self.num):
            if number - 1 not in reached:
                return
            if number < FIRST:
                values = {key: column[number - 1] for key, column in first.items()}
            else:
                ends = [mean_value(reached[index]) for index in range(number)]
                pairs = [*zip(known, ends, strict=True)]
                asked = ask(self.space, whole, pairs, self.options.seed)
                values = {}
                for key, found in self.space.items():
                    earlier = [configuration[key] for configuration in known[1:]]
                    values[key] = value_of(found, asked[key], key in whole, earlier)
            known.append(values)
            yield values

    def _cells(
        self, number: int, values: Values, phase: str, rung: Rung | None = None
    ) -> Iterator[Searched]:
        objective, architecture = self.objective, self.architecture
        # The default is the objective as it stands, whatever the search knows of its values
        if number:
            objective = configured(objective, values)
            architecture = _with_norm(architecture, values)
        part = Part(
            objective=self.objective.choice.label,
            architecture=self.architecture.choice.label,
            configuration=number,
            of=self.num,
            phase=phase,
            values=values,
            # What is not set is not written
            **({"rung": rung} if rung else {}),
        )
        seeds = self.seeds if phase == POOL else self.options.seeds
        for cell in self.cells_of(objective, architecture, seeds):
            yield cell, part


def _with_norm(architecture: AxisValue, values: Values) -> AxisValue:
    """An architecture whose critic has a searched norm."""
    if values.get(NORM, "auto") == "auto":
        return architecture
    return replaced("architecture", architecture, {NORM: values[NORM]})


def _may_lose_norm(cell: Cell) -> bool:
    """Whether the norm of a critic may be left out: it has one, nothing sets it, and it is the
    critic of the same architecture."""
    architecture = cell.architecture
    is_parameter = NORM in defaults("architecture", architecture.name)
    is_set = bool({NORM, "critic"} & architecture.params.keys())
    return cell.norm != "none" and is_parameter and not is_set
