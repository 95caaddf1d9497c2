"""Variance components of two crossed factors: sums of squares by hand, tests, coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.stats.variance import components


def table(rng, shape, sigmas):
    of_rows, of_columns, rest = sigmas
    rows = rng.normal(0, of_rows, (shape[0], 1))
    columns = rng.normal(0, of_columns, (1, shape[1]))
    return 3 + rows + columns + rng.normal(0, rest, shape)


def test_components_by_hand():
    """Rows 2, 5; columns 2, 4, 4.5 of means; grand mean 3.5."""
    values = [[1.0, 2.0, 3.0], [3.0, 6.0, 6.0]]
    found = components(values)
    # residuals ±.5, ∓.5, 0: SS = 1, 2 degrees of freedom
    ms_rest = 1.0 / 2
    ms_rows = 3 * ((2 - 3.5) ** 2 + (5 - 3.5) ** 2)
    ms_columns = 2 * ((2 - 3.5) ** 2 + (4 - 3.5) ** 2 + (4.5 - 3.5) ** 2) / 2
    assert found.rest.variance == pytest.approx(ms_rest)
    assert found.rows.variance == pytest.approx((ms_rows - ms_rest) / 3)
    assert found.columns.variance == pytest.approx((ms_columns - ms_rest) / 2)
    assert found.rows.p == pytest.approx(stats.f.sf(ms_rows / ms_rest, 1, 2))
    assert found.rest.low == pytest.approx(1.0 / stats.chi2.ppf(0.975, 2))
    assert found.rest.high == pytest.approx(1.0 / stats.chi2.ppf(0.025, 2))
    assert sum(found.shares) == pytest.approx(1)


def test_transposing_exchanges_the_factors():
    values = table(np.random.default_rng(0), (4, 6), (2, 1, 0.5))
    found, turned = components(values), components(values.T)
    assert turned.rows == pytest.approx(found.columns)
    assert turned.columns == pytest.approx(found.rows)
    assert turned.rest.variance == pytest.approx(found.rest.variance)


def test_a_factor_that_varies_less_than_chance_has_an_estimate_below_zero():
    values = [[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]  # all of it is interaction
    found = components(values)
    assert found.rows.variance < 0
    assert found.rows.low == 0
    assert found.rows.p == pytest.approx(1)
    assert found.shares == (0, 0, 1)


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 3.0, 30.0])
def test_the_interval_leaves_zero_out_where_the_f_test_finds_the_factor(scale):
    rng = np.random.default_rng(1)
    for _ in range(50):
        found = components(table(rng, (5, 5), (scale, 1, 1)))
        assert (found.rows.low > 1e-12) == (found.rows.p < 0.025)
        assert found.rows.low <= max(0, found.rows.variance) <= found.rows.high


def test_without_a_rest_the_interval_is_that_of_a_variance():
    """Five means of a normal sample: (I − 1) s² / χ²."""
    rows = np.random.default_rng(2).normal(size=5)
    found = components(np.repeat(rows[:, None], 4, axis=1))
    squares = 4 * rows.var(ddof=1)
    ends = [squares / stats.chi2.ppf(tail, 4) for tail in (0.975, 0.025)]
    assert [found.rows.low, found.rows.high] == pytest.approx(ends)


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [[1.0, 2.0], [3.0, math.inf]], [1.0, 2.0]])
def test_other_tables_are_refused(values):
    with pytest.raises(ValueError, match="two rows and two columns"):
        components(values)


@pytest.mark.slow
@pytest.mark.parametrize("sigmas", [(0, 1, 1), (0.5, 0, 1), (1, 1, 1), (3, 1, 1)])
def test_intervals_cover_and_estimates_are_right_on_average(sigmas):
    """2,000 tables of 5 x 5: 95 % within simulation error; Ting et al. report 94 to 97 %."""
    rng = np.random.default_rng(3)
    covered = np.zeros(3)
    estimates = []
    for _ in range(2000):
        found = components(table(rng, (5, 5), sigmas))
        estimates.append([component.variance for component in found])
        for index, (component, sigma) in enumerate(zip(found, sigmas, strict=True)):
            covered[index] += component.low <= sigma**2 <= component.high
    means, errors = np.mean(estimates, axis=0), np.std(estimates, axis=0) / math.sqrt(2000)
    assert (np.abs(means - np.square(sigmas)) < 4 * errors).all()
    assert (covered / 2000 > 0.935).all()
