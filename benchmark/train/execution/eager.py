"""An iteration as a sequence of eager steps: what every other mode is compared with."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.train.inputs import Inputs
from benchmark.train.step import autocast, critic_step, generator_step


def iterate_eagerly(
    objective: Any,
    networks: tuple[nn.Module, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    draws: Iterable[Inputs],
    precision: str = "float32",
    by_term: bool = False,
) -> Tensor:
    """An iteration of one seed. networks and optimizers: of generator and critic. draws: the inputs
    of every critic step, then those of the generator step; if the latents of the last critic step
    are those of the generator step, their fakes are made once. by_term: see `critic_step`. Returns
    (*CRITIC, *GENERATOR), (6,); the critic's part is of its last step."""
    G, D = networks
    critic_row = torch.empty(0)
    fake: Tensor | None = None
    # The inputs are drawn one by one: no more than two batches are held
    drawn = iter(draws)
    inputs = next(drawn)
    for following in drawn:
        if following.z is inputs.z:
            with autocast(inputs.real, precision):
                fake = G(inputs.z).float()
        critic_row = critic_step(
            objective, G, D, optimizers[1], *inputs, precision, fake=fake, by_term=by_term
        )
        inputs = following
    generator_row = generator_step(objective, G, D, optimizers[0], *inputs, precision, fake=fake)
    return torch.cat([critic_row, generator_row])
