"""What a search says, from planted pools and final runs."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.evidence import gather as gather_evidence
from benchmark.analysis.search import finals, tuning
from benchmark.analysis.sides import of_labels
from benchmark.analysis.tables import Tables, load
from benchmark.check.baseline import measured
from benchmark.report.chapters.leaderboards import leaderboard, summary_by_key
from benchmark.report.first import first_screen
from benchmark.stats.tuning import algoperf_score
from benchmark.store.files import write_json
from tests.helpers import searched, synthetic

INF, NAN = math.inf, math.nan
NUM = len(searched.FINAL_SEEDS)
NOISE = np.linspace(0, 0.7, NUM)
POOLS = {
    "nonsaturating": [30.0, 24.0, INF, 20.0, 45.0, 90.0, 22.0, 41.0],
    "lsgan": [10.0, 50.0, 40.0, 12.0, 30.0, INF, 25.0, 60.0],
    "wgan_gp": [50.0, 26.0, 80.0, 28.0, INF, 55.0, 25.0, 29.0],
}
FINALS = {
    "nonsaturating": (31 + NOISE, 23 + NOISE),
    "lsgan": (11 + NOISE, []),
    "wgan_gp": (48 + NOISE, np.where(NOISE < 0.35, 47 + NOISE, 49 + NOISE)),
}


@pytest.fixture(autouse=True, scope="module")
def fresh_code():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        yield


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Tables:
    folder = tmp_path_factory.mktemp("runs") / "searched"
    return load(searched.write(folder, POOLS, FINALS, seconds={"wgan_gp": 3.0}))


def of(frame: pd.DataFrame, objective: str) -> pd.Series:
    (row,) = frame[frame["objective"] == objective].to_dict("records")
    return pd.Series(row)


def test_pools(tables):
    pools = tuning.gather(tables).pools
    row = of(pools, "nonsaturating")
    assert (row["configurations"], row["diverged"], row["pick"]) == (8, 1, 3)
    assert (row["default"], row["best"], row["near"]) == (30, 20, 4 / 8)
    # medians of the final runs are 23.35 and 31.35
    assert (row["curse"], row["shift"]) == pytest.approx((3.35, 1.35))
    assert row["curse_low"] == pytest.approx(3.0)
    assert of(pools, "lsgan")["pick"] == 0
    assert of(pools, "wgan_gp")["mean_seconds"] == pytest.approx((18 + 6 * 12 + 6) / 8)


def test_score_is_that_of_the_drawn_configurations(tables):
    found = tuning.gather(tables)
    runs = found.runs[(found.runs["phase"] == "pool") & (found.runs["objective"] == "lsgan")]
    drawn = runs[runs["configuration"] > 0]["seconds_to_target"]
    row = of(found.pools, "lsgan")
    assert (row["score"], row["missed"]) == algoperf_score(drawn)
    assert row["missed"] > 0


def test_curves_leave_out_the_default(tables):
    curves = tuning.gather(tables).curves
    lsgan = curves[curves["objective"] == "lsgan"]
    assert lsgan["k"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    # of 50 40 12 30 inf 25 60; the default, 10, was not drawn
    assert lsgan["median"].tolist() == [40, 30, 25, 25, 12, 12, 12]
    assert lsgan["mean_without"].iloc[-1] == 12
    assert (lsgan["mean_with"] == INF).all()
    assert (lsgan["low"] <= lsgan["median"]).all()
    np.testing.assert_allclose(lsgan["seconds"], lsgan["k"] * (6 * 12 + 6) / 7)


def test_tuned_against_default(tables):
    tuned = tuning.gather(tables).tuned
    row = of(tuned, "nonsaturating")
    assert (row["verdict"], row["n"], row["wins"], row["pick"]) == ("better", NUM, NUM, 3)
    assert (row["default"], row["tuned"]) == pytest.approx((31.35, 23.35))
    assert (row["difference"], row["ci_low"], row["ci_high"]) == pytest.approx((-8, -8, -8))
    # Holm over the two objectives whose pick is not their default
    assert row["p_holm"] == pytest.approx(2 * 2 / 2**NUM)
    assert of(tuned, "wgan_gp")["verdict"] == "not separated"
    # the default is its own pick: nothing to test
    row = of(tuned, "lsgan")
    assert (row["why"], row["default"]) == (tuning.IS_DEFAULT, pytest.approx(11.35))
    assert (row["verdict"], row["n"]) == ("", pytest.approx(NAN, nan_ok=True))


def test_rivals_are_tuned_and_tested_against_the_reference(tables):
    rivals = tuning.gather(tables).rivals
    pairs = [tuple(pair) for pair in rivals[["first", "second", "verdict"]].to_numpy()]
    assert pairs == [("lsgan", "nonsaturating", "better"), ("wgan_gp", "nonsaturating", "worse")]
    lsgan = rivals.iloc[0]
    assert (lsgan["n"], lsgan["difference"]) == (NUM, -12)


def test_rank_correlation_with_the_end(tables):
    """The planted curves of the runs that ended lie above each other at every rung."""
    rungs = tuning.gather(tables).rungs
    assert set(rungs["share"].round(3)) == {0.167, 0.5}
    assert (rungs["correlation"] == 1).all()
    assert (rungs["low"] < 1).all()
    assert (rungs["n"] == 8).all()


def test_a_pool_that_is_not_settled_has_no_pick(tmp_path):
    pools = POOLS | {"lsgan": [10.0, 50.0, NAN, 12.0]}
    found = tuning.gather(load(searched.write(tmp_path / "part", pools, FINALS)))
    assert of(found.tuned, "lsgan")["why"] == tuning.NO_PICK
    assert of(found.tuned, "nonsaturating")["verdict"] == "better"
    row = of(found.pools, "lsgan")
    assert (row["configurations"], row["diverged"]) == (3, 0)
    assert math.isnan(row["pick"])


@pytest.mark.parametrize(("sampler", "has_curve"), [("sobol", True), ("tpe", False)])
def test_what_is_not_drawn_independently_has_no_band(tmp_path, sampler, has_curve):
    folder = searched.write(tmp_path / sampler, POOLS, FINALS, sampler=sampler)
    found = tuning.gather(load(folder))
    assert found.curves.empty != has_curve
    assert found.curves["low"].isna().all()
    assert found.pools["score"].isna().all() != has_curve


STOP = {"at": 0.5, "keep": 0.5, "after": 8}
LATER = {
    "nonsaturating": [*POOLS["nonsaturating"], 21.0, 50.0, 60.0, 19.0],
    "lsgan": [*POOLS["lsgan"], 9.0, 11.0, INF, 35.0],
    "wgan_gp": POOLS["wgan_gp"],
}
# the fourth best of the first has 30 at the end, and 2.5 x that at the rung
STOPPED = [searched.label("nonsaturating", number) for number in (9, 10)]
UNTOLD = {searched.label("lsgan", number): (number * 5) % 7 + 1.0 for number in range(12)}


def stopped(folder) -> Tables:
    """A search of which one pool stopped early, one was not allowed to, and one has not come so
    far."""
    options = {"stop": STOP, "stopped": STOPPED, "early": UNTOLD}
    return load(searched.write(folder, LATER, FINALS, **options))


@pytest.fixture(scope="module")
def stopping(tmp_path_factory) -> Tables:
    return stopped(tmp_path_factory.mktemp("runs") / "stopped")


def test_whether_pools_stopped_and_why(stopping):
    found = tuning.gather(stopping).stopping
    row = of(found, "nonsaturating")
    assert (row["verdict"], row["share"], row["n"], row["correlation"]) == ("allowed", 0.5, 8, 1.0)
    assert (row["limit"], row["later"], row["stopped"]) == (75.0, 4, 2)
    # two runs that took 6 s for half of the budget
    assert row["seconds_saved"] == pytest.approx(12.0)
    row = of(found, "lsgan")
    assert (row["verdict"], row["later"], row["stopped"]) == ("not allowed", 4, 0)
    assert row["low"] < 0.8
    assert math.isnan(row["limit"])
    row = of(found, "wgan_gp")
    assert (row["verdict"], row["correlation"], row["later"]) == ("not decided", 1.0, 0)
    assert math.isnan(row["limit"])


def test_a_stopped_configuration_has_no_end(stopping):
    found = tuning.gather(stopping)
    pool = found.configurations[found.configurations["objective"] == "nonsaturating"]
    assert pool.loc[pool["is_stopped"], "configuration"].to_list() == [9, 10]
    assert pool.loc[pool["is_stopped"], "value"].isna().all()
    assert pool.loc[pool["is_stopped"], "at_0.5"].to_list() == [125.0, 150.0]
    assert pool.loc[pool["is_pick"], "configuration"].to_list() == [11]
    row = of(found.pools, "nonsaturating")
    assert (row["configurations"], row["diverged"], row["stopped"]) == (12, 1, 2)
    assert (row["best"], row["pick"]) == (19.0, 11)
    assert np.isnan([row["near"], row["score"], row["missed"]]).all()
    others = [of(found.pools, name) for name in ("lsgan", "wgan_gp")]
    assert not any(math.isnan(row["score"]) for row in others)
    # its curve would be one of configurations that were selected
    assert set(found.curves["objective"]) == {"lsgan", "wgan_gp"}


def test_correlations_are_of_configurations_that_no_value_selected(stopping):
    rungs = tuning.gather(stopping).rungs
    assert (rungs["n"] == 8).all()
    decided = tuning.gather(stopping).stopping
    at = rungs[rungs["share"] == 0.5].reset_index(drop=True)
    columns = ["objective", "correlation", "low", "high"]
    pd.testing.assert_frame_equal(at[columns], decided[columns])


def test_a_stopped_run_has_no_verdict_and_no_score(stopping):
    cells = stopping.cells[stopping.cells["status"] == "stopped"]
    assert len(cells) == 2
    assert cells["verdict"].isna().all()
    assert not set(cells["key"]) & set(stopping.published["scores"]["cell"])
    assert "stopping" in stopping.published
    # the gate has no value to judge it by
    gated = {row.objective for row in measured(stopping)}
    assert gated == {*stopping.runs["objective"]} - {*STOPPED}


def test_pages_compare_the_final_runs(tables):
    shown = finals.shown(tables)
    names = ["nonsaturating", "nonsaturating (tuned)", "lsgan", "wgan_gp", "wgan_gp (tuned)"]
    assert sorted(shown.cells["objective"].unique()) == sorted(names)
    assert set(shown.cells["seed"]) == set(searched.FINAL_SEEDS)
    assert set(shown.evals["cell"]) == set(shown.cells["key"])
    medians = shown.summary[shown.summary["of"] == "final"]
    tuned = medians[medians["objective"] == "nonsaturating (tuned)"]
    assert tuned.set_index("metric")["median"][searched.FID] == pytest.approx(23.35)
    # the pick looks like a variant of its objective
    assert shown.matrix.objective_labels["wgan_gp (tuned)"] == searched.label("wgan_gp", 6)
    assert len(shown.with_pools.cells) == len(tables.cells)
    assert finals.shown(shown).cells.equals(shown.cells)
    leaders = gather_evidence(shown).leaders
    assert leaders["first"].iloc[0] == "lsgan"


def test_what_a_search_picked_is_never_compared_with_what_was_not_searched(tables):
    """That a tuned objective is better than an untuned one is no finding of the objective."""
    evidence = gather_evidence(finals.shown(tables))
    pairs = set(zip(evidence.compared["first"], evidence.compared["second"], strict=True))
    assert pairs == {("lsgan", "nonsaturating"), ("wgan_gp", "nonsaturating")}
    verdicts = first_screen(evidence).verdicts
    assert [row.cells[0] for row in verdicts.rows] == ["nonsaturating", "lsgan", "wgan_gp"]
    at = {"dataset": "digits", "architecture": "dcgan"}
    board = leaderboard(evidence, at, summary_by_key(evidence.tables))
    finals_of = {row.cells[0]: row.cells[1].split("\n")[-1] for row in board.rows}
    assert finals_of["nonsaturating"] == "reference"
    assert finals_of["wgan_gp"] == "worse"
    assert "separated" not in finals_of["wgan_gp (tuned)"]
    assert board.note.endswith("compared with one another in the chapter on tuning.")


def test_one_searched_objective_has_its_chapter_and_no_other_test(tmp_path):
    pools, ends = ({"nonsaturating": of["nonsaturating"]} for of in (POOLS, FINALS))
    tables = load(searched.write(tmp_path / "alone", pools, ends))
    (card,) = first_screen(gather_evidence(finals.shown(tables))).cards
    assert card.claims[0].leader == "nonsaturating (tuned)"
    assert card.claims[0].after.startswith("; the chapter on tuning")


def test_compare_names_the_pick(tables):
    sides = of_labels(tables, ["wgan_gp", "wgan_gp (tuned)"])
    assert set(sides.cells["side"]) == {"wgan_gp", "wgan_gp (tuned)"}


def test_tables_of_a_search_are_written(tables):
    frames = tables.published
    assert {"search", "tuning_curves", "tuning_pools", "tuned", "tuned_rivals", "rungs"} <= {
        *frames
    }
    assert len(frames["search"]) == 24 + 5 * NUM
    assert "stopping" not in frames


def test_a_matrix_without_a_search_has_none(tmp_path):
    tables = load(synthetic.write(tmp_path / "plain", seeds=[0], samples=False))
    assert tables.tuning is None
    assert finals.compared(tables) is tables
    assert "tuned" not in tables.published


def test_display_names_of_a_search(tmp_path):
    folder = searched.write(tmp_path / "named", POOLS, FINALS)
    matrix = json.loads((folder / "matrix.json").read_text())
    matrix["display_names"] = {
        "objective": {"wgan_gp": "GP", searched.label("wgan_gp", 6): "GP #6"}
    }
    del matrix["schema"]
    write_json(folder / "matrix.json", matrix)
    tables = load(folder)
    assert {"GP", "GP (tuned)"} <= set(finals.shown(tables).cells["objective"])
    assert "GP" in set(tables.tuning.tuned["objective"])
    # stored tables keep the labels
    assert "wgan_gp" in set(tables.published["tuned"]["objective"])


def test_display_names_change_no_number_of_a_search(tmp_path):
    folder = searched.write(tmp_path / "named", POOLS, FINALS)
    plain = finals.shown(load(folder)).tuning
    matrix = json.loads((folder / "matrix.json").read_text())
    names = {"dataset": "Digits", "architecture": "Small"}
    matrix["display_names"] = {
        axis: {plain.runs[axis].iloc[0]: name} for axis, name in names.items()
    }
    del matrix["schema"]
    write_json(folder / "matrix.json", matrix)
    tuning = finals.shown(load(folder)).tuning
    assert set(tuning.runs["dataset"]) == {"Digits"}
    assert set(tuning.runs["architecture"]) == {"Small"}
    for name in ("runs", "configurations", "curves", "pools", "tuned"):
        before, now = (getattr(one, name) for one in (plain, tuning))
        rest = before.columns.difference(["dataset", "architecture"])
        assert rest.any()
        pd.testing.assert_frame_equal(now[rest], before[rest])
