"""What seeds can tell, against binomial tables and simulation."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmark.stats.comparisons import sign_p
from benchmark.stats.power import shift_of, told_share, wins_asked


def test_the_wins_that_a_level_asks():
    # two-sided binomial p: 10 of 10 is 0.002, 9 of 10 is 0.0215; 20 of 25 is 0.0041
    assert wins_asked(10, 0.05) == 9
    assert wins_asked(10, 0.01) == 10
    assert wins_asked(25, 0.005) == 20
    assert wins_asked(5, 0.05) is None
    for n in (6, 9, 25):
        wins = wins_asked(n, 0.05)
        assert binomtest(wins, n).pvalue <= 0.05 < binomtest(wins - 1, n).pvalue


@pytest.mark.parametrize(("n", "level"), [(10, 0.05), (12, 0.05 / 36), (25, 0.05 / 36)])
def test_the_share_that_is_told_has_its_power(n, level):
    share = told_share(n, level)
    wins = np.random.default_rng(0).binomial(n, share, 20_000)
    found = [sign_p(int(k), n - int(k)) <= level for k in range(n + 1)]
    assert np.array(found)[wins].mean() == pytest.approx(0.8, abs=0.01)


def test_more_seeds_tell_smaller_shares():
    shares = [told_share(n, 0.05) for n in (6, 12, 25, 100)]
    assert shares == sorted(shares, reverse=True)
    assert math.isnan(told_share(5, 0.05))
    assert shift_of(0.5) == 0
    assert shift_of(0.8413447) == pytest.approx(1, abs=1e-6)
    assert math.isnan(shift_of(math.nan))
