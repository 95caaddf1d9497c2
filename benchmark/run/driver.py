"""The driver hands cells to a pool, the longest first, and runs each one to its end: time limits,
lost workers, cells of other runs, signals."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from benchmark.errors import UserError
from benchmark.run.engines.base import Pool
from benchmark.run.events import (
    CellNews,
    Ended,
    Event,
    Fatal,
    Limits,
    Lost,
    Running,
    Started,
    Taken,
    Task,
)
from benchmark.run.ownership import write_end
from benchmark.run.queue import InFlight, Queue
from benchmark.run.signals import allow_open_files, collected_signals
from benchmark.store.clocks import seconds_spent
from benchmark.store.layout import ResultSet
from benchmark.store.locks import is_locked
from benchmark.store.schema import RunStatus

TICK = 0.25  # longest delay before a signal is handled, in seconds
LOOK_EVERY = 1.5  # seconds between two looks at the cells of other runs
GRACE = 20.0  # seconds that cells have to save a checkpoint when the run ends early
RETRIES = 3  # of a cell whose node was lost
FAILURES = (RunStatus.ERROR, RunStatus.TIMEOUT)


class Driver:
    """Runs tasks on a pool, and closes the pool.

    on_news: called for every event. known: seconds by group, as `learned` gives them. grow: the
    tasks that follow from the end of a cell, by key."""

    def __init__(
        self,
        tasks: list[Task],
        pool: Pool,
        folder: Path,
        on_news: Callable[[CellNews], None],
        *,
        limits: Limits | None = None,
        known: dict[str, float] | None = None,
        grow: Callable[[str], list[Task]] = lambda key: [],
    ) -> None:
        self.pool, self.results, self.on_news = pool, ResultSet(folder), on_news
        self.grow = grow
        self.limits = limits or Limits()
        self.queue = Queue(tasks, known or {})
        self.in_flight: dict[str, InFlight] = {}  # by key
        self.elsewhere: dict[str, Task] = {}  # another run has the cell
        self.losses: Counter[str] = Counter()
        self.events: deque[Event] = deque()  # not yet handled
        self.fatal = ""  # why the run ends
        self.signals: list[int] = []
        self.accepts = True  # new cells may start
        self.deadline: float | None = None  # by when running cells must have ended
        self.looked_at = time.monotonic()
        self.num_places = 0

    def run(self) -> None:
        """Run all tasks. A worker that dies or takes too long ends its cell, not the run.

        The first SIGINT or SIGTERM asks the running cells to save a checkpoint and end, then
        KeyboardInterrupt passes through; a second one ends all at once. Raises UserError if nothing
        more can be run or written."""
        allow_open_files()
        with collected_signals(self.signals), self._closing():
            while self.in_flight or (self.accepts and self._has_work()):
                self.hand_out()
                for event in self.wait():
                    self.handle(event)
                self.enforce_time_limit()
                self.take_over_from_others()
                self.wind_down()
        if self.fatal:
            raise UserError(self.fatal)
        if self.signals:
            raise KeyboardInterrupt

    def _has_work(self) -> bool:
        return bool(self.queue) or (self.limits.wait and bool(self.elsewhere))

    def hand_out(self) -> None:
        """Fill the free places of the pool."""
        if not self.accepts:
            return
        used = len({cell.place for cell in self.in_flight.values()})
        for _ in range(self.pool.capacity() - used):
            if not self.queue or self.fatal:
                return
            self._start_next()

    def _start_next(self) -> None:
        group, task = self.queue.pop()
        self.num_places += 1
        try:
            self.pool.start(task)
        except (UserError, OSError) as error:
            self._end_run(_reason("a worker cannot be started", error))
            return
        for member in task.members:
            cell = InFlight(
                replace(member, stacked_with=()), group, self.num_places, task.num_stacked
            )
            self.in_flight[member.key] = cell

    def wait(self) -> Iterator[Event]:
        """The next events, at most TICK later. An event leaves `events` as it is handled."""
        if not self.in_flight:
            time.sleep(TICK)
            return
        try:
            self.events.extend(self.pool.wait(TICK))
        except (UserError, OSError) as error:
            self._end_run(_reason("the workers cannot be reached", error))
            time.sleep(TICK)
        while self.events:
            yield self.events.popleft()

    def handle(self, event: Event) -> None:
        """Update what is known of a cell."""
        cell = self.in_flight.get(event.key)
        if cell is None:
            return
        if not isinstance(event, Started | Running):
            del self.in_flight[event.key]
        match event:
            case Started():
                cell.start_clock(time.monotonic())
            case Running():
                cell.start_clock(time.monotonic())
                cell.has_begun, cell.progress = True, event.status.progress or 0.0
                self.on_news(CellNews(event))
            case Ended():
                self._finish(cell, event)
            case Taken():
                self.elsewhere[event.key] = cell.task
                self.on_news(CellNews(event))
            case Fatal():
                self._end_run(event.reason)
            case Lost():
                self._handle_loss(cell, event)

    def _finish(self, cell: InFlight, event: Ended) -> None:
        if event.status.status.is_whole:
            self.queue.learn(cell.group, seconds_spent(event.status))
        elif self.limits.fail_fast and event.status.status in FAILURES:
            self.accepts = False
        for task in self.grow(event.key):
            self.queue.push(task)
        self.on_news(CellNews(event, self.seconds_left()))

    def _handle_loss(self, cell: InFlight, event: Lost) -> None:
        if self.signals or self.fatal:
            # The end of the run may have ended the worker
            if cell.has_begun:
                self.give_up(cell, RunStatus.INTERRUPTED, event.reason)
        elif event.retry and self.losses[event.key] < RETRIES:
            self.losses[event.key] += 1
            self.queue.push(cell.task)
            self.on_news(CellNews(event))
        else:
            self.give_up(cell, RunStatus.ERROR, event.reason)

    def give_up(self, cell: InFlight, end: RunStatus, reason: str) -> None:
        """Write the end of a cell whose worker is gone."""
        try:
            status = write_end(self.results.path, cell.task, end, reason)
        except UserError as error:
            self._end_run(str(error))
            return
        if status is None:
            # Another run was quicker
            self.elsewhere[cell.task.key] = cell.task
        else:
            self._finish(cell, Ended(cell.task.key, status))

    def kill(self, cell: InFlight) -> list[InFlight]:
        """End the worker of a cell at once. Returns the cells that ran there."""
        self.pool.kill(cell.task.key)
        killed = [other for other in self.in_flight.values() if other.place == cell.place]
        for other in killed:
            del self.in_flight[other.task.key]
        return killed

    def enforce_time_limit(self) -> None:
        """End cells that take longer than the limit."""
        if not self.limits.timeout:
            return
        now = time.monotonic()
        for cell in [*self.in_flight.values()]:
            limit = self.limits.timeout * cell.num_stacked
            is_late = cell.since is not None and now - cell.since > limit
            if is_late and cell.task.key in self.in_flight:
                self._time_out(cell, limit)

    def _time_out(self, cell: InFlight, limit: float) -> None:
        killed = self.kill(cell)
        if not any(other.has_begun for other in killed):
            # A worker that never answers would not let the next cell begin either
            key = cell.task.key
            self._end_run(f"{key}: its worker said nothing for {limit:g} s (--timeout)")
            return
        reason = f"took longer than {self.limits.timeout:g} s (--timeout)"
        if cell.num_stacked > 1:
            reason = f"its stack of {cell.num_stacked} {reason} for each"
        for other in killed:
            self.give_up(other, RunStatus.TIMEOUT, reason)

    def take_over_from_others(self) -> None:
        """Queue the cells that other runs had and have released."""
        now = time.monotonic()
        if not (self.limits.wait and self.elsewhere) or now - self.looked_at <= LOOK_EVERY:
            return
        self.looked_at = now
        free = [key for key in self.elsewhere if not is_locked(self.results.cell(key))]
        for key in free:
            # The worker that takes the cell sees whether it is settled
            self.queue.push(self.elsewhere.pop(key))

    def wind_down(self) -> None:
        """After a signal or a fatal error: let the running cells save, then end them."""
        if not (self.signals or self.fatal):
            return
        now = time.monotonic()
        if self.deadline is None:
            self.accepts, self.deadline = False, now + GRACE
            self.pool.stop()
        if now <= self.deadline:
            return
        while self.in_flight:
            for cell in self.kill(next(iter(self.in_flight.values()))):
                if cell.has_begun:
                    reason = f"did not end within {GRACE:g} s"
                    self.give_up(cell, RunStatus.INTERRUPTED, reason)

    def seconds_left(self) -> float | None:
        """Seconds until the run ends; None if unknown."""
        total = self.queue.remaining()
        if total is None:
            return None
        for cell in self.in_flight.values():
            expected = self.queue.expected(cell.group)
            if expected is None:
                return None
            total += expected * (1 - cell.progress)
        return total / max(1, self.pool.capacity())

    def _end_run(self, reason: str) -> None:
        """The first reason is the one that is reported."""
        self.fatal = self.fatal or reason

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """Close the pool at the end. After an error in this process, for example while printing
        progress, running cells first have the time to save."""
        try:
            yield
        except (Exception, SystemExit):
            # rich raises SystemExit when the terminal has gone away. The error passes, others don't
            with suppress(Exception):
                self._let_cells_end()
            raise
        finally:
            self.pool.close()

    def _let_cells_end(self) -> None:
        self.pool.stop()
        deadline = time.monotonic() + GRACE
        while self.in_flight and time.monotonic() < deadline:
            while self.events:
                event = self.events.popleft()
                if not isinstance(event, Started | Running):
                    self.in_flight.pop(event.key, None)
            if self.in_flight:
                self.events.extend(self.pool.wait(TICK))


def _reason(what: str, error: UserError | OSError) -> str:
    if isinstance(error, UserError):
        return str(error)
    return f"{what}: {error.strerror or error}"
