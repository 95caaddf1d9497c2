"""The exact parts of the experiments against closed forms, and measures on planted critics."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.special import rel_entr
from scipy.stats import wasserstein_distance
from torch import nn

from benchmark.explain import dirac_game, optimum
from benchmark.explain.experiments import (
    depth,
    disjoint_supports,
    mode_collapse,
    one_hot,
    optimal_critic,
    overfitting,
    penalty,
    value_surfaces,
    weights,
)
from benchmark.explain.setup import (
    ORIGINAL,
    bounding,
    choice,
    make_critic,
    objectives,
    slopes_between,
)
from benchmark.matrix.cell import Choice
from benchmark.train.build import make_objective
from benchmark.train.data import floats_of
from variants import load
from variants.objectives import Base, Recipe

EXACT = "donot_use_mm_for_euclid_dist"


class Relativistic(Base):
    """A loss that ties the scores of real and generated samples together."""

    def d_loss(self, D, real, fake, noise=None):
        return nn.functional.softplus(D(fake) - D(real)).mean()


# The exact parts


def test_distances_of_the_segments_are_those_of_their_laws():
    for theta in (-2.0, 0.5):
        real, fake = disjoint_supports.segments(theta, 4000, torch.Generator().manual_seed(0))
        assert wasserstein_distance(real[:, 0], fake[:, 0]) == pytest.approx(
            abs(theta)
        )  # heights have one law
        together = np.histogram(torch.cat([real, fake])[:, 0], 100)[1]
        p, q = (np.histogram(points[:, 0], together)[0] / 4000 for points in (real, fake))
        js = (rel_entr(p, (p + q) / 2).sum() + rel_entr(q, (p + q) / 2).sum()) / 2
        assert js == pytest.approx(math.log(2))


def test_a_critic_on_the_segments_in_brief():
    """In a fraction of the steps: saturated under minimax, under WGAN-GP the distance with the
    penalty's bias."""
    rows = {
        name: disjoint_supports.measure({"name": name}, [0.25, 2.0], 200, 64).set_index("theta")
        for name in ("minimax", "wgan_gp")
    }
    gp = rows["wgan_gp"]
    np.testing.assert_allclose(gp["w1_estimate"], gp["w1_biased"], rtol=0.05)
    np.testing.assert_allclose(gp["w1_biased"], [0.25 * (1 + 0.25 / 20), 2.2])
    assert (rows["minimax"]["gradient"] < 1e-2 * gp["gradient"]).all()
    assert (rows["minimax"]["js_estimate"] > 0.99 * math.log(2)).all()


X, STEP = optimum.X, optimum.STEP


@pytest.fixture(scope="module")
def laws():
    return optimum.density(optimum.REAL), optimum.density(optimum.FAKE)


@pytest.mark.parametrize(
    ("value", "best"),
    [
        ({"name": "minimax"}, lambda p, q: (p / q).log()),
        ({"name": "nonsaturating"}, lambda p, q: (p / q).log()),
        ({"name": "lsgan"}, lambda p, q: p / (p + q)),
        (optimal_critic.PEARSON, lambda p, q: (p - q) / (p + q)),
        ({"name": "hinge"}, lambda p, q: (p - q).sign()),
    ],
)
def test_the_optimum_found_point_by_point_is_the_papers(value, best, laws):
    p, q = laws
    found, exact = optimum.best_critic(make_objective(choice(value)), p, q)
    typical = (torch.minimum(p, q) > 1e-6) & ((p - q).abs() > 1e-6)
    torch.testing.assert_close(found[typical], best(p, q)[typical], rtol=1e-4, atol=1e-4)
    pearson = optimum.integral((p + q - 2 * q).square() / (p + q))  # χ² of p + q against 2q
    total = optimum.integral((p - q).abs()) / 2
    known = {
        **{"minimax": 2 * math.log(2) - 2 * optimum.js(p, q), "hinge": 2 - 2 * total},
        "lsgan": (2 - pearson) / 8,
    }
    if value["name"] in known:
        scale = 4 if value is optimal_critic.PEARSON else 1
        assert exact == pytest.approx(scale * known[value["name"]], rel=1e-3)


