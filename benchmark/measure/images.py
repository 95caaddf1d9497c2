"""Images against the training split: FID, Inception score, KID, precision, recall and duplicates on
one extractor's features; modes covered and reverse KL on its classes, where the dataset's classes
are modes.

torch-fidelity is the reference: its extractors and its Inception score, and the numbers of its
other functions on float64 features. Here the Fréchet distance is of a symmetric eigenproblem with
the real side's root kept, KID keeps the real side's sums, and precision, recall and the nearest
neighbours come from one pass over the distances."""

import io
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from benchmark.matrix.cell import digest
from benchmark.matrix.options import Evaluation
from benchmark.measure.extractors import open_extractor
from benchmark.measure.features import NEIGHBOURHOOD, RNG_SEED, SPLITS, Features, extract
from benchmark.measure.pairwise import Overlap, kernel_sums, overlap, pair_sums
from benchmark.measure.protocol import Reading, cache_folder, content_hash, metric_names, with_error
from benchmark.metrics import column
from benchmark.store.files import write_bytes
from benchmark.train.snapshot import SAMPLING_BATCH

NEAR_SHARE = 0.01  # of held-out images stand as near to one another as duplicates do
NEED_LOGITS, NEED_MODES = ("is_mean", "is_std"), ("modes_covered", "reverse_kl")


@dataclass
class Reference:
    """What generated images are held against."""

    real: Features  # of the training split
    held: Features  # of the held-out split
    kid_subsets: int
    kid_subset_size: int
    radii_file: Path | None = None  # where `radii` are kept between runs
    device: str = "cpu"  # where all pairs are taken; what is kept is on the CPU
    overlaps: WeakKeyDictionary[Features, Overlap] = field(default_factory=WeakKeyDictionary)

    @cached_property
    def radii(self) -> Tensor:
        """Of the training images: the same at every evaluation, and the most expensive part of
        precision."""
        if self.radii_file and self.radii_file.exists():
            return torch.from_numpy(np.load(self.radii_file))
        found = self.real.to(self.device).radii.cpu()
        if self.radii_file:
            buffer = io.BytesIO()
            np.save(buffer, found.numpy())
            write_bytes(self.radii_file, buffer.getvalue())
        return found

    def overlap(self, fake: Features) -> Overlap:
        """Of images and the training images, taken once."""
        if fake not in self.overlaps:
            real, radii = self.real.features.to(self.device), self.radii.to(self.device)
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
        return torch.quantile(
            self.held.to(self.device).nearest_other, NEAR_SHARE, interpolation="lower"
        ).item()

    @cached_property
    def subsets(self) -> tuple[Tensor, Tensor, Tensor]:
        """KID's subsets of as many generated as held-out images and of the training images,
        (subsets, size) each and drawn as torch-fidelity does; and the sums of the kernel over the
        training images' pairs (subsets,)."""
        rng, sides = np.random.RandomState(RNG_SEED), (self.held.features, self.real.features)
        drawn = [
            [rng.choice(len(x), self.kid_subset_size, replace=False) for x in sides]
            for _ in range(self.kid_subsets)
        ]
        fake, real = torch.from_numpy(np.array(drawn)).to(self.device).unbind(1)
        return fake, real, pair_sums(self.real.features.to(self.device), real)


class Instrument:
    """The images instrument: n generated images against n_real training images (0: all of them)."""

    def __init__(self, dataset: Any, evaluation: Evaluation, device: str) -> None:
        train, held = dataset.train(), dataset.holdout()
        self.n, n_real = evaluation.n.images, evaluation.n_real or len(train)
        if n_real > len(train):
            raise ValueError(
                f"evaluation.n_real is {n_real}, but there are only {len(train)} training images"
            )
        if self.n > len(held):
            raise ValueError(
                f"evaluation.n.images is {self.n}, but only {len(held)} images are held out"
            )
        self.extractor = open_extractor(
            evaluation.extractor, evaluation.extractor_weights, dataset, device
        )
        names = metric_names("images", evaluation.metrics)
        if self.extractor.logits_layer is None:
            names = [name for name in names if name not in NEED_LOGITS]
        if (
            self.extractor.name != "classifier" or not dataset.num_modes
        ):  # another's classes are not the modes
            names = [name for name in names if name not in NEED_MODES]
        self.columns = {name: column(name, self.n, self.extractor.short_name) for name in names}
        kid_subset_size = min(evaluation.kid_subset_size, self.n, n_real)
        self.parts: dict[str, Any] = {
            "modality": "images",
            "dataset": content_hash(train, held),
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
            "kid_subset_size": kid_subset_size,
            "splits": SPLITS,
            "neighbourhood": NEIGHBOURHOOD,
        }
        self.device = device
        real, real_file = self._cached("real", train[:n_real])
        self.reference = Reference(
            real,
            self._cached("held", held[: self.n])[0],
            self.parts["kid_subsets"],
            self.parts["kid_subset_size"],
            real_file.with_name(f"radii{NEIGHBOURHOOD}-{real_file.stem}.npy"),
            device if device.startswith("cuda") else "cpu",  # with float64
        )

    def measure(self, samples: Tensor) -> dict[str, Reading]:
        return self._readings(extract(self.extractor, samples, self.device))

    def floor(self) -> dict[str, Reading]:
        return self._readings(self.reference.held.to(self.reference.device))

    def _readings(self, fake: Features) -> dict[str, Reading]:
        return {
            name: with_error(globals()[metric](fake, self.reference))
            for metric, name in self.columns.items()
        }

    def _cached(self, part: str, images: Tensor) -> tuple[Features, Path]:
        """The features of real images, kept in a file under a key that contains everything they
        depend on."""
        extractor, kind = self.extractor, self.device.partition(":")[0]
        key = digest(
            [
                content_hash(images),
                extractor.name,
                extractor.weights_sha256,
                extractor.resize,
                kind,
            ],
            16,
        )
        path = cache_folder() / f"{part}-{key}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                logits = torch.from_numpy(arrays["logits"]).double() if "logits" in arrays else None
                return Features(torch.from_numpy(arrays["features"]).double(), logits), path
        found = extract(
            self.extractor, images, self.device, with_logits=part == "held"
        )  # of the floor
        arrays = {"features": found.features, "logits": found.logits}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            **{name: value.float().numpy() for name, value in arrays.items() if value is not None},
        )
        write_bytes(path, buffer.getvalue())
        return found.to("cpu"), path


