"""Which seeds train as one stack, and whether steps are traced or compiled: chosen once for a
place, for all objectives alike, from the matrix alone. So seconds are comparable, and numbers of a
cell depend neither on which cells wait, nor on workers, nor on what was compiled before.

stacks.csv holds what was measured: device (cpu, cuda), mode (of execution), kind (mlp, conv or
conv1d), weights (that generator and critic train together), pixels (of an image; 0: none),
batch_size, stack (seeds; 1: alone), ms (of an iteration of WGAN-GP, per seed)."""

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.values import made
from benchmark.text import described
from benchmark.train.execution.modes import can_compile, resolve
from variants._recipes import RECIPE

TABLE = Path(__file__).parent / "stacks.csv"
WORTH = 1.1  # how many times as fast as one seed after the other, eagerly, another way must be
COMPILE_SECONDS = 9.0  # of one function: of the critic, of the generator, or of the fakes
TRACE_SECONDS = 1.5  # of the three functions of a stack, which every run traces anew
STEADY_STEP = 1000  # far from the first steps, where an objective may take more critic steps
UPDATES = {*RECIPE, "critic_steps"}  # parameters of an objective that no compiled function has
MAX_REASON = 200  # characters of the reason why a place is not stacked

Place = tuple[str, str]
Phase = tuple[str, str, bool]  # a place, and whether its seeds are of a final phase
Blocks = dict[int, list[int]]  # seed -> the seeds of its stack


class Way(NamedTuple):
    """How a place is executed. mode: one of modes.MODES, or auto. size: seeds of a stack; 1: a cell
    trains alone."""

    mode: str
    size: int


