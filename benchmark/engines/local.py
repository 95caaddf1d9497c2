"""Worker processes on this machine (spawned, as CUDA asks), each with a device and its own threads."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection as pipes
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType

from benchmark import UserError, unknown
from benchmark.cell import FINISHED
from benchmark.engines import Event, Task

PATIENCE = 5.0  # seconds that a step or a measurement may still take once the cell has to end


class Pool:
    """A worker per device named, started with the first cell that needs it."""

    def __init__(self, folder: Path, devices: list[str], threads: int, checkpoint_every: float) -> None:
        self.folder, self.threads, self.checkpoint_every = folder, threads, checkpoint_every
        self.free = devices[::-1]  # without a worker
        self.size = len(devices)
        self.idle: list[Worker] = []
        self.busy: dict[str, Worker] = {}  # key -> the worker that runs the cell

    def capacity(self) -> int:
        return self.size

    def start(self, task: Task) -> None:
        if self.idle:
            worker = self.idle.pop()
            worker.unheard = task
        else:
            worker = Worker(self.free.pop(), self.folder, self.threads, self.checkpoint_every)
        self.busy[task.cell.key] = worker
        with suppress(OSError):  # a worker that is gone is noticed where its answer is awaited
            worker.connection.send(task)

    def wait(self, seconds: float) -> list[Event]:
        keys = {worker.connection: key for key, worker in self.busy.items()}
        ready = pipes.wait(list(keys), seconds)
        return [event for each in ready if (event := self._receive(keys[each]))]  # type: ignore[index]

    def _receive(self, key: str) -> Event | None:
        worker = self.busy[key]
        try:
            event = worker.connection.recv()
            worker.unheard = None
        except (EOFError, OSError):  # its end is closed, or a message is cut short
            worker.process.join()
            if worker.unheard:  # it had died before
                self.kill(key)
                self.start(worker.unheard)
                return None
            event = {"key": key, "status": "lost", "reason": _why_died(worker.process.exitcode), "retry": False}
        reusable = (*FINISHED, "taken", *(["error"] if worker.device == "cpu" else []))  # an error may spoil a GPU's
        if event["status"] in reusable:
            self.idle.append(self.busy.pop(key))
        elif event["status"] != "running":
            self.kill(key)
        return event

    def kill(self, key: str) -> None:
        self._end(self.busy.pop(key))

    def _end(self, worker: "Worker") -> None:
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self.free.append(worker.device)

    def stop(self) -> None:
        for worker in self.busy.values():
            worker.unheard = None
            worker.process.terminate()

    def close(self) -> None:
        for worker in [*self.idle, *self.busy.values()]:
            self._end(worker)
        self.idle, self.busy = [], {}


class Worker:
    """One process and the pipe to it."""

    def __init__(self, device: str, *options: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.device = device
        self.unheard: Task | None = None  # sent to a worker that has run others, and nothing has come back yet
        self.process = context.Process(target=_work, args=(theirs, device, *options), daemon=True)
        _start_tracker()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a terminal's Ctrl-C goes to the workers,
        try:  # too, which inherit the mask: the driver decides
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()


def _start_tracker() -> None:
    """Start multiprocessing's resource tracker, apart from a worker, where it would unblock the signal, and without its
    warnings about what killed workers leave, which it removes."""
    before = os.environ.get("PYTHONWARNINGS")
    quiet = "ignore::UserWarning:multiprocessing.resource_tracker"
    os.environ["PYTHONWARNINGS"] = f"{before},{quiet}" if before else quiet
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def devices_of(device: str, jobs: int) -> list[str]:
    """One device per worker, of `--device` and `--jobs`: in turn, so that more jobs than GPUs share them evenly, and
    fewer use the first. MPS is untested and taken only by its name. Raises UserError for what is not there, and for
    named devices that would stay without a worker."""
    import torch

    if jobs < 0:
        raise UserError(f"--jobs must not be negative, not {jobs}")
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    there = ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
    if device == "auto":
        found = gpus or ["cpu"]
    elif device == "cuda":
        found = gpus
        if not gpus:
            raise UserError(f"--device cuda: there is no CUDA device here; valid: auto, {', '.join(there)}")
    else:
        found = device.split(",")
        for name in found:
            if name not in there:
                raise unknown("device", name, ["auto", *there, *(["cuda"] if gpus else [])])
        if 0 < jobs < len(found):
            raise UserError(
                f"--jobs {jobs} leaves {', '.join(found[jobs:])} of --device {device} without a worker; "
                f"name fewer devices, or give at least {len(found)} jobs"
            )
    workers = jobs or (os.cpu_count() or 1 if found == ["cpu"] else len(found))
    return [found[index % len(found)] for index in range(workers)]


def _why_died(code: int | None) -> str:
    if code == -signal.SIGKILL:
        change = "a smaller batch, a smaller evaluation.n_real or fewer --jobs"
        return f"the worker was killed (signal 9): most often for lack of memory; try {change}"
    return f"the worker died (exit code {code})"


def _work(connection: pipes.Connection, device: str, folder: Path, threads: int, checkpoint_every: float) -> None:
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
            raise Interrupted

    def report(event: Event) -> None:
        nonlocal doing
        before, doing = doing, "reporting"
        with suppress(OSError):  # the driver is gone, as `_end_with_driver` has seen
            connection.send(event)
        doing = before

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, interrupt)
    threading.Thread(target=_end_with_driver, args=(threading.get_ident(),), daemon=True).start()

    import torch
    from threadpoolctl import threadpool_limits

    from benchmark.runner import Interrupted

    torch.set_num_threads(threads)
    threadpool_limits(threads)  # NumPy's linear algebra has a pool of its own
    if device.startswith("cuda"):
        torch.cuda.set_device(device)

    while not stopping:
        try:
            task = connection.recv()
        except (EOFError, OSError):  # the driver is gone
            return
        doing = "running"
        _run(task, folder, device, lambda: stopping, checkpoint_every, report)
        doing = "nothing"


def _run(
    task: Task,
    folder: Path,
    device: str,
    stop: Callable[[], bool],
    checkpoint_every: float,
    report: Callable[[Event], None],
) -> None:
    """Run a cell under its lock and report what happens."""
    from benchmark.claim import superseded, take
    from benchmark.runner import Interrupted, run_cell

    key = task.cell.key
    lock = None
    try:
        lock = take(folder, key)
        if lock is None:
            report({"key": key, "status": "taken"})
        elif found := superseded(folder, task):
            report(found)
        else:
            events = run_cell(task.cell, folder, device, stop, checkpoint_every, task.force)
            try:
                for event in events:
                    report(event)
            except Interrupted:  # it struck between two events
                report(events.throw(Interrupted))
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
