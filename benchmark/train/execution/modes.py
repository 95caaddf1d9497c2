"""The names of the ways to execute an iteration."""

import os
import shutil
from functools import cache

MODES = ("eager", "compiled", "graphed", "compiled_graphed")
# What `--execution auto` stands for, by kind of device
AUTO = {"cpu": "eager", "cuda": "graphed"}


def resolve(execution: str, device: str) -> str:
    """The mode that a value of `--execution` stands for on a device."""
    if execution != "auto":
        return execution
    kind = device.partition(":")[0]
    return AUTO.get(kind, "eager")


@cache
def can_compile() -> bool:
    """Whether this machine has a C++ compiler, which a compiled step on a CPU needs."""
    named = os.environ.get("CXX", "").split()[:1]
    return any(map(shutil.which, (*named, "g++", "c++", "clang++")))
