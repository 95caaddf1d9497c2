"""Which device each worker of a run gets."""

import sys
from pathlib import Path

from benchmark.errors import UserError, unknown
from benchmark.machine.limits import available_cores

DEVICE_FILES = Path("/dev")
# nvidia0, nvhost-gpu and nvgpu of a Jetson, kfd of ROCm
DRIVERS = ("nvidia*", "nvhost*", "nvgpu*", "kfd", "dxg")


def devices_of(device: str, jobs: int) -> list[str]:
    """One device per worker, from `--device` and `--jobs` (0: one job per GPU, else per core that
    this process may use).

    Workers take the devices in turn: more jobs than GPUs share them evenly, fewer jobs use the
    first ones. MPS is untested and taken only by its name. Raises UserError for a device that is
    not on this machine, and for named devices that would stay without a worker."""
    if jobs < 0:
        raise UserError(f"--jobs must not be negative, not {jobs}")
    is_cpu = device == "cpu" or (device == "auto" and not _may_have_gpus())
    devices = ["cpu"] if is_cpu else _by_torch(device)
    if device not in ("auto", "cuda") and 0 < jobs < len(devices):
        raise UserError(
            f"--jobs {jobs} leaves {', '.join(devices[jobs:])} of --device {device} without a "
            f"worker; name fewer devices, or give at least {len(devices)} jobs"
        )
    workers = jobs or len(devices)
    if jobs == 0 and devices == ["cpu"]:
        workers = available_cores()
    return [devices[index % len(devices)] for index in range(workers)]


def _may_have_gpus() -> bool:
    """Whether there may be a GPU of CUDA or ROCm. False spares the import of torch: on Linux
    without a device file of their drivers (dxg is that of WSL), and on macOS."""
    if sys.platform == "linux":
        return any(any(DEVICE_FILES.glob(name)) for name in DRIVERS)
    return sys.platform != "darwin"


def _by_torch(device: str) -> list[str]:
    """The devices that `--device` names, among those that torch finds."""
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    available = ["cpu", *gpus]
    if torch.backends.mps.is_available():
        available.append("mps")
    return _named(device, gpus, available)


def _named(device: str, gpus: list[str], available: list[str]) -> list[str]:
    """The devices that `--device` names: auto, cuda, or a list separated by commas."""
    if device == "auto":
        return gpus or ["cpu"]
    if device == "cuda":
        if not gpus:
            names = ", ".join(available)
            raise UserError(f"--device cuda: there is no CUDA device here; valid: auto, {names}")
        return gpus
    devices = device.split(",")
    for name in devices:
        if name not in available:
            valid = ["auto", *available]
            if gpus:
                valid.append("cuda")
            raise unknown("device", name, valid)
    return devices
