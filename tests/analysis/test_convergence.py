"""Convergence by hand: area, the value at equal time, targets, cost to target with censoring and
divergence."""

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis import convergence, scores

INF, NAN = np.inf, np.nan
FID, COVERED = "fid_classifier_750", "modes_covered_750"


def cells_of(*runs: dict) -> pd.DataFrame:
    """One row per run: 100 batches of 10, a generator step each five batches, a second per
    generator step."""
    common = {
        "dataset": "digits",
        "architecture": "dcgan",
        "objective": "wgan",
        "status": "done",
        "device": "cpu",
        "samples_seen": 1000.0,
        "g_steps": 20.0,
        "raced_seconds": 20.0,
        "race_fault": "",
        "batch_size": 10.0,
        "forwards_per_d_step": 40.0,
        "forwards_per_g_step": 30.0,
    }
    cells = pd.DataFrame([{"key": f"cell{i}", **common, **run} for i, run in enumerate(runs)])
    ms = 1000 * cells["raced_seconds"] / cells["g_steps"]
    return cells.assign(forwards=scores.forwards(cells, cells), raced_ms=ms)


def evals_of(*runs: list[float], metric: str = FID) -> pd.DataFrame:
    """One list of values per cell, an evaluation every 250 samples and 5 generator steps."""
    rows = [
        (f"cell{k}", 250.0 * i, 5.0 * i, metric, value)
        for k, values in enumerate(runs)
        for i, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows, columns=["cell", "samples_seen", "g_steps", "metric", "value"])
    return frame.assign(
        cell=pd.Categorical(frame["cell"]), metric=frame["metric"].astype("category")
    )


def at_equal(of: str, cells: pd.DataFrame, evals: pd.DataFrame) -> pd.Series:
    """The values at equal cost."""
    evals = scores.with_costs(evals, cells)
    limits = convergence.equal_cost(cells, of)
    return convergence.at_equal_cost(cells, evals, of, limits)[f"{FID}:{of}"]


def test_forwards_by_hand():
    assert cells_of({})["forwards"][0] == 100 * 40 + 20 * 30
    assert np.isnan(cells_of({"forwards_per_d_step": NAN})["forwards"][0])


def test_area_is_geometric_for_a_primary_metric_and_arithmetic_for_others():
    assert convergence.measured(evals_of([100.0, 1.0, 1.0])).loc[
        "cell0", f"{FID}:area"
    ] == pytest.approx(10**0.5)
    covered = convergence.measured(evals_of([0.0, 8.0, 4.0], metric=COVERED))
    assert covered.loc["cell0"].to_dict() == {
        f"{COVERED}:final": 4,
        f"{COVERED}:best": 8,
        f"{COVERED}:area": 5,
        f"{COVERED}:best_g_step": 5,
        f"{COVERED}:final_g_step": 10,
    }


def test_area_weighs_by_samples_and_does_not_ask_for_an_order():
    evals = evals_of([100.0, 1.0, 1.0])
    evals["samples_seen"] = [0.0, 100.0, 1000.0]  # one decade falls in the first tenth
    row = convergence.measured(evals.iloc[[2, 0, 1]]).loc["cell0"]
    assert row[f"{FID}:area"] == pytest.approx(10**0.1)
    assert row[f"{FID}:final"] == 1


def test_one_evaluation_and_holes():
    found = convergence.measured(evals_of([3.0], [5.0, NAN, 4.0], [NAN, NAN], [0.0, 1.0]))
    assert found[f"{FID}:area"].iloc[[0, 3]].to_list() == [3, 0]
    assert found[f"{FID}:area"].iloc[[1, 2]].isna().all()
    assert found[f"{FID}:best"].to_list()[:2] == [3, 4]
    assert found[f"{FID}:best_g_step"].to_list()[:2] == [0, 10]
    assert found[[f"{FID}:best", f"{FID}:best_g_step"]].loc["cell2"].isna().all()


