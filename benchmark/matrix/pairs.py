"""Which objective, architecture and dataset may meet, which normalisation their critic has, and how
large their networks are."""

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.module import register_module_parameter_registration_hook

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.values import classes, made
from benchmark.text import described, one_line
from variants.architectures import BatchNorm, build, critic_of

# Layers that tie the samples of a batch together
COUPLING = (BatchNorm, nn.modules.batchnorm._BatchNorm)
PER_SAMPLE = (nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.modules.instancenorm._InstanceNorm)
NORMS = (*COUPLING, *PER_SAMPLE)
MOST_TENSORS = 10_000  # parameter tensors of both networks: 50 times those of the 101-layer ResNet
# a weight, its gradient and two moments of the optimiser, in float32
BYTES_PER_WEIGHT = 16


class Networks(NamedTuple):
    """Both networks of a pair, on torch's meta device, which takes no memory."""

    generator: Any
    critic: nn.Module
    shape: tuple[int, ...]

    @property
    def num_weights(self) -> int:
        networks = (self.generator, self.critic)
        return sum(weight.numel() for network in networks for weight in network.parameters())


@cache  # one answer for all seeds
def critic_norm(objective: Choice, architecture: Choice, dataset: Choice) -> str:
    """The normalisation of the critic: as set, otherwise that of the objective, otherwise that of
    the paper; under a per-sample penalty layer norm replaces batch norm; "none" for a critic
    without a layer to normalise.

    Raises UserError for a pair that cannot train: networks that refuse the shape, a critic that
    couples the samples of a batch under a per-sample penalty, or one that is once differentiable
    under an objective that differentiates its slope; and for a norm that is set and that the
    critic has no layer for."""
    loss = classes("objective", objective.name)[0]
    name, params = critic_of(architecture)
    asked: str = params.get("norm", "auto")
    norm = _default_norm(loss, name) if asked == "auto" else asked
    critic = networks(architecture, dataset, norm).critic
    if loss.per_sample_penalty and _has_layer(critic, COUPLING):
        raise UserError(
            f"{objective.label} x {architecture.label}: a per-sample penalty and batch norm in the "
            "critic contradict each other (batch norm ties the samples of a batch together); use "
            "norm = 'layer', 'none' or 'auto'"
        )
    if getattr(critic, "once_differentiable", False) and differentiates_twice(objective):
        raise UserError(
            f"{objective.label} x {architecture.label}: the loss differentiates the slope of the "
            "critic, and this critic can be differentiated only once (its kernel has neither a "
            "double backward nor a forward mode); use wgan_fdgp, whose penalty is a difference of "
            "scores, or a critic without such a kernel (attention: kernel = 'math')"
        )
    if norm == "spectral" or _has_layer(critic, NORMS):
        return norm
    if asked not in ("auto", "none"):
        raise UserError(
            f"{architecture.label} x {dataset.label}: the critic has no layer that norm = "
            f"'{asked}' normalises; valid: auto, none, spectral"
        )
    return "none"


def _default_norm(loss: Any, critic: str) -> str:
    """What norm = "auto" means for an objective and a critic."""
    norm: str = loss.critic_norm or classes("critic", critic)[0].paper_norm
    return "layer" if norm == "batch" and loss.per_sample_penalty else norm


@cache
def networks(architecture: Choice, dataset: Choice, norm: str) -> Networks:
    """The networks of a pair, after one pass through both. Raises UserError for networks that
    refuse the shape, or that are too large to be laid out."""
    pair = f"{architecture.label} x {dataset.label}"
    try:
        shape = classes("dataset", dataset.name)[0](**dataset.params).shape
        with _few_tensors():
            images = dataset.params.get("range", "signed")
            generator, critic = build(architecture, shape, norm, "meta", images=images)
        pair_of_networks = Networks(generator, critic, shape)
        scores = _scores(pair_of_networks, batch_size=2)
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"{pair}: {one_line(error)}") from error
    except Exception as error:
        # Such as a size that torch cannot count, or a mistake in a variant of the user's
        raise UserError(f"{pair}: {described(error)}") from error
    if scores != (2,):
        raise UserError(f"{pair}: a critic gives one score per sample, not {tuple(scores)}")
    return pair_of_networks


