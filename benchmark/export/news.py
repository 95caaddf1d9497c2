"""Results -> an experiment tracker: what is new of each cell since the last export.

Reads the files of the cells, while a matrix runs or afterwards; the training loop knows nothing of
trackers, and the JSONL files remain the source. A cell is one run: its evals and steps at their
generator steps, its sheets of samples, its options as parameters, its state and provenance as tags.
Each tracker remembers what it was given, so that an export adds what is new and nothing twice."""

import io
import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from benchmark.errors import DamagedError, UserError
from benchmark.export.base import AXES, REASON_LENGTH, Clock, News, Seen, Tracker
from benchmark.export.values import (
    StoredRow,
    eval_values,
    points_of,
    series_of,
    step_values,
    unseen,
)
from benchmark.matrix.cell import digest
from benchmark.store.files import rows_of
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.locks import is_locked
from benchmark.store.reader import GONE
from benchmark.store.schema import Entry, Environment, MatrixFile, RunStatus, Spec, Status
from benchmark.text import described, one_line

EVERY = 5.0  # seconds between two looks at a running matrix
# names of a status, and of an environment, that are tags of a run
STATUS_FACTS = ("status", "reason", "onset", "resumes", "code", "protocol")
ENVIRONMENT_FACTS = ("device", "platform", "python", "cuda")


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
    """An event that the first Ctrl-C sets; a second Ctrl-C interrupts at once. A SIGINT that is
    ignored, as in the background of a script, stays ignored."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        yield stop
        return

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
    entries = matrix.labelled().selected(only)
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
    spec, environment = files.spec(status), files.environment(status)
    evals = _rows(files, files.evals, status, g_steps=int, metric=str)
    steps = _rows(files, files.steps, status, g_step=int)
    new_sheets = _sheets(files, status, before.sheet)
    if (files.status.started or "") != started:
        return None  # the cell was restarted while it was read

    logged = {row["g_step"] for row in steps}
    measured = list(eval_values(evals, logged))
    traced = list(step_values(steps))
    new_evals = unseen(measured, before.evals)
    new_steps = unseen(traced, before.steps)
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
        points=points_of(new_evals.values + new_steps.values, series_of(measured + traced)),
        sheets=new_sheets,
        clock=_clock(files, status),
        seen=seen,
    )


def _sheets(files: CellFolder, status: Status, after: int) -> dict[int, Path]:
    """The sheets of samples beyond a generator step, by step. A link is none: it may lead to any
    file. Raises DamagedError for a file that is no picture of a usual size, or no text."""
    sheets = {}
    for path in sorted([*files.samples.glob("*.png"), *files.samples.glob("*.txt")]):
        if not path.stem.isdecimal() or path.is_symlink() or int(path.stem) <= after:
            continue
        content = files.content(path, status)
        try:
            if path.suffix == ".txt":
                content.decode()
            else:
                with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                    image.verify()
        # PIL raises many kinds of error
        except Exception as error:
            raise DamagedError(f"{path} is damaged: {described(error)}") from error
        sheets[int(path.stem)] = path
    return sheets


def _rows(files: CellFolder, path: Path, status: Status, **required: type) -> list[StoredRow]:
    """The rows of a JSONL file of a cell. Raises DamagedError where one lacks a required field, and
    for a file that is not as it was committed."""
    try:
        rows = list(rows_of(path, files.content(path, status)))
    except FileNotFoundError:
        return []
    for name, kind in required.items():
        if not all(isinstance(row.get(name), kind) for row in rows):
            raise DamagedError(f"{path} is damaged: a row has no {name}")
    return rows


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
