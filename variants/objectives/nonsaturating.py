"""Non-saturating GAN (NS-GAN): the minimax critic; rejected samples still teach the generator."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from variants.objectives import Critic, Noise, Recipe
from variants.objectives._labels import Labelled, cross_entropy


@dataclass(frozen=True)
class Objective(Labelled):
    """Non-saturating GAN (NS-GAN), Goodfellow et al. 2014 (arXiv:1406.2661), section 3.

    min over D:  E softplus(−D(x)) + E softplus(D(x̃))
    min over G:  E softplus(−D(x̃))

    The optimiser is DCGAN's (Radford et al. 2016, arXiv:1511.06434)."""

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
        return softplus(-D(fake)).mean()
