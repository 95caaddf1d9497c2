"""A Ray cluster: connecting to it, what its nodes need and have room for, tasks and their failures.
Import this module only if Ray is installed."""

import json
import logging
import os
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray import exceptions
from ray._private import ray_constants

import variants
from benchmark.errors import UserError, unknown
from benchmark.machine.environment import git_facts
from benchmark.machine.limits import available_cores
from benchmark.matrix.cell import Cell, digest
from benchmark.measure import images
from benchmark.measure.features.classifier import classifier_weights
from benchmark.measure.instrument import open_instrument
from benchmark.measure.protocol import cache_folder
from benchmark.run.events import Ended, Event, Fatal, Lost, RaceTask, not_raced
from benchmark.store.code import ROOT
from benchmark.store.schema import Race, RunStatus, Status
from benchmark.text import described, one_line
from benchmark.train.data import make_dataset
from variants import _variables


@dataclass(frozen=True)
class Resources:
    """What a run asks of a cluster."""

    device: str = "auto"
    """cpu, cuda, or auto: cuda if the cluster has GPUs."""

    jobs: int = 0
    """Cells that are handed out at the same time, with or without room for them; 0: as many as fit
    now."""

    cpus: float = 1.0
    """CPUs of a cell, and its threads."""

    gpus: float = 0.0
    """Share of a GPU of a cell; 0: a whole one."""

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise unknown("device of a Ray cluster", self.device, ["auto", "cpu", "cuda"])
        if self.jobs < 0:
            raise UserError(f"--jobs must not be negative, not {self.jobs}")
        if self.cpus <= 0 or (self.cpus > 1 and self.cpus % 1):
            raise UserError(
                "--cpus-per-cell must be a share of one CPU or a number of whole ones, not "
                f"{self.cpus:g}"
            )
        if not 0 <= self.gpus <= 1 or (self.gpus and self.device == "cpu"):
            raise UserError(
                "--gpus-per-cell must be a share of one GPU (and --device not cpu), not "
                f"{self.gpus:g}"
            )


