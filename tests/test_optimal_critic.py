"""On two known 1-D densities a trained critic reaches what theory says of it, by numerical integration."""

import math

import pytest
import torch
from torch import nn

from variants.objectives import lsgan, minimax, wgan_fdgp, wgan_gp

GRID = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
STEP = 16 / 4000
QUANTILES = (torch.arange(2048, dtype=torch.float64) + 0.5) / 2048  # stratified samples: little Monte-Carlo noise


def normal(mean, std):
    law = torch.distributions.Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))
    return law, law.log_prob(GRID[:, 0]).exp()


def train_critic(objective, real_law, fake_law, steps, lr, width=64, decay=True):
    torch.manual_seed(0)
    D = nn.Sequential(nn.Linear(1, width), nn.Softplus(), nn.Linear(width, width), nn.Softplus(), nn.Linear(width, 1))
    D.double()
    critic = lambda x: D(x).squeeze(1)  # noqa: E731
    optimizer = torch.optim.Adam(D.parameters(), lr, (0.5, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        real = real_law.icdf(QUANTILES)[torch.randperm(2048)][:, None]
        fake = fake_law.icdf(QUANTILES)[torch.randperm(2048)][:, None]
        optimizer.zero_grad()
        objective.d_loss(critic, real, fake).backward()
        optimizer.step()
        schedule.step()
    return critic


def integral(values):
    return (values.sum() * STEP).item()


def test_minimax_critic_is_the_log_density_ratio_and_its_value_the_js_divergence():
    (real, p), (fake, q) = normal(-1.0, 1.0), normal(1.0, 1.2)
    D = train_critic(minimax.Objective(), real, fake, 800, 2e-2)
    with torch.no_grad():
        scores = D(GRID)
    middle = (p + q) / 2
    js = (integral(p * (p / middle).log()) + integral(q * (q / middle).log())) / 2
    value = -integral(p * nn.functional.softplus(-scores)) - integral(q * nn.functional.softplus(scores))
    assert value == pytest.approx(-2 * math.log(2) + 2 * js, rel=0.05)
    assert value <= -2 * math.log(2) + 2 * js + 1e-9, "no critic exceeds the optimum"
    typical = middle > 0.01
    error = (torch.sigmoid(scores) - p / (p + q))[typical].abs().max()
    assert error < 0.05


@pytest.mark.parametrize(("a", "b", "c"), [(0, 1, 1), (-1, 1, 0)])
def test_lsgan_critic_is_the_weighted_label(a, b, c):
    (real, p), (fake, q) = normal(-1.0, 1.0), normal(1.0, 1.2)
    D = train_critic(lsgan.Objective(a=a, b=b, c=c), real, fake, 800, 2e-2)
    with torch.no_grad():
        scores = D(GRID)
    typical = (p + q) / 2 > 0.01
    assert (scores - (b * p + a * q) / (p + q))[typical].abs().max() < 0.05 * (b - a)


@pytest.mark.parametrize("objective", [wgan_gp.Objective(penalty_weight=200), wgan_fdgp.Objective(penalty_weight=200)])
def test_penalised_critic_reaches_the_wasserstein_distance(objective):
    """W₁ of two laws of equal shape is the distance of their means. For two points Δ apart the penalty's own optimum
    has slope 1 + Δ/(2λ): at Δ = 3, λ = 200 the bias is 0.75 %."""
    distance = 3.0
    (real, p), (fake, q) = normal(-1.5, 1.0), normal(1.5, 1.0)
    D = train_critic(objective, real, fake, 600, 1e-2)
    with torch.no_grad():
        scores = D(GRID)
    assert integral(p * scores) - integral(q * scores) == pytest.approx(distance, rel=0.05)


def test_without_the_penalty_the_value_is_no_distance():
    """λ = 0, planted: the critic's slope, and with it the value, is whatever training made it."""
    (real, p), (fake, q) = normal(-1.5, 1.0), normal(1.5, 1.0)
    D = train_critic(wgan_gp.Objective(penalty_weight=0), real, fake, 200, 1e-2)
    with torch.no_grad():
        scores = D(GRID)
    assert integral(p * scores) - integral(q * scores) > 2 * 3.0
