"""Rank agreement at equal times: by hand, against SciPy, and its rate of false claims."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmark.stats.agreement import rank_agreement


def walks(rng, times, n):
    """Runs with a common trend; what is a run's own is a random walk."""
    trend = 10 * np.arange(times)[:, None]
    return trend + rng.normal(size=(times, n)).cumsum(axis=0)


def test_one_time_is_spearmans_correlation_with_its_exact_p():
    x, y = [3.0, 1, 4, 1, 5], [2.0, 7, 1, 8, 2]
    found = rank_agreement([x], [y])
    assert found.value == pytest.approx(spearmanr(x, y).statistic)
    every = [spearmanr(order, y).statistic for order in itertools.permutations(x)]
    assert found.p == pytest.approx(np.mean(np.abs(every) >= abs(found.value) - 1e-9))
    share = np.mean([found.low - 1e-9 <= value <= found.high + 1e-9 for value in every])
    assert share >= 0.95


def test_several_times_are_the_mean_of_their_correlations():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4, 6))
    expected = np.mean([spearmanr(*pair).statistic for pair in zip(x, y, strict=True)])
    assert rank_agreement(x, y).value == pytest.approx(expected)


def test_a_trend_that_all_runs_share_counts_for_nothing():
    rng = np.random.default_rng(1)
    own_x, own_y = rng.normal(size=(2, 6, 5))
    plain = rank_agreement(own_x, own_y)
    trend = 1000.0 * np.arange(6)[:, None]
    assert rank_agreement(own_x + trend, own_y - trend**2) == plain


@pytest.mark.parametrize("n", [5, 10])
def test_perfect_agreement_and_its_reverse(n):
    x = walks(np.random.default_rng(2), 6, n)
    same, reverse = rank_agreement(x, np.exp(x / 100)), rank_agreement(x, -x)
    assert (same.value, reverse.value) == pytest.approx((1, -1))
    assert same.p == reverse.p
    # of 5! permutations the identity, and what may reverse all ranks
    assert same.p <= 2 / min(math.factorial(n), 5040)
    assert same.high < 1


def test_few_runs_and_equal_values_have_none():
    two = np.arange(6.0).reshape(3, 2)
    assert np.isnan(rank_agreement(two, two)).all()
    five = np.arange(15.0).reshape(3, 5)
    assert np.isnan(rank_agreement(five, np.ones((3, 5)))).all()


@pytest.mark.parametrize("n", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_claims_on_runs_that_share_only_their_trend_are_false_in_five_percent(n):
    """2.5 standard errors above 5 % at most, under strong dependence in time."""
    rng = np.random.default_rng(3)
    draws = 300
    pairs = [(walks(rng, 8, n), walks(rng, 8, n)) for _ in range(draws)]
    found = [rank_agreement(x, y) for x, y in pairs]
    assert np.mean([one.p <= 0.05 for one in found]) <= 0.05 + 2.5 * (0.05 * 0.95 / draws) ** 0.5
    assert abs(np.mean([one.value for one in found])) < 0.06
    # over the run, the trend alone correlates them almost perfectly
    assert np.median([spearmanr(x[:, 0], y[:, 0]).statistic for x, y in pairs]) > 0.99


@pytest.mark.parametrize("n", [6, 10])
def test_what_follows_beyond_the_trend_is_found(n):
    rng = np.random.default_rng(4)
    found = []
    for _ in range(50):
        x = walks(rng, 8, n)
        found.append(rank_agreement(x, x + rng.normal(0, 0.5, x.shape)).p <= 0.05)
    assert np.mean(found) >= 0.9
