"""Hinge GAN with spectral norm in the critic (SNGAN): scores beyond the margin teach no more."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu

from variants.objectives import Base, Critic, Noise, Recipe


@dataclass(frozen=True)
class Objective(Base):
    """Hinge GAN, Lim and Ye 2017 (arXiv:1705.02894), as Miyato et al. 2018 train it (SNGAN,
    arXiv:1802.05957).

    min over D:   E max(0, m − D(x)) + E max(0, m + D(x̃))
    min over G:  −E D(x̃)

    An open norm (auto) is spectral norm: the hinge bounds the critic's scores, not its slope. The
    optimiser and the critic steps are those of SNGAN's ResNet experiments."""

    margin: float = 1.0
    """m: a score beyond the margin costs nothing."""

    critic_steps: int = 5

    recipe = Recipe("adam", lr=2e-4, betas=(0.0, 0.9))
    critic_norm = "spectral"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.margin <= 0:
            raise ValueError(f"margin must be positive, not {self.margin}")

    def d_terms(
        self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None
    ) -> Iterator[Tensor]:
        yield relu(self.margin - D(real)).mean()
        yield relu(self.margin + D(fake)).mean()

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return -D(fake).mean()
