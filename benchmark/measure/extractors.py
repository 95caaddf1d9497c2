"""Feature extractors: torch-fidelity's own under their names, and `classifier`, trained on a
dataset's labels."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor
from torch_fidelity.utils import create_feature_extractor

from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import digest
from benchmark.measure.protocol import cache_folder, content_hash
from benchmark.store.files import write_bytes

SHIPPED = (
    Path(__file__).parent / "weights"
)  # so that the quick matrix has one protocol on every machine
EPOCHS, BATCH, LR = 30, 50, 1e-3
MOST = 150_000  # images it is trained on, all passes together, but for two whole passes at least
# in its key
RECIPE = (
    f"3 convolutions, 64 features; Adam {LR}, cosine, {EPOCHS} passes of {BATCH}, {MOST} at most"
)


@dataclass
class Extractor:
    """An extractor resident on a device: uint8 images (n, C, H, W) -> features (n, d), logits (n,
    classes) or None."""

    name: str
    network: FeatureExtractorBase
    feature_layer: str
    logits_layer: str | None
    weights_sha256: str
    resize: str
    accuracy: float | None = None  # of a classifier, on held-out images
    batch: int = 250  # images at a time

    @property
    def short_name(self) -> str:
        return "inception" if self.name == "inception-v3-compat" else self.name

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.name != "classifier" and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        found = self.network.convert_features_tuple_to_dict(self.network(images))
        return found[self.feature_layer], found[self.logits_layer] if self.logits_layer else None


def open_extractor(name: str, weights: str | None, dataset: Any, device: str) -> Extractor:
    """The extractor of a name, with weights from a path, else trained (classifier) or downloaded
    (torch-fidelity's)."""
    if name not in FEATURE_EXTRACTORS_REGISTRY:
        raise unknown("extractor", name, FEATURE_EXTRACTORS_REGISTRY)
    layers = FEATURE_EXTRACTORS_REGISTRY[name].get_default_feature_layer_for_metric
    feature_layer = layers("fid")
    logits_layer = (
        layers("isc") if layers("isc") != feature_layer else None
    )  # CLIP and DINOv2 have no classes
    path = (
        Path(weights).expanduser()
        if weights
        else classifier_weights(dataset)
        if name == "classifier"
        else None
    )
    if path and not path.exists():
        raise UserError(f"evaluation.extractor_weights: no file {str(path)!r}")
    if path and name != "classifier":
        _refuse_unsafe(path)
    try:
        network = create_feature_extractor(
            name,
            [feature_layer, *([logits_layer] if logits_layer else [])],
            cuda=False,
            feature_extractor_weights_path=str(path) if path else None,
            verbose=False,
        ).to(device)
    except OSError as error:
        raise UserError(
            f"extractor {name!r}: its weights could not be downloaded ({error}); put the file on this machine and set "
            "evaluation.extractor_weights to its path, or use extractor = 'classifier'"
        ) from error
    except NotImplementedError as error:
        raise UserError(
            f"extractor {name!r} takes no evaluation.extractor_weights: torch-fidelity downloads"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"extractor {name!r}: {path} does not fit: {str(error).splitlines()[0]}"
        ) from error
    resize = (
        f"torch-fidelity, {network.INPUT_IMAGE_SIZE}"
        if hasattr(network, "INPUT_IMAGE_SIZE")
        else "none"
    )
    accuracy = network.accuracy if isinstance(network, Classifier) else None
    extractor = Extractor(
        name, network, feature_layer, logits_layer, _hash_weights(network), resize, accuracy
    )
    if (
        device == "cpu" and name != "classifier"
    ):  # the fastest there; the classifier's numbers stay those of old
        network.to(memory_format=torch.channels_last)
        extractor.batch = 25
    return extractor


class Classifier(FeatureExtractorBase):
    """A small convolutional classifier of a dataset's own labels, for data unlike ImageNet: the
    practice of TF-GAN for MNIST. Three 3×3 convolutions, halving while the side is above 4, 64
    features of root mean square 1 over the training images (KID's kernel is not scale-free),
    logits.

    One trained on one channel is applied to each channel of images that have several (stacked
    digits): the features side by side, and as logits the log probabilities of all combinations, the
    first channel's class counting most."""

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
            state = {
                key: torch.from_numpy(arrays[key])
                for key in arrays
                if key not in ("shape", "accuracy")
            }
        self.load_state_dict(state)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        n, channels = images.shape[:2]
        stacked = self.body[0].in_channels == 1 and channels > 1
        if stacked:
            images = images.flatten(0, 1).unsqueeze(1)
        features = self.body(images.float() / 127.5 - 1)
        logits = self.out(features)
        if stacked:
            first, *others = logits.log_softmax(1).unflatten(0, (n, channels)).unbind(1)
            logits = first
            for other in others:
                logits = (logits.unsqueeze(2) + other.unsqueeze(1)).flatten(1)
            features = features.reshape(n, -1)
        found = {"features": features / self.scale, "logits": logits}
        return tuple(found[name] for name in self.features_list)

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
    """The weights file of a dataset's classifier: shipped, cached, or trained now and cached by
    content hash."""
    train, held = dataset.classified()
    if train.labels is None:
        raise UserError(
            f"extractor 'classifier' needs labels, and {dataset.source} has none; use another extractor"
        )
    key = digest([RECIPE, content_hash(train.samples, train.labels, held.samples, held.labels)], 16)
    for folder in (SHIPPED, cache_folder()):
        if (folder / f"classifier-{key}.npz").exists():
            return folder / f"classifier-{key}.npz"
    path = cache_folder() / f"classifier-{key}.npz"
    print(
        f"training a classifier on {len(train.samples)} images, once; kept in {path.parent}",
        file=sys.stderr,
    )
    buffer = io.BytesIO()
    arrays: dict[str, Any] = dict(train_classifier(train, held))
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())
    return path


