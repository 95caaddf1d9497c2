"""The calibration of clipped density and clipped coverage (Salvy, Talbot & Thirion 2026,
arXiv:2507.01761): both are 1 − p where a share p of the samples is bad."""

from functools import lru_cache

import numpy as np
import torch
from scipy import special
from torch import Tensor

from benchmark.measure.features.extract import CLIPPED_NEIGHBOURHOOD
from benchmark.measure.features.pairwise import Neighbours


def clipped_radii(wide: Tensor) -> Tensor:
    """The radii (m,) of the balls of clipped density: those of clipped coverage, none above their
    median, so that a real outlier has no large ball."""
    return wide.clamp_max(np.median(wide.numpy(force=True)).item())


def density(num_balls: Tensor) -> float:
    """The mean over images of the number of clipped balls that they are in (n,), each ÷ K and at
    most 1."""
    return (num_balls / CLIPPED_NEIGHBOURHOOD).clamp_max(1).mean().item()


def own_density(neighbours: Neighbours) -> float:
    """`density` of the real images themselves, each outside its own ball: what a perfect generator
    has."""
    is_inside = neighbours.distances <= clipped_radii(neighbours.distances[:, -1]).unsqueeze(1)
    balls = torch.bincount(neighbours.indices[is_inside], minlength=len(neighbours.indices))
    return density(balls.double())


def coverage(num_inside: Tensor, num_fake: int) -> float:
    """Clipped coverage: the mean over real images of the number of generated images in their ball
    (m,), each ÷ K and at most 1; then the share of good images that has this mean."""
    covered = (num_inside / CLIPPED_NEIGHBOURHOOD).clamp_max(1).mean().item()
    expected = expected_coverage(len(num_inside), num_fake)
    return float(np.interp(covered, expected, np.linspace(0, 1, num_fake + 1)))


@lru_cache(maxsize=4)
def expected_coverage(num_real: int, num_fake: int) -> np.ndarray:
    """The expected mean before calibration if 0, 1 … num_fake of the generated images have the real
    distribution and the others are in no ball: (num_fake + 1,), increasing.

    The number of m good images in the ball that reaches the K-th of N − 1 other real images is
    beta-binomial with parameters m, K and N − K."""
    k = CLIPPED_NEIGHBOURHOOD
    good = np.arange(num_fake + 1)
    inside = np.arange(k)[:, None]
    with np.errstate(invalid="ignore"):
        log_chance = (
            special.gammaln(good + 1)
            - special.gammaln(inside + 1)
            - special.gammaln(np.maximum(good - inside, 0) + 1)
            + special.betaln(k + inside, np.maximum(num_real + good - k - inside, 1))
            - special.betaln(k, num_real - k)
        )
    chance = np.where(inside <= good, np.exp(log_chance), 0)
    missing = ((k - inside) * chance).sum(0)
    return 1 - missing / k
