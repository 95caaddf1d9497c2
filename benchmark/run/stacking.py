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
        self.sizes: dict[Place, int] = {}

    def stack_of(self, cell: Cell) -> tuple[Cell, ...]:
        """The cells of the stack of a cell, in their order; empty if the cell trains alone. A seed
        that the matrix excludes for the objective has a cell in the stack."""
        place = place_of(cell)
        if place not in self.sizes:
            self.sizes[place] = self._size(place)
        size = self.sizes[place]
        if size == 1:
            return ()
        seeds = [*self.seeds[place]]
        first = seeds.index(cell.seed) // size * size
        block = seeds[first : first + size]
        # The last stack is as large as the others
        block += range(max(seeds) + 1, max(seeds) + 1 + size - len(block))
        return tuple(replace(cell, seed=seed) for seed in block)

    def _size(self, place: Place) -> int:
        cells = [*self.groups[place].values()]
        num_seeds = len(self.seeds[place])
        if self.asked == "auto":
            size = min(worthy_size(cell, num_seeds, self.device, self.execution) for cell in cells)
        else:
            size = balanced_size(int(self.asked), num_seeds)
        if size == 1 or cells[0].training.seconds:
            return 1
        self.sizes[place] = size
        for cell in cells:
            reason = refusal(self.stack_of(cell), self.device)
            if reason:
                architecture, dataset = place
                self.note(
                    f"{architecture} on {dataset}: seeds are not stacked, because "
                    f"{cell.objective.label} cannot be: {reason}"
                )
                return 1
        return size


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
    net, weights = networks(cell.architecture, cell.dataset, cell.norm)
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
def networks(architecture: Choice, dataset: Choice, norm: str) -> tuple[str, int]:
    """conv, where there is a convolution, or mlp; and how many weights generator and critic train.
    Takes no memory: torch's meta device."""
    from torch import nn

    from benchmark.matrix.values import classes
    from variants.architectures import build

    shape = classes("dataset", dataset.name)[0](**dataset.params).shape
    both = build(architecture, shape, norm, "meta")
    layers = [layer for network in both for layer in network.modules()]
    weights = sum(
        weight.numel()
        for network in both
        for weight in network.parameters()
        if weight.requires_grad
    )
    is_conv = any(isinstance(layer, nn.modules.conv._ConvNd) for layer in layers)
    return "conv" if is_conv else "mlp", weights
