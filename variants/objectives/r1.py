"""Non-saturating GAN with a zero-centred gradient penalty (R1, R2)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

from variants.objectives import Critic, Noise, Recipe
from variants.objectives._zero_centred import ZeroCentred


@dataclass(frozen=True)
class Objective(ZeroCentred):
    """Non-saturating GAN with R1 or R2, Mescheder et al. 2018 (arXiv:1801.04406), eq. 9.

    min over D:  E softplus(−D(x)) + E softplus(D(x̃)) + γ/2 E‖∇D(x)‖²
    min over G:  E softplus(−D(x̃))

    `penalised`: real (R1, above), fake (R2: E‖∇D(x̃)‖²), or both. The authors' code has no ½: its
    10 is γ = 20 here. The optimiser is theirs; they also keep a moving average of the generator,
    `ema = 0.999`."""

    gamma: float = 10.0
    penalised: Literal["real", "fake", "both"] = "real"

    recipe = Recipe("rmsprop", lr=1e-4)
    sigmoid = True

    def d_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        d_real, d_fake, penalty = self.scores(D, real, fake)
        return softplus(-d_real).mean() + softplus(d_fake).mean() + self.gamma / 2 * penalty

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return softplus(-D(fake)).mean()
