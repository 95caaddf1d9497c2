"""What an extractor finds in images, and the moments of it: float64, on the device where it has
float64."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.metric_isc import isc_features_to_metric

from benchmark.measure.extractors import Extractor
from benchmark.measure.pairwise import neighbours
from variants.objectives import full_precision

SPLITS = 10  # of the Inception score
NEIGHBOURHOOD = 3  # of precision and recall
RNG_SEED = 2020  # torch-fidelity's default


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
        return self.features.mean(0).cpu().numpy()

    @cached_property
    def covariance(self) -> np.ndarray:
        if self.features.is_cuda:
            return torch.cov(self.features.T).cpu().numpy()
        return np.cov(self.features.numpy(), rowvar=False)

    @cached_property
    def root(self) -> np.ndarray:
        """The symmetric square root of the covariance."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(values.clip(0))) @ vectors.T

    @cached_property
    def radii(self) -> Tensor:
        """The distance of each image to the NEIGHBOURHOOD-th nearest other one (n,): balls that
        make up a manifold."""
        return self._neighbours[0][:, -1]

    @cached_property
    def nearest_other(self) -> Tensor:
        """The distance of each image to the nearest other one (n,): the neighbour by matrix
        product, then their distance by difference, so that equal images are at 0."""
        return (self.features - self.features[self._neighbours[1]]).norm(dim=1)

    @cached_property
    def _neighbours(self) -> tuple[Tensor, Tensor]:
        return neighbours(self.features, NEIGHBOURHOOD)

    @cached_property
    def inception_score(self) -> tuple[float, float]:
        """Mean and standard deviation over SPLITS."""
        assert self.logits is not None
        found = isc_features_to_metric(self.logits, splits=SPLITS, shuffle=True, rng_seed=RNG_SEED)
        return found["inception_score_mean"], found["inception_score_std"]


@torch.no_grad()
def extract(
    extractor: Extractor, images: Tensor, device: str, with_logits: bool = True
) -> Features:
    """Features and logits of uint8 images (n, C, H, W), in float32 whatever precision the training
    has; then float64, on the CPU but for CUDA: another device may have none."""
    features, logits = [], []
    with full_precision(torch.empty(0, device=device)):
        for batch in images.split(extractor.batch):
            of_batch, classes = extractor(batch.to(device))
            features.append(of_batch)
            if with_logits and classes is not None:
                logits.append(classes)
    return Features(_float64(features), _float64(logits) if logits else None)


def _float64(parts: list[Tensor]) -> Tensor:
    whole = torch.cat(parts)
    return (whole if whole.is_cuda else whole.cpu()).double()
