"""Power against SciPy's simulation and known sample sizes."""

import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm, power

from benchmark.stats.power import effect_size, minimal_difference, seeds_needed


@pytest.mark.parametrize(
    ("n", "alpha"), [(5, 0.05), (6, 0.05 / 21), (10, 0.05), (10, 0.05 / 21), (30, 0.05)]
)
def test_minimal_difference_has_the_power_it_says(n, alpha):
    shift = minimal_difference(n, alpha)
    rng = np.random.default_rng(8)
    result = power(
        lambda x, y, axis: mannwhitneyu(x, y, axis=axis, method="exact"),
        (lambda size: rng.normal(shift, 1, size), lambda size: rng.normal(size=size)),
        (n, n),
        significance=alpha,
        vectorized=True,
        n_resamples=4000,
    )
    assert result.power == pytest.approx(0.8, abs=0.03)


def test_power_edges():
    assert minimal_difference(5, 0.05 / 21) == math.inf  # its lowest p is above alpha
    assert minimal_difference(4, 0.5) == math.inf  # four seeds carry no claim
    shifts = [minimal_difference(n) for n in (5, 7, 10, 15, 25)]
    assert shifts == sorted(shifts, reverse=True)
    n = seeds_needed(1.0)
    assert n is not None
    assert minimal_difference(n) <= 1.0 < minimal_difference(n - 1)
    assert 16 <= n <= 18  # the t test needs 17, the rank test 1/0.955 as many
    assert seeds_needed(math.inf, 0.05 / 21) == 6
    assert seeds_needed(0.1) is None
    assert seeds_needed(1.0, limit=10) is None


def test_effect_size_by_hand():
    assert effect_size(0.5) == 0
    assert effect_size(norm.cdf(1.5 / math.sqrt(2))) == pytest.approx(1.5)
    assert effect_size(norm.cdf(-1.5 / math.sqrt(2))) == pytest.approx(1.5)
    assert effect_size(1.0) == math.inf


@pytest.mark.filterwarnings("error")
def test_hundreds_of_seeds_tell_smaller_differences():
    tens, hundreds = minimal_difference(50), minimal_difference(600)
    # the normal law: (z of 0.975 + z of 0.8) · √(2 ÷ n) · √(π ÷ 3)
    for n, smallest in ((50, tens), (600, hundreds)):
        assert smallest == pytest.approx(2.80 * (2 / n) ** 0.5 * 1.023, rel=0.03)
