"""Sign tests, families and rankings against numbers worked out by hand."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmark.stats.comparisons import (
    Comparison,
    compare,
    holm,
    judged,
    lowest_p,
    ranks_by_seed,
    seeds_to_reach,
    sign_p,
)

INF = math.inf
BASE = np.arange(1.0, 7.0)


def seeds(values) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


def family(values, **options) -> list[Comparison]:
    alpha = options.pop("alpha", 0.05)
    return judged(compare(values, **{"minimise": True} | options), alpha=alpha)


def between(x, y, **options) -> Comparison:
    return family({"x": seeds(x), "y": seeds(y)}, **options)[0]


def test_the_sign_test_is_the_share_of_all_signs():
    for wins, losses in product(range(6), range(6)):
        n = wins + losses
        sums = [sum(signs) for signs in product((-1, 1), repeat=n)]
        share = sum(abs(total) >= abs(wins - losses) for total in sums) / len(sums)
        assert sign_p(wins, losses) == pytest.approx(share, rel=1e-12)
    assert sign_p(20, 5) == pytest.approx(binomtest(20, 25).pvalue)


def test_the_lowest_p_of_so_many_seeds():
    assert [lowest_p(n) for n in (0, 1, 5, 6, 10)] == [1, 1, 2 / 32, 2 / 64, 2 / 1024]
    assert [seeds_to_reach(0.05 / m) for m in (1, 6, 12, 36)] == [6, 8, 9, 11]


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    # a comparison without a test still counts
    adjusted = holm([math.nan, 0.01])
    assert adjusted[1] == 0.02
    assert math.isnan(adjusted[0])


def test_a_family_separates_and_names_the_better():
    row = between(BASE, BASE + 10)
    assert (row.verdict, row.why) == ("better", "")
    assert (row.n, row.wins, row.ties) == (6, 6, 0)
    assert (row.difference, row.ci_low, row.ci_high) == (-10, -10, -10)
    assert row.p_improvement == 1
    assert row.p_low == pytest.approx(0.025 ** (1 / 6))
    assert row.p == row.p_holm == row.lowest == 2 / 64
    assert between(BASE, BASE + 10, minimise=False).verdict == "worse"
    assert between(BASE + 10, BASE).verdict == "worse"


def test_the_shared_seeds_are_what_is_compared():
    """Seeds differ far more than the variants do; the first is better on each of them."""
    x = np.array([1.0, 10, 100, 1000, 1e4, 1e5])
    assert between(x, x + 0.1).verdict == "better"
    # the same values, not seed by seed
    assert between(x, (x + 0.1)[::-1]).verdict == "not separated"


def test_a_family_computes_the_lowest_p_first():
    seven = {str(i): seeds(BASE + 10 * i) for i in range(7)}
    rows = family(seven)
    assert len(rows) == 21
    assert {row.verdict for row in rows} == {"not separated"}
    why = "p = 0.031 is the lowest 6 seeds can reach, 21 comparisons ask for 0.0024, 10 seeds could"
    assert rows[0].why == why
    ten = {label: seeds(np.arange(10) + 20 * int(label)) for label in seven}
    assert {row.verdict for row in family(ten)} == {"better"}
    eight = {label: seeds(np.arange(8) + 20 * int(label)) for label in seven}
    rows = family(eight, reference="3")
    assert [(row.first, row.second, row.verdict) for row in rows[2:4]] == [
        ("2", "3", "better"),
        ("4", "3", "worse"),
    ]
    with pytest.raises(ValueError, match="'vae' is not among 0, 1"):
        family(seven, reference="vae")


def test_five_seeds_carry_no_claim():
    row = between(BASE[:5], BASE[:5] + 1e6)
    assert (row.verdict, row.wins, row.p) == ("not separated", 5, 0.0625)
    assert row.why == (
        "p = 0.062 is the lowest 5 seeds can reach, 1 comparison asks for 0.05, 6 seeds could"
    )


def test_a_family_says_why_not():
    row = between(BASE, [2, 3, 4, 5, 6, 1])
    assert row.why == "better on 5 of 6 seeds, p = 0.22"
    row = between(BASE, [1, 3, 4, 5, 6, 7])
    assert row.why == "better on 5 of 6 seeds, equal on 1, p = 0.062"
    three = family({"a": seeds(BASE), "b": seeds(BASE), "c": seeds(BASE + 10)}, alpha=0.1)
    assert three[0].why == (
        "better on 0 of 6 seeds, equal on 6, p = 1 after Holm's correction for 3 comparisons"
    )
    assert three[1].p_holm == pytest.approx(3 * 2 / 64)
    assert three[1].verdict == "better"


def test_ties_count_for_neither():
    """8 wins, 4 losses and 18 ties are 8 of 12; 8 wins and 22 ties are 8 of 8."""
    y = np.zeros(30)
    x = np.concatenate([np.full(8, -1.0), np.full(4, 1.0), np.zeros(18)])
    row = between(x, y)
    assert (row.wins, row.ties, row.p) == (8, 18, pytest.approx(binomtest(8, 12).pvalue))
    assert row.verdict == "not separated"
    row = between(np.minimum(x, 0), y)
    assert (row.wins, row.ties, row.p, row.verdict) == (8, 22, 2 / 256, "better")
    assert (row.difference, row.ci_low, row.ci_high) == (0, 0, 0)


@pytest.mark.filterwarnings("error")
def test_a_run_that_diverged_is_the_worst():
    row = between(BASE, [INF] * 6)
    assert (row.verdict, row.wins, row.difference, row.ci_high) == ("better", 6, -INF, -INF)
    assert between(-BASE, [-INF] * 6, minimise=False).verdict == "better"
    both = between([INF] * 6, [INF] * 6)
    assert (both.ties, both.difference, both.p_improvement) == (6, 0, 0.5)
    # 3 of 7 diverge under the first only; the median difference is of a run that did not
    row = between([*BASE[:4], INF, INF, INF], [*(BASE[:4] + 10), 1, 1, 1])
    assert (row.wins, row.difference, row.ci_high) == (4, -10, INF)
    assert row.verdict == "not separated"


def test_a_family_leaves_holes_out():
    x, y = {**seeds(BASE), 6: math.nan, 8: 0.5}, {**seeds(BASE + 10), 6: 3.0, 9: 30.0}
    (row,) = family({"x": x, "y": y})
    assert (row.n, row.difference) == (6, -10)
    (row,) = family({"x": {}, "y": y})
    assert (row.n, row.verdict) == (0, "not separated")
    assert row.why == "no seed is finished and measured under both"
    assert math.isnan(row.p_holm)


def test_ranks_are_counted_seed_by_seed():
    apart = ranks_by_seed([BASE, BASE + 10, BASE + 5], minimise=True)
    assert apart.tolist() == [[6, 0, 0], [0, 0, 6], [0, 6, 0]]
    assert ranks_by_seed([BASE, BASE[::-1]], minimise=True).tolist() == [[3, 3], [3, 3]]
    assert ranks_by_seed([BASE, BASE + 1], minimise=False).tolist() == [[0, 6], [6, 0]]
    never = np.full(6, INF)
    tied = ranks_by_seed([never, BASE, never], minimise=True)
    assert tied.tolist() == [[0, 3, 3], [6, 0, 0], [0, 3, 3]]
    holes = ranks_by_seed([[1, np.nan, 3], [2, 2, 2]], minimise=True)
    assert holes.tolist() == [[1, 1], [1, 1]]
