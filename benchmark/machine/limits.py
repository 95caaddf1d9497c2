"""How many cores and how much memory this process may use: by its CPU affinity and by the cgroups
(versions 1 and 2) that a container, a scheduler or systemd puts it into."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
NO_LIMIT = 2**60  # of memory: version 1 writes a number that no machine has


def available_cores() -> int:
    """Whole cores that this process may keep busy: at least 1."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    quotas = [quota for folder in _folders("cpu") for quota in _quotas(folder)]
    return max(1, int(min([cores, *quotas])))


def memory_limit() -> tuple[int, int] | None:
    """The lowest memory limit of the cgroups of this process and what is in use under it, in bytes;
    None without a limit."""
    limits = []
    for folder in _folders("memory"):
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < NO_LIMIT:
            limits.append((limit, used - min(used, _reclaimable(folder))))
    return min(limits, default=None)


def total_memory(device: str) -> int | None:
    """The bytes of a device's memory, of a CPU at most as many as its cgroups allow; None where
    they are not known."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_properties(device).total_memory
    limit = memory_limit()
    allowed = [] if limit is None else [limit[0]]
    with suppress(AttributeError, ValueError, OSError):
        allowed.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(allowed, default=None)


def _quotas(folder: Path) -> Iterator[float]:
    """The limit of a cgroup in cores, where there is one."""
    with suppress(OSError, ValueError):
        # `50000 100000`, or `max 100000`
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        yield int(quota) / int(period)
    quota_us = _number(folder / "cpu.cfs_quota_us")
    period_us = _number(folder / "cpu.cfs_period_us")
    if quota_us and period_us and quota_us > 0:
        yield quota_us / period_us


def _reclaimable(folder: Path) -> int:
    """Bytes of files that the kernel gives up first: they count as in use, and are free."""
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
            name, _, number = line.partition(" ")
            if name in ("total_inactive_file", "inactive_file"):
                return int(number)
    return 0


def _number(*files: Path) -> int | None:
    """The number in the first of some files that holds one."""
    for file in files:
        with suppress(OSError, ValueError):
            return int(file.read_text(encoding="ascii"))
    return None


def _folders(controller: str) -> Iterator[Path]:
    """The folders of the cgroups of this process, and of those around them, which limit it too."""
    for mount, is_version_2 in _mounts(controller):
        for line in _lines("self/cgroup"):
            _, controllers, path = line.split(":", 2)
            mine = not controllers if is_version_2 else controller in controllers.split(",")
            if mine:
                here = Path(path.lstrip("/"))
                # In a container the path may be that of the host, of which the root alone is here
                for inner in (here, *here.parents):
                    yield mount / inner


def _mounts(controller: str) -> Iterator[tuple[Path, bool]]:
    """Where cgroups of a controller are mounted, and whether they are of version 2."""
    for line in _lines("mounts"):
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and controller in options.split(",")):
            yield Path(place), kind == "cgroup2"


def _lines(name: str) -> list[str]:
    try:
        return (PROC / name).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
