"""Which objective, architecture and dataset may meet, and which normalisation their critic has."""

from functools import cache
from typing import Any

import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.matrix.cell import Choice
from benchmark.matrix.values import classes
from variants.architectures import BatchNorm, build, critic_of

# Layers that tie the samples of a batch together
COUPLING = (BatchNorm, nn.modules.batchnorm._BatchNorm)
NORMS = (*COUPLING, nn.GroupNorm, nn.LayerNorm)


@cache  # one answer for all seeds
def critic_norm(objective: Choice, architecture: Choice, dataset: Choice) -> str:
    """The normalisation of the critic: as set, otherwise that of the objective, otherwise that of
    the paper; under a per-sample penalty layer norm replaces batch norm; "none" for a critic
    without a layer to normalise.

    Raises UserError for a pair that cannot train: networks that refuse the shape, or a critic that
    couples the samples of a batch under a per-sample penalty."""
    loss = classes("objective", objective.name)[0]
    name, params = critic_of(architecture)
    norm: str = params.get("norm", "auto")
    if norm == "auto":
        norm = _default_norm(loss, name)
    critic = _critic(architecture, dataset, norm)
    if loss.per_sample_penalty and _has_layer(critic, COUPLING):
        raise UserError(
            f"{objective.label} x {architecture.label}: a per-sample penalty and batch norm in the "
            "critic contradict each other (batch norm ties the samples of a batch together); use "
            "norm = 'layer', 'none' or 'auto'"
        )
    return norm if norm == "spectral" or _has_layer(critic, NORMS) else "none"


def _default_norm(loss: Any, critic: str) -> str:
    """What norm = "auto" means for an objective and a critic."""
    norm: str = loss.critic_norm or classes("critic", critic)[0].paper_norm
    return "layer" if norm == "batch" and loss.per_sample_penalty else norm


def _critic(architecture: Choice, dataset: Choice, norm: str) -> nn.Module:
    """The critic on torch's meta device, which takes no memory, after one pass through both
    networks."""
    pair = f"{architecture.label} x {dataset.label}"
    shape = classes("dataset", dataset.name)[0](**dataset.params).shape
    generator: Any
    try:
        generator, critic = build(architecture, shape, norm, "meta")
        latents = torch.empty(2, generator.latent_dim, device="meta")
        scores = critic(generator(latents)).shape
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"{pair}: {error}") from error
    if scores != (2,):
        raise UserError(f"{pair}: a critic gives one score per sample, not {scores}")
    return critic


def _has_layer(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    return any(isinstance(module, kinds) for module in network.modules())
