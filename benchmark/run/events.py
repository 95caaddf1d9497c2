"""What the driver and the engines tell each other: tasks one way, events the other; and the races
before the first cell."""

from dataclasses import dataclass

from benchmark.matrix.cell import Cell
from benchmark.matrix.search.part import Rung
from benchmark.store.clocks import timestamp
from benchmark.store.schema import Race, Raced, Status, Surroundings


@dataclass(frozen=True)
class Task:
    """A cell to run."""

    cell: Cell

    attempt: str | None = None
    """The attempt that had ended the cell when the run was planned; None if none had."""

    stacked_with: tuple["Task", ...] = ()
    """Other cells to run, of the same stack."""

    stack: tuple[Cell, ...] = ()
    """All cells of the stack in their order, those that do not run among them; empty for a cell
    that trains alone. They differ only in their seed."""

    execution: str = "auto"
    """How the training steps are to be executed."""

    rung: Rung | None = None
    """Where the run may end early; None: it trains to its end."""

    @property
    def key(self) -> str:
        return self.cell.key

    @property
    def members(self) -> tuple["Task", ...]:
        """The tasks of the cells to run; this one comes first."""
        return (self, *self.stacked_with)

    @property
    def num_stacked(self) -> int:
        """Number of cells that train as one model."""
        return max(1, len(self.stack))


@dataclass(frozen=True)
class Entrant:
    """An objective in a race."""

    label: str
    """Label of the objective."""

    cells: tuple[Cell, ...]
    """One of its cells, or those of a stack in their order, which train as its cells will."""


@dataclass(frozen=True)
class RaceTask:
    """The objectives of a place, to be raced before the first cell."""

    dataset: str
    """Label of the dataset."""

    architecture: str
    """Label of the architecture."""

    asked: str
    """What tells the race from another one, as `Race.asked`."""

    entrants: tuple[Entrant, ...]
    """Every objective of the matrix in the place."""

    num_seeds: int
    """Seeds of the matrix in the place."""

    execution: str = "auto"
    """How the training steps are to be executed."""


def not_raced(task: RaceTask, reason: str) -> Race:
    """The race of a worker that did not come to its end."""
    return Race(
        dataset=task.dataset,
        architecture=task.architecture,
        asked=task.asked,
        made=timestamp(),
        clock="none",
        surroundings=Surroundings(),
        objectives={task.entrants[0].label: Raced(reason=reason)},
    )


@dataclass(frozen=True)
class Started:
    """The cell has a worker: its time counts from now on."""

    key: str


@dataclass(frozen=True)
class Running:
    """The cell goes on."""

    key: str
    status: Status

    checkpoint: bool = False
    """Whether a checkpoint was just saved."""


@dataclass(frozen=True)
class Ended:
    """The cell has ended and its status is written."""

    key: str
    status: Status


@dataclass(frozen=True)
class Taken:
    """Another process is running the cell."""

    key: str


@dataclass(frozen=True)
class Lost:
    """The worker of the cell died."""

    key: str
    reason: str

    retry: bool
    """Whether the cell was not at fault and may run again."""


@dataclass(frozen=True)
class Fatal:
    """Nothing more can be run or written: the run ends."""

    key: str
    reason: str


Event = Started | Running | Ended | Taken | Lost | Fatal


@dataclass(frozen=True)
class CellNews:
    """What a run reports of a cell."""

    event: Event

    seconds_left: float | None = None
    """Seconds until the run ends, with the event of a cell that has ended; None if unknown."""


@dataclass(frozen=True)
class Limits:
    """How far a run goes."""

    timeout: float = 0.0
    """Seconds that a cell may take; 0: no limit. A stack has the time of all its cells."""

    fail_fast: bool = False
    """Start no cell after the first that fails."""

    wait: bool = True
    """Wait for cells that another run has, and run those that it leaves unfinished."""
