"""In which order cells run: the longest first, by what cells like them took."""

from bisect import insort
from collections import defaultdict, deque
from collections.abc import Iterable
from heapq import heappop, heappush
from statistics import median
from typing import Any

from benchmark.run.engines.base import Task
from benchmark.store.clocks import group, spent
from benchmark.store.result_set import FINISHED


def learned(statuses: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, float]:
    """Group -> median seconds of its finished cells, of (spec, status) pairs."""
    seconds = defaultdict(list)
    for spec, status in statuses:
        if status.get("status") in FINISHED:
            seconds[group(spec)].append(spent(status))
    return {name: median(values) for name, values in seconds.items()}


class Queue:
    """Tasks, the longest first. Nobody knows how long a group takes that has never run: its first
    cell comes before all others, and the rest of it before all groups that are known."""

    def __init__(self, tasks: Iterable[Task], known: dict[str, float]) -> None:
        self.seconds = {name: [value] for name, value in known.items()}  # sorted
        self.sum, self.n = sum(known.values()), len(known)  # of all these
        self.waiting: dict[str, deque[Task]] = {}
        self.begun: set[str] = set()
        self.order: dict[
            str, int
        ] = {}  # in which groups came: of two that take as long, the earlier is first
        self.ranks: dict[str, tuple[int, float, int]] = {}  # of the groups that have tasks
        self.heap: list[tuple[tuple[int, float, int], str]] = []  # holds outdated ranks, too
        self.num_known, self.num_unknown, self.known_seconds = 0, 0, 0.0  # of the tasks that wait
        for task in tasks:
            self.push(task)

    def __len__(self) -> int:
        return self.num_known + self.num_unknown

    def push(self, task: Task) -> None:
        name = group(task.cell.spec)
        self.order.setdefault(name, len(self.order))
        self.waiting.setdefault(name, deque()).append(task)
        self._count(name, 1)
        self._rank(name)

    def pop(self) -> tuple[str, Task]:
        """The next task, and its group before it."""
        while True:
            rank, name = heappop(self.heap)
            if self.ranks.get(name) == rank:
                break
        del self.ranks[name]
        self._count(name, -1)
        task = self.waiting[name].popleft()
        self.begun.add(name)
        self._rank(name)
        return name, task

    def count(self, name: str) -> int:
        """How many tasks of a group wait."""
        return len(self.waiting.get(name, ()))

    def more(self, name: str, n: int) -> list[Task]:
        """The next n tasks of a group, or as many as it has."""
        tasks = [self.waiting[name].popleft() for _ in range(min(n, self.count(name)))]
        self._count(name, -len(tasks))
        if tasks and not self.waiting[name]:
            self.ranks.pop(name, None)
        return tasks

    def learn(self, name: str, seconds: float) -> None:
        """A cell of a group took that long."""
        waiting = len(self.waiting.get(name, ()))
        self._count(name, -waiting)
        insort(self.seconds.setdefault(name, []), seconds)
        self.sum, self.n = self.sum + seconds, self.n + 1
        self._count(name, waiting)
        self._rank(name)

    def expected(self, name: str) -> float | None:
        """Median seconds of a group's cells; the mean of all others where it has none; None where
        nobody knows."""
        values = self.seconds.get(name)
        return values[len(values) // 2] if values else self.sum / self.n if self.n else None

    def remaining(self) -> float | None:
        """Worker-seconds of the tasks that wait; None where nobody knows."""
        if not self.num_unknown:
            return self.known_seconds
        return self.known_seconds + self.num_unknown * self.sum / self.n if self.n else None

    def _count(self, name: str, tasks: int) -> None:
        if values := self.seconds.get(name):
            self.num_known += tasks
            self.known_seconds += tasks * values[len(values) // 2]
        else:
            self.num_unknown += tasks

    def _rank(self, name: str) -> None:
        """Put a group where it now belongs."""
        if not self.waiting.get(name):
            return
        values = self.seconds.get(name)
        stage = 2 if values else int(name in self.begun)
        rank = (stage, -values[len(values) // 2] if values else 0.0, self.order[name])
        if self.ranks.get(name) != rank:
            self.ranks[name] = rank
            heappush(self.heap, (rank, name))
