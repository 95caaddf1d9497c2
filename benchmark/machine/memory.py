"""Memory: how much a cell takes at its peak, how to give it back, and one line for an error that
comes from lack of memory."""

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

from benchmark.machine.limits import memory_limit
from benchmark.text import one_line

# words of CUDA and MPS; of the CPU's allocator on Windows, and elsewhere; of cuBLAS and cuDNN
LACKING = re.compile(r"out of memory|not enough memory|allocate memory|ALLOC_FAILED")
SIZE = r"([\d.]+ \w+)"
RELEASES = itertools.count()

# glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
GLIBC = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
CHANGE = (
    "a smaller training.batch_size or width, precision = bf16, or fewer cells at a time (--jobs)"
)


def release_memory(device: str) -> None:
    """Give back the memory that the last cell left: reference cycles, compiled code, and what the
    device's allocator keeps for reuse."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    gc.collect()
    # modules that a process loads before and in its first cell need not be searched after each cell
    if next(RELEASES) < 2:
        gc.freeze()
    if device != "cpu":
        torch.accelerator.empty_cache()
    _trim()


def reset_peak_memory(device: str) -> None:
    """Start counting peak memory from now: the device's, or on Linux the process's. MPS has no such
    count."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif device == "cpu" and sys.platform == "linux":
        _trim()
        # where this is not permitted, the peak is that of the process so far
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb(device: str) -> float:
    """Peak memory since the reset, in MiB: allocated on the device by this process, or resident in
    the process. On MPS what the driver holds, which only grows before the next release."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    if sys.platform == "linux":
        return _gib("self/status", "VmHWM") * 1024
    units_per_mib = 2**20 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mib


def out_of_memory(error: BaseException, device: str) -> str | None:
    """One line for an error that comes from lack of memory: how much was asked for, is in use and
    exists, and what to change. None for any other error."""
    text = one_line(error)
    if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not LACKING.search(text):
        return None
    facts = []
    asked = re.search(rf"allocate {SIZE}", text)
    if asked:
        facts.append(f"{_readable(asked[1])} more asked for")
    # as CUDA says it
    used = re.search(rf"{SIZE} is allocated by PyTorch", text)
    room = re.search(rf"total capacity of {SIZE} of which {SIZE} is free", text)
    if used and room:
        facts += [f"{used[1]} in use by this process", f"{room[2]} of {room[1]} free"]
    elif device == "cpu" and sys.platform == "linux":
        facts += _memory_of_linux()
    else:
        facts = [text[:200]]
    return f"out of memory on {device}: {', '.join(facts)}; try {CHANGE}"


def _memory_of_linux() -> list[str]:
    _trim()
    resident = _gib("self/status", "VmRSS")
    free = _gib("meminfo", "MemAvailable")
    total = _gib("meminfo", "MemTotal")
    limit = memory_limit()
    if limit and limit[0] / 2**30 < total:
        total, used = limit[0] / 2**30, limit[1] / 2**30
        free = min(free, max(0.0, total - used))
    return [f"{resident:.2f} GiB in use by this process", f"{free:.2f} GiB of {total:.2f} GiB free"]


def _trim() -> None:
    """Have glibc give freed memory back: until then the system counts it as in use."""
    if GLIBC:
        GLIBC.malloc_trim(0)


def _readable(size: str) -> str:
    number, unit = size.split()
    return f"{int(number) / 2**30:,.2f} GiB" if unit == "bytes" else size


def _gib(file: str, name: str) -> float:
    """A number of Linux's /proc, `NAME:   123 kB`, in GiB."""
    for line in Path("/proc", file).read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 2**20
    raise ValueError(f"/proc/{file} has no {name}")


def keep_freed_memory() -> None:
    """Have glibc keep freed memory until `release_memory`. A step allocates the same activations
    again and again; without this call the system takes their pages back and clears them every time.
    Other C libraries stay as they are."""
    if GLIBC:
        GLIBC.mallopt(M_MMAP_THRESHOLD, 2**30)
        GLIBC.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
