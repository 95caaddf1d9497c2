"""What a step costs, in critic forward-equivalents: the same on every machine."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmark.train.step import critic_step, generator_step


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
    """What one critic step and one generator step cost in critic forward-equivalents: the
    floating-point operations of their matrix products and convolutions, the generator's included,
    by those of the critic's forward pass on one sample. Takes both steps, on the latents of each:
    call it on copies. NaN for a critic that has neither."""
    with _Flops() as forward, torch.no_grad():
        D(real)
    with _Flops() as critic:
        critic_step(objective, G, D, optimizers[1], real, latents[0], noise, precision)
    with _Flops() as generator:
        generator_step(objective, G, D, optimizers[0], real, latents[1], noise, precision)
    one = forward.total / len(real) or math.nan
    return critic.total / one, generator.total / one


class _Flops(TorchDispatchMode):
    """Counts floating-point operations by torch's own formulas; its FlopCounterMode follows modules
    as well, and cannot do so where a critic is differentiated in its input."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out
