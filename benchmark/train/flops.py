"""What a step costs, in critic forward-equivalents: the same on every machine."""

import math
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmark.train.inputs import Inputs
from benchmark.train.step import critic_step, generator_step


def count_forwards(
    objective: Any,
    networks: tuple[nn.Module, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    critic_inputs: Inputs,
    generator_inputs: Inputs,
    precision: str = "float32",
) -> tuple[float, float]:
    """The cost of a critic step and of a generator step in critic forward-equivalents: the
    floating-point operations of their matrix products and convolutions, those of the generator
    included, divided by those of the critic's forward pass on one sample. NaN for a critic without
    matrix products and convolutions.

    networks and optimizers: of generator and critic. Takes both steps: call it on copies."""
    G, D = networks
    with _Flops() as forward, torch.no_grad():
        D(critic_inputs.real)
    with _Flops() as critic:
        critic_step(objective, G, D, optimizers[1], *critic_inputs, precision)
    with _Flops() as generator:
        generator_step(objective, G, D, optimizers[0], *generator_inputs, precision)
    per_sample = forward.total / len(critic_inputs.real) or math.nan
    return critic.total / per_sample, generator.total / per_sample


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
