"""Labels of real and of generated samples: one-sided smoothing and flips."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from variants.objectives import Base

Label = float | Tensor  # of all samples, or of each one, (batch,)


@dataclass(frozen=True)
class Labelled(Base):
    """An objective whose critic learns a label for real samples and one for generated ones."""

    real_label: float = 1.0
    """α: label of real samples, as a share of the paper's; 0.9 is one-sided label smoothing
    (Salimans et al. 2016, arXiv:1606.03498, section 3.4)."""

    flip: float = 0.0
    """π: probability that the critic is told the other label of a sample. In the mean, flips are
    smoothing of both labels: the gradient is linear in a label."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.real_label <= 1:
            raise ValueError(f"real_label must be above 0 and at most 1, not {self.real_label}")
        if not 0 <= self.flip < 0.5:
            raise ValueError(
                f"flip must be at least 0 and below 0.5, where labels say nothing, not {self.flip}"
            )

    def draw(
        self, real: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...] | None:
        """Which labels are flipped, of real samples and of generated ones: (2, batch)."""
        if not self.flip:
            return None
        return (torch.rand(2, len(real), device=real.device, generator=generator) < self.flip,)

    def labels(
        self, real: Tensor, noise: tuple[Tensor, ...] | None, of_real: float, of_fake: float
    ) -> tuple[Label, Label]:
        """The labels of the real and of the generated samples of a batch."""
        drawn = noise or self.draw(real)
        if not drawn:
            return of_real, of_fake
        real_flipped, fake_flipped = drawn[0].to(real.dtype)
        difference = of_fake - of_real
        return of_real + difference * real_flipped, of_fake - difference * fake_flipped


def cross_entropy(scores: Tensor, label: Label) -> Tensor:
    """−t log σ(s) − (1 − t) log(1 − σ(s)) of the label t, (batch,)."""
    if isinstance(label, Tensor) or 0 < label < 1:
        return softplus(scores) - label * scores
    return softplus(-scores if label else scores)
