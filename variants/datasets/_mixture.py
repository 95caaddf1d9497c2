"""Datasets drawn from a mixture of equal Gaussians in the plane."""

from dataclasses import dataclass

import torch

from variants.datasets import Base, Modes, Split


@dataclass(frozen=True)
class Mixture(Base):
    """A fixed sample of the mixture that `modes` describes; the paper's script draws a new sample
    for every batch."""

    shape = (2,)
    modality = "points"
    licence = "none needed"
    split = "two independent draws: 100,000 for training, 20,000 held out"

    def load(self) -> tuple[Split, Split]:
        modes = self.modes()
        assert isinstance(modes, Modes)
        generator = torch.Generator().manual_seed(2017)

        def draw(n: int) -> Split:
            mode = torch.multinomial(modes.weights, n, replacement=True, generator=generator)
            noise = torch.randn(n, 2, generator=generator)
            return Split(modes.centres[mode] + modes.sigma * noise, mode)

        return draw(100_000), draw(20_000)
