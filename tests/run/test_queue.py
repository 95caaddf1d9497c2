"""The order in which cells run, and the time that is left."""

import random
from collections import Counter

from benchmark.run.events import Task
from benchmark.run.queue import learned
from benchmark.store.clocks import group_of
from benchmark.store.schema import RunStatus, Status
from tests.helpers.cells import small_cell
from tests.helpers.pool import Simulated, names, stack_of, tasks_of
from tests.run.conftest import Simulate


def status(end: RunStatus, train_seconds: float = 1.0) -> Status:
    """A status whose clocks add up to train_seconds and one second."""
    return Status(
        status=end,
        train_seconds=train_seconds,
        eval_seconds=0.5,
        probe_seconds=0.25,
        warmup_seconds=None,
        other_seconds=0.25,
    )


def test_what_is_learned_is_the_median_of_all_clocks_of_finished_cells() -> None:
    one, other = small_cell("lsgan").spec, small_cell("wgan").spec
    statuses = [(one, status(RunStatus.DONE, seconds)) for seconds in (1.0, 3.0, 100.0)]
    statuses.append((other, status(RunStatus.ERROR)))
    statuses.append((one, Status(status=RunStatus.MISSING)))
    assert learned(statuses) == {group_of(one): 4.0}
    assert group_of(one) == group_of(small_cell("lsgan", seed=7).spec)
    assert group_of(one) != group_of(small_cell("lsgan", steps=21).spec)


def test_unknown_groups_come_first_and_then_the_objectives_in_turn(simulate: Simulate) -> None:
    tasks = tasks_of(("lsgan", 3), ("wgan", 3), ("minimax", 3), ("wgan_gp", 2))
    known = {group_of(tasks[0].cell.spec): 5.0, group_of(tasks[3].cell.spec): 50.0}
    seconds = {"minimax": 20.0, "wgan_gp": 70.0, "wgan": 50.0, "lsgan": 5.0}
    pool = Simulated(seconds=lambda task: seconds[task.cell.objective.name])
    simulate(tasks, pool, known=known)
    # One of each unknown group, to learn how long its cells take
    first = ["minimax 0", "wgan_gp 0"]
    # Then a cell of every objective in turn, the longest first, from the one that had none yet
    turns = [
        *("wgan 0", "lsgan 0"),
        *("wgan_gp 1", "wgan 1", "minimax 1", "lsgan 1"),
        *("wgan 2", "minimax 2", "lsgan 2"),
    ]
    assert names(pool.started) == [*first, *turns]


def test_the_place_of_the_longest_group_comes_first(simulate: Simulate) -> None:
    """So that the end stays balanced: short cells fill what long ones leave."""
    tasks = [
        Task(small_cell(objective, place, seed=seed))
        for place in ("points", "images")
        for objective in ("lsgan", "wgan")
        for seed in range(3)
    ]
    seconds = {"points": 3.0, "images": 30.0}

    def place_of(task: Task) -> str:
        return "points" if task.cell.dataset.name == "gaussians8" else "images"

    pool = Simulated(2, seconds=lambda task: seconds[place_of(task)] + len(task.key) / 100)
    simulate(tasks, pool)
    assert [place_of(task) for task in pool.started[:2]] == ["points"] * 2
    rest = [f"{place_of(task)} {task.cell.seed}" for task in pool.started[4:]]
    assert rest == [f"{place} {seed}" for place in ("images", "points") for seed in (1, 1, 2, 2)]


def test_what_slows_the_machine_for_a_while_slows_all_objectives_of_a_place(
    simulate: Simulate,
) -> None:
    """At any moment no objective has started more than one cell more than another."""
    tasks = tasks_of(*((name, 5) for name in ("minimax", "lsgan", "wgan", "wgan_gp", "hinge")))
    draw = random.Random(0)
    pool = Simulated(3, seconds=lambda task: draw.expovariate(1.0))
    simulate(tasks, pool, known={group_of(task.cell.spec): draw.random() for task in tasks})
    started: Counter[str] = Counter()
    for task in pool.started:
        started[task.cell.objective.name] += 1
        assert max(started.values()) - min(started[name] for name in started) <= 1
        if max(started.values()) > 1:
            assert len(started) == 5


def test_every_cell_runs_once_and_never_more_than_there_is_room_for(simulate: Simulate) -> None:
    tasks = tasks_of(("lsgan", 40), ("wgan", 40), ("minimax", 40))
    draw = random.Random(0)
    # `start` asserts that there is room
    pool = Simulated(7, seconds=lambda task: draw.expovariate(1.0))
    news = simulate(tasks, pool)
    assert Counter(names(pool.started)) == Counter(names(tasks))
    assert Counter(report.event.key for report in news) == Counter(task.key for task in tasks)


def test_the_time_left_is_what_waits_and_what_runs_over_the_workers(simulate: Simulate) -> None:
    tasks = tasks_of(("lsgan", 5))
    news = simulate(tasks, Simulated(2, seconds=lambda task: 10.0 + task.cell.seed))
    # After the first (10 s): seeds 2, 3, 4 and the running seed 1, each expected to take 10 s, on
    # two workers
    assert news[0].seconds_left == 20.0
    assert news[-1].seconds_left == 0.0


def test_the_time_left_is_unknown_until_a_cell_has_ended(simulate: Simulate) -> None:
    heard: list = []
    simulate(tasks_of(("lsgan", 2)), Simulated(), heard)
    assert [report.seconds_left for report in heard] == [None, 1.0, None, 0.0]


def test_a_queue_counts_the_cells_of_its_stacks() -> None:
    from benchmark.run.queue import Queue

    tasks = tasks_of(("lsgan", 5), ("wgan", 1))
    queue = Queue([stack_of(tasks[:3]), stack_of(tasks[3:5]), tasks[5]], {})
    assert len(queue) == 6
    group, task = queue.pop()
    assert (names([*task.members]), len(queue)) == (["lsgan 0", "lsgan 1", "lsgan 2"], 3)
    queue.learn(group, 7.0)
    queue.push(tasks[1])
    assert (queue.pop()[1], len(queue)) == (tasks[5], 3)
    assert queue.remaining() == 3 * 7.0
