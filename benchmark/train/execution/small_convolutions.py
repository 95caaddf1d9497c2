"""Convolutions of small images as matrix products: a decomposition for tracing a training step.

A library is slow at the gradients of convolutions that have one channel on one side, and at those
of images of a few pixels. The products are the same sums in another order."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing

ATEN = torch.ops.aten
# A dense product is quick if its matrix has at most so many entries, one for every pixel and
# position, per weight of a kernel; between one channel and several, so many pixels. (Measured.)
SMALL = 4

Pair = tuple[int, int]


class Window(NamedTuple):
    """Which pixels of an image (H, W) the weights of a kernel meet, at every one of its positions
    (h, w). A transposed convolution has its input at the positions."""

    image: Pair
    positions: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    @property
    def num_weights(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def suits(self, batch_size: int, weight: Tensor, groups: int) -> bool:
        """Whether dense products are quick: their matrix is made once for a batch."""
        num_pixels, num_positions = _sizes(self)
        is_thin = 1 in (weight.shape[0] // groups, weight.shape[1])
        largest = num_pixels if is_thin else num_pixels * num_positions
        return largest <= SMALL * self.num_weights and batch_size >= self.num_weights


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """aten.convolution of small images as products; NotImplemented for others."""
    if x.dim() != 4:
        return NotImplemented
    window = _window(x, weight, stride, padding, dilation, transposed, output_padding)
    if not window.suits(len(x), weight, groups):
        return NotImplemented
    dense = _dense(weight, groups, window)
    if transposed:
        dense = dense.transpose(1, 2)
    result = _images(torch.bmm(_rows(x, groups), dense), _output(window, transposed))
    return result if bias is None else result + bias.view(1, -1, 1, 1)


def convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> Any:
    """aten.convolution_backward of small images as products; NotImplemented for others."""
    if x.dim() != 4:
        return NotImplemented
    window = _window(x, weight, stride, padding, dilation, transposed, output_padding)
    if not window.suits(len(x), weight, groups):
        return NotImplemented
    of_input = of_weight = of_bias = None
    if output_mask[0]:
        dense = _dense(weight, groups, window)
        if not transposed:
            dense = dense.transpose(1, 2)
        of_input = _images(torch.bmm(_rows(gradient, groups), dense), (x.shape[2], x.shape[3]))
    if output_mask[1]:
        image, positions = (gradient, x) if transposed else (x, gradient)
        of_weight = _weight_gradient(image, positions, weight, groups, window)
    if output_mask[2]:
        of_bias = gradient.sum((0, 2, 3))
    return of_input, of_weight, of_bias


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    ATEN.convolution.default: convolution,
    ATEN.convolution_backward.default: convolution_backward,
}


def _window(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
) -> Window:
    other = []
    for axis in range(2):
        size, kernel = x.shape[2 + axis], weight.shape[2 + axis]
        step, margin = stride[axis], padding[axis]
        reach = dilation[axis] * (kernel - 1)
        if transposed:
            other.append((size - 1) * step - 2 * margin + reach + output_padding[axis] + 1)
        else:
            other.append((size + 2 * margin - reach - 1) // step + 1)
    sizes = [_pair(x.shape[2:]), _pair(other)]
    if transposed:
        sizes.reverse()
    options = [_pair(option) for option in (weight.shape[2:], stride, padding, dilation)]
    return Window(*sizes, *options)


def _pair(values: Sequence[int]) -> Pair:
    first, second = values
    return int(first), int(second)


def _output(window: Window, transposed: bool) -> Pair:
    return window.image if transposed else window.positions


@cache
def _meetings(window: Window) -> Tensor:
    """1 where a weight of the kernel meets a pixel at a position, else 0: (k·l, H·W·h·w)."""

    def along(axis: int) -> Tensor:
        """The same along one axis: (k, H, h)."""
        image, positions, kernel, stride, padding, dilation = (pair[axis] for pair in window)
        starts = torch.arange(positions) * stride - padding
        pixels = starts + torch.arange(kernel).unsqueeze(1) * dilation
        return (pixels.unsqueeze(1) == torch.arange(image).view(1, -1, 1)).float()

    # A constant of the graph, made outside of the tracing
    with disable_proxy_modes_tracing(), unset_fake_temporarily():
        both = torch.einsum("kyu,lxv->klyxuv", along(0), along(1))
        return both.reshape(window.num_weights, -1)


def _dense(weight: Tensor, groups: int, window: Window) -> Tensor:
    """The matrix by which a convolution multiplies an image: weight (g·Co, Ci, k, l) ->
    (g, Ci·H·W, Co·h·w)."""
    num_pixels, num_positions = _sizes(window)
    matrix = weight.reshape(-1, window.num_weights) @ _meetings(window).to(weight.dtype)
    matrix = matrix.view(groups, -1, weight.shape[1], num_pixels, num_positions)
    return matrix.permute(0, 2, 3, 1, 4).reshape(groups, weight.shape[1] * num_pixels, -1)


def _weight_gradient(
    image: Tensor, positions: Tensor, weight: Tensor, groups: int, window: Window
) -> Tensor:
    """The gradient of a weight from images (N, g·Ci, H, W) and positions (N, g·Co, h, w), of which
    one is the input and the other the gradient of the output."""
    num_pixels, num_positions = _sizes(window)
    matrix = torch.bmm(_rows(image, groups).transpose(1, 2), _rows(positions, groups))
    matrix = matrix.view(groups, weight.shape[1], num_pixels, -1, num_positions)
    matrix = matrix.permute(0, 3, 1, 2, 4).reshape(-1, num_pixels * num_positions)
    return (matrix @ _meetings(window).to(matrix.dtype).t()).view(weight.shape)


def _sizes(window: Window) -> tuple[int, int]:
    """Numbers of pixels and of positions."""
    return window.image[0] * window.image[1], window.positions[0] * window.positions[1]


def _rows(x: Tensor, groups: int) -> Tensor:
    """(N, g·C, H, W) -> (g, N, C·H·W)."""
    return x.reshape(len(x), groups, -1).transpose(0, 1)


def _images(rows: Tensor, size: Pair) -> Tensor:
    """(g, N, C·H·W) -> (N, g·C, H, W)."""
    return rows.transpose(0, 1).reshape(rows.shape[1], -1, *size)
