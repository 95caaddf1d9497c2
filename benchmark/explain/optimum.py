"""The exact best critic of an objective for two known laws, found on the objective's own code.

p = N(−1, 1) is the data, q = N(1, 1.2²) the generated samples; densities, scores and slopes are
tensors on X, (3201,), in float64."""

import math
from typing import Any

import torch
from torch import Tensor

REAL = torch.distributions.Normal(-1.0, 1.0)
FAKE = torch.distributions.Normal(1.0, 1.2)
X = torch.linspace(-8, 8, 3201, dtype=torch.float64)
STEP = 16 / 3200
STEEPEST = 100.0  # the largest slope that is looked for
SCORES = 200.0  # the largest score that is looked for


def best_critic(objective: Any, p: Tensor, q: Tensor) -> tuple[Tensor, float]:
    """The optimal scores on X and their value, by numerical integration; NaN where neither rule
    applies."""
    if separable(objective):
        scores = best_scores(objective, p, q)
        return scores, pointwise(objective, scores, p, q)
    if penalises_slope(objective):
        slopes = best_slopes(objective, p, q)
        scores = -slopes.cumsum(0) * STEP
        return scores, integral(slopes * cumulative(p - q))
    return torch.full_like(X, math.nan), math.nan


def best_slopes(objective: Any, p: Tensor, q: Tensor) -> Tensor:
    """The slopes g on X that minimise λ ρ h(|g|) − |P − Q| |g|, with the sign of P − Q; h is the
    penalty of one sample, which is convex. Where its derivative never reaches |P − Q| / (λ ρ), as
    it may under a linear penalty, the slope is STEEPEST."""
    difference = cumulative(p - q)  # P − Q
    wanted = difference.abs() / (objective.penalty_weight * between())
    low = torch.zeros_like(X)
    high = torch.full_like(X, STEEPEST)
    for _ in range(60):
        middle = ((low + high) / 2).requires_grad_()
        (derivative,) = torch.autograd.grad(slope_penalty(objective, middle), middle)
        is_below = len(X) * derivative < wanted
        middle = middle.detach()
        low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
    return difference.sign() * low


def best_scores(objective: Any, p: Tensor, q: Tensor) -> Tensor:
    """The scores on X that minimise a separable loss, which is convex in each of them: by halving
    the interval in which its derivative changes sign."""
    low = torch.full_like(X, -SCORES)
    high = torch.full_like(X, SCORES)
    for _ in range(60):
        middle = ((low + high) / 2).requires_grad_()
        loss = terms(objective, middle, p / (p + q), q / (p + q)).sum()
        (slope,) = torch.autograd.grad(loss, middle)
        middle = middle.detach()
        low, high = torch.where(slope < 0, middle, low), torch.where(slope < 0, high, middle)
    return low


def separable(objective: Any) -> bool:
    """Whether the critic's loss has a minimum and is a mean over scores of real samples plus one
    over scores of generated samples: no penalty, no pairs, no clipping."""
    if objective.per_sample_penalty or objective.clip is not None:
        return False

    def loss(real: float, fake: float) -> float:
        return objective.d_loss(lambda x: x, torch.tensor([real]), torch.tensor([fake])).item()

    straight = loss(0.3, 0.7) + loss(-1.1, 0.2)
    crossed = loss(0.3, 0.2) + loss(-1.1, 0.7)
    return math.isclose(straight, crossed, abs_tol=1e-5)


def shifts(objective: Any) -> bool:
    """Whether the critic's loss stays the same when a constant is added to all scores."""
    real = torch.tensor([[0.3], [0.1]])
    fake = torch.tensor([[-0.2], [0.4]])
    noise = objective.draw(real, torch.Generator().manual_seed(0))

    def loss(constant: float) -> float:
        return objective.d_loss(lambda x: x[:, 0] + constant, real, fake, noise).item()

    return math.isclose(loss(0.0), loss(3.0), abs_tol=1e-5)


def slope_penalty(objective: Any, slopes: Tensor) -> Tensor:
    """The penalty of a batch whose every sample has a linear critic of its own: their slopes are
    `slopes`, (n,)."""
    generator = torch.Generator().manual_seed(0)
    real = _sample(REAL, len(slopes), generator)
    fake = _sample(FAKE, len(slopes), generator)
    noise = objective.draw(real, generator)
    penalty: Tensor = objective.penalty(lambda x: slopes * x[:, 0], real, fake, noise)
    return penalty


