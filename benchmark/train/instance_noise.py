"""Instance noise: the critic sees blurred samples, in its own step and in that of the generator."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.matrix.options import Training


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
