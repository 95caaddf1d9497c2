"""Statistics against numbers worked out by hand."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from benchmark import stats


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_iqm_by_hand():
    assert stats.iqm([1, 2, 3, 4]) == 2.5  # one dropped at each end
    assert stats.iqm([9, 1, 2, 4, 3]) == 3.0
    assert stats.iqm([1, 2, 6]) == 3.0  # nothing dropped below four
    assert stats.iqm([1, 2, 3, 4, np.inf]) == 3.0  # one diverged seed of five is trimmed
    assert stats.iqm([1, 2, 3, np.inf, np.inf]) == np.inf  # two are not
    assert stats.iqm([[1, 2, 3, 4], [5, 6, 7, 80]]).tolist() == [2.5, 6.5]
    assert math.isnan(stats.iqm([]))


def test_interval_matches_bca_written_out(rng):
    values = np.array([3.1, 2.7, 4.4, 3.9, 8.0, 2.2])
    low, high = stats.interval(values, np.mean, rng=rng)
    draws = values[np.random.default_rng(7).integers(0, 6, (2000, 6))].mean(axis=1)
    z0 = norm.ppf(((draws < values.mean()).mean() + (draws <= values.mean()).mean()) / 2)
    jackknife = np.array([np.delete(values, i).mean() for i in range(6)])
    d = jackknife.mean() - jackknife
    a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    z = z0 + norm.ppf([0.025, 0.975])
    expected = np.percentile(draws, 100 * norm.cdf(z0 + z / (1 - a * z)))
    np.testing.assert_allclose([low, high], expected, rtol=1e-3)


def test_interval_edges(rng):
    assert np.isnan(stats.interval([1, 2, 3, 4], rng=rng)).all()  # fewer than five
    assert np.isnan(stats.interval([1, 2, 3, 4, np.inf], rng=rng)).all()
    assert stats.interval([8, 8, 8, 8, 8], rng=rng).tolist() == [8, 8]
    low, high = stats.interval([8, 8, 8, 8, 7], rng=rng)  # leaving one out never moves the IQM: percentile
    assert 7 <= low < 8
    assert high == 8


def test_interval_rows_do_not_depend_on_their_neighbours():
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([10.0, 30, 20, 50, 40])
    together = stats.interval(np.stack([a, b, a * np.nan]), rng=np.random.default_rng(0))
    alone = stats.interval(b, rng=np.random.default_rng(0))
    assert together.shape == (2, 3)
    assert together[:, 1].tolist() == alone.tolist()
    assert np.isnan(together[:, 2]).all()


@pytest.mark.parametrize("n", [5, 10])
def test_interval_covers(n):
    draws = np.random.default_rng(1).normal(size=(400, n))
    low, high = stats.interval(draws, np.mean, rng=np.random.default_rng(2))
    assert 0.80 < ((low <= 0) & (high >= 0)).mean() <= 0.99


def test_stratified_interval_resamples_within_strata(rng):
    near, far = [1, 1, 1, 1, 1], [9, 9, 9, 9, 9]
    assert stats.stratified_interval([near, far], np.mean, rng=rng).tolist() == [5, 5]  # unstratified would vary
    low, high = stats.interval(near + far, np.mean, rng=rng)
    assert low < 4
    assert high > 6
    assert np.isnan(stats.stratified_interval([near, [1, 2, 3]], rng=rng)).all()


def test_probability_of_improvement_by_hand(rng):
    p, low, high = stats.probability_of_improvement([1, 3], [2, 3], rng=rng)
    assert p == (0 + 0 + 1 + 0.5) / 4
    assert math.isnan(low)
    assert math.isnan(high)
    p, low, high = stats.probability_of_improvement([1, 4, 5, 8, 9], [2, 3, 6, 7, 10], rng=rng)
    assert p == 12 / 25
    assert low < p < high
    assert stats.probability_of_improvement([6, 7, 8, 9, 10], [1, 2, 3, 4, -np.inf], rng=rng) == (1, 1, 1)
    assert math.isnan(stats.probability_of_improvement([], [1.0], rng=rng)[0])


def test_paired_interval_sees_what_seeds_share(rng):
    seeds = np.array([10.0, 50, 20, 90, 40])
    gain = np.array([1.0, 2, 1.5, 1, 2])
    low, high = stats.paired_interval(seeds + gain, seeds, rng=rng)
    assert 1 <= low < 1.5 < high <= 2
    assert np.isnan(stats.paired_interval([np.inf] * 5, [np.inf] * 5, rng=rng)).all()


def test_performance_profile_by_hand():
    times = [[10, 20, np.inf], [20, 20, np.inf], [50, np.inf, 5]]
    profile, integral = stats.performance_profile(times, [1, 2, 5])
    assert profile.tolist() == [[2 / 3, 2 / 3, 2 / 3], [1 / 3, 2 / 3, 2 / 3], [1 / 3, 1 / 3, 2 / 3]]
    np.testing.assert_allclose(integral, [(1 + 1 + 0) / 3, (2 / 3 + 1 + 0) / 3, (0 + 0 + 1) / 3])
    assert stats.performance_profile([[0], [3]])[1].tolist() == [1, 0]  # reached before training
    with pytest.raises(ValueError, match="not run"):
        stats.performance_profile([[1, np.nan]])


def test_lowest_p_table():
    assert [round(stats.lowest_p(n), 3) for n in (3, 4, 5)] == [0.1, 0.029, 0.008]
    assert [round(stats.lowest_p(n, paired=True), 4) for n in (5, 6, 10)] == [0.0625, 0.0312, 0.002]


def test_separation_says_why_not(rng):
    low, high = np.array([1.0, 2, 3, 4, 5, 6]), np.array([11.0, 13, 12, 15, 14, 16])
    assert stats.separation(low, high, rng=rng) == ""
    assert stats.separation(low, high, comparisons=21, rng=rng) == ""  # six seeds can, for all pairs of seven
    assert "the lowest 5 seeds can reach" in stats.separation(low[:5], high[:5], comparisons=21, rng=rng)
    assert "6 seeds could" in stats.separation(low[:5], high[:5], comparisons=21, rng=rng)
    assert stats.separation(low[:5], high[:5], comparisons=6, rng=rng) == ""  # against one reference of seven
    assert "the least that carry a claim" in stats.separation(low[:3], high[:3], rng=rng)
    assert "includes 0" in stats.separation(low, low[::-1], rng=rng)
    assert "diverged" in stats.separation(low, [*high[:5], np.inf], rng=rng)


def test_robust_spread_by_hand():
    assert stats.robust_spread([1, 2, 3, 4, 1000]) == pytest.approx(1.4826, abs=1e-4)
