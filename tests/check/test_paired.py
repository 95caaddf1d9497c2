"""Paired differences: the moderated t test, its level, and what it sees that seeds cannot."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from benchmark.check import rule as gate
from benchmark.check.paired import PRIOR_DEGREES, PRIOR_SPREAD, p_paired
from benchmark.check.rows import UNKNOWN, BaselineRow, RerunRow, baseline_rows
from benchmark.check.verdict import ALPHA, exit_code
from benchmark.stats.intervals import Array
from benchmark.stats.mann_whitney import p_larger


def row(
    values: dict[int, float | None], group: str = "a", executed: str = "eager", metric: str = "fid"
) -> RerunRow:
    return RerunRow(
        objective=group,
        architecture="dcgan",
        dataset="digits",
        metric=f"{metric}_classifier_750",
        protocol="aa",
        training="bb",
        values={str(seed): value for seed, value in values.items()},
        untrained=None,
        executed=executed,
        unfinished=0,
        unmeasured=0,
        stale=0,
    )


def baseline(values: Array, **names: str) -> list[BaselineRow]:
    return baseline_rows([row(dict(enumerate(map(float, values))), **names)])


def test_p_is_that_of_the_moderated_t() -> None:
    """Differences 1 … 5: mean 3, Σ(x − mean)² = 10. Seeds spread by 2."""
    expected = PRIOR_SPREAD * 2
    degrees = PRIOR_DEGREES + 4
    variance = (PRIOR_DEGREES * expected**2 + 10) / degrees
    t = 3 / math.sqrt(variance / 5)
    assert p_paired([1, 2, 3, 4, 5], 2.0) == pytest.approx(stats.t.sf(t, degrees))
    assert p_paired([-1, -2, -3, -4, -5], 2.0) == pytest.approx(stats.t.cdf(t, degrees))


def test_no_difference_and_no_noise_are_no_evidence() -> None:
    assert p_paired([0.0] * 5, 2.0) == 1.0
    # Equal differences where nothing is known of noise
    assert p_paired([1.0] * 5, 0.0) == p_paired([1.0], 0.0) == 1.0
    # Seeds that do not vary: Student's t
    values = [1.0, 1.0, 1.0, 1.0, 0.9]
    expected = stats.ttest_1samp(values, 0, alternative="greater").pvalue
    assert p_paired(values, 0.0) == pytest.approx(expected)
    for values in ([], [1.0, math.nan], [math.inf]):
        with pytest.raises(ValueError, match="finite"):
            p_paired(values, 1.0)


def test_one_outlier_of_five_is_no_evidence() -> None:
    assert p_paired([100.0, 0, 0, 0, 0], 1.0) > 0.05


LAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, size=shape),
    "cauchy": lambda rng, shape: rng.standard_cauchy(size=shape),
    "skewed": lambda rng, shape: rng.lognormal(size=shape),
    "two modes": lambda rng, shape: rng.choice([0.0, 8.0], size=shape) + rng.normal(size=shape),
    "counts": lambda rng, shape: rng.binomial(8, 0.8, size=shape).astype(float),
}


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9, 0.99])
def test_unchanged_code_rarely_goes_red_on_the_baselines_own_seeds(law: str, shared: float) -> None:
    """Reruns of 70 comparisons on five of 25 seeds. The two runs of a seed share a part of their
    value and draw the rest from one law: from nothing but the seed's number to nearly all. Losses
    of every size are worth reporting."""
    rng, reruns, red = np.random.default_rng(0), 200, 0
    for _ in range(reruns):
        old, new = [], []
        for group in range(70):
            common, first, again = (LAWS[law](rng, (25,)) for _ in range(3))
            weights = math.sqrt(shared), math.sqrt(1 - shared)
            before = weights[0] * common + weights[1] * first
            after = weights[0] * common + weights[1] * again
            old += baseline(100 * before, group=str(group))
            new.append(row(dict(enumerate(map(float, 100 * after[:5]))), str(group)))
        red += exit_code(gate.judge(old, new)) == 1
    # Five differences of one sign and size are no evidence where each value is one of two that the
    # seed does not decide: no test of five can tell, and twice the level is what that may cost
    worst = 2 * ALPHA["quality"] if (law, shared) == ("two modes", 0.0) else ALPHA["quality"]
    # the 99 % bound of 200 reruns
    assert red <= stats.binom.ppf(0.99, reruns, worst)


def test_a_loss_smaller_than_two_spreads_of_seeds_shows_on_the_baselines_own_seeds() -> None:
    """25 seeds of spread 7.4, each of five worse by 6: within the band of 2 · 8.9 = 17.8."""
    values = np.random.default_rng(0).permutation(25.0 + np.arange(25))
    worse = dict(enumerate(map(float, values[:5] + 6)))
    (paired,) = gate.judge(baseline(values), [row(worse)])
    assert (paired.mark, paired.seeds) == ("−", (5, 20))
    assert "+6 in the mean of 5 seeds paired" in paired.note
    # On seeds of its own, or executed in another way, the same loss is within the band
    others = {seed + 100: value for seed, value in worse.items()}
    for new in (row(others), row(worse, executed="eager, stack of 5")):
        (unpaired,) = gate.judge(baseline(values), [new])
        assert (unpaired.mark, unpaired.seeds) == ("+", (5, 25))


@pytest.mark.parametrize("executed", ["", UNKNOWN])
def test_runs_that_nobody_knows_the_execution_of_are_not_paired(executed: str) -> None:
    values = np.arange(25.0) + 25
    (verdict,) = gate.judge(
        baseline(values, executed=executed),
        [row(dict(enumerate(map(float, values[:5] + 6))), executed=executed)],
    )
    assert verdict.seeds == (5, 25)


def test_the_values_of_the_baseline_are_no_loss_however_they_lie_among_its_seeds() -> None:
    """The five worst of 25 seeds, run once more: against the other 20 they would be red."""
    values = np.array([*np.arange(20.0) + 900, *np.arange(5.0)])
    values = np.roll(values, 5) * 10
    own = {seed: float(values[seed]) for seed in range(5, 25) if values[seed] > 9140}
    assert len(own) == 5
    (verdict,) = gate.judge(baseline(values), [row(own)])
    assert (verdict.mark, verdict.p) == ("+", None)
    assert verdict.note == "the values of the baseline's seeds"
    others = [value for value in values if value not in own.values()]
    assert p_larger([*own.values()], others) < 1e-4


def test_values_that_differ_by_rounding_alone_are_the_baselines() -> None:
    values = np.arange(25.0) * 10
    own = {seed: float(values[seed]) * (1 + 1e-12) for seed in range(20, 25)}
    (verdict,) = gate.judge(baseline(values), [row(own)])
    assert verdict.note == "the values of the baseline's seeds"


def test_the_unpaired_test_leaves_out_the_seeds_that_are_paired() -> None:
    """Five seeds far above all: p = 1 / C(25, 5) against the 20 others."""
    values = np.arange(25.0)
    worse = dict(enumerate(map(float, values[:5] + 100)))
    (verdict,) = gate.judge(baseline(values), [row(worse)])
    assert verdict.p is not None
    assert verdict.p <= 4 / 3 / math.comb(25, 5)
    assert verdict.baseline == np.median(values[5:])


def test_without_other_seeds_the_unpaired_test_is_against_the_same() -> None:
    values = np.arange(5.0)
    better = dict(enumerate(map(float, values + 0.5)))
    (verdict,) = gate.judge(baseline(values), [row(better)])
    assert verdict.seeds == (5, 5)
    assert verdict.baseline == 2.0


def test_where_less_is_worse_the_pairs_are_turned() -> None:
    values = np.random.default_rng(0).permutation(25.0 + np.arange(25)) / 50
    for change, mark in ((-0.12, "−"), (0.12, "+")):
        now = dict(enumerate(map(float, values[:5] + change)))
        (verdict,) = gate.judge(
            baseline(values, metric="precision"), [row(now, metric="precision")]
        )
        assert verdict.mark == mark
        assert ("-0.12 in the mean of 5 seeds paired" in verdict.note) == (mark == "−")


def test_a_seed_that_diverged_on_one_side_is_no_pair() -> None:
    values = np.arange(25.0) + 25
    now: dict[int, float | None] = dict(enumerate(map(float, values[:5] + 6)))
    now[0] = None
    (verdict,) = gate.judge(baseline(values), [row(now)])
    assert verdict.seeds == (4, 21)
