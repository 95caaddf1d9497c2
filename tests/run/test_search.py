"""A search as it runs: killed at any moment, in shards and forced, it ends with the same cells and
values."""

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark.api.results import Results
from benchmark.matrix.cell import stream_seed
from benchmark.run import plan
from benchmark.run.events import CellNews, Ended, Event, Task
from benchmark.run.options import RunOptions
from benchmark.run.reporter import Silent
from benchmark.run.session import Session
from benchmark.store.files import append_rows, write_json, write_record
from benchmark.store.layout import ResultSet
from benchmark.store.merge import merge
from benchmark.store.origin import write_grown
from benchmark.store.schema import RunStatus, Status
from tests.helpers import searched
from tests.helpers.pool import Simulated

OBJECTIVES = """objectives = [
    { name = "nonsaturating", search = 4 }, { name = "wgan_gp", search = 4 }, "wgan",
]"""
EVALUATION = "[evaluation]\nschedule = [0, 0.5, 1]\nn = { points = 200 }"
TARGET = "targets = { gaussians8 = 4.0 }"
SEARCH = "[search]\nfinal_seeds = 2"
COLUMN = "swd_200"


def end_of(key: str, samples: int = 160) -> float:
    """What a cell reaches."""
    return stream_seed("reached", key, samples) % 1000 / 100


class Killed(Exception):
    """The process of the run ends."""


