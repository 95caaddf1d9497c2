"""Cells that differ only in their seed, trained as one stack. Every cell keeps its own folder,
rows, checkpoints and end. A cell of the stack that does not run keeps its place there: float
rounding depends on the number and the order of the seeds."""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.run.cell.cell_run import CellEvent, CellRun, Interrupted
from benchmark.train.execution.iteration import StackRefused
from benchmark.train.loop import train_stack
from benchmark.train.snapshot import Snapshot

Outcome = Snapshot | BaseException | None  # what the training hands out for a cell
Events = Generator[CellEvent, None, None]


class StackedRun(CellRun):
    """A cell of a stack. Its clock runs while the cell itself is at work, and counts its share of
    the training."""

    def __init__(
        self,
        cell: Cell,
        folder: Path,
        device: str,
        stop: Callable[[], bool],
        checkpoint_every: float,
    ) -> None:
        super().__init__(cell, folder, device, stop, checkpoint_every, self.seconds)
        self.fallback: str | None = None  # why the cell is trained alone
        self._seconds = 0.0
        self._began: float | None = None

    def seconds(self) -> float:
        """The clock of the cell."""
        at_work = 0.0 if self._began is None else time.perf_counter() - self._began
        return self._seconds + at_work

    def add_share(self, seconds: float) -> None:
        self._seconds += seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """The clock of the cell runs inside this block."""
        self._began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds, self._began = self.seconds(), None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Guarded, with the clock of the cell running."""
        with self.timed(), self.guarded():
            yield

    def take(self, outcome: Outcome, save: bool | None) -> None:
        """Receive a snapshot, or end with the error of the training."""
        if not isinstance(outcome, Snapshot):
            assert outcome is not None, "the training hands out a snapshot of every live cell"
            raise outcome
        # The training goes on from here
        self.state = None
        if self.fallback:
            reasons = [self.fallback, outcome.execution.fallback]
            outcome.execution.fallback = "; ".join(reason for reason in reasons if reason)
        self.receive(outcome, save)

    @property
    def is_complete(self) -> bool:
        """Whether the last snapshot is in and the cell can be committed."""
        return self.is_running and self.last is not None and self.last.is_last


def run_stack(
    cells: Sequence[Cell],
    folder: Path,
    device: str,
    stop: Callable[[], bool],
    checkpoint_every: float,
    execution: str = "auto",
    stack: Sequence[Cell] = (),
) -> Events:
    """Run cells as `run_cell` would run each of them, and yield the events of all.

    stack: all cells of the stack in their order, those that do not run among them; without it the
    cells themselves. Cells whose checkpoints are at the same generator step are resumed together,
    one such stack after the other. An error of the training ends all cells of the stack, an error
    of measuring ends its own cell; so does divergence. Cells that cannot be stacked run one after
    the other. Raises UserError if nothing more can be written."""
    stack = stack or cells
    yield from StackRun(cells, stack, folder, device, stop, checkpoint_every, execution).run()


class StackRun:
    """The cells of a stack while they run."""

    def __init__(
        self,
        cells: Sequence[Cell],
        stack: Sequence[Cell],
        folder: Path,
        device: str,
        stop: Callable[[], bool],
        checkpoint_every: float,
        execution: str,
    ) -> None:
        self.stack = stack
        self.device, self.stop, self.execution = device, stop, execution
        self.has_to_end = False  # an interrupt arrived between two events
        self.runs = [
            StackedRun(cell, folder, device, self.ends, checkpoint_every) for cell in cells
        ]

    def ends(self) -> bool:
        return self.has_to_end or self.stop()

    def run(self) -> Events:
        try:
            for run in self.runs:
                with run.timed():
                    run.open()
            yield from self.prepare()
            for group in self.groups():
                yield from self.train_group(group)
        finally:
            for run in self.runs:
                with suppress(UserError):
                    if run.is_running:
                        run.interrupt()

    def prepare(self) -> Events:
        for run in self.runs:
            yield from self.report(run)
            with run.at_work():
                if self.ends():
                    raise Interrupted
                run.prepare()
            yield from self.report(run)

    def groups(self) -> list[list[StackedRun]]:
        """The cells that can be trained together: at the same generator step, and all from a
        checkpoint or all from the start."""
        groups = defaultdict(list)
        for run in self.runs:
            if run.is_running:
                groups[run.status.g_steps, run.state is None].append(run)
        return list(groups.values())

    def train_group(self, group: list[StackedRun]) -> Events:
        """Train the cells of a group in their stack, or one after the other if they cannot be
        stacked."""
        try:
            yield from self.train_together(group, self.stack)
        except StackRefused as refused:
            for run in group:
                run.fallback = f"not stacked: {refused}"
                yield from self.train_together([run], [run.cell])

    def train_together(self, group: list[StackedRun], stack: Sequence[Cell]) -> Events:
        """Train the cells of a group to their end, in a stack of which they are a part. Raises
        StackRefused, before anything is trained, for cells that cannot be stacked."""
        live = [*group]
        runs = {run.cell.key: run for run in group}
        # A cell keeps its state until its first snapshot: a refused stack needs it again
        states = [runs[cell.key].state if cell.key in runs else None for cell in stack]
        training = train_stack(
            stack,
            self.device,
            states,
            lambda: live[0].pause(),
            self.execution,
            group[0].bench,
            {cell.key for cell in stack} - runs.keys(),
        )
        del states  # or their tensors would count as training memory
        with closing(training):
            while live:
                if self.ends():
                    yield from self.interrupt(live)
                    return
                for run in live:
                    self.move_on(run)
                outcomes, seconds = self.next_outcomes(training, group, stack)
                for run in group:
                    run.add_share(seconds / len(group))
                yield from self.hand_on(outcomes, live)
                live[:] = [run for run in live if run.is_running]

    def interrupt(self, runs: list[StackedRun]) -> Events:
        """End all cells at the same generator step."""
        for run in runs:
            with run.timed():
                run.interrupt()
            yield from self.report(run)

    def move_on(self, run: StackedRun) -> None:
        """The training changes the tensors of the last snapshot: it can no longer be saved."""
        if run.handed_out:
            run.handed_out.state = None
            run.release()

    def next_outcomes(
        self,
        training: Iterator[list[Snapshot | None]],
        group: list[StackedRun],
        stack: Sequence[Cell],
    ) -> tuple[dict[str, Outcome], float]:
        """What the training hands out next, by key of the cell, and the seconds it took. An error
        of the training is the outcome of all cells."""
        began = time.perf_counter()
        outcomes: dict[str, Outcome] = {}
        try:
            snapshots = next(training)
        except (Exception, Interrupted) as error:
            has_begun = any(run.last for run in group)
            if isinstance(error, StackRefused) and len(stack) > 1 and not has_begun:
                raise
            outcomes.update({run.cell.key: error for run in group})
        else:
            for cell, snapshot in zip(stack, snapshots, strict=True):
                outcomes[cell.key] = snapshot
        return outcomes, time.perf_counter() - began

    def hand_on(self, outcomes: dict[str, Outcome], live: list[StackedRun]) -> Events:
        """Hand every live cell its outcome. All save at the same generator step, so that they can
        be resumed as one stack."""
        save: bool | None = None
        for run in live:
            with run.at_work():
                run.take(outcomes[run.cell.key], save)
                save = run.has_saved
            yield from self.report(run)
            if run.is_complete:
                with run.at_work():
                    run.finish()
                yield from self.report(run)

    def report(self, run: StackedRun) -> Events:
        """Yield the event of a cell. An interrupt that arrives here lets every cell end where it
        can be saved."""
        try:
            yield run.event()
        except Interrupted:
            self.has_to_end = True
