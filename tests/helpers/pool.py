"""A pool whose cells take virtual time, and tasks for it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark.run.events import (
    CellNews,
    Ended,
    Event,
    RaceTask,
    Running,
    Started,
    Task,
    not_raced,
)
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import Race, Raced, RunStatus, Status
from tests.helpers.cells import small_cell


def tasks_of(*named: tuple[str, int]) -> list[Task]:
    """Tasks from pairs of (objective, number of seeds)."""
    return [
        Task(small_cell(objective, seed=seed))
        for objective, seeds in named
        for seed in range(seeds)
    ]


def stack_of(tasks: Sequence[Task]) -> Task:
    """A stack of the tasks' cells, all of which run."""
    cells = tuple(task.cell for task in tasks)
    first, *others = [replace(task, stack=cells) for task in tasks]
    return replace(first, stacked_with=tuple(others))


def names(tasks: list[Task]) -> list[str]:
    return [f"{task.cell.objective.name} {task.cell.seed}" for task in tasks]


def folder_of(results: Path, task: Task) -> CellFolder:
    return ResultSet(results).cell(task.key)


def ended(task: Task, status: str, **fields: object) -> Ended:
    """The last event of a cell."""
    return Ended(task.key, Status(key=task.key, status=RunStatus(status), **fields))


def running(task: Task, **fields: object) -> Running:
    return Running(task.key, Status(key=task.key, status=RunStatus.RUNNING, **fields))


def word(event: Event | CellNews) -> str:
    """How a cell ended, or what else happened: running, started, taken, lost, fatal."""
    if isinstance(event, CellNews):
        event = event.event
    if isinstance(event, Ended):
        return str(event.status.status)
    return type(event).__name__.lower()


def words(events: Sequence[Event | CellNews]) -> list[str]:
    return [word(event) for event in events]


def last_words(news: list[CellNews]) -> dict[str, str]:
    """The last word about every cell, by key."""
    return {report.event.key: word(report) for report in news}


@dataclass
class Simulated:
    """A pool whose cells take virtual time: `seconds` of training, or no training but the `events`
    planned for them."""

    size: int = 1
    seconds: Callable[[Task], float] = lambda task: 1.0

    events: dict[str, list[Event]] = field(default_factory=dict)
    """Key → how the next starts of the cell end."""

    obeys: bool = True
    """Whether its cells end when they are asked to."""

    says: type[Running] | type[Started] | None = Running
    """The event when a cell begins."""

    at: dict[float, Callable[[], None]] = field(default_factory=dict)
    """What else happens, and when."""

    now: float = 0.0
    started: list[Task] = field(default_factory=list)

    raced: list[RaceTask] = field(default_factory=list)

    running: dict[str, tuple[float, Event]] = field(default_factory=dict)
    """Key → when the cell ends, and how."""

    begun: list[Task] = field(default_factory=list)
    """Tasks whose first event is still to come."""

    stacks: dict[str, Task] = field(default_factory=dict)
    """Key → the task that the cell was started in."""

    def capacity(self) -> int:
        return self.size

    def races(self, contests: Iterable[RaceTask]) -> Iterator[Race]:
        return map(self.race, contests)

    def race(self, task: RaceTask) -> Race:
        """A race that all objectives end with the same cost."""
        self.raced.append(task)
        raced = {entrant.label: Raced(milliseconds=[2.0] * 10) for entrant in task.entrants}
        return not_raced(task, "simulated").model_copy(
            update={"objectives": raced, "reference": [20.0] * 10}
        )

    def start(self, task: Task) -> None:
        """A stack takes the seconds of all its cells; its cells end together, each with its
        share."""
        assert len({id(self.stacks[key]) for key in self.running}) < self.size
        end = self.now + sum(map(self.seconds, task.members))
        for member in task.members:
            self.started.append(member)
            self.stacks[member.key] = task
            event: Event = ended(member, "done", train_seconds=self.seconds(member))
            if self.events.get(member.key):
                event = self.events[member.key].pop(0)
            self.running[member.key] = (end, event)
            self.begun.append(member)

    def wait(self, seconds: float) -> list[Event]:
        events = [self._first_event(task) for task in self.begun if task.key in self.running]
        events = [event for event in events if event is not None]
        self.begun = []
        soonest = min((when for when, _ in self.running.values()), default=self.now + seconds)
        self.pass_until(self.now if events else min(soonest, self.now + seconds))
        over = [key for key, (when, _) in self.running.items() if when <= self.now]
        return events + [self.running.pop(key)[1] for key in over]

    def _first_event(self, task: Task) -> Event | None:
        if self.says is Running:
            return running(task, progress=0.0)
        return Started(task.key) if self.says else None

    def pass_until(self, when: float) -> None:
        self.now = when
        for moment in [moment for moment in self.at if moment <= when]:
            self.at.pop(moment)()

    def kill(self, key: str) -> None:
        del self.running[key]
        stack = self.stacks[key]
        self.running = {
            other: end for other, end in self.running.items() if self.stacks[other] is not stack
        }

    def stop(self) -> None:
        if not self.obeys:
            return
        for key in self.running:
            status = Status(key=key, status=RunStatus.INTERRUPTED, reason="interrupted")
            self.running[key] = (self.now, Ended(key, status))

    def close(self) -> None:
        self.running = {}
