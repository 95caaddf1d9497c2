"""Multilayer perceptron as the generator, DCGAN's critic: a row of WGAN-GP's robustness figure."""

from variants.architectures import NormLayer, Shape, mlp
from variants.architectures.dcgan import Discriminator as Discriminator


class Generator(mlp.Generator):
    """ReLU MLP generator, Gulrajani et al. 2017 (arXiv:1704.00028), figure 2, "4-layer 512-dim ReLU
    MLP".

    The paper's code has four hidden layers and an output layer; in the paper that this row refers
    to, Arjovsky et al. 2017 (arXiv:1701.07875), four layers are three hidden ones and the output:
    depth 3. A tanh ends it. 7,157,760 parameters at 64×64.

    latent_dim: Numbers of a latent.
    units: Units of a hidden layer of the generator.
    width: Channels of the critic's first layer."""

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        units: int = 512,
        depth: int = 4,
        generator_norm: NormLayer = "none",
    ) -> None:
        super().__init__(shape, latent_dim, units, depth, generator_norm)
