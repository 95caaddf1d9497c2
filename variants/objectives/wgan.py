"""Wasserstein GAN (WGAN) with weight clipping."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from variants.objectives import Base, Critic, Log, Noise, Recipe, Searched


@dataclass(frozen=True)
class Objective(Base):
    """Wasserstein GAN (WGAN), Arjovsky et al. 2017 (arXiv:1701.07875), algorithm 1.

    min over D:   E D(x̃) − E D(x),  every parameter of D clipped to [−c, c] after each critic step
    min over G:  −E D(x̃)

    `long_critic_phases` is the rule of the authors' code that the paper leaves out: 100 critic
    steps before each of the first 25 generator steps and before every 500th.

    RMSProp is PyTorch's with its own α and ε, as in that code. The authors of WGAN-GP ran WGAN
    under TensorFlow's: `optimizer = "rmsprop_tf"`."""

    clip: float = 0.01
    critic_steps: int = 5

    long_critic_phases: bool = False
    """100 critic steps before each of the first 25 generator steps and before every 500th."""

    recipe = Recipe("rmsprop", lr=5e-5)
    search = {"clip": Searched(Log(1e-3, 1.0), Log(0.01, 1.0))}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip <= 0:
            raise ValueError(f"clip must be positive, not {self.clip}")

    def d_terms(
        self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None
    ) -> Iterator[Tensor]:
        yield D(fake).mean()
        yield -D(real).mean()

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return -D(fake).mean()

    def d_steps(self, g_step: int) -> int:
        if self.long_critic_phases and (g_step < 25 or g_step % 500 == 0):
            return 100
        return super().d_steps(g_step)

    @torch.no_grad()
    def after_d_step(self, D: nn.Module) -> None:
        parameters: list[Tensor] = list(D.parameters())
        torch._foreach_clamp_min_(parameters, -self.clip)
        torch._foreach_clamp_max_(parameters, self.clip)
