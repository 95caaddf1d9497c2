"""The targets of a place, and the reason where there are none, by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.targets import Targets, find_targets, share_of_way, untrained_values
from benchmark.metrics import short_name

FID, RECALL = "fid_classifier_750", "recall_classifier_750"
PLACE = ("digits", "dcgan")


def targets(untrained=10.0, floor=0.1, column=FID, given=None) -> Targets:
    found = find_targets({PLACE: untrained}, {"digits": floor}, {"digits": column}, given or {})
    return found[PLACE]


def test_levels_divide_the_way_on_the_logarithm():
    """From 10 to 0.1 there are two powers of ten."""
    found = targets()
    assert found.values == pytest.approx({"1/4": 10**0.5, "1/2": 1.0, "3/4": 10**-0.5})
    assert found.why == ""
    shares = [share_of_way(value, 10.0, 0.1) for value in found.values.values()]
    assert shares == pytest.approx([0.25, 0.5, 0.75])
    assert share_of_way(10.0, 10.0, 0.1) == 0
    assert share_of_way(0.1, 10.0, 0.1) == 1
    assert share_of_way(np.inf, 10.0, 0.1) == -np.inf


def test_a_square_root_of_the_metric_moves_no_run_over_a_target():
    values, floor, untrained = np.array([0.2, 0.9, 1.1, 4.0]), 0.1, 10.0
    squares = targets(untrained, floor).values
    roots = targets(untrained**0.5, floor**0.5).values
    for level, target in squares.items():
        assert ((values <= target) == (values**0.5 <= roots[level])).all()


def test_a_given_target_is_the_only_one():
    assert targets(given={"digits": 2.0, "other": 1.0}).values == {"given": 2.0}
    assert targets(0.1, column=RECALL, given={"digits": 0.4}).values == {"given": 0.4}


def test_a_target_for_a_bare_name_is_that_of_all_its_variations():
    place = ("python_topics[python=3.11.7]", "mlp")
    column = {place[0]: "js_4_2k"}
    given = {"python_topics": 0.8}
    assert find_targets({place: 1.0}, {}, column, given)[place].values == {"given": 0.8}
    given[place[0]] = 0.7
    assert find_targets({place: 1.0}, {}, column, given)[place].values == {"given": 0.7}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"untrained": np.nan}, "the untrained generator was not measured"),
        ({"floor": np.nan}, f"the noise floor of {short_name(FID)} is not known"),
        ({"floor": 0.0}, f"the noise floor of {short_name(FID)} is not known"),
        ({"floor": 10.0}, "an untrained generator, at 10, is at the noise floor already"),
        (
            {"column": RECALL},
            f"the matrix gives none, and {short_name(RECALL)} has no logarithmic scale",
        ),
        (
            {"given": {"digits": 12.0}},
            "an untrained generator, at 10, reaches 12 already",
        ),
        (
            {"column": RECALL, "untrained": 0.5, "given": {"digits": 0.4}},
            "an untrained generator, at 0.5, reaches 0.4 already",
        ),
    ],
)
def test_a_place_without_a_target_says_why(options, why):
    found = targets(**options)
    assert (found.values, found.why) == ({}, why)


def test_without_a_metric_that_ranks_there_is_no_target():
    found = find_targets({PLACE: 10.0}, {}, {}, {"digits": 1.0})[PLACE]
    assert (found.values, found.why) == ({}, "no metric that ranks is measured on digits")


def test_the_untrained_value_is_the_median_over_runs():
    keys = ["a", "b", "c", "d"]
    cells = pd.DataFrame({"key": keys, "dataset": "digits", "architecture": "dcgan"})
    evals = pd.DataFrame(
        {
            "cell": ["a", "a", "b", "c", "c"],
            "g_steps": [0, 100, 0, 0, 0],
            "metric": [FID, FID, FID, FID, RECALL],
            "value": [9.0, 1.0, 30.0, 10.0, 0.1],
        }
    )
    assert untrained_values(cells, evals, {"digits": FID}) == {PLACE: 10.0}
    found = untrained_values(cells, evals[evals["g_steps"] > 0], {"digits": FID})
    assert np.isnan(found[PLACE])
