"""What a run tells those who started it: its progress, and what came of it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmark.run.events import CellNews
from benchmark.store.schema import RunStatus
from benchmark.text import counted


class Reporter(Protocol):
    """Receives the progress of a run: the command line prints it."""

    def note(self, text: str) -> None:
        """A remark in one line."""

    def begin(self, num_cells: int, num_workers: int) -> None:
        """The first cell is about to start."""

    def add(self, num_cells: int) -> None:
        """So many further cells follow from the results of others."""

    def news(self, news: CellNews) -> None:
        """Something happened to a cell."""

    def end(self) -> None:
        """No cell runs any more."""


class Silent:
    """A reporter that says nothing."""

    def note(self, text: str) -> None: ...

    def begin(self, num_cells: int, num_workers: int) -> None: ...

    def add(self, num_cells: int) -> None: ...

    def news(self, news: CellNews) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True)
class Summary:
    """What came of a run."""

    name: str
    """Name of the matrix."""

    folder: Path
    """Folder of the result set."""

    statuses: dict[str, RunStatus] = field(default_factory=dict)
    """Status of every cell that was asked for, by key."""

    interrupted: bool = False
    """Whether a signal ended the run."""

    @property
    def counts(self) -> Counter[str]:
        """Number of cells by status."""
        return Counter(str(status) for status in self.statuses.values())

    @property
    def line(self) -> str:
        """`quick: 68 done, 2 diverged`."""
        return f"{self.name}: {counted(self.counts)}"

    @property
    def num_finished(self) -> int:
        return sum(status.is_finished for status in self.statuses.values())

    @property
    def is_complete(self) -> bool:
        """Whether every cell is finished."""
        return self.num_finished == len(self.statuses)
