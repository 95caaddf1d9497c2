"""Medians, shares and their intervals against numbers worked out by hand and exact coverage."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest, multinomial

from benchmark.stats.intervals import (
    best_first,
    coverage,
    median,
    median_by_group,
    median_interval,
    robust_spread,
    share_interval,
)

INF = math.inf


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.filterwarnings("error")
def test_a_median_counts_diverged_runs_as_the_worst():
    assert median([3, 1, INF]) == 3
    assert median([3, 1, INF, INF]) == INF
    assert median([3, 1, 2, INF]) == 2.5
    assert math.isnan(median([]))
    assert median([[1, 2, 9], [4, 4, 4]]).tolist() == [2, 4]


def test_the_ends_of_an_interval_are_order_statistics():
    values = np.array([[7, 1, 3, 9, 5], [2, INF, 4, 6, 8]])
    assert median_interval(values).tolist() == [[1, 2], [9, INF]]
    # Conover 1999, table A3: 1 - 2 P(B <= 1) = 0.979 for the 2nd and the 9th of ten
    assert median_interval(np.arange(1, 11)).tolist() == [2, 9]
    assert coverage(10) == pytest.approx(1 - 2 * 11 / 1024)
    assert median_interval(np.arange(1, 26)).tolist() == [8, 18]
    assert np.isnan(median_interval([1, 2, 3, 4])).all()
    assert coverage(5) == pytest.approx(1 - 2 / 32)
    assert all(coverage(n) >= 0.95 for n in range(6, 60))
    with pytest.raises(ValueError, match="hole"):
        median_interval([1, 2, math.nan, 4, 5])


LAWS = {
    "normal": lambda rng, size: rng.normal(0, 1, size),
    "log-normal": lambda rng, size: np.exp(rng.normal(0, 1.5, size)) - 1,
    "bimodal": lambda rng, size: rng.choice([-1, 1], size) + rng.normal(0, 0.01, size),
    "three values": lambda rng, size: rng.integers(-1, 2, size),
    "one in five diverges": lambda rng, size: _diverging(rng, size),
}


def _diverging(rng, size):
    """A run diverges (inf) one time in five; 5 of 8 of the others are above 0."""
    values = rng.uniform(-5, 3, size)
    return np.where(rng.random(size) < 0.2, INF, values)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("n", [5, 10, 25])
def test_the_interval_of_a_median_covers_it(rng, name, n):
    """At 20,000 draws; all laws have a median of 0."""
    low, high = median_interval(LAWS[name](rng, (20_000, n)))
    covered = ((low <= 0) & (high >= 0)).mean()
    assert covered >= coverage(n) - 0.006
    assert covered >= 0.93


@pytest.mark.parametrize("n", [5, 10, 25])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.99, 1.0])
def test_the_interval_of_a_share_covers_it(n, share):
    """By the exact law of the number of successes."""
    covered = 0.0
    for successes in range(n + 1):
        _, low, high = share_interval(successes, n)
        if low <= share <= high:
            covered += binom.pmf(successes, n, share)
    assert covered >= 0.95


@pytest.mark.parametrize(("win", "tie"), [(0.3, 0.4), (0.0, 0.9), (0.45, 0.1)])
def test_the_interval_of_a_share_with_ties_covers_it(win, tie):
    n, covered = 10, 0.0
    law = multinomial(n, [win, tie, 1 - win - tie])
    for wins in range(n + 1):
        for ties in range(n + 1 - wins):
            share = share_interval(wins, n, ties)
            if share.low <= win + tie / 2 <= share.high:
                covered += law.pmf([wins, ties, n - wins - ties])
    assert covered >= 0.95


def test_a_share_is_scipys_clopper_pearson():
    expected = binomtest(9, 12).proportion_ci(method="exact")
    share, low, high = share_interval(9, 12)
    assert share == 0.75
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert share_interval(12, 12)[2] == 1
    assert share_interval(12, 12)[1] == pytest.approx(0.025 ** (1 / 12))
    assert share_interval(1, 4, 1)[:1] == (0.375,)
    assert math.isnan(share_interval(1, 4)[1])
    assert math.isnan(share_interval(0, 0)[0])


def test_groups_have_the_medians_of_their_values(rng):
    sizes = [6, 5, 3, 0, 12]
    values = [np.round(rng.normal(size=n), 1) for n in sizes]
    group = np.repeat(np.arange(5), sizes)
    order = rng.permutation(len(group))
    shuffled = np.append(np.concatenate(values)[order], np.nan)
    estimates = median_by_group(shuffled, np.append(group[order], 0), 5)
    for i in (0, 1, 4):
        expected = [np.median(values[i]), *median_interval(values[i])]
        assert estimates[i].tolist() == expected
    assert estimates[2, 0] == np.median(values[2])
    assert np.isnan(estimates[2, 1:]).all()
    assert np.isnan(estimates[3]).all()


def test_robust_spread_by_hand():
    assert robust_spread([1, 2, 3, 4, 1000]) == pytest.approx(1.4826, abs=1e-4)


def test_the_best_rows_come_first_where_seeds_diverged():
    rows = [
        [INF, INF, INF],
        [1.0, INF, INF],
        [2.0, 3.0, INF],
        [np.nan, np.nan, np.nan],
        [1.0, 3.0, INF],
        [9.0, 9.0, 9.0],
        [0.0, INF, INF],
    ]
    assert best_first(np.array(rows)).tolist() == [4, 2, 5, 6, 1, 0, 3]
