"""The zero-centred gradient penalty on real samples (R1), generated samples (R2) or both."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from variants.objectives import Base, Critic, Log, Noise, Searched, differentiate


@dataclass(frozen=True)
class ZeroCentred(Base):
    """γ/2 E‖∇D(x)‖² and γ/2 E‖∇D(x̃)‖². The critic scores a batch once, for loss and penalty."""

    gamma: float = 1.0
    """γ: the penalty is γ/2 times the mean squared slope."""

    penalised: Literal["both", "real", "fake", "none"] = "both"
    """The samples at which the slope costs something: real (R1), fake (R2)."""

    critic_steps: int = 1

    per_sample_penalty = True
    search = {"gamma": Searched(Log(0.01, 100.0), Log(0.1, 10.0))}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma < 0:
            raise ValueError(f"gamma must not be negative, not {self.gamma}")
        if self.penalised == "none" and self.gamma != type(self).gamma:
            raise ValueError(f"gamma = {self.gamma} is not read: penalised = 'none' has no penalty")

    def scores(self, D: Critic, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """D(x) and D(x̃), each (batch,), and the penalty before γ/2, a scalar."""
        d_real, of_real = _scores_and_slope(D, real, self.penalised in ("both", "real"))
        d_fake, of_fake = _scores_and_slope(D, fake, self.penalised in ("both", "fake"))
        return d_real, d_fake, of_real + of_fake

    def penalty(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor | None:
        if self.penalised == "none":
            return None
        return self.scores(D, real, fake)[2]


def _scores_and_slope(D: Critic, x: Tensor, is_penalised: bool) -> tuple[Tensor, Tensor]:
    """D(x), (batch,), and E‖∇D(x)‖², which is 0 where it is not penalised."""
    if not is_penalised:
        scores = D(x)
        return scores, scores.new_zeros(())
    scores, gradient = differentiate(D, x, create_graph=True)
    return scores, gradient.square().flatten(1).sum(1).mean()
