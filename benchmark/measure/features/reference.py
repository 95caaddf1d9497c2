"""What generated images are compared with: the features of real images, and what is computed from
them once."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from benchmark.measure.features.clipped import clipped_radii, own_density
from benchmark.measure.features.extract import NEIGHBOURHOOD, RNG_SEED, Features
from benchmark.measure.features.pairwise import Balls, Neighbours, Overlap, overlap, pair_sums
from benchmark.measure.kept import read_arrays, write_arrays

NEAR_SHARE = 0.01  # the share of held-out images that are as near to one another as duplicates


class Subsets(NamedTuple):
    """KID's random subsets: indices (subsets, size), and sums (subsets,)."""

    generated: Tensor  # indices of generated images, as many as held-out images
    real: Tensor  # indices of training images
    real_sums: Tensor  # of the kernel over the pairs of training images


@dataclass
class Reference:
    """What generated images are compared with."""

    real: Features  # of the training split
    held: Features  # of the held-out split
    kid_subsets: int
    kid_subset_size: int
    neighbours_file: Path | None = None  # where `neighbours` are kept between runs
    device: str = "cpu"  # where all pairs are taken; what is kept is on the CPU
    feature_files: tuple[Path, ...] = ()  # of the measuring cache: features of both splits
    overlaps: WeakKeyDictionary[Features, Overlap] = field(default_factory=WeakKeyDictionary)

    @cached_property
    def neighbours(self) -> Neighbours:
        """The nearest other training images of each, computed once: most of the cost of
        precision."""
        file, n = self.neighbours_file, len(self.real.features)
        kept = read_arrays(file, distances=n, indices=n) if file else None
        if kept:
            return Neighbours(*(torch.from_numpy(kept[name]) for name in Neighbours._fields))
        computed = Neighbours(*(x.cpu() for x in self.real.to(self.device).neighbours))
        if file:
            arrays = {name: array.numpy() for name, array in computed._asdict().items()}
            write_arrays(file, **arrays)
        return computed

    @cached_property
    def balls(self) -> Balls:
        """The balls around the training images."""
        distances = self.neighbours.distances
        wide = distances[:, -1]
        balls = Balls(distances[:, NEIGHBOURHOOD - 1], wide, clipped_radii(wide))
        return balls.to(self.device)

    @cached_property
    def density(self) -> float:
        """The clipped density of the training images before calibration."""
        return own_density(self.neighbours)

    def overlap(self, fake: Features) -> Overlap:
        """The overlap of images with the training images, computed once."""
        if fake not in self.overlaps:
            real = self.real.features.to(self.device)
            self.overlaps[fake] = overlap(fake.features, fake.radii, real, self.balls)
        return self.overlaps[fake]

    @cached_property
    def held_distance(self) -> float:
        """The median distance of held-out images to their nearest training image."""
        return self.overlap(self.held.to(self.device)).distance

    @cached_property
    def near(self) -> float:
        """The distance to the nearest other held-out image that NEAR_SHARE of the held-out images
        do not exceed."""
        distances = self.held.to(self.device).nearest_other
        return torch.quantile(distances, NEAR_SHARE, interpolation="lower").item()

    @cached_property
    def subsets(self) -> Subsets:
        """KID's subsets, drawn as torch-fidelity does."""
        rng = np.random.RandomState(RNG_SEED)
        size = self.kid_subset_size
        generated = np.empty((self.kid_subsets, size), dtype=int)
        real = np.empty((self.kid_subsets, size), dtype=int)
        for subset in range(self.kid_subsets):
            generated[subset] = rng.choice(len(self.held.features), size, replace=False)
            real[subset] = rng.choice(len(self.real.features), size, replace=False)
        real_index = torch.from_numpy(real).to(self.device)
        return Subsets(
            torch.from_numpy(generated).to(self.device),
            real_index,
            pair_sums(self.real.features.to(self.device), real_index),
        )

    def of_others(self, real: Features, held: Features) -> "Reference":
        """The reference with other images of the same two splits in their place. What duplicates
        and near copies are measured by stays."""
        size = min(self.kid_subset_size, len(real.features))
        other = Reference(real, held, self.kid_subsets, size, device=self.device)
        other.held_distance = self.held_distance
        other.near = self.near
        return other
