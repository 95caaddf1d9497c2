"""Time contenders in turn, each in a process of its own, so that a slow moment of the machine meets
all of them.

Two contenders cannot share a process: a process has one allocator setting, one thread pool, one set
of autotuned kernels and one cache of torch.compile. In every round each contender takes a turn of
several iterations while the others wait at a pipe. The result is the median over the rounds of the
ratio within a round."""

import ctypes
import gc
import multiprocessing
import os
import statistics
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from variants import _variables

THREADS = int(_variables.value("GANBENCH_THREADS") or "2")
ROUNDS = int(_variables.value("GANBENCH_ROUNDS") or "15")
# What a turn's time is: wall, or the CPU time of all threads of the contender's process
CLOCK = _variables.value("GANBENCH_CLOCK") or "wall"
TURN_SECONDS = 0.5  # length of a turn; it has at least one iteration
MIN_ROUNDS = 3
WARM_UP = 3  # iterations before the first turn


@dataclass(frozen=True)
class Contender:
    """What is timed: `make(device=…, **options)`, called in the contender's process, returns the
    function of one iteration."""

    name: str
    make: Callable[..., Callable[[], Any]]
    options: dict[str, Any] = field(default_factory=dict)
    # whether the process is set up as the workers of `ganbench run` are; else it has their threads
    # and their allocator setting, nothing more
    worker: bool = True


@dataclass
class Result:
    """What a contender took."""

    name: str
    # milliseconds per iteration, by round
    ms: list[float] = field(default_factory=list)
    # the first iteration less a later one, and the compile_seconds of `iterate.facts`
    compile_seconds: float = 0.0
    memory_mb: float = float("nan")  # peak: of the device, or resident in the process
    step_mb: float = float("nan")  # what the iterations took beyond what was there before them
    failed: str = ""  # one line: why the contender took no part, or no further part
    # the content of `iterate.facts`, where there is one
    facts: dict[str, Any] = field(default_factory=dict)


def race(
    contenders: list[Contender],
    device: str,
    rounds: int = ROUNDS,
    seconds: float = 60.0,
    limit: float = 600.0,
    threads: int = THREADS,
) -> list[Result]:
    """Time all contenders in turn; the first of them is the reference.

    There are `rounds` rounds, but only MIN_ROUNDS where more would take longer than `seconds`. A
    contender that takes longer than `limit` seconds to get ready, or for a turn, is ended."""
    context = multiprocessing.get_context("spawn")
    results = [Result(contender.name) for contender in contenders]
    reference = results[0]
    lanes: list[Lane] = []
    try:
        for contender, result in zip(contenders, results, strict=True):
            if reference.failed:  # without a reference there is no ratio
                result.failed = f"not tried: {reference.name} {reference.failed}"
                continue
            lanes.append(Lane(context, contender, device, threads))
            # one at a time: nothing else runs while a contender compiles
            lanes[-1].receive(result, limit)
        running = list(zip(lanes, results, strict=False))
        started = perf_counter()
        for taken in range(rounds):
            late = taken >= MIN_ROUNDS and perf_counter() - started >= seconds
            if reference.failed or late:
                break
            _all("turn", running, limit)
        _all("end", running, limit)
    finally:
        for lane in lanes:
            lane.close()
    return results


def _all(message: str, running: "list[tuple[Lane, Result]]", limit: float) -> None:
    """Send a message to each contender that has not failed, and wait for its answer."""
    for lane, result in running:
        if not result.failed:
            lane.pipe.send(message)
            lane.receive(result, limit)


def ratios(result: Result, reference: Result) -> tuple[float, float, float]:
    """How many times as fast as the reference a contender is: median and quartiles over the
    rounds; NaN where there are fewer than two rounds."""
    found = [theirs / ours for ours, theirs in zip(result.ms, reference.ms, strict=False)]
    if len(found) < 2:
        return (float("nan"),) * 3
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return middle, low, high


class Lane:
    """A contender's process, seen from the process that gives out the turns."""

    def __init__(self, context: Any, contender: Contender, device: str, threads: int) -> None:
        self.pipe, theirs = context.Pipe()
        self.cache = TemporaryDirectory()  # of compiled code, empty at the start
        given = (theirs, contender, device, threads, self.cache.name)
        self.process = context.Process(target=_serve, args=given, daemon=True)
        self.process.start()
        theirs.close()

    def receive(self, result: Result, limit: float) -> None:
        """Add what the process sends to its result."""
        if not self.pipe.poll(limit):
            result.failed = f"took more than {limit:.0f} s"
            self.close()
            return
        try:
            values = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(10)
            result.failed = f"the process ended with exit code {self.process.exitcode}"
            return
        for name, value in values.items():
            if name == "ms":
                result.ms.append(value)
            else:
                setattr(result, name, value)

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.cache.cleanup()


def _serve(pipe: Connection, contender: Contender, device: str, threads: int, cache: str) -> None:
    """The life of a contender's process: get ready, then a turn for each message."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    try:
        iterate = _made(contender, device, threads)
        first = _timed(iterate, device, 1)
        once = min(_timed(iterate, device, 1) for _ in range(WARM_UP))
        facts = dict(getattr(iterate, "facts", {}))
        compile_seconds = max(0.0, first - once) + facts.pop("compile_seconds", 0.0)
        pipe.send({"compile_seconds": compile_seconds, "facts": facts})
        count = max(1, round(TURN_SECONDS / once))
        while pipe.recv() == "turn":
            pipe.send({"ms": 1000 * _timed(iterate, device, count) / count})
        pipe.send(_memory(iterate, device))
    except Exception as error:
        pipe.send({"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


def _made(contender: Contender, device: str, threads: int) -> Callable[[], Any]:
    import torch

    from benchmark.machine.memory import keep_freed_memory
    from benchmark.run.engines import local_worker

    if contender.worker:
        local_worker.load("cuda:0" if device == "cuda" else device, threads)
    else:
        torch.set_num_threads(threads)
        keep_freed_memory()
    return contender.make(device=device, **contender.options)


def _timed(iterate: Callable[[], Any], device: str, count: int) -> float:
    from benchmark.machine.clock import synchronised_time

    started, cpu_started = synchronised_time(device), process_time()
    for _ in range(count):
        iterate()
    if CLOCK == "cpu":
        return process_time() - cpu_started
    return synchronised_time(device) - started


def _memory(iterate: Callable[[], Any], device: str) -> dict[str, float]:
    """The peak of an iteration in MiB, and what an iteration takes beyond the memory between
    iterations. On a CUDA device it is what the allocator holds, because a graph keeps its memory;
    else it is what is resident in the process, after its free memory was given back."""
    import torch

    from benchmark.machine.memory import peak_memory_mb, reset_peak_memory

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) / 2**20
        iterate()
        peak = torch.cuda.max_memory_reserved(device) / 2**20
    else:
        with suppress(AttributeError):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)
        reset_peak_memory(device)
        before = peak_memory_mb(device)
        iterate()
        peak = peak_memory_mb(device)
    return {"memory_mb": peak, "step_mb": peak - before}
