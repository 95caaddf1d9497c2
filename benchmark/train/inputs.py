"""What the steps of an iteration take: batches, latents and the objective's noise, from the streams
of every cell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmark.matrix.cell import stream_seed
from benchmark.matrix.options import Training
from benchmark.train.data import Draw, Resident
from benchmark.train.snapshot import seed_default


class Inputs(NamedTuple):
    """What a step takes; of a stack of S seeds each with a seed axis in front."""

    real: Tensor  # (batch, *shape)
    z: Tensor  # (batch, latent_dim)
    noise: tuple[Tensor, ...] | None  # the objective's

    def tensors(self) -> list[Tensor]:
        return [self.real, self.z, *(self.noise or ())]

    def of_seed(self, index: int) -> "Inputs":
        return Inputs(
            self.real[index],
            self.z[index],
            self.noise and tuple(noise[index] for noise in self.noise),
        )


@dataclass
class Streams:
    """The random streams of a cell's steps."""

    base: int  # of their seeds
    generator: torch.Generator


def draw_inputs(
    objective: Any,
    streams: list[Streams],
    draw: Draw,
    g_step: int,
    latent_dim: int,
    options: Training,
) -> Iterator[Inputs]:
    """What the critic steps of an iteration take and then the generator step, from every cell's own
    streams. Those are functions of (seed, g_step, d_step): nothing of them has to be saved. Seeds
    torch's default stream, too."""
    batch_size, device = options.batch_size, streams[0].generator.device
    seed_default(device.type, stream_seed(streams[0].base, g_step, "default"))

    def latents(n: int) -> Tensor:
        return torch.stack(
            [torch.randn(n, latent_dim, device=device, generator=s.generator) for s in streams]
        )

    d_steps, real = objective.d_steps(g_step), torch.empty(0)
    for d_step in range(d_steps):
        following = (g_step, d_step + 1) if d_step + 1 < d_steps else (g_step + 1, 0)
        for stream in streams:
            stream.generator.manual_seed(stream_seed(stream.base, g_step, d_step))
        if isinstance(draw, Resident):
            real = draw.gather([draw.index(stream.generator) for stream in streams])
        else:
            (stream,) = streams
            real = draw(stream.generator, stream_seed(stream.base, *following)).unsqueeze(0)
        yield _inputs(objective, streams, real, latents(batch_size))
    for stream in streams:
        stream.generator.manual_seed(stream_seed(stream.base, g_step, "generator"))
    yield _inputs(objective, streams, real, latents(batch_size * options.generator_batch_multiple))


def _inputs(objective: Any, streams: list[Streams], real: Tensor, z: Tensor) -> Inputs:
    """real and z, (S, …), with what is random in the losses; of a single cell without the seed
    axis."""
    noise = [
        objective.draw(batch, stream.generator) for batch, stream in zip(real, streams, strict=True)
    ]
    if len(streams) == 1:
        return Inputs(real[0], z[0], noise[0])
    return Inputs(real, z, tuple(map(torch.stack, zip(*(own or () for own in noise), strict=True))))
