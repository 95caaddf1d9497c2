"""Faults that are planted in real samples: each takes a share of them, up to all."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from variants.datasets import Modes

WIDER = 2.0  # × σ of a mode
WIDER_WITHOUT_MODES = 0.05  # × the root mean square distance to the middle


@dataclass
class Material:
    """What faults are planted in, and made from."""

    samples: Tensor
    """n real samples in random order, (n, *shape)."""
    labels: Tensor | None
    """Their classes or modes (n,), where known."""
    others: Tensor
    """Real samples of other classes than the commonest one of `samples`."""
    training: Tensor
    """What a generator would have learned from."""
    modes: Modes | None
    generator: torch.Generator
    num_values: int = 256
    """How many values an element of a sample of integers has: levels of a pixel, or characters."""

    @property
    def commonest(self) -> Tensor:
        """The indices of the samples of the commonest class."""
        assert self.labels is not None
        return torch.nonzero(self.labels == self.labels.mode().values).squeeze(1)


Fault = Callable[[Material, float], Tensor]


def noise(material: Material, share: float) -> Tensor:
    """A share of the samples is noise: pixels, characters, or points in the square around the
    samples, drawn uniformly."""
    samples, bad = _planted(material, share)
    size = (bad, *samples.shape[1:])
    if samples.dtype == torch.uint8:
        samples[:bad] = torch.randint(
            0, material.num_values, size, generator=material.generator, dtype=torch.uint8
        )
    else:
        side = samples.abs().max()
        samples[:bad] = side * (2 * torch.rand(size, generator=material.generator) - 1)
    return samples


def duplicates(material: Material, share: float) -> Tensor:
    """A share of the samples are copies of the others; at a share of 1, all of one."""
    samples, bad = _planted(material, share)
    kept = samples[min(bad, len(samples) - 1) :]
    samples[:bad] = kept[torch.randint(0, len(kept), (bad,), generator=material.generator)]
    return samples


def dropped(material: Material, share: float) -> Tensor:
    """A share of the commonest class, or mode, is replaced by unseen samples of the others."""
    samples = material.samples.clone()
    members = material.commonest
    bad = members[: _count(members, share)]
    samples[bad] = material.others[torch.arange(len(bad)) % len(material.others)]
    return samples


def copies(material: Material, share: float) -> Tensor:
    """A share of the samples are training samples, as of a generator that learned them by heart."""
    samples, bad = _planted(material, share)
    samples[:bad] = material.training[torch.arange(bad) % len(material.training)]
    return samples


def blur(material: Material, share: float) -> Tensor:
    """A share of the images is blurred: every pixel is the mean of 3 × 3."""
    samples, bad = _planted(material, share)
    mean = avg_pool2d(samples[:bad].float(), 3, stride=1, padding=1, count_include_pad=False)
    samples[:bad] = mean.round().to(samples.dtype)
    return samples


def wider(material: Material, share: float) -> Tensor:
    """A share of the points has noise added, so that its modes are WIDER times as wide."""
    samples, bad = _planted(material, share)
    if material.modes is None:
        size = (samples - samples.mean(0)).square().sum(1).mean().sqrt().item()
        sigma = WIDER_WITHOUT_MODES * size
    else:
        sigma = material.modes.sigma * math.sqrt(WIDER**2 - 1)
    samples[:bad] += sigma * torch.randn(bad, samples.shape[1], generator=material.generator)
    return samples


def shuffled(material: Material, share: float) -> Tensor:
    """A share of the samples of text has its characters in random order."""
    samples, bad = _planted(material, share)
    order = torch.rand(samples[:bad].shape, generator=material.generator).argsort(dim=1)
    samples[:bad] = samples[:bad].gather(1, order)
    return samples


def one_character(material: Material, share: float) -> Tensor:
    """A share of the samples of text is the commonest character, repeated."""
    samples, bad = _planted(material, share)
    samples[:bad] = samples.flatten().mode().values
    return samples


FAULTS: dict[str, dict[str, Fault]] = {
    "images": {
        "noise": noise,
        "duplicates": duplicates,
        "dropped class": dropped,
        "training copies": copies,
        "blur": blur,
    },
    "points": {
        "noise": noise,
        "duplicates": duplicates,
        "dropped mode": dropped,
        "training copies": copies,
        "wider modes": wider,
    },
    "text": {
        "noise": noise,
        "duplicates": duplicates,
        "training copies": copies,
        "shuffled characters": shuffled,
        "one character": one_character,
    },
}
NEED_LABELS = ("dropped class", "dropped mode")


def _planted(material: Material, share: float) -> tuple[Tensor, int]:
    """A copy of the samples, of which the first are to be replaced, and how many."""
    return material.samples.clone(), _count(material.samples, share)


def _count(samples: Tensor, share: float) -> int:
    return round(share * len(samples))