def test_the_penalised_optimum_is_one(laws):
    """No other slope has a higher value of −∫ g (P − Q) − λ ∫ ρ (|g| − 1)²; and the value without
    its penalty."""
    p, q = laws
    objective = load("objectives", "wgan_gp").Objective()
    scores, value = optimum.best_critic(objective, p, q)
    behind, rho = optimum.cumulative(p - q), optimum.between()

    def worth(slope):
        return optimum.integral(-slope * behind - 10 * rho * (slope.abs() - 1).square())

    slope = torch.diff(scores, prepend=scores[:1]) / STEP
    slope[0] = slope[1]
    best = worth(slope)
    generator = torch.Generator().manual_seed(0)
    for size in (0.01, 0.1, 1.0):
        for _ in range(5):
            assert (
                worth(slope + size * torch.randn(len(X), generator=generator, dtype=torch.float64))
                < best
            )
    assert value == pytest.approx(optimum.gap(scores, p, q), rel=1e-3)
    assert optimum.integral(rho) == pytest.approx(1, abs=1e-6)


def test_which_theory_applies_is_tried_on_the_objective():
    applies = {choice(value).label: make_objective(choice(value)) for value in objectives()}
    assert [name for name, o in applies.items() if optimum.penalises_slope(o)] == [
        "wgan_div",
        "wgan_fdgp",
        "wgan_gp",
    ]
    assert [name for name, o in applies.items() if optimum.asks_for_unit_slope(o)] == [
        "wgan_fdgp",
        "wgan_gp",
        choice(ORIGINAL).label,
    ]
    free = [name for name, o in applies.items() if optimum.separable(o)]
    assert free == ["fgan", "hinge", "lsgan", "minimax", "nonsaturating"]
    assert not optimum.separable(Relativistic()), "it ties scores together"
    shifted = [name for name, o in applies.items() if optimum.shifts(o)]
    pairs = ["relativistic_average", "rpgan_r1r2"]
    assert shifted == [*pairs, "wgan", "wgan_div", "wgan_fdgp", "wgan_gp", choice(ORIGINAL).label]


def normal_kl(first, second):
    """KL of two normal laws, in closed form."""
    spread = first.variance / second.variance
    apart = (first.mean - second.mean) ** 2 / second.variance
    return ((spread + apart - 1 - spread.log()) / 2).item()


def test_an_f_gan_reaches_its_divergence(monkeypatch):
    """The value of each f-GAN at its best critic, and that critic. Of Pearson's χ² a part lies
    beyond the grid and the scores of the experiment."""
    wide = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    monkeypatch.setattr(optimum, "X", wide)
    monkeypatch.setattr(optimum, "SCORES", 400.0)
    real, fake = optimum.REAL, optimum.FAKE
    p, q = (law.log_prob(wide).exp() for law in (real, fake))
    spread = real.variance + fake.variance
    overlap = (2 * real.stddev * fake.stddev / spread).sqrt() * (-((2.0) ** 2) / 4 / spread).exp()
    log_ratio = (p / q).log()
    expected = {
        "kl": (1 + log_ratio, -normal_kl(real, fake), -1.418433),
        "reverse_kl": (log_ratio, -normal_kl(fake, real), -2.037678),
        "pearson": (2 * (p / q - 1), 1 - 1.44 / 1.88**0.5 * math.exp(4 / 1.88), -7.816869),
        "hellinger": (log_ratio / 2, -(2 - 2 * overlap.item()), -0.683408),
        "js": (log_ratio, -2 * optimum.js(p, q), -0.592739),
    }
    typical = torch.minimum(p, q) > 1e-4
    for divergence, (scores, closed, known) in expected.items():
        objective = make_objective(choice({"name": "fgan", "divergence": divergence}))
        found, value = optimum.best_critic(objective, p, q)
        torch.testing.assert_close(found[typical], scores[typical], rtol=1e-6, atol=1e-6)
        assert value == pytest.approx(known, rel=1e-6)
        assert value == pytest.approx(closed, rel=1e-6)