@pytest.mark.parametrize(
    ("lsgan_seconds", "steps"), [(100.0, 0.8), (80.0, 1.0), (20.1, 4 * 20 / 20.1), (19.9, 4.0)]
)
def test_equal_time_is_between_evaluations_at_the_fastest_objectives_median(lsgan_seconds, steps):
    """wgan takes 18, 20 and 22 s for 9, 8, 7, 6, 5; of FID, which ranks, the logarithm is linear in
    time."""
    seconds = [18.0, 20.0, 22.0, lsgan_seconds]
    cells = cells_of(
        *(
            {"raced_seconds": t, "objective": "lsgan" if i == 3 else "wgan"}
            for i, t in enumerate(seconds)
        )
    )
    evals = evals_of(*[[9.0, 8.0, 7.0, 6.0, 5.0]] * 4)
    limit = min(20.0, lsgan_seconds)
    assert convergence.equal_cost(cells, "equal_time") == {("digits", "dcgan"): limit}
    at = at_equal("equal_time", cells, evals)

    def value(steps: float) -> float:
        before = min(int(steps), 3)
        return (9 - before) ** (before + 1 - steps) * (8 - before) ** (steps - before)

    assert at.to_list() == pytest.approx(
        [5.0, *(value(4 * limit / t) for t in (20.0, 22.0)), value(steps)]
    )


def test_equal_time_of_a_run_that_ended_before_it_is_its_last_and_diverged_runs_set_no_time():
    cells = cells_of(
        {}, {"objective": "lsgan", "status": "diverged", "g_steps": 5.0, "raced_seconds": 5.0}
    )
    evals = evals_of([9.0, 8.0, 7.0, 6.0, 5.0], [9.0, 8.0])
    assert convergence.equal_cost(cells, "equal_time") == {("digits", "dcgan"): 20.0}
    assert at_equal("equal_time", cells, evals).to_list() == [5, 8]


def test_equal_time_does_not_fill_a_hole():
    """T = 20 s, evaluations every 5, 6 and 7 s: at the last, between the fourth and fifth, between
    third and fourth."""
    cells = cells_of(
        {},
        {"objective": "lsgan", "raced_seconds": 24.0},
        {"objective": "wgan_gp", "raced_seconds": 28.0},
    )

    def at(*runs: list[float]) -> list[bool]:
        evals = evals_of(*runs)
        assert convergence.equal_cost(cells, "equal_time") == {("digits", "dcgan"): 20.0}
        return at_equal("equal_time", cells, evals).isna().to_list()

    whole = [9.0, 8.0, 7.0, 6.0, 5.0]
    assert at(whole, whole, whole) == [False] * 3
    assert at([*whole[:4], NAN], [*whole[:4], NAN], [*whole[:4], NAN]) == [True, True, False]
    before = [*whole[:3], NAN, 5.0]
    assert at(before, before, [*whole[:2], NAN, *whole[3:]]) == [False, True, True]


def test_seconds_that_do_not_compare_have_no_equal_time_but_equal_compute():
    fault = {"race_fault": "no race has timed its objectives"}
    other = {"dataset": "cifar10"}
    cells = cells_of(fault, fault, other, {**other, "status": "running"})
    evals = evals_of(*[[9.0, 8.0, 7.0, 6.0, 5.0]] * 3)
    assert convergence.equal_cost(cells, "equal_time") == {("cifar10", "dcgan"): 20.0}
    at = at_equal("equal_time", cells, evals)
    assert at.iloc[2] == 5
    assert at.iloc[:2].isna().all()
    assert at_equal("equal_compute", cells, evals).to_list() == [5, 5, 5]


