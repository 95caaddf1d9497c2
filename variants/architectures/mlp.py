"""Multilayer perceptron: ReLU networks of WGAN-GP's toy experiments; flattens images and text."""

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from variants.architectures import Norm, NormLayer, Output, Shape, linear, norm_layer

Activation = Literal["relu", "tanh"]


class Generator(nn.Module):
    """ReLU MLP generator, Gulrajani et al. 2017 (arXiv:1704.00028), toy experiments:
    2-512-512-512-2.

    The outputs pass a tanh for images, a softmax over the characters for text.

    latent_dim: Numbers of a latent; 0: 2 for points, 128 for images and text.
    width: Units of a hidden layer.
    depth: Hidden layers.
    activation: Of the hidden layers of both networks."""

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 0,
        width: int = 512,
        depth: int = 3,
        generator_norm: NormLayer = "none",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        default = 2 if len(shape) == 1 else 128
        self.latent_dim = latent_dim or default
        self.shape = shape
        self.body = Body(self.latent_dim, width, depth, generator_norm, activation)
        self.out = linear(width, math.prod(shape), "glorot")
        self.output = Output()

    def forward(self, z: Tensor) -> Tensor:
        x = self.out(self.body(z)).view(-1, *self.shape)
        if len(self.shape) == 3:
            return self.output(x)
        if len(self.shape) == 2:
            return x.softmax(dim=2)
        return x


class Discriminator(nn.Module):
    """ReLU MLP critic: 2-512-512-512-1, no normalisation in the paper."""

    paper_norm: Norm = "none"

    def __init__(
        self,
        shape: Shape,
        norm: Norm = "auto",
        width: int = 512,
        depth: int = 3,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        norm = self.paper_norm if norm == "auto" else norm
        self.body = Body(math.prod(shape), width, depth, norm, activation)
        self.out = linear(width, 1, "glorot")

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x.flatten(1))).squeeze(1)


class Body(nn.Module):
    """`depth` hidden layers of `width` units: linear (He et al. 2015), norm, activation."""

    def __init__(
        self, n_in: int, width: int, depth: int, norm: Norm | NormLayer, activation: Activation
    ) -> None:
        super().__init__()
        widths = [n_in, *[width] * depth]
        self.linears = nn.ModuleList(linear(a, b, "he") for a, b in pairwise(widths))
        self.norms = nn.ModuleList(norm_layer(norm, width) for _ in range(depth))
        self.activation = {"relu": torch.relu, "tanh": torch.tanh}[activation]

    def forward(self, x: Tensor) -> Tensor:
        for linear_i, norm_i in zip(self.linears, self.norms, strict=True):
            x = self.activation(norm_i(linear_i(x)))
        return x
