"""…"""

from typing import Any

from benchmark.matrix.cell import digest

CLOCKS = (
    "train_seconds",
    "eval_seconds",
    "probe_seconds",
    "warmup_seconds",
    "compile_seconds",
    "other_seconds",
)


def group(spec: dict[str, Any]) -> str:
    """The digest of what cells share that differ in their seed alone."""
    return digest([spec[part] for part in ("objective", "architecture", "dataset", "training")])


def spent(status: dict[str, Any]) -> float:
    """Seconds that a cell took, over all its attempts."""
    return sum(status.get(clock) or 0.0 for clock in CLOCKS)