def test_equal_compute_is_between_evaluations_at_the_cheapest_objectives_forwards():
    """wgan: 4,600 forwards in 20 generator steps. lsgan: a critic step a generator step, 700 in
    200 samples: wgan had spent 700 after 700 / 4,600 of its run, 0.6087 evaluations."""
    lsgan = {"objective": "lsgan", "samples_seen": 200.0, "g_steps": 10.0}
    cells = cells_of({}, {**lsgan, "forwards_per_d_step": 20.0, "raced_seconds": 9.0})
    assert convergence.equal_cost(cells, "equal_compute") == {("digits", "dcgan"): 700.0}
    at = at_equal("equal_compute", cells, evals_of([9.0, 8.0, 7.0, 6.0, 5.0], [9.0]))
    share = 4 * 700 / 4600
    assert at.to_list() == pytest.approx([9 ** (1 - share) * 8**share, 9])


def test_a_place_with_an_objective_of_unknown_cost_has_no_equal_compute():
    cells = cells_of({}, {"objective": "lsgan", "forwards_per_d_step": NAN})
    assert convergence.equal_cost(cells, "equal_compute") == {}
    assert convergence.equal_cost(cells, "equal_time") == {("digits", "dcgan"): 20.0}


@pytest.mark.filterwarnings("error")
def test_a_zero_has_a_value_at_equal_time():
    """A zero has no logarithm: next to it, the value at equal time is linear."""
    ends = [{"raced_seconds": 2.5, "g_steps": 2.5, "objective": "lsgan"}, {}, {}, {}]
    runs = [[4.0, 0.0], [0.0, 0.0, 0.0], [4.0, -1e-9], [4.0, 1.0]]
    at = at_equal("equal_time", cells_of(*ends), evals_of(*runs))
    assert at.to_list() == pytest.approx([2.0, 0.0, 2.0, 2.0])
    area = convergence.measured(evals_of(*runs))[f"{FID}:area"]
    assert area.to_list() == pytest.approx([0.0, 0.0, 0.0, 2.0])


DIGITS = ("digits", "dcgan")


def reached(*runs: dict, **levels: float) -> pd.DataFrame:
    """The costs of the target 5, or of several by level."""
    cells = cells_of(*runs)
    evals = evals_of(
        [9.0, 7.0, 5.0, 5.0, 6.0], [9.0, 4.0], [9.0, 8.0], [9.0, 9.0, 9.0, 9.0, 9.0], [9.0, 4.0]
    )
    evals = scores.with_costs(evals, cells)
    targets = {DIGITS: levels or {"given": 5.0}}
    return convergence.to_targets(cells, evals, {"digits": FID}, targets)


def test_what_a_target_costs_on_four_clocks():
    early = {"status": "diverged", "samples_seen": 250.0, "g_steps": 5.0, "raced_seconds": 5.0}
    rows = reached({}, early, early, {}, {"status": "running"})
    costs = rows[list(convergence.TARGET_CLOCKS)]
    assert costs.iloc[0].to_list() == [500, 10, 50 * 40 + 10 * 30, 10]
    assert costs.iloc[1].to_list() == [250, 5, 25 * 40 + 5 * 30, 5]  # reached it, then diverged
    assert costs.iloc[2].to_list() == [INF] * 4  # diverged before
    assert costs.iloc[3].to_list() == [INF] * 4  # ended without
    assert costs.iloc[4].isna().all()  # is not finished
    assert rows["target"].eq(5).all()
    assert rows["level"].eq("given").all()
    unknown = reached({}, {}, {}, {"forwards_per_g_step": NAN}, {})
    assert np.isnan(unknown["forwards"][3])
    assert unknown["samples"][3] == INF


def test_every_level_has_its_cost_and_a_place_without_a_target_has_none():
    costs = reached({}, {"dataset": "cifar10"}, {}, {}, {}, easy=8.0, hard=4.0)
    assert costs["key"].to_list() == [f"cell{i}" for i in (0, 0, 2, 2, 3, 3, 4, 4)]
    assert costs["level"].to_list() == ["easy", "hard"] * 4
    assert costs["g_steps"].to_list() == [5, INF, 5, INF, INF, INF, 5, 5]