class Stacks:
    """The stacks of a matrix.

    cells: all cells of the matrix that need no results, whichever run. execution: auto, or one of
    modes.MODES. asked: auto, or a number of seeds. note: receives a line for every place whose
    seeds were to be stacked and cannot be. final: seeds of the final phase of a search, which share
    no stack with those of its pool."""

    def __init__(
        self,
        cells: Iterable[Cell],
        device: str,
        execution: str,
        asked: str,
        note: Callable[[str], None],
        final: Iterable[int] = (),
    ) -> None:
        self.final = frozenset(final)
        self.device, self.execution, self.asked, self.note = device, execution, asked, note
        # The seeds of a place in the order of the matrix, and the cells of each of its objectives
        self.seeds: dict[Phase, dict[int, None]] = defaultdict(dict)
        self.groups: dict[Phase, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
        for cell in cells:
            place = self._phase(cell)
            self.seeds[place].setdefault(cell.seed)
            self.groups[place][cell.objective.label].append(cell)
        self.chosen: dict[Phase, tuple[str, Blocks]] = {}

    def stack_of(self, cell: Cell) -> tuple[Cell, ...]:
        """The cells of the stack of a cell, in their order; empty if the cell trains alone. A seed
        that the matrix excludes for the objective has a cell in the stack."""
        return stack_of(cell, self._choice(cell)[1])

    def execution_of(self, cell: Cell) -> str:
        """How the steps of a cell are to be executed: one of modes.MODES, or auto."""
        return self._choice(cell)[0]

    def _choice(self, cell: Cell) -> tuple[str, Blocks]:
        place = self._phase(cell)
        if place not in self.chosen:
            self.chosen[place] = self._choose(place)
        return self.chosen[place]

    def _phase(self, cell: Cell) -> Phase:
        return *place_of(cell), cell.seed in self.final

    def _choose(self, place: Phase) -> tuple[str, Blocks]:
        """How the steps of a place are executed, and its blocks; none where one of its objectives
        cannot be stacked, and for a place that follows from results."""
        groups = [*self.groups[place].values()]
        if not groups:
            return self.execution, {}
        num_seeds = len(self.seeds[place])
        first = groups[0][0]
        way = Way(self.execution, 1)
        if self.asked != "auto":
            way = Way(self.execution, balanced_size(int(self.asked), num_seeds))
        elif not first.training.seconds:
            way = best_way(groups, num_seeds, self.device, self.execution)
        if way.size == 1 or first.training.seconds:
            return way.mode, {}
        blocks = blocks_of([*self.seeds[place]], way.size)
        for cells in groups:
            reason = refusal(stack_of(cells[0], blocks), self.device)
            if reason:
                architecture, dataset, _ = place
                self.note(
                    f"{architecture} on {dataset}: seeds are not stacked, because "
                    f"{cells[0].objective.label} cannot be: {reason}"
                )
                return self.execution, {}
        return way.mode, blocks


def stack_of(cell: Cell, blocks: Blocks) -> tuple[Cell, ...]:
    return tuple(replace(cell, seed=seed) for seed in blocks.get(cell.seed, ()))


def blocks_of(seeds: list[int], size: int) -> Blocks:
    """Seeds in blocks of one size; the last one has further seeds in the places to spare."""
    spare = max(seeds) + 1
    blocks: Blocks = {}
    for first in range(0, len(seeds), size):
        block = seeds[first : first + size]
        block += range(spare, spare + size - len(block))
        blocks |= dict.fromkeys(block, block)
    return blocks


def place_of(cell: Cell) -> Place:
    return cell.architecture.label, cell.dataset.label


def balanced_size(most: int, num_seeds: int) -> int:
    """The size of equal stacks of at most so many seeds: 25 seeds in stacks of at most 8 are four
    of 7, with 3 places that no seed has."""
    num_stacks = -(-num_seeds // most)
    return -(-num_seeds // num_stacks)


def best_way(groups: list[list[Cell]], num_seeds: int, device: str, execution: str) -> Way:
    """The quickest way to train the cells of a place, by objective: of those that are WORTH as fast
    as one seed after the other in the usual mode, the first run with its compiling included, the
    one that is the quickest in later runs, which find what was compiled.

    The times are those of the smallest measured networks that are at least as large as those of the
    cells, in trainable weights times batch size and in pixels: smaller ones gain more by stacks and
    by compiling. Stacks that are larger than those measured, and other kinds of device, mode or
    network, are not chosen."""
    modes = [resolve(execution, device)]
    if execution == "auto" and modes == ["eager"]:
        modes += ["traced", "compiled"] if can_compile() else ["traced"]
    num_iterations = sum(_iterations(cells[0]) for cells in groups)
    seconds: dict[Way, float] = {}
    for row in _rows_like(groups[0][0], device):
        size = balanced_size(row["stack"], num_seeds)
        num_stacks = -(-num_seeds // size)
        # The time of a stack of twice as many seeds says nothing
        if row["mode"] in modes and row["stack"] < 2 * size:
            total = num_stacks * size * num_iterations * row["ms"] / 1000
            if row["mode"] in ("traced", "compiled"):
                total += num_stacks * len(groups) * TRACE_SECONDS * _num_forms(groups[0][0])
            way = Way(row["mode"], size)
            seconds[way] = min(total, seconds.get(way, total))
    usual = seconds.get(Way(modes[0], 1), 0.0)
    quickest, least = Way(execution, 1), usual
    for way, later in seconds.items():
        is_built = way.mode == "compiled" and execution == "auto"
        compiling = COMPILE_SECONDS * _num_functions(groups) if is_built else 0.0
        if (later + compiling) * WORTH <= usual and later < least:
            quickest, least = way, later
    return quickest


def _num_functions(groups: list[list[Cell]]) -> int:
    """The functions that a place compiles: the fakes of every number of critic steps, and for every
    objective the gradients of critic and generator. Updates are not compiled: configurations of a
    search that differ in the recipe alone share their functions."""
    fakes = {_critic_steps(cells[0]) for cells in groups}
    gradients = set()
    for cells in groups:
        objective = cells[0].objective
        params = [item for item in sorted(objective.params.items()) if item[0] not in UPDATES]
        gradients.add((objective.name, str(params)))
    return (len(fakes) + 2 * len(gradients)) * _num_forms(groups[0][0])


def _num_forms(cell: Cell) -> int:
    """The forms of the networks of a cell: those that grow have one for every size and fade."""
    stages = cell.training.growth
    return max(1, len(stages) + sum(stage.fade > 0 for stage in stages))


def _critic_steps(cell: Cell) -> int:
    from benchmark.train.inputs import num_d_steps

    return num_d_steps(made(cell.objective), cell.training, STEADY_STEP)


def _rows_like(cell: Cell, device: str) -> Iterator[dict[str, Any]]:
    """The rows of the smallest measured networks that are at least as large as those of a cell."""
    facts = facts_of(cell.architecture, cell.dataset, cell.norm)
    work = facts.weights * cell.training.batch_size
    rows = []
    for row in measured():
        is_like = (row["device"], row["kind"]) == (device.partition(":")[0], facts.kind)
        if is_like and row["work"] >= work and row["pixels"] >= facts.pixels:
            rows.append(row)
    least = min(((row["pixels"], row["work"]) for row in rows), default=None)
    for row in rows:
        if (row["pixels"], row["work"]) == least:
            yield row


def _iterations(cell: Cell) -> float:
    """Generator steps of a cell, in iterations of WGAN-GP: five critic steps with a penalty, which
    costs as much as the step, and a generator step."""
    cost_of_step = 2 if made(cell.objective).per_sample_penalty else 1
    return num_steps(cell) * (_critic_steps(cell) * cost_of_step + 1) / 11


def num_steps(cell: Cell) -> float:
    """Generator steps of a whole cell with a budget in steps or samples."""
    if cell.training.steps:
        return cell.training.steps
    assert cell.training.samples
    in_all = cell.training.samples / cell.training.batch_size
    return max(1.0, (in_all - cell.training.critic_pretrain) / _critic_steps(cell))


def refusal(stack: tuple[Cell, ...], device: str) -> str:
    """Why cells cannot train as a stack, from an iteration that is undone; empty if they can."""
    from benchmark.machine.clock import one_thread
    from benchmark.train.execution.iteration import StackRefused
    from benchmark.train.loop import train_stack

    try:
        with one_thread(), closing(train_stack(stack, device, execution="eager")) as training:
            next(training)
    except StackRefused as refused:
        return str(refused)
    except Exception as error:
        return described(error, MAX_REASON)
    return ""


@cache
def measured() -> list[dict[str, Any]]:
    """The rows of the table, each with its networks' `work`: weights times batch size."""
    rows = []
    with TABLE.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            row: dict[str, Any] = dict(line)
            row |= {name: int(line[name]) for name in ("weights", "pixels", "batch_size", "stack")}
            row |= {"ms": float(line["ms"]), "work": row["weights"] * row["batch_size"]}
            rows.append(row)
    return rows


class Facts(NamedTuple):
    """What a way to train networks is chosen by."""

    kind: str
    """conv, where there is a convolution of images, conv1d, where there is another one, tokens,
    where tokens are normalised, or mlp."""

    weights: int
    """Weights that generator and critic train together."""

    pixels: int
    """Pixels of an image, or characters of an alphabet; 0 for an mlp."""


@cache  # one answer for all seeds
def facts_of(architecture: Choice, dataset: Choice, norm: str) -> Facts:
    """The facts of the networks of a place."""
    from torch import nn

    from benchmark.matrix.pairs import networks
    from variants.architectures import TokenNorm

    pair = networks(architecture, dataset, norm)
    layers = [*pair.generator.modules(), *pair.critic.modules()]
    weights = [*pair.generator.parameters(), *pair.critic.parameters()]
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    kind = "mlp"
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            kind = "conv"
        elif isinstance(layer, nn.modules.conv._ConvNd):
            kind = "conv1d"
        elif isinstance(layer, TokenNorm):
            # Fused attention takes the seeds of a stack one after the other
            kind = "tokens"
    return Facts(kind, trained, 0 if kind == "mlp" else math.prod(pair.shape[1:]))
