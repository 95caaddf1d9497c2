"""DRAGAN: the non-saturating GAN with a gradient penalty around the real samples."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from variants.objectives import (
    Base,
    Critic,
    Log,
    Noise,
    Recipe,
    Searched,
    along,
    differentiate,
    norms,
)


@dataclass(frozen=True)
class Objective(Base):
    """DRAGAN, Kodali et al. 2017 (arXiv:1705.07215), with the noise of the authors' code.

    min over D:  E softplus(−D(x)) + E softplus(D(x̃)) + λ E(‖∇D(x + δ)‖₂ − K)²
    min over G:  E softplus(−D(x̃))

    δ = α · r · std · u with α ~ U[0, 1] per sample, u ~ U[0, 1] per number, and std the standard
    deviation of all numbers of the real batch together. u is never negative, as in the authors'
    code. With a Wasserstein loss these points are another objective, which other libraries call
    DRAGAN. Optimiser and batch size (128) are the authors'."""

    penalty_weight: float = 10.0
    """λ: weight of the penalty."""

    target: float = 1.0
    """K: the slope that costs nothing."""

    radius: float = 0.5
    """r: how far the points lie from the real samples, at most, in standard deviations."""

    critic_steps: int = 1

    recipe = Recipe("adam", lr=1e-4, betas=(0.5, 0.9))
    per_sample_penalty = True
    search = {"penalty_weight": Searched(Log(0.1, 100.0), Log(0.1, 10.0))}
    sigmoid = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("penalty_weight", "radius"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")

    def draw(self, real: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        alpha = torch.rand(len(real), device=real.device, dtype=real.dtype, generator=generator)
        u = torch.rand(real.shape, device=real.device, dtype=real.dtype, generator=generator)
        return (along(real, alpha) * self.radius * real.std(correction=0) * u,)

    def d_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        loss = softplus(-D(real)).mean() + softplus(D(fake)).mean()
        return loss + self.penalty_weight * self.penalty(D, real, fake, noise)

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return softplus(-D(fake)).mean()

    def penalty(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        (displacement,) = noise or self.draw(real)
        gradient = differentiate(D, real + displacement, create_graph=True)[1]
        return (norms(gradient) - self.target).square().mean()
