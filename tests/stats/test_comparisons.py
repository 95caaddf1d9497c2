"""Tests, families and rankings against numbers worked out by hand."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, rankdata

from benchmark.stats.comparisons import (
    Comparison,
    family,
    holm,
    lowest_p,
    rank_stability,
    shift_bound,
)
from benchmark.stats.mann_whitney import p_different, p_larger


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_lowest_p_table():
    assert [round(lowest_p(n), 3) for n in (3, 4, 5)] == [0.1, 0.029, 0.008]
    assert [round(lowest_p(n, paired=True), 4) for n in (5, 6, 10)] == [0.0625, 0.0312, 0.002]


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    adjusted = holm([math.nan, 0.01])  # a comparison without a test still counts
    assert adjusted[1] == 0.02
    assert math.isnan(adjusted[0])


def seeds(values) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


BASE = np.array([1.0, 2, 3, 4, 5, 6])


def compare(x, y, rng, **kwargs) -> Comparison:
    return family({"x": seeds(x), "y": seeds(y)}, **{"minimise": True, "rng": rng} | kwargs)[0]


def test_family_separates_and_names_the_better(rng):
    row = compare(BASE, BASE + 10, rng)
    assert (row.verdict, row.why) == ("better", "")
    assert (row.difference, row.ci_low, row.ci_high) == (-10, -10, -10)
    assert (row.p_improvement, row.n) == (1, 6)
    assert row.p == row.p_holm == row.lowest == pytest.approx(2 / 924)
    assert compare(BASE, BASE + 10, rng, minimise=False).verdict == "worse"
    assert compare(BASE + 10, BASE, rng).verdict == "worse"


def test_family_computes_the_lowest_p_first(rng):
    seven = {str(i): seeds(BASE[:5] + 10 * i) for i in range(7)}  # as far apart as values can be
    rows = family(seven, minimise=True, rng=rng)
    assert len(rows) == 21
    assert {row.verdict for row in rows} == {"not separated"}
    why = "the lowest 5 seeds can reach, 21 comparisons ask for 0.0024, 6 seeds could"
    assert why in rows[0].why
    six = {
        label: seeds(np.append(list(row.values()), 5.5 + 10 * int(label)))
        for label, row in seven.items()
    }
    assert {row.verdict for row in family(six, minimise=True, rng=rng)} == {"better"}
    rows = family(seven, minimise=True, reference="3", rng=rng)  # six comparisons: five seeds can
    assert [(row.first, row.second, row.verdict) for row in rows[2:4]] == [
        ("2", "3", "better"),
        ("4", "3", "worse"),
    ]
    with pytest.raises(ValueError, match="'vae' is not among 0, 1"):
        family(seven, minimise=True, reference="vae", rng=rng)


def test_family_says_why_not(rng):
    assert "4 paired seeds, 5 are the least" in compare(BASE[:4], BASE[:4] + 10, rng).why
    assert compare(BASE, BASE[::-1] + 1, rng).why.startswith("p = ")
    row = compare([1, 2, 3, 4, 5], [2.5, 1.5, 3.5, 3.4, 4.6], rng, alpha=1.0)  # whatever p is
    assert "the interval of the paired difference" in row.why
    assert "includes 0" in row.why
    three = family(
        {"a": seeds(BASE), "b": seeds(BASE), "c": seeds(BASE + 10)}, minimise=True, rng=rng
    )
    assert three[0].why == "p = 1 after Holm's correction for 3 comparisons"
    assert three[1].p_holm == pytest.approx(3 * 2 / 924)


def test_family_counts_divergence_as_the_worst_rank(rng):
    # no pair is finite: the probability of improvement decides
    row = compare(BASE[:5], [math.inf] * 5, rng)
    assert (row.verdict, row.p, row.p_improvement) == ("better", pytest.approx(2 / 252), 1)
    assert math.isnan(row.ci_low)
    assert compare(-BASE[:5], [-math.inf] * 5, rng, minimise=False).verdict == "better"
    # six finite pairs are enough for an interval
    row = compare([*BASE, 7], [*(BASE + 10), math.inf], rng)
    assert (row.verdict, row.n, row.ci_low) == ("better", 7, -10)
    assert compare([math.inf] * 6, [math.inf] * 6, rng).p_improvement == 0.5
    # 25 of 30 diverge, the other five are better: neither claim is fair
    row = compare([*BASE[:5], *[math.inf] * 25], [*(BASE[:5] + 10), *range(20, 45)], rng)
    assert row.p_holm < 0.05
    assert "opposite ways" in row.why


def test_family_leaves_holes_out(rng):
    x, y = {**seeds(BASE), 6: math.nan, 8: 0.5}, {**seeds(BASE + 10), 6: 3.0, 9: 30.0}
    (row,) = family({"x": x, "y": y}, minimise=True, rng=rng)
    assert (row.n, row.n_first, row.n_second, row.difference) == (6, 7, 8, -10)
    assert row.lowest == pytest.approx(2 / math.comb(15, 7))
    (row,) = family({"x": {}, "y": y}, minimise=True, rng=rng)
    assert (row.n, row.verdict) == (0, "not separated")
    assert math.isnan(row.p_holm)


def test_family_raises_few_false_alarms():
    """Five equal variants, all pairs, ties and divergence among the seeds: at most alpha of the
    families err."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(60):
        values = np.round(rng.normal(size=(5, 6)), 1)
        values[rng.random((5, 6)) < 0.1] = np.inf
        rows = family({str(i): seeds(row) for i, row in enumerate(values)}, minimise=True, rng=rng)
        alarms += any(row.verdict != "not separated" for row in rows)
    assert alarms <= 6  # 3 expected at most; 7 or more have a probability of 3 % then


