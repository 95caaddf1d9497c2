"""Measure points in the plane against held-out points and, where they are known, against the modes
that the points come from."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmark.matrix.options import Evaluation
from benchmark.measure.protocol import (
    Draw,
    Plant,
    Reading,
    content_hash,
    metric,
    metric_names,
    order_of_draw,
    read_metrics,
)
from benchmark.metrics import column
from benchmark.train.snapshot import SAMPLING_BATCH, Snapshot
from variants.datasets import Modes

DIRECTIONS = 128

# cells per axis, and half the side, of the square that js_grid covers
GRID = 40
SIDE = 2.0

# a mode is covered from this share of the high-quality samples that its weight entitles it to
MODE_SHARE = 0.1

MOST_FOR_W1 = 1000  # points; 0.1 to 0.7 s, and five times as long at twice as many
MOST_PIVOTS = 10**8  # of the network simplex, which ends long before

# σ at which half of a Gaussian mode in the plane is nearer to its centre: a Rayleigh law's median
MEDIAN_DISTANCE = math.sqrt(2 * math.log(2))

# draws from at least so many times n training points are nearly independent
PLENTY = 20
MOST_DRAWS = 100  # of a noise floor: seconds


@dataclass
class Reference:
    """What generated points are compared with."""

    held: Tensor  # held-out points (n, 2), float64
    modes: Modes | None

    @cached_property
    def projections(self) -> Tensor:
        """Of the held-out points, as swd compares them."""
        return _projections(self.held)

    @cached_property
    def histogram(self) -> Tensor:
        """Of the held-out points, as js_grid compares them."""
        return _histogram(self.held)


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
        sizes = {"w1": min(self.n, MOST_FOR_W1)}
        self.columns = {name: column(name, sizes.get(name, self.n)) for name in names}
        self.dataset = dataset
        self.has_plenty = len(train) >= PLENTY * self.n
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

    def generated(self, snapshot: Snapshot) -> Tensor:
        return snapshot.sample(self.n)

    def measure(self, samples: Tensor, reference: Reference | None = None) -> dict[str, Reading]:
        # on the CPU: another device may have no float64
        points = samples.cpu().double()
        return read_metrics("points", self.columns, points, reference or self.reference)

    def marks(self) -> dict[str, dict[str, float]]:
        return {}

    @property
    def floor_draws(self) -> int:
        return MOST_DRAWS

    @property
    def floor_source(self) -> str:
        if self.has_plenty:
            return "training points, against the held-out ones"
        return "training and held-out points, split anew in each draw"

    def draws(self, count: int, spare: int = 0) -> Iterator[Draw]:
        train, held = (split.samples for split in self.dataset.splits)
        total = len(train) if self.has_plenty else len(train) + len(held)
        samples, _ = self.real_samples()
        for seed in range(count):
            order = order_of_draw(total, seed)
            chosen, left, kept = order.tensor_split([self.n, self.n + spare])
            reference = self.reference
            if not self.has_plenty:
                others, kept = kept[: self.n], kept[self.n :]
                reference = Reference(samples[others].double(), reference.modes)
            yield Draw(chosen, left, kept, reference)

    def measure_real(self, draw: Draw, plant: Plant | None = None) -> dict[str, Reading]:
        samples = self.real_samples()[0][draw.chosen]
        return self.measure(plant(samples) if plant else samples, draw.reference)

    def real_samples(self) -> tuple[Tensor, Tensor | None]:
        return self._real_samples

    @cached_property
    def _real_samples(self) -> tuple[Tensor, Tensor | None]:
        train, held = self.dataset.splits
        samples = torch.cat([train.samples, held.samples])
        if self.reference.modes is None:
            return samples, None
        centres = self.reference.modes.centres
        return samples, torch.cdist(samples, centres.to(samples.dtype)).argmin(dim=1)


@metric("points")
def swd(fake: Tensor, reference: Reference) -> float:
    """Sliced Wasserstein-1 distance (Rabin et al. 2011; Bonneel et al. 2015): the mean over fixed
    directions of the mean absolute difference of the sorted projections of generated and held-out
    points, both (n, 2)."""
    return (_projections(fake) - reference.projections).abs().mean().item()


@metric("points")
def w1(fake: Tensor, reference: Reference) -> float:
    """Exact Wasserstein-1 distance of the empirical distributions of the first n generated and
    held-out points: the least mean distance of a one-to-one assignment. It has a noise floor of its
    own at every n; n is 1,000 at most, and the column says which. Computed by POT's network
    simplex."""
    # seconds to import
    from ot import emd2

    n = min(len(fake), MOST_FOR_W1)
    # by differences: a matrix product would part equal points
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(fake[:n], reference.held[:n], compute_mode=exact).numpy()
    # empty weights are uniform ones
    return float(emd2([], [], distances, numItermax=MOST_PIVOTS))


@metric("points", needs="modes")
def modes_hit(fake: Tensor, reference: Reference) -> float:
    """The number of modes with one sample or more within 3 σ, as published (Srivastava et al. 2017,
    VEEGAN; Lin et al. 2018, PacGAN): stray samples count."""
    return float((_nearest_modes(fake, reference).high_quality > 0).sum())


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
    """KL(q ‖ weights) in nats, q the distribution of all samples over their nearest modes (Lin et
    al. 2018, PacGAN). The code of that paper takes this direction and all samples for stacked
    digits; for points it prints a Jensen–Shannon divergence of the samples within 3 σ instead."""
    nearest = _nearest_modes(fake, reference)
    q = nearest.counts.double() / len(fake)
    return torch.special.xlogy(q, q / nearest.weights).sum().item()


@metric("points", needs="modes")
def core_width(fake: Tensor, reference: Reference) -> float:
    """The median width of the generated modes: the median distance of a mode's samples to their
    coordinate-wise median, ÷ that of the mode itself, σ √(2 ln 2). 1 is right, less is compressed,
    more is blurred. The median is over modes that get MODE_SHARE of the samples that their weight
    entitles them to; medians leave out stray samples."""
    assert reference.modes is not None
    nearest = _nearest_modes(fake, reference)
    widths = []
    for mode in torch.nonzero(nearest.counts >= MODE_SHARE * nearest.weights * len(fake)):
        members = fake[nearest.mode == mode]
        middle = torch.quantile(members, 0.5, dim=0)
        widths.append(torch.quantile((members - middle).norm(dim=1), 0.5))
    width = torch.quantile(torch.stack(widths), 0.5).item()
    return width / (reference.modes.sigma * MEDIAN_DISTANCE)


@metric("points", needs="modes")
def tail(fake: Tensor, reference: Reference) -> Reading:
    """The share of samples beyond 10 σ of every mode."""
    assert reference.modes is not None
    nearest = _nearest_modes(fake, reference)
    share = (nearest.distance > 10 * reference.modes.sigma).double().mean().item()
    return Reading(share, math.sqrt(share * (1 - share) / len(fake)))


@metric("points")
def js_grid(fake: Tensor, reference: Reference) -> float:
    """Jensen–Shannon divergence, base 2, of histograms on a GRID × GRID grid over [−SIDE, SIDE]²;
    points outside count in one cell more."""
    p = _histogram(fake)
    q = reference.histogram
    middle = (p + q) / 2
    nats = torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)
    return (nats.nan_to_num().sum() / (2 * math.log(2))).item()


class _NearestModes(NamedTuple):
    """n samples by their nearest modes, of which there are k."""

    mode: Tensor  # the nearest mode of each sample (n,)
    distance: Tensor  # to its centre (n,)
    counts: Tensor  # samples per mode (k,)
    high_quality: Tensor  # samples within 3 σ, per mode (k,)
    weights: Tensor  # of the modes (k,), float64


def _nearest_modes(fake: Tensor, reference: Reference) -> _NearestModes:
    assert reference.modes is not None
    weights = reference.modes.weights.double()
    distance, nearest = torch.cdist(fake, reference.modes.centres.double()).min(dim=1)
    near = nearest[distance <= 3 * reference.modes.sigma]
    return _NearestModes(
        mode=nearest,
        distance=distance,
        counts=torch.bincount(nearest, minlength=len(weights)),
        high_quality=torch.bincount(near, minlength=len(weights)),
        weights=weights,
    )


def _projections(points: Tensor) -> Tensor:
    """The coordinates of points (n, 2) along fixed directions, sorted: (n, DIRECTIONS)."""
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * (math.pi / DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()])
    # numpy sorts with vector instructions
    return torch.from_numpy(np.sort((points @ directions).numpy(), axis=0))


def _histogram(points: Tensor) -> Tensor:
    """The shares of points (n, 2) in the cells of the grid, and outside of it: (GRID² + 1,)."""
    cells = ((points + SIDE) * (GRID / (2 * SIDE))).floor().long()
    inside = ((cells >= 0) & (cells < GRID)).all(dim=1)
    index = torch.where(inside, cells[:, 0] * GRID + cells[:, 1], GRID * GRID)
    return torch.bincount(index, minlength=GRID * GRID + 1).double() / len(points)
