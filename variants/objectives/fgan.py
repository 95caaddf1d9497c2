"""f-GAN: the variational bound of an f-divergence, of which the standard GAN has one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor
from torch.nn.functional import softplus

from variants.objectives import Base, Critic, Noise, Recipe

LOG2 = math.log(2)


class Divergence(NamedTuple):
    """A divergence as functions of the score."""

    g: Callable[[Tensor], Tensor]
    """The output activation, whose values lie where f* is finite."""

    conjugate: Callable[[Tensor], Tensor]
    """f*(g(s)), f* the convex conjugate of f."""


# Table 2 of the paper
DIVERGENCES = {
    "kl": Divergence(lambda s: s, lambda s: (s - 1).exp()),
    "reverse_kl": Divergence(lambda s: -(-s).exp(), lambda s: s - 1),
    "pearson": Divergence(lambda s: s, lambda s: s.square() / 4 + s),
    "hellinger": Divergence(lambda s: 1 - (-s).exp(), lambda s: s.exp() - 1),
    "js": Divergence(lambda s: LOG2 - softplus(-s), lambda s: softplus(s) - LOG2),
}


@dataclass(frozen=True)
class Objective(Base):
    """f-GAN, Nowozin et al. 2016 (arXiv:1606.00709).

    min over D:  −E g(D(x)) + E f*(g(D(x̃)))
    min over G:  −E f*(g(D(x̃)))

    `divergence`: kl KL(p_data‖p_g), reverse_kl KL(p_g‖p_data), pearson χ², hellinger (squared), js
    (twice the Jensen–Shannon divergence: the minimax game). The bound is the divergence at the best
    critic, whose score s is 1 + log p_data/p_g (kl), log p_data/p_g (reverse_kl, js), half of that
    (hellinger) or 2(p_data/p_g − 1) (pearson, never below −2: there the generator's loss asks for
    lower scores).

    `alternative`: the generator minimises −E g(D(x̃)) instead (section 3.2), as the non-saturating
    GAN does. Nothing is clamped: a score that an exponential does not bear ends in infinity. The
    optimiser is DCGAN's (Radford et al. 2016, arXiv:1511.06434)."""

    divergence: Literal["kl", "reverse_kl", "pearson", "hellinger", "js"] = "kl"
    """Which f-divergence the critic bounds from below."""

    alternative: bool = False
    """Whether the generator raises g(D(x̃)) instead of f*(g(D(x̃)))."""

    critic_steps: int = 1

    recipe = Recipe("adam", lr=2e-4, betas=(0.5, 0.999))

    def d_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        f = DIVERGENCES[self.divergence]
        return f.conjugate(D(fake)).mean() - f.g(D(real)).mean()

    def g_loss(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor:
        f = DIVERGENCES[self.divergence]
        raised = f.g if self.alternative else f.conjugate
        return -raised(D(fake)).mean()
