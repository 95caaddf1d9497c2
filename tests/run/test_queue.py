"""The order in which cells run, and the time that is left."""

import random
from collections import Counter

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


def test_unknown_groups_come_first_and_then_the_longest(simulate: Simulate) -> None:
    tasks = tasks_of(("lsgan", 2), ("wgan", 2), ("minimax", 2), ("wgan_gp", 2))
    known = {group_of(tasks[0].cell.spec): 5.0, group_of(tasks[2].cell.spec): 50.0}
    seconds = {"minimax": 20.0, "wgan_gp": 70.0}
    pool = Simulated(seconds=lambda task: seconds.get(task.cell.objective.name, 1.0))
    simulate(tasks, pool, known=known)
    # One of each unknown group, to learn how long its cells take
    first = ["minimax 0", "wgan_gp 0"]
    longest = ["wgan_gp 1", "wgan 0", "wgan 1", "minimax 1", "lsgan 0", "lsgan 1"]
    assert names(pool.started) == [*first, *longest]


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
