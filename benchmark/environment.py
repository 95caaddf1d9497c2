"""What a number depends on beside its cell: written beside every cell."""

import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.cell import ROOT, digest


def environment(device: str) -> dict[str, Any]:
    """What a number depends on beside the spec: versions, processor, threads, flags, commit. No host or user names."""
    from importlib.metadata import version

    import torch

    cuda = device.startswith("cuda")
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("torch", "torchvision", "torch-fidelity", "numpy", "scipy")},
        "device": torch.cuda.get_device_name(device) if cuda else _processor(),
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "git": _git(),
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def _git() -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        diff = git("diff", "HEAD")
        return {"commit": git("rev-parse", "HEAD"), "dirty": digest(diff) if diff else None}
    except (OSError, subprocess.CalledProcessError):
        return None
