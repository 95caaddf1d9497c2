"""random_dcgan: depth, nonlinearities, norms and the weight decay that comes with a norm."""

import math

import pytest
import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.expand import expand
from benchmark.matrix.options import Matrix, Training
from benchmark.matrix.pairs import critic_norm
from benchmark.train.build import make_networks, make_recipe
from variants.architectures import BatchNorm, build
from variants.architectures.random_dcgan import NONLINEARITIES, dealt
from variants.objectives import nonsaturating, wgan_gp

DIGITS = Choice("digits")
LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def choice(**params):
    return Choice("random_dcgan", params)


def cell_of(objective, architecture, **training):
    norm = critic_norm(objective, architecture, DIGITS)
    options = Training(steps=1, **training)
    return Cell(objective, architecture, DIGITS, 0, options, norm=norm)


def num_layers(network):
    return sum(isinstance(module, LAYERS) for module in network.modules())


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_depth_counts_linear_and_convolution_layers(size):
    least = {8: 2, 28: 3, 32: 4, 64: 5}[size]
    for depth in (least, least + 1, least + 6, 20):
        networks = build(choice(depth=depth, critic_depth=depth), (3, size, size), "auto", "meta")
        assert list(map(num_layers, networks)) == [depth, depth]


def test_further_convolutions_are_dealt_out_from_the_smallest_resolution_up():
    found = {depth: dealt(depth, 3) for depth in (0, 4, 8, 12, 20)}
    assert found == {0: [0, 0, 0], 4: [0, 0, 0], 8: [2, 1, 1], 12: [3, 3, 2], 20: [6, 5, 5]}
    assert [dealt(depth, 1) for depth in (2, 4, 6, 10)] == [[0], [2], [4], [8]]


def test_further_convolutions_stand_at_their_resolutions():
    shape = (3, 32, 32)
    for network, x in zip(
        build(choice(depth=8, critic_depth=8, width=4, critic_width=4), shape, "none"),
        (torch.zeros(2, 128), torch.zeros(2, *shape)),
        strict=True,
    ):
        seen = []
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.register_forward_hook(
                    lambda module, inputs, output, seen=seen: seen.append(tuple(output.shape[1:]))
                )
        network(x)
        assert sorted(seen) == [(4, 16, 16), (8, 8, 8), (16, 4, 4), (16, 4, 4)]


def test_least_depth_is_a_dcgan():
    """The same function, not only the same number of parameters."""
    own, plain = (build(Choice(name), (1, 8, 8), "batch") for name in ("random_dcgan", "dcgan"))
    z = torch.randn(5, 128)
    for network, other, x in zip(own, plain, (z, torch.randn(5, 1, 8, 8)), strict=True):
        network.load_state_dict(other.state_dict())
        assert torch.equal(network(x), other(x))


def test_parameter_counts():
    """By hand: a 3×3 convolution of c channels has 9 c² + c weights, its batch norm 2 c."""
    base = [count(network) for network in build(choice(), (3, 32, 32), "batch", "meta")]
    assert base == [1_558_275, 1_034_113]
    deep = build(choice(depth=8, critic_depth=8), (3, 32, 32), "batch", "meta")
    further = sum(9 * c**2 + c + 2 * c for c in (256, 256, 128, 64))
    assert [count(network) for network in deep] == [number + further for number in base]
    digits = build(choice(depth=6, critic_depth=4, width=16, critic_width=8), (1, 8, 8), "none")
    # linear, deconvolution, four convolutions and the norms of five layers; first, linear, two
    of_g = (129 * 256) + (400 + 1) + 4 * (9 * 256 + 16) + 5 * 32
    of_d = (25 * 8 + 8) + (128 + 1) + 2 * (9 * 64 + 8)
    assert [count(network) for network in digits] == [of_g, of_d]


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_nonlinearities_in_closed_form(name):
    by_hand = {
        "relu": lambda x: max(x, 0.0),
        "leaky": lambda x: x if x > 0 else 0.2 * x,
        "softplus": lambda x: math.log1p(math.exp(2 * x + 2)) / 2 - 1,
        "tanh": math.tanh,
    }[name]
    values = [-3.0, -1.0, -0.25, 0.0, 0.5, 2.0]
    found = NONLINEARITIES[name](torch.tensor(values, dtype=torch.float64))
    assert found.tolist() == pytest.approx([by_hand(x) for x in values], abs=1e-12)


