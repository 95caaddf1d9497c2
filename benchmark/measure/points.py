"""Measure points in the plane against held-out points and, where they are known, against the modes
that the points come from."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmark.matrix.options import Evaluation
from benchmark.measure.protocol import (
    Reading,
    content_hash,
    metric,
    metric_names,
    read_metrics,
)
from benchmark.metrics import column
from benchmark.train.snapshot import SAMPLING_BATCH
from variants.datasets import Modes

DIRECTIONS = 128

# cells per axis, and half the side, of the square that js_grid covers
GRID = 40
SIDE = 2.0

# a mode is covered from this share of the high-quality samples that its weight entitles it to
MODE_SHARE = 0.1


@dataclass
class Reference:
    """What generated points are compared with."""

    held: Tensor  # held-out points (n, 2), float64
    modes: Modes | None


class Instrument:
    """The instrument for points: n generated points against n held-out ones."""

    extractor = None

    def __init__(self, dataset: Any, evaluation: Evaluation, device: str) -> None:
        train = dataset.train()
        held = dataset.holdout()
        modes = dataset.modes()
        self.n = evaluation.n.points
        if self.n > len(held):
            raise ValueError(
                f"evaluation.n.points is {self.n}, but only {len(held)} points are held out"
            )
        names = metric_names("points", evaluation.metrics, set() if modes is None else {"modes"})
        self.columns = {name: column(name, self.n) for name in names}
        self.train = train[: self.n]
        self.reference = Reference(held[: self.n].double(), modes)
        self.parts = {
            "modality": "points",
            "dataset": content_hash(train, held),
            "n_fake": self.n,
            "n_real": self.n,
            "split": "held out",
            "sampling_batch": SAMPLING_BATCH,
            "sampling_statistics": evaluation.sampling_statistics,  # of batch norm
            "directions": DIRECTIONS,
            "grid": [GRID, SIDE],
            "mode_share": MODE_SHARE,
        }

    def measure(self, samples: Tensor) -> dict[str, Reading]:
        # on the CPU: another device may have no float64
        points = samples.cpu().double()
        return read_metrics("points", self.columns, points, self.reference)

    def floor(self) -> dict[str, Reading]:
        return self.measure(self.train)


@metric("points")
def swd(fake: Tensor, reference: Reference) -> float:
    """Sliced Wasserstein-1 distance (Rabin et al. 2011; Bonneel et al. 2015): the mean over fixed
    directions of the mean absolute difference of the sorted projections of generated and held-out
    points, both (n, 2)."""
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * (math.pi / DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()])
    projected = (fake @ directions).sort(dim=0).values
    held = (reference.held @ directions).sort(dim=0).values
    return (projected - held).abs().mean().item()


@metric("points", needs="modes")
def modes_covered(fake: Tensor, reference: Reference) -> float:
    """The number of modes that get at least MODE_SHARE of the high-quality samples that their
    weight, times all n samples, entitles them to."""
    nearest = _nearest_modes(fake, reference)
    entitled = nearest.weights * len(fake)
    return float((nearest.high_quality >= MODE_SHARE * entitled).sum())


@metric("points", needs="modes")
def high_quality(fake: Tensor, reference: Reference) -> Reading:
    """The share of samples within 3 σ of a mode (Srivastava et al. 2017, VEEGAN)."""
    nearest = _nearest_modes(fake, reference)
    share = nearest.high_quality.sum().item() / len(fake)
    return Reading(share, math.sqrt(share * (1 - share) / len(fake)))


@metric("points", needs="modes")
def reverse_kl(fake: Tensor, reference: Reference) -> float:
    """KL(q ‖ weights) in nats, q the distribution of all samples over their nearest modes."""
    nearest = _nearest_modes(fake, reference)
    q = nearest.counts.double() / len(fake)
    return torch.special.xlogy(q, q / nearest.weights).sum().item()


@metric("points")
def js_grid(fake: Tensor, reference: Reference) -> float:
    """Jensen–Shannon divergence, base 2, of histograms on a GRID × GRID grid over [−SIDE, SIDE]²;
    points outside count in one cell more."""
    p = _histogram(fake)
    q = _histogram(reference.held)
    middle = (p + q) / 2
    nats = torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)
    return (nats.nan_to_num().sum() / (2 * math.log(2))).item()


class _NearestModes(NamedTuple):
    """Samples by their nearest modes, of which there are k."""

    counts: Tensor  # samples per mode (k,)
    high_quality: Tensor  # samples within 3 σ, per mode (k,)
    weights: Tensor  # of the modes (k,), float64


def _nearest_modes(fake: Tensor, reference: Reference) -> _NearestModes:
    assert reference.modes is not None
    weights = reference.modes.weights.double()
    distance, nearest = torch.cdist(fake, reference.modes.centres.double()).min(dim=1)
    near = nearest[distance <= 3 * reference.modes.sigma]
    return _NearestModes(
        counts=torch.bincount(nearest, minlength=len(weights)),
        high_quality=torch.bincount(near, minlength=len(weights)),
        weights=weights,
    )


def _histogram(points: Tensor) -> Tensor:
    """The shares of points (n, 2) in the cells of the grid, and outside of it: (GRID² + 1,)."""
    cells = ((points + SIDE) * (GRID / (2 * SIDE))).floor().long()
    inside = ((cells >= 0) & (cells < GRID)).all(dim=1)
    index = torch.where(inside, cells[:, 0] * GRID + cells[:, 1], GRID * GRID)
    return torch.bincount(index, minlength=GRID * GRID + 1).double() / len(points)
