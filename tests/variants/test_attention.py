"""Attention networks: the fused kernel and what it cannot do, counts, positions, refusals."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.pairs import critic_norm, differentiates_twice
from benchmark.train.execution.modes import can_compile
from benchmark.train.loop import train, train_stack
from tests.helpers.cells import EVALUATION, TRAINING
from tests.variants.test_architectures import count, filled, images
from variants.architectures import TokenNorm, build
from variants.architectures.attention import Block
from variants.objectives import wgan_gp

SMALL = {"width": 16, "blocks": 1}
DIGITS = Choice("digits")


@pytest.mark.parametrize(
    ("params", "shape", "of_g", "of_d"),
    [
        ({}, (1, 8, 8), 199_428, 69_313),
        ({}, (3, 64, 64), 8_521_996, 198_849),
        ({"width": 16, "blocks": 1, "patch": 4}, (1, 8, 8), 10_784, 2_625),
    ],
)
def test_counts(params, shape, of_g, of_d):
    G, D = build(Choice("attention", params), shape, "auto", "meta")
    assert (count(G), count(D)) == (of_g, of_d)


@pytest.mark.parametrize("kernel", ["fused", "math"])
def test_attention_is_the_softmax_of_scaled_products(kernel):
    block = Block(16, 4, "layer", kernel)
    mixed = torch.randn(3, 5, 48, dtype=torch.float64)
    found = block.attend(mixed)
    for head in range(4):
        q, k, v = (mixed[:, :, start + 4 * head : start + 4 * head + 4] for start in (0, 16, 32))
        weights = (q @ k.transpose(1, 2) / math.sqrt(4)).softmax(2)
        torch.testing.assert_close(found[:, :, 4 * head : 4 * head + 4], weights @ v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_kernel_has_neither_a_double_backward_nor_a_forward_mode(dtype):
    block, mixed = (
        Block(16, 4, "layer", "fused"),
        torch.randn(3, 5, 48, dtype=dtype, requires_grad=True),
    )
    (slope,) = torch.autograd.grad(block.attend(mixed).square().sum(), mixed, create_graph=True)
    with pytest.raises(RuntimeError, match=r"derivative for aten::\w+_backward is not implemented"):
        slope.square().sum().backward()
    with pytest.raises(NotImplementedError, match="forward AD"):
        torch.func.jvp(block.attend, (mixed.detach(),), (mixed.detach(),))


def test_a_token_is_normalised_by_itself():
    norm, x = TokenNorm(8), torch.randn(3, 5, 8)
    torch.testing.assert_close(norm(x), nn.functional.layer_norm(x, (8,)))


def test_a_token_is_a_patch_at_its_position():
    """Without blocks and positions the score is a linear map of patches; a position moves it."""
    _, D = filled(Choice("attention", {"width": 16, "blocks": 0}), (1, 8, 8), "auto")
    x = images(5, (1, 8, 8))
    patches = x.unfold(2, 2, 2).unfold(3, 2, 2).reshape(5, 16, 4)
    expected = D.out(D.linear(patches).flatten(1)).squeeze(1)
    torch.testing.assert_close(D(x), expected)
    nn.init.ones_(D.position)
    moved = expected + D.out.weight.sum()
    torch.testing.assert_close(D(x), moved)


def test_the_generator_puts_every_token_on_its_patch():
    G, _ = filled(Choice("attention", {"width": 16, "blocks": 0}), (1, 8, 8), "auto")
    z = torch.randn(5, 128)
    patches = G.out(G.norm(G.linear(z).view(5, 16, 16))).view(5, 4, 4, 2, 2)
    torch.testing.assert_close(G(z), patches.transpose(2, 3).reshape(5, 1, 8, 8).tanh())


@pytest.mark.parametrize(
    ("params", "shape", "norm", "message"),
    [
        ({}, (2,), "auto", r"square images whose side patch = 2 divides, not \(2,\)"),
        ({"patch": 3}, (1, 8, 8), "auto", "patch = 3"),
        ({"heads": 3}, (1, 8, 8), "auto", "heads = 3 must divide width = 64"),
        ({}, (1, 8, 8), "batch", "no layer of norm 'batch'; valid: layer, none, spectral"),
    ],
)
def test_what_it_refuses(params, shape, norm, message):
    with pytest.raises(ValueError, match=message):
        build(Choice("attention", params), shape, norm, "meta")


@pytest.mark.parametrize(
    "objective",
    [
        Choice("wgan_gp"),
        Choice("wgan_gp", {"method": "jvp"}),
        *(Choice(name) for name in ("r1", "rpgan_r1r2", "dragan", "wgan_div")),
    ],
    ids=lambda choice: choice.label,
)
@pytest.mark.parametrize(
    "architecture",
    [Choice("attention"), Choice("dcgan", {"critic": "attention"})],
    ids=lambda choice: choice.label,
)
def test_a_loss_that_differentiates_the_slope_is_refused(objective, architecture):
    with pytest.raises(UserError, match=r"differentiated only once.* use wgan_fdgp") as refused:
        critic_norm(objective, architecture, DIGITS)
    assert f"{objective.label} x {architecture.label}" in str(refused.value)


def test_single_products_bear_it():
    """The slope's derivative by both kinds of WGAN-GP's penalty, in float64."""
    objective, math_critic = Choice("wgan_gp"), Choice("attention", SMALL | {"kernel": "math"})
    assert critic_norm(objective, math_critic, DIGITS) == "layer"
    _, D = filled(math_critic, (1, 8, 8), "layer")
    D.double()
    real, fake, alpha = images(4, (1, 8, 8)).double(), torch.zeros(4, 1, 8, 8), torch.rand(4)
    found = []
    for method in ("double_backward", "jvp"):
        penalty = wgan_gp.Objective(method=method).penalty(
            D, real, fake.double(), (alpha.double(),)
        )
        found.append(torch.autograd.grad(penalty, [D.position, D.blocks[0].mix.weight]))
    torch.testing.assert_close(*found)
    assert found[0][1].abs().max() > 0


@pytest.mark.parametrize(
    ("objective", "norm"),
    [
        (Choice("wgan_fdgp"), "layer"),
        (Choice("wgan_fdgp", {"pairs": "endpoint"}), "layer"),
        (Choice("rpgan_r1r2", {"penalised": "none"}), "layer"),
        (Choice("hinge"), "spectral"),
    ],
    ids=str,
)
def test_a_loss_that_does_not_is_taken(objective, norm):
    assert not differentiates_twice(objective)
    assert critic_norm(objective, Choice("attention"), DIGITS) == norm


def cell(objective, seed=0, kernel="fused", **training):
    architecture = Choice("attention", SMALL | {"kernel": kernel})
    norm = critic_norm(objective, architecture, DIGITS)
    options = TRAINING.replaced(steps=3, **training)
    return Cell(objective, architecture, DIGITS, seed, options, EVALUATION, norm)


def losses(snapshots):
    return [[row["d_loss"], row["g_loss"]] for row in (s.row for s in snapshots) if row]


def test_seeds_train_as_a_stack_and_blocks_compute_again():
    one = cell(Choice("wgan_fdgp"))
    alone = losses(train(one, "cpu"))
    assert alone == losses(
        train(replace(one, training=one.training.replaced(recompute=True)), "cpu")
    )
    stacked = train_stack([one, cell(Choice("wgan_fdgp"), seed=1)], "cpu")
    torch.testing.assert_close(losses(first for first, _ in stacked), alone, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
def test_compiled_is_eager():
    one = cell(Choice("wgan_fdgp"))
    *_, last = snapshots = list(train(one, "cpu", execution="compiled"))
    assert (last.execution.mode, last.execution.fallback) == ("compiled", None)
    expected = losses(train(one, "cpu"))
    torch.testing.assert_close(losses(snapshots), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
def test_compiled_in_bf16_is_near_eager_in_bf16():
    """Inductor alone would return bf16 gradients of the norms' float32 weights."""
    one = cell(Choice("wgan_fdgp"), precision="bf16")
    *_, last = snapshots = list(train(one, "cpu", execution="compiled"))
    assert (last.execution.mode, last.execution.fallback) == ("compiled", None)
    expected = losses(train(one, "cpu"))
    torch.testing.assert_close(losses(snapshots), expected, rtol=0.1, atol=0.1)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
def test_a_penalty_in_forward_mode_is_compiled():
    """Forward mode makes zeros without memory, which are constants of the traced step."""
    one = cell(Choice("wgan_gp", {"method": "jvp"}), kernel="math")
    *_, last = snapshots = list(train(one, "cpu", execution="compiled"))
    assert (last.execution.mode, last.execution.fallback) == ("compiled", None)
    expected = losses(train(one, "cpu"))
    torch.testing.assert_close(losses(snapshots), expected, rtol=1e-4, atol=1e-4)