def test_each_network_has_its_own_nonlinearity():
    """Behind a norm whose output is 1, every layer of a network gives f(1)."""
    params = {"depth": 4, "critic_depth": 4, "width": 4, "critic_width": 4}
    for of_g, of_d in (("tanh", "softplus"), ("softplus", "tanh")):
        named = choice(nonlinearity=of_g, critic_nonlinearity=of_d, **params)
        G, D = build(named, (1, 8, 8), "layer")
        inputs = (torch.randn(3, 128), torch.randn(3, 1, 8, 8))
        for network, x, name in zip((G, D), inputs, (of_g, of_d), strict=True):
            for norm in network.further.modules():
                if isinstance(norm, BatchNorm | nn.GroupNorm):
                    nn.init.zeros_(norm.weight)
                    nn.init.ones_(norm.bias)
            seen = []
            network.further[0].register_forward_hook(lambda m, i, o, seen=seen: seen.append(o))
            network(x)
            expected = NONLINEARITIES[name](torch.ones_like(seen[0]))
            torch.testing.assert_close(seen[0], expected)


def test_initial_weights_are_those_of_the_authors_code():
    """He for convolutions, Glorot for the linear layer, uniform; with both fans."""
    architecture = choice(depth=6, width=32, critic_depth=6, critic_width=32)
    G, D = make_networks(cell_of(Choice("nonsaturating"), architecture))
    for layer, std in (
        (G.linear, math.sqrt(2 / (128 + 512))),
        (G.further[0].convs[1], math.sqrt(4 / (2 * 9 * 32))),
        (D.further[0].convs[3], math.sqrt(4 / (2 * 9 * 32))),
        (D.convs[0], math.sqrt(4 / (25 + 32 * 25 / 4))),
    ):
        weight = layer.weight.detach()
        assert weight.abs().max() <= std * math.sqrt(3)
        assert weight.std().item() == pytest.approx(std, rel=0.05)


def test_gradients_reach_every_parameter_of_the_deepest():
    for of_g, of_d in (("relu", "leaky"), ("softplus", "tanh")):
        named = choice(
            depth=10, critic_depth=10, width=8, critic_width=8, nonlinearity=of_g,
            critic_nonlinearity=of_d, generator_norm="layer",
        )  # fmt: skip
        G, D = make_networks(cell_of(Choice("wgan_gp"), named))
        D(G(torch.randn(4, 128))).square().sum().backward()
        for network in (G, D):
            for name, parameter in network.named_parameters():
                assert parameter.grad.abs().max() > 0, name


def test_a_depth_below_dcgans_is_refused_in_one_line():
    for named in ("depth", "critic_depth"):
        matrix = Matrix(
            objectives=["nonsaturating"],
            architectures=[{"name": "random_dcgan", named: 1}],
            datasets=["digits"],
            training={"steps": 1},
        )
        with pytest.raises(UserError, match=f": {named} must be at least 2 at this size") as error:
            expand(matrix)
        assert "\n" not in str(error.value)


# Norm and weight decay


@pytest.mark.parametrize(
    ("objective", "params", "norm", "decay"),
    [
        ("nonsaturating", {"critic_depth": 4}, "batch", 1e-3),
        ("wgan_gp", {"critic_depth": 4}, "layer", 1e-3),
        ("nonsaturating", {"critic_depth": 4, "norm": "none"}, "none", 0.0),
        # the only convolution of DCGAN's critic at 8×8 has no norm
        ("nonsaturating", {}, "none", 0.0),
        ("hinge", {"critic_depth": 4}, "spectral", 0.0),
    ],
)
def test_a_critic_with_a_norm_trains_with_weight_decay(objective, params, norm, decay):
    cell = cell_of(Choice(objective), choice(**params))
    assert cell.norm == norm
    assert make_recipe(cell).weight_decay == decay


def test_weight_decay_of_a_matrix_wins_and_nothing_else_changes():
    architecture = choice(critic_depth=4)
    own = cell_of(Choice("nonsaturating", {"weight_decay": 0.5}), architecture)
    shared = cell_of(Choice("wgan_gp"), architecture, recipe={"lr": 1e-4})
    assert make_recipe(own).weight_decay == 0.5
    assert make_recipe(shared).weight_decay == 0
    for objective in (nonsaturating.Objective, wgan_gp.Objective):
        name = objective.__module__.rpartition(".")[2]
        plain = cell_of(Choice(name), Choice("dcgan"))
        assert make_recipe(plain) == objective.recipe
