"""The worker process of the local engine: one cell after the other, until it has to end."""

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum, auto
from multiprocessing import connection as pipes
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.run.engines.patience import PATIENCE
from benchmark.run.events import Ended, Event, Fatal, RaceTask, Running, Taken, Task
from benchmark.store.layout import ResultSet
from benchmark.store.schema import RunStatus
from benchmark.text import described

if TYPE_CHECKING:
    from benchmark.matrix.cell import Cell
    from benchmark.run.cell.cell_run import CellEvent
    from benchmark.store.locks import Lock

REPORT_EVERY = 0.5  # seconds between two reports of a running cell, at least


class Doing(Enum):
    """What a worker is doing, which decides what a signal does."""

    NOTHING = auto()
    RUNNING = auto()
    REPORTING = auto()


def work(
    connection: pipes.Connection,
    device: str,
    folder: Path,
    threads: int,
    checkpoint_every: float,
) -> None:
    """The body of a worker process: run one cell, or stack, after the other, until SIGTERM or until
    the driver is gone."""
    worker = CellWorker(connection, device, folder, checkpoint_every)
    worker.listen_to_signals()
    broken = ""
    try:
        load(device, threads)
    except Exception as error:
        # A library is missing, or a GPU is taken: no cell is at fault
        broken = f"no worker starts on {device}: {described(error)}"
    while not worker.has_to_stop:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            # The driver is gone
            return
        if broken:
            key = "" if isinstance(task, RaceTask) else task.key
            worker.report(Fatal(key, broken))
            return
        if isinstance(task, RaceTask):
            worker.race(task)
        else:
            worker.run(task)


def load(device: str, threads: int) -> None:
    """Import what cells need, and take the device."""
    import torch
    from threadpoolctl import threadpool_limits

    import benchmark.run.cell.stack_run  # noqa: F401
    from benchmark.machine.memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(threads)
    # The linear algebra of NumPy has threads of its own
    threadpool_limits(threads)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)


class CellWorker:
    """Runs tasks in this process and reports to the driver.

    SIGTERM ends a worker without a cell at once. A cell saves a checkpoint after its step; if the
    step takes longer than PATIENCE, the cell is interrupted and keeps its last checkpoint."""

    def __init__(
        self,
        connection: pipes.Connection,
        device: str,
        folder: Path,
        checkpoint_every: float,
    ) -> None:
        self.connection, self.device, self.folder = connection, device, folder
        self.checkpoint_every = checkpoint_every
        self.doing = Doing.NOTHING
        self.has_to_stop = False
        self.stack: tuple[Cell, ...] = ()  # of the present task
        self.execution = "auto"  # of the present task
        self.tasks: dict[str, Task] = {}  # of the present task, those that have not ended
        self.locks: dict[str, Lock] = {}
        self.reported_at: dict[str, float] = {}

    # Signals

    def listen_to_signals(self) -> None:
        """Handle SIGTERM, and end with the driver."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGALRM, self._interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        main_thread = threading.get_ident()
        threading.Thread(target=end_with_driver, args=(main_thread,), daemon=True).start()

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        if self.doing == Doing.NOTHING:
            sys.exit()
        if not self.has_to_stop:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        self.has_to_stop = True

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self.doing == Doing.REPORTING:
            # Half a message would break the pipe: try again later
            signal.setitimer(signal.ITIMER_REAL, 0.1)
        elif self.doing == Doing.RUNNING:
            from benchmark.run.cell.cell_run import Interrupted

            raise Interrupted

    def cell_has_to_end(self) -> bool:
        """What a cell asks where it can be saved. It then has the time to save."""
        if not self.has_to_stop:
            return False
        signal.setitimer(signal.ITIMER_REAL, 0)
        return True

    # Tasks

    def race(self, task: RaceTask) -> None:
        """Race the objectives of a place, and send what came of it. A signal ends the worker: there
        is nothing to save."""
        from benchmark.run.engines.race import race

        with suppress(OSError):
            self.connection.send(race(task, self.device))

    def run(self, task: Task) -> None:
        """Run a cell, or several as a stack, under their locks, and report what happens."""
        from benchmark.run.cell.cell_run import Interrupted

        self.stack, self.execution = task.stack, task.execution
        self.tasks = {member.key: member for member in task.members}
        self.reported_at = {}
        self.doing = Doing.RUNNING
        try:
            try:
                self._take_locks()
                self._run_cells()
            except Interrupted:
                # Before the first event, or while a cell was committed
                self._write_interruptions()
        except UserError as error:
            self.report(Fatal(next(iter(self.tasks)), str(error)))
        finally:
            for lock in self.locks.values():
                lock.release()
            self.locks = {}

    def _take_locks(self) -> None:
        """Lock the cells. Cells that another process has, or has settled, end here."""
        from benchmark.run.ownership import superseded
        from benchmark.store.locks import take

        results = ResultSet(self.folder)
        for key, task in [*self.tasks.items()]:
            lock = take(results.cell(key))
            if lock is None:
                self.settle(Taken(key))
                continue
            self.locks[key] = lock
            status = superseded(self.folder, task)
            if status is not None:
                self.settle(Ended(key, status))

    def _run_cells(self) -> None:
        from benchmark.run.cell.cell_run import Interrupted

        if not self.tasks:
            return
        events: Any = self._events()
        event = next(events, None)
        while event:
            try:
                self.settle(event)
                event = next(events, None)
            except Interrupted:
                # The signal arrived between two events
                event = events.throw(Interrupted)

    def _events(self) -> "Iterator[CellEvent]":
        from benchmark.run.cell.cell_run import run_cell
        from benchmark.run.cell.stack_run import run_stack

        tasks = [*self.tasks.values()]
        cells = [task.cell for task in tasks]
        options = (self.cell_has_to_end, self.checkpoint_every, self.execution)
        if not self.stack:
            return run_cell(cells[0], self.folder, self.device, *options, tasks[0].rung)
        return run_stack(cells, self.folder, self.device, *options, self.stack)

    def _write_interruptions(self) -> None:
        from benchmark.run.ownership import write_end

        for key, task in [*self.tasks.items()]:
            self._release(key)
            reason = "asked to end, it took too long"
            status = write_end(self.folder, task, RunStatus.INTERRUPTED, reason)
            self.settle(Taken(key) if status is None else Ended(key, status))

    # Reports

    def settle(self, event: Event) -> None:
        """Report an event. The lock of a cell that has ended is free afterwards."""
        self.report(event)
        if not isinstance(event, Running):
            self._release(event.key)

    def report(self, event: Event) -> None:
        """Send an event to the driver; of a running cell only now and then."""
        self.doing = Doing.REPORTING
        if isinstance(event, Fatal):
            self.tasks.clear()
        elif not isinstance(event, Running):
            del self.tasks[event.key]
        since = time.monotonic() - self.reported_at.get(event.key, -math.inf)
        if not isinstance(event, Running) or since >= REPORT_EVERY:
            self.reported_at[event.key] = time.monotonic()
            # Without a driver `end_with_driver` ends this process
            with suppress(OSError):
                self.connection.send(event)
        self.doing = Doing.RUNNING if self.tasks else Doing.NOTHING

    def _release(self, key: str) -> None:
        if key in self.locks:
            self.locks.pop(key).release()


def end_with_driver(main_thread: int) -> None:
    """End this worker as SIGTERM does when its driver has died, and by force if that does not
    help."""
    driver = multiprocessing.parent_process()
    if driver is None:
        return
    driver.join()
    signal.pthread_kill(main_thread, signal.SIGTERM)
    time.sleep(3 * PATIENCE)
    os._exit(1)