def fid(fake: Features, reference: Reference) -> float:
    """Fréchet inception distance (Heusel et al. 2017, arXiv:1706.08500):
    ‖μ_r − μ_f‖² + tr(C_r + C_f − 2 (C_r^½ C_f C_r^½)^½)."""
    real = reference.real
    values = np.linalg.eigvalsh(real.root @ fake.covariance @ real.root)
    trace = (
        np.trace(real.covariance) + np.trace(fake.covariance) - 2 * np.sqrt(values.clip(0)).sum()
    )
    return float(np.square(real.mean - fake.mean).sum() + trace)


def is_mean(fake: Features, reference: Reference) -> Reading:
    """Inception score (Salimans et al. 2016, arXiv:1606.03498): the mean over SPLITS, and its
    standard error."""
    mean, std = fake.inception_score
    return mean, std / SPLITS**0.5


def is_std(fake: Features, reference: Reference) -> float:
    """The standard deviation of the Inception score over its splits."""
    return fake.inception_score[1]


def kid(fake: Features, reference: Reference) -> float:
    """Kernel inception distance (Bińkowski et al. 2018, arXiv:1801.01401): the unbiased
    cubic-kernel MMD², mean over random subsets. The subsets overlap, so their spread is no standard
    error."""
    assert len(fake.features) == len(reference.held.features)  # which the subsets are drawn for
    index, real_index, real_sums = reference.subsets
    size, real = reference.kid_subset_size, reference.real.features.to(reference.device)
    crossed = kernel_sums(fake.features, real, index, real_index)
    found = (pair_sums(fake.features, index) + real_sums) / (
        size * (size - 1)
    ) - 2 * crossed / size**2
    return found.mean().item()


def precision(fake: Features, reference: Reference) -> float:
    """Improved precision (Kynkäänniemi et al. 2019, arXiv:1904.06991): the share of generated
    images inside the manifold of the real ones."""
    return reference.overlap(fake).precision


def recall(fake: Features, reference: Reference) -> float:
    """Improved recall (Kynkäänniemi et al. 2019): the share of real images inside the manifold of
    the generated."""
    return reference.overlap(fake).recall


def nn_ratio(fake: Features, reference: Reference) -> float:
    """The median feature distance of generated images to their nearest training image, over
    held-out images': about 1 for new samples, towards 0 for memorised ones; NaN where most held-out
    images are in the training set."""
    held = reference.held_distance
    return reference.overlap(fake).distance / held if held else float("nan")


def duplicates(fake: Features, reference: Reference) -> float:
    """The share of generated images as near to their nearest other generated image as only
    NEAR_SHARE of as many held-out images are to theirs: that share for real images, towards 1 for a
    generator that makes few different pictures, or pictures with nothing in them. After the
    birthday test of Arora & Zhang 2017 (arXiv:1706.08224), the pairs found by features and not by
    eye."""
    return (fake.nearest_other <= reference.near).double().mean().item()


def modes_covered(fake: Features, reference: Reference) -> float:
    """Modes that the classifier finds in one generated image or more (Metz et al. 2017,
    arXiv:1611.02163; Lin et al. 2018, arXiv:1712.04086): the modes are the classes, a sample's mode
    is its likeliest one."""
    return float((_mode_counts(fake) > 0).sum())


def reverse_kl(fake: Features, reference: Reference) -> float:
    """KL(q ‖ uniform) in nats, q the distribution of all samples over the modes (Lin et al. 2018).
    n samples of a perfect generator have about (modes − 1) / 2n: read it beside its noise floor."""
    counts = _mode_counts(fake)
    q = counts.double() / counts.sum()
    return torch.special.xlogy(q, q * len(q)).sum().item()


def _mode_counts(images: Features) -> Tensor:
    assert images.logits is not None
    return torch.bincount(images.logits.argmax(dim=1), minlength=images.logits.shape[1])