@pytest.mark.parametrize(
    ("params", "slope", "gap"),
    [
        ({"sided": "two"}, lambda t: 1 + t / 20, pytest.approx(2.2126, abs=5e-5)),
        ({"sided": "one"}, lambda t: 1 + t / 20, pytest.approx(2.2126, abs=5e-5)),
        ({"sided": "linear"}, torch.ones_like, pytest.approx(2, abs=5e-6)),
        ({"target": 0.0}, lambda t: t / 20, pytest.approx(0.212613, abs=5e-6)),
        ({"name": "wgan_div"}, lambda t: (t / 12) ** 0.2, pytest.approx(1.407096, abs=6e-6)),
    ],
)
def test_the_best_slope_of_a_penalty(params, slope, gap, laws):
    """t = |P − Q| / ρ. Only the linear form finds W₁ = 2; WGAN-div's value, gap − k E‖∇D‖⁶, is ⅚ of
    its gap, 1.1726."""
    objective = make_objective(choice({"name": "wgan_gp", **params}))
    scores, found = optimum.best_critic(objective, *laws)
    behind = optimum.cumulative(laws[0] - laws[1]).abs()
    typical = torch.minimum(*laws) > 1e-4
    expected = slope(behind / optimum.between())
    slopes = torch.diff(scores, prepend=scores[:1]).abs() / STEP
    torch.testing.assert_close(slopes[typical], expected[typical], rtol=1e-6, atol=1e-6)
    assert found == gap


def test_a_weak_linear_penalty_has_no_optimum(laws):
    """Where |P − Q| > λ ρ a steeper slope always gains more than it pays."""
    objective = make_objective(choice({"name": "wgan_gp", "sided": "linear", "penalty_weight": 1}))
    slopes = optimum.best_slopes(objective, *laws).abs()
    behind = optimum.cumulative(laws[0] - laws[1]).abs()
    is_weak = behind > 1.001 * optimum.between()
    assert is_weak.any()
    torch.testing.assert_close(slopes[is_weak], torch.full_like(slopes[is_weak], optimum.STEEPEST))


def test_r1_asks_for_the_slope_of_its_closed_form(laws):
    """|P − Q| / (γ p): there the penalty costs as much as the gap gains. On [−10, 10] the value
    ∫ (P − Q)² / (2 γ p) of these slopes is 7.05172."""
    p, q = laws
    gamma = 10.0
    objective = make_objective(choice({"name": "r1", "gamma": gamma}))
    behind = optimum.cumulative(p - q).abs()
    slopes = (behind / (gamma * p)).requires_grad_()
    (pays,) = torch.autograd.grad(gamma / 2 * optimum.slope_penalty(objective, slopes), slopes)
    torch.testing.assert_close(len(slopes) * pays * p, behind)


def test_the_value_of_wgan_gp_at_its_best_critic(laws):
    """The gap less the penalty, which overstates W₁ = 2 by half as much as the gap does."""
    objective = make_objective(choice({"name": "wgan_gp"}))
    scores, gap = optimum.best_critic(objective, *laws)
    slopes = torch.diff(scores, prepend=scores[:1]).abs() / STEP
    penalty = 10 * optimum.integral(optimum.between() * (slopes - 1).square())
    assert gap - penalty == pytest.approx(2.10631, abs=5e-6)


# The smallest game


def eigenvalues(**value):
    found = dirac_game.equilibrium(make_objective(choice(value)))
    return [complex(round(e.real, 6), round(e.imag, 6)) for e in found.eigenvalues], found


