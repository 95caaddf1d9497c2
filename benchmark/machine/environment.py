"""What a number depends on beside its cell: written beside every cell, at its start and at every
resume."""

import hashlib
import json
import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from benchmark import __version__
from benchmark.store.code import ROOT
from benchmark.store.schema import GitFacts, Surroundings

PACKAGES = ("torch", "torchvision", "torch-fidelity", "numpy", "scipy")
CODE = ("benchmark", "variants")
SETS = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "amx_bf16",
    "asimd",
    "bf16",
)  # what the speed of float32 and bf16 depends on
DRIVER = Path("/proc/driver/nvidia/version")


def environment(device: str) -> Surroundings:
    """What a number depends on beside the spec: versions, processor, GPU, threads, flags, commit.
    No host or user names, no paths. Takes milliseconds after the first time."""
    import torch

    cuda = device.startswith("cuda")
    cudnn = torch.backends.cudnn
    facts = git_facts()
    return Surroundings(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions=_versions(),
        device=torch.cuda.get_device_name(device) if cuda else _processor(),
        num_gpus=torch.cuda.device_count() if cuda else 0,
        driver=_driver() if cuda else None,
        cuda=torch.version.cuda if cuda else None,
        cudnn=cudnn.version() if cuda else None,
        processor=_processor(),
        num_cores=os.cpu_count(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        instruction_sets=_instruction_sets(),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        deterministic_warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn_deterministic=cudnn.deterministic,
        cudnn_benchmark=cudnn.benchmark,
        cudnn_allow_tf32=cudnn.allow_tf32,
        matmul_allow_tf32=torch.backends.cuda.matmul.allow_tf32,
        float32_matmul_precision=torch.get_float32_matmul_precision(),
        git=GitFacts(**facts) if facts else None,
    )


@cache
def git_facts() -> dict[str, Any] | None:
    """The commit of the checkout this code runs from, and `dirty`, a hash of what is not committed:
    changes of tracked files, and new files of benchmark/ and variants/; None where nothing is. None
    outside a checkout. Of the variable GANBENCH_GIT, JSON, where it is set: a worker of a cluster
    runs a copy of the code, without its history."""
    if told := os.environ.get("GANBENCH_GIT"):
        facts: dict[str, Any] | None = json.loads(told)
        return facts
    try:
        if not _git("ls-files", "--", *CODE):  # installed, within a checkout of something else
            return None
        changes = _git("diff", "--no-ext-diff", "--no-textconv", "--binary", "HEAD")
        new = [
            ROOT / os.fsdecode(name)
            for name in _git("ls-files", "-zo", "--exclude-standard", "--", *CODE).split(b"\0")
        ]
        for path in filter(Path.is_file, new):
            changes += str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes()
        dirty = hashlib.sha256(changes).hexdigest()[:8] if changes else None
        return {"commit": _git("rev-parse", "HEAD").decode().strip(), "dirty": dirty}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"ganbench": __version__} | {name: version(name) for name in PACKAGES}


@cache
def _processor() -> str:
    """The processor's model."""
    try:
        found = re.search(
            r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
        )
    except OSError:  # no Linux
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


@cache
def _instruction_sets() -> list[str]:
    """Those of SETS that the processor has; empty where it does not say (not Linux)."""
    try:
        found = re.search(
            r"^(?:flags|Features)\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
        )
    except OSError:
        return []
    return [name for name in SETS if found and name in found[1].split()]


@cache
def _driver() -> str | None:
    """The version of NVIDIA's kernel driver."""
    try:
        found = re.search(r"\b\d+\.\d+(\.\d+)?\b", DRIVER.read_text())
    except OSError:
        return None
    return found[0] if found else None
