"""Images against the training split: FID, Inception score, KID, precision, recall and duplicates on one extractor's
features; modes covered and reverse KL on its classes, where the dataset's classes are modes.

torch-fidelity is the reference: its extractors, and its functions on float64 features. The Fréchet distance, and
precision and recall, are ours: the same numbers from a symmetric eigenproblem with the real side's root kept, and from
blocks of distances with the real side's radii kept.
"""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from benchmark.cell import digest, write_bytes
from benchmark.measure import Reading, cache_folder, content_hash, metric_names, with_error
from benchmark.measure.extractors import Extractor, open_extractor
from benchmark.metrics import column
from benchmark.train import SAMPLING_BATCH
from variants.objectives import full_precision

SPLITS = 10  # of the Inception score
NEIGHBOURHOOD = 3  # of precision and recall
RNG_SEED = 2020  # torch-fidelity's default
NEAR_SHARE = 0.01  # of held-out images stand as near to one another as duplicates do
NEED_LOGITS, NEED_MODES = ("is_mean", "is_std"), ("modes_covered", "reverse_kl")
BATCH = 250
CHUNK = 1000  # images whose distances to all others are in memory at a time


@dataclass
class Features:
    """An extractor's features (n, d) and logits (n, classes) of images, float64 on the CPU."""

    features: Tensor
    logits: Tensor | None

    @cached_property
    def mean(self) -> np.ndarray:
        return self.features.numpy().mean(axis=0)

    @cached_property
    def covariance(self) -> np.ndarray:
        return np.cov(self.features.numpy(), rowvar=False)

    @cached_property
    def root(self) -> np.ndarray:
        """The symmetric square root of the covariance."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(values.clip(0))) @ vectors.T


@dataclass
class Reference:
    """What generated images are held against."""

    real: Features  # of the training split
    held: Features  # of the held-out split
    kid_subsets: int
    kid_subset_size: int
    radii_file: Path | None = None  # where `radii` are kept between runs

    @cached_property
    def radii(self) -> Tensor:
        """Of the training images: the same at every evaluation, and the most expensive part of precision."""
        if self.radii_file is None:
            return radii(self.real)
        if not self.radii_file.exists():
            buffer = io.BytesIO()
            np.save(buffer, radii(self.real).numpy())
            write_bytes(self.radii_file, buffer.getvalue())
        return torch.from_numpy(np.load(self.radii_file))

    @cached_property
    def held_distance(self) -> float:
        """The median distance of held-out images to their nearest training image."""
        return nearest(self.held, self.real)

    @cached_property
    def near(self) -> float:
        """The distance to the nearest other held-out image that NEAR_SHARE of the held-out images do not exceed."""
        return torch.quantile(nearest_other(self.held), NEAR_SHARE, interpolation="lower").item()


class Instrument:
    """The images instrument: n generated images against n_real training images (0: all of them)."""

    def __init__(self, dataset: Any, evaluation: dict[str, Any], device: str) -> None:
        train, held = dataset.train(), dataset.holdout()
        self.n, n_real = evaluation["n"]["images"], evaluation["n_real"] or len(train)
        if n_real > len(train):
            raise ValueError(f"evaluation.n_real is {n_real}, but there are only {len(train)} training images")
        if self.n > len(held):
            raise ValueError(f"evaluation.n.images is {self.n}, but only {len(held)} images are held out")
        self.extractor = open_extractor(evaluation["extractor"], evaluation["extractor_weights"], dataset, device)
        names = metric_names("images", evaluation["metrics"])
        if self.extractor.logits_layer is None:
            names = [name for name in names if name not in NEED_LOGITS]
        if self.extractor.name != "classifier" or not dataset.num_modes:  # another's classes are not the modes
            names = [name for name in names if name not in NEED_MODES]
        self.columns = {name: column(name, self.n, self.extractor.short_name) for name in names}
        self.parts = {
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
            "sampling_statistics": evaluation["sampling_statistics"],  # of batch norm
            "kid_subsets": evaluation["kid_subsets"],
            "kid_subset_size": min(evaluation["kid_subset_size"], self.n, n_real),
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
        )

    def measure(self, samples: Tensor) -> dict[str, Reading]:
        return self._readings(extract(self.extractor, samples, self.device))

    def floor(self) -> dict[str, Reading]:
        return self._readings(self.reference.held)

    def _readings(self, fake: Features) -> dict[str, Reading]:
        return {name: with_error(globals()[metric](fake, self.reference)) for metric, name in self.columns.items()}

    def _cached(self, part: str, images: Tensor) -> tuple[Features, Path]:
        """The features of real images, kept in a file under a key that contains everything they depend on."""
        extractor, kind = self.extractor, self.device.partition(":")[0]
        key = digest([content_hash(images), extractor.name, extractor.weights_sha256, extractor.resize, kind], 16)
        path = cache_folder() / f"{part}-{key}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                logits = torch.from_numpy(arrays["logits"]).double() if "logits" in arrays else None
                return Features(torch.from_numpy(arrays["features"]).double(), logits), path
        found = extract(self.extractor, images, self.device, with_logits=part == "held")  # of the floor
        arrays = {"features": found.features, "logits": found.logits}
        buffer = io.BytesIO()
        np.savez(buffer, **{name: value.float().numpy() for name, value in arrays.items() if value is not None})
        write_bytes(path, buffer.getvalue())
        return found, path


@torch.no_grad()
def extract(extractor: Extractor, images: Tensor, device: str, with_logits: bool = True) -> Features:
    """Features and logits of uint8 images (n, C, H, W), in float32 whatever precision the training has; float64 once
    they are on the CPU, for a device may have none."""
    features, logits = [], []
    with full_precision(torch.empty(0, device=device)):
        for batch in images.split(BATCH):
            of_batch, classes = extractor(batch.to(device))
            features.append(of_batch)
            if with_logits and classes is not None:
                logits.append(classes)
    return Features(torch.cat(features).cpu().double(), torch.cat(logits).cpu().double() if logits else None)


def fid(fake: Features, reference: Reference) -> float:
    """Fréchet inception distance (Heusel et al. 2017, arXiv:1706.08500):
    ‖μ_r − μ_f‖² + tr(C_r + C_f − 2 (C_r^½ C_f C_r^½)^½)."""
    real = reference.real
    values = np.linalg.eigvalsh(real.root @ fake.covariance @ real.root)
    trace = np.trace(real.covariance) + np.trace(fake.covariance) - 2 * np.sqrt(values.clip(0)).sum()
    return float(np.square(real.mean - fake.mean).sum() + trace)


def is_mean(fake: Features, reference: Reference) -> Reading:
    """Inception score (Salimans et al. 2016, arXiv:1606.03498): the mean over SPLITS, and its standard error."""
    mean, std = _inception_score(fake)
    return mean, std / SPLITS**0.5


def is_std(fake: Features, reference: Reference) -> float:
    """The standard deviation of the Inception score over its splits."""
    return _inception_score(fake)[1]


def kid(fake: Features, reference: Reference) -> float:
    """Kernel inception distance (Bińkowski et al. 2018, arXiv:1801.01401): the unbiased cubic-kernel MMD², mean over
    random subsets. The subsets overlap, so their spread is no standard error."""
    found = kid_features_to_metric(
        fake.features,
        reference.real.features,
        kid_subsets=reference.kid_subsets,
        kid_subset_size=reference.kid_subset_size,
        rng_seed=RNG_SEED,
        verbose=False,
    )
    return found["kernel_inception_distance_mean"]


def precision(fake: Features, reference: Reference) -> float:
    """Improved precision (Kynkäänniemi et al. 2019, arXiv:1904.06991): the share of generated images inside the
    manifold of the real ones."""
    return _share_inside(fake, reference.real, reference.radii)


def recall(fake: Features, reference: Reference) -> float:
    """Improved recall (Kynkäänniemi et al. 2019): the share of real images inside the manifold of the generated."""
    return _share_inside(reference.real, fake, radii(fake))


def nn_ratio(fake: Features, reference: Reference) -> float:
    """The median feature distance of generated images to their nearest training image, over held-out images': about
    1 for new samples, towards 0 for memorised ones; NaN where most held-out images are in the training set."""
    held = reference.held_distance
    return nearest(fake, reference.real) / held if held else float("nan")


def duplicates(fake: Features, reference: Reference) -> float:
    """The share of generated images as near to their nearest other generated image as only NEAR_SHARE of as many
    held-out images are to theirs: that share for real images, towards 1 for a generator that makes few different
    pictures, or pictures with nothing in them. After the birthday test of Arora & Zhang 2017 (arXiv:1706.08224), the
    pairs found by features and not by eye."""
    return (nearest_other(fake) <= reference.near).double().mean().item()


def modes_covered(fake: Features, reference: Reference) -> float:
    """Modes that the classifier finds in one generated image or more (Metz et al. 2017, arXiv:1611.02163; Lin et al.
    2018, arXiv:1712.04086): the modes are the classes, a sample's mode is its likeliest one."""
    return float((_mode_counts(fake) > 0).sum())


