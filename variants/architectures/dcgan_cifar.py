"""DCGAN as the script of WGAN-GP for CIFAR-10 has it: batch norm per feature, other weights."""

import math

from torch import Tensor

from variants.architectures import Ending, Init, Norm, NormLayer, Shape, dcgan, norm_layer


class Generator(dcgan.Generator):
    """DCGAN's generator as in the authors' gan_cifar.py (Gulrajani et al. 2017,
    arXiv:1704.00028).

    Against `dcgan`: the first norm stands before the reshape and so normalises each of its
    features (8,192 at 32×32) over the batch alone, and initial weights are He's for convolutions,
    Glorot's for the linear layer. 5,179,907 parameters at 32×32."""

    inits: tuple[Init, Init] = ("glorot", "he")

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        width: int = 128,
        generator_norm: NormLayer = "batch",
        output: Ending = "auto",
    ) -> None:
        super().__init__(shape, latent_dim, width, generator_norm, output)
        self.norm0 = norm_layer(generator_norm, math.prod(self.start))

    def first(self, z: Tensor) -> Tensor:
        return self.norm0(self.linear(z)).view(-1, *self.start)


class Discriminator(dcgan.Discriminator):
    """DCGAN's critic with these initial weights. The script has no norm under the penalty: norm =
    "none", 4,114,689 parameters at 32×32; with batch norm 4,116,225."""

    inits: tuple[Init, Init] = ("glorot", "he")

    def __init__(self, shape: Shape, norm: Norm = "auto", width: int = 128) -> None:
        super().__init__(shape, norm, width)