def penalises_slope(objective: Any) -> bool:
    """Whether the critic's loss is the score gap and a penalty on ‖∇D(x̂)‖ over x̂ between
    independent pairs: the critic x²/2, whose slope is x, pays as linear critics of such slopes."""
    if not (objective.per_sample_penalty and shifts(objective) and is_a_gap(objective)):
        return False
    generator = torch.Generator().manual_seed(0)
    real = _sample(REAL, 200_000, generator)
    fake = _sample(FAKE, 200_000, generator)
    noise = objective.draw(real, generator)
    penalty = objective.penalty(lambda x: x[:, 0].square() / 2, real, fake, noise)
    alpha = torch.rand(200_000, generator=generator, dtype=torch.float64)
    between_pairs = (real + alpha[:, None] * (fake - real))[:, 0]
    expected = slope_penalty(objective, between_pairs.abs())
    return math.isclose(penalty.item(), expected.item(), rel_tol=0.1)


def asks_for_unit_slope(objective: Any) -> bool:
    """Whether the critic's loss is a score gap with a penalty that a linear critic of slope 1 does
    not pay, and one of slope 3 does: its best gap is about the Wasserstein distance."""
    if not (objective.per_sample_penalty and is_a_gap(objective)):
        return False
    unit, steep = (torch.full((8,), slope, dtype=torch.float64) for slope in (1.0, 3.0))
    return bool(slope_penalty(objective, unit) < 1e-6 < slope_penalty(objective, steep))


def is_a_gap(objective: Any) -> bool:
    """Whether the critic's loss is E D(x̃) − E D(x) and λ times its penalty."""
    real, fake = torch.randn(2, 4, 1, generator=torch.Generator().manual_seed(0))
    noise = objective.draw(real, torch.Generator().manual_seed(0))
    D = torch.flatten  # the sample is its own score
    penalty = objective.penalty(D, real, fake, noise)
    weight = getattr(objective, "penalty_weight", math.nan)
    loss = D(fake).mean() - D(real).mean() + (0 if penalty is None else weight * penalty)
    return math.isclose(objective.d_loss(D, real, fake, noise).item(), loss.item(), rel_tol=1e-5)


def _sample(law: torch.distributions.Normal, n: int, generator: torch.Generator) -> Tensor:
    """n samples of a law, (n, 1), in float64."""
    uniform = torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return law.icdf(uniform.clamp_min(1e-7))


def between() -> Tensor:
    """The density on X of x̂ = x + α(x̃ − x), x and x̃ independent, α uniform on [0, 1]."""
    alpha = (torch.arange(400, dtype=torch.float64) + 0.5)[:, None] / 400
    mean = (1 - alpha) * REAL.mean + alpha * FAKE.mean
    std = ((1 - alpha).square() * REAL.variance + alpha.square() * FAKE.variance).sqrt()
    return torch.distributions.Normal(mean, std).log_prob(X).exp().mean(0)


def terms(objective: Any, scores: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """p(x) ℓ(real, s(x)) + q(x) ℓ(generated, s(x)) of a separable loss, on X."""
    zero = torch.zeros(1, dtype=torch.float64)
    zeros = torch.zeros_like(scores)
    loss_at_zero = objective.d_loss(lambda x: x, zero, zero)

    def pair(real: Tensor, fake: Tensor) -> Tensor:
        return objective.d_loss(lambda x: x, real[None], fake[None])

    losses = torch.func.vmap(pair)
    of_real = p * (losses(scores, zeros) - loss_at_zero)
    of_fake = q * (losses(zeros, scores) - loss_at_zero)
    return of_real + of_fake + (p + q) / 2 * loss_at_zero


def pointwise(objective: Any, scores: Tensor, p: Tensor, q: Tensor) -> float:
    """The critic's loss on the two laws, by integration; NaN for a loss that is not separable."""
    return integral(terms(objective, scores, p, q)) if separable(objective) else math.nan


def gap(scores: Tensor, p: Tensor, q: Tensor) -> float:
    """Mean score of the data less that of the generated samples."""
    return integral(p * scores) - integral(q * scores)


def js(p: Tensor, q: Tensor) -> float:
    """The Jensen–Shannon divergence of two densities on X, nats."""
    middle = (p + q) / 2
    from_p = integral(torch.special.xlogy(p, p / middle))
    from_q = integral(torch.special.xlogy(q, q / middle))
    return (from_p + from_q) / 2


def density(law: torch.distributions.Normal) -> Tensor:
    """The density of a law on X."""
    return law.log_prob(X).exp()


def cumulative(values: Tensor) -> Tensor:
    """The integral of values on X from its left end to each point, by the trapezoidal rule."""
    return (values.cumsum(0) - (values + values[0]) / 2) * STEP


def integral(values: Tensor) -> float:
    """The integral of values on X."""
    return (values.sum() * STEP).item()