def damped(strength, frequency):
    """−strength ± √(strength² − frequency²)."""
    root = np.sqrt(complex(strength**2 - frequency**2))
    return [-strength + root, -strength - root]


@pytest.mark.parametrize(
    ("value", "expected", "phi", "of_phi"),
    [
        ({"name": "minimax"}, damped(0, 0.5), 0, -0.5),
        ({"name": "nonsaturating"}, damped(0, 0.5), 0, -0.5),
        ({"name": "lsgan"}, damped(0, 0.5), 0.5, -2),
        ({**optimal_critic.PEARSON}, [0, 0], 0, -2),
        ({"name": "hinge"}, damped(0, 1), 0, 0),
        ({"name": "wgan"}, damped(0, 1), 0, 0),
        ({"name": "fgan"}, damped(0, 1), 1, -1),
        ({"name": "fgan", "divergence": "reverse_kl"}, damped(0, 1), 0, -1),
        ({"name": "fgan", "divergence": "pearson"}, damped(0, 1), 0, -0.5),
        ({"name": "fgan", "divergence": "hellinger"}, damped(0, 1), 0, -2),
        ({"name": "fgan", "divergence": "js"}, damped(0, 0.5), 0, -0.5),
        *(({"name": "r1", "gamma": g}, damped(g / 2, 0.5), 0, -0.5) for g in (0.3, 1.0, 10.0)),
        *(({"name": "rpgan_r1r2", "gamma": g}, damped(g, 0.5), 0, 0) for g in (0.2, 0.5, 1.0)),
        ({"name": "wgan_gp", "target": 0.0, "penalty_weight": 0.4}, damped(0.4, 1), 0, 0),
        # the critical one
        ({"name": "wgan_gp", "target": 0.0, "penalty_weight": 1.0}, damped(1, 1), 0, 0),
        ({"name": "wgan_gp", "sided": "one"}, damped(0, 1), 0, 0),
        ({"name": "wgan_div"}, damped(0, 1), 0, 0),
        ({"name": "relativistic_average"}, damped(0, 0.5), 0, 0),
        ({"name": "relativistic_average", "base": "least_squares"}, damped(0, 2), 0, 0),
        ({"name": "relativistic_average", "base": "hinge"}, damped(0, 1), 0, 0),
    ],
)
def test_eigenvalues_at_the_solution(value, expected, phi, of_phi):
    found, resting = eigenvalues(**value)
    assert found == pytest.approx(expected, abs=1e-5)
    assert resting.theta == 0
    assert resting.phi == pytest.approx(phi, abs=1e-6)
    assert resting.of_phi == pytest.approx(of_phi, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "theta"),
    [
        ({"name": "wgan_gp"}, 20),
        ({"name": "wgan_gp", "penalty_weight": 2.0, "target": 0.5}, 2),
        ({"name": "wgan_fdgp"}, 20),
    ],
)
def test_a_two_sided_penalty_rests_elsewhere(value, theta):
    """At 2λK, with the eigenvalues −λ ± √(λ² − 1)."""
    found, resting = eigenvalues(**value)
    assert resting.theta == pytest.approx(theta, abs=1e-4)
    assert found == pytest.approx(damped(value.get("penalty_weight", 10.0), 1), abs=1e-4)


def test_the_flow_ends_there_and_that_of_a_one_sided_penalty_does_not():
    two_sided = make_objective(choice({"name": "wgan_gp"}))
    for psi in (1.0, -1.0):
        end = dirac_game.flow(two_sided, (1.0, psi, 0.0), np.array([0.0, 120.0]))[-1]
        assert end[0] == pytest.approx(20 * psi, abs=0.1)
    one_sided = make_objective(choice({"name": "wgan_gp", "sided": "one"}))
    for radius in (0.5, 1.0, 2.0, 5.0):
        start = (radius / 2**0.5, radius / 2**0.5, 0.0)
        end = dirac_game.flow(one_sided, start, np.array([0.0, 60.0]))[-1]
        assert math.hypot(*end[:2]) == pytest.approx(min(radius, 1), abs=5e-4), "min(R₀, K)"


