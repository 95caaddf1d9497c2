"""Feature extractors: torch-fidelity's own under their names, and `classifier`."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
from torch_fidelity.utils import create_feature_extractor

from benchmark.errors import UserError, unknown
from benchmark.measure.features.classifier import Classifier, classifier_weights
from benchmark.measure.features.downloads import downloads_as_allowed
from benchmark.measure.protocol import content_hash


@dataclass
class Extractor:
    """An extractor on a device: uint8 images (n, C, H, W) -> features (n, d), and logits (n,
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
        """The name in a metric's column."""
        return "inception" if self.name == "inception-v3-compat" else self.name

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.name != "classifier" and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        layers = self.network.convert_features_tuple_to_dict(self.network(images))
        logits = layers[self.logits_layer] if self.logits_layer else None
        return layers[self.feature_layer], logits


def open_extractor(name: str, weights: str | None, dataset: Any, device: str) -> Extractor:
    """The extractor of a name. Its weights are read from the path `weights` where one is given,
    else trained (classifier) or downloaded (torch-fidelity's). Raises UserError for an unknown name
    and for weights that cannot be had or do not fit."""
    if name not in FEATURE_EXTRACTORS_REGISTRY:
        raise unknown("extractor", name, FEATURE_EXTRACTORS_REGISTRY)
    default_layer = FEATURE_EXTRACTORS_REGISTRY[name].get_default_feature_layer_for_metric
    feature_layer = default_layer("fid")
    # CLIP and DINOv2 have no classes
    logits_layer = default_layer("isc") if default_layer("isc") != feature_layer else None
    path = _weights_file(name, weights, dataset)
    layers = [feature_layer] if logits_layer is None else [feature_layer, logits_layer]
    network = _create_network(name, layers, path).to(device)
    extractor = Extractor(
        name,
        network,
        feature_layer,
        logits_layer,
        weights_sha256=_hash_weights(network),
        resize=_resize(network),
        accuracy=network.accuracy if isinstance(network, Classifier) else None,
    )
    # the fastest on a CPU; the classifier stays as its published numbers were made
    if device == "cpu" and name != "classifier":
        network.to(memory_format=torch.channels_last)
        extractor.batch = 25
    return extractor


def _weights_file(name: str, weights: str | None, dataset: Any) -> Path | None:
    """The file that an extractor's weights are read from; None where torch-fidelity downloads
    them. Raises UserError for a file that does not exist or holds other things than tensors."""
    if weights:
        path = Path(weights).expanduser()
    elif name == "classifier":
        path = classifier_weights(dataset)
    else:
        return None
    if not path.exists():
        raise UserError(f"evaluation.extractor_weights: no file {str(path)!r}")
    if name != "classifier":
        _refuse_unsafe(path)
    return path


def _create_network(name: str, layers: list[str], path: Path | None) -> FeatureExtractorBase:
    """torch-fidelity's network. Raises UserError for weights that cannot be had or do not fit."""
    try:
        with downloads_as_allowed():
            return create_feature_extractor(
                name,
                layers,
                cuda=False,
                feature_extractor_weights_path=None if path is None else str(path),
                verbose=False,
            )
    except OSError as error:
        raise UserError(
            f"extractor {name!r}: its weights could not be downloaded ({error}); put the file on "
            "this machine and set evaluation.extractor_weights to its path, or use "
            "extractor = 'classifier'"
        ) from error
    except NotImplementedError as error:
        raise UserError(
            f"extractor {name!r} takes no evaluation.extractor_weights: torch-fidelity downloads"
        ) from error
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"extractor {name!r}: {path} does not fit: {reason}") from error


def _resize(network: nn.Module) -> str:
    """How a network resizes images, for the protocol."""
    size = getattr(network, "INPUT_IMAGE_SIZE", None)
    return "none" if size is None else f"torch-fidelity, {size}"


def _refuse_unsafe(path: Path) -> None:
    """torch-fidelity unpickles its weight files; refuse here what is not plain tensors."""
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a file of plain tensors: {reason}") from error


def _hash_weights(network: nn.Module) -> str:
    state = network.state_dict()
    return content_hash(*(state[name] for name in sorted(state)))
