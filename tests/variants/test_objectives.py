"""Every loss against its closed form in float64 (SCIENCE: s is a score, σ the sigmoid)."""

import dataclasses
import math

import pytest
import torch

from tests.helpers.critics import LinearCritic, SmoothCritic
from variants.objectives import hinge, lsgan, minimax, nonsaturating, wgan, wgan_fdgp, wgan_gp

PAIRS = ("gradient", "independent", "segment", "local", "endpoint")


def identity(scores):
    """A critic whose samples are their own scores."""
    return scores


def generator_gradient(objective, scores):
    """d loss / d score, per sample: the loss is a mean over the batch."""
    fake = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    loss = objective.g_loss(identity, torch.zeros_like(fake), fake)
    return torch.autograd.grad(loss, fake)[0] * len(fake)


def data(n=32, shape=(6,), seed=0):
    generator = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, n, *shape, generator=generator, dtype=torch.float64)
    return real + 1, fake, generator


def parameter_gradient(loss, D):
    found = torch.autograd.grad(loss, list(D.parameters()), allow_unused=True)
    return torch.cat([torch.zeros(1) if g is None else g.flatten() for g in found])


# Losses and generator gradients in closed form

SCORES = [-3.0, -0.5, 0.0, 1.0, 4.0]


def sigma(s):
    return 1 / (1 + math.exp(-s))


@pytest.mark.parametrize(
    ("objective", "gradient"),
    [
        (minimax.Objective(), lambda s: -sigma(s)),
        (nonsaturating.Objective(), lambda s: -sigma(-s)),
        (lsgan.Objective(), lambda s: s - 1),
        (lsgan.Objective(a=-1, b=1, c=0), lambda s: s),
        (wgan.Objective(), lambda s: -1.0),
        (wgan_gp.Objective(), lambda s: -1.0),
        (wgan_fdgp.Objective(), lambda s: -1.0),
        (hinge.Objective(), lambda s: -1.0),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_generator_gradient(objective, gradient):
    expected = torch.tensor([gradient(s) for s in SCORES], dtype=torch.float64)
    torch.testing.assert_close(
        generator_gradient(objective, SCORES), expected, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    ("objective", "d_loss", "g_loss"),
    [
        (
            minimax.Objective(),
            math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)),
            -math.log1p(math.exp(-1)),
        ),
        (
            nonsaturating.Objective(),
            math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)),
            math.log1p(math.exp(1)),
        ),
        (lsgan.Objective(), 0.5 * (2 - 1) ** 2 + 0.5 * (-1) ** 2, 0.5 * (-1 - 1) ** 2),
        (
            lsgan.Objective(a=-1, b=1, c=0),
            0.5 * (2 - 1) ** 2 + 0.5 * (-1 + 1) ** 2,
            0.5 * (-1) ** 2,
        ),
        (wgan.Objective(), -1 - 2, 1.0),
        (hinge.Objective(), 0.0, 1.0),
        (hinge.Objective(margin=3), (3 - 2) + (3 - 1), 1.0),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_loss_at_scores_2_and_minus_1(objective, d_loss, g_loss):
    real, fake = (
        torch.full((4,), 2.0, dtype=torch.float64),
        torch.full((4,), -1.0, dtype=torch.float64),
    )
    assert objective.d_loss(identity, real, fake).item() == pytest.approx(d_loss, rel=1e-12)
    assert objective.g_loss(identity, real, fake).item() == pytest.approx(g_loss, rel=1e-12)


def test_minimax_and_nonsaturating_differ_in_where_they_vanish():
    mm, ns = minimax.Objective(), nonsaturating.Objective()
    assert (
        generator_gradient(mm, [-12.0]).abs().item()
        < 1e-5
        < 0.99
        < generator_gradient(ns, [-12.0]).abs().item()
    )
    assert (
        generator_gradient(ns, [12.0]).abs().item()
        < 1e-5
        < 0.99
        < generator_gradient(mm, [12.0]).abs().item()
    )
    assert generator_gradient(lsgan.Objective(), [-12.0, 12.0]).abs().min().item() > 10


