"""The cost of contestants that took turns, from times whose laws are known."""

import numpy as np
import pytest

from benchmark.stats.race import raced

COSTS = np.array([4.0, 4.4, 20.0, 31.0])


def times(pace: np.ndarray, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Rounds of contestants that cost COSTS, at a pace by round."""
    draw = np.random.default_rng(seed).normal(0, noise, (len(pace), len(COSTS)))
    return pace[:, np.newaxis] * COSTS * np.exp(draw)


def test_the_cost_is_that_of_a_quiet_round_by_hand() -> None:
    """Half of the rounds are slowed 3 x: the lower quartile of the pace is 1."""
    cost, spread = raced(times(np.repeat([1.0, 3.0], 8)))
    assert cost == pytest.approx(COSTS)
    assert spread == pytest.approx(np.zeros(4))


def test_a_spread_is_half_the_interquartile_range_of_the_ratios_by_hand() -> None:
    """The last contestant takes 1 to 1.4 times its cost, evenly in logarithms, at any pace: its
    quartiles are a quarter of log 1.4 from the median."""
    slowed = times(np.array([1.0, 2.0, 1.0, 5.0, 1.0]))
    slowed[:, 3] *= 1.4 ** np.array([0, 0.25, 0.5, 0.75, 1])
    cost, spread = raced(slowed)
    assert cost[:3] == pytest.approx(COSTS[:3])
    assert cost[3] == pytest.approx(COSTS[3] * 1.4**0.5)
    assert spread == pytest.approx([0, 0, 0, 1.4**0.25 - 1])


@pytest.mark.parametrize("seed", range(100))
def test_planted_slowdowns_change_no_ratio_by_five_percent(seed: int) -> None:
    """Thirty rounds with noise of 3 %, as beside busy processes: a machine that is busy for a part
    of the time, and single turns that something came between."""
    draw = np.random.default_rng(seed)
    quiet, _ = raced(times(np.ones(30), 0.02, seed))
    pace = np.where(np.arange(30) > draw.integers(5, 25), 2.8, 1.0) * draw.uniform(1, 1.3, 30)
    busy = times(pace, 0.03, seed + 100)
    is_hit = draw.random(busy.shape) < 0.1
    loaded, _ = raced(np.where(is_hit, busy * draw.uniform(1.5, 10, busy.shape), busy))
    assert loaded / loaded[0] == pytest.approx(quiet / quiet[0], rel=0.05)


def test_a_contestant_whose_own_pace_changed_has_a_wide_spread() -> None:
    """Twice as slow in half of the rounds, the others as before: no median of it is its cost."""
    slowed = times(np.ones(20), 0.01)
    slowed[10:, 2] *= 2
    _, spread = raced(slowed)
    assert spread[2] == pytest.approx(2**0.5 - 1, abs=0.05)
    assert spread[[0, 1, 3]] == pytest.approx(np.zeros(3), abs=0.02)