def test_dragan_rests_elsewhere_too():
    """Its penalty pulls twice as strongly as the loss, whose slope is ½: at 4λK."""
    for weight in (10.0, 1.0):
        _, resting = eigenvalues(name="dragan", penalty_weight=weight)
        assert resting.theta == pytest.approx(4 * weight, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "d_steps"), [(0.05, 1), (0.05, 5), (0.02, 1), (0.02, 5)])
def test_steps_in_turn_end_where_the_flow_of_a_two_sided_penalty_does(rate, d_steps):
    objective = make_objective(choice({"name": "wgan_gp"}))
    steps = round(125 / rate)
    recipe = Recipe("sgd", rate)
    found = dirac_game.path(objective, (1.0, 1.0, 0.0), recipe, steps, d_steps=d_steps)
    assert 19.87 < found[-1][0] <= 20.001


def test_the_flow_of_the_standard_games():
    """Minimax keeps θ² + ψ²; the non-saturating one loses it as 1/(1/R₀² + t/8) where φ rests."""
    times = np.array([0.0, 10.0, 100.0, 300.0, 1000.0])
    minimax, nonsaturating = (
        make_objective(choice({"name": name})) for name in ("minimax", "nonsaturating")
    )

    def solved(objective, times):
        def without_phi(_, state):
            return dirac_game.field(objective, torch.tensor([*state, 0.0]).double())[:2].numpy()

        end = times[-1]
        found = solve_ivp(without_phi, (0, end), [1, 1], "LSODA", times, rtol=1e-8, atol=1e-10)
        return (found.y**2).sum(0)

    assert solved(minimax, times[:3]) == pytest.approx(2, rel=1e-6)
    ratios = solved(nonsaturating, times) * (1 / 2 + times / 8)
    assert ratios[1:] == pytest.approx([0.984, 1.007, 1.001, 1], abs=6e-4)


def test_paths_are_the_suites_own_steps():
    """Simultaneous descent on xy: ‖·‖ grows by √(1 + h²) a step; in turn it does not."""
    wgan_gp = make_objective(choice({"name": "wgan_gp", "penalty_weight": 0.0}))
    recipe = Recipe("sgd", 0.1)
    at_once = dirac_game.path(wgan_gp, (1.0, 1.0, 0.0), recipe, 50, simultaneous=True)
    expected = 2**0.5 * 1.01 ** (np.arange(51) / 2)
    np.testing.assert_allclose(np.hypot(*at_once.T), expected, rtol=1e-5)
    in_turn = dirac_game.path(wgan_gp, (1.0, 1.0, 0.0), recipe, 500)
    assert np.hypot(*in_turn.T).max() < 1.6


