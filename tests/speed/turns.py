"""Contenders that are timed in turn, each in a process of its own, so that all meet the same
moments of the machine.

One process cannot hold two: allocator settings are a process's, and so are thread pools, autotuned
kernels and what torch.compile has seen. Round after round each takes a turn of several iterations
while the others wait at a pipe; what counts is the median over the rounds of a round's ratio."""

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
from time import perf_counter
from typing import Any

THREADS = int(os.environ.get("GANBENCH_THREADS", "2"))
ROUNDS = int(os.environ.get("GANBENCH_ROUNDS", "15"))
TURN_SECONDS = 0.5  # that a turn should take, at least one iteration
WARM_UP = 3  # iterations before the first turn


@dataclass(frozen=True)
class Contender:
    """make(device=…, **options), called in the contender's process, returns what is called once per
    iteration."""

    name: str
    make: Callable[..., Callable[[], Any]]
    options: dict[str, Any] = field(default_factory=dict)
    # its process is set up as the workers of `ganbench run` are, and not as Python leaves it
    worker: bool = True


@dataclass
class Result:
    """What a contender took; `failed` says in one line why it took no part, or no further part."""

    name: str
    ms: list[float] = field(default_factory=list)  # per iteration, by round
    compile_seconds: float = (
        0.0  # the first iteration less a later one, and what `iterate.facts` says beside
    )
    memory_mb: float = float("nan")  # peak: the device's, or resident in the process
    step_mb: float = float("nan")  # that the iterations took beyond what lay there before them
    failed: str = ""
    facts: dict[str, Any] = field(
        default_factory=dict
    )  # what `iterate.facts` holds, where there is one


def race(
    contenders: list[Contender],
    device: str,
    rounds: int = ROUNDS,
    seconds: float = 60.0,
    limit: float = 600.0,
    threads: int = THREADS,
) -> list[Result]:
    """Time all contenders in turn, the first of them the reference: `rounds` rounds, fewer (three
    at least) where they would take more than `seconds`. One that takes longer than `limit` seconds
    to get ready, or for a turn, is ended."""
    context = multiprocessing.get_context("spawn")
    results, lanes = [Result(contender.name) for contender in contenders], []
    try:
        for contender, result in zip(contenders, results, strict=True):
            if results[0].failed:  # without a reference there is no ratio
                result.failed = f"not tried: {results[0].name} {results[0].failed}"
                continue
            lanes.append(Lane(context, contender, device, threads))
            lanes[-1].hear(result, limit)  # one at a time: no one else works while it compiles
        started, taken = perf_counter(), 0
        while (
            not results[0].failed
            and taken < rounds
            and (taken < 3 or perf_counter() - started < seconds)
        ):
            for lane, result in zip(lanes, results, strict=False):
                if not result.failed:
                    lane.turn(result, limit)
            taken += 1
        for lane, result in zip(lanes, results, strict=False):
            if not result.failed:
                lane.end(result, limit)
    finally:
        for lane in lanes:
            lane.close()
    return results


def ratios(result: Result, reference: Result) -> tuple[float, float, float]:
    """Median and quartiles over the rounds of how many times as fast as the reference a contender
    is."""
    found = [theirs / ours for ours, theirs in zip(result.ms, reference.ms, strict=False)]
    if len(found) < 2:
        return (float("nan"),) * 3
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return middle, low, high


class Lane:
    """A contender's process, as the one who gives out the turns sees it."""

    def __init__(self, context: Any, contender: Contender, device: str, threads: int) -> None:
        self.pipe, theirs = context.Pipe()
        self.cache = TemporaryDirectory()  # of compiled code: nothing is left from the last time
        given = (theirs, contender, device, threads, self.cache.name)
        self.process = context.Process(target=_serve, args=given, daemon=True)
        self.process.start()
        theirs.close()

    def hear(self, result: Result, limit: float) -> None:
        """Take what the process has to say."""
        if not self.pipe.poll(limit):
            result.failed = f"took more than {limit:.0f} s"
            self.close()
            return
        try:
            told = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(10)
            result.failed = f"the process ended with exit code {self.process.exitcode}"
            return
        for name, value in told.items():
            if name == "ms":
                result.ms.append(value)
            else:
                setattr(result, name, value)

    def turn(self, result: Result, limit: float) -> None:
        self.pipe.send("turn")
        self.hear(result, limit)

    def end(self, result: Result, limit: float) -> None:
        self.pipe.send("end")
        self.hear(result, limit)

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.cache.cleanup()


def _serve(pipe: Connection, contender: Contender, device: str, threads: int, cache: str) -> None:
    """What a contender's process does."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    try:
        iterate = _made(contender, device, threads)
        first = _timed(iterate, device, 1)
        once = min(_timed(iterate, device, 1) for _ in range(WARM_UP))
        facts = dict(getattr(iterate, "facts", {}))
        pipe.send(
            {
                "compile_seconds": max(0.0, first - once) + facts.pop("compile_seconds", 0.0),
                "facts": facts,
            }
        )
        count = max(1, round(TURN_SECONDS / once))
        while pipe.recv() == "turn":
            pipe.send({"ms": 1000 * _timed(iterate, device, count) / count})
        pipe.send(_memory(iterate, device))
    except Exception as error:
        pipe.send({"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


def _made(contender: Contender, device: str, threads: int) -> Callable[[], Any]:
    import torch

    from benchmark.run.engines import local_worker

    if contender.worker:
        local_worker._load("cuda:0" if device == "cuda" else device, threads)
    else:
        torch.set_num_threads(threads)
    return contender.make(device=device, **contender.options)


def _timed(iterate: Callable[[], Any], device: str, count: int) -> float:
    from benchmark.machine.clock import synchronised_time

    started = synchronised_time(device)
    for _ in range(count):
        iterate()
    return synchronised_time(device) - started


def _memory(iterate: Callable[[], Any], device: str) -> dict[str, float]:
    """The peak of an iteration in MiB, and what it takes beyond what lies there between iterations.
    Of a CUDA device what the allocator holds, for a graph's memory is its own all the time; else
    what is resident in the process, its free memory given back before."""
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
        with suppress(AttributeError):  # glibc's
            ctypes.CDLL(None).malloc_trim(0)
        reset_peak_memory(device)
        before = peak_memory_mb(device)
        iterate()
        peak = peak_memory_mb(device)
    return {"memory_mb": peak, "step_mb": peak - before}
