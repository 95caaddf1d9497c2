"""Twenty-five Gaussians on a grid."""

from dataclasses import dataclass

import torch

from variants.datasets import Modes
from variants.datasets._mixture import Mixture


@dataclass(frozen=True)
class Dataset(Mixture):
    """25 equal Gaussians, centres 2·{−2 … 2}², σ 0.05, all divided by 2.828 (Gulrajani et al. 2017,
    arXiv:1704.00028, toy experiments)."""

    source = "generated: 25 Gaussians on a grid of spacing 0.7072, sigma 0.01768"

    def modes(self) -> Modes:
        side = torch.arange(-2.0, 3.0)
        centres = 2 * torch.cartesian_prod(side, side)
        return Modes(centres / 2.828, 0.05 / 2.828, torch.full((25,), 1 / 25))
