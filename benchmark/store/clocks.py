"""The wall clocks of a cell, and the group a cell belongs to."""

from datetime import UTC, datetime
from typing import Any

from benchmark.matrix.cell import digest
from benchmark.store.schema import Status

WALL_CLOCKS = (
    "train_seconds",
    "eval_seconds",
    "probe_seconds",
    "warmup_seconds",
    "compile_seconds",
    "other_seconds",
)


def timestamp() -> str:
    """The present time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def group_of(spec: dict[str, Any]) -> str:
    """The digest of what cells of one group share: all but the seed."""
    return digest([spec[part] for part in ("objective", "architecture", "dataset", "training")])


def seconds_spent(status: Status) -> float:
    """Seconds that a cell took: the sum of its wall clocks."""
    return sum(getattr(status, clock) or 0.0 for clock in WALL_CLOCKS)
