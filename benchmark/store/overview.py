"""The state of a result set, live and after the run: progress, speed, time left and failure of
every cell. Read-only. Any file may be damaged, truncated or written by another version; none is
trusted."""

import os
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.errors import UserError
from benchmark.store.clocks import WALL_CLOCKS, group_of, seconds_spent
from benchmark.store.code import CodeHashes
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.locks import is_locked
from benchmark.store.schema import Entry, MatrixFile, RunStatus, Status

GONE = "its process is gone"
LONGEST = 1e10  # seconds; dates end
# Share of the budget from which on a cell's own pace tells more than other cells of its group
EARLY = 0.1
Signature = tuple[int, int, int]


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

    @property
    def is_settled(self) -> bool:
        """Whether no cell is left to run."""
        return all(cell.status.is_settled for cell in self.cells)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class Reader:
    """Reads a result set again and again. A file that has not changed is not read again."""

    def __init__(self, folder: Path) -> None:
        self.results = ResultSet(folder)
        self.hashes = CodeHashes()
        self._matrix: MatrixFile | None = None
        self._matrix_signature: Signature | None = None
        self._groups: dict[str, str] = {}  # by key
        self._signatures: dict[str, Signature | None] = {}  # of status.json, by key
        self._states: dict[str, CellOverview] = {}  # by key

    def overview(self) -> Overview:
        """The present state. Raises UserError without a sound matrix.json."""
        cells = [self._state(entry) for entry in self._read_matrix().cells]
        expected = self._expected(cells)
        typical = median(expected.values()) if expected else None
        shown, guessed = [], 0
        for cell in cells:
            if not cell.status.is_settled:
                whole = expected.get(self._groups[cell.key])
                guessed += whole is None
                cell = replace(cell, seconds_left=_left(cell, typical if whole is None else whole))
            shown.append(cell)
        running = [cell for cell in shown if cell.is_running]
        seconds_left = _total([cell for cell in shown if not cell.status.is_settled])
        return Overview(
            matrix=self.results.path.name,
            counts=dict(Counter(str(cell.status) for cell in shown).most_common()),
            running=len(running),
            stale=sum(cell.stale for cell in shown),
            measurements_stale=sum(cell.measurements_stale for cell in shown),
            seconds_left=seconds_left,
            guessed=guessed,
            finish=_finish(running, seconds_left),
            cells=shown,
        )

    def _read_matrix(self) -> MatrixFile:
        signature = _signature(self.results.matrix_file)
        if self._matrix is None or signature is None or signature != self._matrix_signature:
            self._matrix, self._matrix_signature = self.results.matrix, signature
            self._groups = {entry.key: group_of(entry.spec.plain()) for entry in self._matrix.cells}
            self._signatures.clear()
        return self._matrix

    def _state(self, entry: Entry) -> CellOverview:
        """The state of a cell. A cell that its file calls running is running only while a process
        holds its lock."""
        files = self.results.cell(entry.key)
        state = self._read(entry, files)
        if state.status.is_finished:
            return state
        if is_locked(files):
            return replace(state, status=RunStatus.RUNNING, reason=None)
        if state.is_running:
            # The cell may have ended since
            state = self._read(entry, files)
        if state.is_running:
            state = replace(state, status=RunStatus.INTERRUPTED, reason=GONE)
        waits = state.status == RunStatus.INTERRUPTED and not state.stale
        return replace(state, checkpoint=waits and os.path.exists(files.checkpoint))

    def _read(self, entry: Entry, files: CellFolder) -> CellOverview:
        """What the files of a cell say."""
        signature = _signature(files.status_file)
        known = self._signatures.get(entry.key)
        if signature is None or signature != known:
            self._states[entry.key] = self._shown(entry, files, is_there=signature is not None)
            self._signatures[entry.key] = signature
        return self._states[entry.key]

    def _shown(self, entry: Entry, files: CellFolder, is_there: bool) -> CellOverview:
        status = Status(status=RunStatus.MISSING)
        if is_there:
            try:
                status = files.status
                if status.status == RunStatus.MISSING:
                    status.reason = "its files are damaged or truncated, it will run again"
            except UserError as error:
                # The file cannot be read, or another version wrote it
                status.reason = str(error)
        stale = False
        if status.status != RunStatus.MISSING:
            stale = self.hashes.is_stale(status, entry.evaluation_hash, entry.spec)
        by_other_code = status.status.is_finished and self.hashes.is_measured_by_other_code(
            status, entry.modality
        )
        return _cell(entry, status, stale=stale, measurements_stale=by_other_code)

    def _expected(self, cells: list[CellOverview]) -> dict[str, float]:
        """Seconds of a whole cell by group: the median of its finished cells, otherwise of what its
        running cells will take at their own pace."""
        took: dict[str, list[float]] = defaultdict(list)
        will_take: dict[str, list[float]] = defaultdict(list)
        for cell in cells:
            group, left = self._groups[cell.key], _own_pace(cell)
            if cell.status.is_finished and cell.seconds is not None:
                took[group].append(cell.seconds)
            elif cell.is_running and cell.seconds is not None and left is not None:
                will_take[group].append(cell.seconds + left)
        return {group: median(seconds) for group, seconds in {**will_take, **took}.items()}


