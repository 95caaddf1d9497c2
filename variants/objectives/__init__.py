"""The contract of an objective, and its defaults: one critic step per generator step, nothing
random, no penalty. An objective with a `__post_init__` of its own calls that of `Base`.

D maps samples (batch, *shape) to one unbounded score each, (batch,). Every loss is a scalar to be
minimised, every expectation a mean over the batch. The critic's loss is `d_loss`, or the sum of the
scalars that `d_terms` yields one by one. No term uses a score of another one, so that a term can be
differentiated, and its activations freed, before the next one is computed.

All that is random in a loss is drawn by `draw` and passed in as `noise`, so that a step is a pure
function; `noise=None` draws from torch's default generator.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import reduce
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from variants import search_path
from variants._ranges import Log as Log
from variants._ranges import OneOf as OneOf
from variants._ranges import Searched as Searched
from variants._ranges import Uniform as Uniform
from variants._recipes import Recipe as Recipe

# the shipped folder and the user's
__path__[:] = search_path("objectives")

Critic = Callable[[Tensor], Tensor]
Noise = tuple[Tensor, ...] | None


class Base:
    """What every objective has unless it says otherwise."""

    recipe: ClassVar[Recipe]

    # a critic under such a penalty must not couple the samples of a batch
    per_sample_penalty: ClassVar[bool] = False

    # the penalty is a small difference, too small for bf16 and TF32
    float32_penalty: ClassVar[bool] = False

    # what an open norm (auto) of the critic is under this objective; None: the network's own
    critic_norm: ClassVar[str | None] = None

    # whether d_loss is the sum of d_terms: a class that defines d_loss alone has none
    has_terms: ClassVar[bool] = False

    # whether the loss takes scores as log-odds, which saturate
    sigmoid: ClassVar[bool] = False

    # own parameters that a search draws, beside those of the optimiser
    search: ClassVar[Mapping[str, Searched]] = MappingProxyType({})

    # a dataclass field where a matrix may set it
    critic_steps: int = 1
    """Critic steps per generator step."""

    # a dataclass field where a matrix may set it
    clip: float | None = None
    """c: the critic's parameters are clipped to [−c, c]."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        defined = {"d_loss", "d_terms"} & vars(cls).keys()
        if defined:
            cls.has_terms = "d_terms" in defined
        if defined == {"d_terms"}:
            cls.d_loss = _sum_of_terms  # type: ignore[attr-defined]

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


def _sum_of_terms(
    objective: Any, D: Critic, real: Tensor, fake: Tensor, noise: Noise = None
) -> Tensor:
    return reduce(operator.add, objective.d_terms(D, real, fake, noise))


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
    create_graph the gradient too, are differentiable in the critic's parameters, and in what x
    depends on. A critic with a method `observe(x, scores)` is told of the scores.

    The gradient is taken by torch.func under torch.compile and under vmap: neither of them follows
    torch.autograd.grad."""
    if torch.compiler.is_compiling() or torch._C._functorch.maybe_current_level() is not None:
        gradient, scores = torch.func.grad(lambda x: _sum(D(x)), has_aux=True)(x)
        if not create_graph:
            gradient = gradient.detach()
    else:
        leaf = x if x.requires_grad else x.detach().requires_grad_()
        scores = D(leaf)
        (gradient,) = torch.autograd.grad(
            scores.sum(), leaf, create_graph=create_graph, retain_graph=True
        )
    # D may have seen a copy of x
    observe = getattr(D, "observe", None)
    if observe is not None:
        observe(x, scores)
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
