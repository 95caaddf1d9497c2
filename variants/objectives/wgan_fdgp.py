"""Wasserstein GAN with a finite-difference gradient penalty (WGAN-FDGP)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from variants.objectives import (
    Base,
    Critic,
    Log,
    Noise,
    Recipe,
    Searched,
    along,
    differentiate,
    full_precision,
    interpolate,
    norms,
)
from variants.objectives.wgan_gp import real_term

FLOOR = 1e-6  # of the distance between two points


@dataclass(frozen=True)
class Objective(Base):
    """Wasserstein GAN with a finite-difference gradient penalty: WGAN-GP (arXiv:1704.00028) without
    double backward.

    min over D:   E D(x̃) − E D(x) + λ E(|D(x̂₁) − D(x̂₂)| / ‖x̂₁ − x̂₂‖₂ − 1)²
    min over G:  −E D(x̃)

    `pairs` says where the two points come from, with x̂ = x + α(x̃ − x), α ~ U[0, 1]:
    gradient     x̂₂ = x̂₁ + ε ∇D(x̂₁)/‖∇D(x̂₁)‖, the direction held constant: sees the whole slope
                 in the first order; its parameter gradient is below
    independent  two draws, each from a real–fake pair of its own (the form first proposed)
    segment      two α on the same pair: the mean slope between them
    local        x̂₂ = x̂₁ + ε · a random direction
    endpoint     the real and the fake sample themselves, whose scores are known: nearly free
    Except along the gradient the quotient q is only a lower bound of the slope.

    Along the gradient, a smooth critic gives the exact penalty's parameter gradient up to O(ε)
    (envelope theorem), and a ReLU critic gives exactly that inside one linear region. Across kinks
    the two gradients differ: double backward leaves out what moving a kink contributes, the finite
    difference samples it, with a variance of order 1/ε. Cosine of the two for the 32×32 `dcgan`
    critic at its initial weights, batch 64: .36 at ε = .1 and .13 at ε = .01 without norm; .6 to .8
    and .1 to .4, by seed, with layer norm, which the penalty gives it.

    `sided`: two (above), one (max(0, q − 1)²), or signed (segment and endpoint: q oriented from
    fake to real, so that a slope of the wrong sign does not satisfy it). Optimiser and λ are those
    of WGAN-GP.
    """

    penalty_weight: float = 10.0
    """λ: weight of the penalty."""

    pairs: Literal["gradient", "independent", "segment", "local", "endpoint"] = "gradient"
    """Where the two points of a difference come from."""

    sided: Literal["two", "one", "signed"] = "two"
    """Which quotients cost something: all but 1 (two), or those above 1 (one)."""

    epsilon: float = 0.1
    """ε: distance of the two points of `gradient` and `local`, for data in [−1, 1] and for one-hot
    text."""

    drift: float = 0.0
    """ε: adds ε E D(x)², as in WGAN-GP."""

    critic_steps: int = 5

    recipe = Recipe("adam", lr=1e-4, betas=(0.0, 0.9))
    per_sample_penalty = True
    float32_penalty = True
    search = {"penalty_weight": Searched(Log(0.1, 100.0), Log(0.1, 10.0))}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sided == "signed" and self.pairs not in ("segment", "endpoint"):
            raise ValueError(
                f"sided=signed needs pairs=segment or pairs=endpoint, not pairs={self.pairs}"
            )
        if self.epsilon < FLOOR:
            raise ValueError(f"epsilon must be at least {FLOOR}, not {self.epsilon}")
        if self.pairs not in ("gradient", "local") and self.epsilon != Objective.epsilon:
            raise ValueError(
                f"epsilon = {self.epsilon} is not read: it needs pairs=gradient or pairs=local, "
                f"not pairs={self.pairs}"
            )
        if self.penalty_weight < 0:
            raise ValueError(f"penalty_weight must not be negative, not {self.penalty_weight}")
        if self.drift < 0:
            raise ValueError(f"drift must not be negative, not {self.drift}")

    @property
    def least_batch(self) -> int:
        # Independent points come from two pairs
        return 2 if self.pairs == "independent" else 1

    def draw(self, real: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        alpha = torch.rand(2, len(real), device=real.device, dtype=real.dtype, generator=generator)
        if self.pairs != "local":
            return (alpha,)
        direction = torch.randn(
            real.shape, device=real.device, dtype=real.dtype, generator=generator
        )
        return alpha, direction / along(real, norms(direction))

    def d_terms(
        self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None
    ) -> Iterator[Tensor]:
        if self.pairs == "endpoint":
            yield self._endpoint_loss(D, real, fake)
            return
        yield real_term(D(real), self.drift)
        yield D(fake).mean()
        yield self.penalty_weight * self.penalty(D, real, fake, noise)

    def _endpoint_loss(self, D: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The whole loss: the penalty uses the scores of the other terms."""
        with full_precision(real):
            d_real = D(real)
            d_fake = D(fake)
        penalty = self._penalise(d_real - d_fake, norms(real - fake))
        gap = d_fake.mean() + real_term(d_real, self.drift)
        return gap + self.penalty_weight * penalty

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return -D(fake).mean()

    def penalty(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        (alpha, second), *direction = noise or self.draw(real)
        with full_precision(real):
            x1 = interpolate(real, fake, alpha)
            if self.pairs == "gradient":
                return self._along_gradient(D, x1)
            if self.pairs == "independent":
                x2 = interpolate(real, fake, second).roll(1, 0)
            elif self.pairs == "segment":
                # x1 is the point nearer to the real sample
                x1 = interpolate(real, fake, torch.minimum(alpha, second))
                x2 = interpolate(real, fake, torch.maximum(alpha, second))
            elif self.pairs == "local":
                x2 = x1 + self.epsilon * direction[0]
            else:
                x1 = real
                x2 = fake
            return self._penalise(D(x1) - D(x2), norms(x1 - x2))

    def _along_gradient(self, D: Critic, x1: Tensor) -> Tensor:
        d_x1, gradient = differentiate(D, x1)
        x2 = x1 + self.epsilon * gradient / along(x1, norms(gradient).clamp_min(1e-12))
        return self._penalise(D(x2) - d_x1, norms(x2 - x1))

    def _penalise(self, difference: Tensor, distance: Tensor) -> Tensor:
        """The mean penalty of the quotients difference / distance, both (batch,), in float32 or
        better; the distance is at least FLOOR."""
        precise = torch.promote_types(difference.dtype, torch.float32)
        quotient = difference.to(precise) / distance.clamp_min(FLOOR)
        if self.sided != "signed":
            quotient = quotient.abs()
        excess = quotient - 1
        if self.sided == "one":
            excess = excess.relu()
        return excess.square().mean()
