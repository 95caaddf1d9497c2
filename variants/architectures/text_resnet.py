"""Residual networks for text: the character-level language model of the WGAN-GP paper."""

from torch import Tensor, nn

from variants.architectures import Norm, Shape, conv1d, linear


class Generator(nn.Module):
    """Residual text generator, Gulrajani et al. 2017 (arXiv:1704.00028), section 5.4, with the
    layers and initial weights of the authors' gan_language.py.

    Linear to (width, length), residual blocks, a convolution of kernel 1 to the characters, softmax
    over the characters at every position: latents (batch, latent_dim) -> (batch, length,
    characters). No normalisation. At the defaults and length 32: 15,225,856 parameters, and 513
    per character.

    width: Channels of every block.
    blocks: Residual blocks.
    kernel: Positions that a convolution of a block covers; an odd number.
    residual_scale: What the convolutions of a block are multiplied by before they are added."""

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        width: int = 512,
        blocks: int = 5,
        kernel: int = 5,
        residual_scale: float = 0.3,
    ) -> None:
        super().__init__()
        length, num_characters = _checked(shape, kernel)
        self.latent_dim = latent_dim
        self.start = (width, length)
        self.linear = linear(latent_dim, width * length, "glorot")
        self.blocks = _blocks(blocks, width, kernel, residual_scale)
        self.conv = conv1d(width, num_characters, 1, "he")

    def forward(self, z: Tensor) -> Tensor:
        x = self.blocks(self.linear(z).view(-1, *self.start))
        return self.conv(x).transpose(1, 2).softmax(dim=2)


class Discriminator(nn.Module):
    """Residual text critic: a convolution of kernel 1 from the characters, residual blocks, linear
    over all positions. No normalisation.

    Samples (batch, length, characters) may be one-hot or soft. At the defaults and length 32:
    13,129,217 parameters, and 512 per character."""

    paper_norm: Norm = "none"

    def __init__(
        self,
        shape: Shape,
        norm: Norm = "auto",
        width: int = 512,
        blocks: int = 5,
        kernel: int = 5,
        residual_scale: float = 0.3,
    ) -> None:
        super().__init__()
        length, num_characters = _checked(shape, kernel)
        if norm not in ("auto", "none"):
            raise ValueError(f"text_resnet has no layer of norm {norm!r}; valid: none, spectral")
        self.conv = conv1d(num_characters, width, 1, "he")
        self.blocks = _blocks(blocks, width, kernel, residual_scale)
        self.linear = linear(width * length, 1, "glorot")

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.conv(x.transpose(1, 2)))
        return self.linear(x.flatten(1)).squeeze(1)


class Block(nn.Module):
    """ReLU, convolution, ReLU, convolution; the input plus `scale` times the result."""

    def __init__(self, width: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.conv1 = conv1d(width, width, kernel, "he")
        self.conv2 = conv1d(width, width, kernel, "he")
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        # Not in place: the skip connection has x before the ReLU
        branch = self.conv2(self.conv1(x.relu()).relu())
        return x + self.scale * branch


def _blocks(count: int, width: int, kernel: int, scale: float) -> nn.Sequential:
    return nn.Sequential(*(Block(width, kernel, scale) for _ in range(count)))


def _checked(shape: Shape, kernel: int) -> Shape:
    """The shape of a sample. Raises ValueError for one that is not (length, characters), and for a
    kernel that is not odd."""
    if len(shape) != 2:
        raise ValueError(f"needs text, (length, characters), not shape {shape}")
    if kernel % 2 == 0:
        raise ValueError(f"kernel must be odd, not {kernel}: positions keep their place")
    return shape
