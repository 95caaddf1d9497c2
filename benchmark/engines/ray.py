"""A Ray cluster: a cell is a task that streams its events and its files; this process locks, writes and commits.

Nodes share nothing with this process but Ray. They get the code of this process, what its `prepare` put into the
measuring cache, and the checkpoint and rows of an unfinished cell; what a cell writes comes back at its start, at every
checkpoint and at its end, so that a cell whose node is lost goes on elsewhere. Datasets are each node's own.
"""

import json
import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from benchmark import UserError, claim, unknown
from benchmark.cell import ROOT, Cell, digest, write_bytes, write_json
from benchmark.checkpoint import NAMES
from benchmark.engines import Event, Task
from benchmark.environment import git_facts
from benchmark.measure import cache_folder, images, open_instrument, protocol_id
from benchmark.measure.extractors import classifier_weights
from benchmark.train import make_dataset

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers
os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")  # under `ray job submit`: ours joins the job's
try:
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as missing:
    raise UserError("--engine ray needs Ray: pip install 'ganbench[ray]'") from missing

from benchmark.engines.ray_node import Flag, Sent, run_remotely, states

STATUS_SECONDS = 5.0  # between two writes of a running cell's status.json
WRITERS = 32  # threads that write cells' folders
COUNT_SECONDS = 2.0  # between two looks at the cluster's nodes
NEW, BEFORE = NAMES


@dataclass
class Out:
    """A cell that is out on the cluster."""

    lock: Any
    stream: Any  # of Sent
    protocol: str  # under which this process measures its dataset
    begun: bool = False
    written: float = 0.0  # when its status.json was


