"""The contract of an objective, and its defaults: one critic step per generator step, nothing
random, no penalty. An objective with a `__post_init__` of its own calls that of `Base`.

D maps samples (batch, *shape) to one unbounded score each, (batch,). Every loss is a scalar to be
minimised, every expectation a mean over the batch. All that is random in a loss is drawn by `draw`
and passed in as `noise`, so that a step is a pure function; `noise=None` draws from torch's default
generator.
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


# The decay of the mean square (alpha) and ε (eps) of each optimiser's own library: PyTorch, and
# TensorFlow 1 for rmsprop_tf. Adam has no alpha; its value is never read
CONSTANTS = {
    "adam": {"alpha": 0.99, "eps": 1e-8},
    "rmsprop": {"alpha": 0.99, "eps": 1e-8},
    "rmsprop_tf": {"alpha": 0.9, "eps": 1e-10},
}


@dataclass(frozen=True)
class Recipe:
    """An optimiser for both networks, as a paper prescribes it. An alpha or eps that is left out is
    the one of CONSTANTS."""

    optimizer: Literal["adam", "rmsprop", "rmsprop_tf"]
    """Of both networks; rmsprop is PyTorch's update, rmsprop_tf TensorFlow's."""

    lr: float
    """Learning rate of both networks, but for one that has its own."""

    betas: tuple[float, float] = (0.5, 0.999)
    """β₁ and β₂ of Adam."""

    alpha: float | None = None
    """Decay of the mean square of RMSProp."""

    eps: float | None = None
    """ε in the denominator of an update; rmsprop_tf has it under the root."""

    d_lr: float | None = None
    """Learning rate of the critic (two rates: Heusel et al. 2017, arXiv:1706.08500)."""

    g_lr: float | None = None
    """Learning rate of the generator."""

    weight_decay: float = 0.0
    """Added to the gradient of a parameter, times the parameter (L2)."""

    @property
    def rates(self) -> tuple[float, float]:
        """The learning rates of generator and critic."""
        g_lr = self.lr if self.g_lr is None else self.g_lr
        d_lr = self.lr if self.d_lr is None else self.d_lr
        return g_lr, d_lr

    def __post_init__(self) -> None:
        for name, value in CONSTANTS.get(self.optimizer, {}).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)


RECIPE = tuple(field.name for field in fields(Recipe))


class Base:
    """What every objective has unless it says otherwise."""

    recipe: ClassVar[Recipe]

    # a critic under such a penalty must not couple the samples of a batch
    per_sample_penalty: ClassVar[bool] = False

    # the penalty is a small difference, too small for bf16 and TF32
    float32_penalty: ClassVar[bool] = False

    # what an open norm (auto) of the critic is under this objective; None: the network's own
    critic_norm: ClassVar[str | None] = None

    # whether the loss takes scores as log-odds, which saturate
    sigmoid: ClassVar[bool] = False

    # a dataclass field where a matrix may set it
    critic_steps: int = 1
    """Critic steps per generator step."""

    # a dataclass field where a matrix may set it
    clip: float | None = None
    """c: the critic's parameters are clipped to [−c, c]."""

    def __post_init__(self) -> None:
        if self.critic_steps < 1:
            raise ValueError(f"critic_steps must be at least 1, not {self.critic_steps}")

    @property
    def least_batch(self) -> int:
        """The smallest batch that the losses are defined for."""
        return 1

    def draw(self, real: Tensor, generator: torch.Generator | None = None) -> Noise:
        """Everything random in d_loss and g_loss for a batch like `real` (batch, *shape)."""
        return None

    def seen(self, real: Tensor, fake: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Noise]:
        """What the losses of a step are given, of its samples and of what `draw` gave."""
        return real, fake, noise

    def d_steps(self, g_step: int) -> int:
        """Critic steps before generator step `g_step` (0, 1, …)."""
        return self.critic_steps

    def after_d_step(self, D: nn.Module) -> None:
        """Called after every optimiser step of the critic."""

    def penalty(self, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None) -> Tensor | None:
        """The penalty before its weight, a scalar; None for an objective without one."""
        return None


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """Autocast and TF32 off on the tensor's device, for results that small differences decide.

    TF32 stays as it is in code that torch.compile traces: it can be set only around all of that
    code."""
    without_autocast = torch.autocast(tensor.device.type, enabled=False)
    if tensor.is_cuda and not torch.compiler.is_compiling():
        return _without_tf32(without_autocast)
    return without_autocast


@contextmanager
def _without_tf32(without_autocast: AbstractContextManager[Any]) -> Iterator[None]:
    matmul = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with without_autocast:
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


def differentiate(D: Critic, x: Tensor, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    """The scores D(x), (batch,), and their gradient in x, (batch, *shape). The scores, and with
    create_graph the gradient too, are differentiable in the critic's parameters; neither is
    differentiable in x.

    The gradient is taken by torch.func under torch.compile and under vmap: neither of them follows
    torch.autograd.grad."""
    if torch.compiler.is_compiling() or torch._C._functorch.maybe_current_level() is not None:
        gradient, scores = torch.func.grad(lambda x: _sum(D(x)), has_aux=True)(x.detach())
        if not create_graph:
            gradient = gradient.detach()
        return scores, gradient
    x = x.detach().requires_grad_()
    scores = D(x)
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=create_graph, retain_graph=True)
    return scores, gradient


def _sum(scores: Tensor) -> tuple[Tensor, Tensor]:
    return scores.sum(), scores


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """x̂ = x + α(x̃ − x) with one α per sample; real and fake (batch, *shape), alpha (batch,)."""
    return real + along(real, alpha) * (fake - real)


def norms(tensor: Tensor) -> Tensor:
    """The Euclidean norm over all non-batch dimensions, (batch,)."""
    return tensor.flatten(1).norm(dim=1)


def along(tensor: Tensor, length: Tensor) -> Tensor:
    """One number per sample, (batch,), in a shape that multiplies `tensor` (batch, *shape)."""
    return length.view(-1, *[1] * (tensor.dim() - 1))
