"""Worker processes on this machine (spawned, as CUDA requires), each with a device and threads."""

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import connection as pipes
from multiprocessing import resource_tracker
from pathlib import Path

from benchmark.errors import UserError
from benchmark.run.engines.local_worker import work
from benchmark.run.engines.patience import PATIENCE
from benchmark.run.events import (
    Ended,
    Event,
    Fatal,
    Lost,
    RaceTask,
    Running,
    Started,
    Taken,
    Task,
    not_raced,
)
from benchmark.store.schema import Race, RunStatus


@dataclass(frozen=True)
class WorkerOptions:
    """What every worker of a pool runs with."""

    folder: Path
    """Folder of the result set."""

    threads: int
    """Threads of one operation."""

    checkpoint_every: float
    """Seconds between two checkpoints of a cell."""


class Pool:
    """One worker per named device. All start at once, and load what they need while the run is
    prepared."""

    def __init__(self, devices: list[str], options: WorkerOptions) -> None:
        self.options = options
        self.devices = devices
        self.idle = [Worker(device, options) for device in reversed(devices)]
        self.free_devices: list[str] = []  # their workers have ended
        self.busy: dict[str, Worker] = {}  # by the key of the cell
        self.racing: dict[Worker, RaceTask] = {}
        self.started: list[Event] = []
        self.is_stopping = False

    def capacity(self) -> int:
        return len(self.devices)

    def races(self, contests: Iterable[RaceTask]) -> Iterator[Race]:
        coming = iter(contests)
        while True:
            for contest in islice(coming, self._races_at_once() - len(self.racing)):
                self._start_race(contest)
            if not self.racing:
                return
            for connection in pipes.wait([worker.connection for worker in self.racing]):
                worker = next(w for w in self.racing if w.connection is connection)
                yield self._finish_race(worker)

    def _races_at_once(self) -> int:
        """Races are timed by the seconds that the processor gave a process where that has one
        thread, and by the wall elsewhere: then one runs alone."""
        is_cpu = set(self.devices) == {"cpu"}
        return self.capacity() if is_cpu and self.options.threads == 1 else 1

    def _start_race(self, contest: RaceTask) -> None:
        worker = self._take_worker()
        # A worker that is gone is noticed when its answer is awaited
        with suppress(OSError):
            worker.connection.send(contest)
        self.racing[worker] = contest

    def _finish_race(self, worker: "Worker") -> Race:
        contest = self.racing.pop(worker)
        try:
            answer = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(PATIENCE)
            reason = why_died(worker.process.exitcode, 1)
            self._end(worker)
            return not_raced(contest, reason)
        if isinstance(answer, Fatal):
            self._end(worker)
            raise UserError(answer.reason)
        worker.has_answered = True
        worker.is_reusable = not answer.fault or worker.device == "cpu"
        self._release(worker)
        return answer

    def _take_worker(self) -> "Worker":
        """A worker without a task; a new one where none is idle."""
        if self.idle:
            return self.idle.pop()
        return Worker(self.free_devices.pop(), self.options)

    def start(self, task: Task) -> None:
        is_new = not self.idle
        worker = self._take_worker()
        if not is_new:
            worker.unanswered = task
        # A worker that is gone is noticed when its answer is awaited
        with suppress(OSError):
            worker.connection.send(task)
        for member in task.members:
            self.busy[member.key] = worker
            self.started.append(Started(member.key))

    def wait(self, seconds: float) -> list[Event]:
        if self.started:
            events, self.started = self.started, []
            return events
        workers = {worker.connection: worker for worker in self.busy.values()}
        events = []
        for connection in pipes.wait(list(workers), seconds):
            assert isinstance(connection, pipes.Connection)
            events += self._receive(workers[connection])
        return events

    def _receive(self, worker: "Worker") -> list[Event]:
        """The events that follow from the next message of a worker."""
        keys = [key for key, other in self.busy.items() if other is worker]
        try:
            event = worker.connection.recv()
        except (EOFError, OSError):
            # The other end is closed, or a message is incomplete
            return self._handle_death(worker, keys)
        worker.unanswered, worker.has_answered = None, True
        if isinstance(event, Fatal):
            self.kill(event.key)
            others = [key for key in keys if key != event.key]
            return [event, *(Lost(key, event.reason, retry=False) for key in others)]
        if not isinstance(event, Running):
            del self.busy[event.key]
            worker.is_reusable &= leaves_worker_sound(event, worker.device)
            if keys == [event.key]:
                self._release(worker)
        return [event]

    def _handle_death(self, worker: "Worker", keys: list[str]) -> list[Event]:
        worker.process.join(PATIENCE)
        reason = why_died(worker.process.exitcode, len(keys))
        self.kill(keys[0])
        if worker.unanswered and not self.is_stopping:
            # It had died before it got the task
            self.start(worker.unanswered)
            return []
        lost: list[Event] = [Lost(key, reason, retry=False) for key in keys]
        if not worker.has_answered and not self.is_stopping:
            # The next cell would end in the same way
            lost[0] = Fatal(keys[0], f"no worker starts on {worker.device}: {reason}")
        return lost

    def _release(self, worker: "Worker") -> None:
        """A worker without a cell takes the next one, or ends."""
        if worker.is_reusable:
            self.idle.append(worker)
        else:
            self._end(worker)

    def kill(self, key: str) -> None:
        worker = self.busy[key]
        self.busy = {other: w for other, w in self.busy.items() if w is not worker}
        self._end(worker)

    def _end(self, worker: "Worker") -> None:
        worker.process.kill()
        # A process that waits for a disk may not even be killed
        worker.process.join(PATIENCE)
        worker.connection.close()
        self.free_devices.append(worker.device)

    def stop(self) -> None:
        self.is_stopping = True
        for worker in set(self.busy.values()):
            worker.process.terminate()

    def close(self) -> None:
        for worker in {*self.idle, *self.busy.values(), *self.racing}:
            self._end(worker)
        self.idle, self.busy, self.racing = [], {}, {}


