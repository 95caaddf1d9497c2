"""The race before the first cell: its turns by a faked clock, and real ones in a worker."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.run.engines import local
from benchmark.run.engines import race as racing
from benchmark.run.engines.race import LEAST_ROUNDS, MOST_ROUNDS, REFERENCE, race, take_turns
from benchmark.run.events import Entrant, RaceTask, not_raced
from benchmark.run.options import RunOptions
from benchmark.run.reporter import Silent
from benchmark.run.session import Session, run_matrix
from benchmark.stats.race import raced
from benchmark.store.layout import ResultSet
from benchmark.store.schema import Race, Surroundings
from tests.helpers.cells import small_cell
from tests.helpers.pool import Simulated

MatrixFile = Callable[..., Path]
SECONDS = {"minimax": 0.004, "wgan": 0.02, "wgan_gp": 0.031, REFERENCE: 0.024}


@dataclass
class Machine:
    """A clock that iterations move on."""

    pace: Callable[[float], float] = lambda now: 1.0
    """Slowdown at a time."""

    now: float = 0.0
    turns: list[str] = field(default_factory=list)

    def iterate(self) -> dict[str, Callable[[], None]]:
        def one(name: str) -> Callable[[], None]:
            def call() -> None:
                self.turns.append(name)
                self.now += SECONDS[name] * self.pace(self.now)

            return call

        return {name: one(name) for name in SECONDS}

    def race(self, seconds: float = 1e9) -> racing.Rounds:
        return take_turns(self.iterate(), lambda: self.now, lambda estimates: seconds)


def costs(rounds: racing.Rounds) -> dict[str, float]:
    cost, _ = raced(np.transpose([rounds.milliseconds[name] for name in SECONDS]))
    return dict(zip(SECONDS, cost, strict=True))


def test_turns_are_equally_long_and_go_forwards_and_backwards() -> None:
    machine = Machine()
    rounds = machine.race()
    assert rounds.iterations == {"minimax": 8, "wgan": 2, "wgan_gp": 1, REFERENCE: 1}
    one = [name for name in SECONDS for _ in range(rounds.iterations[name])]
    assert machine.turns[-2 * len(one) :] == [*one, *reversed(one)]
    expected = {name: pytest.approx(1000 * seconds) for name, seconds in SECONDS.items()}
    assert costs(rounds) == expected


def test_rounds_take_the_seconds_allowed_within_bounds() -> None:
    one = 8 * 0.004 + 2 * 0.02 + 0.031 + 0.024
    for seconds, num_rounds in ((0, LEAST_ROUNDS), (17.5 * one, 17), (1e9, MOST_ROUNDS)):
        milliseconds = Machine().race(seconds).milliseconds
        assert {len(values) for values in milliseconds.values()} == {num_rounds}


@pytest.mark.parametrize("busy_from", [0.3, 1.0, 2.0])
def test_a_machine_that_is_busy_for_a_part_of_the_race_changes_no_cost(busy_from: float) -> None:
    quiet = costs(Machine().race())
    slowed = Machine(lambda now: 2.8 if busy_from < now < busy_from + 1.5 else 1.0).race()
    assert max(map(max, slowed.milliseconds.values())) > 2.5 * quiet["wgan_gp"]
    assert costs(slowed) == pytest.approx(quiet, rel=0.02)


def task_of(*objectives: str, seeds: int = 1, **training: Any) -> RaceTask:
    """A race of small cells, each a stack of so many seeds."""
    entrants = []
    for name in objectives:
        cells = tuple(small_cell(name, seed=seed, **training) for seed in range(seeds))
        entrants.append(Entrant(name, cells))
    return RaceTask("gaussians8", "mlp[width=32]", "0123abcd", tuple(entrants), 5)


def test_a_race_keeps_every_round_and_how_it_was_executed() -> None:
    found = race(task_of("minimax", "wgan_gp", seeds=2), "cpu")
    assert (found.fault, found.clock) == ("", "processor")
    assert len(found.reference) >= LEAST_ROUNDS
    assert found.device.endswith("(eager, stack of 2)")
    for name in ("minimax", "wgan_gp"):
        one = found.objectives[name]
        assert len(one.milliseconds) == len(found.reference)
        assert one.execution is not None
        assert (one.execution.stack, bool(one.code)) == (2, True)
    times = [found.objectives[name].milliseconds for name in ("minimax", "wgan_gp")]
    cost, _ = raced(np.transpose([*times, found.reference]))
    # Five critic steps and a penalty against one critic step
    assert cost[1] > 2 * cost[0]


def test_a_race_does_not_move_the_numbers_of_a_cell() -> None:
    from benchmark.train.loop import train

    cell = small_cell("wgan_gp")
    before = [repr(snapshot.row) for snapshot in train(cell, "cpu")]
    race(task_of("wgan_gp"), "cpu")
    assert [repr(snapshot.row) for snapshot in train(cell, "cpu")] == before


@pytest.mark.parametrize("where", ["opening", "turn"])
def test_an_objective_that_fails_is_recorded_and_ends_its_race(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any) -> None:
        raise MemoryError("planted")

    if where == "opening":
        start = racing.Track._start

        def start_one(track: Any, cells: Any, draw: Any) -> Any:
            if cells[0].objective.name == "wgan":
                fails()
            return start(track, cells, draw)

        monkeypatch.setattr(racing.Track, "_start", start_one)
    else:
        step = racing.Training.step

        def step_one(training: Any) -> None:
            if training.members[0].cell.objective.name == "wgan":
                fails()
            step(training)

        monkeypatch.setattr(racing.Training, "step", step_one)
    found = race(task_of("minimax", "wgan", "lsgan"), "cpu")
    assert found.fault.startswith("wgan could not be raced: out of memory on cpu")
    assert (found.reference, found.objectives["minimax"].milliseconds) == ([], [])
    # It is a whole record: what is written can be read
    assert Race.model_validate(found.plain()) == found


@dataclass
class Racing(Simulated):
    """A pool on a device, whose races may fail."""

    device: str = "A"
    threads: int = 1
    fails: bool = False

    def race(self, task: RaceTask) -> Race:
        found = not_raced(task, "the worker was killed") if self.fails else super().race(task)
        if self.fails:
            self.raced.append(task)
        machine = Surroundings(device=self.device, threads=self.threads)
        return found.model_copy(update={"surroundings": machine})


class Heard(Silent):
    """A reporter that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def raced_by(
    matrix_file: MatrixFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, list[str]]]:
    """Races the tiny matrix on a pool, on the pool's device. Returns how many races there were, and
    the notes of failures."""
    path = matrix_file(objectives='objectives = ["lsgan", "nonsaturating"]', seeds="seeds = 4")

    def call(pool: Racing, **options: Any) -> tuple[int, list[str]]:
        machine = Surroundings(device=pool.device)
        monkeypatch.setattr("benchmark.run.session.environment", lambda device: machine)
        session = Session(path, RunOptions(device="cpu", **options), tmp_path)
        heard, before = Heard(), len(pool.raced)
        session.race(session.stacks(heard), pool, heard)
        return len(pool.raced) - before, [note for note in heard.notes if "no raced" in note]

    return call


