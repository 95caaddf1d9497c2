"""Wasserstein divergence GAN (WGAN-div): a power of the slope is penalised, with no target."""

from dataclasses import dataclass

import torch
from torch import Tensor

from variants.objectives import (
    Base,
    Critic,
    Log,
    Noise,
    Recipe,
    Searched,
    differentiate,
    interpolate,
    norms,
)
from variants.objectives.wgan_gp import real_term


@dataclass(frozen=True)
class Objective(Base):
    """Wasserstein divergence GAN (WGAN-div), Wu et al. 2018 (arXiv:1712.01026).

    min over D:   E D(x̃) − E D(x) + k E‖∇D(x̂)‖₂ᵖ,  x̂ = x + α(x̃ − x), α ~ U[0, 1] per sample
    min over G:  −E D(x̃)

    The best critic's score gap is no Wasserstein distance. k and p are the paper's; the optimiser
    and the four critic steps are those of the authors' script, whose k is 10."""

    penalty_weight: float = 2.0
    """k: weight of the penalty."""

    power: float = 6.0
    """p: the power of the slope that is penalised."""

    drift: float = 0.0
    """ε: adds ε E D(x)², which fixes the constant of the scores (Karras et al. 2018,
    arXiv:1710.10196)."""

    critic_steps: int = 4

    recipe = Recipe("adam", lr=2e-4, betas=(0.0, 0.9))
    per_sample_penalty = True
    search = {"penalty_weight": Searched(Log(0.1, 100.0), Log(0.1, 10.0))}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.penalty_weight < 0:
            raise ValueError(f"penalty_weight must not be negative, not {self.penalty_weight}")
        if self.power <= 1:
            raise ValueError(f"power must be greater than 1, not {self.power}")
        if self.drift < 0:
            raise ValueError(f"drift must not be negative, not {self.drift}")

    def draw(self, real: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        return (torch.rand(len(real), device=real.device, dtype=real.dtype, generator=generator),)

    def d_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        gap = D(fake).mean() + real_term(D(real), self.drift)
        return gap + self.penalty_weight * self.penalty(D, real, fake, noise)

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return -D(fake).mean()

    def penalty(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        (alpha,) = noise or self.draw(real)
        gradient = differentiate(D, interpolate(real, fake, alpha), create_graph=True)[1]
        return norms(gradient).pow(self.power).mean()
