"""The best of k against all draws of k, bands against simulated pools, scores by hand."""

import itertools
import math

import numpy as np
import pytest
from opda.nonparametric import EmpiricalDistribution
from scipy import stats

from benchmark.stats import tuning

INF = math.inf
POOL = np.array([0.5, 3.0, 1.0, 0.7, 9.0, 2.0])


@pytest.mark.parametrize("pool", [POOL, [0.5, 1, 1, 1, 2, 2]], ids=["distinct", "tied"])
def test_the_expected_best_is_the_mean_over_all_draws(pool):
    k = np.arange(1, 7)
    with_replacement = tuning.expected_best(pool, k, replacement=True)
    without = tuning.expected_best(pool, k, replacement=False)
    for draws, v, u in zip(k, with_replacement, without, strict=True):
        all_draws = itertools.product(pool, repeat=draws)
        assert v == pytest.approx(np.mean([min(draw) for draw in all_draws]), rel=1e-12)
        subsets = itertools.combinations(pool, draws)
        assert u == pytest.approx(np.mean([min(draw) for draw in subsets]), rel=1e-12)


def test_diverged_configurations_in_the_expected_best():
    pool = [1.0, 2.0, INF, INF]
    k = [1, 2, 3, 4, 5]
    assert (tuning.expected_best(pool, k, replacement=True) == INF).all()
    # three of four hold a finite one: 1 in three of four draws, else 2
    without = tuning.expected_best(pool, k, replacement=False)
    np.testing.assert_allclose(without, [INF, INF, 1.25, 1.0, math.nan])


def test_the_expected_best_of_a_uniform_law_is_one_over_k_plus_one():
    n = 20_000
    pool = (np.arange(n) + 0.5) / n
    k = np.array([1, 2, 5, 10, 30])
    for replacement in (True, False):
        best = tuning.expected_best(pool, k, replacement=replacement)
        np.testing.assert_allclose(best, 1 / (k + 1), rtol=2e-3)


def test_the_expected_best_agrees_with_opda():
    values = np.random.default_rng(0).lognormal(size=33)
    reference = EmpiricalDistribution(values)
    k = np.arange(1, 34)
    v = reference.v_tuning_curve(k, minimize=True)
    u = reference.u_tuning_curve(k, minimize=True)
    np.testing.assert_allclose(tuning.expected_best(values, k, replacement=True), v)
    np.testing.assert_allclose(tuning.expected_best(values, k, replacement=False), u)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 16, 32])
def test_the_median_curve_is_a_quantile_of_the_pool(n):
    """P(best of k ≤ t) = 1 − (1 − F(t))ᵏ is a half where F(t) = 1 − 2^(−1/k)."""
    pool = np.random.default_rng(n).permutation(n) + 1.0
    k = np.arange(1, n + 1)
    curve = tuning.median_best(pool, k, least=0)
    np.testing.assert_array_equal(curve.median, np.ceil(np.round(n * (1 - 0.5 ** (1 / k)), 9)))
    assert (curve.low <= curve.median).all()
    assert (curve.median <= curve.high).all()
    assert (np.diff(curve.median) <= 0).all()


def test_bands_of_ranks_are_those_of_the_values():
    k = np.arange(1, 33)
    pool = np.random.default_rng(1).lognormal(size=32)
    curve = tuning.median_best(pool, k, least=0)
    bands = EmpiricalDistribution.confidence_bands(
        pool, 0.95, 0, INF, method="ld_equal_tailed", generator=np.random.default_rng(0), n_jobs=1
    )
    for band, line in zip(bands, (curve.high, curve.median, curve.low), strict=True):
        np.testing.assert_array_equal(band.quantile_tuning_curve(k, minimize=True), line)
    assert curve.low[-1] == 0


def test_diverged_and_tied_configurations_have_a_curve_without_a_warning():
    curve = tuning.median_best([INF, 2.0, INF, INF], [1, 2, 3, 4], least=0)
    assert curve.median.tolist() == [INF, INF, 2, 2]
    assert (curve.high == INF).all()