@dataclass(eq=False)
class Worker:
    """One process and the pipe to it."""

    device: str
    options: WorkerOptions

    unanswered: Task | None = field(default=None, init=False)
    """A task that was sent to an idle worker, and nothing has come back yet."""

    has_answered: bool = field(default=False, init=False)
    """Whether anything ever came back."""

    is_reusable: bool = field(default=True, init=False)
    """Whether the worker may run another cell."""

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        options = self.options
        arguments = (
            theirs,
            self.device,
            options.folder,
            options.threads,
            options.checkpoint_every,
        )
        self.process = context.Process(target=work, args=arguments, daemon=True)
        _start_tracker()
        # A worker inherits the mask. The Ctrl-C or the end of a terminal reaches it too, but the
        # driver decides; SIGTERM waits until the worker can handle it
        blocked = {signal.SIGINT, signal.SIGHUP, signal.SIGTERM}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()


def leaves_worker_sound(event: Event, device: str) -> bool:
    """Whether the worker of a cell that ended may run another one: an error may leave a GPU in an
    unknown state."""
    if isinstance(event, Taken):
        return True
    if not isinstance(event, Ended):
        return False
    status = event.status.status
    return status.is_finished or (status == RunStatus.ERROR and device == "cpu")


def why_died(exit_code: int | None, num_cells: int) -> str:
    """Why a worker with so many cells died, in one line."""
    if exit_code is None:
        return "the worker hung as it ended"
    if exit_code != -signal.SIGKILL:
        return f"the worker died (exit code {exit_code})"
    change = "a smaller batch, a smaller evaluation.n_real or fewer --jobs"
    if num_cells > 1:
        change += ", or --stack 1"
    return f"the worker was killed (signal 9): most often for lack of memory; try {change}"


def _start_tracker() -> None:
    """Start multiprocessing's resource tracker in this process, because a worker that starts it
    would unblock the signals. Its warnings about files that killed workers leave are switched off:
    the tracker removes these files."""
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
