"""The objectives beyond the six, against implementations written from their papers in float64."""

import math

import pytest
import torch
from torch import nn

from tests.helpers.critics import LinearCritic, SmoothCritic
from variants.objectives import (
    dragan,
    fgan,
    lsgan,
    nonsaturating,
    r1,
    relativistic_average,
    rpgan_r1r2,
    wgan_div,
    wgan_fdgp,
)

DIVERGENCES = ("kl", "reverse_kl", "pearson", "hellinger", "js")
BASES = ("logistic", "least_squares", "hinge")
DIM = 6


def slope(D, x):
    """∇D(x) of a SmoothCritic by the chain rule, (batch, DIM)."""
    first = torch.tanh(x @ D.first.weight.T + D.first.bias)
    second = torch.tanh(first @ D.second.weight.T + D.second.bias)
    back = D.last.weight[0] * (1 - second**2)
    back = (back @ D.second.weight) * (1 - first**2)
    return back @ D.first.weight


def squared(D, x):
    return (slope(D, x) ** 2).sum(1)


# The losses as their papers have them: log-probabilities, an activation and its conjugate, means.
# s, t: scores of real and of generated samples


def log_sigma(t):
    return -torch.log1p(torch.exp(-t))


def minus_log_likelihood(s, t):
    return -log_sigma(s).mean() - log_sigma(-t).mean()


F_GAN = {
    "kl": (lambda v: v, lambda t: torch.exp(t - 1)),
    "reverse_kl": (lambda v: -torch.exp(-v), lambda t: -1 - torch.log(-t)),
    "pearson": (lambda v: v, lambda t: t**2 / 4 + t),
    "hellinger": (lambda v: 1 - torch.exp(-v), lambda t: t / (1 - t)),
    "js": (
        lambda v: math.log(2) - torch.log(1 + torch.exp(-v)),
        lambda t: -torch.log(2 - torch.exp(t)),
    ),
}


def f_gan(divergence, alternative):
    activation, conjugate = F_GAN[divergence]

    def d_loss(D, x, fake, noise):
        return -(activation(D(x)).mean() - conjugate(activation(D(fake))).mean())

    def g_loss(D, x, fake):
        if alternative:
            return -activation(D(fake)).mean()
        return -conjugate(activation(D(fake))).mean()

    return fgan.Objective(divergence=divergence, alternative=alternative), d_loss, g_loss


def zero_centred(objective):
    def penalty(D, x, fake):
        at = {"real": [x], "fake": [fake], "both": [x, fake], "none": []}[objective.penalised]
        return objective.gamma / 2 * sum(squared(D, points).mean() for points in at)

    return penalty


def regularised(penalised):
    objective = r1.Objective(penalised=penalised)
    penalty = zero_centred(objective)
    return (
        objective,
        lambda D, x, fake, noise: minus_log_likelihood(D(x), D(fake)) + penalty(D, x, fake),
        lambda D, x, fake: -log_sigma(D(fake)).mean(),
    )


def paired(penalised):
    gamma = {} if penalised == "none" else {"gamma": 0.7}
    objective = rpgan_r1r2.Objective(penalised=penalised, **gamma)
    penalty = zero_centred(objective)
    return (
        objective,
        lambda D, x, fake, noise: -log_sigma(D(x) - D(fake)).mean() + penalty(D, x, fake),
        lambda D, x, fake: -log_sigma(D(fake) - D(x)).mean(),
    )


def averaged(base):
    def losses(s, t):
        """Of the critic and of the generator, as the appendix of the paper lists them."""
        real, fake = s - t.mean(), t - s.mean()
        if base == "logistic":
            critic = -log_sigma(real).mean() - log_sigma(-fake).mean()
            generator = -log_sigma(fake).mean() - log_sigma(-real).mean()
        elif base == "least_squares":
            critic = ((real - 1) ** 2).mean() + ((fake + 1) ** 2).mean()
            generator = ((fake - 1) ** 2).mean() + ((real + 1) ** 2).mean()
        else:
            zero = torch.zeros(())
            critic = torch.maximum(zero, 1 - real).mean() + torch.maximum(zero, 1 + fake).mean()
            generator = torch.maximum(zero, 1 - fake).mean() + torch.maximum(zero, 1 + real).mean()
        return critic / 2, generator / 2

    return (
        relativistic_average.Objective(base=base),
        lambda D, x, fake, noise: losses(D(x), D(fake))[0],
        lambda D, x, fake: losses(D(x), D(fake))[1],
    )


