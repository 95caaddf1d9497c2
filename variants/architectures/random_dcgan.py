"""DCGAN of any depth, width, nonlinearity and norm: the space of WGAN-GP's random architectures."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from variants.architectures import (
    Init,
    Norm,
    NormLayer,
    Shape,
    conv,
    dcgan,
    halvings,
    norm_layer,
)

Nonlinearity = Literal["relu", "leaky", "softplus", "tanh"]
NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.relu(),
    "leaky": lambda x: leaky_relu(x, 0.2),
    "softplus": lambda x: softplus(2 * x + 2) / 2 - 1,
    "tanh": lambda x: x.tanh(),
}


class Generator(dcgan.Generator):
    """DCGAN generator with further convolutions, Gulrajani et al. 2017 (arXiv:1704.00028), table 1.

    The paper leaves open what depth counts. Here it counts the linear layer and the convolutions,
    so that DCGAN has 4 at 32×32, the least of the paper, and 2 at 8×8. What is beyond are 3×3
    convolutions of stride 1 that keep the width, each with norm and nonlinearity, dealt out to the
    resolutions below the image's, from the smallest up: at 32×32 depth 8 has 2, 1 and 1 of them at
    4, 8 and 16. Initial weights are those of the authors' code: He for convolutions, Glorot for
    the linear layer. At 32×32: 1,558,275 parameters.

    width: Channels of the generator's layer at half the image's size.
    depth: Linear and convolution layers of the generator; 0: those of DCGAN.
    nonlinearity: Of the generator; leaky is LeakyReLU(0.2), softplus is softplus(2x + 2)/2 − 1."""

    inits: tuple[Init, Init] = ("glorot", "he")

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        width: int = 64,
        depth: int = 0,
        generator_norm: NormLayer = "batch",
        nonlinearity: Nonlinearity = "relu",
    ) -> None:
        super().__init__(shape, latent_dim, width, generator_norm)
        self.nonlinearity = NONLINEARITIES[nonlinearity]
        numbers = dealt(depth, halvings(shape))
        self.further = nn.ModuleList(
            Further(width * 2**i, number, generator_norm, self.nonlinearity)
            for i, number in zip(reversed(range(len(numbers))), numbers, strict=True)
        )

    def activation(self, x: Tensor) -> Tensor:
        return self.nonlinearity(x)

    def forward(self, z: Tensor) -> Tensor:
        x = self.further[0](self.activation(self.first(z)))
        for deconv, norm, further in zip(self.deconvs, self.norms, self.further[1:], strict=False):
            x = further(self.activation(norm(deconv(x))))
        return self.output(self.deconvs[-1](x))


class Discriminator(dcgan.Discriminator):
    """DCGAN critic with further convolutions, dealt out as the generator's. As in DCGAN the first
    convolution has no norm, and at depth 2 and 8×8 there is no other one. A critic with a norm
    trains with the paper's weight decay, in both networks. At 32×32: 1,034,113 parameters.

    critic_width: Channels of the critic's first layer.
    critic_depth: Linear and convolution layers of the critic; 0: those of DCGAN.
    critic_nonlinearity: Of the critic."""

    inits: tuple[Init, Init] = ("glorot", "he")
    weight_decay_with_norm = 1e-3

    def __init__(
        self,
        shape: Shape,
        norm: Norm = "auto",
        critic_width: int = 64,
        critic_depth: int = 0,
        critic_nonlinearity: Nonlinearity = "leaky",
    ) -> None:
        super().__init__(shape, norm, critic_width)
        norm = self.paper_norm if norm == "auto" else norm
        self.nonlinearity = NONLINEARITIES[critic_nonlinearity]
        numbers = reversed(dealt(critic_depth, halvings(shape), "critic_depth"))
        self.further = nn.ModuleList(
            Further(critic_width * 2**i, number, norm, self.nonlinearity)
            for i, number in enumerate(numbers)
        )

    def activation(self, x: Tensor) -> Tensor:
        return self.nonlinearity(x)

    def forward(self, x: Tensor) -> Tensor:
        for conv_i, norm_i, further in zip(self.convs, self.norms, self.further, strict=True):
            x = further(self.activation(norm_i(conv_i(x))))
        return self.linear(x.flatten(1)).squeeze(1)


class Further(nn.Module):
    """3×3 convolutions of stride 1 and one width, each followed by norm and nonlinearity."""

    def __init__(
        self,
        width: int,
        number: int,
        norm: Norm | NormLayer,
        activation: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(width, width, 3, "he") for _ in range(number))
        self.norms = nn.ModuleList(norm_layer(norm, width) for _ in range(number))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for conv_i, norm_i in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm_i(conv_i(x)))
        return x


def dealt(depth: int, resolutions: int, name: str = "depth") -> list[int]:
    """How many further convolutions a network of this depth has at each resolution below the
    image's, from the smallest up. Raises ValueError for a depth below DCGAN's."""
    least = resolutions + 1
    further = depth - least if depth else 0
    if further < 0:
        raise ValueError(
            f"{name} must be at least {least} at this size (a linear layer and {resolutions} "
            f"convolutions), or 0 for that, not {depth}"
        )
    each, left = divmod(further, resolutions)
    return [each + (i < left) for i in range(resolutions)]