def test_a_resumed_run_reuses_the_race_of_the_device_and_the_execution(
    raced_by: Callable[..., Any], tmp_path: Path
) -> None:
    one, other = Racing(device="A"), Racing(device="B")
    assert raced_by(one) == (1, [])
    (task,) = one.raced
    assert [entrant.label for entrant in task.entrants] == ["lsgan", "nonsaturating"]
    assert task.num_seeds == 4
    assert raced_by(one) == (0, [])
    # Whichever cells are to run, all objectives were raced
    assert raced_by(one, only="objective=lsgan seed=1") == (0, [])
    assert raced_by(other) == (1, [])
    assert raced_by(other, stack="2") == (1, [])
    assert len(other.raced[-1].entrants[0].cells) == 2
    assert raced_by(Racing(device="A", threads=2), threads=2) == (1, [])
    assert raced_by(one, overrides=("training.batch_size=4",)) == (1, [])
    assert raced_by(one) == (0, [])
    assert len(ResultSet(tmp_path / "tiny").races) == 5


def test_a_race_without_a_result_is_said_does_not_end_the_run_and_is_made_again(
    raced_by: Callable[..., Any], tmp_path: Path
) -> None:
    pool = Racing(fails=True)
    reason = "lsgan could not be raced: the worker was killed"
    note = f"mlp[width=8] on gaussians8 has no raced seconds: {reason}"
    assert raced_by(pool) == (1, [note])
    assert [race.fault for race in ResultSet(tmp_path / "tiny").races] == [reason]
    pool.fails = False
    assert raced_by(pool) == (1, [])
    assert [race.fault for race in ResultSet(tmp_path / "tiny").races] == [""]


def test_no_place_is_raced_that_has_no_cell_to_run(matrix_file: MatrixFile, tmp_path: Path) -> None:
    session = Session(matrix_file(), RunOptions(device="cpu"), tmp_path)
    session.todo = {}
    pool = Racing()
    session.race(session.stacks(Silent()), pool, Silent())
    assert pool.raced == []


def test_a_worker_that_dies_in_the_race_is_its_reason_and_the_next_one_trains(
    matrix_file: MatrixFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Dies(local.Pool):
        def races(self, contests: Iterable[RaceTask]) -> Iterator[Race]:
            self.idle[-1].process.kill()
            return super().races(contests)

    monkeypatch.setattr(local, "Pool", Dies)
    heard = Heard()
    summary = run_matrix(matrix_file(), RunOptions(device="cpu", jobs=1), tmp_path, heard)
    assert summary.line == "tiny: 1 done"
    (race,) = ResultSet(tmp_path / "tiny").races
    assert race.fault.startswith("nonsaturating could not be raced: the worker was killed")
    assert any("has no raced seconds: nonsaturating" in note for note in heard.notes)


@dataclass(eq=False)
class Answering:
    """A worker that has its answers ready."""

    device: str
    is_reusable: bool = True
    has_answered: bool = False

    def __post_init__(self) -> None:
        self.connection, self.far_end = Pipe()
        for _ in range(3):
            self.far_end.send(Racing().race(task_of("minimax")))


@pytest.mark.parametrize(
    ("device", "threads", "at_once"), [("cpu", 1, 2), ("cpu", 2, 1), ("cuda:0", 1, 1)]
)
def test_places_race_at_the_same_time_where_each_has_a_clock_of_its_own(
    device: str, threads: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "Worker", lambda device, options: Answering(device))
    monkeypatch.setattr(local.Pool, "_end", lambda pool, worker: None)
    pool = local.Pool([device, device], local.WorkerOptions(tmp_path, threads, 60.0))
    asked = []

    def contests() -> Iterator[RaceTask]:
        for place in ("a", "b", "c"):
            asked.append(place)
            yield replace(task_of("minimax"), architecture=place)

    races = pool.races(contests())
    next(races)
    assert len(asked) == at_once
    assert len(list(races)) == 2
    assert asked == ["a", "b", "c"]
