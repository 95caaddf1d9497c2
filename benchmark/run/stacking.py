"""Which seeds train as one stack: chosen once for a place, all its objectives alike, from the
matrix alone. So seconds are comparable, and the numbers of a cell depend neither on which cells
wait nor on the number of workers.

stacks.csv holds what was measured: device (cpu, cuda), mode (of execution), kind (mlp, conv),
weights (that generator and critic train together), batch_size, stack (seeds), ratio (seeds per
second of the stack over one at a time)."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.matrix.cell import Cell, Choice
from benchmark.text import described
from benchmark.train.execution.modes import resolve

TABLE = Path(__file__).parent / "stacks.csv"
WORTH = 1.5  # the least ratio a stack is made for
MAX_REASON = 200  # characters of the reason why a place is not stacked

Place = tuple[str, str]
Blocks = dict[int, list[int]]  # seed -> the seeds of its stack


class Stacks:
    """The stacks of a matrix.

    cells: all cells of the matrix, whichever run. asked: auto, or a number of seeds. note: receives
    a line for every place whose seeds were to be stacked and cannot be."""

    def __init__(
        self,
        cells: Iterable[Cell],
        device: str,
        execution: str,
        asked: str,
        note: Callable[[str], None],
    ) -> None:
        self.device, self.execution, self.asked, self.note = device, execution, asked, note
        # The seeds of a place in the order of the matrix, and a cell of each of its objectives
        self.seeds: dict[Place, dict[int, None]] = defaultdict(dict)
        self.groups: dict[Place, dict[str, Cell]] = defaultdict(dict)
        for cell in cells:
            place = place_of(cell)
            self.seeds[place].setdefault(cell.seed)
            self.groups[place].setdefault(cell.objective.label, cell)
        self.blocks: dict[Place, Blocks] = {}

    def stack_of(self, cell: Cell) -> tuple[Cell, ...]:
        """The cells of the stack of a cell, in their order; empty if the cell trains alone. A seed
        that the matrix excludes for the objective has a cell in the stack."""
        place = place_of(cell)
        if place not in self.blocks:
            self.blocks[place] = self._stacked(place)
        return stack_of(cell, self.blocks[place])

    def _stacked(self, place: Place) -> Blocks:
        """The blocks of a place; none where one of its objectives cannot be stacked."""
        cells = [*self.groups[place].values()]
        num_seeds = len(self.seeds[place])
        if self.asked == "auto":
            size = min(worthy_size(cell, num_seeds, self.device, self.execution) for cell in cells)
        else:
            size = balanced_size(int(self.asked), num_seeds)
        if size == 1 or cells[0].training.seconds:
            return {}
        blocks = blocks_of([*self.seeds[place]], size)
        for cell in cells:
            reason = refusal(stack_of(cell, blocks), self.device)
            if reason:
                architecture, dataset = place
                self.note(
                    f"{architecture} on {dataset}: seeds are not stacked, because "
                    f"{cell.objective.label} cannot be: {reason}"
                )
                return {}
        return blocks


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


def worthy_size(cell: Cell, num_seeds: int, device: str, execution: str) -> int:
    """The largest measured stack that was worth it and that divides the number of seeds; 1: none.

    A stack's ratio is that of the smallest measured networks which are at least as large as the
    cell's, in trainable weights of generator and critic times batch size, for smaller ones gain
    more; stacks of other sizes, kinds of device, modes or networks than were measured are not
    made."""
    kind = device.partition(":")[0]
    mode = resolve(execution, device)
    rows = [
        row
        for row in measured()
        if (row["device"], row["mode"]) == (kind, mode) and num_seeds % row["stack"] == 0
    ]
    if not rows:
        return 1
    net, weights = kind_and_weights(cell.architecture, cell.dataset, cell.norm)
    work = weights * cell.training.batch_size
    ratios: dict[int, float] = {}  # by stack
    for row in sorted(rows, key=lambda row: row["work"]):
        if row["kind"] == net and row["work"] >= work:
            ratios.setdefault(row["stack"], row["ratio"])
    return max((stack for stack, ratio in ratios.items() if ratio >= WORTH), default=1)


def refusal(stack: tuple[Cell, ...], device: str) -> str:
    """Why cells cannot train as a stack, from an iteration that is undone; empty if they can."""
    from benchmark.train.execution.iteration import StackRefused
    from benchmark.train.loop import train_stack

    try:
        with closing(train_stack(stack, device, execution="eager")) as training:
            next(training)
    except StackRefused as refused:
        return str(refused)
    except Exception as error:
        return described(error, MAX_REASON)
    return ""


@cache
def measured() -> list[dict[str, Any]]:
    """The rows of the table, each with its networks' `work`: weights times batch size."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [
            row
            | {name: int(row[name]) for name in ("weights", "batch_size", "stack")}
            | {"ratio": float(row["ratio"]), "work": int(row["weights"]) * int(row["batch_size"])}
            for row in csv.DictReader(file)
        ]


@cache  # one answer for all seeds
def kind_and_weights(architecture: Choice, dataset: Choice, norm: str) -> tuple[str, int]:
    """conv, where there is a convolution, or mlp; and how many weights generator and critic
    train."""
    from torch import nn

    from benchmark.matrix.pairs import networks

    pair = networks(architecture, dataset, norm)
    layers = [*pair.generator.modules(), *pair.critic.modules()]
    is_conv = any(isinstance(layer, nn.modules.conv._ConvNd) for layer in layers)
    weights = [*pair.generator.parameters(), *pair.critic.parameters()]
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    return "conv" if is_conv else "mlp", trained
