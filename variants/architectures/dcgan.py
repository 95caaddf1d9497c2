"""DCGAN: strided 5×5 convolutions, halved from the image to a start size of at least 4."""

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from variants.architectures import Norm, Shape, conv, deconv, halvings, linear, norm_layer

STD = 0.02


class Generator(nn.Module):
    """DCGAN generator, Radford et al. 2016 (arXiv:1511.06434), with the layers of the WGAN-GP experiments.

    Linear to the start size, then transposed convolutions that halve the channels; norm and ReLU after each but the
    last, tanh at the end. At 64×64 and width 64: 512-256-128-64-3 channels, 5,364,739 parameters.
    """

    def __init__(self, shape: Shape, latent_dim: int = 128, width: int = 64, generator_norm: Norm = "batch") -> None:
        super().__init__()
        stages = halvings(shape)
        channels, size = shape[:2]
        self.latent_dim = latent_dim
        self.start = (width * 2 ** (stages - 1), size // 2**stages, size // 2**stages)
        widths = [width * 2**i for i in reversed(range(stages))]
        norm: Norm = "batch" if generator_norm == "auto" else generator_norm
        self.linear = linear(latent_dim, self.start[0] * self.start[1] * self.start[2], STD)
        self.norm0 = norm_layer(norm, widths[0])
        self.deconvs = nn.ModuleList(
            deconv(n_in, n_out, 5, STD) for n_in, n_out in zip(widths, [*widths[1:], channels], strict=True)
        )
        self.norms = nn.ModuleList(norm_layer(norm, n) for n in widths[1:])

    def forward(self, z: Tensor) -> Tensor:
        x = self.norm0(self.linear(z).view(-1, *self.start)).relu()
        for deconv_i, norm_i in zip(self.deconvs, self.norms, strict=False):
            x = norm_i(deconv_i(x)).relu()
        return self.deconvs[-1](x).tanh()


class Discriminator(nn.Module):
    """DCGAN critic: strided convolutions that double the channels, LeakyReLU(0.2), norm after each but the first.

    At 64×64 and width 64: 3-64-128-256-512 channels, 4,316,545 parameters.
    """

    paper_norm: Norm = "batch"

    def __init__(self, shape: Shape, norm: Norm = "auto", width: int = 64) -> None:
        super().__init__()
        stages = halvings(shape)
        channels, size = shape[:2]
        widths = [width * 2**i for i in range(stages)]
        norm = self.paper_norm if norm == "auto" else norm
        self.convs = nn.ModuleList(
            conv(n_in, n_out, 5, STD, stride=2) for n_in, n_out in zip([channels, *widths], widths, strict=False)
        )
        self.norms = nn.ModuleList(norm_layer(norm if i else "none", n) for i, n in enumerate(widths))
        self.linear = linear(widths[-1] * (size // 2**stages) ** 2, 1, STD)

    def forward(self, x: Tensor) -> Tensor:
        for conv_i, norm_i in zip(self.convs, self.norms, strict=True):
            x = leaky_relu(norm_i(conv_i(x)), 0.2)
        return self.linear(x.flatten(1)).squeeze(1)
