"""What a run looks like from inside: scores, gradient norms, penalty and slope, measured at a thinned rate.

Every probe stays on the device; the training loop copies them once per log interval."""

from typing import Any

import torch
from torch import Tensor, nn

PROBES = ("d_real", "d_fake", "d_grad_norm", "g_grad_norm", "penalty", "slope")


def probe(
    objective: Any, G: nn.Module, D: nn.Module, real: Tensor, z: Tensor, generator: torch.Generator
) -> list[Tensor]:
    """PROBES of the state after a generator step, as scalars on the device.

    The gradient norms are of the last critic and the last generator step; the slope is the mean ‖∇D(x̂)‖₂ on random
    points between real and fake samples, for every objective; the penalty is NaN for an objective without one."""
    with torch.no_grad():
        fake = G(z)
        d_real, d_fake = D(real).mean(), D(fake).mean()
    alpha = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, generator=generator)
    x = (real + alpha * (fake - real)).requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x)
    penalty = objective.penalty(D, real, fake, objective.draw(real, generator))
    return [
        d_real,
        d_fake,
        grad_norm(D),
        grad_norm(G),
        torch.full_like(d_real, torch.nan) if penalty is None else penalty.detach(),
        gradient.flatten(1).norm(dim=1).mean(),
    ]


def grad_norm(network: nn.Module) -> Tensor:
    """The Euclidean norm of all parameter gradients of a network together."""
    return torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
