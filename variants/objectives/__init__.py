"""The contract of an objective, and its defaults: one critic step per generator step, nothing random, no penalty.

D maps samples (batch, *shape) to one unbounded score each, (batch,); every loss is a scalar to be minimised, every
expectation a batch mean. What is random in a loss is drawn by `draw` and passed in as `noise`, so that a step is a
pure function; `noise=None` draws from torch's default generator.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Critic = Callable[[Tensor], Tensor]
Noise = tuple[Tensor, ...] | None


@dataclass(frozen=True)
class Recipe:
    """An optimiser for both networks, as a paper prescribes it."""

    optimizer: Literal["adam", "rmsprop"]
    lr: float
    betas: tuple[float, float] = (0.5, 0.999)  # adam
    alpha: float = 0.99  # rmsprop


RECIPE = tuple(field.name for field in fields(Recipe))


class Base:
    """What every objective has unless it says otherwise."""

    recipe: ClassVar[Recipe]
    per_sample_penalty: ClassVar[bool] = False  # such a critic must not couple the samples of a batch
    critic_norm: ClassVar[str | None] = None  # what an open norm (auto) is under it; None: the network's own
    sigmoid: ClassVar[bool] = False  # the loss takes scores as log-odds, which saturate; a bound of weights is `clip`

    def draw(self, real: Tensor, generator: torch.Generator | None = None) -> Noise:
        """Everything random in d_loss and g_loss for a batch like `real` (batch, *shape)."""
        return None

    def d_steps(self, g_step: int) -> int:
        """Critic steps before generator step `g_step` (0, 1, …)."""
        return 1

    def after_d_step(self, D: nn.Module) -> None:
        """Called after every optimiser step of the critic."""

    def penalty(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor | None:
        """The penalty before its weight, a scalar; None for an objective without one."""
        return None


@contextmanager
def full_precision(tensor: Tensor) -> Iterator[None]:
    """Autocast and TF32 off on the tensor's device: a penalty's critic passes run inside."""
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with torch.autocast(tensor.device.type, enabled=False):
        if tensor.is_cuda:
            torch.set_float32_matmul_precision("highest")
            torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            if tensor.is_cuda:
                torch.set_float32_matmul_precision(matmul)
                torch.backends.cudnn.allow_tf32 = cudnn


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """x̂ = x + α(x̃ − x) with one α per sample; real and fake (batch, *shape), alpha (batch,)."""
    return real + alpha.view(-1, *[1] * (real.dim() - 1)) * (fake - real)


def norms(tensor: Tensor) -> Tensor:
    """The Euclidean norm over all non-batch dimensions, (batch,)."""
    return tensor.flatten(1).norm(dim=1)


def along(tensor: Tensor, length: Tensor) -> Tensor:
    """A length per sample, (batch,), in a shape that multiplies `tensor` (batch, *shape)."""
    return length.view(-1, *[1] * (tensor.dim() - 1))
