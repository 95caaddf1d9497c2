"""Probes: what a run looks like from inside, besides what its steps return.

Every probe stays on the device; the training loop copies the probes once per log interval."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from variants.objectives import differentiate, full_precision

SATURATED = 1e-3  # distance to 0 or 1 at which a probability counts as saturated


class Probes(NamedTuple):
    """Scalars on the device; NaN for what the objective does not have."""

    penalty: Tensor
    """The penalty before its weight."""

    slope: Tensor
    """Mean of ‖∇D(x̂)‖₂ on random points x̂ between real and fake samples, for every objective."""

    slope_std: Tensor
    """Standard deviation of ‖∇D(x̂)‖₂."""

    d_real_std: Tensor
    """Standard deviation of the scores of real samples."""

    d_fake_std: Tensor
    """Standard deviation of the scores of fake samples."""

    saturation: Tensor
    """Share of the probabilities σ(s) of real and fake samples within SATURATED of 0 or 1."""

    clipped: Tensor
    """Share of the critic's weights at the bound that they are clipped to."""

    sparse: Tensor
    """Share of exactly zero entries of ∂D/∂x̃, the gradient that the generator gets."""

    d_loss_train: Tensor
    """Loss of the critic on a fresh batch of the training split."""

    d_loss_holdout: Tensor
    """Loss of the critic on the held-out split, with the same fake samples and the same noise."""


PROBES = Probes._fields


def probe(
    objective: Any,
    G: nn.Module,
    D: nn.Module,
    real: Tensor,
    splits: tuple[Tensor, Tensor],
    z: Tensor,
    generator: torch.Generator,
) -> Probes:
    """The probes of the state after a generator step, in full float32 whatever the precision of the
    training. Buffers (vectors of spectral norm, averages of batch norm) are left as they were.

    real (batch, *shape): the batch of the last critic step. splits: fresh batches of the training
    split and of the held-out split; the critic was just fitted to `real`. z (batch, latent_dim):
    latents of the fake samples. generator: of the random points and of the noise."""
    with _buffers_restored(G, D), full_precision(real):
        with torch.no_grad():
            fake = G(z)
        slopes = _slopes(D, real, fake, generator)
        noise = objective.draw(real, generator)
        penalty = objective.penalty(D, *objective.seen(real, fake, noise))
        losses = []
        for batch in splits:
            seen = objective.seen(batch, fake, noise)
            losses.append(objective.d_loss(D, *seen).detach())
        with torch.no_grad():
            real_scores = D(real)
        fake_scores, fake_gradient = differentiate(D, fake)
    nan = torch.full_like(losses[0], torch.nan)
    saturation = clipped = nan
    if objective.sigmoid:
        saturation = _share_saturated(torch.cat([real_scores, fake_scores.detach()]))
    if objective.clip is not None:
        clipped = _share_clipped(D, objective.clip)
    return Probes(
        penalty=torch.full_like(slopes[0], torch.nan) if penalty is None else penalty.detach(),
        slope=slopes.mean(),
        slope_std=_spread(slopes),
        d_real_std=_spread(real_scores),
        d_fake_std=_spread(fake_scores.detach()),
        saturation=saturation,
        clipped=clipped,
        sparse=(fake_gradient == 0).float().mean(),
        d_loss_train=losses[0],
        d_loss_holdout=losses[1],
    )


def _spread(values: Tensor) -> Tensor:
    """The standard deviation of a batch, which one sample does not have (NaN)."""
    if len(values) == 1:
        return torch.full_like(values[0], torch.nan)
    return values.std()


@contextmanager
def _buffers_restored(*networks: nn.Module) -> Iterator[None]:
    buffers = [buffer for network in networks for buffer in network.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)


def _slopes(D: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    """‖∇D(x̂)‖₂ at one random point between each real sample and its fake one, (batch,)."""
    shape = (len(real), *[1] * (real.dim() - 1))
    alpha = torch.rand(shape, device=real.device, generator=generator)
    x = (real + alpha * (fake - real)).requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x)
    return gradient.flatten(1).norm(dim=1)


def _share_saturated(scores: Tensor) -> Tensor:
    distance_to_half = (scores.sigmoid() - 0.5).abs()
    return (distance_to_half > 0.5 - SATURATED).float().mean()


def _share_clipped(D: nn.Module, clip: float) -> Tensor:
    weights = torch.cat([p.detach().flatten() for p in D.parameters()])
    return (weights.abs() >= clip * (1 - 1e-6)).float().mean()


def layer_norms(network: nn.Module) -> dict[str, Tensor]:
    """By the name of a parameter, in the order of the layers: the norm of the gradient of the last
    step, a scalar on the device."""
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    norms = torch._foreach_norm(list(gradients.values()))
    return dict(zip(gradients, norms, strict=True))
