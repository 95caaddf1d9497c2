"""The cells of a submission, each read once. Any file may be damaged or forged; none is trusted."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.errors import DamagedError, UserError
from benchmark.matrix.cell import AXES, key_of
from benchmark.store.files import SEAL, read_bytes, rows_of
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import Entry, Environment, MatrixFile, RunStatus, Spec, Status

SPEC = ("objective", "architecture", "dataset", "seed", "training")  # what a key is made of
COMMITTED = ("spec.json", "environment.json", "evals.jsonl", "steps.jsonl")


@dataclass(frozen=True)
class SubmittedCell:
    """A cell of a submission."""

    entry: Entry
    files: CellFolder
    status: Status
    """MISSING for a cell whose files cannot be used."""
    fault: str
    """Why they cannot; empty where they can, and where there are none."""

    @property
    def is_finished(self) -> bool:
        return self.status.status.is_finished

    @property
    def place(self) -> tuple[str, str]:
        return self.entry.architecture, self.entry.dataset

    @cached_property
    def surroundings(self) -> Environment:
        return self.files.environment() or Environment()

    @cached_property
    def spec(self) -> Spec:
        return self.files.spec() or self.entry.spec

    @cached_property
    def evaluations(self) -> dict[int, dict[str, float]]:
        """Generator step → metric column → value, in the order of the file; of the protocol that
        the status names."""
        found: dict[int, dict[str, float]] = {}
        for row in rows_of(self.files.evals, read_bytes(self.files.evals) or b""):
            if row["protocol"] == self.status.protocol:
                found.setdefault(int(row["g_steps"]), {})[row["metric"]] = float(row["value"])
        return found

    @cached_property
    def gradients(self) -> dict[int, float]:
        """Generator step → gradient norm of the generator, of steps.jsonl."""
        rows = rows_of(self.files.steps, read_bytes(self.files.steps) or b"")
        return {int(row["g_step"]): float(row["g_grad_norm"]) for row in rows}

    @property
    def last_logged(self) -> int:
        """The last generator step of steps.jsonl; −1 of an empty file."""
        return max(self.gradients, default=-1)

    def moves_after(self, step: int) -> bool:
        """Whether the generator has a gradient behind a step."""
        return any(norm > 0 for at, norm in self.gradients.items() if at > step)


def read_cells(results: ResultSet, matrix: MatrixFile) -> list[SubmittedCell]:
    """Every cell of the list. Reads all files but generators and samples, which may be left out."""
    cells = []
    for entry in matrix.cells:
        files = results.cell(entry.key)
        status, fault = files.read_status()
        try:
            fault = fault or _fault(files, entry, status)
            cell = SubmittedCell(entry, files, status, fault or "")
            if cell.is_finished and not fault:
                # Rows that are no rows raise here
                _ = cell.evaluations, cell.gradients
        except (UserError, OSError, ValueError, KeyError, TypeError) as error:
            fault = f"{files.path}: {error}"
        if fault:
            missing = Status(status=RunStatus.MISSING)
            cell = SubmittedCell(entry, files, missing, fault)
        cells.append(cell)
    return cells


def other_folders(results: ResultSet, matrix: MatrixFile) -> list[str]:
    """Folders of cells that the matrix does not list: runs that were made and left out."""
    listed = {entry.key for entry in matrix.cells}
    if not results.cells.is_dir():
        return []
    return sorted(path.name for path in results.cells.iterdir() if path.name not in listed)


def unsealed(path: Path) -> str:
    """Why a JSON file does not hold the hash of its fields; the empty string where it does.
    `read_json` checks that the hash is right."""
    content = json.loads(read_bytes(path) or b"{}")
    return "" if SEAL in content else f"{path} holds no {SEAL} of its fields: it was edited"


def _fault(files: CellFolder, entry: Entry, status: Status) -> str | None:
    """Why a cell's files cannot be used; None where they can, and for an unfinished cell."""
    if not status.status.is_finished:
        return None
    for path in (files.status_file, files.spec_file, files.environment_file):
        reason = unsealed(path)
        if reason:
            return reason
    missing = [name for name in COMMITTED if name not in status.files]
    if missing:
        return f"{files.status_file} has no hash of {missing[0]}"
    return files.fault(status) or next(_mismatches(files, entry), None)


def _mismatches(files: CellFolder, entry: Entry) -> Iterator[str]:
    """Where the list of cells, a cell's folder and its spec do not say the same."""
    spec = files.spec()
    if spec is None:
        raise DamagedError(f"{files.spec_file} is missing")
    plain = {name: value for name, value in spec.plain().items() if name in SPEC}
    if key_of(plain) != entry.key:
        yield f"{files.spec_file} is the spec of {key_of(plain)}"
    labels = [choice.label for choice in spec.choices[:3]]
    listed = [getattr(entry, axis) for axis in AXES]
    if [*labels, spec.seed] != [*listed, entry.seed]:
        yield f"{files.spec_file} is not of {', '.join(listed)}, seed {entry.seed}"
