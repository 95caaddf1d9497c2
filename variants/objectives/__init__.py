"""The contract of an objective, and its defaults: one critic step per generator step, nothing
random, no penalty.

D maps samples (batch, *shape) to one unbounded score each, (batch,); every loss is a scalar to be
minimised, every expectation a batch mean. What is random in a loss is drawn by `draw` and passed in
as `noise`, so that a step is a pure function; `noise=None` draws from torch's default generator.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from variants import search_path

# the shipped folder and the user's
__path__[:] = search_path("objectives")

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
    per_sample_penalty: ClassVar[bool] = (
        False  # such a critic must not couple the samples of a batch
    )
    float32_penalty: ClassVar[bool] = (
        False  # it is a small difference, which bf16 and TF32 would drown
    )
    critic_norm: ClassVar[str | None] = (
        None  # what an open norm (auto) is under it; None: the network's own
    )
    sigmoid: ClassVar[bool] = (
        False  # the loss takes scores as log-odds, which saturate; a bound of weights is `clip`
    )

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


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """Autocast and TF32 off on the tensor's device, for what small differences decide. What
    torch.compile traces keeps its TF32: it can only be set around all of it."""
    without_autocast = torch.autocast(tensor.device.type, enabled=False)
    return (
        _without_tf32(without_autocast)
        if tensor.is_cuda and not torch.compiler.is_compiling()
        else without_autocast
    )


@contextmanager
def _without_tf32(without_autocast: AbstractContextManager[Any]) -> Iterator[None]:
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with without_autocast:
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


def differentiate(D: Critic, x: Tensor, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    """The scores D(x), (batch,), and their gradient in x, (batch, *shape). Scores, and with
    create_graph the gradient, are differentiable in the critic's parameters; neither is in x.

    By torch.func where torch.compile or vmap is at work: neither follows torch.autograd.grad."""
    if torch.compiler.is_compiling() or torch._C._functorch.maybe_current_level() is not None:
        gradient, scores = torch.func.grad(lambda x: _sum(D(x)), has_aux=True)(x.detach())
        return scores, gradient if create_graph else gradient.detach()
    x = x.detach().requires_grad_()
    scores = D(x)
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=create_graph, retain_graph=True)
    return scores, gradient


def _sum(scores: Tensor) -> tuple[Tensor, Tensor]:
    return scores.sum(), scores


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """x̂ = x + α(x̃ − x) with one α per sample; real and fake (batch, *shape), alpha (batch,)."""
    return real + alpha.view(-1, *[1] * (real.dim() - 1)) * (fake - real)


def norms(tensor: Tensor) -> Tensor:
    """The Euclidean norm over all non-batch dimensions, (batch,)."""
    return tensor.flatten(1).norm(dim=1)


def along(tensor: Tensor, length: Tensor) -> Tensor:
    """A length per sample, (batch,), in a shape that multiplies `tensor` (batch, *shape)."""
    return length.view(-1, *[1] * (tensor.dim() - 1))
