"""What counts as seen: rates, levels and the course of a metric."""

import numpy as np
import pytest

from benchmark.stats.detection import course, first_seen, rates, seen_from

SHARES = (0.1, 0.5, 1.0)


def test_rates_are_shares_beyond_the_range():
    assert rates([5, 3, 1, 0, np.nan], [1, 2, 3, 4]) == (0.2, 0.2)
    # a value equal to the worst one is not beyond it
    assert rates([8, 8], [8, 8, 8]) == (0, 0)


def test_without_a_fault_a_draw_is_seen_in_one_of_forty():
    """Whatever the distribution, ties included."""
    rng = np.random.default_rng(0)
    for draw in (rng.normal, rng.exponential, lambda size: rng.integers(0, 1000, size)):
        found = []
        for _ in range(4000):
            values = draw(size=40).astype(float)
            found.append(rates(values[:1], values[1:]))
        above, below = np.mean(found, axis=0)
        assert above == pytest.approx(1 / 40, abs=0.008)
        assert below == pytest.approx(1 / 40, abs=0.008)


@pytest.mark.parametrize(
    ("power", "seen", "first"),
    [
        ([0.9, 0.8, 1.0], 0.1, 0.1),
        ([0.79, 0.8, 1.0], 0.5, 0.5),
        ([0.9, 0.1, 1.0], 1.0, 0.1),
        ([1.0, 1.0, 0.2], None, 0.1),
        ([0.0, 0.0, 0.0], None, None),
    ],
)
def test_a_fault_is_seen_from_the_share_on_which_all_larger_ones_are(power, seen, first):
    assert seen_from(SHARES, power) == seen
    assert first_seen(SHARES, power) == first


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([0, 0.5, -0.9, 1], "flat"),
        ([0, 1, 0.2, 3], "monotone"),
        ([0, 3, 1.5, 4], "not monotone"),
        ([0, -2, -3], "not monotone"),
    ],
)
def test_course(means, expected):
    assert course(means, spread=1.0) == expected
