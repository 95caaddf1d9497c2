"""Successes over architectures: the paper's p, enumeration, Wilson by its formula, coverage."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from benchmark.stats.comparisons import sign_p
from benchmark.stats.success import discordance, log10_sign_p, success_curve, wilson


def test_counts_sum_to_all_and_p_is_the_sign_test():
    first = np.array([1, 1, 1, 1, 0, 0, 0, 1], dtype=bool)
    second = np.array([1, 0, 0, 0, 1, 0, 0, 0], dtype=bool)
    found = discordance(first, second)
    assert found[:4] == (4, 1, 1, 2)
    assert sum(found[:4]) == len(first)
    # 1 of 5 or fewer, twice: 2 (1 + 5) / 32
    assert found.p == pytest.approx(12 / 32)
    turned = discordance(second, first)
    assert turned[:4] == (1, 4, 1, 2)
    assert turned.p == pytest.approx(found.p)


def test_p_is_exact_by_enumeration():
    """Every way in which seven discordant architectures may fall, each as likely."""
    for wins in range(8):
        extreme = max(wins, 7 - wins)
        ways = [sum(way) for way in itertools.product((0, 1), repeat=7)]
        share = np.mean([max(way, 7 - way) >= extreme for way in ways])
        assert 10 ** log10_sign_p(wins, 7 - wins) == pytest.approx(share)
        assert sign_p(wins, 7 - wins) == pytest.approx(share)


def test_p_of_the_papers_table():
    """Table 2 of WGAN-GP: 147 architectures of 200 on which it alone is above 5, 0 the reverse."""
    assert log10_sign_p(0, 147) == pytest.approx(math.log10(2) - 147 * math.log10(2))
    assert f"{10 ** log10_sign_p(0, 147):.0e}" == "1e-44"
    assert log10_sign_p(0, 5000) == pytest.approx(-4999 * math.log10(2))
    assert log10_sign_p(0, 0) == 0
    assert log10_sign_p(3, 3) == 0


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (50, 50), (42, 200)])
def test_wilson_by_its_formula(successes, n):
    z, share = stats.norm.ppf(0.975), successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    found = wilson(successes, n)
    assert found.share == share
    assert found.low == pytest.approx(centre - half, abs=1e-9)
    assert found.high == pytest.approx(centre + half, abs=1e-9)
    assert all(map(math.isnan, wilson(0, 0)))


def test_success_curve_counts_diverged_runs_below_every_threshold():
    values = [2.0, 4.0, 4.0, -math.inf]
    found = success_curve(values, [1.0, 2.0, 3.0, 4.0], minimise=False)
    assert found.share.tolist() == [0.75, 0.5, 0.5, 0]
    fids = success_curve([1.0, 3.0, math.inf], [0.5, 2.0, 5.0], minimise=True)
    assert fids.share.tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    assert (found.low >= 0).all()
    assert (found.high <= 1).all()


def test_the_band_is_within_that_of_dvoretzky_kiefer_and_wolfowitz():
    for n in (10, 50, 200):
        found = success_curve(np.arange(n), [n / 2], minimise=True)
        half = (found.high - found.low)[0] / 2
        bound = math.sqrt(math.log(2 / 0.05) / (2 * n))
        assert 0.93 * bound < half < bound


@pytest.mark.slow
def test_the_band_holds_at_all_thresholds_together():
    """2,000 samples of 50: the exact law, within simulation error; with ties it is wider."""
    rng = np.random.default_rng(0)
    thresholds = np.linspace(0.005, 0.995, 199)
    held = 0
    for _ in range(2000):
        found = success_curve(rng.random(50), thresholds, minimise=True)
        held += bool(((found.low <= thresholds) & (thresholds <= found.high)).all())
    assert 0.94 < held / 2000 < 0.975