class Instant(Simulated):
    """A pool whose cells end at once, with a value that depends on the key alone, at the rung or at
    the end. ends: key → how a cell ends, for those that are not done."""

    def __init__(
        self,
        folder: Path,
        ends: dict[str, RunStatus],
        value: Callable[[str, int], float] = end_of,
    ) -> None:
        super().__init__(says=None)
        self.folder, self.ends, self.value = folder, ends, value

    def start(self, task: Task) -> None:
        for member in task.members:
            self.started.append(member)
            self.stacks[member.key] = task
            self.running[member.key] = (self.now, self._end(member))

    def _end(self, task: Task) -> Event:
        files = ResultSet(self.folder).cell(task.key)
        end, last = self.ends.get(task.key, RunStatus.DONE), 160
        if task.rung and self.value(task.key, 80) > task.rung.limit:
            end, last = RunStatus.STOPPED, 80
        rows = []
        for samples in range(0, last + 1, 80):
            value = self.value(task.key, samples)
            row = {"samples_seen": samples, "g_steps": samples // 8, "train_seconds": samples / 8}
            rows.append(row | {"metric": COLUMN, "value": value, "protocol": "p"})
        files.path.mkdir(parents=True, exist_ok=True)
        files.evals.unlink(missing_ok=True)
        append_rows(files.evals, rows)
        record = {
            "key": task.key, "status": str(end), "samples_seen": last, "g_steps": last // 8,
            "train_seconds": last / 8, "attempt": f"of {task.key}",
        }  # fmt: skip
        if end == RunStatus.STOPPED and task.rung:
            record["rung"] = task.rung.model_dump()
        write_json(files.status_file, record)
        return Ended(task.key, Status.model_validate(record | {"status": end}))


class Mortal(Silent):
    """A reporter that ends the process after so many cells."""

    def __init__(self, lives: int) -> None:
        self.lives = lives

    def news(self, news: CellNews) -> None:
        self.lives -= isinstance(news.event, Ended)
        if self.lives < 0:
            raise Killed


def prepared(session: Session) -> None:
    """What preparing writes, for a dataset that is not loaded."""
    write_record(session.results.matrix_file, session.matrix_file)
    protocol = {"protocol": "p", "floor": {COLUMN: 0.01}}
    write_json(session.results.protocols_file, {"gaussians8": protocol})


@pytest.fixture
def run(
    matrix_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., list[Task]]:
    """Runs the search on an instant pool, and returns what was started."""

    def call(
        folder: str = "r",
        lives: int = 1000,
        ends: dict[str, RunStatus] | None = None,
        search: str = SEARCH,
        objectives: str = OBJECTIVES,
        value: Callable[[str, int], float] = end_of,
        **options: Any,
    ) -> list[Task]:
        path = matrix_file(objectives=objectives, evaluation=EVALUATION, rules=search)
        session = Session(path, RunOptions(device="cpu", jobs=1, **options), tmp_path / folder)
        pool = Instant(tmp_path / folder / "tiny", ends or {}, value)
        monkeypatch.setattr(session, "_pool", lambda: pool)
        monkeypatch.setattr(session, "_prepare", lambda reporter: prepared(session))
        monkeypatch.setattr(plan, "checked", lambda options, *_: options)
        with suppress(Killed):
            session.run(Mortal(lives))
        return pool.started

    return call


def table(folder: Path) -> pd.DataFrame:
    return Results(folder / "tiny").search


def picks(found: pd.DataFrame) -> dict[str, int]:
    """Objective → the configuration that is picked."""
    rows = found[found["is_pick"]]
    return dict(zip(rows["objective"], rows["configuration"], strict=True))


def test_a_run_goes_from_pool_to_pick_to_final(run, tmp_path):
    started = run()
    found = table(tmp_path / "r")
    assert len(found) == len({task.key for task in started}) - 1  # wgan is not searched
    pool = found[found["phase"] == "pool"]
    best = pool.loc[pool.groupby("objective")["value"].idxmin()]
    expected = dict(zip(best["objective"], best["configuration"], strict=True))
    assert picks(found) == expected
    assert 0 not in expected.values()
    final = found[found["phase"] == "final"]
    seeds = final.groupby(["objective", "configuration"])["seed"].agg(list)
    assert all(each == [1000, 1001] for each in seeds)
    assert {*seeds.index} == {*expected.items(), *((name, 0) for name in expected)}
    assert (found["is_default"] == (found["configuration"] == 0)).all()
    assert found["value"].to_list() == [end_of(key) for key in found["key"]]
    assert found["train_seconds"].eq(20).all()
    assert found["at_0.5"].to_list() == [end_of(key, 80) for key in found["key"]]
    assert run() == []


def test_seconds_to_a_target_are_those_of_the_first_evaluation_that_reaches_it(run, tmp_path):
    run(objectives=f"{OBJECTIVES}\n{TARGET}")
    found = table(tmp_path / "r")
    for key, seconds in zip(found["key"], found["seconds_to_target"], strict=True):
        reached = [samples / 8 for samples in (0, 80, 160) if end_of(key, samples) <= 4.0]
        assert seconds == min(reached, default=math.inf)
    assert found["seconds_to_target"].nunique() > 2


def test_a_run_without_a_search_has_no_rows(run, tmp_path):
    run(objectives='objectives = ["wgan"]', search="")
    assert table(tmp_path / "r").empty


def test_a_search_that_is_killed_ends_with_the_same_table(run, tmp_path):
    whole = len(run("whole"))
    expected = table(tmp_path / "whole")
    for lives in range(1, whole, 3):
        assert len(run(f"killed {lives}", lives)) == lives + 1
        rest = run(f"killed {lives}")
        pd.testing.assert_frame_equal(table(tmp_path / f"killed {lives}"), expected)
        assert len(rest) == whole - lives - 1


def test_a_run_that_ends_again_and_again_does_no_cell_twice(run, tmp_path):
    whole = [task.key for task in run("whole")]
    started: list[str] = []
    while len(set(started)) < len(whole):
        started += [task.key for task in run("cut", lives=1)]
    assert set(started) == set(whole)
    pd.testing.assert_frame_equal(table(tmp_path / "cut"), table(tmp_path / "whole"))


@pytest.mark.parametrize("end", [RunStatus.DIVERGED, RunStatus.TIMEOUT])
def test_a_configuration_that_diverged_or_took_too_long_is_the_last(end, run, tmp_path):
    run("first")
    first = table(tmp_path / "first")
    best = first[first["is_pick"] & (first["phase"] == "pool")]
    ends = dict.fromkeys(best["key"], end)
    run("second", ends=ends)
    second = table(tmp_path / "second")
    pool = second[(second["phase"] == "pool") & ~second["key"].isin(ends)]
    expected = pool.loc[pool.groupby("objective")["value"].idxmin()]
    assert picks(second) == dict(zip(expected["objective"], expected["configuration"], strict=True))
    diverged = second[second["key"].isin(ends)]
    assert len(diverged) == (len(ends) if end == RunStatus.DIVERGED else 0)
    assert all(math.isinf(value) for value in diverged["value"])
    assert all(math.isfinite(value) for value in diverged["at_0.5"])


def test_an_error_in_the_pool_leaves_the_pick_open_until_it_is_run_again(run, tmp_path):
    keys = [task.key for task in run("first", lives=2)]
    broken = {keys[1]: RunStatus.ERROR}
    run("second", ends=broken)
    found = table(tmp_path / "second")
    assert len(picks(found)) == 1
    again = run("second", retry_errors=True)
    assert next(task.key for task in again) == keys[1]
    run("whole")
    pd.testing.assert_frame_equal(table(tmp_path / "second"), table(tmp_path / "whole"))


def test_shards_run_every_cell_once(run, tmp_path):
    whole = {task.key for task in run("whole")}
    started: list[str] = []
    # Each shard sees what the others have done when it is started again
    for _ in range(2):
        for shard in ("1/3", "2/3", "3/3"):
            started += [task.key for task in run("shards", shard=shard)]
    assert sorted(started) == sorted(whole)
    pd.testing.assert_frame_equal(table(tmp_path / "shards"), table(tmp_path / "whole"))


def test_a_shard_keeps_the_cells_that_another_has_added(tmp_path):
    folder = searched.write(tmp_path, {"wgan": [3.0, 1.0]}, {"wgan": ([3.0], [1.0])})
    results = ResultSet(folder)
    whole = results.matrix
    write_grown(results, whole.model_copy(update={"cells": whole.cells[:-1]}))
    assert results.matrix.cells == whole.cells


def test_searches_of_several_machines_are_merged(run, tmp_path):
    run("whole")
    run("one", only="objective=nonsaturating|wgan")
    run("two", only="objective=wgan_gp")
    halves = [ResultSet(tmp_path / name / "tiny") for name in ("one", "two")]
    keys = [{entry.key for entry in half.matrix.cells} for half in halves]
    assert keys[0] - keys[1]
    assert keys[1] - keys[0]
    merge([half.path for half in halves], tmp_path / "both" / "tiny")
    whole = ResultSet(tmp_path / "whole" / "tiny").matrix
    assert ResultSet(tmp_path / "both" / "tiny").matrix.cells == whole.cells
    pd.testing.assert_frame_equal(table(tmp_path / "both"), table(tmp_path / "whole"))
    assert run("both") == []


def test_pools_of_several_machines_are_merged_before_they_are_picked(run, tmp_path):
    run("whole")
    for name, shard in (("one", "1/2"), ("two", "2/2")):
        run(name, shard=shard)
    merge([tmp_path / "one/tiny", tmp_path / "two/tiny"], tmp_path / "both/tiny")
    assert {task.cell.seed for task in run("both")} == {1000, 1001}
    pd.testing.assert_frame_equal(table(tmp_path / "both"), table(tmp_path / "whole"))


def test_only_takes_the_picks_of_what_it_names(run, tmp_path):
    started = run(only="objective=wgan_gp")
    assert {task.cell.objective.name for task in started} == {"wgan_gp"}
    assert len(started) == 4 + 2 + 2
    assert picks(table(tmp_path / "r")).keys() == {"wgan_gp"}
    assert {task.cell.seed for task in run("pool", only="seed=0")} == {0}


def test_forced_all_runs_again_in_the_same_order_of_phases(run, tmp_path):
    first = [task.key for task in run()]
    before = table(tmp_path / "r")
    again = [task.key for task in run(force=True)]
    assert sorted(again) == sorted(first)
    pd.testing.assert_frame_equal(table(tmp_path / "r"), before)


def test_pool_and_final_share_no_stack(run):
    started = run(stack="2")
    of_pool = [task for task in started if task.cell.seed == 0]
    finals = [task for task in started if task.cell.seed >= 1000]
    assert all(not task.stack for task in of_pool)
    assert {tuple(cell.seed for cell in task.stack) for task in finals} == {(1000, 1001)}


def test_tpe_runs_one_configuration_of_an_objective_after_the_other(run, tmp_path):
    pytest.importorskip("optuna")
    search = f'{SEARCH}\nsampler = "tpe"'
    objectives = OBJECTIVES.replace("4", "12")
    whole = run("whole", search=search, objectives=objectives)
    found = table(tmp_path / "whole")
    assert (found[found["phase"] == "pool"].groupby("objective").size() == 12).all()
    for name in ("nonsaturating", "wgan_gp"):
        labels = [t.cell.objective.label for t in whole if t.cell.objective.name == name]
        rows = found[(found["objective"] == name) & (found["phase"] == "pool")]
        order = dict(zip(rows["key"], rows["configuration"], strict=True))
        numbers = [order[task.key] for task in whole if task.key in order]
        assert numbers == sorted(numbers)
        assert len(labels) == 12 + 4
    for lives in (3, 25):
        run("killed", lives, search=search, objectives=objectives)
    run("killed", search=search, objectives=objectives)
    pd.testing.assert_frame_equal(table(tmp_path / "killed"), found)
