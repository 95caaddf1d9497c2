"""One adversarial step: the critic's and the generator's, pure in their tensors, no device synchronisation."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from variants.objectives import full_precision

CRITIC = ("d_loss", "d_real", "d_fake", "d_grad_norm")  # what a critic step returns: loss, mean scores, norm
GENERATOR = ("g_loss", "g_grad_norm")  # what a generator step returns


def critic_step(
    objective: Any,
    G: nn.Module,
    D: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    noise: tuple[Tensor, ...] | None,
    precision: str = "float32",
) -> Tensor:
    """One optimiser step of the critic on real samples (batch, *shape) and latents (batch, latent_dim).

    Real and fake samples pass the critic separately, as batch norm asks. Returns CRITIC, (4,), detached and on the
    device; a mean score is NaN where the loss does not ask for the scores of those very samples."""
    means = [torch.full((), torch.nan, device=real.device)] * 2

    def critic(x: Tensor) -> Tensor:
        scores = D(x).float()
        if x is real or x is fake:
            means[x is fake] = scores.detach().mean()
        return scores

    with autocast(real, precision):
        with torch.no_grad():
            fake = G(z).float()
        loss = objective.d_loss(critic, real, fake, noise)
    assert loss.dim() == 0, f"d_loss must be a scalar, not of shape {tuple(loss.shape)}"
    # a penalty is differentiated again here, in float32 too
    with full_precision(real) if objective.per_sample_penalty else nullcontext():
        _update(optimizer, loss, D)
    norm = grad_norm(D)
    objective.after_d_step(D)
    return torch.stack([loss.detach(), *means, norm])


def generator_step(
    objective: Any,
    G: nn.Module,
    D: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    noise: tuple[Tensor, ...] | None,
    precision: str = "float32",
) -> Tensor:
    """One optimiser step of the generator; no gradient of the critic's weights is computed. Returns GENERATOR, (2,),
    detached and on the device."""
    with autocast(real, precision):
        loss = objective.g_loss(lambda x: D(x).float(), real, G(z).float(), noise)
    assert loss.dim() == 0, f"g_loss must be a scalar, not of shape {tuple(loss.shape)}"
    _update(optimizer, loss, G)
    return torch.stack([loss.detach(), grad_norm(G)])


def count_forwards(
    objective: Any,
    G: nn.Module,
    D: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    real: Tensor,
    latents: tuple[Tensor, Tensor],
    noise: tuple[Tensor, ...] | None,
    precision: str = "float32",
) -> tuple[float, float]:
    """What one critic step and one generator step cost in critic forward-equivalents: the floating-point operations of
    their matrix products and convolutions, the generator's included, by those of the critic's forward pass on one
    sample. Takes both steps, on the latents of each: call it on copies. NaN for a critic that has neither."""
    with _Flops() as forward, torch.no_grad():
        D(real)
    with _Flops() as critic:
        critic_step(objective, G, D, optimizers[1], real, latents[0], noise, precision)
    with _Flops() as generator:
        generator_step(objective, G, D, optimizers[0], real, latents[1], noise, precision)
    one = forward.total / len(real) or math.nan
    return critic.total / one, generator.total / one


class _Flops(TorchDispatchMode):
    """Counts floating-point operations by torch's own formulas; its FlopCounterMode follows modules as well, and
    cannot do so where a critic is differentiated in its input."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def grad_norm(network: nn.Module) -> Tensor:
    """The Euclidean norm of all parameter gradients of a network together."""
    return torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])


def autocast(tensor: Tensor, precision: str) -> AbstractContextManager[Any]:
    """bfloat16 autocast on the tensor's device under precision "bf16"; nothing otherwise."""
    return torch.autocast(tensor.device.type, torch.bfloat16, enabled=precision == "bf16")


def set_precision(precision: str) -> None:
    """Matrix products and convolutions in full float32, or in TF32 under precision "tf32"."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def make_optimizer(recipe: Any, network: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser for a network's parameters."""
    if recipe.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), recipe.lr, tuple(recipe.betas))
    return torch.optim.RMSprop(network.parameters(), recipe.lr, recipe.alpha)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, network: nn.Module) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=list(network.parameters()))
    optimizer.step()
