"""The machine and the versions that a cell ran on: recorded with every cell, at its start and at
every resume."""

import hashlib
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
from variants import _variables

PACKAGES = ("torch", "torchvision", "torch-fidelity", "numpy", "scipy")
CODE = ("benchmark", "variants")
# instruction sets that the speed of float32 and bf16 depends on
SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
# Variables that limit or choose the instructions of oneDNN and MKL
LIMITS = [
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE"),
]
CPUINFO = Path("/proc/cpuinfo")
DRIVER = Path("/proc/driver/nvidia/version")


def environment(device: str) -> Surroundings:
    """What a number depends on besides the spec: versions, processor, GPU, threads, flags, commit.
    It has no host or user names and no paths. It takes milliseconds after the first time."""
    import torch

    cudnn = torch.backends.cudnn
    return Surroundings(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions=_versions(),
        processor=_processor(),
        processor_version=_processor_version(),
        num_cores=os.cpu_count(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        instruction_sets=_instruction_sets(),
        instruction_limits={name: os.environ[name] for name in LIMITS if os.environ.get(name)},
        compiler=_compiler(),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        deterministic_warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn_deterministic=cudnn.deterministic,
        cudnn_benchmark=cudnn.benchmark,
        cudnn_allow_tf32=cudnn.allow_tf32,
        matmul_allow_tf32=torch.backends.cuda.matmul.allow_tf32,
        float32_matmul_precision=torch.get_float32_matmul_precision(),
        git=git_facts(),
        **_device(device),
    )


def _device(device: str) -> dict[str, Any]:
    """The facts that differ between a CPU and a GPU."""
    import torch

    if not device.startswith("cuda"):
        return {"device": _processor(), "num_gpus": 0, "driver": None, "cuda": None, "cudnn": None}
    return {
        "device": torch.cuda.get_device_name(device),
        "num_gpus": torch.cuda.device_count(),
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


@cache
def git_facts() -> GitFacts | None:
    """The `commit` of the checkout that this code runs from, and `dirty`, a hash of all that is not
    committed: changes of tracked files, and new files of benchmark/ and variants/ (None where there
    are none). None outside a checkout.

    The variable GANBENCH_GIT, as JSON, replaces the answer: a worker of a cluster runs a copy of
    the code that has no history."""
    told = _variables.commit()
    if told is not None:
        return GitFacts(**told) if told else None
    try:
        # no such files: the package is installed, inside a checkout of something else
        if not _git("ls-files", "--", *CODE):
            return None
        changes = _uncommitted()
        dirty = hashlib.sha256(changes).hexdigest()[:8] if changes else None
        return GitFacts(commit=_git("rev-parse", "HEAD").decode().strip(), dirty=dirty)
    except (OSError, subprocess.CalledProcessError):
        return None


def _uncommitted() -> bytes:
    """Changes of tracked files, then names and contents of new files of the code."""
    changes = _git("diff", "--no-ext-diff", "--no-textconv", "--binary", "HEAD")
    for name in _git("ls-files", "-zo", "--exclude-standard", "--", *CODE).split(b"\0"):
        path = ROOT / os.fsdecode(name)
        if path.is_file():
            changes += str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes()
    return changes


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"ganbench": __version__} | {name: version(name) for name in PACKAGES}


@cache
def _processor() -> str:
    """The processor's model."""
    model = _cpuinfo("model name")
    return model or platform.processor() or platform.machine()


@cache
def _processor_version() -> str | None:
    """`GenuineIntel 6-207-2`; None on other systems than Linux."""
    vendor = _cpuinfo("vendor_id|CPU implementer")
    names = ("cpu family|CPU architecture", "model|CPU part", "stepping|CPU revision")
    return f"{vendor} {'-'.join(map(_cpuinfo, names))}" if vendor else None


@cache
def _instruction_sets() -> list[str]:
    """Those of SETS that the processor has; empty on other systems than Linux."""
    sets = _cpuinfo("flags|Features").split()
    return [name for name in SETS if name in sets]


def _cpuinfo(names: str) -> str:
    """The first value of Linux's /proc/cpuinfo under one of some names; empty where there is
    none."""
    try:
        text = CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return ""
    line = re.search(rf"^(?:{names})\s*:\s*(.+)$", text, re.MULTILINE)
    return line[1].strip() if line else ""


@cache
def _compiler() -> str | None:
    """`g++ (Debian 12.2.0-14) 12.2.0`: what the C++ compiler that torch calls says of itself; None
    without one."""
    command = os.environ.get("CXX", "g++").split()
    try:
        said = subprocess.run(
            [*command, "--version"], capture_output=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.partition("\n")[0]


@cache
def _driver() -> str | None:
    """The version of NVIDIA's kernel driver."""
    try:
        version = re.search(r"\b\d+\.\d+(\.\d+)?\b", DRIVER.read_text(encoding="utf-8"))
    except OSError:
        return None
    return version[0] if version else None
