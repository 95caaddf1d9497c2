"""One cell from its start to its end: what the training hands out is written, measured, saved."""

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmark.machine.memory import out_of_memory, release_memory, reset_peak_memory
from benchmark.matrix.cell import Cell
from benchmark.matrix.search.part import Rung
from benchmark.measure.instrument import open_instrument
from benchmark.measure.protocol import Instrument, protocol_id
from benchmark.run.cell.checkpoint import Checkpoint, drop_checkpoints, row_lengths
from benchmark.run.cell.record import CellRecord, is_of_folder, not_written, writing
from benchmark.run.cell.rows import eval_rows, layer_rows
from benchmark.run.cell.samples import save_generator, save_samples
from benchmark.run.events import Ended, Running
from benchmark.run.search.outcomes import shortfall
from benchmark.store.files import append_rows, write_bytes
from benchmark.store.layout import ResultSet
from benchmark.store.schema import RunStatus, Status
from benchmark.text import described, one_line
from benchmark.train.build import Workbench, load_dataset, make_networks, open_workbench
from benchmark.train.loop import never, train
from benchmark.train.snapshot import CellState, Snapshot
from benchmark.train.step import set_precision

REPORT_EVERY = 1.0  # seconds between two events of a cell in training, at most

CellEvent = Running | Ended


class Interrupted(BaseException):
    """The cell has to end now. Raised anywhere in the process that runs the cell."""


def run_cell(
    cell: Cell,
    folder: Path,
    device: str,
    stop: Callable[[], bool] = never,
    checkpoint_every: float = 60.0,
    execution: str = "auto",
    rung: Rung | None = None,
) -> Generator[CellEvent, None, None]:
    """Train and measure one cell into its folder of a result set, and commit its status. The caller
    holds the lock of the cell.

    Resumes from the last checkpoint if the same code and evaluation options made it; rows written
    after the checkpoint are dropped. stop: whether to save a checkpoint and end. checkpoint_every:
    seconds between checkpoints; 0 saves one after every generator step. rung: where the run may end
    early. Yields `Running` after every snapshot, at least about once a second, and last `Ended`.
    Divergence and errors are findings: they end the cell, not the run. Raises UserError if nothing
    more can be written."""
    run = CellRun(cell, folder, device, stop, checkpoint_every, rung=rung)
    run.open()
    with run.guarded():
        yield run.event()
        run.prepare()
        training = train(cell, device, run.take_state(), run.pause, execution, run.bench)
        with closing(training) as snapshots:
            for snapshot in snapshots:
                run.receive(snapshot)
                if run.has_fallen_short():
                    break
                yield run.event()
                run.release()
        run.finish()
    yield run.event()


