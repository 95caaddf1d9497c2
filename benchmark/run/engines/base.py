"""Where a cell runs, and nothing else: a pool starts cells, says what happened to them, and ends
them."""

from dataclasses import dataclass
from typing import Any, Protocol

from benchmark.matrix.cell import Cell

Event = dict[str, Any]  # of a cell: its `key`, its `status`, and what is known beside


@dataclass(frozen=True)
class Task:
    """A cell to run."""

    cell: Cell
    attempt: str | None = None  # that of its status.json when the run was planned
    beside: tuple[
        "Task", ...
    ] = ()  # to be trained with it as one stack: cells that differ in their seed alone


class Pool(Protocol):
    """The places where cells run, or stacks of cells, each of which has events of its own.

    Statuses of its events: `started` (its time counts from now; else from its first status, as a
    cell may have to wait for room); `running` (a running status); `done`, `diverged`, `error`,
    `interrupted`, `timeout` (the cell has ended, its folder is committed); `taken` (another runner
    has the cell now); `lost` (its worker died: `reason`, and `retry` where that was not the cell's
    fault); `fatal` (`reason`: nothing more can be written)."""

    def capacity(self) -> int:
        """How many cells, or stacks, may run at once, now."""

    def start(self, task: Task) -> None:
        """Start a cell, or a stack; there is room for it."""

    def wait(self, seconds: float) -> list[Event]:
        """What happened, at most `seconds` later."""

    def kill(self, key: str) -> None:
        """End the worker of a cell at once. There are no more events of it and of those in its
        stack, and room for another."""

    def stop(self) -> None:
        """Ask every running cell to save a checkpoint and to end as interrupted."""

    def close(self) -> None:
        """End all workers at once."""
