"""What of the local engine runs in a worker process: one cell after the other, until it is told to end."""

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

from benchmark import UserError
from benchmark.engines import Event, Task

PATIENCE = 5.0  # seconds that a step or a measurement may still take once the cell has to end


def work(connection: pipes.Connection, device: str, folder: Path, threads: int, checkpoint_every: float) -> None:
    """What a worker does: runs one cell after the other, until it is told to end or its driver is gone.

    SIGTERM ends it at once where it has no cell; else the cell saves a checkpoint after its step, or ends without a new
    one where that takes too long."""
    doing, stopping = "nothing", False

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
            from benchmark.runner import Interrupted

            raise Interrupted

    def ends() -> bool:
        """What a cell asks where it can be saved, and it is given the time to."""
        if not stopping:
            return False
        signal.setitimer(signal.ITIMER_REAL, 0)
        return True

    def report(event: Event) -> None:
        nonlocal doing
        doing = "reporting"
        with suppress(OSError):  # the driver is gone, as `_end_with_driver` has seen
            connection.send(event)
        doing = "running" if event["status"] == "running" else "nothing"

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_driver, args=(threading.get_ident(),), daemon=True).start()

    broken = ""
    try:
        _load(device, threads)
    except Exception as error:  # a library that is not there, a GPU that is taken: no cell is to blame
        broken = f"no worker starts on {device}: {type(error).__name__}: {' '.join(str(error).split())[:500]}"

    while not stopping:
        try:
            task = connection.recv()
        except (EOFError, OSError):  # the driver is gone
            return
        if broken:
            report({"key": task.cell.key, "status": "fatal", "reason": broken})
            return
        doing = "running"
        _run(task, folder, device, ends, checkpoint_every, report)


def _load(device: str, threads: int) -> None:
    """Import what cells need, and take the device."""
    import torch
    from threadpoolctl import threadpool_limits

    import benchmark.runner  # noqa: F401

    torch.set_num_threads(threads)
    threadpool_limits(threads)  # NumPy's linear algebra has a pool of its own
    if device.startswith("cuda"):
        torch.cuda.set_device(device)


def _run(
    task: Task,
    folder: Path,
    device: str,
    stop: Callable[[], bool],
    checkpoint_every: float,
    report: Callable[[Event], None],  # whose last call is for the cell's end
) -> None:
    """Run a cell under its lock and report what happens."""
    from benchmark.claim import mark, superseded, take
    from benchmark.runner import Interrupted, run_cell

    key, lock = task.cell.key, None
    try:
        try:
            lock = take(folder, key)
            if lock is None:
                report({"key": key, "status": "taken"})
            elif found := superseded(folder, task):
                report(found)
            else:
                events = run_cell(task.cell, folder, device, stop, checkpoint_every)
                try:
                    for event in events:
                        report(event)
                except Interrupted:  # it struck between two events
                    report(events.throw(Interrupted))
        except Interrupted:  # before the first event, or as the cell was committed
            if lock:
                lock.release()
            ended = mark(folder, key, "interrupted", "asked to end, it took too long", task)
            report(ended or {"key": key, "status": "taken"})
    except UserError as error:
        report({"key": key, "status": "fatal", "reason": str(error)})
    finally:
        if lock:
            lock.release()


def _end_with_driver(main_thread: int) -> None:
    """End this worker as SIGTERM does once its driver has died, and by force where that does not help."""
    driver = multiprocessing.parent_process()
    if driver is None:
        return
    driver.join()
    signal.pthread_kill(main_thread, signal.SIGTERM)
    time.sleep(3 * PATIENCE)
    os._exit(1)
