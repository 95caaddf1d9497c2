"""What the Ray engine runs on a node of the cluster: a cell in a scratch folder."""

import math
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray import exceptions

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.matrix.search.part import Rung
from benchmark.run.engines.patience import PATIENCE
from benchmark.run.events import Ended, RaceTask, Running
from benchmark.store.files import read_bytes, write_bytes
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.locks import Lock, Locked
from benchmark.store.schema import Race
from benchmark.text import one_line

EVENT_SECONDS = 1.0  # between two events of a cell, and between two looks at the flag
ANSWER_SECONDS = 10.0  # that the flag may take to answer
UNLOCKED_SECONDS = 60.0  # that a scratch folder may be there without its lock

Signature = tuple[int, int, int]


class Sent(NamedTuple):
    """What a node sends to the driver."""

    event: Running | Ended

    contents: dict[str, bytes]
    """The files of the cell that changed, by name."""

    names: list[str]
    """All files of the cell; empty if only the event is sent."""


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
    """This node cannot run a cell that other nodes may be able to run. Its arguments: id of the
    node, reason in one line."""


class Listener:
    """Asks the flag in a thread, and interrupts the cell.

    `stop` tells the training to end; a step or a measurement that does not call `stop` within
    PATIENCE is interrupted. Make a listener in the main thread, where the cell runs."""

    def __init__(self, flag: Callable[[], bool]) -> None:
        self.asked, self.ended = threading.Event(), threading.Event()
        self.interruptible = False  # the cell is at work and has not been told yet
        signal.signal(signal.SIGALRM, self._interrupt)
        arguments = (flag, threading.get_ident())
        threading.Thread(target=self._listen, args=arguments, daemon=True).start()

    def stop(self) -> bool:
        """Whether the cell has to end. A cell that was told so is not interrupted: it saves its
        checkpoint."""
        if self.asked.is_set():
            self.interruptible = False
            return True
        return False

    def next(self, events: Any) -> Running | Ended | None:
        """The next event of a cell; None after the last one."""
        from benchmark.run.cell.cell_run import Interrupted

        try:
            self.interruptible = True
            return next(events, None)
        except Interrupted:
            # The signal arrived between two events
            return events.throw(Interrupted)
        finally:
            self.interruptible = False

    def _listen(self, flag: Callable[[], bool], thread: int) -> None:
        while not self.asked.is_set() and not self.ended.wait(EVENT_SECONDS):
            # If the process of the flag is gone, nothing has asked the cell to end
            with suppress(exceptions.RayError):
                if flag():
                    self.asked.set()
        while not self.ended.wait(PATIENCE):
            signal.pthread_kill(thread, signal.SIGALRM)

    def _interrupt(self, signum: int, frame: Any) -> None:
        from benchmark.run.cell.cell_run import Interrupted

        if self.interruptible:
            self.interruptible = False
            raise Interrupted


def run_remotely(
    cell: Cell,
    contents: dict[str, bytes],
    measuring: dict[str, Any],
    protocol: str,
    flag: Any,
    device: str,
    threads: int,
    checkpoint_every: float,
    execution: str = "auto",
    rung: Rung | None = None,
) -> Iterator[Sent]:
    """Run a cell, and send its events about once a second. The files come with the first event,
    with the event of every checkpoint, and with the last one.

    contents: files of the cell's folder, if the cell is to be resumed. measuring: name → Ray
    reference of a file of the measuring cache. protocol: under which the driver measures the
    dataset of the cell. The former checkpoint is never sent: the driver has it. Raises UnfitError
    before the cell begins."""
    from benchmark.measure.protocol import cache_folder
    from benchmark.run.cell.cell_run import run_cell

    _set_threads(threads)
    for name, reference in measuring.items():
        keep(cache_folder() / name, reference)
    reason = unfit(cell, protocol, device)
    if reason:
        node = ray.get_runtime_context().get_node_id()
        raise UnfitError(node, f"node {socket.gethostname()}: {reason}")
    folder, lock = scratch_folder()
    files = ResultSet(folder).cell(cell.key)
    listener = Listener(lambda: ray.get(flag.get.remote(), timeout=ANSWER_SECONDS))
    try:
        for name, content in contents.items():
            write_bytes(files.path / name, content)
        outbox = Outbox(files)
        options = (listener.stop, checkpoint_every, execution, rung)
        events = run_cell(cell, folder, device, *options)
        while event := listener.next(events):
            sent = outbox.pack(event)
            if sent:
                yield sent
    finally:
        listener.ended.set()
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def race_remotely(task: RaceTask, device: str, threads: int) -> Race:
    """Race the objectives of a place on this node."""
    from benchmark.run.engines.race import race

    _set_threads(threads)
    return race(task, device)


