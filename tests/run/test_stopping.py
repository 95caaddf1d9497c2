"""Early stopping of a search: runs end at their rung, and whatever happens to the search, the same
ones do."""

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from benchmark.api.results import Results
from benchmark.cli.status import lines
from benchmark.matrix.search import rungs
from benchmark.matrix.search.part import Rung
from benchmark.run.cell.cell_run import run_cell
from benchmark.run.options import RunOptions
from benchmark.run.reporter import Summary
from benchmark.run.search.outcomes import outcome
from benchmark.run.session import Session
from benchmark.store.files import read_json, write_json
from benchmark.store.layout import ResultSet
from benchmark.store.merge import merge
from benchmark.store.reader import Reader
from benchmark.store.schema import RunStatus
from tests.helpers.cells import small_cell
from tests.run.test_search import Killed, Mortal, end_of, picks, table
from tests.run.test_search import run as run  # a fixture

SEARCH = "[search]\nfinal_seeds = 2\nstop = { at = 0.5, keep = 0.25, after = 8 }"
OBJECTIVES = """objectives = [
    { name = "nonsaturating", search = 16 }, { name = "wgan_gp", search = 16 },
]"""
WITHOUT_CLOCKS = ["train_seconds", "seconds_to_target"]


def told(key: str, samples: int) -> float:
    """A value that keeps its order from the rung to the end."""
    return end_of(key) * (1 + (160 - samples) / 80)


def untold(key: str, samples: int) -> float:
    """A value of another order at the end."""
    return end_of(key, samples)


@pytest.fixture
def stopping(run) -> Callable:
    def call(folder: str = "r", lives: int = 1000, **options):
        given = {"search": SEARCH, "objectives": OBJECTIVES, "value": told} | options
        return run(folder, lives, **given)

    return call


def status_of(folder: Path) -> dict[str, RunStatus]:
    results = ResultSet(folder / "tiny")
    return {entry.key: results.cell(entry.key).status.status for entry in results.matrix.cells}


def test_later_configurations_that_are_not_good_enough_stop(stopping, tmp_path):
    stopping()
    found = table(tmp_path / "r")
    pool = found[found["phase"] == "pool"]
    assert pool.groupby("objective").size().to_list() == [16, 16]
    for _, here in pool.groupby("objective"):
        # the second best of the first eight
        limit = here["at_0.5"].iloc[:8].sort_values().iloc[1]
        later = here[here["configuration"] >= 8]
        assert not here["is_stopped"].iloc[:8].any()
        assert (later["is_stopped"] == (later["at_0.5"] > limit)).all()
        assert 0 < later["is_stopped"].sum() < 8
    stopped = pool[pool["is_stopped"]]
    assert stopped["value"].isna().all()
    assert stopped["seconds_to_target"].isna().all()
    assert (stopped["train_seconds"] == 10).all()
    assert pool.loc[~pool["is_stopped"], "value"].notna().all()
    assert not (found["is_stopped"] & found["is_pick"]).any()
    # settled, counted and not listed
    now = Reader(tmp_path / "r/tiny").overview()
    assert now.is_settled
    assert now.counts["stopped"] == len(stopped)
    assert not [line for line in lines(now) if line.startswith("  stopped")]
    # the search finds the same picks as one that trains all to the end
    stopping("whole", search=SEARCH.partition("stop")[0])
    assert picks(found) == picks(table(tmp_path / "whole"))


def test_none_stops_where_the_early_value_does_not_tell_the_end(stopping, tmp_path):
    stopping(value=untold)
    found = table(tmp_path / "r")
    assert len(found[found["phase"] == "pool"]) == 32
    assert not found["is_stopped"].any()


def test_a_search_that_is_killed_stops_the_same_runs(stopping, tmp_path):
    whole = {task.key for task in stopping("whole")}
    expected = table(tmp_path / "whole")
    for lives in (3, 20):
        name = f"killed {lives}"
        first = {task.key for task in stopping(name, lives)}
        rest = {task.key for task in stopping(name)}
        assert first | rest == whole
        pd.testing.assert_frame_equal(table(tmp_path / name), expected)
        assert stopping(name) == stopping(name, retry_errors=True) == []


