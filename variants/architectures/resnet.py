"""ResNet: the CIFAR-10 residual networks of WGAN-GP, pre-activation blocks of one width."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

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


class Generator(nn.Module):
    """Unconditional ResNet generator, Gulrajani et al. 2017 (arXiv:1704.00028), appendix C.

    Linear to the start size, a block per doubling, norm, ReLU, 3×3 convolution, tanh. The paper
    doubles the size before the second convolution of a block, its code before the first:
    `upsample_before`. 1,204,483 parameters at 32×32.

    width: Channels of every block.
    upsample_before: The convolution of a block before which the size is doubled."""

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        width: int = 128,
        generator_norm: NormLayer = "batch",
        upsample_before: Literal["first", "second"] = "second",
        output: Ending = "auto",
    ) -> None:
        super().__init__()
        stages = halvings(shape)
        size = shape[1] // 2**stages
        self.latent_dim = latent_dim
        self.start = (width, size, size)
        place = ("first", "second").index(upsample_before)
        self.linear = linear(latent_dim, width * size**2, "glorot")
        self.blocks = nn.Sequential()
        for _ in range(stages):
            doubling = nn.Upsample(scale_factor=2)
            self.blocks.append(Block(width, generator_norm, doubling, place))
        self.norm = norm_layer(generator_norm, width)
        self.conv = conv(width, shape[0], 3, "glorot")
        self.output = Output(output)

    def forward(self, z: Tensor) -> Tensor:
        x = self.blocks(self.linear(z).view(-1, *self.start))
        return self.output(self.conv(self.norm(x).relu()))


class Discriminator(nn.Module):
    """ResNet critic: blocks that halve the image to 8×8 (7×7), two more, ReLU, mean over the
    positions, linear.

    No normalisation in the paper; where asked for it stands as in the generator's blocks, none in
    the first block. 1,053,825 parameters at 32×32."""

    paper_norm: Norm = "none"

    def __init__(self, shape: Shape, norm: Norm = "auto", width: int = 128) -> None:
        super().__init__()
        # without the first block, which always halves
        halved = halvings(shape, least=7) - 1
        norm = self.paper_norm if norm == "auto" else norm
        self.first = First(shape[0], width)
        self.blocks = nn.Sequential()
        for _ in range(halved):
            self.blocks.append(Block(width, norm, nn.AvgPool2d(2)))
        for _ in range(2):
            self.blocks.append(Block(width, norm))
        self.linear = linear(width, 1, "glorot")

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.blocks(self.first(x)).relu().mean((2, 3))).squeeze(1)


class Block(nn.Module):
    """Residual block: twice norm, ReLU, 3×3 convolution, plus the shortcut. `resample` changes the
    size before the first convolution (place 0), before the second (1) or after it (2); the shortcut
    then has a 1×1 convolution."""

    def __init__(
        self, width: int, norm: Norm | NormLayer, resample: nn.Module | None = None, place: int = 2
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(norm, width)
        self.norm2 = norm_layer(norm, width)
        self.conv1 = conv(width, width, 3, "he")
        self.conv2 = conv(width, width, 3, "he")
        self.shortcut: nn.Module = nn.Identity()
        self.resample = nn.ModuleList([nn.Identity(), nn.Identity(), nn.Identity()])
        if resample is not None:
            self.shortcut = nn.Sequential(resample, conv(width, width, 1, "glorot"))
            self.resample[place] = resample

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv1(self.resample[0](self.norm1(x).relu()))
        branch = self.conv2(self.resample[1](self.norm2(branch).relu()))
        return self.shortcut(x) + self.resample[2](branch)


class First(nn.Module):
    """The critic's first block: 3×3 convolution, ReLU, 3×3 convolution, mean pooling, plus the
    pooled image through a 1×1 convolution."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, width, 3, "he")
        self.conv2 = conv(width, width, 3, "he")
        self.shortcut = conv(channels, width, 1, "glorot")

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(self.conv2(self.conv1(x).relu()), 2) + self.shortcut(avg_pool2d(x, 2))
