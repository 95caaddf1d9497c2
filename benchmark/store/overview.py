"""What is said of a result set and of its cells, and how long they still take."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmark.store.schema import RunStatus

LONGEST = 1e10  # seconds; dates end
# Share of the budget from which on a cell's own pace tells more than other cells of its group
EARLY = 0.1


@dataclass(frozen=True)
class CellOverview:
    """What `status` says of a cell. Every number is finite and not negative; every text is one
    line."""

    key: str
    objective: str
    architecture: str
    dataset: str
    seed: int
    status: RunStatus
    reason: str | None
    warnings: list[str]
    stale: bool
    measurements_stale: bool
    progress: float
    checkpoint: bool
    resumes: int
    g_steps: float | None
    steps_per_second: float | None
    seconds: float | None
    train_seconds: float | None
    eval_seconds: float | None
    probe_seconds: float | None
    warmup_seconds: float | None
    compile_seconds: float | None
    other_seconds: float | None
    seconds_left: float | None
    execution: str | None
    stack: int
    started: str | None
    updated: str | None
    device: str | None
    shown: tuple[str, str, str]
    """The display names of objective, architecture and dataset; their labels without."""

    @property
    def is_labelled(self) -> bool:
        """Whether the matrix gives the cell's variants display names."""
        return self.shown != (self.objective, self.architecture, self.dataset)

    @property
    def is_running(self) -> bool:
        return self.status == RunStatus.RUNNING


@dataclass(frozen=True)
class Overview:
    """The state of a result set, as `status --json` prints it."""

    matrix: str
    """Name of the result set."""

    counts: dict[str, int]
    """Number of cells by status."""

    running: int
    """Number of running cells."""

    stale: int
    """Number of stale cells: different code or evaluation options trained them."""

    measurements_stale: int
    """Number of finished cells that different code measured."""

    seconds_left: float | None
    """Worker-seconds of the cells to run; None if nothing tells."""

    guessed: int
    """Cells of groups that have never run: counted with the median of the other groups."""

    finish: str | None
    """Local time (ISO 8601) of the end with as many workers as now; None if nothing runs."""

    cells: list[CellOverview]
    """State of every cell."""

    report: str | None = None
    """Path of the report; None before there is one."""

    report_is_old: bool = False
    """Whether a cell has changed since the report was written."""

    @property
    def is_settled(self) -> bool:
        """Whether no cell is left to run."""
        return all(cell.status.is_settled for cell in self.cells)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def left(cell: CellOverview, whole: float | None) -> float | None:
    """Seconds until a cell ends, from the seconds of a whole cell."""
    seconds = own_pace(cell)
    if cell.is_running and seconds is not None:
        return seconds
    kept = cell.progress if cell.is_running or cell.checkpoint else 0.0
    return None if whole is None else whole * (1 - kept)


def own_pace(cell: CellOverview) -> float | None:
    """Seconds left at the pace of the cell so far; None while that says little."""
    if cell.progress < EARLY or not cell.seconds:
        return None
    once = (cell.warmup_seconds or 0.0) + (cell.compile_seconds or 0.0)
    return max(0.0, cell.seconds - once) * (1 - cell.progress) / cell.progress


def total_left(cells: list[CellOverview]) -> float | None:
    """Worker-seconds left in all; None if one is not known."""
    total = 0.0
    for cell in cells:
        if cell.seconds_left is None:
            return None
        total += cell.seconds_left
    return total


def finish(running: list[CellOverview], seconds_left: float | None) -> str | None:
    """When the last cell ends, with as many workers as now."""
    if not running or seconds_left is None:
        return None
    groups = Counter(_group(cell) for cell in running)
    # Not all cells of a stack need to run
    together = [min(cell.stack, groups[_group(cell)]) for cell in running]
    workers = sum(1 / number for number in together)
    longest = max(
        (cell.seconds_left or 0.0) * number for cell, number in zip(running, together, strict=True)
    )
    ahead = timedelta(seconds=min(max(seconds_left / workers, longest), LONGEST))
    return (datetime.now().astimezone() + ahead).isoformat(timespec="seconds")


def _group(cell: CellOverview) -> tuple[str, ...]:
    """What cells of a stack share."""
    return cell.objective, cell.architecture, cell.dataset