@pytest.mark.slow
def test_machines_that_share_a_search_stop_the_same_runs(stopping, tmp_path):
    stopping("whole")
    for _ in range(3):  # pools, later ones, picks
        for shard in ("1/2", "2/2"):
            stopping("shards", shard=shard)
    expected = table(tmp_path / "whole")
    pd.testing.assert_frame_equal(table(tmp_path / "shards"), expected)
    stopping("one", only="objective=nonsaturating")
    stopping("two", only="objective=wgan_gp")
    merge([tmp_path / "one/tiny", tmp_path / "two/tiny"], tmp_path / "both/tiny")
    pd.testing.assert_frame_equal(table(tmp_path / "both"), expected)
    assert stopping("both") == []


@pytest.mark.slow
def test_a_larger_search_keeps_what_stopped(stopping, tmp_path):
    small = stopping()
    before = status_of(tmp_path / "r")
    large = stopping(objectives=OBJECTIVES.replace("16", "32"))
    after = status_of(tmp_path / "r")
    pool = {task.key for task in small if task.cell.seed == 0}
    assert pool.isdisjoint(task.key for task in large)
    assert {key: after[key] for key in pool} == {key: before[key] for key in pool}
    stopping("at once", objectives=OBJECTIVES.replace("16", "32"))
    pd.testing.assert_frame_equal(table(tmp_path / "r"), table(tmp_path / "at once"))


def test_an_error_among_the_first_holds_the_later_ones_back(stopping, tmp_path):
    first = [task.key for task in stopping("first", lives=16)]
    only = "objective=nonsaturating"
    broken = next(key for key in first if key.startswith("nonsaturating"))
    started = stopping(ends={broken: RunStatus.ERROR}, only=only)
    assert len([task for task in started if task.cell.seed == 0]) == 8
    again = stopping(only=only, retry_errors=True)
    assert again[0].key == broken
    assert len([task for task in again if task.cell.seed == 0]) == 1 + 8


@pytest.mark.slow
def test_a_matrix_without_the_rule_trains_stopped_runs_to_their_end(stopping, tmp_path):
    stopping()
    stopped = {key for key, end in status_of(tmp_path / "r").items() if end == RunStatus.STOPPED}
    again = stopping(search=SEARCH.partition("stop")[0])
    assert {task.key for task in again if task.cell.seed == 0} == stopped
    assert {*status_of(tmp_path / "r").values()} == {RunStatus.DONE}
    stopping("whole", search=SEARCH.partition("stop")[0])
    pd.testing.assert_frame_equal(table(tmp_path / "r"), table(tmp_path / "whole"))
    # with the rule again, what is done stays done
    assert stopping() == []


@pytest.mark.slow
def test_forced_the_same_runs_stop(stopping, tmp_path):
    first = [task.key for task in stopping()]
    before = table(tmp_path / "r")
    assert sorted(task.key for task in stopping(force=True)) == sorted(first)
    pd.testing.assert_frame_equal(table(tmp_path / "r"), before)


# Cells that train

SHORT = small_cell(steps=10, evaluation={"schedule": [0.0, 0.2, 0.5, 1.0]})
COLUMN = "swd_200"


def value_at_rung(folder: Path) -> float:
    """What SHORT has at half of its budget."""
    (*_,) = run_cell(SHORT, folder, "cpu")
    found = rungs.value_at(rows(folder), SHORT.training, 0.5, COLUMN)
    assert found is not None
    return found


def rows(folder: Path) -> list[dict]:
    import json

    lines = ResultSet(folder).cell(SHORT.key).evals.read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_run_ends_at_its_rung_where_its_value_is_above_the_limit(tmp_path):
    value = value_at_rung(tmp_path / "whole")
    whole = rows(tmp_path / "whole")
    below = math.nextafter(value, 0)
    for limit, end in ((value, RunStatus.DONE), (below, RunStatus.STOPPED)):
        folder = tmp_path / end
        rung = Rung(at=0.5, limit=limit, metric=None)
        *_, last = run_cell(SHORT, folder, "cpu", rung=rung)
        files = ResultSet(folder).cell(SHORT.key)
        assert last.status.status == files.status.status == end
        assert files.fault(files.status) is None
        num = len(rows(folder))
        assert [row["value"] for row in rows(folder)] == [row["value"] for row in whole[:num]]
        assert files.generator.exists() == (end == RunStatus.DONE)
        assert not files.checkpoint.exists()
    status = files.status
    assert (status.progress, status.g_steps, status.rung) == (0.5, 5, rung)
    assert status.reason == f"at 50% of its budget: {COLUMN} {value:.4g} > {below:.4g}"
    assert rows(folder)[-1]["g_steps"] == 5


