"""The order in which cells run: place by place, the longest first, and within a place all
objectives in turn. And the cells that were handed out."""

import math
from bisect import insort
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from statistics import median
from typing import Any, NamedTuple

from benchmark.run.events import Task
from benchmark.run.stacking import Place, place_of
from benchmark.store.clocks import group_of, seconds_spent
from benchmark.store.schema import Status


def learned(statuses: Iterable[tuple[dict[str, Any], Status]]) -> dict[str, float]:
    """Group → median seconds of its cells that trained to their end, from pairs of (spec,
    status)."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for spec, status in statuses:
        if status.status.is_whole:
            seconds[group_of(spec)].append(seconds_spent(status))
    return {group: median(values) for group, values in seconds.items()}


@dataclass
class InFlight:
    """A cell that was handed out."""

    task: Task
    group: str

    place: int
    """Number of the place in the pool; the cells of a stack share one."""

    num_stacked: int
    """Number of cells in the stack, those that do not run among them."""

    since: float | None = None
    """When the time of the cell began to count."""

    has_begun: bool = False
    """Whether an event of the cell has arrived: its folder may have changed since then."""

    progress: float = 0.0
    """Share of the training budget that is spent."""

    def start_clock(self, now: float) -> None:
        """Count the time of the cell from now on, unless it counts already."""
        if self.since is None:
            self.since = now


class Rank(NamedTuple):
    """The position of a group in the queue: the least comes first."""

    is_explored: bool
    """Whether it has begun, or its seconds are known."""

    minus_place_seconds: float
    """Minus the typical seconds of the longest group of its place; −∞ while one is not known."""

    place_arrival: int
    """Places of equal length keep the order in which they came."""

    turn: int
    """Tasks of the group that were handed out."""

    minus_seconds: float
    """Minus the typical seconds of a cell; −∞ while they are not known."""

    arrival: int
    """Groups of equal length keep the order in which they came."""


class Queue:
    """Tasks by group. The first task of a group that has never run comes before all others, because
    nobody knows how long it takes. Then come the places, those with a group of unknown seconds
    first, then the place of the longest group; and within a place a task of every group in turn,
    the longest first: what slows the machine for a while slows all objectives of the place.

    A heap with running totals, for matrices of up to 100,000 cells in thousands of groups: every
    operation takes O(log groups), times the objectives of a place where its length changes."""

    def __init__(self, tasks: Iterable[Task], known: dict[str, float]) -> None:
        # Seconds of the cells of a group, sorted
        self.seconds = {group: [value] for group, value in known.items()}
        self.total_seconds, self.num_seconds = sum(known.values()), len(known)
        self.waiting: dict[str, deque[Task]] = defaultdict(deque)
        self.num_waiting: Counter[str] = Counter()  # cells, by group
        self.turns: Counter[str] = Counter()  # tasks handed out, by group
        self.arrival: dict[str, int] = {}
        self.place_arrival: dict[Place, int] = {}
        self.minus_place_seconds: dict[Place, float] = {}
        self.place: dict[str, Place] = {}  # by group
        self.groups: dict[Place, list[str]] = defaultdict(list)
        self.ranks: dict[str, Rank] = {}  # of the groups with waiting tasks
        self.heap: list[tuple[Rank, str]] = []  # also holds outdated ranks
        # Waiting cells of groups with and without known seconds
        self.num_known, self.num_unknown, self.known_seconds = 0, 0, 0.0
        for task in tasks:
            self.push(task)

    def __len__(self) -> int:
        """Number of waiting cells."""
        return self.num_known + self.num_unknown

    def push(self, task: Task) -> None:
        group, place = group_of(task.cell.spec), place_of(task.cell)
        if group not in self.arrival:
            self.arrival[group] = len(self.arrival)
            self.place_arrival.setdefault(place, len(self.place_arrival))
            self.place[group] = place
            self.groups[place].append(group)
            self._rank_place(group)
        self.waiting[group].append(task)
        self.num_waiting[group] += len(task.members)
        self._count(group, len(task.members))
        self._rank(group)

    def pop(self) -> tuple[str, Task]:
        """The group of the next task, and the task."""
        rank, group = heappop(self.heap)
        while self.ranks.get(group) != rank:
            rank, group = heappop(self.heap)
        del self.ranks[group]
        task = self.waiting[group].popleft()
        self.num_waiting[group] -= len(task.members)
        self._count(group, -len(task.members))
        self.turns[group] += 1
        self._rank(group)
        return group, task

    def learn(self, group: str, seconds: float) -> None:
        """Note how long a cell of a group took."""
        waiting = self.num_waiting[group]
        self._count(group, -waiting)
        insort(self.seconds.setdefault(group, []), seconds)
        self.total_seconds += seconds
        self.num_seconds += 1
        self._count(group, waiting)
        self._rank_place(group)

    def expected(self, group: str) -> float | None:
        """Typical seconds of a cell of a group: the median of its cells, otherwise the mean of all
        others; None if nothing has run."""
        typical = self._typical(group)
        if typical is not None:
            return typical
        return self.total_seconds / self.num_seconds if self.num_seconds else None

    def remaining(self) -> float | None:
        """Worker-seconds of the waiting cells; None if nothing has run."""
        if not self.num_unknown:
            return self.known_seconds
        if not self.num_seconds:
            return None
        return self.known_seconds + self.num_unknown * self.total_seconds / self.num_seconds

    def _typical(self, group: str) -> float | None:
        values = self.seconds.get(group)
        return values[len(values) // 2] if values else None

    def _count(self, group: str, num_cells: int) -> None:
        typical = self._typical(group)
        if typical is None:
            self.num_unknown += num_cells
        else:
            self.num_known += num_cells
            self.known_seconds += num_cells * typical

    def _rank_place(self, group: str) -> None:
        """Put the groups of a group's place where they belong now."""
        place = self.place[group]
        groups = self.groups[place]
        self.minus_place_seconds[place] = min(map(self._minus_seconds, groups))
        for other in groups:
            self._rank(other)

    def _rank(self, group: str) -> None:
        """Put a group where it belongs now."""
        if not self.waiting[group]:
            return
        place = self.place[group]
        typical = self._typical(group)
        rank = Rank(
            is_explored=typical is not None or self.turns[group] > 0,
            minus_place_seconds=self.minus_place_seconds[place],
            place_arrival=self.place_arrival[place],
            turn=self.turns[group],
            minus_seconds=self._minus_seconds(group),
            arrival=self.arrival[group],
        )
        if self.ranks.get(group) != rank:
            self.ranks[group] = rank
            heappush(self.heap, (rank, group))

    def _minus_seconds(self, group: str) -> float:
        typical = self._typical(group)
        return -math.inf if typical is None else -typical
