"""Relativistic average GAN: a score counts against the mean score of the other side."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import relu, softplus

from variants.objectives import Base, Critic, Noise, Recipe

# ℓ(t): what a lead of t costs
BASES: dict[str, Callable[[Tensor], Tensor]] = {
    "logistic": lambda t: softplus(-t),
    "least_squares": lambda t: (t - 1).square(),
    "hinge": lambda t: relu(1 - t),
}


@dataclass(frozen=True)
class Objective(Base):
    """Relativistic average GAN (RaGAN), Jolicoeur-Martineau 2018 (arXiv:1807.00734).

    min over D:  ½ E ℓ(D(x) − E D(x̃)) + ½ E ℓ(−(D(x̃) − E D(x)))
    min over G:  ½ E ℓ(−(D(x) − E D(x̃))) + ½ E ℓ(D(x̃) − E D(x))

    `base`: logistic ℓ(t) = softplus(−t) (RaSGAN), least_squares (t − 1)² (RaLSGAN), hinge
    max(0, 1 − t) (RaHingeGAN). The ½ is that of the author's code, whose README has the sign of the
    second term wrong. The optimiser is DCGAN's (Radford et al. 2016, arXiv:1511.06434)."""

    base: Literal["logistic", "least_squares", "hinge"] = "logistic"
    """ℓ: what a lead over the other side costs."""

    critic_steps: int = 1

    recipe = Recipe("adam", lr=2e-4, betas=(0.5, 0.999))

    def d_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return self._loss(D(real), D(fake))

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        return self._loss(D(fake), D(real))

    def _loss(self, leading: Tensor, other: Tensor) -> Tensor:
        """The loss of a player who wants the scores `leading` above `other`, (batch,) each."""
        cost = BASES[self.base]
        ahead = cost(leading - other.mean()).mean()
        behind = cost(leading.mean() - other).mean()
        return (ahead + behind) / 2
