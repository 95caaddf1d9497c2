"""What a step costs, in critic forward-equivalents: the same on every machine."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmark.train.inputs import Inputs
from benchmark.train.step import autocast, critic_step, generator_step

# Operations of a batch's forward pass through the critic from which on the critic's loss is
# differentiated term by term: then a step takes two thirds of the memory, in no more time
DEEP = 10**10


class Costs(NamedTuple):
    """What the steps of a cell cost."""

    forwards: tuple[float, float]
    """A critic step and a generator step in critic forward-equivalents: the floating-point
    operations of their matrix products and convolutions, those of the generator included, divided
    by those of the critic's forward pass on one sample. NaN for a critic without matrix products
    and convolutions."""

    is_deep: bool
    """Whether the critic is deep: see the function `is_deep`."""


def count_costs(
    objective: Any,
    networks: tuple[nn.Module, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    critic_inputs: Inputs,
    generator_inputs: Inputs,
    precision: str = "float32",
) -> Costs:
    """The costs of a critic step and of a generator step.

    networks and optimizers: of generator and critic. Takes both steps: call it on copies. The fakes
    of the critic step count once if the generator step has the same latents."""
    G, D = networks
    forward = _forward_flops(D, critic_inputs.real)
    with _Flops() as critic:
        critic_step(objective, G, D, optimizers[1], *critic_inputs, precision)
    fake = None
    if generator_inputs.z is critic_inputs.z:
        with autocast(generator_inputs.z, precision):
            fake = G(generator_inputs.z).float()
    with _Flops() as generator:
        generator_step(objective, G, D, optimizers[0], *generator_inputs, precision, fake=fake)
    per_sample = forward / len(critic_inputs.real) or math.nan
    forwards = critic.total / per_sample, generator.total / per_sample
    return Costs(forwards, forward >= DEEP)


def is_deep(D: nn.Module, real: Tensor) -> bool:
    """Whether the forward pass of a batch through a critic takes DEEP operations or more."""
    return _forward_flops(D, real) >= DEEP


def _forward_flops(D: nn.Module, real: Tensor) -> int:
    with _Flops() as forward, torch.no_grad():
        D(real)
    return forward.total


class _Flops(TorchDispatchMode):
    """Counts floating-point operations by torch's own formulas. torch's FlopCounterMode also
    follows modules, which fails for a critic that is differentiated in its input."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        out = func(*args, **options)
        formula = flop_registry.get(func._overloadpacket)
        if formula:
            self.total += formula(*args, **options, out_val=out)
        return out
