"""A Ray cluster: a cell is a task that streams its events and its files; this process locks, writes
and commits.

Nodes share nothing with this process but Ray. They get the code of this process, what its `prepare`
put into the measuring cache, and the checkpoint and rows of an unfinished cell; what a cell writes
comes back at its start, at every checkpoint and at its end, so that a cell whose node is lost goes
on elsewhere. Datasets are each node's own: a node that lacks one, or has another one under its
name, is passed over."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import Cell, digest
from benchmark.measure import images
from benchmark.measure.extractors import classifier_weights
from benchmark.measure.instrument import open_instrument
from benchmark.measure.protocol import cache_folder, protocol_id
from benchmark.run import ownership
from benchmark.run.checkpoint import NAMES
from benchmark.run.engines.base import Event, Task
from benchmark.store import locks as claim
from benchmark.store.files import write_bytes, write_json
from benchmark.train.data import make_dataset

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers
os.environ.setdefault(
    "RAY_OVERRIDE_JOB_RUNTIME_ENV", "1"
)  # under `ray job submit`: ours joins the job's
try:
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as missing:
    raise UserError("--engine ray needs Ray: pip install 'ganbench[ray]'") from missing

from benchmark.run.engines.ray_cluster import connect, slots
from benchmark.run.engines.ray_node import Flag, Sent, UnfitError, run_remotely, states

STATUS_SECONDS = 5.0  # between two writes of a running cell's status.json
WRITERS = 32  # threads that write cells' folders
COUNT_SECONDS = 2.0  # between two looks at the cluster's nodes
NEW, BEFORE = NAMES


@dataclass
class Out:
    """A cell that is out on the cluster."""

    lock: Any
    stream: Any  # of Sent
    measured: str  # dataset and evaluation, as `measured_like`
    begun: bool = False
    written: float = 0.0  # when its status.json was


class Pool:
    """The cells of a results folder on a Ray cluster: that at `address` (else $RAY_ADDRESS), or one
    started here."""

    def __init__(
        self,
        folder: Path,
        address: str | None,
        device: str,  # cpu, cuda, or auto: cuda where the cluster has GPUs
        # cells asked of the cluster at once, be there room for them or not; 0: as many as fit now
        jobs: int,
        cpus: float,  # a cell's, and its threads
        gpus: float,  # a cell's share of a GPU; 0: a whole one
        checkpoint_every: float,  # seconds
        execution: str = "auto",  # of the training
    ) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise unknown("device of a Ray cluster", device, ["auto", "cpu", "cuda"])
        if jobs < 0:
            raise UserError(f"--jobs must not be negative, not {jobs}")
        if cpus <= 0 or (cpus > 1 and cpus % 1):
            raise UserError(
                f"--cpus-per-cell must be a share of one CPU or a number of whole ones, not {cpus:g}"
            )
        if not 0 <= gpus <= 1 or (gpus and device == "cpu"):
            raise UserError(
                f"--gpus-per-cell must be a share of one GPU (and --device not cpu), not {gpus:g}"
            )
        self.code = tempfile.TemporaryDirectory(prefix="ganbench-")
        connect(address or os.environ.get("RAY_ADDRESS") or "local", Path(self.code.name))
        if device == "auto":
            device = "cuda" if gpus or ray.cluster_resources().get("GPU") else "cpu"
        self.folder, self.jobs, self.cpus = folder, jobs, cpus
        self.gpus = (gpus or 1.0) if device == "cuda" else 0.0
        self.here = (
            "cuda:0" if device == "cuda" and torch.cuda.is_available() else "cpu"
        )  # where this process measures
        remote: Any = ray.remote
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        lasting = {"max_restarts": -1, "max_task_retries": -1}
        self.flag = remote(num_cpus=0, scheduling_strategy=here, **lasting)(Flag).remote()
        self.send: Callable[..., Any] = partial(
            send,
            remote(num_returns="streaming", max_retries=0, num_cpus=cpus, num_gpus=self.gpus)(
                run_remotely
            ),
            flag=self.flag,
            device="cuda:0" if self.gpus else "cpu",  # Ray shows a task its own GPU alone
            threads=max(1, int(cpus)),
            checkpoint_every=checkpoint_every,
            execution=execution,
        )
        self.out: dict[str, Out] = {}
        self.events: list[Event] = []
        self.writers = ThreadPoolExecutor(WRITERS)  # most of a write is waiting for the disk
        self.measuring: dict[str, tuple[str, dict[str, Any]]] = {}
        self.fit: set[str] = set()  # what some node can measure
        self.unfit: dict[str, set[str]] = {}  # the nodes that cannot, by what they cannot measure
        self.room, self.counted, self.told = 0, -COUNT_SECONDS, False

    def capacity(self) -> int:
        """How many cells may run at once, as nodes come and go; at least one, so that an autoscaler
        sees what waits."""
        if time.monotonic() - self.counted >= COUNT_SECONDS:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self.room, self.counted = (
                sum(slots(node, self.cpus, self.gpus) for node in nodes),
                time.monotonic(),
            )
        if not self.room and not self.told:
            self.told = True
            wanted = f"{self.cpus:g} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")
            print(
                f"no node of the cluster has the {wanted} of a cell: waiting for one",
                file=sys.stderr,
            )
        return self.jobs or max(1, self.room)

    def start(self, task: Task) -> None:
        """Take a cell's lock and send it out, with its files where it is to be continued."""
        cell, path = task.cell, self.folder / "cells" / task.cell.key
        lock = claim.take(self.folder, cell.key)
        if lock is None:
            self.events.append({"key": cell.key, "status": "taken"})
            return
        try:
            event = ownership.superseded(self.folder, task)
            stream = None if event else self._send(task, path)
        except Exception as error:
            lock.release()
            if isinstance(error, OSError):
                raise UserError(
                    f"{error.filename or path} cannot be read: {error.strerror}"
                ) from error
            raise
        if event:
            lock.release()
            self.events.append(event)
        else:
            self.out[cell.key] = Out(lock, stream, measured_like(cell))

    def _send(self, task: Task, path: Path) -> Any:
        """Send a cell out. Returns the stream of what comes back."""
        unfinished = any((path / name).exists() for name in NAMES)
        files = {name: (path / name).read_bytes() for name in states(path)} if unfinished else {}
        protocol, measuring = self._measuring(task.cell)
        avoid = self.unfit.get(measured_like(task.cell), ())
        return self.send(avoid, cell=task.cell, files=files, measuring=measuring, protocol=protocol)

    def wait(self, seconds: float) -> list[Event]:
        """What happened, at most `seconds` later."""
        streams = {out.stream: key for key, out in self.out.items()}
        if not self.events and not streams:
            time.sleep(seconds)
        elif not self.events and ray.wait(list(streams), timeout=seconds)[0]:
            ready, _ = ray.wait(list(streams), num_returns=len(streams), timeout=0)
            self.events = list(
                self.writers.map(self._receive, [streams[stream] for stream in ready])
            )
        events, self.events = self.events, []
        return events

    def kill(self, key: str) -> None:
        """End the worker of a cell at once."""
        out = self.out.pop(key)
        try:
            cancel(out.stream, force=True)
        finally:
            out.lock.release()

    def stop(self) -> None:
        """Ask every running cell to save a checkpoint and end; one that has not begun is called
        off."""
        self.flag.set.remote()
        for out in self.out.values():
            if not out.begun:
                cancel(out.stream)

    def close(self) -> None:
        """End all workers at once, and a cluster that was started here."""
        with ExitStack() as ending:  # from the last to the first, whatever one of them raises
            ending.callback(self.code.cleanup)
            ending.callback(ray.shutdown)
            ending.callback(self.writers.shutdown)
            for key in self.out:
                ending.callback(self.kill, key)

    def _measuring(self, cell: Cell) -> tuple[str, dict[str, Any]]:
        """The protocol this process measures a cell's dataset under, and references to the files it
        does so with: a node fetches them once."""
        name = measured_like(cell)
        if name not in self.measuring:
            protocol = protocol_id(open_instrument(cell.dataset, cell.evaluation, self.here))
            files = {
                path.name: ray.put(path.read_bytes()) for path in measured_with(cell, self.here)
            }
            self.measuring[name] = protocol, files
        return self.measuring[name]

    def _receive(self, key: str) -> Event:
        """The next event of a cell, once its folder says as much. A cell that has ended is no
        longer out."""
        out = self.out[key]
        try:
            event = self._write(key, out, ray.get(next(out.stream)))
        except StopIteration:
            event = lost(key, "its worker ended without a result", False)
        except exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            event = (
                self._avoid(key, out, *cause.args)
                if isinstance(cause, UnfitError)
                else what_failed(key, error)
            )
        except OSError as error:
            self.kill(key)
            return {
                "key": key,
                "status": "fatal",
                "reason": f"{error.filename or self.folder}: {error.strerror}",
            }
        if event["status"] != "running":
            self.out.pop(
                key
            ).lock.release()  # no cancel: of a task that is just ending, it may abort this process
        return event

    def _avoid(self, key: str, out: Out, node: str, reason: str) -> Event:
        """A cell runs elsewhere that its node cannot measure, as do from now on all that are
        measured like it. Where no other node is there, and none could so far, the run ends."""
        unfit = self.unfit.setdefault(out.measured, set())
        unfit.add(node)
        others = [each for each in ray.nodes() if each["Alive"] and each["NodeID"] not in unfit]
        if out.measured in self.fit or any(
            slots(each["Resources"], self.cpus, self.gpus) for each in others
        ):
            return lost(key, reason, True)
        return {
            "key": key,
            "status": "fatal",
            "reason": f"no node of the cluster can run {key}; {reason}",
        }

    def _write(self, key: str, out: Out, sent: Sent) -> Event:
        """Write what came back, rows first and status last, then drop what the worker does not
        have; without files the status alone, and not too often. A checkpoint that is there when the
        next one comes is whole: the worker has gone on from it, or has sent it; damaged ones it has
        dropped, as its first names say. Returns the event."""
        event, files, names = sent
        path, out.begun = self.folder / "cells" / key, True
        self.fit.add(out.measured)
        if names or time.monotonic() - out.written >= STATUS_SECONDS:
            for name in sorted(
                files.keys() - {"status.json"}, key=lambda name: name == NEW
            ):  # the checkpoint last
                if name == NEW and (path / NEW).exists():
                    os.replace(path / NEW, path / BEFORE)
                write_bytes(path / name, files[name])
            write_json(
                path / "status.json",
                {name: value for name, value in event.items() if name != "checkpoint"},
            )
            out.written = time.monotonic()
        for file in list(path.rglob("*")) if names else ():
            if (
                file.is_file()
                and file.name != ".lock"
                and file.relative_to(path).as_posix() not in names
            ):
                file.unlink()
        return event