def played(rule, x, steps=400):
    """The factor per step, over the second half, of a rule that plays min over a, max over b of
    ab with step length x."""
    a, b = before = np.array([1.0, 1.0])
    sizes = []
    for _ in range(steps):
        da, db = -b, a
        if rule == "simultaneous":
            a, b = a + x * da, b + x * db
        elif rule == "alternating":
            b = b + x * db
            a = a - x * b
        elif rule == "extragradient":
            half = a + x * da, b + x * db
            a, b = a - x * half[1], b + x * half[0]
        elif rule == "optimistic":
            now = np.array([a, b])
            a, b = a + x * (2 * da + before[1]), b + x * (2 * db - before[0])
            before = now
        elif rule == "consensus":
            # down the squared norm of the field as well, whose gradient is (a, b)
            a, b = a + x * (da - a), b + x * (db - b)
        sizes.append(math.hypot(a, b))
    return (sizes[-1] / sizes[steps // 2 - 1]) ** (1 / (steps - steps // 2))


@pytest.mark.parametrize(
    "rule", ["simultaneous", "alternating", "extragradient", "optimistic", "consensus"]
)
def test_the_factors_of_the_update_rules_are_those_of_played_games(rule):
    x = np.array([0.1, 0.3, 0.5, 0.9])
    factors = dirac_game.moduli(x)[rule]
    assert factors == pytest.approx([played(rule, step) for step in x], rel=0.01)


def test_where_the_update_rules_begin_to_leave():
    """Alternating from x = 2 on, or 2/√n with n critic steps; optimistic from 1/√3; extragradient
    from 1."""
    edges = {"alternating": 2.0, "optimistic": 1 / 3**0.5, "extragradient": 1.0}
    for rule, edge in edges.items():
        inside, outside = dirac_game.moduli(edge * np.array([0.999, 1.001]))[rule]
        assert inside < 1 + 1e-9
        assert outside > 1 + 1e-5
    wgan_gp = make_objective(choice({"name": "wgan_gp", "penalty_weight": 0.0}))
    for d_steps in (1, 4):
        for share, is_bounded in ((0.95, True), (1.05, False)):
            recipe = Recipe("sgd", share * 2 / d_steps**0.5)
            found = dirac_game.path(wgan_gp, (1.0, 1.0, 0.0), recipe, 60, d_steps=d_steps)
            assert bool(np.abs(found).max() < 50) == is_bounded


def test_an_average_follows_a_circle_on_a_smaller_one():
    assert dirac_game.averaged_radius(0.99, 0.05) == pytest.approx(0.1970856, abs=1e-7)
    turns = np.exp(0.05j * np.arange(3000))
    average = 0
    for turn in turns:
        average = 0.99 * average + 0.01 * turn
    assert abs(average) == pytest.approx(0.1970856, rel=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "minimax"},
        {"name": "wgan_gp"},
        pytest.param(optimal_critic.PEARSON, marks=pytest.mark.slow),
        pytest.param({"name": "wgan_fdgp"}, marks=pytest.mark.slow),
    ],
)
def test_a_trained_critic_reaches_the_optimum(value):
    row = optimal_critic.measure(value, 1000, 512).iloc[0]
    assert row["error"] < 0.05
    assert row["value"] == pytest.approx(row["exact_value"], rel=0.05)


def test_without_the_penalty_the_value_is_no_distance():
    """λ next to 0, planted: the critic's slope, and with it the value, is whatever training made
    it."""
    row = optimal_critic.measure({"name": "wgan_gp", "penalty_weight": 1e-6}, 100, 256).iloc[0]
    assert row["value"] > 3 * row["w1"]


# Measures on planted critics


