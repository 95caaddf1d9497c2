"""Estimates and their intervals against numbers by hand, SciPy's own and rliable's definitions."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, mannwhitneyu, norm, trim_mean

from benchmark.stats.bootstrap import (
    best_first,
    interval,
    iqm,
    probability_of_improvement,
    robust_spread,
    stratified_improvement,
    stratified_interval,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_iqm_by_hand():
    assert iqm([1, 2, 3, 4]) == 2.5  # one dropped at each end
    assert iqm([9, 1, 2, 4, 3]) == 3.0
    assert iqm([1, 2, 6]) == 3.0  # nothing dropped below four
    assert iqm([1, 2, 3, 4, np.inf]) == 3.0  # one diverged seed of five is trimmed
    assert iqm([1, 2, 3, np.inf, np.inf]) == np.inf  # two are not
    assert iqm([[1, 2, 3, 4], [5, 6, 7, 80]]).tolist() == [2.5, 6.5]
    assert math.isnan(iqm([]))


def test_interval_matches_bca_written_out(rng):
    values = np.array([3.1, 2.7, 4.4, 3.9, 8.0, 2.2])
    low, high = interval(values, np.mean, rng=rng)
    draws = values[np.random.default_rng(7).integers(0, 6, (2000, 6))].mean(axis=1)
    z0 = norm.ppf(((draws < values.mean()).mean() + (draws <= values.mean()).mean()) / 2)
    jackknife = np.array([np.delete(values, i).mean() for i in range(6)])
    d = jackknife.mean() - jackknife
    a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    z = z0 + norm.ppf([0.025, 0.975])
    expected = np.percentile(draws, 100 * norm.cdf(z0 + z / (1 - a * z)))
    np.testing.assert_allclose([low, high], expected, rtol=1e-3)


def test_interval_edges(rng):
    assert np.isnan(interval([1, 2, 3, 4], rng=rng)).all()  # fewer than five
    assert np.isnan(interval([1, 2, 3, 4, np.inf], rng=rng)).all()
    assert interval([8, 8, 8, 8, 8], rng=rng).tolist() == [8, 8]
    # leaving one out never moves the IQM: percentile
    low, high = interval([8, 8, 8, 8, 7], rng=rng)
    assert 7 <= low < 8
    assert high == 8


def test_interval_rows_do_not_depend_on_their_neighbours():
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([10.0, 30, 20, 50, 40])
    together = interval(np.stack([a, b, a * np.nan]), rng=np.random.default_rng(0))
    alone = interval(b, rng=np.random.default_rng(0))
    assert together.shape == (2, 3)
    assert together[:, 1].tolist() == alone.tolist()
    assert np.isnan(together[:, 2]).all()


def sorted_iqm(values: np.ndarray, axis: int) -> np.ndarray:
    """The IQM summed in ascending order, so that equal resamples give equal numbers."""
    return trim_mean(np.sort(values, axis=axis), 0.25, axis=axis)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # SciPy's BCa on rows where it is undefined
@pytest.mark.parametrize("n", [5, 6, 7, 8, 10, 30])
def test_iqm_interval_is_scipys(n):
    values = np.random.default_rng(n).lognormal(size=(40, n))
    values[:10] = np.round(values[:10])  # ties
    ours = interval(values, rng=np.random.default_rng(3), level=0.9)
    # the same resamples of the same positions
    for row, bounds in zip(np.sort(values), ours.T, strict=True):
        scipys = bootstrap(
            [row],
            sorted_iqm,
            n_resamples=2000,
            confidence_level=0.9,
            rng=np.random.default_rng(3),
            batch=2000,
        )
        if np.isfinite(scipys.confidence_interval).all():
            np.testing.assert_allclose(bounds, scipys.confidence_interval, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n", "share"), [(5, 0.89), (6, 0.90), (7, 0.91), (8, 0.94), (10, 0.94)])
@pytest.mark.parametrize("law", [np.asarray, np.exp], ids=["normal", "lognormal"])
def test_iqm_interval_covers_what_it_says(n, share, law):
    truth = trim_mean(law(norm.ppf((np.arange(20_000) + 0.5) / 20_000)), 0.25)
    low, high = interval(
        law(np.random.default_rng(1).normal(size=(3000, n))), rng=np.random.default_rng(2)
    )
    assert ((low <= truth) & (high >= truth)).mean() == pytest.approx(share, abs=0.02)


def test_stratified_interval_resamples_within_strata(rng):
    near, far = [1, 1, 1, 1, 1], [9, 9, 9, 9, 9]
    # unstratified would vary
    assert stratified_interval([near, far], np.mean, rng=rng).tolist() == [5, 5]
    low, high = interval(near + far, np.mean, rng=rng)
    assert low < 4
    assert high > 6
    assert np.isnan(stratified_interval([near, [1, 2, 3]], rng=rng)).all()


def test_probability_of_improvement_by_hand(rng):
    p, low, high = probability_of_improvement([1, 3], [2, 3], rng=rng)
    assert p == (0 + 0 + 1 + 0.5) / 4
    assert math.isnan(low)
    assert math.isnan(high)
    p, low, high = probability_of_improvement([1, 4, 5, 8, 9], [2, 3, 6, 7, 10], rng=rng)
    assert p == 12 / 25
    assert low < p < high
    always = probability_of_improvement([6, 7, 8, 9, 10], [1, 2, 3, 4, -np.inf], rng=rng)
    assert always == (1, 1, 1)
    assert math.isnan(probability_of_improvement([], [1.0], rng=rng)[0])
    with pytest.raises(ValueError, match="hole"):
        probability_of_improvement([1.0, math.nan], [1.0], rng=rng)


def test_improvement_interval_is_scipys():
    x, y = np.random.default_rng(0).integers(0, 6, (2, 7)).astype(float)
    y = y[:6] + 1

    def superiority(x, y, axis):
        wins = x[..., :, None] - y[..., None, :]
        return ((wins > 0) + 0.5 * (wins == 0)).sum(axis=(-2, -1)) / 42

    def superiority_of_fewer(x, y, axis):  # the jackknife leaves one out
        return superiority(x, y, axis) * 42 / (x.shape[-1] * y.shape[-1])

    scipys = bootstrap(
        [x, y], superiority_of_fewer, n_resamples=2000, rng=np.random.default_rng(5), batch=2000
    )
    _, low, high = probability_of_improvement(x, y, rng=np.random.default_rng(5))
    np.testing.assert_allclose([low, high], scipys.confidence_interval, rtol=1e-12)


def test_estimates_are_rliables(rng):
    """Its definitions (metrics.py): trim_mean(0.25) over runs x tasks; U ÷ (n·m), averaged over
    tasks."""
    x, y = rng.normal(size=(2, 6, 3))
    aggregate = iqm(np.concatenate(list(x.T)))
    assert aggregate == pytest.approx(trim_mean(x, 0.25, axis=None))
    low, high = stratified_interval(list(x.T), rng=rng)
    assert low < aggregate < high
    u = [
        mannwhitneyu(x[:, task], y[:, task], alternative="greater").statistic / 36
        for task in range(3)
    ]
    p, low, high = stratified_improvement(list(zip(x.T, y.T, strict=True)), rng=rng)
    assert p == pytest.approx(np.mean(u))
    assert low < p < high


def test_stratified_improvement_resamples_within_strata(rng):
    always, never = ([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]), ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
    # pooled seeds would vary
    assert stratified_improvement([always, never], rng=rng) == (0.5, 0.5, 0.5)
    p, low, _ = stratified_improvement([always, ([1, 2], [3, 4])], rng=rng)
    assert p == 0.5
    assert math.isnan(low)


def test_robust_spread_by_hand():
    assert robust_spread([1, 2, 3, 4, 1000]) == pytest.approx(1.4826, abs=1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_an_interval_scales_with_its_values(scale):
    values = np.array([1.0, 2.0, 4.0, 7.0, 11.0, 12.0])
    low, high = interval(values, rng=np.random.default_rng(0))
    scaled = interval(scale * values, rng=np.random.default_rng(0))
    assert scaled == pytest.approx([scale * low, scale * high], rel=1e-12)


def test_the_best_rows_come_first_where_seeds_diverged():
    rows = [
        [np.inf, np.inf, np.inf],
        [1.0, np.inf, np.inf],
        [2.0, 3.0, np.inf],
        [np.nan, np.nan, np.nan],
        [1.0, 3.0, np.inf],
        [9.0, 9.0, 9.0],
    ]
    assert best_first(np.array(rows)).tolist() == [5, 4, 2, 1, 0, 3]
