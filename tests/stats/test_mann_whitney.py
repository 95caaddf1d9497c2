"""The one-sided test of the gate against every way to draw the ranks."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, rankdata

from benchmark.stats.mann_whitney import p_larger, shift_bound


def test_the_exact_p_is_scipys_and_right_with_ties():
    rng = np.random.default_rng(0)
    for n, m in ((5, 30), (4, 4), (1, 9), (12, 11)):
        x, y = rng.normal(0.5, 1, n), rng.normal(0, 1, m)
        expected = mannwhitneyu(x, y, alternative="greater", method="exact").pvalue
        assert p_larger(x, y) == pytest.approx(expected, rel=1e-9)
    # ranks 3 3 | 3 1: of the six pairs three sum to 6
    assert p_larger([1, 1], [1, 0]) == pytest.approx(1 / 2)
    # six 7s among 35 values, five of them drawn: C(6, 5) of C(35, 5)
    assert p_larger([-7] * 5, [-8] * 29 + [-7]) == pytest.approx(6 / 324632)


@pytest.mark.parametrize("ties", [False, True])
def test_the_shifts_interval_excludes_zero_where_the_test_rejects(ties):
    """On 300 draws. Without ties the bound is the (k + 1)-th of the ordered differences, k the
    largest with P(U <= k) <= the level."""
    rng, rejected = np.random.default_rng(0), 0
    k = max(k for k in range(50) if chance_at_most(k) <= 0.025)
    for _ in range(300):
        x, y = rng.normal(rng.uniform(0, 2), 1, 5), rng.normal(0, 1, 20)
        if ties:
            x, y = np.round(x), np.round(y)
        bound = shift_bound(x, y, 0.025)
        p = p_larger(x, y)
        rejected += p <= 0.025
        assert bound >= 0 if p <= 0.025 else bound <= 0
        if not ties:
            assert bound == pytest.approx(np.sort(np.subtract.outer(x, y).ravel())[k])
    assert 50 < rejected < 250
    assert shift_bound([5, 6], [1, 2], 0.1) == -np.inf  # two against two reach 1/6


def chance_at_most(k):
    """P(U <= k) of 5 against 20: the share of subsets of 25 ranks, by Gaussian binomial
    coefficients."""
    counts = np.zeros(101)
    counts[0] = 1
    for i in range(1, 6):  # times (1 − q^(20 + i)) ÷ (1 − q^i)
        counts[20 + i :] = counts[20 + i :] - counts[: 101 - 20 - i]
        for j in range(i, 101):
            counts[j] += counts[j - i]
    return counts[: k + 1].sum() / counts.sum()


def shares(x: list[float], y: list[float]) -> float:
    """The one-sided p by every way to draw len(x) of the pooled mid-ranks."""
    ranks = rankdata([*x, *y])
    sums = [sum(drawn) for drawn in combinations(ranks, len(x))]
    return sum(s >= ranks[: len(x)].sum() - 1e-9 for s in sums) / len(sums)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2, 2, 5], [2, 3, 3, 3, 9]),
        ([math.inf, math.inf, 1], [0, 0, 0, math.inf]),
        ([-1, -1, -1, -1, -1, 0], [-1, 0]),
        ([4.0], [1.0, 2.0, 4.0]),
    ],
)
def test_p_values_with_ties_are_the_permutation_distributions(x, y):
    above, below = shares(x, y), shares(y, x)
    assert p_larger(x, y) == pytest.approx(above, rel=1e-12)
    assert p_larger(y, x) == pytest.approx(below, rel=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [71, 600, 2000])
def test_hundreds_of_values_have_a_p(n):
    """SciPy's exact counts overflow from about 500 a side, and its p is NaN."""
    x, y = np.random.default_rng(7).normal(size=(2, n))
    expected = mannwhitneyu(x, y, alternative="greater", method="asymptotic").pvalue
    assert p_larger(x, y) == pytest.approx(expected, rel=1e-9)
    assert 0 <= p_larger(x + 99, y) < 1e-20
    assert p_larger(np.ones(n), np.ones(n)) == 1
    assert p_larger(np.full(n, math.inf), np.zeros(n)) < 1e-20


def test_ties_count_as_the_permutation_distribution_counts_them():
    """SciPy's exact p, which ignores ties, is 0.0159 here."""
    assert p_larger([2, 2, 3, 3, 3], [1, 1, 1, 2, 2]) == pytest.approx(6 / 252)


def test_a_hole_or_an_empty_side_has_no_p():
    for x, y in (([], [1.0]), ([1.0], []), ([math.nan], [1.0])):
        with pytest.raises(ValueError, match="p_larger"):
            p_larger(x, y)