class Pool:
    """The cells of a results folder on a Ray cluster: that at `address` (else $RAY_ADDRESS), or one started here."""

    def __init__(
        self,
        folder: Path,
        address: str | None,
        device: str,  # cpu, cuda, or auto: cuda where the cluster has GPUs
        jobs: int,  # cells asked of the cluster at once, be there room for them or not; 0: as many as fit now
        cpus: float,  # a cell's, and its threads
        gpus: float,  # a cell's share of a GPU; 0: a whole one
        checkpoint_every: float,  # seconds
    ) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise unknown("device of a Ray cluster", device, ["auto", "cpu", "cuda"])
        if jobs < 0:
            raise UserError(f"--jobs must not be negative, not {jobs}")
        if cpus <= 0 or (cpus > 1 and cpus % 1):
            raise UserError(f"--cpus-per-cell must be a share of one CPU or a number of whole ones, not {cpus:g}")
        if not 0 <= gpus <= 1 or (gpus and device == "cpu"):
            raise UserError(f"--gpus-per-cell must be a share of one GPU (and --device not cpu), not {gpus:g}")
        self.code = tempfile.TemporaryDirectory(prefix="ganbench-")
        connect(address or os.environ.get("RAY_ADDRESS") or "local", Path(self.code.name))
        if device == "auto":
            device = "cuda" if gpus or ray.cluster_resources().get("GPU") else "cpu"
        self.folder, self.jobs, self.cpus = folder, jobs, cpus
        self.gpus = (gpus or 1.0) if device == "cuda" else 0.0
        self.here = "cuda:0" if device == "cuda" and torch.cuda.is_available() else "cpu"  # where this process measures
        remote: Any = ray.remote
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.flag = remote(num_cpus=0, scheduling_strategy=here)(Flag).remote()
        task = remote(num_returns="streaming", max_retries=0, num_cpus=cpus, num_gpus=self.gpus)(run_remotely)
        self.send: Callable[..., Any] = partial(
            task.remote,
            flag=self.flag,
            device="cuda:0" if self.gpus else "cpu",  # Ray shows a task its own GPU alone
            threads=max(1, int(cpus)),
            checkpoint_every=checkpoint_every,
        )
        self.out: dict[str, Out] = {}
        self.events: list[Event] = []
        self.writers = ThreadPoolExecutor(WRITERS)  # most of a write is waiting for the disk
        self.measuring: dict[str, tuple[str, dict[str, Any]]] = {}
        self.room, self.counted, self.told = 0, -COUNT_SECONDS, False

    def capacity(self) -> int:
        """How many cells may run at once, as nodes come and go; at least one, so that an autoscaler sees what waits."""
        if time.monotonic() - self.counted >= COUNT_SECONDS:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self.room, self.counted = sum(slots(node, self.cpus, self.gpus) for node in nodes), time.monotonic()
        if not self.room and not self.told:
            self.told = True
            wanted = f"{self.cpus:g} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")
            print(f"no node of the cluster has the {wanted} of a cell: waiting for one", file=sys.stderr)
        return self.jobs or max(1, self.room)

    def start(self, task: Task) -> None:
        """Take a cell's lock and send it out, with its files where it is to be continued."""
        cell, path = task.cell, self.folder / "cells" / task.cell.key
        lock = claim.take(self.folder, cell.key)
        if lock is None:
            self.events.append({"key": cell.key, "status": "taken"})
            return
        if event := claim.superseded(self.folder, task):
            lock.release()
            self.events.append(event)
            return
        unfinished = not task.force and any((path / name).exists() for name in NAMES)
        files = {name: (path / name).read_bytes() for name in states(path)} if unfinished else {}
        protocol, measuring = self._measuring(cell)
        stream = self.send(cell=cell, files=files, measuring=measuring, force=task.force)
        self.out[cell.key] = Out(lock, stream, protocol)

    def wait(self, seconds: float) -> list[Event]:
        """What happened, at most `seconds` later."""
        streams = {out.stream: key for key, out in self.out.items()}
        if not self.events and not streams:
            time.sleep(seconds)
        elif not self.events and ray.wait(list(streams), timeout=seconds)[0]:
            ready, _ = ray.wait(list(streams), num_returns=len(streams), timeout=0)
            self.events = list(self.writers.map(self._receive, [streams[stream] for stream in ready]))
        events, self.events = self.events, []
        return events

    def kill(self, key: str) -> None:
        """End the worker of a cell at once."""
        out = self.out.pop(key)
        ray.cancel(out.stream, force=True)
        out.lock.release()

    def stop(self) -> None:
        """Ask every running cell to save a checkpoint and end; one that has not begun is called off."""
        self.flag.set.remote()
        for out in self.out.values():
            if not out.begun:
                ray.cancel(out.stream)

    def close(self) -> None:
        """End all workers at once, and a cluster that was started here."""
        for key in list(self.out):
            self.kill(key)
        self.writers.shutdown()
        ray.shutdown()
        self.code.cleanup()

    def _measuring(self, cell: Cell) -> tuple[str, dict[str, Any]]:
        """The protocol this process measures a cell's dataset under, and references to the files it does so with: a
        node fetches them once."""
        name = digest([cell.dataset.label, cell.dataset.where, cell.evaluation])
        if name not in self.measuring:
            protocol = protocol_id(open_instrument(cell.dataset, cell.evaluation, self.here))
            files = {path.name: ray.put(path.read_bytes()) for path in measured_with(cell, self.here)}
            self.measuring[name] = protocol, files
        return self.measuring[name]

    def _receive(self, key: str) -> Event:
        """The next event of a cell, once its folder says as much. A cell that has ended is no longer out."""
        out = self.out[key]
        try:
            event = self._write(key, out, ray.get(next(out.stream)))
        except StopIteration:
            event = lost(key, "its worker ended without a result", False)
        except exceptions.RayError as error:
            event = what_failed(key, error)
        except OSError as error:
            event = {"key": key, "status": "fatal", "reason": f"{error.filename or self.folder}: {error.strerror}"}
        if event["status"] in ("lost", "fatal"):
            self.kill(key)
        elif event["status"] != "running":
            self.out.pop(key).lock.release()
        return event

    def _write(self, key: str, out: Out, sent: Sent) -> Event:
        """Write what came back, rows first and status last, then drop what the worker does not have; without files
        the status alone, and not too often. Returns the event; of a cell measured otherwise than here, that it is
        lost, and nothing is written."""
        event, files, names = sent
        path, out.begun = self.folder / "cells" / key, True
        if event.get("protocol", out.protocol) != out.protocol:
            other = f"its node measures under protocol {event['protocol']}, this machine under {out.protocol}"
            return lost(key, f"{other}: the dataset or the extractor is another one there", True)
        if names or time.monotonic() - out.written >= STATUS_SECONDS:
            for name in sorted(files.keys() - {"status.json"}, key=lambda name: name == NEW):  # the checkpoint last
                if name == NEW and (path / NEW).exists():
                    os.replace(path / NEW, path / BEFORE)
                write_bytes(path / name, files[name])
            write_json(path / "status.json", {name: value for name, value in event.items() if name != "checkpoint"})
            out.written = time.monotonic()
        for name in states(path).keys() - names if names else ():
            (path / name).unlink()
        return event


