"""The contract of an architecture, and the layers its files are made of.

A file defines `Generator(shape, latent_dim, …)`: latents (batch, latent_dim) -> samples (batch, *shape), images in
[−1, 1]; and `Discriminator(shape, norm="auto", …)`: samples -> one unbounded score each, (batch,). Parameters with
defaults are what a matrix may set; each network takes those it names. `paper_norm` of a Discriminator is what
norm="auto" means, except that under a per-sample penalty batch norm becomes layer norm.

Modules are named, not numbered, so that networks which differ in one layer share the initial weights of the rest.
A layer made here carries `init_std`: `initialise` fills its weight uniformly with that standard deviation.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from variants import load

Norm = Literal["auto", "batch", "layer", "none"]
Shape = tuple[int, ...]
Layer = TypeVar("Layer", bound=nn.Module)


def linear(n_in: int, n_out: int, std: float) -> nn.Linear:
    """A linear layer whose weight will have the given standard deviation."""
    return _with_std(nn.Linear(n_in, n_out), std)


def conv(n_in: int, n_out: int, kernel: int, std: float, stride: int = 1) -> nn.Conv2d:
    """A convolution that divides the size by its stride."""
    return _with_std(nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2), std)


def deconv(n_in: int, n_out: int, kernel: int, std: float) -> nn.ConvTranspose2d:
    """A transposed convolution of stride 2 that doubles the size."""
    return _with_std(nn.ConvTranspose2d(n_in, n_out, kernel, 2, padding=kernel // 2, output_padding=1), std)


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """Batch norm (always on batch statistics), layer norm (per sample over C, H, W; affine per channel) or none."""
    if kind == "batch":
        return BatchNorm(channels)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


class BatchNorm(nn.Module):
    """Batch norm over all dimensions but the channels, on the statistics of the batch at hand, sampling included."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=1e-5)


def halvings(shape: Shape) -> int:
    """How often an image's side is halved: while it is even and the half is at least 4. Raises ValueError for what is
    not (C, H, W) with H = W a multiple of 4 from 8 on."""
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] % 4 or shape[1] < 8:
        raise ValueError(f"needs square images whose side is a multiple of 4 and at least 8, not shape {shape}")
    size, count = shape[1], 0
    while size % 2 == 0 and size // 2 >= 4:
        size, count = size // 2, count + 1
    return count


def build(choice: Any, shape: Shape, norm: str, device: str = "cpu") -> tuple[nn.Module, nn.Module]:
    """Generator and critic of a choice (name, params) for samples of a shape; each takes the parameters it names.
    Raises ValueError for a shape they refuse."""
    module = load("architectures", choice.name)
    params = choice.params | {"norm": norm}
    with torch.device(device):
        return tuple(
            network(shape, **{k: v for k, v in params.items() if k in inspect.signature(network).parameters})
            for network in (module.Generator, module.Discriminator)
        )


def initialise(network: nn.Module, seed_for: Callable[[str], int]) -> None:
    """Fill weights uniformly with each layer's `init_std` (half-range std·√3) and biases with 0, drawing each
    parameter from its own seed; layers without `init_std` keep what their constructor gave them."""
    for name, module in network.named_modules():
        std = getattr(module, "init_std", None)
        if std is not None:
            half = std * math.sqrt(3)
            weight = module.get_parameter("weight")
            generator = torch.Generator().manual_seed(seed_for(f"{name}.weight"))
            with torch.no_grad():
                weight.copy_(torch.empty(weight.shape).uniform_(-half, half, generator=generator))
                if module.bias is not None:
                    module.get_parameter("bias").zero_()


def _with_std(layer: Layer, std: float) -> Layer:
    layer.init_std = std  # type: ignore[assignment]
    return layer
