"""The race: the objectives of a place train in turn in one process, while no cell runs yet. What a
generator step costs is compared within rounds, so that a busy machine slows all alike.

Numbers of cells do not depend on it: a race trains networks of its own."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from benchmark.machine.clock import race_clock
from benchmark.machine.environment import environment
from benchmark.machine.memory import out_of_memory, release_memory
from benchmark.machine.workload import open_workload
from benchmark.matrix.cell import Cell
from benchmark.run.events import Entrant, RaceTask
from benchmark.run.stacking import STEADY_STEP, num_steps
from benchmark.store.clocks import timestamp
from benchmark.store.code import training_code
from benchmark.store.schema import Race, Raced
from benchmark.text import described
from benchmark.train.build import open_workbench
from benchmark.train.data import Draw, memory_format, open_batches
from benchmark.train.execution.iteration import StackRefused
from benchmark.train.execution.modes import resolve
from benchmark.train.loop import Training, never
from benchmark.train.step import set_precision

SHARE = 0.03  # of the training seconds of a place, which its rounds may take
LEAST_ROUNDS = 10
MOST_ROUNDS = 30
TURN = 0.01  # seconds of a turn, at least
TRIALS = 3  # iterations that are timed to choose the length of the turns
ENDLESS = 10**9  # generator steps: no race spends its budget
REFERENCE = "the reference workload"
MAX_REASON = 200  # characters of the reason why an objective was not raced


class Rounds(NamedTuple):
    """The times of a race, by contestant."""

    iterations: dict[str, int]
    """Iterations of a turn."""

    milliseconds: dict[str, list[float]]
    """Of an iteration, by round."""


def race(task: RaceTask, device: str) -> Race:
    """Race the objectives of a place. An objective that cannot be trained ends the race: it has the
    reason, and there are no rounds."""
    track = Track(task, device)
    clock_name, clock = race_clock(device)
    times = Rounds({}, {})
    try:
        with track.opened() as iterate:
            times = take_turns(iterate, clock, track.seconds_allowed)
    except Exception as error:
        reason = out_of_memory(error, device) or described(error, MAX_REASON)
        track.objectives.setdefault(track.at, Raced()).reason = reason
    for label, raced in track.objectives.items():
        if label in times.milliseconds:
            size = track.stack_size(label)
            raced.iterations = times.iterations[label]
            raced.milliseconds = [value / size for value in times.milliseconds[label]]
    release_memory(device)
    return Race(
        dataset=task.dataset,
        architecture=task.architecture,
        asked=task.asked,
        made=timestamp(),
        clock=clock_name,
        surroundings=environment(device),
        reference=times.milliseconds.get(REFERENCE, []),
        objectives=track.objectives,
    )


class Track:
    """The contestants of a place: its objectives, as their cells will train, and the reference
    workload."""

    def __init__(self, task: RaceTask, device: str) -> None:
        self.task, self.device = task, device
        self.mode = resolve(task.execution, device)
        self.objectives: dict[str, Raced] = {}
        self.at = task.entrants[0].label
        """The contestant that is being opened, or has its turn."""

    @contextmanager
    def opened(self) -> Iterator[dict[str, Callable[[], None]]]:
        """Contestant → a function that takes one iteration. All are warmed up."""
        cell = self.task.entrants[0].cells[0]
        options = cell.training
        set_precision(options.precision)
        dataset = open_workbench(cell).dataset
        batches = open_batches(dataset, options.batch_size, self.device, memory_format(options))
        with batches as draw, many_compiled(self.mode):
            iterate: dict[str, Callable[[], None]] = {}
            for entrant in self.task.entrants:
                self.at = entrant.label
                training = self._open(entrant, draw)
                iterate[entrant.label] = partial(self._iterate, entrant.label, training)
            self.at = REFERENCE
            iterate[REFERENCE] = open_workload(self.device)
            yield iterate

    def _open(self, entrant: Entrant, draw: Draw) -> Training:
        """An entrant in training; one seed where the seeds cannot be stacked, as its cells do."""
        try:
            training = self._start(entrant.cells, draw)
        except StackRefused:
            training = self._start(entrant.cells[:1], draw)
        execution = training.iteration.execution
        code = training_code(entrant.cells[0])
        self.objectives[entrant.label] = Raced(code=code, execution=execution)
        return training

    def _start(self, cells: tuple[Cell, ...], draw: Draw) -> Training:
        endless = cells[0].training.replaced(steps=ENDLESS, samples=None, seconds=None, growth=[])
        racing = [replace(cell, training=endless) for cell in cells]
        training = Training(racing, open_workbench(racing[0]), self.device, draw, never)
        training.progress.g_steps = STEADY_STEP
        training.start([None] * len(racing), self.mode)
        return training

    def _iterate(self, label: str, training: Training) -> None:
        self.at = label
        # Nothing is logged, and the trace has room for one log interval
        training.progress.logged_at = training.progress.g_steps
        training.step()

    def stack_size(self, label: str) -> int:
        """Seeds that an iteration of an objective trains."""
        execution = self.objectives[label].execution
        return execution.stack if execution else 1

    def seconds_allowed(self, estimates: Mapping[str, float]) -> float:
        """Seconds that the rounds may take. estimates: seconds of an iteration by contestant."""
        total = 0.0
        for entrant in self.task.entrants:
            cell = entrant.cells[0]
            seconds = cell.training.seconds
            if not seconds:
                per_step = estimates[entrant.label] / self.stack_size(entrant.label)
                seconds = per_step * num_steps(cell)
            total += self.task.num_seeds * seconds
        return SHARE * total


@contextmanager
def many_compiled(mode: str) -> Iterator[None]:
    """torch keeps the compiled code of every contestant, and not of the last few alone."""
    if "compiled" not in mode:
        yield
        return
    import torch._dynamo

    with torch._dynamo.config.patch(recompile_limit=1000, accumulated_recompile_limit=10_000):
        yield


def take_turns(
    iterate: Mapping[str, Callable[[], object]],
    clock: Callable[[], float],
    seconds_allowed: Callable[[Mapping[str, float]], float],
) -> Rounds:
    """Time all contestants in every round, forwards and backwards in turn.

    A turn is as long for all, or a single iteration: work that comes between then meets each of
    them alike. iterate: one iteration by contestant. seconds_allowed: seconds that the rounds may
    take, from those of an iteration; there are LEAST_ROUNDS to MOST_ROUNDS."""

    def seconds_of(name: str, num_iterations: int) -> float:
        started = clock()
        for _ in range(num_iterations):
            iterate[name]()
        return clock() - started

    for name in iterate:
        # Compiling again, after the others were compiled, is no part of a turn
        iterate[name]()
    estimates = {name: min(seconds_of(name, 1) for _ in range(TRIALS)) for name in iterate}
    turn = max(TURN, *(seconds for name, seconds in estimates.items() if name != REFERENCE))
    iterations = {name: max(1, round(turn / max(s, 1e-9))) for name, s in estimates.items()}
    round_seconds = sum(iterations[name] * estimates[name] for name in iterate)
    possible = int(seconds_allowed(estimates) / round_seconds)
    milliseconds: dict[str, list[float]] = {name: [] for name in iterate}
    order = list(iterate)
    for _ in range(min(max(possible, LEAST_ROUNDS), MOST_ROUNDS)):
        for name in order:
            seconds = seconds_of(name, iterations[name])
            milliseconds[name].append(1000 * seconds / iterations[name])
        order.reverse()
    return Rounds(iterations, milliseconds)