def connect(address: str, code: Path) -> None:
    """Connect to a Ray cluster (`local`: start one here) whose workers run a copy of this code."""
    if address.startswith("ray://"):
        raise UserError(
            f"--address {address}: Ray Client hands no results back as they come; run it on the "
            "cluster instead: ray job submit --address http://HEAD:8265 -- ganbench run --engine "
            "ray --address auto"
        )
    if address not in ("auto", "local"):
        answers(address)
    for package in ("benchmark", "variants"):
        _copy(ROOT / package, code / package)
    facts = git_facts()
    variables = {"GANBENCH_GIT": json.dumps(facts.plain() if facts else None)}
    if _variables.flag("GANBENCH_OFFLINE"):
        variables["GANBENCH_OFFLINE"] = "1"
    if variants.folders():
        variables[variants.VARIABLE] = _copy_own_variants(code)
    options: dict[str, Any] = {}
    around: AbstractContextManager[None] = nullcontext()
    if address == "local":
        options = {"include_dashboard": False, "num_cpus": available_cores()}
        around = _on_loopback()
    try:
        with around:
            ray.init(
                address,
                runtime_env={"working_dir": str(code), "env_vars": variables},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
    except (ConnectionError, RuntimeError, ValueError, exceptions.RayError) as error:
        token = (
            ""
            if address in ("auto", "local")
            else " (a cluster that asks for a token: set RAY_AUTH_MODE=token)"
        )
        raise UserError(f"--address {address}: {one_line(error)}{token}") from error


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Within the block Ray starts a cluster whose ports only this machine reaches: it does so where
    it has no clusters of several machines, as on macOS."""
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, enabled = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def _copy_own_variants(code: Path) -> str:
    """Copy the user's folders of variants. Returns what GANBENCH_VARIANTS is on a node, where a
    worker starts in the copy of the code."""
    names = []
    for index, folder in enumerate(variants.folders()):
        name = f"own_variants/{index}"
        for axis in variants.AXES:
            if (folder / axis).is_dir():
                _copy(folder / axis, code / name / axis)
        names.append(name)
    return os.pathsep.join(names)


def answers(address: str) -> None:
    """Raises UserError where nothing answers at HOST:PORT: Ray itself would try for minutes."""
    try:
        there = urlsplit(f"//{address}")
        socket.create_connection((there.hostname or "", there.port or 0), timeout=10).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"--address {address}: no Ray cluster answers there ({error}); valid: auto (on one of "
            "its nodes), or its head's HOST:PORT"
        ) from error


def slots(resources: dict[str, float], cpus: float, gpus: float) -> int:
    """How many cells a node's resources have room for: no cell has parts of two GPUs."""
    room = resources.get("CPU", 0) / cpus
    if gpus:
        room = min(room, int(resources.get("GPU", 0)) * int(1 / gpus + 1e-6))
    return int(room + 1e-6)


def send(task: Any, avoid: Collection[str], **arguments: Any) -> Any:
    """Start a Ray task on any node but these."""
    selector = {"ray.io/node-id": f"!in({','.join(avoid)})"} if avoid else None
    return task.options(label_selector=selector).remote(**arguments)


def race(task: Any, contest: RaceTask, **arguments: Any) -> Race:
    """Race the objectives of a place on any node; waits for one with room."""
    try:
        return ray.get(task.remote(task=contest, **arguments))
    except exceptions.RayError as error:
        return not_raced(contest, described(getattr(error, "cause", None) or error))


def cancel(stream: Any, force: bool = False) -> None:
    """End a Ray task; one that is gone already is fine."""
    with suppress(exceptions.RayError):
        ray.cancel(stream, force=force)


def what_failed(key: str, error: exceptions.RayError) -> Event:
    """What an exception of a task says of its cell."""
    if isinstance(error, exceptions.TaskCancelledError):
        return Ended(key, Status(key=key, status=RunStatus.INTERRUPTED))
    cause = getattr(error, "cause", None) or error
    reason = described(cause)
    if isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError):
        return Lost(key, "its node was lost", retry=True)
    if isinstance(error, exceptions.OutOfMemoryError):
        change = "a smaller batch, a smaller evaluation.n_real or more --cpus-per-cell"
        reason = f"the worker was killed: its node is short of memory; try {change}"
        return Lost(key, reason, retry=False)
    if isinstance(error, exceptions.WorkerCrashedError):
        reason = (
            "the worker died on its node: most often for lack of memory, or because the node went"
        )
        return Lost(key, reason, retry=True)
    if isinstance(cause, UserError | OSError):
        # The disk of the node
        return Lost(key, f"its node: {cause}", retry=True)
    if isinstance(cause, ImportError) or isinstance(error, exceptions.RuntimeEnvSetupError):
        return Fatal(key, f"a node cannot run cells ({reason}); install ganbench there")
    return Lost(key, f"the worker failed: {reason}", retry=False)


def measured_like(cell: Cell) -> str:
    """Equal for cells that a node measures with the same instrument."""
    return digest([cell.dataset.label, cell.dataset.where, cell.evaluation.plain()])


def measured_with(cell: Cell, device: str) -> list[Path]:
    """The files of the measuring cache that this process has for the dataset of a cell: a
    classifier trained here, features of both splits, the neighbours of the training images. With
    them a node computes the same bits: its own features may differ in the last one."""
    instrument = open_instrument(cell.dataset, cell.evaluation, device)
    if not isinstance(instrument, images.Instrument):
        return []
    reference = instrument.reference
    paths = [*reference.feature_files]
    if reference.neighbours_file:
        paths.append(reference.neighbours_file)
    if cell.evaluation.extractor == "classifier" and not cell.evaluation.extractor_weights:
        paths.append(classifier_weights(make_dataset(cell.dataset)))
    return [path for path in paths if path.parent == cache_folder() and path.exists()]