@pytest.mark.parametrize("metric", ["swd", "w1"])
def test_a_run_is_stopped_by_the_metric_of_the_search(metric, tmp_path):
    rung = Rung(at=0.2, limit=0.0, metric=metric)
    *_, last = run_cell(SHORT, tmp_path, "cpu", rung=rung)
    assert last.status.status == RunStatus.STOPPED
    assert last.status.reason.startswith(f"at 20% of its budget: {metric}_")


def test_a_run_that_is_interrupted_at_its_rung_stops_when_it_is_resumed(tmp_path):
    rung = Rung(at=0.5, limit=0.0, metric=None)
    files = ResultSet(tmp_path).cell(SHORT.key)

    def is_measured() -> bool:
        return files.evals.exists() and rows(tmp_path)[-1]["g_steps"] == 5

    *_, first = run_cell(SHORT, tmp_path, "cpu", is_measured, 0, rung=rung)
    assert first.status.status == RunStatus.INTERRUPTED
    before = rows(tmp_path)
    *_, last = run_cell(SHORT, tmp_path, "cpu", rung=rung)
    assert (last.status.status, last.status.resumes) == (RunStatus.STOPPED, 1)
    assert rows(tmp_path) == before


def test_what_a_run_reached_at_its_rung_and_at_its_end(tmp_path):
    from benchmark.matrix.options import Search

    value = value_at_rung(tmp_path)
    files = ResultSet(tmp_path).cell(SHORT.key)
    options = Search(stop={"at": 0.5})
    end = next(row["value"] for row in reversed(rows(tmp_path)) if row["metric"] == COLUMN)
    assert outcome(files, SHORT, None, options) == (end, value)
    assert math.isnan(outcome(files, SHORT, None, Search()).early)
    record = read_json(files.status_file)
    del record["schema"]
    for status, expected in (("diverged", (math.inf, value)), ("error", None)):
        write_json(files.status_file, record | {"status": status})
        assert outcome(files, SHORT, None, options) == expected
    write_json(files.status_file, record | {"status": "timeout"})
    assert outcome(files, SHORT, None, options).end == math.inf


@pytest.mark.slow
def test_a_search_with_stopped_runs_from_its_start_to_its_tables(
    matrix_file, monkeypatch, tmp_path
):
    """Killed and resumed, with workers that train."""
    # Whatever seven short runs say of their end
    monkeypatch.setattr(rungs, "LEAST_CORRELATION", -1.0)
    path = matrix_file(
        objectives='objectives = [{ name = "nonsaturating", search = 11 }]',
        evaluation="[evaluation]\nschedule = [0, 0.5, 1]\nn = { points = 200 }",
        rules="[search]\nfinal_seeds = 1\nstop = { at = 0.5, after = 7 }",
    )

    def call(folder: str, lives: int) -> Summary | None:
        session = Session(path, RunOptions(device="cpu", jobs=1), tmp_path / folder)
        with suppress(Killed):
            return session.run(Mortal(lives))
        return None

    whole = call("whole", 100)
    assert whole is not None
    assert whole.is_complete
    assert 0 < whole.counts["stopped"] < 4
    assert call("killed", 9) is None
    rest = call("killed", 100)
    assert rest is not None
    assert rest.counts == whole.counts
    again = Session(path, RunOptions(device="cpu", jobs=1), tmp_path / "killed")
    assert again.todo == {}
    tables = [Results(tmp_path / name / "tiny") for name in ("whole", "killed")]
    frames = [results.search.drop(columns=WITHOUT_CLOCKS) for results in tables]
    pd.testing.assert_frame_equal(*frames)
    assert frames[0]["is_stopped"].sum() == whole.counts["stopped"]
