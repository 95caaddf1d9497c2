"""Measure images against the training split.

FID, Inception score, KID, precision, recall and duplicates are computed on the features of one
extractor; modes covered and reverse KL on its classes, where the dataset's classes are modes.

torch-fidelity is the reference: its extractors and Inception score are used, and the other metrics
have the values of its functions on float64 features. They are computed in another way: the Fréchet
distance by a symmetric eigenproblem, KID with the real side's sums kept, and all neighbours in one
pass over the distances."""

import io
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from benchmark.matrix.options import Evaluation
from benchmark.measure.extractors import Extractor, open_extractor
from benchmark.measure.features import (
    NEIGHBOURHOOD,
    RNG_SEED,
    SPLITS,
    Features,
    extract,
    features_file,
    real_features,
)
from benchmark.measure.pairwise import Overlap, kernel_sums, overlap, pair_sums
from benchmark.measure.protocol import (
    Need,
    Reading,
    content_hash,
    metric,
    metric_names,
    read_metrics,
    write_cached,
)
from benchmark.metrics import column
from benchmark.train.snapshot import SAMPLING_BATCH

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
    radii_file: Path | None = None  # where `radii` are kept between runs
    device: str = "cpu"  # where all pairs are taken; what is kept is on the CPU
    feature_files: tuple[Path, ...] = ()  # of the measuring cache: features of both splits
    overlaps: WeakKeyDictionary[Features, Overlap] = field(default_factory=WeakKeyDictionary)

    @cached_property
    def radii(self) -> Tensor:
        """The radii of the training images (n,), computed once: most of the cost of precision."""
        if self.radii_file and self.radii_file.exists():
            return torch.from_numpy(np.load(self.radii_file))
        radii = self.real.to(self.device).radii.cpu()
        if self.radii_file:
            buffer = io.BytesIO()
            np.save(buffer, radii.numpy())
            write_cached(self.radii_file, buffer.getvalue())
        return radii

    def overlap(self, fake: Features) -> Overlap:
        """The overlap of images with the training images, computed once."""
        if fake not in self.overlaps:
            real = self.real.features.to(self.device)
            radii = self.radii.to(self.device)
            self.overlaps[fake] = overlap(fake.features, fake.radii, real, radii)
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
        self.device = device
        weights = evaluation.extractor_weights
        self.extractor = open_extractor(evaluation.extractor, weights, dataset, device)
        available = _available(self.extractor, dataset)
        names = metric_names("images", evaluation.metrics, available)
        self.columns = {name: column(name, self.n, self.extractor.short_name) for name in names}
        self.parts = self._protocol(content_hash(train, held), n_real, evaluation)
        self.reference = self._reference(train[:n_real], held[: self.n])

    def measure(self, samples: Tensor) -> dict[str, Reading]:
        return self._readings(extract(self.extractor, samples, self.device))

    def floor(self) -> dict[str, Reading]:
        return self._readings(self.reference.held.to(self.reference.device))

    def _readings(self, fake: Features) -> dict[str, Reading]:
        return read_metrics("images", self.columns, fake, self.reference)

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
            real_features(extractor, train, self.device, real_file, with_logits=False),
            # the noise floor has an Inception score
            real_features(extractor, held, self.device, held_file, with_logits=True),
            self.parts["kid_subsets"],
            self.parts["kid_subset_size"],
            real_file.with_name(f"radii{NEIGHBOURHOOD}-{real_file.stem}.npy"),
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
    standard error."""
    score = fake.inception_score
    return Reading(score.mean, score.std / SPLITS**0.5)


@metric("images", needs="logits")
def is_std(fake: Features, reference: Reference) -> float:
    """The standard deviation of the Inception score over its splits."""
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
    """KL(q ‖ uniform) in nats, q the distribution of all samples over the modes (Lin et al. 2018).
    n samples of a perfect generator have about (modes − 1) / 2n: compare it with its noise
    floor."""
    counts = _mode_counts(fake)
    q = counts.double() / counts.sum()
    return torch.special.xlogy(q, q * len(q)).sum().item()


def _mode_counts(images: Features) -> Tensor:
    """Images per class that the extractor finds likeliest, (classes,)."""
    assert images.logits is not None
    return torch.bincount(images.logits.argmax(dim=1), minlength=images.logits.shape[1])
