"""Where the files of a result set lie: every path, once."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import DamagedError, UserError
from benchmark.store.files import read_json, read_record, validating, write_json, write_record
from benchmark.store.schema import (
    PROTOCOLS,
    Environment,
    MatrixFile,
    Protocol,
    RunStatus,
    Spec,
    Status,
)

TAIL = 4096  # bytes at the end of a file of rows that hold its last row


@dataclass(frozen=True)
class CellFolder:
    """The files of one cell. Its name is the key of the cell."""

    path: Path

    @property
    def key(self) -> str:
        return self.path.name

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def spec_file(self) -> Path:
        return self.path / "spec.json"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def evals(self) -> Path:
        return self.path / "evals.jsonl"

    @property
    def former_evals(self) -> Path:
        """Evaluations that `measure` has set aside."""
        return self.path / "evals.former.jsonl"

    @property
    def steps(self) -> Path:
        return self.path / "steps.jsonl"

    @property
    def layers(self) -> Path:
        return self.path / "layers.jsonl"

    @property
    def rows(self) -> tuple[Path, ...]:
        """The files that grow by a row at a time."""
        return self.steps, self.evals, self.layers

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def generator(self) -> Path:
        return self.path / "generator.pt"

    @property
    def traceback(self) -> Path:
        return self.path / "traceback.txt"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def former_checkpoint(self) -> Path:
        return self.path / "checkpoint.before.pt"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    @property
    def status(self) -> Status:
        """The committed status.

        MISSING, so that the cell runs again, without a status, with a damaged one, with the status
        of another cell, and for a finished cell whose evaluations are lost or truncated. Raises
        UserError for a file that cannot be read."""
        try:
            status = read_record(self.status_file, Status)
        except DamagedError:
            return Status(status=RunStatus.MISSING)
        if status is None or status.key not in (None, self.key):
            return Status(status=RunStatus.MISSING)
        if status.status.is_finished and not self._has_evaluations(status):
            return Status(status=RunStatus.MISSING)
        return status

    @property
    def spec(self) -> Spec | None:
        return read_record(self.spec_file, Spec)

    @property
    def environment(self) -> Environment | None:
        return read_record(self.environment_file, Environment)

    def write_status(self, status: Status) -> None:
        write_record(self.status_file, status)

    def commit(self, status: Status) -> None:
        """Write the last status. The rows reach the disk first: a status never promises more rows
        than there are."""
        for file in self.path.glob("*.jsonl"):
            with file.open("rb") as rows:
                os.fsync(rows.fileno())
        self.write_status(status)

    def unfinished_files(self) -> Iterator[Path]:
        """What writers that were killed left behind: temporary files."""
        for file in [*self.path.glob(".*"), *self.samples.glob(".*")]:
            if file != self.lock:
                yield file

    def _has_evaluations(self, status: Status) -> bool:
        """Whether the rows of a finished cell reach its end: the samples that the status of a done
        cell counts. A cell may diverge before its first evaluation. Reads the end of the file."""
        done = status.status == RunStatus.DONE
        try:
            with self.evals.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
                *lines, rest = file.read().split(b"\n")
        except FileNotFoundError:
            return not done
        except OSError as error:
            raise UserError(f"{self.evals} cannot be read: {error.strerror}") from error
        if rest:
            return False
        if not lines:
            return not done
        try:
            samples_seen = json.loads(lines[-1])["samples_seen"]
            if done:
                return bool(samples_seen == status.samples_seen)
            return bool(samples_seen <= status.samples_seen)
        except (ValueError, KeyError, TypeError, RecursionError):
            return False


@dataclass(frozen=True)
class ResultSet:
    """The results of one matrix: results/runs/MATRIX."""

    path: Path

    @property
    def matrix_file(self) -> Path:
        return self.path / "matrix.json"

    @property
    def protocols_file(self) -> Path:
        return self.path / "protocols.json"

    @property
    def cells(self) -> Path:
        return self.path / "cells"

    @property
    def tables(self) -> Path:
        return self.path / "tables"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def exports(self) -> Path:
        return self.path / "exports"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    @property
    def exists(self) -> bool:
        # False also for a name that is too long for a path
        return os.path.exists(self.matrix_file)

    def cell(self, key: str) -> CellFolder:
        return CellFolder(self.cells / key)

    @property
    def matrix(self) -> MatrixFile:
        """The matrix. Raises UserError for a folder without one, for a damaged file, and for a
        cell's key that is no plain file name or occurs twice."""
        matrix = read_record(self.matrix_file, MatrixFile)
        if matrix is None:
            raise UserError(
                f"no matrix.json in {self.path}: not the results of a matrix; "
                "`ganbench run` writes them"
            )
        return matrix

    @property
    def protocols(self) -> dict[str, Protocol]:
        """Protocol and noise floor by dataset."""
        content = read_json(self.protocols_file)
        content.pop("schema", None)
        with validating(self.protocols_file):
            return PROTOCOLS.validate_python(content)

    def write_matrix(self, matrix: MatrixFile) -> None:
        write_record(self.matrix_file, matrix)

    def write_protocols(self, protocols: dict[str, Protocol]) -> None:
        content = {dataset: protocol.plain() for dataset, protocol in protocols.items()}
        write_json(self.protocols_file, content)