def send(task: Any, avoid: Collection[str], **arguments: Any) -> Any:
    """Start a Ray task on any node but these."""
    selector = {"ray.io/node-id": f"!in({','.join(avoid)})"} if avoid else None
    return task.options(label_selector=selector).remote(**arguments)


def cancel(stream: Any, force: bool = False) -> None:
    """End a Ray task."""
    with suppress(exceptions.RayError):  # it is gone anyway
        ray.cancel(stream, force=force)


def measured_like(cell: Cell) -> str:
    """Equal for cells that a node measures with the same instrument."""
    return digest([cell.dataset.label, cell.dataset.where, cell.evaluation.plain()])


def measured_with(cell: Cell, device: str) -> list[Path]:
    """The files of the measuring cache that this process has for a cell's dataset: a classifier
    trained here, features of the real images, their radii."""
    instrument = open_instrument(cell.dataset, cell.evaluation, device)
    if (
        not isinstance(instrument, images.Instrument)
        or (radii := instrument.reference.radii_file) is None
    ):
        return []
    found = [radii, radii.with_name(f"{radii.stem.partition('-')[2]}.npz")]
    if cell.evaluation.extractor == "classifier" and not cell.evaluation.extractor_weights:
        found.append(classifier_weights(make_dataset(cell.dataset)))
    return [path for path in found if path.parent == cache_folder() and path.exists()]


