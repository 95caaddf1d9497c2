"""The interface of an engine: a pool starts cells, reports what happens to them, and ends them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from benchmark.run.events import Event, RaceTask, Task
from benchmark.store.schema import Race


class Pool(Protocol):
    """The places where cells run, or stacks of cells. Every cell of a stack has events of its own.

    A cell is `Started`, then `Running` again and again, and last `Ended`; or `Taken`, `Lost` or
    `Fatal`. Without `Started` the time of a cell counts from its first `Running`, because a cell
    may have to wait for a place."""

    def capacity(self) -> int:
        """Number of cells, or stacks, that may run at the same time now."""

    def races(self, contests: Iterable[RaceTask]) -> Iterator[Race]:
        """Race the objectives of places, each place on one worker, before the first cell is
        started. A contest is asked for when a worker is free to hold it. A worker that dies is the
        reason of the first objective. Raises UserError if none can be started."""

    def start(self, task: Task) -> None:
        """Start a cell, or a stack. There is a free place."""

    def wait(self, seconds: float) -> Sequence[Event]:
        """What happened, after at most `seconds`."""

    def kill(self, key: str) -> None:
        """End the worker of a cell at once. The cell, and the others of its stack, have no more
        events, and their place is free."""

    def stop(self) -> None:
        """Ask every running cell to save a checkpoint and to end as interrupted."""

    def close(self) -> None:
        """End all workers at once."""