def connect(address: str, code: Path) -> None:
    """Connect to a Ray cluster (`local`: start one here) whose workers run a copy of this code."""
    if address.startswith("ray://"):
        raise UserError(
            f"--address {address}: Ray Client hands no results back as they come; run it on the cluster instead: "
            "ray job submit --address http://HEAD:8265 -- ganbench run --engine ray --address auto"
        )
    if address not in ("auto", "local"):
        answers(address)
    for package in ("benchmark", "variants"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    variables = {"GANBENCH_GIT": json.dumps(git_facts())}
    if os.environ.get("GANBENCH_OFFLINE"):
        variables["GANBENCH_OFFLINE"] = os.environ["GANBENCH_OFFLINE"]
    try:
        ray.init(
            address,
            runtime_env={"working_dir": str(code), "env_vars": variables},
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, exceptions.RayError) as error:
        token = "" if address in ("auto", "local") else " (a cluster that asks for a token: set RAY_AUTH_MODE=token)"
        raise UserError(f"--address {address}: {' '.join(str(error).split())}{token}") from error


def answers(address: str) -> None:
    """Raises UserError where nothing answers at HOST:PORT: Ray itself would try for minutes."""
    try:
        there = urlsplit(f"//{address}")
        socket.create_connection((there.hostname or "", there.port or 0), timeout=10).close()
    except (OSError, ValueError) as error:
        message = f"no Ray cluster answers there ({error}); valid: auto (on one of its nodes), or its head's HOST:PORT"
        raise UserError(f"--address {address}: {message}") from error


def slots(resources: dict[str, float], cpus: float, gpus: float) -> int:
    """How many cells a node's resources have room for: no cell has parts of two GPUs."""
    room = resources.get("CPU", 0) / cpus
    if gpus:
        room = min(room, int(resources.get("GPU", 0)) * int(1 / gpus + 1e-6))
    return int(room + 1e-6)


def measured_with(cell: Cell, device: str) -> list[Path]:
    """The files of the measuring cache that this process has for a cell's dataset: a classifier trained here, features
    of the real images, their radii."""
    instrument = open_instrument(cell.dataset, cell.evaluation, device)
    if not isinstance(instrument, images.Instrument) or (radii := instrument.reference.radii_file) is None:
        return []
    found = [radii, radii.with_name(f"{radii.stem.partition('-')[2]}.npz")]
    if cell.evaluation["extractor"] == "classifier" and not cell.evaluation["extractor_weights"]:
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
        return lost(key, "the worker died on its node; most often for lack of memory", False)
    if isinstance(cause, UserError | OSError):  # of the node's disk
        return lost(key, f"its node: {cause}", True)
    if isinstance(cause, ImportError) or isinstance(error, exceptions.RuntimeEnvSetupError):
        return {"key": key, "status": "fatal", "reason": f"a node cannot run cells ({reason}); install ganbench there"}
    return lost(key, f"the worker failed: {reason}", False)
