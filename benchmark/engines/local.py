"""Worker processes on this machine (spawned, as CUDA asks), each with a device and its own threads."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from benchmark import UserError, unknown
from benchmark.cell import Cell

Event = dict[str, Any]


def run(
    cells: list[Cell],
    folder: Path,
    devices: list[str],  # one worker each
    threads: int,  # per worker, on a CPU
    on_event: Callable[[int, Event], None],  # called with (worker, event)
    fail_fast: bool = False,  # stop at the first error
) -> None:
    """Run the cells. A worker that dies ends its cell as an error, not the run; on SIGINT or SIGTERM the running cells
    are marked interrupted and KeyboardInterrupt passes through."""
    from benchmark.runner import interrupted

    waiting, workers = list(reversed(cells)), {}
    with _terminate_as_interrupt():
        try:
            for number, device in enumerate(devices[: len(cells)]):
                workers[number] = Worker(folder, device, threads)
                workers[number].start(waiting.pop())
            while workers:
                ready = wait([worker.connection for worker in workers.values()])
                for number, worker in list(workers.items()):
                    if worker.connection not in ready:
                        continue
                    event = worker.receive()
                    died = event is None
                    if event is None:
                        assert worker.cell is not None  # a worker without a cell is stopped, it sends nothing
                        event = interrupted(folder, worker.cell.key, _why_died(worker.process.exitcode), "error")
                        worker.cell = None
                    on_event(number, event)
                    if "status" in event:
                        if fail_fast and event["status"] == "error":
                            waiting.clear()
                        if not waiting:
                            workers.pop(number).stop()
                        else:
                            if died:
                                workers[number] = worker = Worker(folder, worker.device, threads)
                            worker.start(waiting.pop())
        finally:
            for worker in workers.values():
                worker.process.terminate()
                worker.process.join()
                if worker.cell is not None:
                    interrupted(folder, worker.cell.key)


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
    if code == -signal.SIGKILL:
        change = "a smaller batch, a smaller evaluation.n_real or fewer --jobs"
        return f"the worker was killed (signal 9): most often for lack of memory; try {change}"
    return f"the worker died (exit code {code})"


class Worker:
    """One process and the pipe to it."""

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.device = device
        self.cell: Cell | None = None
        self.process = context.Process(target=_work, args=(theirs, folder, device, threads), daemon=True)
        self.process.start()
        theirs.close()

    def start(self, cell: Cell) -> None:
        self.cell = cell
        with suppress(BrokenPipeError):  # a worker that is gone is noticed where its answer is awaited
            self.connection.send(cell)

    def receive(self) -> Event | None:
        """The worker's next event; None when it died."""
        try:
            event = self.connection.recv()
        except (EOFError, OSError):  # its end is closed, or a message is cut short
            self.process.join()
            return None
        if "status" in event:
            self.cell = None
        return event

    def stop(self) -> None:
        self.connection.close()
        self.process.join()


def _work(connection: Connection, folder: Path, device: str, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    import torch
    from threadpoolctl import threadpool_limits

    from benchmark.runner import run_cell

    torch.set_num_threads(threads)
    threadpool_limits(threads)  # NumPy's linear algebra has a pool of its own
    if device.startswith("cuda"):
        torch.cuda.set_device(device)

    def report(event: Event) -> None:
        try:
            connection.send(event)
        except OSError:  # the parent is gone: leave the cell unfinished, not failed
            sys.exit(1)

    while True:
        try:
            cell = connection.recv()
        except EOFError:
            return
        report(run_cell(cell, folder, device, report))


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