def test_contrast_of_a_paraboloid():
    """E|x + n|² − E|x|² = 2σ² in the plane."""
    data = 0.1 * torch.randn(
        4000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    fall = value_surfaces.contrast(lambda x: -x.square().sum(1), data)
    assert fall == pytest.approx(2 * value_surfaces.NEARBY**2, rel=0.05)
    assert value_surfaces.contrast(lambda x: x[:, 0], data) == pytest.approx(0, abs=1e-3), (
        "a plane has none"
    )


def test_gradients_by_layer_of_a_critic_of_equal_weights():
    """All weights c, all activations positive: each layer back multiplies the gradient by c times
    the width."""
    D = make_critic({"name": "wgan"}, (2,), width=8, depth=5)
    with torch.no_grad():
        for name, parameter in D.named_parameters():
            parameter.fill_(0.05 if name.endswith("weight") else 0)
    found = depth.gradients(D, torch.ones(4, 2), torch.ones(4, 2))
    assert len(found) == 6
    assert found[-1] == pytest.approx(math.sqrt(8 / 16))  # eight samples, each by 1/4
    np.testing.assert_allclose(np.divide(found[:-2], found[1:-1]), 0.05 * 8, rtol=1e-6)
    assert D.out.weight.dtype == torch.float32, "measured on a copy"


def test_the_first_clip_alone_fills_the_ends():
    """Uniform weights of He's standard deviation at 512 units reach to √3·√(2/512); clipped, 1 − c
    ÷ that are at ±c."""
    found = {
        start: weights.measure({"name": "wgan"}, start, 2).query("step == 0")["at_clip"].iloc[0]
        for start in ("usual", "inside")
    }
    assert found["usual"] == pytest.approx(1 - 0.01 / math.sqrt(6 / 512), abs=0.005)
    assert found["inside"] == 0


def test_slopes_between_are_those_of_the_critic():
    real, fake = torch.randn(2, 32, 3, generator=torch.Generator().manual_seed(0))
    found = slopes_between(lambda x: x @ torch.tensor([2.0, 0, -1]), real, fake, torch.Generator())
    torch.testing.assert_close(found, torch.full((32,), math.sqrt(5)))


def snapshots(**facts):
    return lambda *args, **kwargs: iter([SimpleNamespace(samples_seen=64, g_steps=1, **facts)])


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (lambda modes: modes.centres[[0]].repeat(2000, 1), (1, 1, 1.0)),
        (lambda modes: modes.centres.repeat(250, 1), (8, 8, 1.0)),
        (
            lambda modes: 0.9 * modes.centres.repeat(250, 1),
            (8, 0, 0.0),
        ),  # nearest to it, not within 3 σ
        (
            lambda modes: torch.cat(
                [modes.centres[[0]].repeat(1976, 1), modes.centres[[3]].repeat(24, 1)]
            ),
            (1, 1, 1.0),
        ),
        (
            lambda modes: torch.cat(
                [modes.centres[[0]].repeat(1975, 1), modes.centres[[3]].repeat(25, 1)]
            ),
            (2, 2, 1.0),
        ),
    ],
)
def test_modes_are_reached_and_covered(place, expected, monkeypatch):
    points = place(load("datasets", "gaussians8").Dataset().modes())
    monkeypatch.setattr(mode_collapse, "run", snapshots(sample=lambda n: points))
    row = mode_collapse.measure({"name": "lsgan"}, 0, 10, 8).iloc[0]
    assert (row["reached"], row["covered"], row["quality"]) == expected


