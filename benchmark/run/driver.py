"""Hands cells to a pool, the longest first, and sees every one of them through: time limits, lost
workers, cells of other runners, signals."""

import resource
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.run.engines.base import Event, Pool, Task
from benchmark.run.ownership import mark
from benchmark.run.queue import Queue
from benchmark.store.clocks import spent
from benchmark.store.locks import taken
from benchmark.store.result_set import FINISHED

TICK = 0.25  # seconds a signal waits at most to be heeded
LOOK = 1.5  # seconds between two looks at the cells of other runners
GRACE = 20.0  # seconds that cells have to save a checkpoint when the run ends early
RETRIES = 3  # of a cell whose node was lost


@dataclass
class Running:
    """A cell that was handed out."""

    task: Task
    group: str
    slot: int  # of the pool; the cells of a stack take the same one
    shared: int  # by how many cells
    since: float | None = None  # from when on its time counts
    begun: bool = False  # whether there was news of it, so that its folder may have changed
    progress: float = 0.0


def drive(
    tasks: list[Task],
    pool: Pool,
    folder: Path,
    on_event: Callable[
        [Event], None
    ],  # every event, those of ended cells with the run's seconds `left`, or None
    *,
    timeout: float = 0.0,  # seconds a cell may take; 0: no limit
    fail_fast: bool = False,  # start no cell after the first error
    # for cells that another runner has, to run them if it leaves them unfinished
    wait: bool = True,
    known: dict[str, float] | None = None,  # seconds by group, as `schedule.learned`
    stack: Callable[[Cell, int, int], int] = lambda cell, waiting, share: (
        1
    ),  # how many cells to train as one stack, of
    # so many of its group that wait, given a worker's share of all that wait
) -> None:
    """Run the cells, and close the pool. A worker that dies or takes too long ends its cell, not
    the run; a stack has the time of all its cells.

    The first SIGINT or SIGTERM asks the running cells to save a checkpoint and end, then
    KeyboardInterrupt passes through; a second ends all at once. Raises UserError where nothing more
    can be written."""
    queue = Queue(tasks, known or {})
    running: dict[str, Running] = {}
    elsewhere: dict[str, Task] = {}  # another runner has them
    losses: Counter[str] = Counter()
    news: deque[Event] = deque()
    fatal = ""
    handing_out, deadline, looked, slot = True, 0.0, time.monotonic(), 0

    def left() -> float | None:
        total = queue.remaining()
        for run in running.values():
            expected = queue.expected(run.group)
            total = (
                None if total is None or expected is None else total + expected * (1 - run.progress)
            )
        return None if total is None else total / max(1, pool.capacity())

    def ended(run: Running, event: Event) -> None:
        nonlocal handing_out
        if event["status"] in FINISHED:
            queue.learn(run.group, spent(event))
        elif fail_fast and event["status"] in ("error", "timeout"):
            handing_out = False
        on_event(event | {"left": left()})

    def end(run: Running) -> list[Running]:
        """End a worker at once. Returns what ran there."""
        pool.kill(run.task.cell.key)
        return [running.pop(key) for key, its in [*running.items()] if its.slot == run.slot]

    def give_up(run: Running, status: str, reason: str) -> None:
        """End a cell whose worker is gone."""
        nonlocal fatal
        key = run.task.cell.key
        try:
            event = mark(folder, key, status, reason, run.task)
        except UserError as error:
            fatal = fatal or str(error)
            return
        if event:
            ended(run, event)
        else:  # another runner was quicker
            elsewhere[key] = run.task

    def heed(event: Event) -> None:
        nonlocal fatal
        key, status = event["key"], event["status"]
        if key not in running:
            return
        if status in ("started", "running"):
            run = running[key]
            run.since = time.monotonic() if run.since is None else run.since
            if status == "running":
                run.begun, run.progress = True, event.get("progress", 0.0)
                on_event(event)
            return
        run = running.pop(key)
        if status == "taken":
            elsewhere[key] = run.task
            on_event(event)
        elif status == "fatal":
            fatal = fatal or event["reason"]
        elif status != "lost":
            ended(run, event)
        elif received or fatal:  # it may be that which ended the worker
            if run.begun:
                give_up(run, "interrupted", event["reason"])
        elif event["retry"] and losses[key] < RETRIES:
            losses[key] += 1
            queue.push(run.task)
            on_event(event)
        else:
            give_up(run, "error", event["reason"])

    _allow_open_files()
    with _signals() as received, _closing(pool, running, news):
        while running or (handing_out and (queue or (elsewhere and wait))):
            # Hand out
            if handing_out:
                for _ in range(pool.capacity() - len({run.slot for run in running.values()})):
                    if not queue:
                        break
                    group, task = queue.pop()
                    share = -(-(1 + len(queue)) // pool.capacity())
                    beside = queue.more(group, stack(task.cell, 1 + queue.count(group), share) - 1)
                    slot += 1
                    try:
                        pool.start(replace(task, beside=tuple(beside)))
                        for each in (task, *beside):
                            running[each.cell.key] = Running(each, group, slot, 1 + len(beside))
                    except (UserError, OSError) as error:
                        fatal = fatal or _line("a worker cannot be started", error)
                        break

            # What happened
            if running:
                try:
                    news.extend(pool.wait(TICK))
                except (UserError, OSError) as error:
                    fatal = fatal or _line("workers cannot be heard", error)
                    time.sleep(TICK)
                while news:
                    heed(news.popleft())
            else:
                time.sleep(TICK)
            now = time.monotonic()

            # Time limits
            for run in [*running.values()] if timeout else []:
                limit = timeout * run.shared
                if (
                    run.task.cell.key not in running
                    or run.since is None
                    or now - run.since <= limit
                ):
                    continue
                ended_early = end(run)
                if not any(
                    its.begun for its in ended_early
                ):  # nor would what does not answer let the next cell begin
                    fatal = (
                        fatal
                        or f"{run.task.cell.key}: its worker said nothing for {limit:g} s (--timeout)"
                    )
                    continue
                took = f"took longer than {timeout:g} s (--timeout)"
                if run.shared > 1:
                    took = f"its stack of {run.shared} took longer than {timeout:g} s (--timeout) for each"
                for its in ended_early:
                    give_up(its, "timeout", took)

            # Cells that other runners had
            if elsewhere and wait and now - looked > LOOK:
                looked = now
                for key in [key for key in elsewhere if not taken(folder, key)]:
                    queue.push(elsewhere.pop(key))  # whoever takes it sees whether it is settled

            # The end, if it comes early
            if (received or fatal) and not deadline:
                handing_out, deadline = False, now + GRACE
                pool.stop()
            if deadline and now > deadline:
                while running:
                    for its in end(next(iter(running.values()))):
                        if its.begun:
                            give_up(its, "interrupted", f"did not end within {GRACE:g} s")
    if fatal:
        raise UserError(fatal)
    if received:
        raise KeyboardInterrupt


def _allow_open_files() -> None:
    """Locks and pipes take a file each: allow as many as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS does not allow all it names
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _line(what: str, error: UserError | OSError) -> str:
    return str(error) if isinstance(error, UserError) else f"{what}: {error.strerror or error}"


@contextmanager
def _closing(pool: Pool, running: dict[str, Running], news: deque[Event]) -> Iterator[None]:
    """Closes the pool: after a failure of ours, such as saying how it goes, once running cells had
    the time to save."""
    try:
        yield
    except (Exception, SystemExit):  # which is what rich makes of a terminal that is gone
        with suppress(Exception):  # the first one passes
            pool.stop()
            deadline = time.monotonic() + GRACE
            while running and time.monotonic() < deadline:
                while news:
                    event = news.popleft()
                    if event["status"] not in ("started", "running"):
                        running.pop(event["key"], None)
                news.extend(pool.wait(TICK) if running else ())
        raise
    finally:
        pool.close()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals to end that came so far, one at most: the second raises KeyboardInterrupt."""
    received: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(signum)

    before = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
