"""What of the local engine runs in a worker process: one cell after the other, until it is told to
end."""

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection as pipes
from pathlib import Path
from types import FrameType
from typing import Any

from benchmark.errors import UserError
from benchmark.run.engines.base import Event, Task
from benchmark.text import one_line

HEARD = 0.5  # seconds between two reports of a running cell, at least
PATIENCE = 5.0  # seconds that a step or a measurement may still take once the cell has to end


def work(
    connection: pipes.Connection,
    device: str,
    folder: Path,
    threads: int,
    checkpoint_every: float,
    execution: str,
) -> None:
    """What a worker does: runs one cell, or stack, after the other, until it is told to end or its
    driver is gone.

    SIGTERM ends it at once where it has no cell; else the cell saves a checkpoint after its step,
    or ends without a new one where that takes too long."""
    doing, stopping = "nothing", False
    left: dict[str, Task] = {}  # of the task, those that have not ended
    heard: dict[str, float] = {}  # key -> when it was last heard of

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if doing == "nothing":
            sys.exit()
        if not stopping:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        stopping = True

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if doing == "reporting":  # half a message would be worse
            signal.setitimer(signal.ITIMER_REAL, 0.1)
        elif doing == "running":
            from benchmark.run.run_cell import Interrupted

            raise Interrupted

    def ends() -> bool:
        """What a cell asks where it can be saved, and it is given the time to."""
        if not stopping:
            return False
        signal.setitimer(signal.ITIMER_REAL, 0)
        return True

    def report(event: Event) -> None:
        nonlocal doing
        doing, key, status = "reporting", event["key"], event["status"]
        if status == "fatal":
            left.clear()
        elif status != "running":
            del left[key]
        if status != "running" or time.monotonic() - heard.get(key, -math.inf) >= HEARD:
            heard[key] = time.monotonic()
            with suppress(OSError):  # the driver is gone, as `_end_with_driver` has seen
                connection.send(event)
        doing = "running" if left else "nothing"

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_driver, args=(threading.get_ident(),), daemon=True).start()

    broken = ""
    try:
        _load(device, threads)
    except (
        Exception
    ) as error:  # a library that is not there, a GPU that is taken: no cell is to blame
        broken = f"no worker starts on {device}: {type(error).__name__}: {one_line(error)[:500]}"

    while not stopping:
        try:
            task = connection.recv()
        except (EOFError, OSError):  # the driver is gone
            return
        left, heard = {each.cell.key: each for each in (task, *task.beside)}, {}
        if broken:
            report({"key": task.cell.key, "status": "fatal", "reason": broken})
            return
        doing = "running"
        _run(left, folder, device, report, ends, checkpoint_every, execution)


def _load(device: str, threads: int) -> None:
    """Import what cells need, and take the device."""
    import torch
    from threadpoolctl import threadpool_limits

    import benchmark.run.run_cell  # noqa: F401
    from benchmark.machine.memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # NumPy's linear algebra has a pool of its own
    if device.startswith("cuda"):
        torch.cuda.set_device(device)


def _run(
    left: dict[str, Task],  # by key; who has been reported as ended is no longer in it
    folder: Path,
    device: str,
    report: Callable[[Event], None],
    *options: Any,  # of `run_cell`
) -> None:
    """Run a cell, or several as a stack, under their locks, and report what happens."""
    from benchmark.run.ownership import mark, superseded
    from benchmark.run.run_cell import Interrupted, run_cell
    from benchmark.run.run_stack import run_stack
    from benchmark.store.locks import take

    locks: dict[str, Any] = {}

    def settle(event: Event) -> None:
        """Report how a cell goes; the lock of one that has ended is free then."""
        report(event)
        if event["status"] != "running" and event["key"] in locks:
            locks.pop(event["key"]).release()

    try:
        try:
            for key, task in [*left.items()]:
                lock = take(folder, key)
                if lock is None:
                    settle({"key": key, "status": "taken"})
                    continue
                locks[key] = lock
                if found := superseded(folder, task):
                    settle(found)
            cells = [task.cell for task in left.values()]
            if not cells:
                return
            if len(cells) == 1:
                events = run_cell(cells[0], folder, device, *options)
            else:
                events = run_stack(cells, folder, device, *options)
            event = next(events, None)
            while event:
                try:
                    settle(event)
                    event = next(events, None)
                except Interrupted:  # it struck between two events
                    event = events.throw(Interrupted)
        except Interrupted:  # before the first event, or as a cell was committed
            for key, task in [*left.items()]:
                if key in locks:
                    locks.pop(key).release()
                ended = mark(folder, key, "interrupted", "asked to end, it took too long", task)
                settle(ended or {"key": key, "status": "taken"})
    except UserError as error:
        report({"key": next(iter(left)), "status": "fatal", "reason": str(error)})
    finally:
        for lock in locks.values():
            lock.release()


def _end_with_driver(main_thread: int) -> None:
    """End this worker as SIGTERM does once its driver has died, and by force where that does not
    help."""
    driver = multiprocessing.parent_process()
    if driver is None:
        return
    driver.join()
    signal.pthread_kill(main_thread, signal.SIGTERM)
    time.sleep(3 * PATIENCE)
    os._exit(1)
