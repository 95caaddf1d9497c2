"""Residual networks of bottleneck blocks, by their number of layers: 3 per block, and 2."""

from typing import Literal

from torch import Tensor, nn

from variants.architectures import (
    Ending,
    Norm,
    NormLayer,
    Output,
    Shape,
    conv,
    deconv,
    halvings,
    linear,
    norm_layer,
)


class Generator(nn.Module):
    """Bottleneck ResNet generator, the one of the 101-layer ResNet of Gulrajani et al. 2017
    (arXiv:1704.00028), fig. 2.

    The paper gives the depth only; the rest is from its code. Linear to the start size, plain
    blocks at every size with a doubling block between sizes, 1×1 convolution, tanh(x / 5).

    width: Channels at the image's size; half the size has twice as many."""

    layers: int  # 3 per block and 2

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        width: int = 32,
        generator_norm: NormLayer = "batch",
        output: Ending = "auto",
    ) -> None:
        super().__init__()
        plain = plain_blocks(self.layers, shape)
        stages = len(plain) - 1
        self.latent_dim = latent_dim
        size = shape[1] // 2**stages
        self.start = (width * 2**stages, size, size)
        self.linear = linear(latent_dim, width * 2**stages * size**2, "glorot")
        self.blocks = nn.Sequential()
        for stage in reversed(range(stages + 1)):
            n = width * 2**stage
            for _ in range(plain[stage]):
                self.blocks.append(Block(n, n, generator_norm))
            if stage > 0:
                self.blocks.append(Block(n, n // 2, generator_norm, "up"))
        self.conv = conv(width, shape[0], 1, "glorot")
        self.output = Output(output)

    def forward(self, z: Tensor) -> Tensor:
        return self.output(self.conv(self.blocks(self.linear(z).view(-1, *self.start))) / 5)


class Discriminator(nn.Module):
    """Bottleneck ResNet critic, the generator's mirror image: 1×1 convolution, plain blocks at
    every size with a halving block between sizes, linear, divided by 5."""

    paper_norm: Norm = "batch"
    layers: int

    def __init__(self, shape: Shape, norm: Norm = "auto", width: int = 32) -> None:
        super().__init__()
        plain = plain_blocks(self.layers, shape)
        stages = len(plain) - 1
        norm = self.paper_norm if norm == "auto" else norm
        self.conv = conv(shape[0], width, 1, "glorot")
        self.blocks = nn.Sequential()
        for stage in range(stages + 1):
            n = width * 2**stage
            for _ in range(plain[stage]):
                self.blocks.append(Block(n, n, norm))
            if stage < stages:
                self.blocks.append(Block(n, n * 2, norm, "down"))
        self.linear = linear(width * 2**stages * (shape[1] // 2**stages) ** 2, 1, "glorot")

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.blocks(self.conv(x)).flatten(1)).squeeze(1) / 5


class Block(nn.Module):
    """Bottleneck block: shortcut + 0.3 · norm(1×1, 3×3, 1×1 convolution), a ReLU before each, half
    as wide inside.

    The 3×3 convolution changes the size. The shortcut is the identity, on the way down a strided
    1×1 convolution, on the way up a 1×1 convolution to four times the channels, laid out as 2×2
    pixels."""

    def __init__(
        self, n_in: int, n_out: int, norm: Norm | NormLayer, change: Literal["", "down", "up"] = ""
    ) -> None:
        super().__init__()
        if n_in % 2 or n_out % 2:
            raise ValueError(
                f"width must be even, for a bottleneck is half as wide, not {min(n_in, n_out)}"
            )
        self.conv1 = conv(n_in, n_in // 2, 1, "he")
        self.conv2: nn.Module
        self.shortcut: nn.Module = nn.Identity()
        if change == "up":
            self.conv2 = deconv(n_in // 2, n_out // 2, 3, "he")
            self.shortcut = nn.Sequential(conv(n_in, 4 * n_out, 1, "glorot"), nn.PixelShuffle(2))
        else:
            self.conv2 = conv(n_in // 2, n_out // 2, 3, "he", stride=2 if change else 1)
            if change == "down":
                self.shortcut = conv(n_in, n_out, 1, "glorot", stride=2)
        self.conv3 = conv(n_out // 2, n_out, 1, "he", bias=False)
        self.norm = norm_layer(norm, n_out)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv3(self.conv2(self.conv1(x.relu()).relu()).relu())
        return self.shortcut(x) + 0.3 * self.norm(branch)


def plain_blocks(layers: int, shape: Shape) -> list[int]:
    """The number of blocks that keep the size at each size, from the image's size down: spread
    evenly, the remainder over the smallest sizes. Raises ValueError for a shape with more halvings
    than there are blocks."""
    halved = halvings(shape)
    blocks = (layers - 2) // 3
    plain = blocks - halved
    if plain < 0:
        raise ValueError(f"{blocks} blocks are too few to halve shape {shape} {halved} times")
    sizes = halved + 1
    return [(plain + place) // sizes for place in range(sizes)]
