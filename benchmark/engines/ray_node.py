"""What of the Ray engine runs on a node of the cluster: a cell in a scratch folder, and the flag that ends it."""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock

from benchmark.cell import Cell, read_bytes, write_bytes
from benchmark.claim import lock_file
from benchmark.engines import Event

EVENT_SECONDS = 1.0  # between two events of a cell, and between two looks at the flag
UNLOCKED_SECONDS = 60.0  # that a scratch folder may be there without its lock

Sent = tuple[Event, dict[str, bytes], list[str]]  # an event, the files that changed, the names of all there are


class Flag:
    """Whether cells have to end: an actor that they ask now and then. Its process imports no torch."""

    def __init__(self) -> None:
        self.value = False

    def set(self) -> None:
        self.value = True

    def get(self) -> bool:
        return self.value


def run_remotely(
    cell: Cell,
    files: dict[str, bytes],  # of the cell's folder, if it is to go on from there
    measuring: dict[str, Any],  # name -> reference to a file of the measuring cache
    force: bool,
    flag: Any,
    device: str,
    threads: int,
    checkpoint_every: float,
) -> Iterator[Sent]:
    """Run a cell, yielding its events about once a second: its files with the first, with that of every checkpoint,
    and with the last; else no names. The checkpoint before the last is not sent: the other side has it."""
    import torch
    from threadpoolctl import threadpool_limits

    from benchmark.checkpoint import NAMES
    from benchmark.measure import cache_folder
    from benchmark.runner import run_cell

    torch.set_num_threads(threads)
    threadpool_limits(threads)  # NumPy's linear algebra has a pool of its own
    for name, reference in measuring.items():
        keep(cache_folder() / name, reference)
    asked = said = -math.inf
    stopped = False

    def stop() -> bool:
        nonlocal asked, stopped
        if not stopped and time.monotonic() - asked >= EVENT_SECONDS:
            stopped, asked = ray.get(flag.get.remote()), time.monotonic()
        return stopped

    folder, lock = scratch_folder()
    path = folder / "cells" / cell.key
    try:
        for name, content in files.items():
            write_bytes(path / name, content)
        before = states(path)
        for event in run_cell(cell, folder, device, stop, checkpoint_every, force):
            if said < 0 or event.get("checkpoint") or event["status"] != "running":
                now = states(path)
                changed = [name for name in now if now[name] != before.get(name) and name != NAMES[1]]
                yield event, {name: (path / name).read_bytes() for name in changed}, list(now)
                before, said = now, time.monotonic()
            elif time.monotonic() - said >= EVENT_SECONDS:
                yield event, {}, []
                said = time.monotonic()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def keep(path: Path, reference: Any) -> None:
    """Fetch a file of the measuring cache that is not here. A classifier's name says what it was trained on, not what
    came of it: one trained on this node gives way to the driver's, so that all nodes measure with the same one."""
    if path.name.startswith("classifier") or not path.exists():
        content = ray.get(reference)
        if read_bytes(path) != content:
            write_bytes(path, content)


def scratch_folder() -> tuple[Path, FileLock]:
    """An empty folder of this process, and its lock; folders whose processes were killed are removed."""
    temporary = Path(tempfile.gettempdir())
    for folder in temporary.glob("ganbench-cell-*"):
        with suppress(OSError):  # a lock that is held is one, too
            if time.time() - folder.stat().st_mtime > UNLOCKED_SECONDS:
                lock_file(folder / ".lock", 0).release()
                shutil.rmtree(folder)
    folder = temporary / f"ganbench-cell-{ray.get_runtime_context().get_node_id()[:16]}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder, lock_file(folder / ".lock", 0)


def states(path: Path) -> dict[str, tuple[int, int, int]]:
    """The files of a cell's folder by name, `/` between parts, with what changes when one is written."""
    found = {file.relative_to(path).as_posix(): file.stat() for file in sorted(path.rglob("*")) if file.is_file()}
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found.items() if name != ".lock"}
