"""Measure finished cells again, from the final generators that they left: after a metric was added
or changed, no training has to be repeated."""

import json
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmark.errors import DamagedError, UserError
from benchmark.matrix.cell import Cell
from benchmark.matrix.options import Evaluation
from benchmark.measure.instrument import open_instrument
from benchmark.measure.protocol import Instrument, protocol_id
from benchmark.run.cell.rows import eval_rows
from benchmark.run.cell.samples import load_snapshot
from benchmark.run.prepare import datasets_of, prepare
from benchmark.store.clocks import timestamp
from benchmark.store.code import CodeHashes, measuring_code
from benchmark.store.files import SCHEMA, append_rows, read_rows, validating, write_bytes
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.locks import alone, held
from benchmark.store.schema import Entry, RunStatus, Status
from benchmark.text import counted, described, plural

SAME = 1e-6  # relative difference up to which two values of one metric are equal
SCHEDULE_OPTIONS = ("schedule", "log_every")  # they take effect during training alone


@dataclass
class Measured:
    """What `measure_again` did."""

    measured: int = 0
    """Cells that were measured."""

    current: int = 0
    """Cells whose measurements are those of the present code."""

    set_aside: Counter[str] = field(default_factory=Counter)
    """Metric column → cells whose earlier evaluations were set aside, because the final value
    changed."""

    not_done: Counter[str] = field(default_factory=Counter)
    """Status → cells that are not measured: only a done cell leaves a final generator."""

    impossible: dict[str, list[str]] = field(default_factory=dict)
    """Reason → keys of the cells that cannot be measured again."""

    failed: dict[str, str] = field(default_factory=dict)
    """Key → why measuring failed."""

    @property
    def lines(self) -> list[str]:
        """What to tell the user."""
        lines = [f"{plural(self.measured, 'cell')} measured again, {self.current} were up to date"]
        for column, n in sorted(self.set_aside.items()):
            lines.append(
                f"{column}: the final value of {plural(n, 'cell')} changed; their earlier "
                "evaluations cannot be redone and were set aside (evals.former.jsonl): best and "
                "area of these cells are those of the final value"
            )
        if self.not_done:
            lines.append(f"not measured, because not done: {counted(self.not_done)}")
        for reason, keys in self.impossible.items():
            lines.append(f"{len(keys)} cells cannot be measured again: {reason}")
        lines += [f"{key}: {reason}" for key, reason in self.failed.items()]
        return lines


def measure_again(
    folder: Path,
    device: str,
    *,
    only: str = "",
    force: bool = False,
    note: Callable[[str], object] = print,
) -> Measured:
    """Measure the finished cells of a result set whose measurements are stale or incomplete; with
    `force` all of them. Only final values can be measured: earlier snapshots were not kept.

    A cell is measured under the evaluation options of matrix.json. A cell whose files are damaged
    is named and keeps them. Raises UserError."""
    results, hashes, done = ResultSet(folder), CodeHashes(), Measured()
    matrix = results.matrix
    with validating(results.matrix_file):
        evaluation = Evaluation.model_validate(matrix.config.get("evaluation", {}))
    todo: dict[str, Cell] = {}
    datasets = datasets_of(matrix)
    for entry in matrix.selected(only):
        files = results.cell(entry.key)
        status = files.status
        if status.status != RunStatus.DONE:
            done.not_done[str(status.status)] += 1
            continue
        try:
            reason, cell = _cell_to_measure(evaluation, files, hashes)
            if cell is None:
                done.impossible.setdefault(reason, []).append(entry.key)
                continue
            cell = replace(cell, dataset=datasets.get(entry.dataset, cell.dataset))
            if force or _is_outdated(cell, entry, files, hashes, device):
                todo[entry.key] = cell
            elif fault := files.fault(status):
                done.failed[entry.key] = fault
            else:
                done.current += 1
        except UserError as error:
            done.failed[entry.key] = str(error)
    if todo:
        note(f"measuring {len(todo)} cells …")
        with alone(results):
            # A search may have added cells meanwhile
            prepare(results, results.matrix, [*todo.values()], device, note=note)
    for key, cell in todo.items():
        try:
            _measure(results.cell(key), cell, device, done)
        except UserError as error:
            done.failed[key] = str(error)
        except (OSError, RuntimeError, ValueError, FloatingPointError) as error:
            done.failed[key] = described(error)
    return done


