"""Statistics against numbers worked out by hand, SciPy's own and rliable's definitions."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, mannwhitneyu, norm, power, trim_mean

from benchmark.stats import comparisons as stats


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_iqm_by_hand():
    assert stats.iqm([1, 2, 3, 4]) == 2.5  # one dropped at each end
    assert stats.iqm([9, 1, 2, 4, 3]) == 3.0
    assert stats.iqm([1, 2, 6]) == 3.0  # nothing dropped below four
    assert stats.iqm([1, 2, 3, 4, np.inf]) == 3.0  # one diverged seed of five is trimmed
    assert stats.iqm([1, 2, 3, np.inf, np.inf]) == np.inf  # two are not
    assert stats.iqm([[1, 2, 3, 4], [5, 6, 7, 80]]).tolist() == [2.5, 6.5]
    assert math.isnan(stats.iqm([]))


def test_interval_matches_bca_written_out(rng):
    values = np.array([3.1, 2.7, 4.4, 3.9, 8.0, 2.2])
    low, high = stats.interval(values, np.mean, rng=rng)
    draws = values[np.random.default_rng(7).integers(0, 6, (2000, 6))].mean(axis=1)
    z0 = norm.ppf(((draws < values.mean()).mean() + (draws <= values.mean()).mean()) / 2)
    jackknife = np.array([np.delete(values, i).mean() for i in range(6)])
    d = jackknife.mean() - jackknife
    a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    z = z0 + norm.ppf([0.025, 0.975])
    expected = np.percentile(draws, 100 * norm.cdf(z0 + z / (1 - a * z)))
    np.testing.assert_allclose([low, high], expected, rtol=1e-3)


def test_interval_edges(rng):
    assert np.isnan(stats.interval([1, 2, 3, 4], rng=rng)).all()  # fewer than five
    assert np.isnan(stats.interval([1, 2, 3, 4, np.inf], rng=rng)).all()
    assert stats.interval([8, 8, 8, 8, 8], rng=rng).tolist() == [8, 8]
    low, high = stats.interval(
        [8, 8, 8, 8, 7], rng=rng
    )  # leaving one out never moves the IQM: percentile
    assert 7 <= low < 8
    assert high == 8


def test_interval_rows_do_not_depend_on_their_neighbours():
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([10.0, 30, 20, 50, 40])
    together = stats.interval(np.stack([a, b, a * np.nan]), rng=np.random.default_rng(0))
    alone = stats.interval(b, rng=np.random.default_rng(0))
    assert together.shape == (2, 3)
    assert together[:, 1].tolist() == alone.tolist()
    assert np.isnan(together[:, 2]).all()


def sorted_iqm(values: np.ndarray, axis: int) -> np.ndarray:
    """The IQM summed in ascending order, so that equal resamples give equal numbers."""
    return trim_mean(np.sort(values, axis=axis), 0.25, axis=axis)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # SciPy's BCa on rows where it is undefined
@pytest.mark.parametrize("n", [5, 6, 7, 8, 10, 30])
def test_iqm_interval_is_scipys(n):
    values = np.random.default_rng(n).lognormal(size=(40, n))
    values[:10] = np.round(values[:10])  # ties
    ours = stats.interval(values, rng=np.random.default_rng(3), level=0.9)
    for row, bounds in zip(
        np.sort(values), ours.T, strict=True
    ):  # the same resamples of the same positions
        scipys = bootstrap(
            [row],
            sorted_iqm,
            n_resamples=2000,
            confidence_level=0.9,
            rng=np.random.default_rng(3),
            batch=2000,
        )
        if np.isfinite(scipys.confidence_interval).all():
            np.testing.assert_allclose(bounds, scipys.confidence_interval, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n", "share"), [(5, 0.89), (6, 0.90), (7, 0.91), (8, 0.94), (10, 0.94)])
@pytest.mark.parametrize("law", [np.asarray, np.exp], ids=["normal", "lognormal"])
def test_iqm_interval_covers_what_it_says(n, share, law):
    truth = trim_mean(law(norm.ppf((np.arange(20_000) + 0.5) / 20_000)), 0.25)
    low, high = stats.interval(
        law(np.random.default_rng(1).normal(size=(3000, n))), rng=np.random.default_rng(2)
    )
    assert ((low <= truth) & (high >= truth)).mean() == pytest.approx(share, abs=0.02)


def test_stratified_interval_resamples_within_strata(rng):
    near, far = [1, 1, 1, 1, 1], [9, 9, 9, 9, 9]
    assert stats.stratified_interval([near, far], np.mean, rng=rng).tolist() == [
        5,
        5,
    ]  # unstratified would vary
    low, high = stats.interval(near + far, np.mean, rng=rng)
    assert low < 4
    assert high > 6
    assert np.isnan(stats.stratified_interval([near, [1, 2, 3]], rng=rng)).all()


def test_probability_of_improvement_by_hand(rng):
    p, low, high = stats.probability_of_improvement([1, 3], [2, 3], rng=rng)
    assert p == (0 + 0 + 1 + 0.5) / 4
    assert math.isnan(low)
    assert math.isnan(high)
    p, low, high = stats.probability_of_improvement([1, 4, 5, 8, 9], [2, 3, 6, 7, 10], rng=rng)
    assert p == 12 / 25
    assert low < p < high
    assert stats.probability_of_improvement([6, 7, 8, 9, 10], [1, 2, 3, 4, -np.inf], rng=rng) == (
        1,
        1,
        1,
    )
    assert math.isnan(stats.probability_of_improvement([], [1.0], rng=rng)[0])
    with pytest.raises(ValueError, match="hole"):
        stats.probability_of_improvement([1.0, math.nan], [1.0], rng=rng)


def test_improvement_interval_is_scipys():
    x, y = np.random.default_rng(0).integers(0, 6, (2, 7)).astype(float)
    y = y[:6] + 1

    def superiority(x, y, axis):
        wins = x[..., :, None] - y[..., None, :]
        return ((wins > 0) + 0.5 * (wins == 0)).sum(axis=(-2, -1)) / 42

    def superiority_of_fewer(x, y, axis):  # the jackknife leaves one out
        return superiority(x, y, axis) * 42 / (x.shape[-1] * y.shape[-1])

    scipys = bootstrap(
        [x, y], superiority_of_fewer, n_resamples=2000, rng=np.random.default_rng(5), batch=2000
    )
    _, low, high = stats.probability_of_improvement(x, y, rng=np.random.default_rng(5))
    np.testing.assert_allclose([low, high], scipys.confidence_interval, rtol=1e-12)


def test_estimates_are_rliables(rng):
    """Its definitions (metrics.py): trim_mean(0.25) over runs x tasks; U ÷ (n·m), averaged over
    tasks."""
    x, y = rng.normal(size=(2, 6, 3))
    aggregate = stats.iqm(np.concatenate(list(x.T)))
    assert aggregate == pytest.approx(trim_mean(x, 0.25, axis=None))
    low, high = stats.stratified_interval(list(x.T), rng=rng)
    assert low < aggregate < high
    u = [
        mannwhitneyu(x[:, task], y[:, task], alternative="greater").statistic / 36
        for task in range(3)
    ]
    p, low, high = stats.stratified_improvement(list(zip(x.T, y.T, strict=True)), rng=rng)
    assert p == pytest.approx(np.mean(u))
    assert low < p < high


def test_stratified_improvement_resamples_within_strata(rng):
    always, never = ([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]), ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
    assert stats.stratified_improvement([always, never], rng=rng) == (
        0.5,
        0.5,
        0.5,
    )  # pooled seeds would vary
    p, low, _ = stats.stratified_improvement([always, ([1, 2], [3, 4])], rng=rng)
    assert p == 0.5
    assert math.isnan(low)


def test_performance_profile_by_hand():
    times = [[10, 20, np.inf], [20, 20, np.inf], [50, np.inf, 5]]
    profile, integral = stats.performance_profile(times, [1, 2, 5])
    assert profile.tolist() == [[2 / 3, 2 / 3, 2 / 3], [1 / 3, 2 / 3, 2 / 3], [1 / 3, 1 / 3, 2 / 3]]
    np.testing.assert_allclose(integral, [(1 + 1 + 0) / 3, (2 / 3 + 1 + 0) / 3, (0 + 0 + 1) / 3])
    assert stats.performance_profile([[0], [3]])[1].tolist() == [1, 0]  # reached before training
    with pytest.raises(ValueError, match="not run"):
        stats.performance_profile([[1, np.nan]])


def test_lowest_p_table():
    assert [round(stats.lowest_p(n), 3) for n in (3, 4, 5)] == [0.1, 0.029, 0.008]
    assert [round(stats.lowest_p(n, paired=True), 4) for n in (5, 6, 10)] == [0.0625, 0.0312, 0.002]


def test_time_to_target_by_hand():
    # S: 4/5 at 1, 3/5 at 2, (one leaves at 3), 3/10 at 4, and the last never gets there
    assert stats.time_to_target([1, 2, 3, 4, 9], [True, True, False, True, False]) == (
        4,
        1,
        math.inf,
    )
    assert (
        stats.time_to_target([1, 2, 3, 4], [True, True, False, False])[0] == 2
    )  # S(2) = ½ exactly
    assert math.isnan(stats.time_to_target([1, 2, 3, 4], [True] * 4)[1])  # four seeds: no interval
    assert stats.time_to_target([5, 5, 5, 5, 5], [False] * 5) == (math.inf, math.inf, math.inf)
    assert math.isnan(stats.time_to_target([], [])[0])
    with pytest.raises(ValueError, match="not run"):
        stats.time_to_target([1, math.nan], [True, True])


def test_time_to_target_counts_divergence_as_never():
    ended = stats.time_to_target([1, 2, 3, 1, 1, 1], [True] * 3 + [False] * 3)[0]
    diverged = stats.time_to_target([1, 2, 3, np.inf, np.inf, np.inf], [True] * 3 + [False] * 3)[0]
    assert ended == 2  # the three that ended after 1 leave the risk set: S = 5/6, 5/12
    assert diverged == 3  # those that never reach it stay: S = 5/6, 4/6, 3/6
    assert stats.time_to_target([1, 2, np.inf, np.inf, np.inf], [True] * 5)[0] == math.inf


def test_time_to_target_band_by_hand():
    # log-log band at n = 7, all reach: Greenwood's sum at the 6th time is 1/42 + 1/30 + 1/20 + 1/12
    # + 1/6 + 1/2 = 6/7
    sigma = math.sqrt(6 / 7) / math.log(7)
    assert (
        math.exp(-math.exp(math.log(math.log(7)) - 1.96 * sigma)) < 0.5
    )  # and at the 5th, S = 2/7:
    sigma = math.sqrt(1 / 42 + 1 / 30 + 1 / 20 + 1 / 12 + 1 / 6) / math.log(3.5)
    assert math.exp(-math.exp(math.log(math.log(3.5)) - 1.96 * sigma)) > 0.5
    assert stats.time_to_target(range(1, 8), [True] * 7) == (4, 1, 6)
    assert stats.time_to_target([3] * 5, [True] * 5) == (3, 3, math.inf)  # 1 − 0.025^(1/5) = 0.52
    assert stats.time_to_target([3] * 6, [True] * 6) == (
        3,
        3,
        3,
    )  # 0.46: six together bound the median


def test_holm_by_hand():
    np.testing.assert_allclose(stats.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.7]).tolist() == [1, 1]
    adjusted = stats.holm([math.nan, 0.01])  # a comparison without a test still counts
    assert adjusted[1] == 0.02
    assert math.isnan(adjusted[0])


def seeds(values) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


BASE = np.array([1.0, 2, 3, 4, 5, 6])


def compare(x, y, rng, **kwargs) -> stats.Comparison:
    return stats.family({"x": seeds(x), "y": seeds(y)}, **{"minimise": True, "rng": rng} | kwargs)[
        0
    ]


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
    rows = stats.family(seven, minimise=True, rng=rng)
    assert len(rows) == 21
    assert {row.verdict for row in rows} == {"not separated"}
    assert (
        "the lowest 5 seeds can reach, 21 comparisons ask for 0.0024, 6 seeds could" in rows[0].why
    )
    six = {
        label: seeds(np.append(list(row.values()), 5.5 + 10 * int(label)))
        for label, row in seven.items()
    }
    assert {row.verdict for row in stats.family(six, minimise=True, rng=rng)} == {"better"}
    rows = stats.family(
        seven, minimise=True, reference="3", rng=rng
    )  # six comparisons: five seeds can
    assert [(row.first, row.second, row.verdict) for row in rows[2:4]] == [
        ("2", "3", "better"),
        ("4", "3", "worse"),
    ]
    with pytest.raises(ValueError, match="'vae' is not among 0, 1"):
        stats.family(seven, minimise=True, reference="vae", rng=rng)


def test_family_says_why_not(rng):
    assert "4 paired seeds, 5 are the least" in compare(BASE[:4], BASE[:4] + 10, rng).why
    assert compare(BASE, BASE[::-1] + 1, rng).why.startswith("p = ")
    row = compare([1, 2, 3, 4, 5], [2.5, 1.5, 3.5, 3.4, 4.6], rng, alpha=1.0)  # whatever p is
    assert "the interval of the paired difference" in row.why
    assert "includes 0" in row.why
    three = stats.family(
        {"a": seeds(BASE), "b": seeds(BASE), "c": seeds(BASE + 10)}, minimise=True, rng=rng
    )
    assert three[0].why == "p = 1 after Holm's correction for 3 comparisons"
    assert three[1].p_holm == pytest.approx(3 * 2 / 924)


def test_family_counts_divergence_as_the_worst_rank(rng):
    row = compare(
        BASE[:5], [math.inf] * 5, rng
    )  # no pair is finite: the probability of improvement decides
    assert (row.verdict, row.p, row.p_improvement) == ("better", pytest.approx(2 / 252), 1)
    assert math.isnan(row.ci_low)
    assert compare(-BASE[:5], [-math.inf] * 5, rng, minimise=False).verdict == "better"
    row = compare(
        [*BASE, 7], [*(BASE + 10), math.inf], rng
    )  # six finite pairs are enough for an interval
    assert (row.verdict, row.n, row.ci_low) == ("better", 7, -10)
    assert compare([math.inf] * 6, [math.inf] * 6, rng).p_improvement == 0.5
    # 25 of 30 diverge, the other five are better: neither claim is fair
    row = compare([*BASE[:5], *[math.inf] * 25], [*(BASE[:5] + 10), *range(20, 45)], rng)
    assert row.p_holm < 0.05
    assert "opposite ways" in row.why


def test_family_leaves_holes_out(rng):
    x, y = {**seeds(BASE), 6: math.nan, 8: 0.5}, {**seeds(BASE + 10), 6: 3.0, 9: 30.0}
    (row,) = stats.family({"x": x, "y": y}, minimise=True, rng=rng)
    assert (row.n, row.n_first, row.n_second, row.difference) == (6, 7, 8, -10)
    assert row.lowest == pytest.approx(2 / math.comb(15, 7))
    (row,) = stats.family({"x": {}, "y": y}, minimise=True, rng=rng)
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
        rows = stats.family(
            {str(i): seeds(row) for i, row in enumerate(values)}, minimise=True, rng=rng
        )
        alarms += any(row.verdict != "not separated" for row in rows)
    assert alarms <= 6  # 3 expected at most; 7 or more have a probability of 3 % then


@pytest.mark.parametrize(
    ("n", "alpha"), [(5, 0.05), (6, 0.05 / 21), (10, 0.05), (10, 0.05 / 21), (30, 0.05)]
)
def test_minimal_difference_has_the_power_it_says(n, alpha):
    shift = stats.minimal_difference(n, alpha)
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
    assert stats.minimal_difference(5, 0.05 / 21) == math.inf  # its lowest p is above alpha
    assert stats.minimal_difference(4, 0.5) == math.inf  # four seeds carry no claim
    shifts = [stats.minimal_difference(n) for n in (5, 7, 10, 15, 25)]
    assert shifts == sorted(shifts, reverse=True)
    n = stats.seeds_needed(1.0)
    assert n is not None
    assert stats.minimal_difference(n) <= 1.0 < stats.minimal_difference(n - 1)
    assert 16 <= n <= 18  # the t test needs 17, the rank test 1/0.955 as many
    assert stats.seeds_needed(math.inf, 0.05 / 21) == 6
    assert stats.seeds_needed(0.1) is None
    assert stats.seeds_needed(1.0, limit=10) is None


def test_effect_size_by_hand():
    assert stats.effect_size(0.5) == 0
    assert stats.effect_size(norm.cdf(1.5 / math.sqrt(2))) == pytest.approx(1.5)
    assert stats.effect_size(norm.cdf(-1.5 / math.sqrt(2))) == pytest.approx(1.5)
    assert stats.effect_size(1.0) == math.inf


def test_rank_stability_by_hand(rng):
    apart = stats.rank_stability([BASE, BASE + 10, BASE + 5], minimise=True, rng=rng)
    assert apart.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    apart = stats.rank_stability([BASE, BASE + 10, BASE + 5], minimise=False, rng=rng)
    assert apart.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    never = np.full(6, np.inf)
    tied = stats.rank_stability([never, BASE, never], minimise=True, rng=rng)
    assert tied.tolist() == [[0, 0.5, 0.5], [1, 0, 0], [0, 0.5, 0.5]]
    assert np.isnan(stats.rank_stability([BASE[:4], BASE[:4]], minimise=True, rng=rng)).all()
    assert np.isnan(
        stats.rank_stability([BASE[:5], [1, 2, 3, 4, np.nan]], minimise=True, rng=rng)
    ).all()


def test_rank_stability_pairs_seeds(rng):
    noise = rng.normal(size=8) * 100
    shared = stats.rank_stability([noise, noise + 0.1], minimise=True, rng=rng)
    np.testing.assert_allclose(shared, [[1, 0], [0, 1]])  # the same seeds are drawn for both
    mixed = stats.rank_stability(rng.normal(size=(4, 8)), minimise=True, rng=rng)
    np.testing.assert_allclose(mixed.sum(axis=1), 1)
    np.testing.assert_allclose(mixed.sum(axis=0), 1)
    assert mixed.max() < 1


def test_robust_spread_by_hand():
    assert stats.robust_spread([1, 2, 3, 4, 1000]) == pytest.approx(1.4826, abs=1e-4)
