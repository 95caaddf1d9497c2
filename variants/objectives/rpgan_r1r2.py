"""Relativistic pairing GAN with zero-centred gradient penalties on both sides (R3GAN's loss)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from variants.objectives import Critic, Noise, Recipe
from variants.objectives._zero_centred import ZeroCentred


@dataclass(frozen=True)
class Objective(ZeroCentred):
    """Relativistic pairing GAN with R1 and R2, Huang et al. 2024 (R3GAN, arXiv:2501.05441).

    min over D:  E softplus(−(D(x) − D(x̃))) + γ/2 E‖∇D(x)‖² + γ/2 E‖∇D(x̃)‖²
    min over G:  E softplus(−(D(x̃) − D(x)))

    A real and a generated sample are a pair if they have the same place in their batches; a
    generator step with several batches pairs every real sample with one sample of each.
    `penalised`: both (above), real (R1 alone), fake (R2 alone), none (Jolicoeur-Martineau 2018,
    arXiv:1807.00734). All four have the same critic: an open norm is never batch norm.

    The penalties are part of every critic step, as in the authors' code, which anneals Adam's rate
    from 2e-4 to 5e-5, β₂ from 0.9 to 0.99 and γ from 0.05 to 0.005 on CIFAR-10. Here all three
    are constant."""

    recipe = Recipe("adam", lr=2e-4, betas=(0.0, 0.99))

    def d_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        d_real, d_fake, penalty = self.scores(D, real, fake)
        return softplus(d_fake - d_real).mean() + self.gamma / 2 * penalty

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        d_real = D(real)
        d_fake = D(fake).view(-1, len(d_real))
        return softplus(d_real - d_fake).mean()
