"""DCGAN without batch norm and of constant width in the generator: a row of WGAN-GP's figure 2."""

from variants.architectures import Ending, Init, NormLayer, Shape, dcgan
from variants.architectures.dcgan import Discriminator as Discriminator


class Generator(dcgan.Generator):
    """DCGAN's generator with `width` filters in every layer, Gulrajani et al. 2017
    (arXiv:1704.00028), figure 2, "no BN and a constant number of filters".

    The paper names no initial weights; these are its code's: He for convolutions, Glorot for the
    linear layer. 444,291 parameters at 64×64.

    width: Channels of every layer of the generator; of the critic those of its first layer."""

    inits: tuple[Init, Init] = ("glorot", "he")
    growth = 1

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        width: int = 64,
        generator_norm: NormLayer = "none",
        output: Ending = "auto",
    ) -> None:
        super().__init__(shape, latent_dim, width, generator_norm, output)
