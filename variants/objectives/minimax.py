"""Minimax GAN (MM-GAN): the saturating generator loss of the original game."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from variants.objectives import Critic, Noise, Recipe
from variants.objectives._labels import Labelled, cross_entropy


@dataclass(frozen=True)
class Objective(Labelled):
    """Minimax GAN (MM-GAN), Goodfellow et al. 2014 (arXiv:1406.2661), eq. 1.

    min over D:   E softplus(−D(x)) + E softplus(D(x̃))
    min over G:  −E softplus(D(x̃))

    With σ(D) the probability of real these are −E log σ(D(x)) − E log(1 − σ(D(x̃))) and E log(1 −
    σ(D(x̃))). The optimiser is DCGAN's (Radford et al. 2016, arXiv:1511.06434)."""

    critic_steps: int = 1

    recipe = Recipe("adam", lr=2e-4, betas=(0.5, 0.999))
    sigmoid = True

    def d_terms(
        self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None
    ) -> Iterator[Tensor]:
        of_real, of_fake = self.labels(real, noise, self.real_label, 0.0)
        yield cross_entropy(D(real), of_real).mean()
        yield cross_entropy(D(fake), of_fake).mean()

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return -softplus(D(fake)).mean()