def test_bands_cover_the_law_of_the_pool():
    """The median of the best of k, at every k together: over whole k up to n and with a third of
    the mass at inf, and over all k, where 95 % is what the band promises."""
    rng = np.random.default_rng(2)
    n, num_pools = 30, 500
    whole, every = np.arange(1, n + 1), np.geomspace(0.05, 200, 300)
    covered = {"whole": 0, "diverging": 0, "every": 0}
    for _ in range(num_pools):
        uniform = rng.random(n)
        diverging = np.where(uniform < 2 / 3, uniform, INF)
        cases = {"whole": (uniform, whole), "diverging": (diverging, whole)}
        for name, (pool, k) in (cases | {"every": (uniform, every)}).items():
            truth = 1 - 0.5 ** (1 / k)
            if name == "diverging":
                truth = np.where(truth < 2 / 3, truth, INF)
            curve = tuning.median_best(pool, k, least=0)
            covered[name] += bool(((curve.low <= truth) & (truth <= curve.high)).all())
    assert min(covered["whole"], covered["diverging"]) >= 0.94 * num_pools
    assert 0.93 * num_pools <= covered["every"] <= 0.97 * num_pools


def test_algoperf_score_is_the_law_of_all_deals():
    """Studies of all draws of five configurations, and scores of all draws of three studies."""
    times = np.array([1.0, 2.0, 3.0, INF, INF, INF])
    studies = [min(draw) for draw in itertools.product(times, repeat=tuning.TRIALS)]
    values, counts = np.unique(studies, return_counts=True)
    scores, weights = [], []
    for three in itertools.product(range(len(values)), repeat=3):
        scores.append(np.median(values[[*three]]))
        weights.append(np.prod(counts[[*three]] / counts.sum()))
    order = np.argsort(scores)
    reached = np.cumsum(np.array(weights)[order])
    score = tuning.algoperf_score(times[::-1])
    assert score.median == np.array(scores)[order][np.searchsorted(reached, 0.5)]
    missed = sum(w for s, w in zip(scores, weights, strict=True) if s == INF)
    assert score.p_missed == pytest.approx(missed, rel=1e-9)


def test_algoperf_score_of_pools_that_miss():
    assert tuning.algoperf_score([INF, INF]) == (INF, 1)
    assert tuning.algoperf_score([3.0, 4.0]) == (3, 0)
    # one of 30 reaches it: five draws hold it in 15.6 % of cases, two of three studies in 6.5 %
    score = tuning.algoperf_score([1.0] + 29 * [INF])
    reached = 1 - (29 / 30) ** 5
    assert score == (INF, pytest.approx(1 - (3 * reached**2 - 2 * reached**3)))


def test_winners_curse_by_hand():
    finals = [1.2, 1.1, 1.3, 1.0, 1.4, 1.5]
    assert tuning.winners_curse(1.0, finals) == pytest.approx((0.25, 0.0, 0.5))
    assert tuning.winners_curse(1.0, 5 * [INF]).value == INF
    assert math.isnan(tuning.winners_curse(INF, finals).value)
    assert math.isnan(tuning.winners_curse(1.0, finals[:3]).low)


def test_share_near_the_best():
    assert tuning.share_near_best([1.0, 1.5, 2.0, 2.1, INF]) == 0.6
    assert math.isnan(tuning.share_near_best([INF, INF]))


def test_rank_correlation_by_hand_and_against_scipy():
    rng = np.random.default_rng(3)
    x = rng.normal(size=20)
    y = x + rng.normal(size=20)
    y[3] = y[7] = INF
    estimate = tuning.rank_correlation(x, y)
    assert estimate.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert estimate.low < estimate.value < estimate.high < 1
    # pairs with a hole are left out
    assert tuning.rank_correlation([*x, math.nan], [*y, 1.0]) == estimate
    # z of 1 − 6 / 60 is 1.472, its standard error √1.5
    perfect = tuning.rank_correlation([1, 2, 3, 4], [1, 2, 3, INF])
    assert perfect.value == perfect.high == 1 or perfect.high == pytest.approx(1)
    assert perfect.low == pytest.approx(math.tanh(math.atanh(0.9) - 1.96 * math.sqrt(1.5)))
    assert math.isnan(tuning.rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).value)
    assert math.isnan(tuning.rank_correlation([1, 2, 3], [1, 2, 3]).low)


@pytest.mark.parametrize(("n", "correlation"), [(16, 0.8), (32, 0.5), (32, 0.95)])
def test_the_interval_of_a_rank_correlation_covers_it(n, correlation):
    rng = np.random.default_rng(n)
    truth = 6 / math.pi * math.asin(correlation / 2)
    covered = 0
    for _ in range(400):
        x = rng.normal(size=n)
        y = correlation * x + math.sqrt(1 - correlation**2) * rng.normal(size=n)
        _, low, high = tuning.rank_correlation(x, y)
        covered += low <= truth <= high
    assert covered >= 0.93 * 400