def reverse_kl(fake: Features, reference: Reference) -> float:
    """KL(q ‖ uniform) in nats, q the distribution of all samples over the modes (Lin et al. 2018). n samples of a
    perfect generator have about (modes − 1) / 2n: read it beside its noise floor."""
    counts = _mode_counts(fake)
    q = counts.double() / counts.sum()
    return torch.special.xlogy(q, q * len(q)).sum().item()


def radii(images: Features) -> Tensor:
    """The distance of each image to the NEIGHBOURHOOD-th nearest other one (n,): balls that make up a manifold."""
    x = images.features
    return torch.cat([torch.cdist(part, x).kthvalue(NEIGHBOURHOOD + 1).values for part in x.split(CHUNK)])


def _share_inside(images: Features, centres: Features, radii: Tensor) -> float:
    """The share of images that lie in any of the balls about the centres."""
    parts = images.features.split(CHUNK)
    return torch.cat([(torch.cdist(part, centres.features) <= radii).any(1) for part in parts]).double().mean().item()


def nearest(images: Features, training: Features) -> float:
    """The median distance of images to their nearest training image."""
    parts = [torch.cdist(part, training.features).min(dim=1).values for part in images.features.split(CHUNK)]
    return torch.cat(parts).median().item()


def nearest_other(images: Features) -> Tensor:
    """The distance of each image to the nearest other one (n,): the neighbour by matrix product, then their distance by
    difference, so that equal images are at 0."""
    x, found = images.features, []
    for index in torch.arange(len(x)).split(CHUNK):
        distance = torch.cdist(x[index], x)
        distance[torch.arange(len(index)), index] = torch.inf
        found.append((x[index] - x[distance.argmin(dim=1)]).norm(dim=1))
    return torch.cat(found)


def _mode_counts(images: Features) -> Tensor:
    assert images.logits is not None
    return torch.bincount(images.logits.argmax(dim=1), minlength=images.logits.shape[1])


def _inception_score(fake: Features) -> tuple[float, float]:
    assert fake.logits is not None
    found = isc_features_to_metric(fake.logits, splits=SPLITS, shuffle=True, rng_seed=RNG_SEED)
    return found["inception_score_mean"], found["inception_score_std"]