def test_rank_stability_by_hand(rng):
    apart = rank_stability([BASE, BASE + 10, BASE + 5], minimise=True, rng=rng)
    assert apart.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    apart = rank_stability([BASE, BASE + 10, BASE + 5], minimise=False, rng=rng)
    assert apart.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    never = np.full(6, np.inf)
    tied = rank_stability([never, BASE, never], minimise=True, rng=rng)
    assert tied.tolist() == [[0, 0.5, 0.5], [1, 0, 0], [0, 0.5, 0.5]]
    assert np.isnan(rank_stability([BASE[:4], BASE[:4]], minimise=True, rng=rng)).all()
    assert np.isnan(rank_stability([BASE[:5], [1, 2, 3, 4, np.nan]], minimise=True, rng=rng)).all()


def test_rank_stability_pairs_seeds(rng):
    noise = rng.normal(size=8) * 100
    shared = rank_stability([noise, noise + 0.1], minimise=True, rng=rng)
    np.testing.assert_allclose(shared, [[1, 0], [0, 1]])  # the same seeds are drawn for both
    mixed = rank_stability(rng.normal(size=(4, 8)), minimise=True, rng=rng)
    np.testing.assert_allclose(mixed.sum(axis=1), 1)
    np.testing.assert_allclose(mixed.sum(axis=0), 1)
    assert mixed.max() < 1


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
    assert p_different(x, y) == pytest.approx(min(1, 2 * above, 2 * below), rel=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [71, 600, 2000])
def test_hundreds_of_values_have_a_p(rng, n):
    """SciPy's exact counts overflow from about 500 a side, and its p is NaN."""
    x, y = rng.normal(size=n), rng.normal(size=n)
    assert p_different(x, y) == pytest.approx(
        mannwhitneyu(x, y, method="asymptotic").pvalue, rel=1e-9
    )
    assert 0 <= p_different(x + 99, y) < 1e-20
    assert p_different(np.ones(n), np.ones(n)) == 1
    assert p_larger(np.full(n, math.inf), np.zeros(n)) < 1e-20


@pytest.mark.filterwarnings("error")
def test_a_family_of_hundreds_of_seeds_is_separated(rng):
    levels = {"a": 0.0, "b": 1.0}
    values = {name: dict(enumerate(rng.normal(level, 1, 600))) for name, level in levels.items()}
    (row,) = family(values, minimise=True, rng=rng)
    assert (row.verdict, row.why) == ("better", "")
    assert row.p_holm < 1e-20


def test_a_hole_or_an_empty_side_has_no_p(rng):
    for x, y in (([], [1.0]), ([1.0], []), ([math.nan], [1.0])):
        with pytest.raises(ValueError, match="p_larger"):
            p_larger(x, y)
    values = {"a": dict(enumerate(range(6))), "b": {}}
    (row,) = family(values, minimise=True, rng=rng)
    assert math.isnan(row.p_holm)
    assert (row.verdict, row.why) == ("not separated", "b has no finished run with a value")
