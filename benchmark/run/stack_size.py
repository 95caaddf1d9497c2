"""How many seeds of a cell to train as one stack: as many as were measured to be worth it.

stacks.csv holds what was: device (cpu, cuda), mode (of execution), kind (mlp, conv), weights (that
generator and critic train together), batch_size, stack (seeds), ratio (seeds per second of the
stack over one at a time)."""

import csv
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.matrix.cell import Cell, Choice
from benchmark.train.execution.modes import resolve

TABLE = Path(__file__).parent / "stacks.csv"
WORTH = 1.5  # the least ratio a stack is made for


def stack_size(
    cell: Cell,
    waiting: int,  # cells of its group, the cell itself among them
    # a worker's share of all cells that wait: a stack for one must not leave others idle
    share: int,
    *,
    device: str,
    execution: str = "auto",
    asked: str = "auto",  # or a number, whatever was measured
) -> int:
    """How many of the waiting cells to train as one stack; 1: none.

    A stack's ratio is that of the smallest measured networks which are at least as large as the
    cell's, in trainable weights of generator and critic times batch size, for smaller ones gain
    more; stacks of other sizes, kinds of device, modes or networks than were measured are not made.
    A budget in seconds is no stack's."""
    if cell.training.seconds or waiting < 2:
        return 1
    if asked != "auto":
        return min(int(asked), waiting)
    kind = device.partition(":")[0]
    mode = resolve(execution, device)
    rows = [
        row
        for row in measured()
        if (row["device"], row["mode"]) == (kind, mode) and row["stack"] <= min(waiting, share)
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
    return "conv" if any(
        isinstance(layer, nn.modules.conv._ConvNd) for layer in layers
    ) else "mlp", weights