@pytest.mark.parametrize("knows_by_heart", [True, False])
def test_a_critic_that_knows_its_images_by_heart_has_moved_the_others(knows_by_heart, monkeypatch):
    data = load("datasets", "digits").Dataset()
    to_floats = floats_of(data)
    known = to_floats(data.train()).flatten(1)
    if not knows_by_heart:
        known = torch.cat([known, to_floats(data.holdout()).flatten(1)])

    def D(x):
        return (
            torch.cdist(x.flatten(1), known, compute_mode=EXACT).min(dim=1).values < 1e-3
        ).float()

    generated = torch.randint(
        0, 256, (1000, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    cell = SimpleNamespace(dataset=Choice("digits"))
    monkeypatch.setattr(
        overfitting, "run", snapshots(D=D, cell=cell, sample=lambda n: generated[:n])
    )
    row = overfitting.measure({"name": "lsgan"}, 0, {"name": "digits"}, 10, 8).iloc[0]
    assert row["moved"] == pytest.approx(1.0 if knows_by_heart else 0.0)
    assert (row["d_loss_holdout"] > row["d_loss_train"]) == knows_by_heart


def text_of(codes, softness):
    """Text (n, L, 3): one-hot, with a share of the weight spread over the other characters."""
    hard = torch.nn.functional.one_hot(torch.tensor(codes), 3).float()
    return hard * (1 - 1.5 * softness) + softness / 2


def test_a_critic_that_sees_hardness_alone_sees_nothing_in_hardened_samples():
    real = text_of([[0, 1], [1, 2], [2, 0]], 0)
    fake = text_of([[0, 0], [0, 0], [0, 1]], 0.5)
    seen = one_hot.separation(lambda x: x.square().sum((1, 2)) + x[:, 0, 0] / 100, real, fake)
    assert seen["hardness"] == pytest.approx(1, abs=0.02)
    assert seen["distinct"] == pytest.approx(2 / 3)
    # probabilities 0.5, 0.25, 0.25
    assert seen["entropy"] == pytest.approx(1.5)


def test_a_critic_that_reads_sees_as_much_in_hardened_samples():
    def counts_zeros(x):
        return -(x.argmax(2) == 0).float().sum(1)

    real = text_of([[0, 1], [1, 2], [2, 1]], 0)
    fake = text_of([[0, 0], [0, 0], [0, 1]], 0.5)
    seen = one_hot.separation(counts_zeros, real, fake)
    assert seen["hardness"] == 0
    assert seen["margin"] == pytest.approx((5 / 3 - 1 / 3) / (1 / 3) ** 0.5)
    assert math.isnan(one_hot.separation(counts_zeros, real, real)["hardness"])


def test_penalties_of_linear_critics():
    frame = penalty.measure("linear", values=penalty.forms())
    of = frame.set_index(["dimensions", "form"])["value"]
    two_sided = [form for form in of[1.0].index if "signed" not in form and "linear" not in form]
    np.testing.assert_allclose(
        of[1.0][two_sided], 4.0, rtol=1e-6
    )  # in one dimension every direction is the gradient's
    for form, value in of[64.0].items():
        sees_all = form.startswith("wgan_gp") or "pairs" not in form
        assert (
            value == pytest.approx(2.0 if "sided=linear" in form else 4.0)
            if sees_all
            else value < 2
        )


def test_the_difference_along_the_gradient_of_a_smooth_critic():
    frame = penalty.measure("step", values=penalty.forms(), activation="tanh", width=32)
    initial = frame[frame["state"] == "initial"].set_index(["form", "epsilon"])["cosine"]
    along = initial["wgan_fdgp"]
    assert (along.loc[along.index <= 0.1] > 0.99).all()
    assert along.loc[0.003] > 0.9999
    assert initial["wgan_gp[method=jvp]"].iloc[0] == pytest.approx(1, abs=1e-9)


def test_what_a_penalty_keeps_for_its_backward_pass():
    """Real and generated samples pass the critic once; two more points as often again; the end
    points are those."""
    frame = penalty.measure(
        "cost", values=penalty.forms(), depth=2, width=16, compiled=False
    ).set_index("form")
    kept = frame["kept_mb"] / frame["kept_mb"]["none"]
    assert kept["wgan_fdgp[pairs=segment]"] == pytest.approx(2, rel=0.1)
    assert kept["wgan_fdgp[pairs=endpoint]"] == pytest.approx(1, rel=0.1)
    assert kept["wgan_gp"] > 1.5
    assert (frame["over_none"] > 0).all()


def test_forms_are_all_that_the_objectives_offer():
    labels = [choice(form).label for form in penalty.forms()]
    assert len(labels) == len(set(labels)) == 5 * 2 + 2 + 3 * 2
    assert "wgan_fdgp[pairs=segment,sided=signed]" in labels
    assert "wgan_fdgp[pairs=local,sided=signed]" not in labels, "it means nothing"
    bounded = {choice(value).name for value in bounding()}
    assert bounded == {
        *("dragan", "hinge", "r1", "rpgan_r1r2"),
        *("wgan", "wgan_div", "wgan_fdgp", "wgan_gp"),
    }


def test_the_mark_of_consensus():
    """−γ/4 ± i/2 on the rotation by ω = ½, of which γω = 1 is drawn."""
    rates = np.array([0.1, 0.5, 1.0])
    expected = np.abs(1 + rates * (-2 / 4 + 0.5j))
    np.testing.assert_allclose(dirac_game.moduli(rates / 2)["consensus"], expected, rtol=1e-12)
