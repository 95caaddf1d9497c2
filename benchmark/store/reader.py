"""The state of a result set, live and after the run: progress, speed, time left and failure of
every cell. Read-only. Any file may be damaged, truncated or written by another version; none is
trusted."""

import os
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.errors import UserError
from benchmark.store.clocks import WALL_CLOCKS, group_of, seconds_spent
from benchmark.store.code import CodeHashes
from benchmark.store.files import Signature, signature
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.locks import is_locked
from benchmark.store.overview import CellOverview, Overview, finish, left, own_pace, total_left
from benchmark.store.schema import Entry, MatrixFile, RunStatus, Status
from benchmark.text import one_line, printable

GONE = "its process is gone"


class Reader:
    """Reads a result set again and again. A file that has not changed is not read again."""

    def __init__(self, folder: Path) -> None:
        self.results = ResultSet(folder)
        self.hashes = CodeHashes()
        self._matrix: MatrixFile | None = None
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
                cell = replace(cell, seconds_left=left(cell, typical if whole is None else whole))
            shown.append(cell)
        running = [cell for cell in shown if cell.is_running]
        seconds_left = total_left([cell for cell in shown if not cell.status.is_settled])
        page = self.results.report / "index.html"
        written = page.stat().st_mtime if page.exists() else None
        return Overview(
            matrix=self.results.path.name,
            counts=dict(Counter(str(cell.status) for cell in shown).most_common()),
            running=len(running),
            stale=sum(cell.stale for cell in shown),
            measurements_stale=sum(cell.measurements_stale for cell in shown),
            seconds_left=seconds_left,
            guessed=guessed,
            finish=finish(running, seconds_left),
            cells=shown,
            report=None if written is None else str(page),
            report_is_old=written is not None and any(_has_changed(c, written) for c in shown),
        )

    def _read_matrix(self) -> MatrixFile:
        matrix = self.results.matrix
        if matrix is not self._matrix:
            self._matrix = matrix
            self._groups = {entry.key: group_of(entry.spec.plain()) for entry in matrix.cells}
            self._signatures.clear()
        return matrix

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
        written = signature(files.status_file)
        known = self._signatures.get(entry.key)
        if written is None or written != known:
            self._states[entry.key] = self._shown(entry, files, is_there=written is not None)
            self._signatures[entry.key] = written
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
        state = _cell(entry, status, stale=stale, measurements_stale=by_other_code)
        matrix = self._matrix
        return replace(state, shown=matrix.names(entry)) if matrix else state

    def _expected(self, cells: list[CellOverview]) -> dict[str, float]:
        """Seconds of a whole cell by group: the median of its whole cells, otherwise of what its
        running cells will take at their own pace."""
        took: dict[str, list[float]] = defaultdict(list)
        will_take: dict[str, list[float]] = defaultdict(list)
        for cell in cells:
            group, remaining = self._groups[cell.key], own_pace(cell)
            if cell.status.is_whole and cell.seconds is not None:
                took[group].append(cell.seconds)
            elif cell.is_running and cell.seconds is not None and remaining is not None:
                will_take[group].append(cell.seconds + remaining)
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
        shown=(entry.objective, entry.architecture, entry.dataset),
    )


def _number(value: Any) -> float | None:
    """A number that a time or a count can be; None for NaN, infinities and negative numbers."""
    return value if isinstance(value, int | float) and 0 <= value < 1e18 else None


def _line(text: str | None) -> str | None:
    """A text in one line, without characters that control a terminal."""
    return None if text is None else one_line(printable(text))


def _has_changed(cell: CellOverview, since: float) -> bool:
    """Whether a cell has changed after a time, in UTC seconds."""
    return cell.updated is not None and datetime.fromisoformat(cell.updated).timestamp() > since
