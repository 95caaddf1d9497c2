"""Hands cells to a pool, the longest first, and sees every one of them through: time limits, lost workers, cells of
other runners, signals."""

import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from benchmark import UserError
from benchmark.cell import FINISHED
from benchmark.claim import mark, taken
from benchmark.engines import Event, Pool, Task
from benchmark.schedule import Queue, spent

TICK = 0.25  # seconds a signal waits at most to be heeded
LOOK = 1.5  # seconds between two looks at the cells of other runners
GRACE = 20.0  # seconds that cells have to save a checkpoint when the run ends early
RETRIES = 3  # of a cell whose node was lost


@dataclass
class Running:
    """A cell that was handed out."""

    task: Task
    group: str
    began: float | None = None  # when its first event came
    progress: float = 0.0


def drive(
    tasks: list[Task],
    pool: Pool,
    folder: Path,
    on_event: Callable[[Event], None],  # every event, those of ended cells with the run's seconds `left`, or None
    *,
    timeout: float = 0.0,  # seconds a cell may take, from its first event on; 0: no limit
    fail_fast: bool = False,  # start no cell after the first error
    wait: bool = True,  # for cells that another runner has, to run them if it leaves them unfinished
    known: dict[str, float] | None = None,  # seconds by group, as `schedule.learned`
) -> None:
    """Run the cells, and close the pool. A worker that dies or takes too long ends its cell, not the run.

    The first SIGINT or SIGTERM asks the running cells to save a checkpoint and end, then KeyboardInterrupt passes
    through; a second ends all at once. Raises UserError where nothing more can be written."""
    queue = Queue(tasks, known or {})
    running: dict[str, Running] = {}
    elsewhere: dict[str, Task] = {}  # another runner has them
    losses: Counter[str] = Counter()
    fatal = ""
    handing_out, deadline, looked = True, 0.0, time.monotonic()

    def left() -> float | None:
        total = queue.remaining()
        for run in running.values():
            expected = queue.expected(run.group)
            total = None if total is None or expected is None else total + expected * (1 - run.progress)
        return None if total is None else total / max(1, pool.capacity())

    def ended(run: Running, event: Event) -> None:
        nonlocal handing_out
        if event["status"] in FINISHED:
            queue.learn(run.group, spent(event))
        elif fail_fast and event["status"] in ("error", "timeout"):
            handing_out = False
        on_event(event | {"left": left()})

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
        if status == "running":
            run = running[key]
            run.began = time.monotonic() if run.began is None else run.began
            run.progress = event.get("progress", 0.0)
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
        elif deadline:
            if run.began is not None:  # else it has not been touched
                give_up(run, "interrupted", event["reason"])
        elif event["retry"] and losses[key] < RETRIES:
            losses[key] += 1
            queue.push(replace(run.task, force=run.task.force and run.began is None))
            on_event(event)
        else:
            give_up(run, "error", event["reason"])

    _allow_open_files()
    with _signals() as received, closing(pool):
        while running or (handing_out and (queue or (elsewhere and wait))):
            # Hand out
            if handing_out:
                for _ in range(min(len(queue), pool.capacity() - len(running))):
                    group, task = queue.pop()
                    try:
                        pool.start(task)
                        running[task.cell.key] = Running(task, group)
                    except UserError as error:
                        fatal = fatal or str(error)
                        break

            # What happened
            if running:
                for event in pool.wait(TICK):
                    heed(event)
            else:
                time.sleep(TICK)
            now = time.monotonic()

            # Time limits
            for run in list(running.values()) if timeout else []:
                if run.began is not None and now - run.began > timeout:
                    pool.kill(run.task.cell.key)
                    del running[run.task.cell.key]
                    give_up(run, "timeout", f"took longer than {timeout:g} s (--timeout)")

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
                for run in list(running.values()):
                    pool.kill(run.task.cell.key)
                    del running[run.task.cell.key]
                    give_up(run, "interrupted", f"did not end within {GRACE:g} s")
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