def lost(key: str, reason: str, retry: bool) -> Event:
    return {"key": key, "status": "lost", "reason": reason, "retry": retry}


def what_failed(key: str, error: exceptions.RayError) -> Event:
    """What an exception of a task says of its cell."""
    cause = getattr(error, "cause", None) or error
    reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:500]}"
    if isinstance(error, exceptions.TaskCancelledError):
        return {"key": key, "status": "interrupted", "reason": None}
    if isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError):
        return lost(key, "its node was lost", True)
    if isinstance(error, exceptions.OutOfMemoryError):
        change = "a smaller batch, a smaller evaluation.n_real or more --cpus-per-cell"
        return lost(key, f"the worker was killed: its node is short of memory; try {change}", False)
    if isinstance(error, exceptions.WorkerCrashedError):
        return lost(
            key,
            "the worker died on its node: most often for lack of memory, or as the node went",
            True,
        )
    if isinstance(cause, UserError | OSError):  # of the node's disk
        return lost(key, f"its node: {cause}", True)
    if isinstance(cause, ImportError) or isinstance(error, exceptions.RuntimeEnvSetupError):
        return {
            "key": key,
            "status": "fatal",
            "reason": f"a node cannot run cells ({reason}); install ganbench there",
        }
    return lost(key, f"the worker failed: {reason}", False)