def test_the_hinge_teaches_the_critic_only_inside_the_margin():
    scores = torch.tensor([-3.0, -0.5, 0.5, 3.0], dtype=torch.float64)
    real, fake = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    gradients = torch.autograd.grad(hinge.Objective().d_loss(identity, real, fake), (real, fake))
    assert (4 * gradients[0]).tolist() == [-1, -1, -1, 0]
    assert (4 * gradients[1]).tolist() == [0, 1, 1, 1]


# Clipping


def test_only_the_clipped_objective_says_a_bound_and_only_there_a_matrix_sets_it():
    for module in (hinge, lsgan, minimax, nonsaturating, wgan_fdgp, wgan_gp):
        assert module.Objective().clip is None
        assert "clip" not in {field.name for field in dataclasses.fields(module.Objective)}
    assert wgan.Objective(clip=0.02).clip == 0.02


def test_clipping_reaches_every_parameter():
    D = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.GroupNorm(1, 4),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 1),
    )
    wgan.Objective(clip=0.01).after_d_step(D)
    for name, parameter in D.named_parameters():
        assert parameter.abs().max() <= 0.01, name
    assert D[1].weight.eq(0.01).all(), "the scale of a norm starts at 1 and is clipped, too"


def test_the_long_critic_phases_are_an_option():
    assert wgan.Objective().d_steps(0) == 5
    long = wgan.Objective(long_critic_phases=True)
    assert [long.d_steps(step) for step in (0, 24, 25, 499, 500, 1000)] == [
        100,
        100,
        5,
        5,
        100,
        100,
    ]


# The exact penalty


@pytest.mark.parametrize("method", ["double_backward", "jvp"])
@pytest.mark.parametrize(
    ("sided", "expected"),
    [
        ("two", lambda n: (n - 1) ** 2),
        ("one", lambda n: max(0, n - 1) ** 2),
        ("linear", lambda n: max(0, n - 1)),
    ],
)
@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_penalty_of_a_linear_critic(method, sided, expected, norm):
    direction = torch.tensor([1.0, 2.0, -2.0, 0.0, 0.0, 0.0], dtype=torch.float64) / 3
    D = LinearCritic((norm * direction).tolist())
    real, fake, _ = data()
    found = wgan_gp.Objective(sided=sided, method=method).penalty(D, real, fake)
    assert found.item() == pytest.approx(expected(norm), rel=1e-9, abs=1e-12)
    scores = D(fake).mean() - D(real).mean()
    loss = wgan_gp.Objective(sided=sided, method=method).d_loss(D, real, fake)
    assert loss.item() == pytest.approx((scores + 10 * expected(norm)).item(), rel=1e-9)


def test_penalty_is_per_sample():
    """A critic of slope 0.5 on one half of the batch and 1.5 on the other has penalty 0.25, not 0:
    one norm over the whole batch, or over the mean gradient, would miss it."""
    slopes = torch.tensor([0.5, 1.5] * 16, dtype=torch.float64)

    def critic(x):
        return slopes * x[:, 0]

    real, fake, _ = data()
    assert wgan_gp.Objective().penalty(critic, real, fake).item() == pytest.approx(0.25, rel=1e-9)
    fd = wgan_fdgp.Objective().penalty(critic, real, fake)
    assert fd.item() == pytest.approx(0.25, rel=1e-9)


def test_penalty_norm_runs_over_all_dimensions_but_the_batch():
    def critic(x):
        return x.sum(dim=(1, 2, 3))

    real, fake, _ = data(shape=(3, 4, 4))
    assert wgan_gp.Objective().penalty(critic, real, fake).item() == pytest.approx(
        (math.sqrt(48) - 1) ** 2, rel=1e-9
    )


