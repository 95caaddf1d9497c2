"""The features that an extractor takes from images, and their statistics.

All in float64, on a CUDA device or on the CPU. Features of real images are kept between runs."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.metric_isc import isc_features_to_metric

from benchmark.matrix.cell import digest
from benchmark.measure.features.extractors import Extractor
from benchmark.measure.features.pairwise import Neighbours, neighbours
from benchmark.measure.kept import Arrays, read_arrays, write_arrays
from benchmark.measure.protocol import cache_folder, content_hash
from variants.objectives import full_precision

SPLITS = 10  # of the Inception score
NEIGHBOURHOOD = 3  # of precision and recall
CLIPPED_NEIGHBOURHOOD = 5  # of clipped density and coverage
RNG_SEED = 2020  # torch-fidelity's default


class InceptionScore(NamedTuple):
    """Mean and standard deviation over the splits."""

    mean: float
    std: float


@dataclass(eq=False)
class Features:
    """An extractor's features (n, d) and logits (n, classes) of images, float64."""

    features: Tensor
    logits: Tensor | None

    def to(self, device: str) -> "Features":
        if self.features.device == torch.device(device):
            return self
        logits = None if self.logits is None else self.logits.to(device)
        return Features(self.features.to(device), logits)

    @cached_property
    def mean(self) -> np.ndarray:
        """(d,)."""
        return self.features.mean(0).cpu().numpy()

    @cached_property
    def covariance(self) -> np.ndarray:
        """(d, d)."""
        if self.features.is_cuda:
            return torch.cov(self.features.T).cpu().numpy()
        return np.cov(self.features.numpy(), rowvar=False)

    @cached_property
    def root(self) -> np.ndarray:
        """The symmetric square root of the covariance, (d, d)."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(values.clip(0))) @ vectors.T

    @cached_property
    def radii(self) -> Tensor:
        """The distance of each image to its NEIGHBOURHOOD-th nearest other image (n,): the radii of
        balls that make up a manifold."""
        return self.neighbours.distances[:, NEIGHBOURHOOD - 1]

    @cached_property
    def nearest_other(self) -> Tensor:
        """The distance of each image to its nearest other image (n,). A matrix product finds the
        neighbour, a difference the distance, so that equal images are at distance 0."""
        nearest = self.neighbours.indices[:, 0]
        return (self.features - self.features[nearest]).norm(dim=1)

    @cached_property
    def neighbours(self) -> Neighbours:
        """The nearest other images, as many as the largest neighbourhood has."""
        return neighbours(self.features, CLIPPED_NEIGHBOURHOOD)

    @staticmethod
    def joined(first: "Features", second: "Features") -> "Features":
        """The features of the images of both."""
        features = torch.cat([first.features, second.features])
        if first.logits is None or second.logits is None:
            return Features(features, None)
        return Features(features, torch.cat([first.logits, second.logits]))

    def __getitem__(self, index: Tensor) -> "Features":
        """The features of some images."""
        logits = None if self.logits is None else self.logits[index]
        return Features(self.features[index], logits)

    @cached_property
    def inception_score(self) -> InceptionScore:
        """The score over SPLITS parts of the images."""
        assert self.logits is not None
        score = isc_features_to_metric(self.logits, splits=SPLITS, shuffle=True, rng_seed=RNG_SEED)
        return InceptionScore(score["inception_score_mean"], score["inception_score_std"])


@torch.no_grad()
def extract(extractor: Extractor, images: Tensor, device: str) -> Features:
    """Features and logits of uint8 images (n, C, H, W): computed in float32, whatever precision the
    training has, then float64, on a CUDA device or on the CPU (another device may have none)."""
    features = []
    logits = []
    with full_precision(torch.empty(0, device=device)):
        for batch in images.split(extractor.batch):
            batch_features, batch_logits = extractor(batch.to(device))
            features.append(batch_features)
            if batch_logits is not None:
                logits.append(batch_logits)
    return Features(_float64(features), _float64(logits) if logits else None)


def features_file(extractor: Extractor, images: Tensor, device: str, part: str) -> Path:
    """The file that the features of real images are kept in between runs, under a key of
    everything that they depend on."""
    depends_on = [
        content_hash(images),
        extractor.name,
        extractor.weights_sha256,
        extractor.resize,
        device.partition(":")[0],
    ]
    return cache_folder() / f"{part}-{digest(depends_on, 16)}.npz"


def real_features(extractor: Extractor, images: Tensor, device: str, file: Path) -> Features:
    """The features of real images, on the CPU: read from their file, or extracted and written
    there."""
    kept = read_arrays(file, features=len(images))
    if kept and (extractor.logits_layer is None or "logits" in kept):
        return _of_arrays(kept)
    features = extract(extractor, images, device)
    arrays = {"features": features.features.float().numpy(force=True)}
    if features.logits is not None:
        arrays["logits"] = features.logits.float().numpy(force=True)
    write_arrays(file, **arrays)
    return features.to("cpu")


def _of_arrays(arrays: Arrays) -> Features:
    logits = arrays.get("logits")
    features = torch.from_numpy(arrays["features"]).double()
    return Features(features, None if logits is None else torch.from_numpy(logits).double())


def _float64(batches: list[Tensor]) -> Tensor:
    whole = torch.cat(batches)
    return (whole if whole.is_cuda else whole.cpu()).double()
