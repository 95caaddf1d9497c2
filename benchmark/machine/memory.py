"""Memory: what a cell takes at its peak, giving it back, and the line for an error that is for lack
of it."""

import ctypes
import gc
import itertools
import platform
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from benchmark.text import one_line

# in the words of CUDA and MPS, of the CPU's allocator (on Windows, elsewhere), of cuBLAS and cuDNN
LACKING = re.compile(r"out of memory|not enough memory|allocate memory|ALLOC_FAILED")
SIZE = r"([\d.]+ \w+)"
RELEASES = itertools.count()
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
GLIBC = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
CHANGE = (
    "a smaller training.batch_size or width, precision = bf16, or fewer cells at a time (--jobs)"
)


def release_memory(device: str) -> None:
    """Give back what the last cell left: reference cycles, and what the device's allocator keeps
    for reuse."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()  # the code compiled for it
    gc.collect()
    if next(RELEASES) < 2:
        # the modules that a process loads before and in its first cell need no looking through
        # after each
        gc.freeze()
    if device != "cpu":
        torch.accelerator.empty_cache()
    if GLIBC:
        GLIBC.malloc_trim(0)


def reset_peak_memory(device: str) -> None:
    """Start counting peak memory anew: the device's, or on Linux the process's. MPS has no such
    count."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif device == "cpu" and sys.platform == "linux":
        if GLIBC:
            GLIBC.malloc_trim(0)  # what is kept is not in use
        with suppress(OSError):  # where that is not permitted the peak is the process's so far
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: str) -> float:
    """Peak memory since the reset in MiB: allocated on the device by this process (MPS: what its
    driver holds, which only grows before the next release), or resident in the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    if sys.platform == "linux":
        return _gib("self/status", "VmHWM") * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 1024
    )


def out_of_memory(error: BaseException, device: str) -> str | None:
    """One line for an error that is for lack of memory: what was asked for, in use and there, and
    what to change. None for any other error."""
    text = one_line(error)
    if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not LACKING.search(text):
        return None
    asked = re.search(rf"allocate {SIZE}", text)
    used = re.search(rf"{SIZE} is allocated by PyTorch", text)
    room = re.search(rf"total capacity of {SIZE} of which {SIZE} is free", text)
    facts = [f"{_readable(asked[1])} more asked for"] if asked else []
    if used and room:  # CUDA's words
        facts += [f"{used[1]} in use by this process", f"{room[2]} of {room[1]} free"]
    elif device == "cpu" and sys.platform == "linux":
        if GLIBC:
            GLIBC.malloc_trim(0)  # what is kept is not in use
        own, free, there = (
            _gib("self/status", "VmRSS"),
            _gib("meminfo", "MemAvailable"),
            _gib("meminfo", "MemTotal"),
        )
        facts += [
            f"{own:.2f} GiB in use by this process",
            f"{free:.2f} GiB of {there:.2f} GiB free",
        ]
    else:
        facts = [text[:200]]
    return f"out of memory on {device}: {', '.join(facts)}; try {CHANGE}"


def _readable(size: str) -> str:
    number, unit = size.split()
    return f"{int(number) / 2**30:,.2f} GiB" if unit == "bytes" else size


def _gib(file: str, name: str) -> float:
    """A number of Linux's /proc, `NAME:   123 kB`, in GiB."""
    lines = Path("/proc", file).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 2**20


def keep_freed_memory() -> None:
    """Have glibc keep freed memory until `release_memory`: a step allocates the same activations
    again and again, and without this the system takes their pages back and clears them every time.
    Other C libraries are left alone."""
    if GLIBC:
        GLIBC.mallopt(M_MMAP_THRESHOLD, 2**30)
        GLIBC.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
