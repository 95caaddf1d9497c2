"""The share of pairs that a score orders, within groups, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from benchmark.stats.agreement import prediction


def test_pairs_of_one_group_by_hand():
    """Events 3 and 1 against 0, 1, 2: 3 wins three times, 1 wins once and ties once."""
    found = prediction([3, 1, 0, 1, 2], [True, True, False, False, False], [0] * 5)
    assert found.auc == pytest.approx(4.5 / 6)
    assert (found.num_events, found.num_others) == (2, 3)
    assert math.isnan(found.low)


def test_a_difference_between_groups_predicts_nothing():
    """All events are in a group of high scores, where the score says nothing of them."""
    rng = np.random.default_rng(1)
    groups = np.repeat([0, 1], 200)
    scores = rng.normal(size=400) + 10 * groups
    events = (groups == 1) & (rng.random(400) < 0.5)
    found = prediction(scores, events, groups)
    assert found.low < 0.5 < found.high
    assert found.num_others < 200, "a group without an event has no pair"
    assert prediction(scores, events, np.zeros(400)).auc > 0.7


@pytest.mark.parametrize(("sign", "auc"), [(1, 1.0), (-1, 0.0)])
def test_a_score_that_is_the_event(sign, auc):
    events = np.arange(20) % 2 == 0
    found = prediction(sign * events, events, np.zeros(20))
    assert found[:3] == (auc, auc, auc)


def test_the_interval_covers_the_share():
    """Scores N(1, 1) against N(0, 1): P(x > y) = Φ(1/√2) = 0.7602."""
    rng = np.random.default_rng(2)
    events = np.arange(60) < 30
    covered = 0
    for _ in range(100):
        scores = rng.normal(size=60) + events
        found = prediction(scores, events, np.zeros(60))
        covered += found.low <= 0.7602 <= found.high
    assert 88 <= covered <= 100


def test_without_a_pair_nothing_is_known():
    assert math.isnan(prediction([1.0, 2.0], [True, False], ["a", "b"]).auc)
    with pytest.raises(ValueError, match="NaN"):
        prediction([math.nan], [True], [0])
