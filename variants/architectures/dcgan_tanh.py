"""DCGAN with tanh in place of ReLU and LeakyReLU: a row of the WGAN-GP robustness figure."""

from torch import Tensor

from variants.architectures import Norm, Shape, dcgan
from variants.architectures.dcgan import Down


class Generator(dcgan.Generator):
    """DCGAN's generator with tanh after every layer, Gulrajani et al. 2017 (arXiv:1704.00028),
    figure 2; 5,364,739 parameters at 64×64."""

    def activation(self, x: Tensor) -> Tensor:
        return x.tanh()


class Discriminator(dcgan.Discriminator):
    """DCGAN's critic with tanh after every layer but the last; 4,316,545 parameters at 64×64."""

    def __init__(
        self, shape: Shape, norm: Norm = "auto", width: int = 64, down: Down = "stride"
    ) -> None:
        super().__init__(shape, norm, width, down=down)

    def activation(self, x: Tensor) -> Tensor:
        return x.tanh()