def around_the_data():
    def d_loss(D, x, fake, seed):
        generator = torch.Generator().manual_seed(seed)
        alpha = torch.rand(len(x), 1, generator=generator, dtype=x.dtype)
        u = torch.rand(x.shape, generator=generator, dtype=x.dtype)
        std = ((x - x.mean()) ** 2).mean().sqrt()
        perturbed = x + 0.5 * std * u
        point = x + alpha * (perturbed - x)
        penalty = ((squared(D, point).sqrt() - 1) ** 2).mean()
        return minus_log_likelihood(D(x), D(fake)) + 10 * penalty

    return dragan.Objective(), d_loss, lambda D, x, fake: -log_sigma(D(fake)).mean()


def divergence_of_wasserstein():
    def d_loss(D, x, fake, seed):
        alpha = torch.rand(len(x), 1, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
        between = (1 - alpha) * x + alpha * fake
        return D(fake).mean() - D(x).mean() + 2 * (squared(D, between) ** 3).mean()

    return wgan_div.Objective(), d_loss, lambda D, x, fake: -D(fake).mean()


INDEPENDENT = [
    *(f_gan(name, alternative) for name in DIVERGENCES for alternative in (False, True)),
    *(regularised(penalised) for penalised in ("real", "fake", "both")),
    *(paired(penalised) for penalised in ("both", "real", "fake", "none")),
    *(averaged(base) for base in BASES),
    around_the_data(),
    divergence_of_wasserstein(),
]


def shown(value):
    """The name of a parameter of a test."""
    return "" if callable(value) else str(value)


def gradient(loss, network):
    """The gradient in all parameters of a network, (n,)."""
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True)
    return torch.cat([part.flatten() for part in found])