def test_interpolates_lie_between_their_own_pair():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x[:, 0]

    real, fake, generator = data(8)
    objective = wgan_gp.Objective()
    (alpha,) = objective.draw(real, generator)
    objective.penalty(critic, real, fake, (alpha,))
    torch.testing.assert_close(seen[0], real * (1 - alpha[:, None]) + fake * alpha[:, None])
    assert ((alpha >= 0) & (alpha <= 1)).all()
    assert alpha.unique().numel() == 8


def test_second_order_gradient_against_finite_differences():
    D = SmoothCritic(3, width=8)
    real, fake, generator = data(5, (3,))
    objective = wgan_gp.Objective()
    noise = objective.draw(real, generator)
    exact = parameter_gradient(objective.penalty(D, real, fake, noise), D)
    numeric, step = [], 1e-6
    with torch.no_grad():
        for parameter in D.parameters():
            for i in range(parameter.numel()):
                values = []
                for sign in (1, -1):
                    parameter.view(-1)[i] += sign * step
                    with torch.enable_grad():
                        values.append(objective.penalty(D, real, fake, noise).item())
                    parameter.view(-1)[i] -= sign * step
                numeric.append((values[0] - values[1]) / (2 * step))
    torch.testing.assert_close(
        exact, torch.tensor(numeric, dtype=torch.float64), rtol=1e-5, atol=1e-7
    )


def test_jvp_has_the_value_and_gradient_of_double_backward():
    D = SmoothCritic(6, scale=3)
    real, fake, generator = data()
    noise = wgan_gp.Objective().draw(real, generator)
    first, second = (
        wgan_gp.Objective(method=method).penalty(D, real, fake, noise)
        for method in ("double_backward", "jvp")
    )
    assert first.item() == pytest.approx(second.item(), rel=1e-10)
    torch.testing.assert_close(
        parameter_gradient(first, D), parameter_gradient(second, D), rtol=1e-8, atol=1e-10
    )


# The finite-difference penalty


def closed_form_quotients(pairs, w, real, fake, noise):
    """What |D(x1) − D(x2)| / ‖x1 − x2‖ is for D(x) = w·x, from the points' definition."""
    (alpha, second), *direction = noise
    point = lambda a, r=real, f=fake: r + a[:, None] * (f - r)  # noqa: E731
    if pairs == "gradient":
        return w.norm().expand(len(real))
    if pairs == "independent":
        difference = point(alpha) - point(second).roll(1, 0)
    elif pairs == "segment":
        difference = (alpha - second)[:, None] * (fake - real)
    elif pairs == "local":
        difference = direction[0]
    else:
        difference = real - fake
    return (difference @ w).abs() / difference.norm(dim=1)


@pytest.mark.parametrize("sided", ["two", "one"])
@pytest.mark.parametrize("pairs", PAIRS)
def test_fdgp_of_a_linear_critic(pairs, sided):
    w = torch.tensor([2.0, -1.0, 0.5, 1.0, 0.0, 0.3], dtype=torch.float64)
    D, (real, fake, generator) = LinearCritic(w.tolist()), data()
    objective = wgan_fdgp.Objective(pairs=pairs, sided=sided)
    noise = objective.draw(real, generator)
    excess = closed_form_quotients(pairs, w, real, fake, noise) - 1
    expected = (excess.relu() if sided == "one" else excess).square().mean().item()
    assert objective.penalty(D, real, fake, noise).item() == pytest.approx(expected, rel=1e-7)
    scores = (D(fake).mean() - D(real).mean()).item()
    assert objective.d_loss(D, real, fake, noise).item() == pytest.approx(
        scores + 10 * expected, rel=1e-7
    )