class _Once(torch.autograd.Function):
    """The identity, which can be differentiated once, and not in forward mode."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(*_: Any) -> None:
        pass

    @staticmethod
    @once_differentiable
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient


@cache
def differentiates_twice(objective: Choice) -> bool:
    """Whether the critic's loss needs a derivative of the critic's slope, by a double backward or
    in forward mode: tried on a critic that has none."""
    loss = made(objective)
    real, fake, weight = torch.randn(3, loss.least_batch + 1, 2)
    weight.requires_grad_()
    try:
        loss.d_loss(lambda x: (_Once.apply(x) * weight).sum(1), real, fake).backward()
    except RuntimeError:
        return True
    return False


@cache
def check_lone_sample(objective: Choice, architecture: Choice, dataset: Choice, norm: str) -> None:
    """Raise UserError for an objective that is not defined for a batch of one sample, and for
    networks that do not train on one, such as those with batch norm over one value per channel."""
    least = made(objective).least_batch
    if least > 1:
        raise UserError(f"{objective.label}: training.batch_size must be at least {least}, not 1")
    try:
        _scores(networks(architecture, dataset, norm), batch_size=1)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"{architecture.label} x {dataset.label}: training.batch_size = 1 is too small, at "
            f"least 2: {one_line(error)}"
        ) from error


@cache
def check_recompute(objective: Choice, architecture: Choice, dataset: Choice, norm: str) -> None:
    """Raise UserError for what cannot train under training.recompute: networks without blocks, and
    a penalty in forward mode, which is no backward pass."""
    pair = networks(architecture, dataset, norm)
    for network in (pair.generator, pair.critic):
        if not isinstance(getattr(network, "blocks", None), nn.Sequential):
            raise UserError(
                f"{architecture.label}: training.recompute needs a generator and a critic made of "
                "blocks, such as those of resnet, resnet101 or text_resnet"
            )
    if objective.params.get("method") == "jvp":
        raise UserError(f"{objective.label}: training.recompute needs method = 'double_backward'")


@cache
def check_growth(architecture: Choice, dataset: Choice, norm: str, stages: tuple[Any, ...]) -> None:
    """Raise UserError for networks that do not grow, and for sizes that they do not have."""
    shape = networks(architecture, dataset, norm).shape
    try:
        build(architecture, shape, norm, "meta", stages)
    except ValueError as error:
        raise UserError(f"{architecture.label} x {dataset.label}: {error}") from error


def sizes(cell: Cell) -> dict[str, int]:
    """The least bytes that the parts of a cell take: both networks with their gradients and
    moments, the samples of a step, those of an evaluation."""
    pair = networks(cell.architecture, cell.dataset, cell.norm)
    options, evaluated = cell.training, cell.evaluation.n
    num_samples = options.batch_size * options.generator_batch_multiple
    numbers = math.prod(pair.shape)
    # (2,), (length, characters) or (C, H, W)
    in_evaluation = {
        1: 4 * numbers * evaluated.points,
        2: 4 * numbers * evaluated.text,
        3: numbers * evaluated.images,
    }[len(pair.shape)]
    return {
        f"{pair.num_weights:,} weights": BYTES_PER_WEIGHT * pair.num_weights,
        f"batches of {num_samples:,}": 4 * num_samples * (numbers + pair.generator.latent_dim),
        "the samples of an evaluation": in_evaluation,
    }


def _scores(pair: Networks, batch_size: int) -> torch.Size:
    latents = torch.empty(batch_size, pair.generator.latent_dim, device="meta")
    return pair.critic(pair.generator(latents)).shape


@contextmanager
def _few_tensors() -> Iterator[None]:
    """Raises ValueError where a network gets more parameter tensors than any that can train."""
    numbers = itertools.count(1)

    def register(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        if next(numbers) > MOST_TENSORS:
            raise ValueError(f"too deep: more than {MOST_TENSORS:,} parameter tensors")

    hook = register_module_parameter_registration_hook(register)
    try:
        yield
    finally:
        hook.remove()


def _has_layer(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    return any(isinstance(module, kinds) for module in network.modules())