class CellRun:
    """A cell while it runs. `receive` takes what the training hands out; folder, status and
    checkpoints follow. Call all methods but `open` and `event` inside `guarded`."""

    bench: Workbench
    instrument: Instrument
    record: CellRecord

    def __init__(
        self,
        cell: Cell,
        folder: Path,
        device: str,
        stop: Callable[[], bool],
        checkpoint_every: float,
        clock: Callable[[], float] | None = None,
        rung: Rung | None = None,
    ) -> None:
        self.cell, self.device, self.stop = cell, device, stop
        self.rung, self.shortfall = rung, ""
        self.files = ResultSet(folder).cell(cell.key)
        self.checkpoint_every, self.clock = checkpoint_every, clock or time.perf_counter
        self.reported_at = time.monotonic()
        self.is_running = False
        self.has_saved = False  # a checkpoint of the last snapshot
        self.handed_out: Snapshot | None = None  # while the training stands between two steps
        self.last: Snapshot | None = None

    def open(self) -> None:
        """Start or resume the cell's folder."""
        # Before the environment is recorded
        set_precision(self.cell.training.precision)
        self.record = CellRecord(self.cell, self.files, self.device, self.clock)
        with writing(self.files):
            self._continue_from(self.record.open())
        self.is_running = True

    def _continue_from(self, checkpoint: Checkpoint | None) -> None:
        self.state: CellState | None = None
        self.handled = False  # the rows of the handed-out snapshot are written
        self.reference_seconds = self.status.probe_seconds or 0.0
        if checkpoint:
            self.state = CellState.from_plain(checkpoint.training)
            self.handled = checkpoint.handled
            self.reference_seconds -= self.state.counters.probe_seconds

    @property
    def status(self) -> Status:
        return self.record.status

    def event(self) -> CellEvent:
        """The present status."""
        status = self.status.model_copy()
        if self.is_running:
            return Running(self.cell.key, status, self.has_saved)
        return Ended(self.cell.key, status)

    def take_state(self) -> CellState | None:
        """What the training resumes from. Not kept here: its tensors would count as training
        memory."""
        state, self.state = self.state, None
        return state

    def prepare(self) -> None:
        """Load the data, open the instrument, time the reference workload."""
        cell = self.cell
        release_memory(self.device)
        try:
            # Apart from the instrument, so that loading is no measuring time
            load_dataset(cell.dataset)
            began = time.perf_counter()
            self.instrument = open_instrument(cell.dataset, cell.evaluation, self.device)
            protocol = protocol_id(self.instrument)
        except (OSError, ValueError) as error:
            # The data was there when the run was prepared
            reason = f"dataset {cell.dataset.label}: {one_line(error)}"
            raise Interrupted(reason) from error
        eval_seconds = time.perf_counter() - began
        self.status.add_seconds("eval_seconds", eval_seconds)
        if self.state and self.status.protocol != protocol:
            former = self.status.protocol
            self.record.start(
                [f"the checkpoint was measured under protocol {former}, now it is {protocol}"]
            )
            self._continue_from(None)
        self.reference_seconds += self.record.time_reference()
        self.bench = open_workbench(cell)
        self.record.measured_by(protocol, self.bench.dataset.modality)
        self.status.recipe = asdict(self.bench.recipe)
        G, D = make_networks(cell, self.bench.dataset.shape)
        self.status.parameters = {
            "generator": sum(p.numel() for p in G.parameters()),
            "discriminator": sum(p.numel() for p in D.parameters()),
        }

    def pause(self) -> bool:
        """What the training asks after every generator step."""
        if self.stop():
            return True
        interval = min(REPORT_EVERY, self.checkpoint_every)
        return time.monotonic() - self.reported_at >= interval

    def receive(self, snapshot: Snapshot, save: bool | None = None) -> None:
        """Write what a snapshot brings, and save a checkpoint if one is due. save: whether to save
        one, if that is decided elsewhere."""
        self.handed_out = self.last = snapshot
        self._copy_counters(snapshot)
        if not self.handled:
            self._write_rows(snapshot)
        if self.stop():
            raise Interrupted
        self.record.write_if_due()
        if save is None:
            save = self.record.is_checkpoint_due(self.checkpoint_every)
        self.has_saved = save
        if save:
            self.record.save(snapshot, self.handled)

    def _copy_counters(self, snapshot: Snapshot) -> None:
        self.record.note_execution(snapshot.execution)
        status, counters = self.status, snapshot.counters
        status.samples_seen, status.g_steps = snapshot.samples_seen, snapshot.g_steps
        status.progress = snapshot.progress.share
        status.forwards_per_d_step, status.forwards_per_g_step = counters.forwards
        status.peak_memory_mb = max(status.peak_memory_mb or 0.0, counters.peak_memory_mb)
        status.train_seconds = counters.train_seconds
        status.warmup_seconds = counters.warmup_seconds
        status.compile_seconds = counters.compile_seconds
        status.probe_seconds = counters.probe_seconds + self.reference_seconds

    def _write_rows(self, snapshot: Snapshot) -> None:
        if snapshot.evaluation_due and self.stop():
            # Measuring may take long
            raise Interrupted
        if snapshot.row:
            append_rows(self.files.steps, [snapshot.row])
        if snapshot.first_steps:
            append_rows(self.files.first_steps, snapshot.first_steps)
        if snapshot.evaluation_due:
            began = time.perf_counter()
            append_rows(self.files.evals, eval_rows(snapshot, self.instrument))
            append_rows(self.files.layers, layer_rows(snapshot))
            save_samples(self.files, snapshot, self.bench.dataset)
            eval_seconds = time.perf_counter() - began
            self.status.add_seconds("eval_seconds", eval_seconds)
        self.record.lengths = row_lengths(self.files)
        self.handled = True

    def has_fallen_short(self) -> bool:
        """Whether the run ends at its rung."""
        if self.rung and self.last and self.last.evaluation_due and not self.last.is_last:
            self.shortfall = shortfall(self.files, self.cell.training, self.rung)
        return bool(self.shortfall)

    def release(self) -> None:
        """The training moves on: the last snapshot can no longer be saved."""
        self.reported_at = time.monotonic()
        self.handed_out, self.handled, self.has_saved = None, False, False
        # Neither the warm-up nor measuring counts as memory of the training
        reset_peak_memory(self.device)

    def finish(self) -> None:
        """End the cell after its last snapshot: `guarded` then commits it."""
        assert self.last is not None
        self.handed_out, self.handled = self.last, True
        self.status.status, self.status.onset = RunStatus.DONE, self.last.onset
        if self.shortfall:
            self.status.status, self.status.reason = RunStatus.STOPPED, self.shortfall
            self.status.rung = self.rung
        elif self.last.onset is None:
            save_generator(self.files, self.last)
        else:
            self.status.status = RunStatus.DIVERGED
            self.status.reason = "a loss is not finite"
        reference_seconds = self.record.time_reference()
        self.status.add_seconds("probe_seconds", reference_seconds)

    def interrupt(self, reason: str = "") -> None:
        """End before the budget is spent: the next run resumes from here."""
        self.is_running = self.has_saved = False
        with writing(self.files):
            if self.handed_out is not None and self.handed_out.state is not None:
                self.record.save(self.handed_out, self.handled)
            self.status.status = RunStatus.INTERRUPTED
            self.status.reason = reason or None
            self.record.write()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Whatever ends the cell inside this block becomes its status. A full disk, and a folder
        that cannot be written to, end the run: raises UserError."""
        try:
            yield
        except (Interrupted, GeneratorExit) as end:
            self.interrupt(str(end))
            if isinstance(end, GeneratorExit):
                raise
        except FloatingPointError as error:
            self.status.onset = self.status.g_steps
            self._end(RunStatus.DIVERGED, str(error))
        except Exception as error:
            if isinstance(error, OSError) and is_of_folder(error, self.files):
                raise not_written(error, self.files) from error
            with writing(self.files):
                write_bytes(self.files.traceback, traceback.format_exc().encode())
            self._end(RunStatus.ERROR, out_of_memory(error, self.device) or described(error))
        else:
            # Outside the block: an interrupt that arrives now leaves what is committed
            if self.is_running and self.status.status != RunStatus.RUNNING:
                self._commit()

    def _end(self, status: RunStatus, reason: str) -> None:
        self.status.status, self.status.reason = status, reason
        self._commit()

    def _commit(self) -> None:
        self.is_running = self.has_saved = False
        with writing(self.files):
            self.record.commit()
            if self.status.status.is_finished:
                drop_checkpoints(self.files)
