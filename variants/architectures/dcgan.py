"""DCGAN: strided 5×5 convolutions, halved from the image to a start size of at least 4."""

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, leaky_relu, max_pool2d

from variants.architectures import (
    Ending,
    Init,
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

Activation = Literal["leaky", "relu"]
Down = Literal["stride", "mean", "max"]
Pool = Callable[[Tensor, int], Tensor]
POOLS: dict[str, Pool] = {"mean": avg_pool2d, "max": max_pool2d}


class Generator(nn.Module):
    """DCGAN generator, Radford et al. 2016 (arXiv:1511.06434), with the layers of the WGAN-GP
    experiments.

    Linear to the start size, then transposed convolutions that halve the channels; norm and ReLU
    after each but the last, tanh at the end. At 64×64 and width 64: 512-256-128-64-3 channels,
    5,364,739 parameters.

    At 8×8 little of a DCGAN is left, and the two networks are unequal: one transposed convolution
    here, 133,825 parameters for one channel, against the critic's 2,689.

    width: Channels of the layer at half the image's size; a layer at half the size has twice as
    many."""

    inits: tuple[Init, Init] = (0.02, 0.02)  # of the linear layer, of the convolutions
    growth = 2  # of the width with each halving
    emitted = 1  # channels a layer emits per channel that the activation leaves

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        width: int = 64,
        generator_norm: NormLayer = "batch",
        output: Ending = "auto",
    ) -> None:
        super().__init__()
        stages = halvings(shape)
        channels, size = shape[:2]
        self.latent_dim = latent_dim
        widths = [width * self.growth**i for i in reversed(range(stages))]
        emitted = [n * self.emitted for n in widths]
        self.start = (emitted[0], size // 2**stages, size // 2**stages)
        self.linear = linear(latent_dim, math.prod(self.start), self.inits[0])
        self.norm0 = norm_layer(generator_norm, emitted[0])
        self.deconvs = nn.ModuleList(
            deconv(n_in, n_out, 5, self.inits[1])
            for n_in, n_out in zip(widths, [*emitted[1:], channels], strict=True)
        )
        self.norms = nn.ModuleList(norm_layer(generator_norm, n) for n in emitted[1:])
        self.output = Output(output)

    def activation(self, x: Tensor) -> Tensor:
        return x.relu()

    def first(self, z: Tensor) -> Tensor:
        """The linear layer, normalised, (batch, *start)."""
        x: Tensor = self.norm0(self.linear(z).view(-1, *self.start))
        return x

    def forward(self, z: Tensor) -> Tensor:
        x = self.activation(self.first(z))
        for deconv_i, norm_i in zip(self.deconvs, self.norms, strict=False):
            x = self.activation(norm_i(deconv_i(x)))
        return self.output(self.deconvs[-1](x))


class Discriminator(nn.Module):
    """DCGAN critic: strided convolutions that double the channels, LeakyReLU(0.2), norm after each
    but the first.

    At 64×64 and width 64: 3-64-128-256-512 channels, 4,316,545 parameters. At 8×8: one convolution,
    1-64 channels, and the linear layer, 2,689 parameters; no norm, since only later convolutions
    have one.

    critic_activation: leaky is LeakyReLU(0.2).
    down: How the critic halves the size: by the stride of its convolutions, or by a mean or a
    maximum over 2×2 after the activation."""

    paper_norm: Norm = "batch"
    inits: tuple[Init, Init] = (0.02, 0.02)  # of the linear layer, of the convolutions
    emitted = 1  # channels a layer emits per channel that the activation leaves

    def __init__(
        self,
        shape: Shape,
        norm: Norm = "auto",
        width: int = 64,
        critic_activation: Activation = "leaky",
        down: Down = "stride",
    ) -> None:
        super().__init__()
        self.slope = 0.2 if critic_activation == "leaky" else 0.0
        self.pool: Pool | None = POOLS.get(down)
        stages = halvings(shape)
        channels, size = shape[:2]
        widths = [width * 2**i for i in range(stages)]
        emitted = [n * self.emitted for n in widths]
        norm = self.paper_norm if norm == "auto" else norm
        self.convs = nn.ModuleList(
            conv(n_in, n_out, 5, self.inits[1], stride=1 if self.pool else 2)
            for n_in, n_out in zip([channels, *widths], emitted, strict=False)
        )
        self.norms = nn.ModuleList(
            norm_layer(norm if i else "none", n) for i, n in enumerate(emitted)
        )
        self.linear = linear(widths[-1] * (size // 2**stages) ** 2, 1, self.inits[0])

    def activation(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.slope)

    def forward(self, x: Tensor) -> Tensor:
        for conv_i, norm_i in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm_i(conv_i(x)))
            if self.pool is not None:
                x = self.pool(x, 2)
        return self.linear(x.flatten(1)).squeeze(1)
