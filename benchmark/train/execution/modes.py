"""The names of the ways to execute an iteration."""

import os
import shutil
from functools import cache

MODES = ("eager", "traced", "compiled", "graphed", "compiled_graphed")
# What `--execution auto` stands for, by kind of device
AUTO = {"cpu": "eager", "cuda": "graphed"}


def resolve(execution: str, device: str) -> str:
    """The mode that a value of `--execution` stands for on a device."""
    if execution != "auto":
        return execution
    kind = device.partition(":")[0]
    return AUTO.get(kind, "eager")


def refusal(mode: str, device: str, leaves_tf32: bool, has_forms: bool) -> str:
    """Why a mode is not possible; empty if it may be. device: its kind. leaves_tf32: whether a step
    is in TF32 and its penalty in float32. has_forms: see `functions.has_forms`."""
    if mode != "eager" and not has_forms:
        return "networks that change without a form are trained eagerly"
    if mode == "traced" and device != "cpu":
        return "steps are traced for a CPU alone"
    if "graphed" in mode and device != "cuda":
        return "there is no CUDA graph without a CUDA device"
    if mode not in ("eager", "graphed") and leaves_tf32:
        return f"a {mode} step cannot leave TF32 for the penalty"
    return ""


@cache
def can_compile() -> bool:
    """Whether this machine has a C++ compiler, which a compiled step on a CPU needs."""
    named = os.environ.get("CXX", "").split()[:1]
    return any(map(shutil.which, (*named, "g++", "c++", "clang++")))
