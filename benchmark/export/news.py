"""Results -> an experiment tracker (TensorBoard, MLflow, Weights & Biases), through the tracker's
own library.

Reads what the cells' folders hold, while a matrix runs or afterwards; the training loop knows
nothing of it, and the JSONL files stay the truth. A cell is one run: its evals and steps at their
generator steps, its sheets of samples, its options as parameters, its state and provenance as tags.
What was exported is remembered beside the runs, so that an export adds what is new and nothing
twice."""

import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.errors import DamagedError, UserError
from benchmark.export.trackers import AXES, News, Tracker
from benchmark.matrix.cell import Choice, digest
from benchmark.store.files import read_rows
from benchmark.store.layout import ResultSet
from benchmark.store.locks import is_locked
from benchmark.store.overview import GONE
from benchmark.store.schema import SETTLED

EVERY = 5.0  # seconds between two looks at a running matrix
Value = tuple[int, str, float | None]  # generator step, series, value


def export(
    folder: Path, tracker: Tracker, only: str = "", follow: bool = False
) -> Iterator[Counter[str]]:
    """Write what is new of a result set's cells; with `follow`, look again every EVERY seconds
    until every cell has ended. Yields what each look wrote: cells, values, sheets. Ctrl-C ends it
    after the cell being written, so that nothing is written twice: without `follow` by
    KeyboardInterrupt."""
    ended: dict[str, dict[str, Any]] = {}  # statuses that are settled and exported
    with _stopped() as stop:
        try:
            while True:
                wrote, left = Counter[str](), 0
                for entry in _chosen([e.plain() for e in ResultSet(folder).matrix.cells], only):
                    if stop.is_set():
                        break
                    files = ResultSet(folder).cell(entry["key"])
                    held = is_locked(files)
                    status = files.status.plain()
                    status = {} if status["status"] == "missing" else status
                    settled = status.get("status") in SETTLED
                    left += held or not settled
                    if status.get("status") == "running" and not held:
                        status |= {"status": "interrupted", "reason": GONE}
                    if ended.get(entry["key"]) == status:
                        continue
                    if news := _news(folder, entry, status, tracker):
                        tracker.write(news)
                        wrote += Counter(
                            cells=1,
                            values=sum(map(len, news.points.values())),
                            sheets=len(news.sheets),
                        )
                    if settled:
                        ended[entry["key"]] = status
                yield wrote
                if stop.is_set() and not follow:
                    raise KeyboardInterrupt
                if not (follow and left) or stop.wait(EVERY):
                    return
        except tracker.errors as error:
            raise UserError(f"export: {' '.join(str(error).split())[:500]}") from error
        finally:
            tracker.close()