def train_classifier(train: Any, held: Any) -> dict[str, np.ndarray]:
    """Train on (train.samples, train.labels) for EPOCHS passes, fewer where that is over MOST
    images. Returns the state by name, the images' shape, and the accuracy on held-out images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body, out = _layers(tuple(train.samples.shape[1:]), int(train.labels.max()) + 1)
        network = nn.Sequential(body, out)
        epochs = max(2, min(EPOCHS, MOST // len(train.samples)))
        optimizer = torch.optim.Adam(network.parameters(), LR, weight_decay=1e-4)
        steps = epochs * (len(train.samples) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(epochs):
            for index in torch.randperm(len(train.samples)).split(BATCH)[
                : len(train.samples) // BATCH
            ]:
                optimizer.zero_grad(set_to_none=True)
                images = train.samples[index].float() / 127.5 - 1
                nn.functional.cross_entropy(network(images), train.labels[index].long()).backward()
                optimizer.step()
                schedule.step()
    with torch.no_grad():
        guesses = torch.cat(
            [network(part.float() / 127.5 - 1).argmax(1) for part in held.samples.split(BATCH)]
        )
        features = torch.cat(
            [body(part.float() / 127.5 - 1) for part in train.samples.split(BATCH)]
        )
    state = {"scale": features.square().mean().sqrt()}
    state |= {f"body.{name}": value for name, value in body.state_dict().items()}
    state |= {f"out.{name}": value for name, value in out.state_dict().items()}
    arrays = {name: value.numpy() for name, value in state.items()}
    accuracy = (guesses == held.labels).double().mean().item()
    return arrays | {"shape": np.array(train.samples.shape[1:]), "accuracy": np.array(accuracy)}


def _layers(shape: tuple[int, ...], classes: int) -> tuple[nn.Sequential, nn.Linear]:
    channels, side, layers, width = int(shape[0]), int(shape[1]), [], 32
    for index in range(3):
        stride = 2 if index and side > 4 else 1
        layers += [nn.Conv2d(channels, width, 3, stride, padding=1), nn.ReLU()]
        channels, side, width = width, -(-side // stride), min(64, width * 2)
    body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side * side, 64), nn.ReLU())
    return body, nn.Linear(64, classes)


def _refuse_unsafe(path: Path) -> None:
    """torch-fidelity unpickles its weight files; refuse here what is not plain tensors."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} is not a file of plain tensors: {str(error).splitlines()[0]}"
        ) from error


def _hash_weights(network: nn.Module) -> str:
    return content_hash(*(value for _, value in sorted(network.state_dict().items())))
