"""What a CUDA graph would capture of an iteration: a replay repeats every number that the host gave
when it was captured, so none of them may change from one iteration to the next."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

import variants
from benchmark.matrix.cell import Choice
from benchmark.train.execution.iteration import Iteration
from benchmark.train.inputs import Inputs
from benchmark.train.loop import set_lr
from tests.cuda.fake_device import NAME, Generator, fake_gpu
from variants.architectures import build, mlp
from variants.objectives import Recipe

Operations = list[tuple[Any, list[str]]]
SHAPE = (2,)
# torch has no kernel without values for a fused SGD whose rate is a tensor
RECIPES = {
    "adam": Recipe("adam", lr=1e-3),
    "rmsprop": Recipe("rmsprop", lr=1e-3),
    "rmsprop_tf": Recipe("rmsprop_tf", lr=1e-3),
    "optimistic_adam": Recipe("optimistic_adam", lr=1e-3),
}


def iterations(name: str, recipe: Recipe, kind: str, num_seeds: int = 1) -> list[Operations]:
    """The operations of two iterations of a seed or of a stack: the second at another rate, as step
    2 of the optimisers, with other inputs."""
    objective = variants.load("objectives", name).Objective()
    pairs = []
    traces = []
    with fake_gpu() as watch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Iteration, "_optimizer_kind", lambda self: kind)
        for _ in range(num_seeds):
            norm = objective.critic_norm or "none"
            G, D = build(Choice("mlp", {"width": 8}), SHAPE, norm)
            pairs.append((G.to(NAME), D.to(NAME)))
        iteration = Iteration(objective, pairs, recipe, device=NAME)
        generator = Generator(NAME)
        seeds = (num_seeds,) if num_seeds > 1 else ()
        # as the warm-up does, which makes the moments
        for rate in (1e-3, 1e-3, 1e-5):
            for optimizer in iteration.optimizers:
                set_lr(optimizer, rate)
            draws = [inputs(objective, generator, seeds) for _ in range(3)]
            watch.operations.clear()
            with watch.at(""):
                iteration(draws)
            traces.append(list(watch.operations))
    return traces[1:]


def inputs(objective: Any, generator: torch.Generator, seeds: tuple[int, ...]) -> Inputs:
    real = torch.randn(*seeds, 4, *SHAPE, device=NAME, generator=generator)
    z = torch.randn(*seeds, 4, 2, device=NAME, generator=generator)
    if not seeds:
        return Inputs(real, z, objective.draw(real, generator))
    drawn = [objective.draw(one, generator) for one in real]
    noise = tuple(map(torch.stack, zip(*drawn, strict=True))) if drawn[0] else None
    return Inputs(real, z, noise)


def random_operations(operations: Operations) -> list[Any]:
    return [func for func, _ in operations if torch.Tag.nondeterministic_seeded in func.tags]


@pytest.mark.parametrize("num_seeds", [1, 2])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["wgan_gp", "hinge"])
def test_an_iteration_has_no_number_of_the_host_and_draws_nothing(
    name: str, recipe: str, num_seeds: int
) -> None:
    first, second = iterations(name, RECIPES[recipe], "capturable", num_seeds)
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