@contextmanager
def _stopped() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C; a second one interrupts at once."""
    stop, before = threading.Event(), signal.getsignal(signal.SIGINT)

    def ask(*_: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _chosen(entries: list[dict[str, Any]], only: str) -> list[dict[str, Any]]:
    """The entries of matrix.json that --only asks for, in the words of `ganbench run`."""
    if not only:
        return entries
    from benchmark.matrix.expand import selected

    specs = [entry["spec"] for entry in entries]
    chosen = selected(
        [(*(Choice(**spec[axis]) for axis in AXES[:3]), spec["seed"]) for spec in specs], only
    )
    if not (found := [entry for entry, taken in zip(entries, chosen, strict=True) if taken]):
        raise UserError(f"--only {only!r}: no cell of the matrix is left to export")
    return found


# What is new of a cell


def _news(
    folder: Path, entry: dict[str, Any], status: dict[str, Any], tracker: Tracker
) -> News | None:
    """None: nothing new, or not yet known with what the cell trains."""
    if not status or (status["status"] not in SETTLED and "recipe" not in status):
        return None
    key, path, started = entry["key"], folder / "cells" / entry["key"], status.get("started") or ""
    before = tracker.seen(key, started)
    evals = _rows(
        path / "evals.jsonl", g_steps=int, metric=str
    )  # before steps: what has been evaluated is in steps by then
    steps = _rows(path / "steps.jsonl", g_step=int)
    sheets = {int(sheet.stem): sheet for sheet in sorted((path / "samples").glob("*.png"))}
    spec, environment = (
        record.plain() if record else {}
        for record in (ResultSet(folder).cell(key).spec, ResultSet(folder).cell(key).environment)
    )
    if (ResultSet(folder).cell(key).status.started or "") != started:
        return None  # it started anew while it was read

    values, last_eval = _unseen(
        list(_eval_values(evals, {row["g_step"] for row in steps})), before.get("evals")
    )
    more, last_step = _unseen(list(_step_values(steps)), before.get("steps"))
    points: dict[int, dict[str, float]] = {}
    for step, series, value in sorted(values + more, key=lambda value: value[0]):
        if isinstance(value, int | float):
            points.setdefault(step, {})[series] = value
    sheets = {step: sheet for step, sheet in sheets.items() if step > before.get("sheet", -1)}
    params = dict(_flat(entry["spec"] | {k: v for k, v in spec.items() if k != "key"}))
    params |= dict(_flat({"recipe": status.get("recipe", {})}))
    facts = _facts(status, environment)
    now = {
        "evals": last_eval,
        "steps": last_step,
        "sheet": max(sheets, default=before.get("sheet", -1)),
    }
    now |= {"params": digest(params), "facts": digest(facts)}
    if before | now == before:
        return None
    began = (
        datetime.fromisoformat(started)
        if started
        else datetime.fromtimestamp((path / "status.json").stat().st_mtime, UTC)
    )
    seconds = (status.get("train_seconds") or 0.0) / (status.get("g_steps") or 1)
    return News(
        key,
        started,
        {axis: str(entry[axis]) for axis in AXES},
        status["status"],
        params if now["params"] != before.get("params") else {},
        facts if now["facts"] != before.get("facts") else {},
        points,
        sheets,
        (began.timestamp(), seconds),
        before | now,
    )


def _rows(path: Path, **required: type) -> list[dict[str, Any]]:
    rows = list(read_rows(path))
    for name, kind in required.items():
        if not all(isinstance(row, dict) and isinstance(row.get(name), kind) for row in rows):
            raise DamagedError(f"{path} is damaged: a row has no {name}")
    return rows


def _eval_values(rows: list[dict[str, Any]], logged: set[int]) -> Iterator[Value]:
    """The metrics, and once per evaluation the training seconds, and the samples seen where no row
    of steps says it."""
    last = None
    for row in rows:
        if (step := row["g_steps"]) != last:
            yield step, "train_seconds", row.get("train_seconds")
            if step not in logged:
                yield step, "samples_seen", row.get("samples_seen")
        last = step
        yield step, row["metric"], row.get("value")


def _step_values(rows: list[dict[str, Any]]) -> Iterator[Value]:
    for row in rows:
        for series, value in row.items():
            if series not in ("schema", "g_step"):
                yield row["g_step"], series, value


def _unseen(values: list[Value], seen: list[int] | None) -> tuple[list[Value], list[int]]:
    """The values beyond those seen, [last step, number of its values], and what is seen then. Rows
    that a resumed cell has lost and writes again come back at steps that were seen."""
    last, n = seen or (-1, 0)
    top = max((step for step, *_ in values), default=-1)
    new = [value for value in values if value[0] > last] + [
        value for value in values if value[0] == last
    ][n:]
    count = sum(step == top for step, *_ in values)
    return new, [last, n] if top < last else [top, max(count, n) if top == last else count]


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`training.steps`: 600; lists as JSON; what is not set is left out."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", json.dumps(value) if isinstance(value, list) else value


def _facts(status: dict[str, Any], environment: dict[str, Any]) -> dict[str, str]:
    facts = {
        name: status.get(name)
        for name in ("status", "reason", "onset", "resumes", "code", "protocol")
    }
    facts |= {name: environment.get(name) for name in ("device", "platform", "python", "cuda")}
    facts |= environment.get("versions", {}) | {
        f"git_{k}": v for k, v in (environment.get("git") or {}).items()
    }
    return {name: str(value) for name, value in facts.items() if value is not None} | {
        "reason": facts["reason"] or ""
    }
