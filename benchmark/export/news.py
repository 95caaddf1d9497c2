"""Results -> an experiment tracker: what is new of each cell since the last export.

Reads the files of the cells, while a matrix runs or afterwards; the training loop knows nothing of
trackers, and the JSONL files remain the source. A cell is one run: its evals and steps at their
generator steps, its sheets of samples, its options as parameters, its state and provenance as tags.
Each tracker remembers what it was given, so that an export adds what is new and nothing twice."""

import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import UserError
from benchmark.export.base import AXES, REASON_LENGTH, Clock, News, Position, Seen, Tracker
from benchmark.export.stored import StoredRow, rows_of_cell, sheets_of
from benchmark.matrix.cell import digest
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.locks import is_locked
from benchmark.store.overview import GONE
from benchmark.store.schema import Entry, Environment, MatrixFile, RunStatus, Spec, Status
from benchmark.text import one_line

EVERY = 5.0  # seconds between two looks at a running matrix
# names of a status, and of an environment, that are tags of a run
STATUS_FACTS = ("status", "reason", "onset", "resumes", "code", "protocol")
ENVIRONMENT_FACTS = ("device", "platform", "python", "cuda")


class Value(NamedTuple):
    """A value of a series at a generator step. None: there is no value to export."""

    step: int
    series: str
    value: float | None


def export(
    folder: Path, tracker: Tracker, only: str = "", follow: bool = False
) -> Iterator[Counter[str]]:
    """Write what is new of a result set's cells, and yield how much: cells, values, sheets.

    With `follow`, look again every EVERY seconds until every cell has ended, and yield after each
    look. Ctrl-C ends the export after the cell that is being written, so that nothing is written
    twice; without `follow` the end is a KeyboardInterrupt. Raises UserError for what the tracker's
    library refuses."""
    results = ResultSet(folder)
    ended: dict[str, Status] = {}
    with _stopped() as stop:
        try:
            while True:
                wrote = Counter[str]()
                left = 0
                for entry in _chosen(results.matrix, only):
                    if stop.is_set():
                        break
                    left += _export_cell(results.cell(entry.key), entry, tracker, ended, wrote)
                yield wrote
                if stop.is_set() and not follow:
                    raise KeyboardInterrupt
                if not follow or not left or stop.wait(EVERY):
                    return
        except tracker.errors as error:
            raise UserError(f"export: {one_line(error)[:REASON_LENGTH]}") from error
        finally:
            tracker.close()


def _export_cell(
    files: CellFolder,
    entry: Entry,
    tracker: Tracker,
    ended: dict[str, Status],
    wrote: Counter[str],
) -> bool:
    """Write what is new of a cell, and count it in `wrote`. True where more may come: the cell is
    running, or has not ended. `ended` holds, by key, the settled statuses that were exported."""
    is_running = is_locked(files)
    status = files.status
    if status.status == RunStatus.RUNNING and not is_running:
        status = status.model_copy(update={"status": RunStatus.INTERRUPTED, "reason": GONE})
    if ended.get(entry.key) != status:
        news = _news(files, entry, status, tracker)
        if news:
            tracker.write(news)
            num_values = sum(map(len, news.points.values()))
            wrote += Counter(cells=1, values=num_values, sheets=len(news.sheets))
        if status.status.is_settled:
            ended[entry.key] = status
    return is_running or not status.status.is_settled


@contextmanager
def _stopped() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; a second Ctrl-C interrupts at once."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def ask(*_: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _chosen(matrix: MatrixFile, only: str) -> list[Entry]:
    """The cells that --only asks for. Raises UserError if no cell is left."""
    entries = matrix.selected(only)
    if only and not entries:
        raise UserError(f"--only {only!r}: no cell of the matrix is left to export")
    return entries


# What is new of a cell


def _news(files: CellFolder, entry: Entry, status: Status, tracker: Tracker) -> News | None:
    """None where nothing is new, or where the cell is not built and its recipe is not known."""
    is_built = status.status.is_settled or "recipe" in status.model_fields_set
    if status.status == RunStatus.MISSING or not is_built:
        return None
    started = status.started or ""
    before = tracker.seen(entry.key, started)
    # evals are read before steps: all that was evaluated is then among the steps
    files.check_facts(status)
    evals = rows_of_cell(files, files.evals, status, g_steps=int, metric=str)
    steps = rows_of_cell(files, files.steps, status, g_step=int)
    new_sheets = sheets_of(files, before.sheet)
    spec = files.spec
    environment = files.environment
    if (files.status.started or "") != started:
        return None  # the cell was restarted while it was read

    logged = {row["g_step"] for row in steps}
    eval_values = list(_eval_values(evals, logged))
    step_values = list(_step_values(steps))
    new_evals = _unseen(eval_values, before.evals)
    new_steps = _unseen(step_values, before.steps)
    axes = {axis: str(getattr(entry, axis)) for axis in AXES}
    params = _params(entry, spec, status)
    facts = _facts(status, environment)
    seen = Seen(
        run=before.run,
        evals=new_evals.position,
        steps=new_steps.position,
        sheet=max(new_sheets, default=before.sheet),
        params=digest(params),
        facts=digest(facts),
        bytes=before.bytes,
    )
    if seen == before:
        return None
    return News(
        key=entry.key,
        started=started,
        axes=axes,
        status=status.status,
        params=params if seen.params != before.params else {},
        facts=facts if seen.facts != before.facts else {},
        points=_points(new_evals.values + new_steps.values, _series(eval_values + step_values)),
        sheets=new_sheets,
        clock=_clock(files, status),
        seen=seen,
    )


