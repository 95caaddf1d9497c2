"""Times to target and performance profiles against numbers worked out by hand."""

import math

import numpy as np
import pytest

from benchmark.stats.curves import performance_profile, time_to_target


def test_performance_profile_by_hand():
    times = [[10, 20, np.inf], [20, 20, np.inf], [50, np.inf, 5]]
    profile, integral = performance_profile(times, [1, 2, 5])
    assert profile.tolist() == [[2 / 3, 2 / 3, 2 / 3], [1 / 3, 2 / 3, 2 / 3], [1 / 3, 1 / 3, 2 / 3]]
    np.testing.assert_allclose(integral, [(1 + 1 + 0) / 3, (2 / 3 + 1 + 0) / 3, (0 + 0 + 1) / 3])
    assert performance_profile([[0], [3]])[1].tolist() == [1, 0]  # reached before training
    with pytest.raises(ValueError, match="not run"):
        performance_profile([[1, np.nan]])


def test_time_to_target_by_hand():
    # S: 4/5 at 1, 3/5 at 2, (one leaves at 3), 3/10 at 4, and the last never gets there
    times = [1, 2, 3, 4, 9]
    assert time_to_target(times, [True, True, False, True, False]) == (4, 1, math.inf)
    assert time_to_target([1, 2, 3, 4], [True, True, False, False])[0] == 2  # S(2) = ½ exactly
    assert math.isnan(time_to_target([1, 2, 3, 4], [True] * 4)[1])  # four seeds: no interval
    assert time_to_target([5, 5, 5, 5, 5], [False] * 5) == (math.inf, math.inf, math.inf)
    assert math.isnan(time_to_target([], [])[0])
    with pytest.raises(ValueError, match="not run"):
        time_to_target([1, math.nan], [True, True])


def test_time_to_target_counts_divergence_as_never():
    ended = time_to_target([1, 2, 3, 1, 1, 1], [True] * 3 + [False] * 3)[0]
    diverged = time_to_target([1, 2, 3, np.inf, np.inf, np.inf], [True] * 3 + [False] * 3)[0]
    assert ended == 2  # the three that ended after 1 leave the risk set: S = 5/6, 5/12
    assert diverged == 3  # those that never reach it stay: S = 5/6, 4/6, 3/6
    assert time_to_target([1, 2, np.inf, np.inf, np.inf], [True] * 5)[0] == math.inf


def test_time_to_target_band_by_hand():
    # log-log band at n = 7, all reach: Greenwood's sum at the 6th time is 1/42 + 1/30 + 1/20 + 1/12
    # + 1/6 + 1/2 = 6/7
    sigma = math.sqrt(6 / 7) / math.log(7)
    assert math.exp(-math.exp(math.log(math.log(7)) - 1.96 * sigma)) < 0.5
    # and at the 5th, S = 2/7:
    sigma = math.sqrt(1 / 42 + 1 / 30 + 1 / 20 + 1 / 12 + 1 / 6) / math.log(3.5)
    assert math.exp(-math.exp(math.log(math.log(3.5)) - 1.96 * sigma)) > 0.5
    assert time_to_target(range(1, 8), [True] * 7) == (4, 1, 6)
    assert time_to_target([3] * 5, [True] * 5) == (3, 3, math.inf)  # 1 − 0.025^(1/5) = 0.52
    # 0.46: six together bound the median
    assert time_to_target([3] * 6, [True] * 6) == (3, 3, 3)
