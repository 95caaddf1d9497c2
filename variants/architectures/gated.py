"""DCGAN with gated multiplicative nonlinearities: a row of the WGAN-GP robustness figure."""

from torch import Tensor

from variants.architectures import Init, Norm, Shape, dcgan
from variants.architectures.dcgan import Down


class Generator(dcgan.Generator):
    """DCGAN's generator with gates, Gulrajani et al. 2017 (arXiv:1704.00028), figure 2, "gated
    multiplicative".

    Every layer but the last emits twice the channels, normalised before the gate. The paper names
    no initial weights; these are its code's: He for convolutions, Glorot for the linear layer.
    10,724,675 parameters at 64×64."""

    inits: tuple[Init, Init] = ("glorot", "he")
    emitted = 2

    def activation(self, x: Tensor) -> Tensor:
        return gate(x)


class Discriminator(dcgan.Discriminator):
    """DCGAN's critic with gates, initial weights as the generator's; 8,624,897 parameters at
    64×64."""

    inits: tuple[Init, Init] = ("glorot", "he")
    emitted = 2

    def __init__(
        self, shape: Shape, norm: Norm = "auto", width: int = 64, down: Down = "stride"
    ) -> None:
        super().__init__(shape, norm, width, down=down)

    def activation(self, x: Tensor) -> Tensor:
        return gate(x)


def gate(x: Tensor) -> Tensor:
    """σ(a) · tanh(b) of interleaved channels a, b, a, b, …: (batch, 2n, …) -> (batch, n, …)."""
    return x[:, ::2].sigmoid() * x[:, 1::2].tanh()
