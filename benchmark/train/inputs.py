"""What the steps of an iteration take: batches, latents, the objective's noise and instance noise,
from the random streams of every cell."""

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
    """What a step takes. In a stack of S seeds every tensor has a seed axis in front."""

    real: Tensor
    """Real samples (batch, *shape)."""

    z: Tensor
    """Latents (batch, latent_dim)."""

    noise: tuple[Tensor, ...] | None
    """What is random in the losses, as the objective drew it."""

    def tensors(self) -> list[Tensor]:
        return [self.real, self.z, *(self.noise or ())]

    def of_seed(self, index: int) -> "Inputs":
        """The inputs of one seed of a stack."""
        noise = self.noise
        if noise:
            noise = tuple(tensor[index] for tensor in noise)
        return Inputs(self.real[index], self.z[index], noise)


@dataclass
class Streams:
    """The random streams of a cell's steps."""

    base: int
    """What the seeds of the streams are derived from."""

    generator: torch.Generator

    def seed(self, *names: object) -> None:
        """Begin the stream of these names."""
        self.generator.manual_seed(stream_seed(self.base, *names))

    def latents(self, n: int, latent_dim: int) -> Tensor:
        """n latents (n, latent_dim) on the generator's device."""
        device = self.generator.device
        return torch.randn(n, latent_dim, device=device, generator=self.generator)


@dataclass(frozen=True)
class Blurred:
    """An objective whose critic sees x + σξ and x̃ + σξ′, with ξ and ξ′ from N(0, 1), for every
    sample of every step (Sønderby et al. 2017, arXiv:1610.04490; Arjovsky and Bottou 2017,
    arXiv:1701.04862). Under a penalty the blurred samples are the ends of x̂."""

    objective: Any

    sigma: float
    """σ: standard deviation of the noise."""

    multiple: int = 1
    """Batches of generated samples in the largest step."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objective, name)

    def draw(self, real: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """What the objective draws, then the noise on real and on generated samples."""
        drawn = self.objective.draw(real, generator) or ()
        on_real = self._noise(real, 1, generator)
        return *drawn, on_real, self._noise(real, self.multiple, generator)

    def _noise(self, real: Tensor, multiple: int, generator: torch.Generator | None) -> Tensor:
        shape = (multiple * len(real), *real.shape[1:])
        noise = torch.randn(shape, dtype=real.dtype, device=real.device, generator=generator)
        return self.sigma * noise

    def seen(
        self, real: Tensor, fake: Tensor, noise: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        *drawn, on_real, on_fake = noise or self.draw(real)
        return real + on_real, fake + on_fake[: len(fake)], tuple(drawn)


def blurred(objective: Any, options: Training, share: float) -> Any:
    """The objective with the instance noise that the options ask for after a share of the
    budget."""
    if not options.instance_noise:
        return objective
    left = 1 - share if options.noise_decay == "linear" else 1.0
    multiple = options.generator_batch_multiple
    return Blurred(objective, options.instance_noise * left, multiple)


def num_d_steps(objective: Any, options: Training, g_step: int) -> int:
    """Critic steps before generator step `g_step` (0, 1, …)."""
    steps = options.critic_steps
    if not isinstance(steps, int):
        steps = int(objective.d_steps(g_step))
    return steps + options.critic_pretrain if g_step == 0 else steps


def draw_inputs(
    objective: Any,
    streams: list[Streams],
    draw: Draw,
    g_step: int,
    latent_dim: int,
    options: Training,
) -> Iterator[Inputs]:
    """The inputs of every critic step of an iteration, then those of its generator step, from the
    streams of every cell.

    The streams are functions of (seed, g_step, d_step): nothing of them has to be saved. Also seeds
    torch's default stream."""
    device = streams[0].generator.device
    seed_default(device.type, stream_seed(streams[0].base, g_step, "default"))
    d_steps = num_d_steps(objective, options, g_step)
    real = z = torch.empty(0)
    for d_step in range(d_steps):
        for stream in streams:
            stream.seed(g_step, d_step)
        is_last = d_step + 1 == d_steps
        following = (g_step + 1, 0) if is_last else (g_step, d_step + 1)
        real = _draw_real(draw, streams, following)
        inputs = _inputs(objective, streams, real, options.batch_size, latent_dim)
        z = inputs.z
        yield inputs
    for stream in streams:
        stream.seed(g_step, "generator")
    num_latents = options.batch_size * options.generator_batch_multiple
    generator_inputs = _inputs(objective, streams, real, num_latents, latent_dim)
    if options.generator_latents == "critic":
        generator_inputs = generator_inputs._replace(z=z)
    yield generator_inputs


def _draw_real(draw: Draw, streams: list[Streams], following: tuple[int, int]) -> Tensor:
    """A batch for every cell, (S, batch, *shape). following: names of the stream of the next batch,
    which is fetched ahead from host memory."""
    if isinstance(draw, Resident):
        return draw.gather([draw.index(stream.generator) for stream in streams])
    (stream,) = streams
    return draw(stream.generator, stream_seed(stream.base, *following)).unsqueeze(0)


def _inputs(
    objective: Any, streams: list[Streams], real: Tensor, num_latents: int, latent_dim: int
) -> Inputs:
    """Inputs with real samples (S, batch, *shape), and latents and noise from the streams; those of
    a single cell are without the seed axis."""
    latents = []
    noises = []
    for batch, stream in zip(real, streams, strict=True):
        latents.append(stream.latents(num_latents, latent_dim))
        noises.append(objective.draw(batch, stream.generator))
    if len(streams) == 1:
        return Inputs(real[0], latents[0], noises[0])
    # () for an objective that draws nothing
    drawn = [noise or () for noise in noises]
    stacked = tuple(torch.stack(parts) for parts in zip(*drawn, strict=True))
    return Inputs(real, torch.stack(latents), stacked)
