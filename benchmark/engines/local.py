"""Worker processes on this machine (spawned, as CUDA asks), each with a device and its own threads."""

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing import connection as pipes
from multiprocessing import resource_tracker
from pathlib import Path

from benchmark import UserError, unknown
from benchmark.cell import FINISHED
from benchmark.engines import Event, Task
from benchmark.engines.local_worker import PATIENCE, work


class Pool:
    """A worker per device named, started at once: it loads what it needs while the run is prepared."""

    def __init__(self, folder: Path, devices: list[str], threads: int, checkpoint_every: float) -> None:
        self.options = folder, threads, checkpoint_every
        self.size = len(devices)
        self.idle = [Worker(device, *self.options) for device in devices[::-1]]
        self.free: list[str] = []  # devices whose worker has ended
        self.busy: dict[str, Worker] = {}  # key -> the worker that runs the cell
        self.started: list[Event] = []
        self.stopping = False

    def capacity(self) -> int:
        return self.size

    def start(self, task: Task) -> None:
        if self.idle:
            worker = self.idle.pop()
            worker.unheard = task
        else:
            worker = Worker(self.free.pop(), *self.options)
        self.busy[task.cell.key] = worker
        with suppress(OSError):  # a worker that is gone is noticed where its answer is awaited
            worker.connection.send(task)
        self.started.append({"key": task.cell.key, "status": "started"})

    def wait(self, seconds: float) -> list[Event]:
        if self.started:
            events, self.started = self.started, []
            return events
        keys = {worker.connection: key for key, worker in self.busy.items()}
        ready = pipes.wait(list(keys), seconds)
        return [event for each in ready if (event := self._receive(keys[each]))]  # type: ignore[index]

    def _receive(self, key: str) -> Event | None:
        worker = self.busy[key]
        try:
            event = worker.connection.recv()
            worker.unheard, worker.proven = None, True
        except (EOFError, OSError):  # its end is closed, or a message is cut short
            worker.process.join(PATIENCE)
            if worker.unheard and not self.stopping:  # it had died before
                self.kill(key)
                self.start(worker.unheard)
                return None
            why = _why_died(worker.process.exitcode)
            if worker.proven or self.stopping:
                event = {"key": key, "status": "lost", "reason": why, "retry": False}
            else:  # the next cell's would fare no better
                event = {"key": key, "status": "fatal", "reason": f"no worker starts on {worker.device}: {why}"}
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
        worker.process.join(PATIENCE)  # one that waits for a disk may not even be killed
        worker.connection.close()
        self.free.append(worker.device)

    def stop(self) -> None:
        self.stopping = True
        for worker in self.busy.values():
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
        self.unheard: Task | None = None  # sent to a worker that had waited, and nothing has come back yet
        self.proven = False  # whether anything ever came back
        self.process = context.Process(target=work, args=(theirs, device, *options), daemon=True)
        _start_tracker()
        # A worker inherits the mask. A terminal's Ctrl-C goes to it, too, but the driver decides; SIGTERM waits until
        # the worker can handle it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
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
    if code is None:
        return "the worker hung as it ended"
    if code == -signal.SIGKILL:
        change = "a smaller batch, a smaller evaluation.n_real or fewer --jobs"
        return f"the worker was killed (signal 9): most often for lack of memory; try {change}"
    return f"the worker died (exit code {code})"
