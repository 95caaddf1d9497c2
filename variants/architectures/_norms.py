"""Norms of a sample by itself."""

from torch import Tensor, nn


class InstanceNorm(nn.GroupNorm):
    """Instance norm (Ulyanov et al. 2016, arXiv:1607.08022). Raises ValueError for vectors, whose
    channels have one value each."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < 3:
            raise ValueError("instance norm needs several positions per channel, a vector has one")
        return super().forward(x)


class TokenNorm(nn.GroupNorm):
    """Layer norm of every token by itself: (batch, tokens, width) -> the same.

    The numbers are those of torch's LayerNorm, whose derivative in forward mode gives a wrong
    gradient (https://github.com/pytorch/pytorch/issues/196700): a penalty by jvp needs that."""

    def __init__(self, width: int) -> None:
        super().__init__(1, width)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).view_as(x)


class PixelNorm(nn.Module):
    """x / √(mean of x² over the channels + 1e-8) at every position (Karras et al. 2018,
    arXiv:1710.10196). It has no parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
