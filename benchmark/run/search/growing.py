"""The cells that a run takes, of which some follow from the results of others."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmark.matrix.cell import Cell, Choice, stream_seed
from benchmark.matrix.expand import Expanded, expanded
from benchmark.matrix.options import Matrix
from benchmark.matrix.search.part import FINAL, POOL, Part, Rung
from benchmark.matrix.search.rungs import Reached
from benchmark.run.options import RunOptions
from benchmark.run.search.outcomes import outcomes
from benchmark.store.layout import ResultSet

Group = tuple[str, str, str]  # objective and architecture without searched values, dataset


class Growing:
    """The cells of a matrix, and those of them that a run takes. What a search adds to both follows
    from the matrix and from the cells that are settled on disk, whoever ran them."""

    def __init__(self, config: Matrix, options: RunOptions, folder: Path) -> None:
        self.config, self.options, self.results = config, options, ResultSet(folder)
        self.first: Expanded = expanded(config)
        """What needs no results."""
        self.now = self.first
        self.outcomes: dict[str, Reached] = {}
        """Key → what a settled cell of a pool reached."""
        self._look([*self.first.parts])
        self.chosen = self._choose()
        """What the run takes, by key."""
        if options.force:
            # What runs again has not reached anything
            for key in self.chosen:
                self.outcomes.pop(key, None)
            self._expand()
            self.chosen = self._choose()

    def grow(self, key: str) -> list[Cell]:
        """The cells that the end of a cell has added to those of the run."""
        part = self.now.parts.get(key)
        if part is None or part.phase != POOL:
            return []
        before = self.chosen
        self._look(next(keys for keys in self._groups(POOL).values() if key in keys))
        self.chosen = self._choose()
        return [cell for other, cell in self.chosen.items() if other not in before]

    def rung(self, key: str) -> Rung | None:
        """Where a cell may end early."""
        part = self.now.parts.get(key)
        return part.rung if part else None

    def following(self, seconds: Mapping[str, float | None]) -> list[float | None]:
        """What the cells cost that will follow from results, as far as the run takes them: each as
        much as the mean of its pool. seconds: of the cells to run, by key."""
        costs: list[float | None] = []
        finals = self._groups(FINAL)
        for group, pool in self._groups(POOL).items():
            part = self.now.parts[pool[0]]
            known = len({self.now.parts[key].configuration for key in pool})
            num_seeds = len(pool) // known
            num = num_seeds * (part.of - known) if pool[0] in self.chosen else 0
            if not self.outcomes.keys() >= {*pool} or known < part.of:
                # The pick has the seeds of the default
                num += sum(key in self.chosen for key in finals[group])
            values = [value for value in map(seconds.get, pool) if value is not None]
            costs += [sum(values) / len(values) if values else None] * num
        return costs

    def _groups(self, phase: str) -> dict[Group, list[str]]:
        """The keys of the cells of a phase, by searched objective and place."""
        groups: dict[Group, list[str]] = defaultdict(list)
        for cell in self.now.cells:
            part = self.now.parts.get(cell.key)
            if part and part.phase == phase:
                groups[part.objective, part.architecture, cell.dataset.label].append(cell.key)
        return groups

    @property
    def unsearched(self) -> list[Cell]:
        """The cells of places without a search."""
        searched = {_place(cell) for cell in self.now.cells if cell.key in self.now.parts}
        return [cell for cell in self.now.cells if _place(cell) not in searched]

    def _look(self, keys: list[str]) -> None:
        """Read what cells of pools reached, and expand the matrix until nothing new follows."""
        while keys:
            waiting = {*keys} - self.outcomes.keys()
            cells = [cell for cell in self.now.cells if cell.key in waiting]
            found = outcomes(self.results, cells, self.now.parts, self.config.search)
            self.outcomes |= found
            if not found:
                return
            known = self.now.parts
            self._expand()
            keys = [key for key in self.now.parts if key not in known]

    def _expand(self) -> None:
        self.now = expanded(self.config, "", self.outcomes)

    def _choose(self) -> dict[str, Cell]:
        """The cells that the run takes. What follows from results belongs to a shard by its key,
        because the others must not change shards."""
        cells = self.now.cells
        if self.options.only:
            cells = expanded(self.config, self.options.only, self.outcomes).cells
        first = {cell.key for cell in self.first.cells}
        part = self.options.part
        keys = {cell.key for cell in [cell for cell in cells if cell.key in first][part]}
        for cell in cells:
            is_here = stream_seed("shard", cell.key) % part.step == part.start
            if cell.key not in first and is_here:
                keys.add(cell.key)
        return {cell.key: cell for cell in cells if cell.key in keys}


def alike(parts: Mapping[str, Part], cell: Cell) -> Cell:
    """A cell that stands for all that differ in searched real numbers alone, and so cost the same.
    parts: by key."""
    part = parts.get(cell.key)
    if part is None:
        return cell
    numbers = {key for key, value in part.values.items() if isinstance(value, float)} | {"betas"}
    params = {key: value for key, value in cell.objective.params.items() if key not in numbers}
    return replace(cell, objective=Choice(cell.objective.name, params))


def _place(cell: Cell) -> tuple[str, str]:
    return cell.architecture.label, cell.dataset.label
