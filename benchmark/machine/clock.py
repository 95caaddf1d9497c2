"""The clocks that training is timed by."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch


def synchronised_time(device: str) -> float:
    """Seconds of a monotonic clock, read after the device has finished its work."""
    if device != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def race_clock(device: str) -> tuple[str, Callable[[], float]]:
    """The clock of a race, and its name. Of one thread on a CPU: the seconds that the processor
    gave this process, which are those of the wall on a quiet machine, and which other processes
    hardly change. Otherwise the wall's: threads also wait for one another, and a GPU is no part of
    a process."""
    if device == "cpu" and torch.get_num_threads() == 1:
        return "processor", time.process_time
    return "wall", partial(synchronised_time, device)


@contextmanager
def one_thread() -> Iterator[None]:
    """What runs inside uses one thread. On a busy machine the threads of a small step wait for one
    another, and the step takes seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