def _set_threads(threads: int) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    # The linear algebra of NumPy has threads of its own
    threadpool_limits(threads)


class Outbox:
    """Chooses what goes to the driver with an event."""

    def __init__(self, files: CellFolder) -> None:
        self.files, self.sent_at = files, -math.inf
        self.has_sent_files = False
        self.known = signatures(files)

    def pack(self, event: Running | Ended) -> Sent | None:
        """What to send with an event; None if the last event is not yet old enough."""
        if not self.has_sent_files or isinstance(event, Ended) or event.checkpoint:
            sent = self._with_files(event)
        elif time.monotonic() - self.sent_at >= EVENT_SECONDS:
            sent = Sent(event, {}, [])
        else:
            return None
        self.sent_at = time.monotonic()
        return sent

    def _with_files(self, event: Running | Ended) -> Sent:
        present, contents = signatures(self.files), {}
        for name, signature in present.items():
            is_former = name == self.files.former_checkpoint.name
            if signature != self.known.get(name) and not is_former:
                contents[name] = (self.files.path / name).read_bytes()
        self.known, self.has_sent_files = present, True
        return Sent(event, contents, list(present))


def unfit(cell: Cell, protocol: str, device: str) -> str | None:
    """Why this node cannot run a cell that the driver measures under `protocol`; None if it can.
    Other faults of the node are left to `run_cell`."""
    from benchmark.measure.instrument import open_instrument
    from benchmark.measure.protocol import protocol_id
    from benchmark.train.build import load_dataset

    with suppress(Exception):
        try:
            load_dataset(cell.dataset)
            here = protocol_id(open_instrument(cell.dataset, cell.evaluation, device))
        except (OSError, ValueError, UserError) as error:
            return f"dataset {cell.dataset.label}: {one_line(error)}"
        if here != protocol:
            other = f"dataset {cell.dataset.label} or its extractor is another one there"
            return f"{other}, measured under protocol {here} and not {protocol}"
    return None


def keep(path: Path, reference: Any) -> None:
    """Fetch a file of the measuring cache that is not here. The name of a classifier says what it
    was trained on, not how it turned out: the driver's classifier replaces one that was trained on
    this node, so that all nodes measure with the same one."""
    if path.name.startswith("classifier") or not path.exists():
        content = ray.get(reference)
        if read_bytes(path) != content:
            write_bytes(path, content)


def scratch_folder() -> tuple[Path, Lock]:
    """An empty folder of this process, and its lock. Folders of killed processes are removed."""
    temporary = Path(tempfile.gettempdir())
    for folder in temporary.glob("ganbench-cell-*"):
        with suppress(OSError, Locked):
            if time.time() - folder.stat().st_mtime > UNLOCKED_SECONDS:
                Lock(ResultSet(folder).lock, 0).release()
                shutil.rmtree(folder)
    node = ray.get_runtime_context().get_node_id()[:16]
    folder = temporary / f"ganbench-cell-{node}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder, Lock(ResultSet(folder).lock, 0)


def signatures(files: CellFolder) -> dict[str, Signature]:
    """The files of a cell by name (`/` between parts) → what changes when a file is written. The
    lock and unfinished files are left out."""
    found = {}
    for file in sorted(files.path.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            stat = file.stat()
            name = file.relative_to(files.path).as_posix()
            found[name] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def drop_others(files: CellFolder, names: Collection[str]) -> None:
    """Remove the files of a cell that are not among the names; its lock stays."""
    for file in list(files.path.rglob("*")):
        name = file.relative_to(files.path).as_posix()
        if file.is_file() and file != files.lock and name not in names:
            file.unlink()
