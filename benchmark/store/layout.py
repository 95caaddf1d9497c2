"""Where the files of a result set lie: every path, once."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmark.errors import DamagedError, UserError
from benchmark.store.files import (
    check_committed,
    hashed,
    reaches_end,
    read_bytes,
    read_json,
    read_record,
    refuse_link,
    signature,
    validating,
    write_json,
    write_record,
)
from benchmark.store.schema import (
    PROTOCOLS,
    CommittedFile,
    Environment,
    MatrixFile,
    Protocol,
    Race,
    RunStatus,
    Spec,
    Status,
)

RESULTS = Path("results/runs")  # the folder of all result sets, unless another one is named
REAL = "real"  # the folder of a result set that holds real samples of every dataset, for pictures


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
    def first_steps(self) -> Path:
        return self.path / "first_steps.jsonl"

    @property
    def layers(self) -> Path:
        return self.path / "layers.jsonl"

    @property
    def rows(self) -> tuple[Path, ...]:
        """The files that grow by a row at a time."""
        return self.steps, self.first_steps, self.evals, self.layers

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
        of another cell, and for a finished cell whose evaluations are lost or truncated; `fault`
        tells more. Raises UserError for a file that cannot be read, and for a link."""
        return self.read_status()[0]

    def read_status(self) -> tuple[Status, str | None]:
        """The committed status, and why it is MISSING although the cell has files."""
        refuse_link(self.path)
        refuse_link(self.samples)
        missing = Status(status=RunStatus.MISSING)
        try:
            status = read_record(self.status_file, Status)
        except DamagedError as error:
            return missing, str(error)
        if status is None:
            is_lost = self.evals.exists()
            return missing, f"{self.status_file} is lost" if is_lost else None
        if status.key not in (None, self.key):
            return missing, f"{self.status_file} is of the cell {status.key!r}"
        if status.status.is_finished and not reaches_end(self.evals, status):
            return missing, f"{self.evals} is lost or truncated"
        return status, None

    def spec(self, status: Status | None = None) -> Spec | None:
        """Raises DamagedError for one that is not as the status says that it was committed."""
        spec = read_record(self.spec_file, Spec, self.committed_file(self.spec_file, status))
        if spec and spec.key not in (None, self.key):
            raise DamagedError(f"{self.spec_file} is damaged: it is of the cell {spec.key!r}")
        return spec

    def environment(self, status: Status | None = None) -> Environment | None:
        file = self.environment_file
        return read_record(file, Environment, self.committed_file(file, status))

    def write_status(self, status: Status) -> None:
        write_record(self.status_file, status)

    def commit(self, status: Status) -> None:
        """Write the last status, with the hashes of the other files. The rows reach the disk first:
        a status never promises more rows than there are."""
        for path in self.rows:
            if path.exists():
                with path.open("rb") as rows:
                    os.fsync(rows.fileno())
        status.files = hashed(self.path, self._kept_files())
        self.write_status(status)

    def content(self, path: Path, status: Status) -> bytes:
        """The content of a file of a settled cell. Raises FileNotFoundError, UserError for a file
        that cannot be read, and DamagedError for one that is not as it was committed."""
        content = read_bytes(path)
        if content is None:
            raise FileNotFoundError(path)
        check_committed(path, content, self.committed_file(path, status))
        return content

    def committed_file(self, path: Path, status: Status | None) -> CommittedFile | None:
        """What the status of a settled cell says of a file; None if nothing."""
        if status is None or not status.status.is_settled:
            return None
        return status.files.get(path.relative_to(self.path).as_posix())

    def fault(self, status: Status) -> str | None:
        """The first fault of the files of a settled cell; None if all are as they were committed.
        Generators and samples may be deleted to save room. Reads all files."""
        for name in status.files:
            try:
                self.content(self.path / name, status)
            except FileNotFoundError:
                if name.endswith((".json", ".jsonl")):
                    return f"{self.path / name} is missing"
            except DamagedError as error:
                return str(error)
        return None

    def _kept_files(self) -> Iterator[Path]:
        """The files that stay as they are once a cell is committed."""
        for path in sorted([*self.path.glob("[!.]*.json*"), self.generator]):
            if path.is_file() and path != self.status_file:
                yield path
        yield from sorted([*self.samples.glob("[!.]*.npz"), *self.samples.glob("[!.]*.txt")])

    def unfinished_files(self) -> list[Path]:
        """What writers that were killed left behind: temporary files."""
        files = [*self.path.glob(".*"), *self.samples.glob(".*")]
        return [file for file in files if file != self.lock]


@lru_cache(maxsize=2)  # a verb may ask several times
def _matrix(file: Path, written: object) -> MatrixFile | None:
    return read_record(file, MatrixFile)


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
    def race_files(self) -> Path:
        return self.path / "races"

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
    def audit(self) -> Path:
        return self.path / "audit"

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
        return os.path.lexists(self.matrix_file)  # False also for a name that is too long

    def cell(self, key: str) -> CellFolder:
        return CellFolder(self.cells / key)

    def refuse_links(self) -> None:
        """Raises UserError for a folder of the result set that is a link: it may lead out of it."""
        own = (self.cells, self.race_files, self.tables, self.figures, self.report)
        for folder in (*own, self.exports, self.samples, self.path / REAL):
            refuse_link(folder)

    @property
    def matrix(self) -> MatrixFile:
        """The matrix. Raises UserError for a folder without one, for a damaged file, for a cell's
        key that is no plain file name or occurs twice, and for a folder that is a link."""
        self.refuse_links()
        matrix = _matrix(self.matrix_file, self.path.is_dir() and signature(self.matrix_file))
        if matrix is None:
            fault = f"no matrix.json in {self.path}: not the results of a matrix"
            raise UserError(f"{fault}; `ganbench run` writes them")
        return matrix

    @property
    def protocols(self) -> dict[str, Protocol]:
        """Protocol and noise floor by dataset."""
        content = read_json(self.protocols_file)
        content.pop("schema", None)
        with validating(self.protocols_file):
            return PROTOCOLS.validate_python(content)

    @property
    def races(self) -> list[Race]:
        read = [read_record(path, Race) for path in sorted(self.race_files.glob("[!.]*.json"))]
        return [race for race in read if race]

    def write_race(self, race: Race) -> None:
        write_record(self.race_files / f"{race.name}.json", race)

    def write_protocols(self, protocols: dict[str, Protocol]) -> None:
        content = {dataset: protocol.plain() for dataset, protocol in protocols.items()}
        write_json(self.protocols_file, content)
