"""Cells that differ in their seed alone, trained as one stack: each keeps its own folder, rows,
checkpoints and end, as `run_cell` gives them to it."""

import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path

from benchmark.errors import UserError
from benchmark.machine.memory import reset_peak_memory
from benchmark.matrix.cell import Cell
from benchmark.run.record import Attempt
from benchmark.run.run_cell import Event, Interrupted, Place, run_cell
from benchmark.train.execution.iteration import StackRefused
from benchmark.train.loop import train_stack
from benchmark.train.snapshot import Snapshot, State


class Member:
    """A cell of a stack. Its clock runs while it is at work itself, and counts its share of the
    training."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.events: Generator[Event, None, None]
        self.ready = False  # for the training to begin
        self.over = False  # its last snapshot is out
        self.fallback: str | None = None  # why it is trained alone
        self.given: Snapshot | BaseException | None = None  # what its training has for it next
        self.out: Snapshot | None = None
        self.seconds, self.since = 0.0, 0.0

    def clock(self) -> float:
        return self.seconds + (time.perf_counter() - self.since if self.since else 0.0)

    def snapshots(
        self, cell: Cell, pause: Callable[[], bool], state: State | None
    ) -> Generator[Snapshot | None, None, None]:
        """What its `run_cell` hears of the training: None until it begins."""
        self.pause, self.state, self.ready = pause, state, True
        del state
        yield None
        while not self.over:
            if not isinstance(self.given, Snapshot):
                assert self.given
                raise self.given
            self.out, self.given, self.state = self.given, None, None
            self.over = self.out.progress >= 1 or self.out.onset is not None
            if self.fallback:
                reasons = filter(None, (self.fallback, self.out.execution["fallback"]))
                self.out.execution |= {"fallback": "; ".join(reasons)}
            yield self.out

    def step(self, interrupt: bool = False) -> Event:
        """Its next event, which is its last where it is not running."""
        self.since = time.perf_counter()
        try:
            return self.events.throw(Interrupted) if interrupt else next(self.events)
        finally:
            self.seconds, self.since = self.clock(), 0.0


def run_stack(
    cells: list[Cell],
    folder: Path,
    device: str,
    stop: Callable[[], bool] = lambda: False,  # whether to save checkpoints and end
    # seconds between checkpoints; 0: one after every generator step
    checkpoint_every: float = 60.0,
    execution: str = "auto",  # of the training
) -> Generator[Event, None, None]:
    """Train cells that differ in their seed alone as one stack, measure each into its folder, and
    commit its status: yields the events that `run_cell` yields of each. The caller holds the cells'
    locks.

    Those whose checkpoints are at the same generator step go on together, one such stack after the
    other. An error of the training ends all its cells, one of measuring its own; so does
    divergence. Cells that cannot be stacked run one after the other. Raises UserError where nothing
    more can be written."""
    asked, saving = False, None

    def ends() -> bool:
        return asked or stop()

    def due(attempt: Attempt, every: float) -> bool:
        """All cells save at the same generator step, lest they had to go on apart."""
        nonlocal saving
        saving = attempt.due(every) if saving is None else saving
        return saving

    def told(event: Event) -> Generator[Event, None, None]:
        nonlocal asked
        try:
            yield event
        except Interrupted:  # each cell ends where it can be saved
            asked = True

    def in_lockstep(group: list[Member]) -> Generator[Event, None, None]:
        nonlocal saving
        live, states = [*group], [member.state for member in group]
        cells = [member.cell for member in group]
        with closing(
            train_stack(cells, device, states, lambda: live[0].pause(), execution)
        ) as training:
            del states  # their tensors are no part of what the training takes
            while live:
                # End early, all at the same generator step
                if ends():
                    for member in live:
                        yield from told(member.step(interrupt=True))
                    return

                # Train
                for member in live:
                    if member.out:
                        member.out.state = None  # it is not what it was: nobody may save it
                reset_peak_memory(device)  # measuring is not what the objective costs
                began, saving = time.perf_counter(), None
                given: list[Snapshot | BaseException | None]
                try:
                    given = [*next(training)]
                except (Exception, Interrupted) as error:
                    if isinstance(error, StackRefused) and len(group) > 1 and not group[0].out:
                        raise
                    given = [error] * len(group)
                for member, its in zip(group, given, strict=True):
                    member.given = its
                    member.seconds += (time.perf_counter() - began) / len(group)

                # Measure and save
                for member in [*live]:
                    event = member.step()
                    yield from told(event)
                    while member.over and event["status"] == "running":
                        event = member.step()
                        yield from told(event)
                    if event["status"] != "running":
                        live.remove(member)

    members = [Member(cell) for cell in cells]
    for member in members:
        place = Place(member.snapshots, member.clock, due)
        member.events = run_cell(
            member.cell, folder, device, ends, checkpoint_every, execution, place
        )
    try:
        together = defaultdict(list)
        for member in members:
            event = member.step()
            yield from told(event)
            while event["status"] == "running" and not member.ready:
                event = member.step(interrupt=ends())
                yield from told(event)
            if event["status"] == "running":
                together[event["g_steps"], member.state is None].append(member)
        groups = [*together.values()]
        while groups:
            group = groups.pop(0)
            try:
                yield from in_lockstep(group)
            except StackRefused as refused:
                for member in group:
                    member.fallback = f"not stacked: {refused}"
                groups = [*([member] for member in group), *groups]
    finally:
        for member in members:
            with suppress(UserError):
                member.events.close()
