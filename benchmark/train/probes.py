"""What a run looks like from inside, beyond what its steps return, measured at a thinned rate.

Every probe stays on the device; the training loop copies them once per log interval."""

from typing import Any

import torch
from torch import Tensor, nn

from variants.objectives import full_precision

PROBES = (
    *("penalty", "slope", "slope_std", "d_real_std", "d_fake_std", "saturation", "clipped"),
    *("d_loss_train", "d_loss_holdout"),
)
SATURATED = 1e-3  # how near to 0 or 1 a probability counts as saturated


def probe(
    objective: Any,
    G: nn.Module,
    D: nn.Module,
    real: Tensor,
    splits: tuple[Tensor, Tensor],
    z: Tensor,
    generator: torch.Generator,
) -> list[Tensor]:
    """PROBES of the state after a generator step, as scalars on the device. real (batch, *shape) is
    the batch of its last critic step; splits are fresh batches of the training and of the held-out
    split, for the critic has just been fitted to the other.

    penalty: before its weight. slope, slope_std: mean and standard deviation of ‖∇D(x̂)‖₂ on random
    points between real and fake samples, for every objective. d_real_std, d_fake_std: standard
    deviation of the scores. saturation: the share of probabilities σ(s), of real and fake samples,
    within SATURATED of 0 or 1. clipped: the share of the critic's weights at the bound that they
    are clipped to. d_loss_train, d_loss_holdout: the critic's loss on the two splits with the same
    fake samples and the same noise. What an objective does not have is NaN.

    In full float32, whatever the training's precision; buffers (spectral norm's vectors, batch
    norm's averages) are left as they were, so that looking changes nothing."""
    buffers = [(buffer, buffer.clone()) for network in (G, D) for buffer in network.buffers()]
    alpha = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, generator=generator)
    with full_precision(real):
        with torch.no_grad():
            fake = G(z)
        x = (real + alpha * (fake - real)).requires_grad_()
        (gradient,) = torch.autograd.grad(D(x).sum(), x)
        slopes = gradient.flatten(1).norm(dim=1)
        noise = objective.draw(real, generator)
        penalty = objective.penalty(D, real, fake, noise)
        penalty = torch.full_like(slopes[0], torch.nan) if penalty is None else penalty.detach()
        losses = [objective.d_loss(D, batch, fake, noise).detach() for batch in splits]
        with torch.no_grad():
            scores = D(real), D(fake)
    for buffer, before in buffers:
        buffer.copy_(before)
    nothing = torch.full_like(losses[0], torch.nan)
    near = (torch.cat(scores).sigmoid() - 0.5).abs() > 0.5 - SATURATED
    return [
        penalty,
        slopes.mean(),
        slopes.std(),
        *(score.std() for score in scores),
        near.float().mean() if objective.sigmoid else nothing,
        _share_clipped(D, objective.clip) if objective.clip is not None else nothing,
        *losses,
    ]


def _share_clipped(D: nn.Module, clip: float) -> Tensor:
    weights = torch.cat([p.detach().flatten() for p in D.parameters()])
    return (weights.abs() >= clip * (1 - 1e-6)).float().mean()


def layer_norms(network: nn.Module) -> dict[str, Tensor]:
    """The norm of the last step's gradient of every parameter tensor, a scalar on the device, by
    the parameter's name in the order of the layers."""
    named = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return dict(zip(named, torch._foreach_norm(list(named.values())), strict=True))
