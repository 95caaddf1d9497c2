"""What the critic steps of a training are given."""

from typing import NamedTuple

from torch import Tensor

from benchmark.train.execution import eager
from benchmark.train.loop import train


class Seen(NamedTuple):
    """What one critic step was given."""

    real: Tensor
    z: Tensor
    weights: list[Tensor]


def recorded(cell, monkeypatch, count=12, device="cpu"):
    """What the first critic steps of a cell are given, those of the warm-up included."""
    seen = []
    step = eager.critic_step

    def recording(objective, G, D, optimizer, real, z, *rest, **options):
        weights = [parameter.detach().clone() for parameter in D.parameters()]
        seen.append(Seen(real.clone(), z.clone(), weights))
        return step(objective, G, D, optimizer, real, z, *rest, **options)

    monkeypatch.setattr(eager, "critic_step", recording)
    for _ in train(cell, device):
        if len(seen) >= count:
            break
    monkeypatch.undo()
    return seen