@pytest.mark.parametrize(
    ("objective", "d_loss", "g_loss"),
    INDEPENDENT,
    ids=shown,
)
def test_both_gradients_are_those_of_the_papers_losses(objective, d_loss, g_loss):
    generator = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, 16, DIM, generator=generator, dtype=torch.float64)
    D = SmoothCritic(DIM, scale=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        G = nn.Linear(DIM, DIM).double()
    fake = G(z).detach()
    noise = objective.draw(x, torch.Generator().manual_seed(7))
    ours, theirs = objective.d_loss(D, x, fake, noise), d_loss(D, x, fake, 7)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    torch.testing.assert_close(gradient(ours, D), gradient(theirs, D), rtol=1e-9, atol=1e-12)
    ours, theirs = objective.g_loss(D, x, G(z), noise), g_loss(D, x, G(z))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    found = gradient(ours, G)
    torch.testing.assert_close(found, gradient(theirs, G), rtol=1e-9, atol=1e-12)
    assert found.abs().max() > 1e-6


# Closed forms


def scores_gradient(objective, scores, real=0.0):
    """d generator loss / d score, per sample; every real sample has the score `real`."""
    fake = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    loss = objective.g_loss(lambda x: x, torch.full_like(fake, real), fake)
    return (torch.autograd.grad(loss, fake)[0] * len(fake)).tolist()


def sigma(s):
    return 1 / (1 + math.exp(-s))


@pytest.mark.parametrize(
    ("objective", "slope_of"),
    [
        (r1.Objective(), lambda s: -sigma(-s)),
        (dragan.Objective(), lambda s: -sigma(-s)),
        (wgan_div.Objective(), lambda s: -1),
        # the real samples have the score ½
        (rpgan_r1r2.Objective(), lambda s: -sigma(-(s - 0.5))),
        (fgan.Objective("kl"), lambda s: -math.exp(s - 1)),
        (fgan.Objective("reverse_kl"), lambda s: -1),
        (fgan.Objective("pearson"), lambda s: -(s / 2 + 1)),
        (fgan.Objective("hellinger"), lambda s: -math.exp(s)),
        (fgan.Objective("js"), lambda s: -sigma(s)),
        (fgan.Objective("kl", alternative=True), lambda s: -1),
        (fgan.Objective("reverse_kl", alternative=True), lambda s: -math.exp(-s)),
        (fgan.Objective("pearson", alternative=True), lambda s: -1),
        (fgan.Objective("hellinger", alternative=True), lambda s: -math.exp(-s)),
        (fgan.Objective("js", alternative=True), lambda s: -sigma(-s)),
    ],
    ids=shown,
)
def test_generator_gradient(objective, slope_of):
    scores = [-3.0, -0.5, 0.0, 1.0, 4.0]
    expected = [slope_of(score) for score in scores]
    assert scores_gradient(objective, scores, real=0.5) == pytest.approx(expected, rel=1e-12)


W = torch.tensor([1.0, 2.0, -2.0, 0.0, 0.0, 0.0], dtype=torch.float64)  # of norm 3


@pytest.mark.parametrize(
    ("objective", "penalty", "weighted"),
    [
        (r1.Objective(gamma=4), 9, 18),
        (r1.Objective(gamma=4, penalised="fake"), 9, 18),
        (r1.Objective(gamma=4, penalised="both"), 18, 36),
        (rpgan_r1r2.Objective(gamma=0.5), 18, 4.5),
        (rpgan_r1r2.Objective(gamma=0.5, penalised="real"), 9, 2.25),
        (dragan.Objective(), 4, 40),
        (dragan.Objective(target=2), 1, 10),
        (wgan_div.Objective(), 3**6, 2 * 3**6),
        (wgan_div.Objective(power=3), 27, 54),
    ],
    ids=str,
)
def test_penalty_of_a_linear_critic(objective, penalty, weighted):
    real, fake = torch.randn(2, 8, 6, dtype=torch.float64)
    D = LinearCritic(W.tolist())
    noise = objective.draw(real)
    assert objective.penalty(D, real, fake, noise).item() == pytest.approx(penalty, rel=1e-12)
    flat = LinearCritic([0.0] * 6)
    at_zero = objective.d_loss(flat, real, fake, noise) - objective.d_loss(D, real, fake, noise)
    scores = nonsaturating_or_gap(objective, D, real, fake)
    at_flat = nonsaturating_or_gap(objective, flat, real, fake)
    flat_penalty = objective.penalty(flat, real, fake, noise).item()
    weight = weighted / penalty
    assert at_zero.item() == pytest.approx(at_flat - scores + weight * (flat_penalty - penalty))


def nonsaturating_or_gap(objective, D, real, fake):
    """The critic's loss without its penalty."""
    s, t = D(real), D(fake)
    if isinstance(objective, rpgan_r1r2.Objective):
        return -log_sigma(s - t).mean().item()
    if isinstance(objective, wgan_div.Objective):
        return (t.mean() - s.mean()).item()
    return minus_log_likelihood(s, t).item()


def test_without_penalties_there_is_none():
    real, fake = torch.randn(2, 8, 6, dtype=torch.float64)
    assert (
        rpgan_r1r2.Objective(penalised="none").penalty(LinearCritic([1.0] * 6), real, fake) is None
    )


@pytest.mark.parametrize("objective", [r1.Objective(), rpgan_r1r2.Objective()], ids=str)
def test_a_batch_is_scored_once_for_loss_and_penalty(objective):
    seen = []

    def D(x):
        seen.append(x)
        return x.square().sum(1)

    real, fake = torch.randn(2, 4, 6)
    objective.d_loss(D, real, fake)
    assert len(seen) == 2


def test_the_js_divergence_is_the_standard_gan():
    real, fake = torch.randn(2, 32, dtype=torch.float64)
    js, standard = fgan.Objective("js", alternative=True), nonsaturating.Objective()
    d_loss = standard.d_loss(lambda x: x, real, fake) - 2 * math.log(2)
    assert js.d_loss(lambda x: x, real, fake).item() == pytest.approx(d_loss.item())
    g_loss = standard.g_loss(lambda x: x, real, fake) - math.log(2)
    assert js.g_loss(lambda x: x, real, fake).item() == pytest.approx(g_loss.item())


def test_nothing_is_clamped():
    high = torch.full((4,), 200.0)
    assert fgan.Objective("kl").d_loss(lambda x: x, high, high).item() == math.inf


# Pairs and means


def test_pairs_have_the_same_place_in_their_batches():
    real, fake = torch.tensor([[5.0, 0.0], [1.0, 5.0]], dtype=torch.float64)
    objective = rpgan_r1r2.Objective(penalised="none")
    expected = (math.log1p(math.exp(-4)) + math.log1p(math.exp(5))) / 2
    assert objective.d_loss(lambda x: x, real, fake).item() == pytest.approx(expected)


def test_a_generator_step_of_several_batches_pairs_every_real_sample_with_one_of_each():
    real, fake = torch.randn(4, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    objective = rpgan_r1r2.Objective()
    halves = [objective.g_loss(lambda x: x, real, half) for half in fake.split(4)]
    whole = objective.g_loss(lambda x: x, real, fake)
    assert whole.item() == pytest.approx((sum(halves) / 2).item(), rel=1e-12)


@pytest.mark.parametrize(
    "objective",
    [*(relativistic_average.Objective(base) for base in BASES), rpgan_r1r2.Objective()],
    ids=str,
)
def test_only_differences_of_scores_count(objective):
    real, fake = torch.randn(2, 16, 6, dtype=torch.float64)
    for loss in (objective.d_loss, objective.g_loss):
        low, high = (loss(lambda x, c=c: x[:, 0] + c, real, fake).item() for c in (0.0, 5.0))
        assert low == pytest.approx(high, rel=1e-12)


def test_against_the_mean_of_one_sample_is_a_pair():
    real, fake = torch.randn(2, 1, dtype=torch.float64)
    average, pair = relativistic_average.Objective(), rpgan_r1r2.Objective(penalised="none")
    for name in ("d_loss", "g_loss"):
        ours, theirs = (getattr(o, name)(lambda x: x, real, fake) for o in (average, pair))
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)


@pytest.mark.parametrize("base", BASES)
def test_the_average_couples_a_batch_through_its_means_alone(base):
    """At the same means the loss is a part of the real scores plus a part of the generated ones."""
    objective = relativistic_average.Objective(base)
    reals = torch.tensor([[0.3, 1.0, -1.0], [2.3, -2.4, 0.4]], dtype=torch.float64)
    fakes = torch.tensor([[0.2, 0.5, -0.7], [-1.4, 1.3, 0.1]], dtype=torch.float64)
    loss = [[objective.d_loss(lambda x: x, r, f).item() for f in fakes] for r in reals]
    assert loss[0][0] + loss[1][1] == pytest.approx(loss[0][1] + loss[1][0], rel=1e-12)


@pytest.mark.parametrize("base", BASES)
def test_the_critic_lowers_every_generated_score_and_raises_every_real_one(base):
    """The published code of the relativistic average losses has the sign of the second term
    wrong."""
    real, fake = (torch.randn(2, 16, dtype=torch.float64) / 4).requires_grad_().unbind()
    objective = relativistic_average.Objective(base)
    to_real, to_fake = torch.autograd.grad(objective.d_loss(lambda x: x, real, fake), (real, fake))
    assert (to_real < 0).all()
    assert (to_fake > 0).all()
    to_fake = torch.autograd.grad(objective.g_loss(lambda x: x, real, fake), fake)[0]
    assert (to_fake < 0).all()


# What is drawn


def test_the_points_of_dragan_lie_in_a_box_on_one_side_of_the_data():
    real = torch.randn(512, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (displacement,) = dragan.Objective(radius=2).draw(real, torch.Generator().manual_seed(1))
    reach = 2 * ((real - real.mean()) ** 2).mean().sqrt()
    assert displacement.shape == real.shape
    assert displacement.min() >= 0
    assert 0.98 * reach < displacement.max() <= reach
    # α and u are independent and uniform: E αu = ¼
    assert displacement.mean().item() == pytest.approx(reach.item() / 4, rel=0.05)


# The optimum over all pairs


def test_the_value_of_the_pairing_game_at_its_best_critic():
    """s = log p/q + c is best for all pairs; the value is log 2 − JS(p⊗q ‖ q⊗p)."""
    x = torch.linspace(-8, 9, 681, dtype=torch.float64)
    p, q = (torch.distributions.Normal(*law) for law in ((-1.0, 1.0), (1.0, 1.2)))
    weights = torch.outer(p.log_prob(x).exp(), q.log_prob(x).exp()) * (17 / 680) ** 2
    objective = rpgan_r1r2.Objective(penalised="none")

    def of_pair(real, fake):
        return objective.d_loss(lambda scores: scores, real[None], fake[None])

    def value(scores):
        over_fakes = torch.func.vmap(of_pair, in_dims=(None, 0))
        losses = torch.func.vmap(over_fakes, in_dims=(0, None))(scores, scores)
        return (weights * losses).sum().item()

    best = p.log_prob(x) - q.log_prob(x)
    assert value(best) == pytest.approx(0.2375617, abs=1e-7)
    assert value(best + 3) == pytest.approx(value(best), rel=1e-12)
    assert value(best) < min(value(0.95 * best), value(1.05 * best))


@pytest.mark.parametrize(
    "make",
    [
        lambda: r1.Objective(gamma=-1),
        lambda: rpgan_r1r2.Objective(gamma=-1),
        lambda: rpgan_r1r2.Objective(gamma=2, penalised="none"),
        lambda: wgan_fdgp.Objective(epsilon=0.2, pairs="segment"),
        lambda: lsgan.Objective(b=0, real_label=0.9),
        lambda: dragan.Objective(radius=-1),
        lambda: dragan.Objective(penalty_weight=-1),
        lambda: wgan_div.Objective(power=1),
        lambda: wgan_div.Objective(penalty_weight=-1),
        lambda: fgan.Objective(critic_steps=0),
    ],
)
def test_impossible_parameters_are_refused(make):
    with pytest.raises(ValueError, match="not"):
        make()
