"""Blocks that are computed again give the numbers of blocks that keep their activations."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import variants
from benchmark.errors import UserError
from benchmark.matrix.cell import Cell, Choice, stream_seed
from benchmark.matrix.expand import expand
from benchmark.matrix.options import Matrix, Training
from benchmark.train.execution.modes import can_compile
from benchmark.train.loop import train
from benchmark.train.optimizers import make_optimizer
from benchmark.train.recompute import recompute_blocks
from benchmark.train.step import critic_step, generator_step
from tests.helpers.cells import EVALUATION, TRAINING
from variants.architectures import build, initialise

RESNET = Choice("resnet20", {"width": 8})
TEXT = Choice("text_resnet", {"width": 8, "blocks": 2})
IMAGE = (3, 16, 16)


@pytest.mark.parametrize(
    ("architecture", "shape", "norm", "objective", "precision"),
    [
        (RESNET, IMAGE, "layer", "wgan_gp", "float32"),
        (RESNET, IMAGE, "layer", "wgan_gp", "bf16"),
        (RESNET, IMAGE, "layer", "wgan_fdgp", "float32"),
        # their buffers change with every pass
        (RESNET, IMAGE, "spectral", "hinge", "float32"),
        (RESNET, IMAGE, "batch", "nonsaturating", "float32"),
        (TEXT, (8, 10), "none", "wgan_gp", "float32"),
    ],
    ids=str,
)
def test_numbers_are_those_without(
    architecture: Choice, shape: tuple[int, ...], norm: str, objective: str, precision: str
) -> None:
    loss = variants.load("objectives", objective).Objective()
    networks = build(architecture, shape, norm)
    for role, network in zip("GD", networks, strict=True):
        initialise(network, lambda name, role=role: stream_seed(role, name))
    recomputed = copy.deepcopy(networks)
    for network in recomputed:
        recompute_blocks(network)
    # copies compute again, too
    pairs = networks, copy.deepcopy(recomputed)
    plain, again = (steps(loss, *pair, shape, precision) for pair in pairs)
    assert torch.equal(plain, again)
    for network, other in zip(*pairs, strict=True):
        expected = network.state_dict()
        assert expected.keys() == other.state_dict().keys()
        for name, value in other.state_dict().items():
            assert torch.equal(value, expected[name]), name


def steps(loss: Any, G: Any, D: Any, shape: tuple[int, ...], precision: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    critic, sampler = make_optimizer(loss.recipe, D), make_optimizer(loss.recipe, G)
    rows = []
    for _ in range(2):
        real = torch.randn(4, *shape, generator=generator)
        z = torch.randn(4, G.latent_dim, generator=generator)
        noise = loss.draw(real, generator)
        rows.append(critic_step(loss, G, D, critic, real, z, noise, precision))
        rows.append(generator_step(loss, G, D, sampler, real, z, noise, precision))
    return torch.cat(rows)


@pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
def test_compiled_steps_fall_back_to_eager_ones_and_say_why() -> None:
    training = TRAINING.replaced(steps=2, batch_size=4, recompute=True)
    architecture = Choice("resnet", {"width": 8})
    cell = Cell(
        Choice("nonsaturating"), architecture, Choice("digits"), 0, training, EVALUATION, "batch"
    )
    compiled, eager = ([*train(cell, "cpu", execution=mode)] for mode in ("compiled", "eager"))
    assert compiled[-1].execution.mode == "eager"
    assert "checkpoint" in compiled[-1].execution.fallback
    assert compiled[-1].row["d_loss"] == eager[-1].row["d_loss"]


def test_the_option_is_part_of_a_key_only_where_it_is_set() -> None:
    plain = Training(steps=1).plain()
    assert plain == Training(steps=1, recompute=False).plain()
    assert "recompute" not in plain
    changed = Training(steps=1, recompute=True)
    assert changed.plain() == plain | {"recompute": True}
    assert Training.model_validate(changed.plain()) == changed
    assert changed.replaced(recompute=False) == Training(steps=1)


@pytest.mark.parametrize(
    ("objective", "architecture", "message"),
    [
        ("lsgan", "dcgan", "dcgan: training.recompute needs a generator and a critic made of"),
        ({"name": "wgan_gp", "method": "jvp"}, "resnet", "needs method = 'double_backward'"),
    ],
    ids=str,
)
def test_what_has_nothing_to_compute_again_is_refused(
    objective: Any, architecture: str, message: str
) -> None:
    matrix = Matrix(
        objectives=[objective],
        architectures=[architecture],
        datasets=["digits"],
        training={"steps": 1, "recompute": True},
    )
    with pytest.raises(UserError, match=message):
        expand(matrix)
