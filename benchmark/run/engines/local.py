"""Worker processes on this machine (spawned, as CUDA asks), each with a device and its own
threads."""

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing import connection as pipes
from multiprocessing import resource_tracker
from pathlib import Path

from benchmark.run.engines.base import Event, Task
from benchmark.run.engines.local_worker import PATIENCE, work
from benchmark.store.result_set import FINISHED


class Pool:
    """A worker per device named, started at once: it loads what it needs while the run is
    prepared."""

    def __init__(
        self,
        folder: Path,
        devices: list[str],
        threads: int,
        checkpoint_every: float,
        execution: str = "auto",
    ) -> None:
        self.options = folder, threads, checkpoint_every, execution
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
        with suppress(OSError):  # a worker that is gone is noticed where its answer is awaited
            worker.connection.send(task)
        for each in (task, *task.beside):
            self.busy[each.cell.key] = worker
            self.started.append({"key": each.cell.key, "status": "started"})

    def wait(self, seconds: float) -> list[Event]:
        if self.started:
            events, self.started = self.started, []
            return events
        workers = {worker.connection: worker for worker in self.busy.values()}  # of a stack the one
        ready = pipes.wait(list(workers), seconds)
        return [event for each in ready for event in self._receive(workers[each])]  # type: ignore[index]

    def _receive(self, worker: "Worker") -> list[Event]:
        keys = [key for key, its in self.busy.items() if its is worker]
        try:
            event = worker.connection.recv()
            worker.unheard, worker.proven = None, True
        except (EOFError, OSError):  # its end is closed, or a message is cut short
            worker.process.join(PATIENCE)
            why = _why_died(worker.process.exitcode, len(keys))
            self.kill(keys[0])
            if worker.unheard and not self.stopping:  # it had died before
                self.start(worker.unheard)
                return []
            events = [_lost(key, why) for key in keys]
            if not worker.proven and not self.stopping:  # the next cell's would fare no better
                events[0] |= {
                    "status": "fatal",
                    "reason": f"no worker starts on {worker.device}: {why}",
                }
            return events
        if event["status"] == "fatal":
            self.kill(event["key"])
            return [event, *(_lost(key, event["reason"]) for key in keys if key != event["key"])]
        reusable = (
            *FINISHED,
            "taken",
            *(["error"] if worker.device == "cpu" else []),
        )  # an error may spoil a GPU's
        if event["status"] != "running":
            del self.busy[event["key"]]
            worker.spoiled |= event["status"] not in reusable
            if len(keys) > 1:  # others of its stack go on
                pass
            elif worker.spoiled:
                self._end(worker)
            else:
                self.idle.append(worker)
        return [event]

    def kill(self, key: str) -> None:
        worker = self.busy[key]
        self.busy = {other: its for other, its in self.busy.items() if its is not worker}
        self._end(worker)

    def _end(self, worker: "Worker") -> None:
        worker.process.kill()
        worker.process.join(PATIENCE)  # one that waits for a disk may not even be killed
        worker.connection.close()
        self.free.append(worker.device)

    def stop(self) -> None:
        self.stopping = True
        for worker in {id(worker): worker for worker in self.busy.values()}.values():
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
        self.unheard: Task | None = (
            None  # sent to a worker that had waited, and nothing has come back yet
        )
        self.proven = False  # whether anything ever came back
        self.spoiled = False  # whether it should run no other cell
        self.process = context.Process(target=work, args=(theirs, device, *options), daemon=True)
        _start_tracker()
        # A worker inherits the mask. A terminal's Ctrl-C goes to it, too, but the driver decides;
        # SIGTERM waits until
        # the worker can handle it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()


def _start_tracker() -> None:
    """Start multiprocessing's resource tracker, apart from a worker, where it would unblock the
    signal, and without its warnings about what killed workers leave, which it removes."""
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


def _lost(key: str, reason: str) -> Event:
    return {"key": key, "status": "lost", "reason": reason, "retry": False}


def _why_died(code: int | None, cells: int) -> str:
    if code is None:
        return "the worker hung as it ended"
    if code == -signal.SIGKILL:
        change = "a smaller batch, a smaller evaluation.n_real or fewer --jobs"
        change += ", or --stack 1" if cells > 1 else ""
        return f"the worker was killed (signal 9): most often for lack of memory; try {change}"
    return f"the worker died (exit code {code})"
