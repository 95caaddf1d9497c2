"""A small vision transformer whose attention is one fused kernel, which cannot be differentiated
twice."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, scaled_dot_product_attention

from variants.architectures import Norm, Output, Shape, TokenNorm, linear

Kernel = Literal["fused", "math"]
# Named, so that no device chooses attention of single products by itself
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]


class Generator(nn.Module):
    """Transformer generator, after TransGAN, Jiang et al. 2021 (arXiv:2102.07074), far smaller.

    Linear from the latent to a token per patch of the image, blocks, layer norm, linear from every
    token to its patch, tanh. At 8×8 and one channel: 199,428 parameters.

    width: Numbers of a token.
    blocks: Blocks of attention and two linear layers.
    heads: Heads of an attention; they share the width.
    patch: Side of a patch in pixels; it divides the side of the image.
    kernel: Of attention in both networks. fused: one kernel, which keeps no attention weights, and
    has neither a double backward nor a forward mode; math: single products, which have both."""

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 128,
        width: int = 64,
        blocks: int = 2,
        heads: int = 4,
        patch: int = 2,
        kernel: Kernel = "fused",
    ) -> None:
        super().__init__()
        side, pixels = _grid(shape, patch, width, heads)
        self.latent_dim = latent_dim
        self.side, self.patch = side, patch
        self.start = (side**2, width)
        self.linear = linear(latent_dim, math.prod(self.start), "glorot")
        self.blocks = nn.Sequential(*(Block(width, heads, "layer", kernel) for _ in range(blocks)))
        self.norm = TokenNorm(width)
        self.out = linear(width, pixels, "glorot")
        self.output = Output()

    def forward(self, z: Tensor) -> Tensor:
        x = self.blocks(self.linear(z).view(-1, *self.start))
        patches = self.out(self.norm(x)).transpose(1, 2)
        image = pixel_shuffle(patches.unflatten(2, (self.side, self.side)), self.patch)
        return self.output(image)


class Discriminator(nn.Module):
    """Vision transformer, Dosovitskiy et al. 2021 (arXiv:2010.11929), as a critic, far smaller:
    linear from a patch to a token, to which a learned position is added, blocks, linear over all
    tokens. Layer norm in front of attention and linear layers normalises every token by itself. At
    8×8 and one channel: 69,313 parameters."""

    paper_norm: Norm = "layer"

    def __init__(
        self,
        shape: Shape,
        norm: Norm = "auto",
        width: int = 64,
        blocks: int = 2,
        heads: int = 4,
        patch: int = 2,
        kernel: Kernel = "fused",
    ) -> None:
        super().__init__()
        side, pixels = _grid(shape, patch, width, heads)
        self.once_differentiable = kernel == "fused"
        norm = self.paper_norm if norm == "auto" else norm
        self.patch = patch
        self.linear = linear(pixels, width, "glorot")
        self.position = nn.Parameter(torch.zeros(side**2, width))
        self.blocks = nn.Sequential(*(Block(width, heads, norm, kernel) for _ in range(blocks)))
        self.out = linear(side**2 * width, 1, "glorot")

    def forward(self, x: Tensor) -> Tensor:
        patches = pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        tokens = self.blocks(self.linear(patches) + self.position)
        return self.out(tokens.flatten(1)).squeeze(1)


class Block(nn.Module):
    """Attention, then two linear layers with GELU between them, the hidden one twice as wide; each
    behind a norm and added to its input. Tokens (batch, tokens, width) -> the same."""

    def __init__(self, width: int, heads: int, norm: Norm, kernel: Kernel) -> None:
        super().__init__()
        self.heads, self.kernel = heads, kernel
        self.norm1 = _norm(norm, width)
        self.mix = linear(width, 3 * width, "glorot")
        self.joined = linear(width, width, "glorot")
        self.norm2 = _norm(norm, width)
        self.hidden = linear(width, 2 * width, "glorot")
        self.out = linear(2 * width, width, "glorot")

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.joined(self.attend(self.mix(self.norm1(x))))
        hidden: Tensor = self.hidden(self.norm2(x))
        return x + self.out(nn.functional.gelu(hidden))

    def attend(self, mixed: Tensor) -> Tensor:
        """softmax(q kᵀ/√d) v by head, (batch, tokens, width), from q, k and v in one tensor (batch,
        tokens, 3 · width)."""
        q, k, v = mixed.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.kernel == "math":
            seen = (q @ k.mT / math.sqrt(q.shape[3])).softmax(3) @ v
        else:
            with sdpa_kernel(FUSED):
                seen = scaled_dot_product_attention(q, k, v)
        return seen.transpose(1, 2).flatten(2)


def _norm(kind: Norm, width: int) -> nn.Module:
    """The norm of every token. Raises ValueError for one that ties tokens or samples together."""
    layers = {"layer": TokenNorm, "none": nn.Identity}
    if kind not in layers:
        raise ValueError(f"attention has no layer of norm {kind!r}; valid: layer, none, spectral")
    return layers[kind](width)


def _grid(shape: Shape, patch: int, width: int, heads: int) -> tuple[int, int]:
    """How many patches an image has along a side, and the numbers of a patch. Raises ValueError for
    what cannot be divided."""
    if len(shape) != 3 or shape[1] != shape[2] or patch < 1 or shape[1] % patch:
        raise ValueError(f"needs square images whose side patch = {patch} divides, not {shape}")
    if heads < 1 or width % heads:
        raise ValueError(f"heads = {heads} must divide width = {width}")
    return shape[1] // patch, shape[0] * patch**2
