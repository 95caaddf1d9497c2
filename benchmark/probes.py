"""What a run looks like from inside, beyond what its steps return: penalty and slope, measured at a thinned rate.

Every probe stays on the device; the training loop copies them once per log interval."""

from typing import Any

import torch
from torch import Tensor, nn

from variants.objectives import full_precision

PROBES = ("penalty", "slope")


def probe(
    objective: Any, G: nn.Module, D: nn.Module, real: Tensor, z: Tensor, generator: torch.Generator
) -> list[Tensor]:
    """PROBES of the state after a generator step, as scalars on the device.

    The slope is the mean ‖∇D(x̂)‖₂ on random points between real and fake samples, for every objective; the penalty,
    before its weight, is NaN for an objective without one. In full float32, whatever the training's precision; the
    critic's buffers (spectral norm's vectors) are left as they were, so that looking changes nothing."""
    buffers = [(buffer, buffer.clone()) for buffer in D.buffers()]
    alpha = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, generator=generator)
    with full_precision(real):
        with torch.no_grad():
            fake = G(z)
        x = (real + alpha * (fake - real)).requires_grad_()
        (gradient,) = torch.autograd.grad(D(x).sum(), x)
    slope = gradient.flatten(1).norm(dim=1).mean()
    penalty = objective.penalty(D, real, fake, objective.draw(real, generator))
    for buffer, before in buffers:
        buffer.copy_(before)
    return [torch.full_like(slope, torch.nan) if penalty is None else penalty.detach(), slope]