def _cell_to_measure(
    evaluation: Evaluation, files: CellFolder, hashes: CodeHashes
) -> tuple[str, Cell | None]:
    """The cell under the evaluation options of the matrix, or why it cannot be measured again.
    Raises DamagedError for a damaged spec."""
    spec = files.spec()
    if spec is None:
        return "there is no spec.json; `run --force` trains the cell again", None
    if not files.generator.exists():
        return "the final generator was not kept; `run --force` trains the cell again", None
    if files.status.code != hashes.training(spec):
        return "different code trained the cell; `run --force` trains it again", None
    try:
        cell = spec.cell()
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{files.spec_file} is damaged: {described(error)}") from error
    for option in SCHEDULE_OPTIONS:
        if getattr(cell.evaluation, option) != getattr(evaluation, option):
            return f"evaluation.{option} takes effect during training alone", None
    return "", replace(cell, evaluation=evaluation)


def _is_outdated(
    cell: Cell, entry: Entry, files: CellFolder, hashes: CodeHashes, device: str
) -> bool:
    """Whether a cell was measured by other code, under another protocol, or without a metric."""
    status = files.status
    if hashes.is_measured_by_other_code(status, entry.modality):
        return True
    if status.evaluation_hash != cell.evaluation_hash:
        return True
    instrument = open_instrument(cell.dataset, cell.evaluation, device)
    if status.protocol != protocol_id(instrument):
        return True
    final = {row["metric"] for row in _rows(files) if row["g_steps"] == status.g_steps}
    return not set(instrument.columns.values()) <= final


def _rows(files: CellFolder) -> list[dict[str, Any]]:
    """The evaluations of a cell. Raises DamagedError for rows that cannot be replaced."""
    rows = list(read_rows(files.evals))
    for row in rows:
        for name in ("metric", "g_steps", "protocol", "value"):
            if row.get(name) is None:
                raise DamagedError(f"{files.evals} is damaged: a row has no {name}")
        if not isinstance(row["metric"], str) or not isinstance(row["value"], int | float):
            raise DamagedError(f"{files.evals} is damaged: {row['metric']!r} is {row['value']!r}")
    return rows


def _measure(files: CellFolder, cell: Cell, device: str, done: Measured) -> None:
    """Measure one cell and replace its final values."""
    with held(files) as has_lock:
        if not has_lock:
            done.failed[files.key] = "another process is running it"
            return
        began = time.perf_counter()
        instrument = open_instrument(cell.dataset, cell.evaluation, device)
        status = files.status
        try:
            new_rows = _final_rows(files, cell, status, instrument, device)
            rows = _rows(files)
            fault = files.fault(status)
            if fault:
                raise DamagedError(fault)
            # A process that is killed between rows and status leaves rows that are not checked
            for file in (files.evals, files.former_evals):
                status.files.pop(file.name, None)
            files.write_status(status)
            changed = _replace_final_rows(files, status, rows, new_rows)
        except UserError as error:
            done.failed[files.key] = str(error)
            return
        done.set_aside.update(changed)
        status.protocol = protocol_id(instrument)
        status.measuring_code = measuring_code(instrument.parts["modality"])
        status.evaluation_hash = cell.evaluation_hash
        status.add_seconds("eval_seconds", time.perf_counter() - began)
        status.updated = timestamp()
        files.commit(status)
        done.measured += 1


def _final_rows(
    files: CellFolder, cell: Cell, status: Status, instrument: Instrument, device: str
) -> list[dict[str, Any]]:
    """Rows of evals.jsonl for the end of the training, from the stored generator."""
    snapshot = load_snapshot(cell, files, device)
    snapshot.progress.g_steps = status.g_steps or 0
    snapshot.progress.samples_seen = status.samples_seen or 0
    snapshot.counters.train_seconds = status.train_seconds or 0.0
    return eval_rows(snapshot, instrument)


def _replace_final_rows(
    files: CellFolder,
    status: Status,
    rows: list[dict[str, Any]],
    new_rows: list[dict[str, Any]],
) -> list[str]:
    """Replace the final rows. Earlier rows of another protocol, and earlier rows of a column whose
    final value changed, move to evals.former.jsonl. Returns the columns that changed."""
    new = {row["metric"]: row for row in new_rows}
    changed: set[str] = set()
    for row in rows:
        replacement = new.get(row["metric"]) if row["g_steps"] == status.g_steps else None
        if replacement and not _is_same(row, replacement):
            changed.add(row["metric"])
    kept: list[dict[str, Any]] = []
    former: list[dict[str, Any]] = []
    for row in rows:
        is_final = row["g_steps"] == status.g_steps
        if is_final and row["metric"] in new:
            continue
        is_former = row["protocol"] != new_rows[0]["protocol"] or row["metric"] in changed
        (former if is_former else kept).append(row)
    if former:
        append_rows(files.former_evals, former)
    lines = [json.dumps({"schema": SCHEMA, **row}) for row in [*kept, *new_rows]]
    write_bytes(files.evals, ("\n".join(lines) + "\n").encode())
    return sorted(changed)


def _is_same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    if old["protocol"] != new["protocol"]:
        return False
    a, b = old["value"], new["value"]
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=SAME, abs_tol=1e-12)
