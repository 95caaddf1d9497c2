"""The chart of changes over time: closed forms, its rate of false alarms, and what it finds."""

import numpy as np
import pytest
from scipy import stats

from benchmark.stats import cusum
from benchmark.stats.cusum import ALLOWANCE, Change, Limits, changes, limits, standardised

Rng = np.random.Generator


def by_seed(values: np.ndarray) -> list[dict[str, float]]:
    """Observations (commits, seeds) as the chart takes them."""
    return [{str(seed): float(x) for seed, x in enumerate(row)} for row in values]


def test_paired_differences_are_helmerts_contrasts_by_students_law() -> None:
    """Worked out by hand from the values of three commits and four seeds."""
    values = np.array([[1.0, 2, 3, 4], [1.5, 2.5, 3, 4], [1, 3, 3, 5]])
    scores = standardised(by_seed(values))
    prior = 2 * (0.5 * values[0].std(ddof=1)) ** 2
    first = (values[1] - values[0]) / np.sqrt(2)
    second = (values[2] - (values[0] + values[1]) / 2) * np.sqrt(2 / 3)
    squares = prior + 3 * first.var(ddof=1)
    t = 2 * first.mean() / np.sqrt(max(squares / 5, first.var(ddof=1)))
    assert scores[1] == pytest.approx(stats.norm.isf(stats.t.sf(t, 5)))
    squares += 3 * second.var(ddof=1)
    t = 2 * second.mean() / np.sqrt(max(squares / 8, second.var(ddof=1)))
    assert scores[2] == pytest.approx(stats.norm.isf(stats.t.sf(t, 8)))
    assert np.isnan(scores[0])


def test_other_seeds_are_compared_as_in_the_two_sample_t_test() -> None:
    rng = np.random.default_rng(0)
    # The spread of the second commit alone is the smaller one
    first, second = rng.normal(size=6), 0.1 * rng.normal(size=4)
    old = {f"a{i}": float(x) for i, x in enumerate(first)}
    new = {f"b{i}": float(x) for i, x in enumerate(second)}
    t = stats.ttest_ind(second, first).statistic
    expected = np.sign(t) * stats.norm.isf(stats.t.sf(abs(t), 8))
    assert standardised([old, new])[1] == pytest.approx(expected)


def test_a_commit_that_repeats_the_numbers_is_no_evidence() -> None:
    rng = np.random.default_rng(1)
    level = rng.normal(size=5)
    same = standardised(by_seed(np.tile(level, (50, 1))))
    assert np.isnan(same).all()
    moved = level + 0.01 * rng.normal(size=5)
    scores = standardised(by_seed(np.array([level, level, moved, moved, moved])))
    assert list(np.isfinite(scores)) == [False, False, True, False, False]


def test_a_seed_that_runs_away_makes_its_own_commit_uncertain() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(1, 5)) + 0.01 * rng.normal(size=(30, 5))
    values[20, 2] += 1000
    assert abs(standardised(by_seed(values))[20]) < 1.1
    values[20] += 1
    values[20, 2] -= 1000
    assert standardised(by_seed(values))[20] > 6


def test_few_seeds_or_none_are_not_judged() -> None:
    assert standardised([]).size == 0
    assert np.isnan(standardised([{"0": 1.0}, {"0": 2.0}])).all()
    whole = by_seed(np.random.default_rng(0).normal(size=(3, 4)))
    # A commit without values is passed over, and the others are paired as before
    gap = standardised([whole[0], {}, {"0": 1.0}, *whole[1:]])
    assert np.array_equal(gap[[0, 3, 4]], standardised(whole), equal_nan=True)
    assert np.isnan(gap[1:3]).all()


def test_the_limits_are_siegmunds_and_the_normal_tail() -> None:
    limit = limits(100, 0.01)
    rate = 0.01 / 2 / 200
    assert stats.norm.sf(limit.step) == pytest.approx(rate)
    b = 2 * ALLOWANCE * (limit.drift + 1.166)
    assert (np.exp(b) - b - 1) / (2 * ALLOWANCE**2) == pytest.approx(1 / rate)


def test_a_step_and_a_drift_are_told_apart_and_dated() -> None:
    limit = Limits(step=4, drift=5)
    scores = np.array([np.nan, 0, 0, -6.0])
    assert cusum._first(scores, limit) == Change("step", 3, 3, -1)
    scores = np.array([np.nan, -2, 1.5, np.nan, 2.5, 2.5, 2.5])
    # 1, 3, 5, 7 above the allowance
    assert cusum._first(scores, limit) == Change("drift", 2, 6, 1)


def test_behind_a_change_the_new_level_counts() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(1, 25)) + 0.1 * rng.normal(size=(40, 25))
    values[20:] += 1
    ((kind, start, found, sign),) = changes(by_seed(values), limits(100, 0.01))
    assert (kind, start, found, sign) == ("step", 20, 20, 1)


def histories(
    rng: Rng, num: int, commits: int, seeds: int, noise: float
) -> list[list[dict[str, float]]]:
    """Unchanged code: seeds vary by 1, and every commit moves each of them by `noise`."""
    levels = rng.normal(size=(num, 1, seeds))
    moved = levels + noise * rng.normal(size=(num, commits, seeds))
    return [by_seed(values) for values in moved]


@pytest.mark.parametrize(("seeds", "noise"), [(5, 0.3), (25, 1.0)])
def test_unchanged_commits_signal_at_the_rate_that_is_asked(seeds: int, noise: float) -> None:
    """One signal in ten series of 40 commits is asked."""
    rng = np.random.default_rng(seeds)
    limit = limits(1, 1 / 400)
    found = [changes(series, limit) for series in histories(rng, 100, 40, seeds, noise)]
    assert sum(map(len, found)) <= 20


@pytest.mark.parametrize(("seeds", "noise"), [(5, 0.3), (25, 0.3)])
def test_a_drift_of_half_a_spread_over_20_commits_is_found(seeds: int, noise: float) -> None:
    """Among 112 series; the whole study is `tests/check/test_history.py`, marked slow."""
    rng = np.random.default_rng(3)
    limit = limits(112, 0.01)
    drift = np.concatenate([np.zeros(20), 0.5 * np.arange(1, 21) / 20])
    num_found = 0
    for series in histories(rng, 20, 40, seeds, noise):
        moved = [
            {seed: x + drift[i] for seed, x in values.items()} for i, values in enumerate(series)
        ]
        num_found += any(change.start >= 15 for change in changes(moved, limit))
    assert num_found >= 16
