"""The extractor `classifier`: a small convolutional network, trained on the labels of a dataset."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import register_feature_extractor

from benchmark.errors import UserError
from benchmark.matrix.cell import digest
from benchmark.measure.kept import read_arrays, write_arrays
from benchmark.measure.protocol import cache_folder, content_hash

# classifiers shipped with the suite: the quick matrix has one protocol on every machine
SHIPPED = Path(__file__).parent / "weights"

# how a classifier is trained
EPOCHS = 30
BATCH = 50
LR = 1e-3
MOST = 150_000  # images in all epochs together, but two whole epochs at least

# in the key of a classifier
RECIPE = (
    f"3 convolutions, 64 features; Adam {LR}, cosine, {EPOCHS} passes of {BATCH}, {MOST} at most"
)


class Classifier(FeatureExtractorBase):
    """A small convolutional classifier of a dataset's own labels, for data unlike ImageNet: the
    practice of TF-GAN for MNIST. It has three 3×3 convolutions, which halve the side while it is
    above 4, then 64 features, then logits. The features have root mean square 1 over the training
    images: KID's kernel is not scale-free.

    A classifier that is trained on one channel is applied to each channel of images that have
    several (stacked digits). The features are put side by side. The logits are the log
    probabilities of all combinations of classes, where the first channel's class counts most."""

    def __init__(
        self,
        name: str,
        features_list: list[str],
        feature_extractor_weights_path: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(name, features_list)
        with np.load(feature_extractor_weights_path, allow_pickle=False) as arrays:
            self.body, self.out = _layers(tuple(arrays["shape"]), len(arrays["out.bias"]))
            self.accuracy = float(arrays["accuracy"])
            self.register_buffer("scale", torch.ones(()))
            names = set(arrays) - {"shape", "accuracy"}
            state = {name: torch.from_numpy(arrays[name]) for name in names}
        self.load_state_dict(state)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        n, channels = images.shape[:2]
        stacked = self.body[0].in_channels == 1 and channels > 1
        if stacked:
            images = images.flatten(0, 1).unsqueeze(1)
        features = self.body(_scaled(images))
        logits = self.out(features)
        if stacked:
            by_channel = logits.log_softmax(1).unflatten(0, (n, channels)).unbind(1)
            logits = by_channel[0]
            for other in by_channel[1:]:
                logits = (logits.unsqueeze(2) + other.unsqueeze(1)).flatten(1)
            features = features.reshape(n, -1)
        layers = {"features": features / self.scale, "logits": logits}
        return tuple(layers[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return False


register_feature_extractor("classifier", Classifier)


def classifier_weights(dataset: Any) -> Path:
    """The weights file of a dataset's classifier: shipped, cached, or trained now and cached under
    a hash of the images. Raises UserError for a dataset without labels."""
    train, held = dataset.classified()
    if train.labels is None:
        raise UserError(
            f"extractor 'classifier' needs labels, and {dataset.source} has none; "
            "use another extractor"
        )
    content = content_hash(train.samples, train.labels, held.samples, held.labels)
    name = f"classifier-{digest([RECIPE, content], 16)}.npz"
    if (SHIPPED / name).exists():
        return SHIPPED / name
    path = cache_folder() / name
    if read_arrays(path, shape=train.samples.ndim - 1, **{"out.bias": int(train.labels.max()) + 1}):
        return path
    print(
        f"training a classifier on {len(train.samples)} images, once; kept in {path.parent}",
        file=sys.stderr,
    )
    write_arrays(path, **train_classifier(train, held))
    return path


def train_classifier(train: Any, held: Any) -> dict[str, np.ndarray]:
    """Train on (train.samples, train.labels) for EPOCHS epochs, or fewer where these would be more
    than MOST images. Returns the state by name, the images' shape, and the accuracy on held-out
    images."""
    shape = train.samples.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body, out = _layers(tuple(shape), int(train.labels.max()) + 1)
        _fit(nn.Sequential(body, out), train)
    with torch.no_grad():
        features = torch.cat([body(_scaled(part)) for part in train.samples.split(BATCH)])
        scores = torch.cat([out(body(_scaled(part))) for part in held.samples.split(BATCH)])
    accuracy = (scores.argmax(1) == held.labels).double().mean().item()
    arrays = {"scale": features.square().mean().sqrt().numpy()}
    for prefix, module in (("body", body), ("out", out)):
        for name, value in module.state_dict().items():
            arrays[f"{prefix}.{name}"] = value.numpy()
    return arrays | {"shape": np.array(shape), "accuracy": np.array(accuracy)}


def _fit(network: nn.Module, train: Any) -> None:
    """Train a classifier; batches are drawn from torch's default generator."""
    batches = len(train.samples) // BATCH
    epochs = max(2, min(EPOCHS, MOST // len(train.samples)))
    optimizer = torch.optim.Adam(network.parameters(), LR, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    terminal = Console(stderr=True)
    for index in track(
        _shuffled(len(train.samples), batches, epochs),
        "training the classifier",
        total=epochs * batches,
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    ):
        optimizer.zero_grad(set_to_none=True)
        scores = network(_scaled(train.samples[index]))
        nn.functional.cross_entropy(scores, train.labels[index].long()).backward()
        optimizer.step()
        schedule.step()


def _shuffled(num_images: int, batches: int, epochs: int) -> Iterator[Tensor]:
    """The images of every batch."""
    for _ in range(epochs):
        yield from torch.randperm(num_images).split(BATCH)[:batches]


def _scaled(images: Tensor) -> Tensor:
    """uint8 images as floats in [−1, 1]."""
    return images.float() / 127.5 - 1


def _layers(shape: tuple[int, ...], classes: int) -> tuple[nn.Sequential, nn.Linear]:
    """The layers up to the features, and from features to logits, for images of a shape (C, H,
    W)."""
    channels, side = int(shape[0]), int(shape[1])
    width = 32
    layers: list[nn.Module] = []
    for index in range(3):
        stride = 2 if index and side > 4 else 1
        layers += [nn.Conv2d(channels, width, 3, stride, padding=1), nn.ReLU()]
        channels = width
        side = -(-side // stride)
        width = min(64, width * 2)
    body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side * side, 64), nn.ReLU())
    return body, nn.Linear(64, classes)
