"""What of the Ray engine runs on a node of the cluster: a cell in a scratch folder, and what ends
it early."""

import math
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock
from ray import exceptions

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.run.engines.base import Event
from benchmark.store.files import read_bytes, write_bytes
from benchmark.store.locks import lock_file
from benchmark.text import one_line

EVENT_SECONDS = 1.0  # between two events of a cell, and between two looks at the flag
ANSWER_SECONDS = 10.0  # that the flag may take to answer
PATIENCE = 5.0  # seconds that a step or a measurement may still take once the cell has to end
UNLOCKED_SECONDS = 60.0  # that a scratch folder may be there without its lock

Sent = tuple[
    Event, dict[str, bytes], list[str]
]  # an event, the files that changed, the names of all there are


class Flag:
    """Whether cells have to end: an actor that they ask now and then. Its process imports no
    torch."""

    def __init__(self) -> None:
        self.value = False

    def set(self) -> None:
        self.value = True

    def get(self) -> bool:
        return self.value


class UnfitError(Exception):
    """This node cannot run a cell that others may be able to: its id, and why in one line."""


class Listener:
    """Hears beside the training when cells have to end: `stop` tells the training, and what does
    not ask within some seconds, a long step or measurement, is interrupted. To be made in the main
    thread, where the cell runs."""

    def __init__(self, flag: Callable[[], bool]) -> None:
        self.asked, self.ended = threading.Event(), threading.Event()
        self.interruptible = False  # the cell is at work and has not been told yet
        signal.signal(signal.SIGALRM, self._interrupt)
        threading.Thread(
            target=self._listen, args=(flag, threading.get_ident()), daemon=True
        ).start()

    def stop(self) -> bool:
        """Whether the cell has to end; it is then left to save its checkpoint."""
        if self.asked.is_set():
            self.interruptible = False
            return True
        return False

    def next(self, events: Generator[Event, None, None]) -> Event | None:
        """The cell's next event, None after its last."""
        from benchmark.run.run_cell import Interrupted

        try:
            self.interruptible = True
            return next(events, None)
        except Interrupted:  # it struck between two events
            return events.throw(Interrupted)
        finally:
            self.interruptible = False

    def _listen(self, flag: Callable[[], bool], thread: int) -> None:
        while not self.asked.is_set() and not self.ended.wait(EVENT_SECONDS):
            with suppress(
                exceptions.RayError
            ):  # its process is gone, for a while: nobody has asked
                if flag():
                    self.asked.set()
        while not self.ended.wait(PATIENCE):
            signal.pthread_kill(thread, signal.SIGALRM)

    def _interrupt(self, signum: int, frame: Any) -> None:
        from benchmark.run.run_cell import Interrupted

        if self.interruptible:
            self.interruptible = False
            raise Interrupted


def run_remotely(
    cell: Cell,
    files: dict[str, bytes],  # of the cell's folder, if it is to go on from there
    measuring: dict[str, Any],  # name -> reference to a file of the measuring cache
    protocol: str,  # under which the driver measures the cell's dataset
    flag: Any,
    device: str,
    threads: int,
    checkpoint_every: float,
    execution: str = "auto",
) -> Iterator[Sent]:
    """Run a cell, yielding its events about once a second: its files with the first, with that of
    every checkpoint, and with the last; else no names. The checkpoint before the last is not sent:
    the other side has it. Raises UnfitError before the cell is begun."""
    import torch
    from threadpoolctl import threadpool_limits

    from benchmark.measure.protocol import cache_folder
    from benchmark.run.checkpoint import NAMES
    from benchmark.run.run_cell import run_cell

    torch.set_num_threads(threads)
    threadpool_limits(threads)  # NumPy's linear algebra has a pool of its own
    for name, reference in measuring.items():
        keep(cache_folder() / name, reference)
    if reason := unfit(cell, protocol, device):
        raise UnfitError(
            ray.get_runtime_context().get_node_id(), f"node {socket.gethostname()}: {reason}"
        )
    said = -math.inf
    folder, lock = scratch_folder()
    path = folder / "cells" / cell.key
    listener = Listener(lambda: ray.get(flag.get.remote(), timeout=ANSWER_SECONDS))
    try:
        for name, content in files.items():
            write_bytes(path / name, content)
        before = states(path)
        events = run_cell(cell, folder, device, listener.stop, checkpoint_every, execution)
        while event := listener.next(events):
            if said < 0 or event.get("checkpoint") or event["status"] != "running":
                now = states(path)
                changed = [
                    name for name in now if now[name] != before.get(name) and name != NAMES[1]
                ]
                yield event, {name: (path / name).read_bytes() for name in changed}, list(now)
                before, said = now, time.monotonic()
            elif time.monotonic() - said >= EVENT_SECONDS:
                yield event, {}, []
                said = time.monotonic()
    finally:
        listener.ended.set()
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def unfit(cell: Cell, protocol: str, device: str) -> str | None:
    """Why this node cannot run a cell whose dataset the driver has opened and measures under
    `protocol`. What else is wrong here `run_cell` finds."""
    from benchmark.measure.instrument import open_instrument
    from benchmark.measure.protocol import protocol_id
    from benchmark.train.data import make_dataset

    with suppress(Exception):
        try:
            make_dataset(cell.dataset).splits  # noqa: B018  loads it
            here = protocol_id(open_instrument(cell.dataset, cell.evaluation, device))
        except (OSError, ValueError, UserError) as error:
            return f"dataset {cell.dataset.label}: {one_line(error)}"
        if here != protocol:
            other = f"dataset {cell.dataset.label} or its extractor is another one there"
            return f"{other}, measured under protocol {here} and not {protocol}"
    return None


def keep(path: Path, reference: Any) -> None:
    """Fetch a file of the measuring cache that is not here. A classifier's name says what it was
    trained on, not what came of it: one trained on this node gives way to the driver's, so that all
    nodes measure with the same one."""
    if path.name.startswith("classifier") or not path.exists():
        content = ray.get(reference)
        if read_bytes(path) != content:
            write_bytes(path, content)


def scratch_folder() -> tuple[Path, FileLock]:
    """An empty folder of this process, and its lock; folders whose processes were killed are
    removed."""
    temporary = Path(tempfile.gettempdir())
    for folder in temporary.glob("ganbench-cell-*"):
        with suppress(OSError):  # a lock that is held is one, too
            if time.time() - folder.stat().st_mtime > UNLOCKED_SECONDS:
                lock_file(folder / ".lock", 0).release()
                shutil.rmtree(folder)
    folder = (
        temporary / f"ganbench-cell-{ray.get_runtime_context().get_node_id()[:16]}-{os.getpid()}"
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder, lock_file(folder / ".lock", 0)


def states(path: Path) -> dict[str, tuple[int, int, int]]:
    """The files of a cell's folder by name, `/` between parts, with what changes when one is
    written; without the lock and what a writer has left that was killed."""
    files = [
        file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")
    ]
    stats = {file.relative_to(path).as_posix(): file.stat() for file in files}
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
