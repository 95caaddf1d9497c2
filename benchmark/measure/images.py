"""Measure images against the training split.

FID, Inception score, KID, clipped density and coverage, precision, recall and duplicates are
computed on the features of one extractor; modes covered and reverse KL on its classes, where the
dataset's classes are modes.

torch-fidelity is the reference: its extractors and Inception score are used, and the other metrics
have the values of its functions on float64 features. They are computed in another way: the Fréchet
distance by a symmetric eigenproblem, KID with the real side's sums kept, and all neighbours in one
pass over the distances."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.matrix.options import Evaluation
from benchmark.measure.features import clipped
from benchmark.measure.features.extract import (
    CLIPPED_NEIGHBOURHOOD,
    NEIGHBOURHOOD,
    SPLITS,
    Features,
    extract,
    features_file,
    real_features,
)
from benchmark.measure.features.extractors import Extractor, open_extractor
from benchmark.measure.features.pairwise import kernel_sums, pair_sums
from benchmark.measure.features.reference import Reference
from benchmark.measure.protocol import (
    Draw,
    Need,
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

# Distances between images for all draws of a noise floor, on a CPU: minutes
MOST_DISTANCES = 4 * 10**9
ON_DEVICE = 64  # times as many on another device
FEWEST_DRAWS = 2


class Instrument:
    """The instrument for images: n generated images against n_real training images (0: all of
    them)."""

    def __init__(self, dataset: Any, evaluation: Evaluation, device: str) -> None:
        train = dataset.train()
        held = dataset.holdout()
        n_real = evaluation.n_real or len(train)
        self.n = evaluation.n.images
        if n_real > len(train):
            raise ValueError(
                f"evaluation.n_real is {n_real}, but there are only {len(train)} training images"
            )
        if self.n > len(held):
            raise ValueError(
                f"evaluation.n.images is {self.n}, but only {len(held)} images are held out"
            )
        # a matrix cannot ask for so few generated images
        if n_real <= CLIPPED_NEIGHBOURHOOD:
            raise ValueError(
                f"{n_real} training images are too few: metrics compare each with its "
                f"{CLIPPED_NEIGHBOURHOOD} nearest others"
            )
        self.dataset = dataset
        self.device = device
        weights = evaluation.extractor_weights
        self.extractor = open_extractor(evaluation.extractor, weights, dataset, device)
        available = _available(self.extractor, dataset)
        names = metric_names("images", evaluation.metrics, available)
        self.columns = {name: column(name, self.n, self.extractor.short_name) for name in names}
        self.parts = self._protocol(content_hash(train, held), n_real, evaluation)
        self.reference = self._reference(train[:n_real], held[: self.n])

    def generated(self, snapshot: Snapshot) -> Tensor:
        return snapshot.sample(self.n)

    def measure(self, samples: Tensor, reference: Reference | None = None) -> dict[str, Reading]:
        fake = extract(self.extractor, samples, self.device)
        return read_metrics("images", self.columns, fake, reference or self.reference)

    def marks(self) -> dict[str, dict[str, float]]:
        return {}

    @property
    def floor_draws(self) -> int:
        n_real = len(self.reference.real.features)
        most = MOST_DISTANCES * (1 if self.reference.device == "cpu" else ON_DEVICE)
        return max(FEWEST_DRAWS, most // (n_real * (n_real + 2 * self.n)))

    floor_source = "training and held-out images, split anew in each draw"

    def draws(self, count: int, spare: int = 0) -> Iterator[Draw]:
        reference = self.reference
        features = Features.joined(reference.held, reference.real)
        for seed in range(count):
            order = order_of_draw(len(features.features), seed)
            chosen, left, kept = order.tensor_split([self.n, self.n + spare])
            held = features[chosen].to(reference.device)
            yield Draw(chosen, left, kept, reference.of_others(features[kept], held))

    def measure_real(self, draw: Draw, plant: Plant | None = None) -> dict[str, Reading]:
        if plant is None:
            return read_metrics("images", self.columns, draw.reference.held, draw.reference)
        return self.measure(plant(self.real_samples()[0][draw.chosen]), draw.reference)

    def real_samples(self) -> tuple[Tensor, Tensor | None]:
        return self._real_samples

    @cached_property
    def _real_samples(self) -> tuple[Tensor, Tensor | None]:
        train, held = self.dataset.splits
        real = len(self.reference.real.features)
        samples = torch.cat([held.samples[: self.n], train.samples[:real]])
        if train.labels is None or held.labels is None:
            return samples, None
        return samples, torch.cat([held.labels[: self.n], train.labels[:real]])

    def _protocol(self, content: str, n_real: int, evaluation: Evaluation) -> dict[str, Any]:
        """Everything that the numbers depend on, part by part."""
        return {
            "modality": "images",
            "dataset": content,
            "extractor": self.extractor.name,
            "weights_sha256": self.extractor.weights_sha256,
            "n_fake": self.n,
            "n_real": n_real,
            "split": "train",
            "resize": self.extractor.resize,
            "quantisation": "uint8, rounded",
            "sampling_batch": SAMPLING_BATCH,
            "sampling_statistics": evaluation.sampling_statistics,  # of batch norm
            "kid_subsets": evaluation.kid_subsets,
            "kid_subset_size": min(evaluation.kid_subset_size, self.n, n_real),
            "splits": SPLITS,
            "neighbourhood": NEIGHBOURHOOD,
        }

    def _reference(self, train: Tensor, held: Tensor) -> Reference:
        """The features of real images, on files between runs."""
        extractor = self.extractor
        real_file = features_file(extractor, train, self.device, "real")
        held_file = features_file(extractor, held, self.device, "held")
        return Reference(
            # the noise floor has an Inception score
            real_features(extractor, train, self.device, real_file),
            real_features(extractor, held, self.device, held_file),
            self.parts["kid_subsets"],
            self.parts["kid_subset_size"],
            real_file.with_name(f"neighbours{CLIPPED_NEIGHBOURHOOD}-{real_file.stem}.npz"),
            # a device with float64
            self.device if self.device.startswith("cuda") else "cpu",
            feature_files=(real_file, held_file),
        )


def _available(extractor: Extractor, dataset: Any) -> set[Need]:
    """What metrics may need. The classes of a dataset are its modes only to the classifier that is
    trained on them."""
    available: set[Need] = set()
    if extractor.logits_layer is not None:
        available.add("logits")
    if extractor.name == "classifier" and dataset.num_modes:
        available.add("modes")
    return available


@metric("images")
def fid(fake: Features, reference: Reference) -> float:
    """Fréchet inception distance (Heusel et al. 2017, arXiv:1706.08500):
    ‖μ_r − μ_f‖² + tr(C_r + C_f − 2 (C_r^½ C_f C_r^½)^½)."""
    real = reference.real
    values = np.linalg.eigvalsh(real.root @ fake.covariance @ real.root)
    trace = (
        np.trace(real.covariance) + np.trace(fake.covariance) - 2 * np.sqrt(values.clip(0)).sum()
    )
    return float(np.square(real.mean - fake.mean).sum() + trace)


@metric("images", needs="logits")
def is_mean(fake: Features, reference: Reference) -> Reading:
    """Inception score (Salimans et al. 2016, arXiv:1606.03498): the mean over SPLITS, and its
    standard error, from the standard deviation with SPLITS − 1 degrees of freedom."""
    score = fake.inception_score
    # the score's own is divided by SPLITS
    return Reading(score.mean, score.std / (SPLITS - 1) ** 0.5)


@metric("images", needs="logits")
def is_std(fake: Features, reference: Reference) -> float:
    """The standard deviation of the Inception score over its splits as papers print it: divided by
    SPLITS, not SPLITS − 1."""
    return fake.inception_score.std


@metric("images")
def kid(fake: Features, reference: Reference) -> float:
    """Kernel inception distance (Bińkowski et al. 2018, arXiv:1801.01401): the unbiased
    cubic-kernel MMD², mean over random subsets. The subsets overlap, so their spread is no standard
    error."""
    # the subsets are drawn for as many generated as held-out images
    assert len(fake.features) == len(reference.held.features)
    subsets = reference.subsets
    size = reference.kid_subset_size
    real = reference.real.features.to(reference.device)
    crossed = kernel_sums(fake.features, real, subsets.generated, subsets.real)
    within = pair_sums(fake.features, subsets.generated) + subsets.real_sums
    mmd = within / (size * (size - 1)) - 2 * crossed / size**2
    return mmd.mean().item()


@metric("images")
def clipped_density(fake: Features, reference: Reference) -> float:
    """Clipped density (Salvy, Talbot & Thirion 2026, arXiv:2507.01761), fidelity: the share of
    generated images that are as near to training images as training images are to one another. Of
    every generated image, the number of balls around training images that it is in, ÷ K and at most
    1; the mean, ÷ that of the training images, at most 1. A ball reaches to the K-th nearest other
    training image (K = 5), and no farther than the median of these radii."""
    own = clipped.density(reference.overlap(fake).num_balls)
    return min(1.0, own / reference.density) if reference.density else float("nan")


@metric("images")
def clipped_coverage(fake: Features, reference: Reference) -> float:
    """Clipped coverage (Salvy, Talbot & Thirion 2026): the share of the real distribution that is
    covered, as the share of good images among the generated ones that would cover as much. Of every
    training image, the number of generated images nearer than its K-th nearest other training image
    (K = 5), ÷ K and at most 1; the mean, calibrated by its expectation for good images."""
    num_fake = len(fake.features)
    return clipped.coverage(reference.overlap(fake).num_inside, num_fake)


@metric("images")
def precision(fake: Features, reference: Reference) -> float:
    """Improved precision (Kynkäänniemi et al. 2019, arXiv:1904.06991): the share of generated
    images inside the manifold of the real ones."""
    return reference.overlap(fake).precision


@metric("images")
def recall(fake: Features, reference: Reference) -> float:
    """Improved recall (Kynkäänniemi et al. 2019): the share of real images inside the manifold of
    the generated."""
    return reference.overlap(fake).recall


@metric("images")
def nn_ratio(fake: Features, reference: Reference) -> float:
    """The median feature distance of generated images to their nearest training image, divided by
    that of held-out images: about 1 for new samples, towards 0 for memorised ones; NaN where most
    held-out images are in the training set."""
    held = reference.held_distance
    return reference.overlap(fake).distance / held if held else float("nan")


@metric("images")
def duplicates(fake: Features, reference: Reference) -> float:
    """The share of generated images as near to their nearest other generated image as only
    NEAR_SHARE of as many held-out images are to theirs. It is NEAR_SHARE for real images, and
    towards 1 for a generator that makes few different pictures, or pictures with nothing in them.
    After the birthday test of Arora & Zhang 2017 (arXiv:1706.08224), with the pairs found by
    features and not by eye."""
    return (fake.nearest_other <= reference.near).double().mean().item()


@metric("images", needs="modes")
def modes_covered(fake: Features, reference: Reference) -> float:
    """Modes that the classifier finds in one generated image or more (Metz et al. 2017,
    arXiv:1611.02163; Lin et al. 2018, arXiv:1712.04086): the modes are the classes, a sample's mode
    is its likeliest one."""
    return float((_mode_counts(fake) > 0).sum())


@metric("images", needs="modes")
def reverse_kl(fake: Features, reference: Reference) -> float:
    """KL(q ‖ uniform) in nats, q the distribution of all samples over the modes (Lin et al. 2018,
    and their code). n samples of a perfect generator have about (modes − 1) / 2n: compare it with
    its noise floor."""
    counts = _mode_counts(fake)
    q = counts.double() / counts.sum()
    return torch.special.xlogy(q, q * len(q)).sum().item()


def _mode_counts(images: Features) -> Tensor:
    """Images per class that the extractor finds likeliest, (classes,)."""
    assert images.logits is not None
    return torch.bincount(images.logits.argmax(dim=1), minlength=images.logits.shape[1])