def _cell(entry: Entry, status: Status, *, stale: bool, measurements_stale: bool) -> CellOverview:
    """The state that a status describes; what no clock or counter can be is left out."""
    clocks = {name: _number(getattr(status, name)) for name in WALL_CLOCKS}
    g_steps, train_seconds = _number(status.g_steps), clocks["train_seconds"]
    speed = g_steps / train_seconds if g_steps and train_seconds else None
    progress = min(_number(status.progress) or 0.0, 1.0)
    execution = status.execution
    return CellOverview(
        key=entry.key,
        objective=entry.objective,
        architecture=entry.architecture,
        dataset=entry.dataset,
        seed=entry.seed,
        status=status.status,
        reason=_line(status.reason),
        warnings=[_line(text) or "" for text in status.warnings],
        stale=stale,
        measurements_stale=measurements_stale,
        progress=1.0 if status.status == RunStatus.DONE else progress,
        checkpoint=False,
        resumes=status.resumes,
        g_steps=g_steps,
        steps_per_second=speed,
        seconds=_number(seconds_spent(status)),
        **clocks,
        seconds_left=None,
        execution=_line(execution.mode) if execution else None,
        stack=execution.stack if execution else 1,
        started=_line(status.started),
        updated=_line(status.updated),
        device=_line(status.device),
    )


def _left(cell: CellOverview, whole: float | None) -> float | None:
    """Seconds until a cell ends, from the seconds of a whole cell."""
    seconds = _own_pace(cell)
    if cell.is_running and seconds is not None:
        return seconds
    kept = cell.progress if cell.is_running or cell.checkpoint else 0.0
    return None if whole is None else whole * (1 - kept)


def _own_pace(cell: CellOverview) -> float | None:
    """Seconds left at the pace of the cell so far; None while that says little."""
    if cell.progress < EARLY or not cell.seconds:
        return None
    once = (cell.warmup_seconds or 0.0) + (cell.compile_seconds or 0.0)
    return max(0.0, cell.seconds - once) * (1 - cell.progress) / cell.progress


def _total(cells: list[CellOverview]) -> float | None:
    """Worker-seconds left in all; None if one is not known."""
    total = 0.0
    for cell in cells:
        if cell.seconds_left is None:
            return None
        total += cell.seconds_left
    return total


def _finish(running: list[CellOverview], seconds_left: float | None) -> str | None:
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


def _signature(path: Path) -> Signature | None:
    """What changes when a file is written again; None if there is no file."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _number(value: Any) -> float | None:
    """A number that a time or a count can be; None for NaN, infinities and negative numbers."""
    return value if isinstance(value, int | float) and 0 <= value < 1e18 else None


def _line(text: str | None) -> str | None:
    """A text in one line, without characters that control a terminal."""
    if text is None:
        return None
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
