"""The target of a place, and the reason where there is none, by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.targets import Target, find_targets

INF, NAN = np.inf, np.nan
FID, RECALL = "fid_classifier_750", "recall_classifier_750"
PLACE = ("digits", "dcgan")


def cells_of(*runs: dict, column: str = FID) -> pd.DataFrame:
    """wgan's runs on digits: by default done, with a best of 5."""
    common = {
        "dataset": "digits",
        "architecture": "dcgan",
        "objective": "wgan",
        "status": "done",
        f"{column}:best": 5.0,
    }
    return pd.DataFrame([{"key": f"cell{i}", **common, **run} for i, run in enumerate(runs)])


def untrained(*values: float, column: str = FID) -> pd.DataFrame:
    """The evaluation of every cell before the first step."""
    keys = [f"cell{i}" for i in range(len(values))]
    return pd.DataFrame({"cell": keys, "g_steps": 0.0, "metric": column, "value": values})


def target(cells, evals=None, *, column=FID, reference="wgan", given=None) -> Target:
    evals = untrained() if evals is None else evals
    return find_targets(cells, evals, {"digits": column}, reference, given or {})[PLACE]


def test_a_given_target_wins_over_the_references_median_best():
    best = f"{FID}:best"
    cells = cells_of({best: 3.0}, {}, {"status": "diverged"}, {best: 0.5, "objective": "lsgan"})
    # of 3, 5 and infinity
    assert target(cells) == Target(5.0)
    assert target(cells, given={"digits": 2.0, "other": 1.0}) == Target(2.0)


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ([{"status": "diverged"}] * 2 + [{}], "2 of 3 seeds of wgan, the reference, diverged"),
        ([{"status": "running"}, {}, {}], "1 of 3 seeds of wgan, the reference, did not finish"),
        ([{"status": "error"}] * 2, "2 of 2 seeds of wgan, the reference, did not finish"),
        (
            [{f"{FID}:best": NAN}, {}],
            f"1 of 2 seeds of wgan, the reference, have no value of {FID}",
        ),
        ([{"objective": "lsgan"}], "wgan, the reference, is not in this place"),
    ],
)
def test_the_reason_is_what_became_of_the_reference(runs, why):
    found = target(cells_of(*runs))
    assert np.isnan(found.value)
    assert found.why == why


def test_without_a_reference_or_a_metric_that_ranks_there_is_no_target():
    none = target(cells_of({}), reference=None)
    assert none.why == "the matrix gives neither a target nor a reference objective"
    found = find_targets(cells_of({}), untrained(), {}, "wgan", {"digits": 1.0})[PLACE]
    assert np.isnan(found.value)
    assert found.why == "no metric that ranks is measured on digits"


def test_what_a_stuck_reference_has_is_no_target():
    """A best of 5 where the untrained generator has 5 or 5.2 is no learning; from 10 it is."""
    for before in (5.0, 5.2):
        found = target(cells_of({}, {}, {}), untrained(before, before, before))
        assert np.isnan(found.value)
        assert found.why == (
            "wgan, the reference, learned nothing that could be reached: "
            f"5 at best, {before:g} untrained"
        )
    assert target(cells_of({}, {}, {}), untrained(10, 10, 10)) == Target(5.0)
    assert np.isnan(target(cells_of({f"{FID}:best": 0.0}), untrained(0.0)).value)


def test_what_an_untrained_generator_reaches_is_no_target():
    cells = cells_of({}, {}, {})
    found = target(cells, untrained(9.0, 10.0, 30.0), given={"digits": 12.0})
    assert np.isnan(found.value)
    assert found.why == "an untrained generator, at 10, reaches 12 already"
    assert target(cells, untrained(9.0, 10.0, 30.0), given={"digits": 8.0}) == Target(8.0)
    # more is better
    recall = cells_of({f"{RECALL}:best": 0.4}, column=RECALL)
    assert np.isnan(target(recall, untrained(0.5, column=RECALL), column=RECALL).value)
    assert target(recall, untrained(0.1, column=RECALL), column=RECALL) == Target(0.4)
