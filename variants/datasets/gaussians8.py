"""Eight Gaussians on a circle: the mode-collapse test of the WGAN-GP toy experiments."""

import math
from dataclasses import dataclass

import torch

from variants.datasets import Modes
from variants.datasets._mixture import Mixture


@dataclass(frozen=True)
class Dataset(Mixture):
    """8 equal Gaussians, centres on a circle of radius 2, σ 0.02, all divided by 1.414 (Gulrajani
    et al. 2017, arXiv:1704.00028, toy experiments)."""

    source = "generated: 8 Gaussians on a circle of radius 1.4144, sigma 0.01414"

    def modes(self) -> Modes:
        angles = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
        centres = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)
        return Modes((centres / 1.414).float(), 0.02 / 1.414, torch.full((8,), 1 / 8))
