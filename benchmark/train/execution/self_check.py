"""What a device can do, found out in seconds on small networks before cells are given to it."""

import copy
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.matrix.cell import Choice, stream_seed
from benchmark.text import described
from benchmark.train.execution.agreement import Outcome, disagreement, eager_outcome
from benchmark.train.execution.iteration import Iteration
from benchmark.train.inputs import Inputs
from benchmark.train.step import set_precision
from variants import load
from variants.architectures import build, initialise

SECONDS = 10.0  # after which no further part is begun
SHAPE = (1, 8, 8)
BATCH_SIZE = 16
MAX_REASON = 120  # characters of an error in the line

Networks = tuple[nn.Module, nn.Module]


@dataclass
class Findings:
    """What a self-check found."""

    device: str
    execution: str
    """How iterations are executed from now on."""

    parts: list[str] = field(default_factory=list)
    """What was found, part by part."""

    @property
    def line(self) -> str:
        return f"self-check of {self.device}: {'; '.join(self.parts)}"


def self_check(device: str, execution: str, precisions: Collection[str]) -> Findings:
    """Check that a device gives the numbers of the CPU, that `execution` gives those of eager
    steps, and that bf16 does where it is among the precisions. A mode that fails is replaced by
    eager steps. Raises UserError for a device, or a precision, that gives other numbers."""
    end = time.monotonic() + SECONDS
    found = Findings(device, execution)
    reason = _tried(lambda: check_placement(device))
    if reason:
        raise UserError(f"{device} does not train as the CPU does: {reason}; use --device cpu")
    found.parts.append("trains as the CPU does")
    if "graphed" in execution:
        if time.monotonic() > end:
            found.parts.append("CUDA graphs not checked, for lack of time")
        elif reason := _tried(lambda: check_graphs(device)):
            found.execution = "compiled" if "compiled" in execution else "eager"
            found.parts.append(f"CUDA graphs are not used: {reason}")
        else:
            found.parts.append("CUDA graphs agree with eager steps")
    if "bf16" in precisions:
        if time.monotonic() > end:
            found.parts.append("bf16 not checked, for lack of time")
        elif reason := _tried(lambda: check_bf16(device)):
            raise UserError(f"{device} cannot train in bf16: {reason}; use --precision float32")
        else:
            found.parts.append("bf16 agrees with float32")
    found.parts.append(check_memory(device))
    return found


def _tried(check: Callable[[], str]) -> str:
    """Why a check fails; empty if it does not."""
    try:
        return check()[:MAX_REASON]
    except Exception as error:
        return described(error, MAX_REASON)


def check_placement(device: str) -> str:
    """How an eager iteration differs from the CPU's; empty if it does not."""
    return disagreement(_outcome(device), _outcome("cpu"), "float32")


def check_graphs(device: str) -> str:
    """Why an iteration cannot be captured, or how its replay differs from eager steps."""
    objective, networks, draws = _small(device)
    iteration = Iteration(objective, [networks], objective.recipe, mode="graphed", device=device)
    iteration.warm_up(lambda: copy.copy(draws))
    return iteration.execution.fallback or ""


def check_bf16(device: str) -> str:
    """How an eager iteration in bf16 differs from one in float32."""
    return disagreement(_outcome(device, "bf16"), _outcome(device), "bf16")


def check_memory(device: str) -> str:
    """What is free, for others may use the device too."""
    if not device.startswith("cuda"):
        return "memory is the system's"
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(device)
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def _small(device: str) -> tuple[Any, Networks, list[Inputs]]:
    """An objective with a penalty, convolutional networks, and the inputs of an iteration: the same
    on every device."""
    objective = load("objectives", "wgan_gp").Objective(critic_steps=2)
    networks = build(Choice("dcgan", {"width": 8}), SHAPE, "layer")
    latent_dim: Any = networks[0].latent_dim
    for role, network in zip("GD", networks, strict=True):
        initialise(network, partial(stream_seed, role))
        network.to(device)
    generator = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(3):
        real = torch.rand(BATCH_SIZE, *SHAPE, generator=generator) * 2 - 1
        z = torch.randn(BATCH_SIZE, latent_dim, generator=generator)
        noise = objective.draw(real, generator)
        draws.append(Inputs(real.to(device), z.to(device), tuple(x.to(device) for x in noise)))
    return objective, networks, draws


def _outcome(device: str, precision: str = "float32") -> Outcome:
    """Of an eager iteration, on the CPU."""
    set_precision(precision)
    objective, networks, draws = _small(device)
    states: list[dict[str, Any]] = [{"state": {}}] * 2
    outcome = eager_outcome(objective, networks, objective.recipe, states, draws, precision)
    return Outcome(*(part.cpu() for part in outcome))
