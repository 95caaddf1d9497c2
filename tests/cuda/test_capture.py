"""What a CUDA graph would capture of an iteration: a replay repeats every number that the host gave
when it was captured, so none of them may change from one iteration to the next."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

import variants
from benchmark.matrix.cell import Choice
from benchmark.train.execution.eager import iterate_eagerly
from benchmark.train.inputs import Inputs
from benchmark.train.loop import set_lr
from benchmark.train.optimizers import make_optimizer
from tests.cuda.fake_device import NAME, Generator, fake_gpu
from variants.architectures import build, mlp
from variants.objectives import Recipe

Operations = list[tuple[Any, list[str]]]
SHAPE = (2,)
RECIPES = {
    "adam": Recipe("adam", lr=1e-3),
    "rmsprop": Recipe("rmsprop", lr=1e-3),
    "rmsprop_tf": Recipe("rmsprop_tf", lr=1e-3),
}


def iterations(name: str, recipe: Recipe, kind: str) -> list[Operations]:
    """The operations of two iterations: the second at another rate, as step 2 of the optimisers,
    with other inputs."""
    objective = variants.load("objectives", name).Objective()
    traces = []
    with fake_gpu() as watch:
        networks = build(Choice("mlp", {"width": 8}), SHAPE, objective.critic_norm or "none")
        for network in networks:
            network.to(NAME)
        optimizers = [make_optimizer(recipe, network, kind) for network in networks]
        generator = Generator(NAME)
        # as the warm-up does, which makes the moments
        for rate in (1e-3, 1e-3, 1e-5):
            for optimizer in optimizers:
                set_lr(optimizer, rate)
            draws = [inputs(objective, generator) for _ in range(3)]
            watch.operations.clear()
            with watch.at(""):
                iterate_eagerly(objective, networks, optimizers, draws)
            traces.append(list(watch.operations))
    return traces[1:]


def inputs(objective: Any, generator: torch.Generator) -> Inputs:
    real = torch.randn(4, *SHAPE, device=NAME, generator=generator)
    z = torch.randn(4, 2, device=NAME, generator=generator)
    return Inputs(real, z, objective.draw(real, generator))


def random_operations(operations: Operations) -> list[Any]:
    return [func for func, _ in operations if torch.Tag.nondeterministic_seeded in func.tags]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["wgan_gp", "hinge"])
def test_an_iteration_has_no_number_of_the_host_and_draws_nothing(name: str, recipe: str) -> None:
    first, second = iterations(name, RECIPES[recipe], "capturable")
    assert len(first) > 100
    # The order of operations that do not depend on one another is autograd's
    assert Counter(map(repr, first)) == Counter(map(repr, second))
    assert not random_operations(first)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_rate_or_a_step_of_the_host_is_seen(recipe: str) -> None:
    """Optimisers that are not capturable have both as numbers."""
    first, second = iterations("wgan", RECIPES[recipe], "loop")
    assert Counter(func for func, _ in first) == Counter(func for func, _ in second)
    assert Counter(map(repr, first)) != Counter(map(repr, second))


def test_what_a_network_draws_comes_from_the_default_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the one stream that torch registers with every graph, and that is seeded before every
    replay. A generator of one's own would have to be registered."""
    forward = mlp.Discriminator.forward
    monkeypatch.setattr(
        mlp.Discriminator,
        "forward",
        lambda self, x: forward(self, nn.functional.dropout(x, 0.1)),
    )
    first, second = iterations("wgan", RECIPES["adam"], "capturable")
    assert first == second
    assert random_operations(first)
    for _, arguments in first:
        assert not any("Generator" in argument for argument in arguments)
