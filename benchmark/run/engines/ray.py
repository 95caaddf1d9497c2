"""The Ray engine: a cell is a task that streams its events and its files; this process locks,
writes and commits.

Nodes share nothing with this process but Ray. They get its code, its measuring cache, and the
checkpoint and rows of an unfinished cell. What a cell writes comes back at its start, at every
checkpoint and at its end, so that a cell whose node is lost is resumed on another node. Every node
has datasets of its own: a node with other data does not run the cells of that dataset."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.measure.instrument import open_instrument
from benchmark.measure.protocol import protocol_id
from benchmark.run import ownership
from benchmark.run.cell.checkpoint import checkpoints
from benchmark.run.events import Ended, Event, Fatal, Lost, RaceTask, Running, Taken, Task
from benchmark.store import locks
from benchmark.store.files import write_bytes
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import Race

# Ray sends no usage statistics
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Under `ray job submit`: our environment is joined to that of the job
os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
try:
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as missing:
    raise UserError("--engine ray needs Ray: pip install ray") from missing

# isort: split
# Below the guard: these modules import ray themselves
from benchmark.run.engines.ray_cluster import (
    Resources,
    cancel,
    connect,
    measured_like,
    measured_with,
    race,
    send,
    slots,
    what_failed,
)
from benchmark.run.engines.ray_node import (
    Flag,
    Sent,
    UnfitError,
    drop_others,
    race_remotely,
    run_remotely,
    signatures,
)

STATUS_SECONDS = 5.0  # between two writes of the status of a running cell
WRITERS = 32  # threads that write the folders of cells
COUNT_SECONDS = 2.0  # between two looks at the nodes of the cluster


@dataclass
class SentCell:
    """A cell that was sent to the cluster."""

    lock: locks.Lock

    stream: Any
    """Ray's stream of `Sent`."""

    measured: str
    """Dataset and evaluation, as `measured_like` names them."""

    has_begun: bool = False
    """Whether anything came back."""

    written_at: float = 0.0
    """When the status was written."""