@pytest.mark.parametrize("pairs", ["segment", "endpoint"])
def test_signed_fdgp_tells_a_slope_of_the_wrong_sign(pairs):
    fake = torch.randn(16, 2, dtype=torch.float64)
    real = fake + torch.tensor([3.0, 0.0], dtype=torch.float64)  # the data lies to the right
    objective = wgan_fdgp.Objective(pairs=pairs, sided="signed")
    right, wrong = LinearCritic([1.0, 0.0]), LinearCritic([-1.0, 0.0])
    assert objective.penalty(right, real, fake).item() == pytest.approx(0, abs=1e-12)
    assert objective.penalty(wrong, real, fake).item() == pytest.approx(4, rel=1e-9)
    assert wgan_fdgp.Objective(pairs=pairs).penalty(wrong, real, fake).item() == pytest.approx(
        0, abs=1e-12
    )


@pytest.mark.parametrize("pairs", ["gradient", "independent", "local"])
def test_signed_fdgp_is_refused_where_there_is_no_sign(pairs):
    with pytest.raises(ValueError, match=f"not pairs={pairs}"):
        wgan_fdgp.Objective(pairs=pairs, sided="signed")


@pytest.mark.parametrize("activation", [torch.tanh, torch.nn.functional.silu], ids=["tanh", "silu"])
def test_fdgp_along_the_gradient_is_the_exact_penalty_on_a_smooth_critic(activation):
    D, (real, fake, generator) = SmoothCritic(6, activation=activation, scale=1.5), data(256)
    fd = wgan_fdgp.Objective(epsilon=0.1)
    noise = fd.draw(real, generator)
    approximate = fd.penalty(D, real, fake, noise)
    exact = wgan_gp.Objective().penalty(D, real, fake, (noise[0][0],))
    assert approximate.item() == pytest.approx(exact.item(), rel=0.02)
    cosine = torch.cosine_similarity(
        parameter_gradient(approximate, D), parameter_gradient(exact, D), dim=0
    )
    assert cosine.item() >= 0.99


def test_fdgp_along_the_gradient_is_the_exact_penalty_inside_one_linear_region():
    leaky = lambda x: torch.nn.functional.leaky_relu(x, 0.2)  # noqa: E731
    D, (real, fake, generator) = SmoothCritic(6, activation=leaky, scale=2), data(64)
    fd = wgan_fdgp.Objective(epsilon=1e-6)  # crosses no kink
    noise = fd.draw(real, generator)
    approximate = fd.penalty(D, real, fake, noise)
    exact = wgan_gp.Objective().penalty(D, real, fake, (noise[0][0],))
    assert approximate.item() == pytest.approx(exact.item(), rel=1e-5)
    cosine = torch.cosine_similarity(
        parameter_gradient(approximate, D), parameter_gradient(exact, D), dim=0
    )
    assert cosine.item() >= 0.999


@pytest.mark.parametrize("pairs", PAIRS)
def test_fdgp_survives_points_that_coincide(pairs):
    """The distance is floored: no NaN where real and fake are equal, nor on a critic that is
    flat."""
    objective = wgan_fdgp.Objective(pairs=pairs)
    same = torch.zeros(8, 6, dtype=torch.float64)
    flat = LinearCritic([0.0] * 6)
    loss = objective.d_loss(flat, same, same)
    assert loss.isfinite()
    assert parameter_gradient(loss, flat).isfinite().all()


def test_finite_differences_run_in_full_precision_under_autocast():
    seen = []

    class Recorder(torch.nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            seen.append(out.dtype)
            return out.squeeze(1)

    D, real, fake = Recorder(6, 1), torch.randn(8, 6), torch.randn(8, 6)
    with torch.autocast("cpu", torch.bfloat16):
        wgan_fdgp.Objective().penalty(D, real, fake)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize(
    "make",
    [
        lambda: wgan.Objective(clip=0),
        lambda: wgan_fdgp.Objective(epsilon=-1),
        lambda: wgan_gp.Objective(critic_steps=0),
    ],
)
def test_impossible_parameters_are_refused(make):
    with pytest.raises(ValueError, match="not"):
        make()
