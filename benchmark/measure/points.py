"""Points in the plane against held-out points and, where they are known, the modes they came
from."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.matrix.options import Evaluation
from benchmark.measure.protocol import Reading, content_hash, metric_names, with_error
from benchmark.metrics import column
from benchmark.train.snapshot import SAMPLING_BATCH
from variants.datasets import Modes

DIRECTIONS = 128
GRID, SIDE = 40, 2.0  # cells per axis and half the side of the square that js_grid covers
MODE_SHARE = (
    0.1  # a mode is covered from this share of the high-quality samples it would get by its weight
)


@dataclass
class Reference:
    """What generated points are held against."""

    held: Tensor  # held-out points (n, 2), float64
    modes: Modes | None


class Instrument:
    """The points instrument: n generated against n held-out points."""

    def __init__(self, dataset: Any, evaluation: Evaluation, device: str) -> None:
        train, held = dataset.train(), dataset.holdout()
        self.n = evaluation.n.points
        if self.n > len(held):
            raise ValueError(
                f"evaluation.n.points is {self.n}, but only {len(held)} points are held out"
            )
        modes = dataset.modes()
        self.reference = Reference(held[: self.n].double(), modes)
        self.columns = {
            name: column(name, self.n)
            for name in metric_names("points", evaluation.metrics)
            if modes is not None or name not in NEED_MODES
        }
        self.train = train[: self.n]
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
        self.extractor = None

    def measure(self, samples: Tensor) -> dict[str, Reading]:
        fake = samples.cpu().double()  # a device may have no float64
        return {
            name: with_error(globals()[metric](fake, self.reference))
            for metric, name in self.columns.items()
        }

    def floor(self) -> dict[str, Reading]:
        return self.measure(self.train)


def swd(fake: Tensor, reference: Reference) -> float:
    """Sliced Wasserstein-1 distance (Rabin et al. 2011; Bonneel et al. 2015): the mean over fixed
    directions of the mean absolute difference of the sorted projections of fake and held-out
    points, both (n, 2)."""
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * (math.pi / DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()])
    difference = (fake @ directions).sort(dim=0).values - (reference.held @ directions).sort(
        dim=0
    ).values
    return difference.abs().mean().item()


def modes_covered(fake: Tensor, reference: Reference) -> float:
    """Modes that get at least MODE_SHARE of the high-quality samples their weight entitles them to,
    of all n."""
    counts, weights, _ = _assign(fake, reference)
    return float((counts >= MODE_SHARE * weights * len(fake)).sum())


def high_quality(fake: Tensor, reference: Reference) -> Reading:
    """The share of samples within 3 σ of a mode (Srivastava et al. 2017, VEEGAN)."""
    counts, _, _ = _assign(fake, reference)
    share = counts.sum().item() / len(fake)
    return share, math.sqrt(share * (1 - share) / len(fake))


def reverse_kl(fake: Tensor, reference: Reference) -> float:
    """KL(q ‖ weights) in nats, q the distribution of all samples over their nearest modes."""
    _, weights, nearest = _assign(fake, reference)
    q = torch.bincount(nearest, minlength=len(weights)).double() / len(fake)
    return torch.special.xlogy(q, q / weights).sum().item()


def js_grid(fake: Tensor, reference: Reference) -> float:
    """Jensen–Shannon divergence, base 2, of histograms on a GRID × GRID grid over [−SIDE, SIDE]²;
    points outside count in one cell more."""
    p, q = _histogram(fake), _histogram(reference.held)
    middle = (p + q) / 2
    nats = torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)
    return (nats.nan_to_num().sum() / (2 * math.log(2))).item()


NEED_MODES = ("modes_covered", "high_quality", "reverse_kl")


def _assign(fake: Tensor, reference: Reference) -> tuple[Tensor, Tensor, Tensor]:
    """High-quality samples per mode (k,), the modes' weights (k,), every sample's nearest mode
    (n,)."""
    assert reference.modes is not None
    distance, nearest = torch.cdist(fake, reference.modes.centres.double()).min(dim=1)
    weights = reference.modes.weights.double()
    return (
        torch.bincount(nearest[distance <= 3 * reference.modes.sigma], minlength=len(weights)),
        weights,
        nearest,
    )


def _histogram(points: Tensor) -> Tensor:
    cells = ((points + SIDE) * (GRID / (2 * SIDE))).floor().long()
    inside = ((cells >= 0) & (cells < GRID)).all(dim=1)
    index = torch.where(inside, cells[:, 0] * GRID + cells[:, 1], GRID * GRID)
    return torch.bincount(index, minlength=GRID * GRID + 1).double() / len(points)
