"""Wasserstein GAN with gradient penalty (WGAN-GP)."""

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
    interpolate,
    norms,
)


@dataclass(frozen=True)
class Objective(Base):
    """Wasserstein GAN with gradient penalty (WGAN-GP), Gulrajani et al. 2017 (arXiv:1704.00028),
    eq. 3, algorithm 1.

    min over D:   E D(x̃) − E D(x) + λ E(‖∇D(x̂)‖₂ − K)², x̂ = x + α(x̃ − x), α ~ U[0, 1] per sample
    min over G:  −E D(x̃)

    The norm runs over all non-batch dimensions, with no ε under the root. `sided`: two (above), one
    (max(0, ‖∇‖ − K)²) or linear (max(0, ‖∇‖ − K)). `method`: double_backward differentiates the
    input gradient; jvp takes ‖∇D‖ = ∇D·u along u = ∇D/‖∇D‖ held constant, by forward mode: the same
    value and, since u maximises ∇D·u over unit vectors, the same parameter gradient, with no second
    backward pass. Adam β₁ = 0 as in algorithm 1, and as in the authors' scripts for 64×64 and for
    the ResNet; their scripts for points, MNIST, CIFAR-10 (DCGAN) and text use 0.5.
    """

    penalty_weight: float = 10.0
    """λ: weight of the penalty."""

    target: float = 1.0
    """K: the slope that costs nothing."""

    sided: Literal["two", "one", "linear"] = "two"
    """Whether slopes below the target cost something (two), or only those above it."""

    method: Literal["double_backward", "jvp"] = "double_backward"
    """How the gradient of the penalty is computed."""

    drift: float = 0.0
    """ε: adds ε E D(x)², which fixes the constant of the scores; Karras et al. 2018
    (arXiv:1710.10196) have 0.001."""

    critic_steps: int = 5

    recipe = Recipe("adam", lr=1e-4, betas=(0.0, 0.9))
    per_sample_penalty = True
    search = {"penalty_weight": Searched(Log(0.1, 100.0), Log(0.1, 10.0))}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.penalty_weight < 0:
            raise ValueError(f"penalty_weight must not be negative, not {self.penalty_weight}")
        if self.drift < 0:
            raise ValueError(f"drift must not be negative, not {self.drift}")

    def draw(self, real: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        return (torch.rand(len(real), device=real.device, dtype=real.dtype, generator=generator),)

    def d_terms(
        self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None
    ) -> Iterator[Tensor]:
        yield D(fake).mean()
        yield real_term(D(real), self.drift)
        yield self.penalty_weight * self.penalty(D, real, fake, noise)

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return -D(fake).mean()

    def penalty(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        (alpha,) = noise or self.draw(real)
        excess = self.slopes(D, interpolate(real, fake, alpha)) - self.target
        if self.sided == "two":
            return excess.square().mean()
        if self.sided == "one":
            return excess.relu().square().mean()
        return excess.relu().mean()

    def slopes(self, D: Critic, x: Tensor) -> Tensor:
        """‖∇D(x)‖₂ per sample, (batch,), differentiable in the critic's parameters."""
        gradient = differentiate(D, x, create_graph=self.method == "double_backward")[1]
        if self.method == "double_backward":
            return norms(gradient)
        u = gradient / along(x, norms(gradient).clamp_min(1e-12))
        return torch.func.jvp(D, (x.detach(),), (u,))[1]


def real_term(scores: Tensor, drift: float) -> Tensor:
    """−E s + ε E s² of the scores of real samples, (batch,)."""
    if not drift:
        return -scores.mean()
    return drift * scores.square().mean() - scores.mean()
