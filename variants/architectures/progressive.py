"""Progressive growing: networks whose resolution and depth grow while they train."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from variants.architectures import (
    Ending,
    Norm,
    NormLayer,
    Output,
    Shape,
    conv,
    halvings,
    linear,
    norm_layer,
)

SLOPE = 0.2  # of LeakyReLU
ROUNDING = 1e-9  # of a share of the budget


class Growing(nn.Module):
    """What both networks share: their sizes, from the start size to the image's, and at which of
    them they are now. Without `grow` that is the image's size from the first step on.

    `images` holds, by size, the 1×1 convolution between an image and the layers of that size."""

    at: Callable[[float], None] | None = None  # only of a network that grows
    images: nn.ModuleDict
    blend_weights: Tensor
    """1 − α and α, (2,); a buffer, so that compiled steps read the present values."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.level = halvings(shape)
        self.alpha = 1.0
        self.register_buffer("blend_weights", torch.tensor([0.0, 1.0]), persistent=False)
        levels = range(self.level + 1)
        self.channels = shape[0]
        self.sizes = [shape[1] >> level for level in reversed(levels)]
        self.widths = [width << level for level in reversed(levels)]

    def grow(self, stages: Sequence[Any]) -> None:
        """Follow stages, each with `share`, `size` and `fade`: `at(share of the budget)` is then
        the stage that is reached, α through its fade. Raises ValueError for sizes that are not the
        last of the network's."""
        sizes = [stage.size for stage in stages]
        if sizes != self.sizes[-len(sizes) :]:
            raise ValueError(
                f"training.growth must double the size up to the image's, such as {self.sizes}, "
                f"not {sizes}"
            )
        for size in sizes[:-1]:
            self.images[str(size)] = self.image_layer(self.widths[self.sizes.index(size)])
        self.stages = tuple(stages)
        self.form_shares = tuple(_middles(self.stages))
        self.at = self._at

    def image_layer(self, width: int) -> nn.Module:
        """The convolution between an image and layers of a width."""
        raise NotImplementedError

    def _at(self, progress: float) -> None:
        stage = [stage for stage in self.stages if stage.share <= progress][-1]
        self.level = self.sizes.index(stage.size)
        alpha = 1.0
        if stage.fade:
            alpha = min(1.0, (progress - stage.share) / stage.fade)
        if alpha != self.alpha:
            self.alpha = alpha
            self.blend_weights[0].fill_(1 - alpha)
            self.blend_weights[1].fill_(alpha)

    @property
    def form(self) -> tuple[int, bool]:
        """The level, and whether its size is fading in."""
        return self.level, self.alpha < 1

    @property
    def unused(self) -> set[str]:
        """The names of the parameters that have no part in the present form."""
        used = {f"images.{self.sizes[self.level]}"}
        used |= {f"pairs.{index}" for index in range(self.level)}
        if self.alpha < 1:
            used.add(f"images.{self.sizes[self.level - 1]}")
        found = set()
        for name, _ in self.named_parameters():
            part = ".".join(name.split(".")[:2])
            if part.startswith(("images.", "pairs.")) and part not in used:
                found.add(name)
        return found

    def of_image(self, level: int, x: Tensor) -> Tensor:
        """The convolution of a level."""
        found: Tensor = self.images[str(self.sizes[level])](x)
        return found