def _eval_values(rows: list[StoredRow], logged: set[int]) -> Iterator[Value]:
    """The metrics; and once per evaluation the training seconds, with the samples seen where no row
    of steps has them."""
    last = None
    for row in rows:
        step = row["g_steps"]
        if step != last:
            yield Value(step, "train_seconds", row.get("train_seconds"))
            if step not in logged:
                yield Value(step, "samples_seen", row.get("samples_seen"))
        last = step
        yield Value(step, row["metric"], row.get("value"))


def _step_values(rows: list[StoredRow]) -> Iterator[Value]:
    for row in rows:
        for series, value in row.items():
            if series not in ("schema", "g_step"):
                yield Value(row["g_step"], series, value)


class Unseen(NamedTuple):
    """The values of a file that were not exported, and the position once they are."""

    values: list[Value]
    position: Position


def _unseen(values: list[Value], seen: Position) -> Unseen:
    """The values beyond a position. The position never moves back: a resumed cell writes lost rows
    again, at steps that were exported before."""
    later = [value for value in values if value.step > seen.step]
    same_step = [value for value in values if value.step == seen.step]
    new = later + same_step[seen.num_values :]
    top = max((value.step for value in values), default=-1)
    if top < seen.step:
        return Unseen(new, seen)
    num_values = sum(value.step == top for value in values)
    if top == seen.step:
        num_values = max(num_values, seen.num_values)
    return Unseen(new, Position(top, num_values))


def _series(values: Iterable[Value]) -> set[str]:
    """The series of a cell: those with a finite value. What an objective does not have is NaN in
    every row; in another series NaN says how the cell diverged."""
    return {value.series for value in values if _is_finite(value.value)}


def _is_finite(value: object) -> bool:
    # isfinite raises OverflowError for a whole number that no float holds
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _points(values: Iterable[Value], known: set[str]) -> dict[int, dict[str, float]]:
    """Generator step -> known series -> value, steps in ascending order."""
    points: dict[int, dict[str, float]] = {}
    for step, series, value in sorted(values, key=lambda value: value.step):
        if value is None or series not in known:
            continue
        if isinstance(value, float) or _is_finite(value):
            points.setdefault(step, {})[series] = value
    return points


def _params(entry: Entry, spec: Spec | None, status: Status) -> dict[str, Any]:
    """The options of a cell: its entry in matrix.json, then its spec.json, then its recipe."""
    options = entry.spec.plain()
    if spec:
        options |= spec.plain()
        options.pop("key", None)
    return dict(_flat(options)) | dict(_flat({"recipe": status.recipe}))


def _flat(table: StoredRow, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`training.steps`: 600; lists as JSON; what is not set is left out."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", json.dumps(value)
        elif value is not None:
            yield f"{prefix}{name}", value


def _facts(status: Status, environment: Environment | None) -> dict[str, str]:
    """State and provenance of a cell. Its reason is empty where there is none."""
    state = status.plain()
    machine = environment.plain() if environment else {}
    facts = {name: state.get(name) for name in STATUS_FACTS}
    facts |= {name: machine.get(name) for name in ENVIRONMENT_FACTS}
    facts |= machine.get("versions", {})
    git = machine.get("git") or {}
    facts |= {f"git_{name}": value for name, value in git.items()}
    known = {name: str(value) for name, value in facts.items() if value is not None}
    return known | {"reason": facts["reason"] or ""}


def _clock(files: CellFolder, status: Status) -> Clock:
    """The clock of a cell. Without a start in its status, the time of its last status."""
    if status.started:
        started = datetime.fromisoformat(status.started)
    else:
        started = datetime.fromtimestamp(files.status_file.stat().st_mtime, UTC)
    return Clock(started.timestamp(), (status.train_seconds or 0.0) / (status.g_steps or 1))