class Pool:
    """The cells of a result set on the Ray cluster at `address` ($RAY_ADDRESS without one), or on
    one that is started here."""

    def __init__(
        self, folder: Path, address: str | None, resources: Resources, checkpoint_every: float
    ) -> None:
        self.code = tempfile.TemporaryDirectory(prefix="ganbench-")
        address = address or os.environ.get("RAY_ADDRESS", "").strip() or "local"
        connect(address, Path(self.code.name))
        device = resources.device
        if device == "auto":
            device = "cuda" if resources.gpus or ray.cluster_resources().get("GPU") else "cpu"
        self.results, self.jobs, self.cpus = ResultSet(folder), resources.jobs, resources.cpus
        self.gpus = (resources.gpus or 1.0) if device == "cuda" else 0.0
        # Where this process measures noise floors
        has_cuda = device == "cuda" and torch.cuda.is_available()
        self.measuring_device = "cuda:0" if has_cuda else "cpu"
        self._make_remote(checkpoint_every)
        self.in_flight: dict[str, SentCell] = {}  # by key
        self.events: list[Event] = []
        # Most of a write is waiting for the disk
        self.writers = ThreadPoolExecutor(WRITERS)
        self.measuring: dict[str, tuple[str, dict[str, Any]]] = {}
        self.fit: set[str] = set()  # what some node can measure
        self.unfit: dict[str, set[str]] = {}  # what cannot be measured → on which nodes
        self.room, self.counted_at, self.has_warned = 0, -COUNT_SECONDS, False

    def _make_remote(self, checkpoint_every: float) -> None:
        """The actor that tells cells to end, and the tasks that run a cell and a race."""
        remote: Any = ray.remote
        this_node = ray.get_runtime_context().get_node_id()
        strategy = NodeAffinitySchedulingStrategy(this_node, soft=False)
        lasting = {"max_restarts": -1, "max_task_retries": -1}
        actor = remote(num_cpus=0, scheduling_strategy=strategy, **lasting)(Flag)
        self.flag = actor.remote()
        wanted = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        # Ray shows a task its own GPU alone
        device, threads = "cuda:0" if self.gpus else "cpu", max(1, int(self.cpus))
        alike: dict[str, Any] = {"device": device, "threads": threads}
        cell = remote(num_returns="streaming", max_retries=0, **wanted)(run_remotely)
        self.send: Callable[..., Any] = partial(
            send, cell, flag=self.flag, checkpoint_every=checkpoint_every, **alike
        )
        racing = remote(max_retries=0, **wanted)(race_remotely)
        self.race: Callable[[RaceTask], Race] = partial(race, racing, **alike)

    def races(self, contests: Iterable[RaceTask]) -> Iterator[Race]:
        return map(self.race, contests)

    def capacity(self) -> int:
        """Number of cells that may run at the same time, as nodes come and go; at least one, so
        that an autoscaler sees that a cell waits."""
        if time.monotonic() - self.counted_at >= COUNT_SECONDS:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self.room = sum(slots(node, self.cpus, self.gpus) for node in nodes)
            self.counted_at = time.monotonic()
        if not self.room and not self.has_warned:
            self.has_warned = True
            wanted = f"{self.cpus:g} CPUs"
            if self.gpus:
                wanted += f" and {self.gpus:g} GPUs"
            warning = f"no node of the cluster has the {wanted} of a cell: waiting for one"
            print(warning, file=sys.stderr)
        return self.jobs or max(1, self.room)

    def start(self, task: Task) -> None:
        """Lock a cell and send it out, with its files if it is to be resumed."""
        files = self.results.cell(task.key)
        lock = locks.take(files)
        if lock is None:
            self.events.append(Taken(task.key))
            return
        try:
            status = ownership.superseded(self.results.path, task)
            stream = None if status else self._send(task, files)
        except OSError as error:
            lock.release()
            reason = f"{error.filename or files.path} cannot be read: {error.strerror}"
            raise UserError(reason) from error
        except Exception:
            lock.release()
            raise
        if status:
            lock.release()
            self.events.append(Ended(task.key, status))
        else:
            self.in_flight[task.key] = SentCell(lock, stream, measured_like(task.cell))

    def _send(self, task: Task, files: CellFolder) -> Any:
        """Send a cell out. Returns the stream of what comes back."""
        contents: dict[str, bytes] = {}
        if any(checkpoint.exists() for checkpoint in checkpoints(files)):
            contents = {name: (files.path / name).read_bytes() for name in signatures(files)}
        protocol, measuring = self._measuring(task.cell)
        avoid = self.unfit.get(measured_like(task.cell), ())
        told: dict[str, Any] = {"measuring": measuring, "protocol": protocol}
        told |= {"execution": task.execution, "rung": task.rung}
        return self.send(avoid, cell=task.cell, contents=contents, **told)

    def wait(self, seconds: float) -> list[Event]:
        """What happened, after at most `seconds`."""
        streams = {cell.stream: key for key, cell in self.in_flight.items()}
        if not self.events and not streams:
            time.sleep(seconds)
        elif not self.events and ray.wait(list(streams), timeout=seconds)[0]:
            ready, _ = ray.wait(list(streams), num_returns=len(streams), timeout=0)
            keys = [streams[stream] for stream in ready]
            self.events = list(self.writers.map(self._receive, keys))
        events, self.events = self.events, []
        return events

    def kill(self, key: str) -> None:
        """End the worker of a cell at once."""
        cell = self.in_flight.pop(key)
        try:
            cancel(cell.stream, force=True)
        finally:
            cell.lock.release()

    def stop(self) -> None:
        """Ask every running cell to save a checkpoint and end; cancel those that have not begun."""
        self.flag.set.remote()
        for cell in self.in_flight.values():
            if not cell.has_begun:
                cancel(cell.stream)

    def close(self) -> None:
        """End all workers at once, and a cluster that was started here."""
        # Called in reverse order, whatever one of them raises
        with ExitStack() as ending:
            ending.callback(self.code.cleanup)
            ending.callback(ray.shutdown)
            ending.callback(self.writers.shutdown)
            for key in self.in_flight:
                ending.callback(self.kill, key)

    def _measuring(self, cell: Cell) -> tuple[str, dict[str, Any]]:
        """The protocol that this process measures the dataset of a cell under, and references to
        the files of the measuring cache that it uses: a node fetches them once."""
        name = measured_like(cell)
        if name not in self.measuring:
            device = self.measuring_device
            protocol = protocol_id(open_instrument(cell.dataset, cell.evaluation, device))
            cached = {path.name: ray.put(path.read_bytes()) for path in measured_with(cell, device)}
            self.measuring[name] = protocol, cached
        return self.measuring[name]

    def _receive(self, key: str) -> Event:
        """The next event of a cell, after its folder holds it. A cell that has ended is no longer
        in flight."""
        cell = self.in_flight[key]
        event: Event
        try:
            event = self._write(key, cell, ray.get(next(cell.stream)))
        except StopIteration:
            event = Lost(key, "its worker ended without a result", retry=False)
        except exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, UnfitError):
                event = self._avoid(key, cell, *cause.args)
            else:
                event = what_failed(key, error)
        except OSError as error:
            self.kill(key)
            return Fatal(key, f"{error.filename or self.results.path}: {error.strerror}")
        if not isinstance(event, Running):
            # Not cancelled: cancelling a task that is just ending may abort this process
            self.in_flight.pop(key).lock.release()
        return event

    def _avoid(self, key: str, cell: SentCell, node: str, reason: str) -> Event:
        """A node cannot measure a cell: run the cell, and all that are measured like it, on other
        nodes. If there is no other node, and none could so far, the run ends."""
        unfit = self.unfit.setdefault(cell.measured, set())
        unfit.add(node)
        others = [n for n in ray.nodes() if n["Alive"] and n["NodeID"] not in unfit]
        has_room = any(slots(other["Resources"], self.cpus, self.gpus) for other in others)
        if has_room or cell.measured in self.fit:
            return Lost(key, reason, retry=True)
        return Fatal(key, f"no node of the cluster can run {key}; {reason}")

    def _write(self, key: str, cell: SentCell, sent: Sent) -> Event:
        """Write what came back, rows first and the status last, then drop what the worker does not
        have. An event without files writes the status alone, and not too often.

        A checkpoint that is here when the next one arrives is whole: the worker has resumed from it
        or has sent it. Damaged ones are dropped, because the worker does not name them. Returns the
        event."""
        files = self.results.cell(key)
        cell.has_begun = True
        self.fit.add(cell.measured)
        is_due = time.monotonic() - cell.written_at >= STATUS_SECONDS
        if sent.names or is_due:
            newest, former = checkpoints(files)
            # The checkpoint comes last
            for name in sorted(sent.contents, key=lambda name: name == newest.name):
                if name == newest.name and newest.exists():
                    os.replace(newest, former)
                if name != files.status_file.name:
                    write_bytes(files.path / name, sent.contents[name])
            files.write_status(sent.event.status)
            cell.written_at = time.monotonic()
        if sent.names:
            drop_others(files, sent.names)
        return sent.event