class Generator(Growing):
    """Generator of progressive growing, Karras et al. 2018 (arXiv:1710.10196).

    Linear to the start size and a 3×3 convolution, two more per doubling of the size, LeakyReLU and
    norm after each; at every size a 1×1 convolution and tanh make an image. While a size fades in,
    the image is (1 − α)·up(image of the smaller size) + α·image, up by nearest neighbours.

    Left out of the paper are equalised rates and the critic's standard deviation over a batch,
    which ties samples together. 5,767,715 parameters at 64×64.

    width: Channels at the image's size; at half the size twice as many."""

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        width: int = 32,
        generator_norm: NormLayer = "pixel",
        output: Ending = "auto",
    ) -> None:
        super().__init__(shape, width)
        self.latent_dim = latent_dim
        self.start = (self.widths[0], self.sizes[0], self.sizes[0])
        self.linear = linear(latent_dim, math.prod(self.start), "he")
        self.norm = norm_layer(generator_norm, self.widths[0])
        self.first = Layer(self.widths[0], self.widths[0], generator_norm)
        self.pairs = nn.ModuleList()
        for n_in, n_out in zip(self.widths[:-1], self.widths[1:], strict=True):
            pair = Layer(n_in, n_out, generator_norm), Layer(n_out, n_out, generator_norm)
            self.pairs.append(nn.Sequential(*pair))
        self.images = nn.ModuleDict({str(shape[1]): self.image_layer(width)})
        self.output = Output(output)

    def image_layer(self, width: int) -> nn.Module:
        return conv(width, self.channels, 1, "glorot")

    def forward(self, z: Tensor) -> Tensor:
        """Images at the size of the stage."""
        x = self.linear(z).view(-1, *self.start)
        x = smaller = self.first(self.norm(leaky_relu(x, SLOPE)))
        for pair in self.pairs[: self.level]:
            smaller = x
            x = pair(up(x))
        image = self.output(self.of_image(self.level, x))
        if self.alpha < 1:
            former = self.output(self.of_image(self.level - 1, smaller))
            image = blend(up(former), image, self.blend_weights)
        return image

    def whole(self, images: Tensor) -> Tensor:
        """Images of a stage at the size of the data."""
        while images.shape[-1] < self.sizes[-1]:
            images = up(images)
        return images


class Discriminator(Growing):
    """The critic, the generator's mirror image: means over 2×2 halve the size, the last layers are
    a 3×3 convolution and a linear one. 4,719,649 parameters at 64×64.

    The paper has no norm in the critic; where asked for it stands behind the activation."""

    paper_norm: Norm = "none"

    def __init__(self, shape: Shape, norm: Norm = "auto", width: int = 32) -> None:
        super().__init__(shape, width)
        norm = self.paper_norm if norm == "auto" else norm
        self.images = nn.ModuleDict({str(shape[1]): self.image_layer(width)})
        self.pairs = nn.ModuleList()
        for n_out, n_in in zip(self.widths[:-1], self.widths[1:], strict=True):
            self.pairs.append(nn.Sequential(Layer(n_in, n_in, norm), Layer(n_in, n_out, norm)))
        self.last = Layer(self.widths[0], self.widths[0], norm)
        self.linear = linear(self.widths[0] * self.sizes[0] ** 2, 1, "glorot")

    def image_layer(self, width: int) -> nn.Module:
        return conv(self.channels, width, 1, "he")

    def forward(self, x: Tensor) -> Tensor:
        """Scores of images at the size of the stage."""
        features = leaky_relu(self.of_image(self.level, x), SLOPE)
        for level in range(self.level, 0, -1):
            features = down(self.pairs[level - 1](features))
            if level == self.level and self.alpha < 1:
                former = leaky_relu(self.of_image(level - 1, down(x)), SLOPE)
                features = blend(former, features, self.blend_weights)
        return self.linear(self.last(features).flatten(1)).squeeze(1)

    def shown(self, images: Tensor) -> Tensor:
        """Real images (batch, C, H, W) at the size of the stage, faded as the generator's are."""
        while images.shape[-1] > self.sizes[self.level]:
            images = down(images)
        if self.alpha < 1:
            images = blend(up(down(images)), images, self.blend_weights)
        return images


class Layer(nn.Module):
    """A 3×3 convolution, LeakyReLU, norm."""

    def __init__(self, n_in: int, n_out: int, norm: Norm | NormLayer) -> None:
        super().__init__()
        self.conv = conv(n_in, n_out, 3, "he")
        self.norm = norm_layer(norm, n_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(leaky_relu(self.conv(x), SLOPE))


def up(images: Tensor) -> Tensor:
    """Twice the size, by nearest neighbours."""
    return interpolate(images, scale_factor=2)


def down(images: Tensor) -> Tensor:
    """Half the size, by means over 2×2."""
    return avg_pool2d(images, 2)


def blend(former: Tensor, latter: Tensor, weights: Tensor) -> Tensor:
    """weights[0]·former + weights[1]·latter."""
    return weights[0] * former + weights[1] * latter


def _middles(stages: Sequence[Any]) -> Iterator[float]:
    """A share of the budget in the middle of every fade, and of the rest of every stage."""
    ends = [*[stage.share for stage in stages[1:]], 1.0]
    for stage, end in zip(stages, ends, strict=True):
        faded = stage.share + stage.fade
        if stage.fade:
            yield stage.share + stage.fade / 2
        if end - faded > ROUNDING:
            yield (faded + end) / 2
