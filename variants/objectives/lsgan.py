"""Least-squares GAN (LSGAN): regression of the raw score to labels."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from variants.objectives import Critic, Noise, Recipe
from variants.objectives._labels import Labelled


@dataclass(frozen=True)
class Objective(Labelled):
    """Least-squares GAN (LSGAN), Mao et al. 2017 (arXiv:1611.04076), eq. 2.

    min over D:  ½ E(D(x) − b)² + ½ E(D(x̃) − a)²
    min over G:  ½ E(D(x̃) − c)²

    The default is the 0–1 coding. `a=-1, b=1, c=0` (b − c = 1, b − a = 2) is the Pearson coding:
    the generator then minimises Pearson's χ² between p_data + p_g and 2 p_g.

    The optimiser is DCGAN's, and that of the authors' script for Chinese characters. Their script
    for LSUN has Adam 1e-3, and their ring of Gaussians has 1e-4 for the critic and 1e-3 for the
    generator, which one rate for both cannot express."""

    a: float = 0.0
    """The critic's label of generated samples."""

    b: float = 1.0
    """The critic's label of real samples."""

    c: float = 1.0
    """What the generator wants the critic to say of generated samples."""

    critic_steps: int = 1

    recipe = Recipe("adam", lr=2e-4, betas=(0.5, 0.999))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.b == 0 and self.real_label != 1:
            raise ValueError(f"real_label = {self.real_label} is not read: a share of b = 0 is 0")

    def d_terms(
        self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None
    ) -> Iterator[Tensor]:
        b, a = self.labels(real, noise, self.real_label * self.b, self.a)
        yield 0.5 * (D(real) - b).square().mean()
        yield 0.5 * (D(fake) - a).square().mean()

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return 0.5 * (D(fake) - self.c).square().mean()