def test_never_reached_asks_for_an_evaluation():
    """A done run without a finite evaluation (all dropped as of an older protocol) is unknown; a
    diverged one never."""
    cells = cells_of({}, {}, {"status": "diverged"}, {})
    evals = scores.with_costs(evals_of([9.0, 9.0], [NAN, NAN], [], []), cells)
    found = convergence.to_targets(cells, evals, {"digits": FID}, {DIGITS: {"given": 5.0}})
    np.testing.assert_array_equal(found["samples"], [INF, NAN, INF, NAN])


def test_seconds_that_do_not_compare_are_not_pooled():
    runs: list[dict] = [{"race_fault": "no race has timed its objectives"}] * 5
    costs = reached(*runs)
    assert costs["seconds"].isna().all()
    assert costs["samples"].notna().all()
    kept = convergence.over_seeds(with_forwards(*runs), costs).set_index("clock")["n"]
    assert kept.to_dict() == {"samples": 5, "g_steps": 5, "forwards": 5, "seconds": 0}


def with_forwards(*runs: dict) -> pd.DataFrame:
    cells = cells_of(*runs)
    return cells.assign(forwards=scores.forwards(cells, cells))


def test_the_median_cost_is_beyond_the_budget_where_half_of_the_runs_missed_it():
    def over_seeds(*runs: tuple[float, float, str]) -> dict:
        """runs: seconds to the target, seconds trained, status."""
        cells = with_forwards(
            *({"raced_seconds": end, "status": status} for _, end, status in runs)
        )
        costs = pd.DataFrame({"key": cells["key"], "level": "given", "target": 1.0})
        for clock in convergence.TARGET_CLOCKS:
            costs[clock] = [time for time, _, _ in runs]
        found = convergence.over_seeds(cells, costs).set_index("clock")
        assert list(found.index) == list(convergence.TARGET_CLOCKS)
        return found.loc["seconds", ["n", "reached", "median", "ci_high", "spent"]].to_list()

    reached = [(10.0, 40.0, "done"), (20.0, 40.0, "done"), (30.0, 40.0, "done")]
    missed, diverged = (INF, 40.0, "done"), (INF, 15.0, "diverged")
    assert over_seeds(*reached, missed)[:3] == [4, 3, 25]
    assert over_seeds(*reached, missed, missed) == [5, 3, 30, INF, 40]
    assert over_seeds(*reached[:2], missed, missed)[:3] == [4, 2, INF]
    spent = over_seeds(*reached[:2], *[diverged] * 3)
    assert spent[:4] == [5, 2, INF, INF]
    assert np.isnan(spent[4])
    assert over_seeds(*[(NAN, 15.0, "running")] * 2)[:2] == [0, 0]


def test_profile_by_hand():
    """Target a: 1 and 2; target b: 3 and never; c has a hole and d is reached by none: neither
    counts."""
    medians = {"a": (1.0, 2.0), "b": (3.0, INF), "c": (1.0, NAN), "d": (INF, INF)}
    rows = [
        {
            "objective": objective,
            "architecture": "dcgan",
            "dataset": "digits",
            "level": level,
            "clock": clock,
            "median": value,
        }
        for clock in ("samples", "seconds")
        for level, values in medians.items()
        for objective, value in zip(("wgan", "lsgan"), values, strict=True)
    ]
    curve, scores = convergence.profile(pd.DataFrame(rows), "seconds")
    assert scores["objective"].to_list() == ["wgan", "lsgan"]
    assert scores["workloads"].to_list() == [2, 2]
    assert scores["score"].to_list() == pytest.approx([1, (4 - 2) / 3 / 2])
    shares = curve.pivot(index="ratio", columns="objective", values="share")
    assert shares["wgan"].unique().tolist() == [1]
    assert shares["lsgan"].iloc[[0, 19, 20, 60]].to_list() == pytest.approx([0, 0, 1 / 2, 1 / 2])
    curve, scores = convergence.profile(pd.DataFrame(rows)[:1].assign(median=NAN), "samples")
    assert curve.empty
    assert scores.empty
