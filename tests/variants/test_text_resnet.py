"""The residual networks for text: closed forms of their layers, counts, and shapes they refuse."""

import pytest
import torch
from torch import nn

from benchmark.matrix.cell import Choice
from tests.variants.test_architectures import count, filled
from variants.architectures import build, conv1d

SMALL = {"width": 6, "blocks": 2, "latent_dim": 4}


@pytest.mark.parametrize("num_characters", [27, 48, 100])
def test_the_papers_networks_at_the_defaults(num_characters):
    G, D = build(Choice("text_resnet"), (32, num_characters), "auto", "meta")
    assert count(G) == 15_225_856 + 513 * num_characters
    assert count(D) == 13_129_217 + 512 * num_characters


@pytest.mark.parametrize(
    ("params", "shape", "of_g", "of_d"),
    [
        ({"width": 32, "blocks": 3}, (32, 48), 164_592, 33_505),
        ({"width": 32, "blocks": 2}, (16, 27), 87_547, 22_017),
        ({"width": 64, "blocks": 2}, (32, 48), 349_488, 87_361),
    ],
)
def test_smaller_networks(params, shape, of_g, of_d):
    G, D = build(Choice("text_resnet", params), shape, "auto", "meta")
    assert (count(G), count(D)) == (of_g, of_d)


def test_initial_weights_are_those_of_the_authors_code():
    """he: √(4 / (k · n_in + k · n_out)), the convolutions of kernel 1 included; glorot: the linear
    layers; every bias 0."""
    G, D = filled(Choice("text_resnet", {"width": 32, "blocks": 1}), (32, 48), "auto")
    assert conv1d(48, 32, 1, "he").init_std == pytest.approx((4 / 80) ** 0.5)
    assert D.conv.init_std == pytest.approx((4 / 80) ** 0.5)
    assert D.blocks[0].conv1.init_std == pytest.approx((4 / 320) ** 0.5)
    assert D.linear.init_std == pytest.approx((2 / (32 * 32 + 1)) ** 0.5)
    assert G.linear.init_std == pytest.approx((2 / (128 + 32 * 32)) ** 0.5)
    for network in (G, D):
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                assert not parameter.any(), name
    assert G.blocks[0].conv1.weight.std().item() == pytest.approx((4 / 320) ** 0.5, rel=0.05)


def test_a_generator_without_blocks_is_a_softmax_of_linear_and_convolution():
    """With weights of 0 a block adds nothing to its input."""
    G, _ = filled(Choice("text_resnet", SMALL), (5, 3), "auto")
    for parameter in G.blocks.parameters():
        nn.init.zeros_(parameter)
    z = torch.randn(7, 4)
    x = G.linear(z).view(7, 6, 5)
    scores = torch.einsum("cw,bwl->blc", G.conv.weight[:, :, 0], x) + G.conv.bias
    torch.testing.assert_close(G(z), scores.softmax(2))


def test_a_critic_without_blocks_picks_a_column_per_character():
    _, D = filled(Choice("text_resnet", SMALL), (5, 3), "auto")
    for parameter in D.blocks.parameters():
        nn.init.zeros_(parameter)
    codes = torch.tensor([[2, 0, 1, 1, 2]])
    x = nn.functional.one_hot(codes, 3).float()
    columns = D.conv.weight[:, codes[0], 0] + D.conv.bias[:, None]  # (width, length)
    expected = (D.linear.weight.view(6, 5) * columns).sum() + D.linear.bias
    torch.testing.assert_close(D(x), expected)


def test_a_block_adds_three_tenths_of_its_branch_to_its_input_before_the_relu():
    _, D = filled(Choice("text_resnet", SMALL), (5, 3), "auto")
    block = D.blocks[0]
    x = torch.randn(2, 6, 5)
    before = x.clone()
    branch = nn.functional.conv1d(x.relu(), block.conv1.weight, block.conv1.bias, padding=2)
    branch = nn.functional.conv1d(branch.relu(), block.conv2.weight, block.conv2.bias, padding=2)
    torch.testing.assert_close(block(x), before + 0.3 * branch)
    assert torch.equal(x, before), "the ReLU is not in place"


def test_probabilities_sum_to_one_and_a_score_does_not_depend_on_its_batch():
    G, D = filled(Choice("text_resnet", {"width": 8, "blocks": 2}), (32, 48), "auto")
    fake = G(torch.randn(6, 128))
    torch.testing.assert_close(fake.sum(2), torch.ones(6, 32))
    torch.testing.assert_close(D(fake)[:2], D(fake[:2]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("params", "shape", "norm", "message"),
    [
        ({}, (3, 32, 32), "auto", r"needs text, \(length, characters\), not shape \(3, 32, 32\)"),
        ({}, (2,), "auto", "needs text"),
        ({"kernel": 4}, (32, 48), "auto", "kernel must be odd, not 4"),
        ({}, (32, 48), "layer", "no layer of norm 'layer'; valid: none, spectral"),
    ],
)
def test_what_is_refused(params, shape, norm, message):
    with pytest.raises(ValueError, match=message):
        build(Choice("text_resnet", params), shape, norm, "meta")


def test_text_of_an_mlp_has_probabilities_too():
    G, D = filled(Choice("mlp", {"width": 16, "depth": 1}), (5, 3), "auto")
    fake = G(torch.randn(4, G.latent_dim))
    assert G.latent_dim == 128
    torch.testing.assert_close(fake.sum(2), torch.ones(4, 5))
    assert D(fake).shape == (4,)
