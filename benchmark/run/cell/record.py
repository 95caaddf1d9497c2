"""What a running cell writes: its folder and its status, from a start or a resume to its end."""

import errno
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmark.errors import UserError
from benchmark.machine.environment import environment
from benchmark.machine.workload import reference_workload
from benchmark.matrix.cell import Cell
from benchmark.run.cell.checkpoint import (
    FORMAT,
    Checkpoint,
    cut_rows,
    load_checkpoint,
    row_lengths,
    save_checkpoint,
)
from benchmark.store.clocks import seconds_spent, timestamp
from benchmark.store.code import measuring_code, training_code
from benchmark.store.files import empty, write_json, write_record
from benchmark.store.layout import CellFolder
from benchmark.store.schema import Environment, Execution, Resume, RunStatus, Status
from benchmark.train.snapshot import Snapshot

# Errors of a disk that takes no more
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
WRITE_EVERY = 5.0  # seconds between two writes of a running status
COST_FACTOR = 50  # checkpoints are at least this many times their cost apart


class CellRecord:
    """The folder of a cell while the cell runs. `status` is what status.json says next."""

    status: Status

    def __init__(
        self, cell: Cell, files: CellFolder, device: str, clock: Callable[[], float]
    ) -> None:
        self.cell, self.files, self.device, self.clock = cell, files, device, clock
        self.made_by: dict[str, Any] = {
            "format": FORMAT,
            "code": training_code(cell),
            "evaluation options": cell.evaluation_hash,
        }
        self.entered = clock()
        self.checkpoint_cost = 0.0  # seconds that the last checkpoint took
        self.written_at = self.saved_at = time.monotonic()
        self.reference_times: list[float] = []

    def open(self) -> Checkpoint | None:
        """Resume from the last checkpoint that can be used, otherwise start from nothing. Returns
        the checkpoint."""
        checkpoint, unused = load_checkpoint(self.files, self.made_by)
        warnings = [f"{name} {why}" for name, why in unused.items()]
        if checkpoint is None:
            self.start(warnings)
        else:
            self._resume(checkpoint, [*unused], warnings)
        return checkpoint

    def start(self, warnings: list[str]) -> None:
        """Start from nothing: empty the folder, write the spec and the environment."""
        self.files.path.mkdir(parents=True, exist_ok=True)
        # The status goes first: it must not describe files that are gone
        self.files.status_file.unlink(missing_ok=True)
        empty(self.files.path, keep=self.files.lock)
        cell = self.cell
        extra = {"evaluation": cell.evaluation.plain(), "norm": cell.norm, "key": cell.key}
        write_json(self.files.spec_file, cell.spec | extra, sealed=True)
        surroundings = environment(self.device).plain()
        write_record(self.files.environment_file, Environment(**surroundings, resumes=[]))
        self.status = Status(
            key=cell.key,
            status=RunStatus.RUNNING,
            onset=None,
            progress=0.0,
            samples_seen=0,
            g_steps=0,
            train_seconds=0.0,
            eval_seconds=0.0,
            probe_seconds=0.0,
            warmup_seconds=0.0,
            compile_seconds=0.0,
            other_seconds=0.0,
            peak_memory_mb=0.0,
            precision=cell.training.precision,
            layout=cell.training.layout,
            norm=cell.norm,
            code=self.made_by["code"],
            evaluation_hash=self.made_by["evaluation options"],
            started=timestamp(),
            resumes=0,
            warnings=[],
        )
        self.reference_times = []
        self._enter(warnings)

    def _resume(self, checkpoint: Checkpoint, unused: list[str], warnings: list[str]) -> None:
        """Restore the folder as it was at the checkpoint, and add this resume's environment."""
        cut_rows(self.files, checkpoint)
        for name in (*unused, self.files.traceback.name):
            (self.files.path / name).unlink(missing_ok=True)
        self.status = Status.model_validate(checkpoint.status)
        self.reference_times = checkpoint.reference_times
        g_steps = self.status.g_steps or 0
        for file in self.files.samples.glob("*"):
            if file.stem.isdecimal() and int(file.stem) > g_steps:
                file.unlink()
        record = self.files.environment() or Environment()
        resume = Resume(g_steps=g_steps, **environment(self.device).plain())
        record.resumes = [*record.resumes, resume]
        write_record(self.files.environment_file, record)
        self.status.resumes = len(record.resumes)
        self._enter(warnings)

    def _enter(self, warnings: list[str]) -> None:
        self._remove_unfinished_files()
        self.status.status, self.status.reason = RunStatus.RUNNING, None
        self.status.device = self.device
        self.status.attempt = secrets.token_hex(4)
        self.status.warnings = [*self.status.warnings, *warnings]
        self.seconds_before = seconds_spent(self.status)
        # Lengths of the rows of the snapshots that were handled so far
        self.lengths = row_lengths(self.files)
        self.write()

    def _remove_unfinished_files(self) -> None:
        for file in self.files.unfinished_files():
            file.unlink()

    def measured_by(self, protocol: str, modality: str) -> None:
        """Name the protocol and the code that the cell is measured with."""
        self.status.protocol = protocol
        self.status.measuring_code = measuring_code(modality)

    def note_execution(self, execution: Execution) -> None:
        """How the steps are executed from now on. Another way than before is said: seconds and
        rounding differ."""
        status, former = self.status, self.status.execution
        status.execution = execution
        if former is None or former.label == execution.label:
            return
        status.executed_before = [*status.executed_before, former.label]
        status.warnings = [
            *status.warnings,
            f"the checkpoint is of execution {former.label}, and from there on it is "
            f"{execution.label}",
        ]

    def time_reference(self) -> float:
        """Time the reference workload once more. Returns the seconds that this took."""
        began = time.perf_counter()
        milliseconds, self.status.reference_mb = reference_workload(self.device)
        self.reference_times.append(milliseconds)
        # A mean, because the pace of a machine may drift
        self.status.reference_ms = sum(self.reference_times) / len(self.reference_times)
        return time.perf_counter() - began

    def write_if_due(self) -> None:
        """Write the running status if the last write is some seconds old."""
        if time.monotonic() - self.written_at >= WRITE_EVERY:
            self.write()

    def write(self) -> None:
        """Write status.json."""
        self._update()
        self.files.write_status(self.status)
        self.written_at = time.monotonic()

    def commit(self) -> None:
        """Write the last status.json."""
        self._update()
        self._remove_unfinished_files()
        self.files.commit(self.status)

    def is_checkpoint_due(self, every: float) -> bool:
        """Whether `every` seconds have passed since the last checkpoint, and many times its cost;
        always at 0."""
        if not every:
            return True
        interval = max(every, COST_FACTOR * self.checkpoint_cost)
        return time.monotonic() - self.saved_at >= interval

    def save(self, snapshot: Snapshot, handled: bool) -> None:
        """Save a checkpoint of a snapshot. handled: whether its rows are written."""
        assert snapshot.state is not None
        began = time.monotonic()
        self._count_other_seconds()
        status = self.status.plain() | {"status": str(self.status.status)}
        checkpoint = Checkpoint(
            snapshot.state.plain(), status, handled, self.reference_times, self.made_by
        )
        save_checkpoint(self.files, checkpoint, self.lengths)
        self.saved_at = time.monotonic()
        self.checkpoint_cost = self.saved_at - began

    def _update(self) -> None:
        self.status.updated = timestamp()
        self._count_other_seconds()

    def _count_other_seconds(self) -> None:
        """Put the seconds that no other clock counts into `other_seconds`."""
        passed = self.seconds_before + self.clock() - self.entered
        counted = seconds_spent(self.status)
        self.status.add_seconds("other_seconds", passed - counted)


@contextmanager
def writing(files: CellFolder) -> Iterator[None]:
    """A folder that cannot be written to ends the run and not only the cell: raises UserError."""
    try:
        yield
    except OSError as error:
        raise not_written(error, files) from error


def is_of_folder(error: OSError, files: CellFolder) -> bool:
    """Whether an error says that the folder of a cell cannot be written to, and not that something
    else cannot be read."""
    return error.errno in DISK_FULL or str(error.filename).startswith(str(files.path))


def not_written(error: OSError, files: CellFolder) -> UserError:
    """The error for a folder that cannot be written to."""
    return UserError(
        f"{error.filename or files.path}: {error.strerror}; what is finished stays, and the next "
        "run continues from there"
    )
