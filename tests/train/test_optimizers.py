"""The optimisers of a recipe, against updates worked out by hand and in NumPy."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.explain.dirac_game import path
from benchmark.matrix.cell import Choice
from benchmark.train.build import make_objective
from benchmark.train.execution.cuda_graph import undone
from benchmark.train.execution.stack import Stack
from benchmark.train.loop import train, train_stack
from benchmark.train.optimizers import load_optimizer, make_optimizer
from tests.helpers.cells import small_cell
from variants.objectives import Recipe

KINDS = ("loop", "fused")


class Weights(nn.Module):
    """A network that is one vector."""

    def __init__(self, values, dtype=torch.float64):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(values, dtype=dtype))


def stepped(optimizer, network, gradients):
    """The weights after every update, (steps, n)."""
    path = []
    for gradient in gradients:
        network.w.grad = torch.as_tensor(gradient, dtype=network.w.dtype)
        optimizer.step()
        path.append(network.w.detach().clone())
    return torch.stack(path)


@pytest.mark.parametrize("kind", KINDS)
def test_three_steps_of_tensorflows_rmsprop_by_hand(kind):
    """m: 1 → .9 + .1·4 = 1.3 → 1.17 + .1·0 = 1.17 → 1.053 + .1·1 = 1.153."""
    network = Weights([1.0])
    optimizer = make_optimizer(Recipe("rmsprop_tf", 0.1), network, kind)
    path = stepped(optimizer, network, [[2.0], [0.0], [-1.0]])
    first = 1 - 0.1 * 2 / 1.3**0.5
    assert path[:, 0].tolist() == pytest.approx([first, first, first + 0.1 / 1.153**0.5], rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_epsilon_stands_under_the_root_or_outside_it(kind):
    """α = 0 leaves m = g²."""
    expected = {"rmsprop_tf": 3 / (9 + 7) ** 0.5, "rmsprop": 3 / (3 + 7)}
    for name, length in expected.items():
        network = Weights([0.0])
        optimizer = make_optimizer(Recipe(name, 1.0, alpha=0.0, eps=7.0), network, kind)
        assert stepped(optimizer, network, [[3.0]])[0].item() == pytest.approx(-length)
    network = Weights([0.0])
    # The first step of Adam is g ÷ (|g| + ε) whatever its betas
    optimizer = make_optimizer(Recipe("adam", 1.0, eps=7.0), network, kind)
    assert stepped(optimizer, network, [[3.0]])[0].item() == pytest.approx(-3 / (3 + 7))


def reference(name, gradients, lr, alpha, eps):
    """θ from 0 on, (steps, n), in NumPy's float64."""
    mean_square = np.full(gradients.shape[1], 1.0 if name == "rmsprop_tf" else 0.0)
    theta = np.zeros(gradients.shape[1])
    path = []
    for g in gradients:
        mean_square = alpha * mean_square + (1 - alpha) * g**2
        root = np.sqrt(mean_square + eps) if name == "rmsprop_tf" else np.sqrt(mean_square) + eps
        theta = theta - lr * g / root
        path.append(theta)
    return np.array(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["rmsprop", "rmsprop_tf"])
def test_both_rmsprops_follow_a_float64_reference(name, kind):
    gradients = np.random.default_rng(0).normal(0, [1e-6, 1e-3, 1, 30], (50, 4))
    recipe = Recipe(name, 5e-5)
    expected = reference(name, gradients, recipe.lr, recipe.alpha, recipe.eps)
    network = Weights([0.0] * 4)
    path = stepped(make_optimizer(recipe, network, kind), network, gradients)
    np.testing.assert_allclose(path.numpy(), expected, rtol=1e-10)
    single = Weights([0.0] * 4, torch.float32)
    path = stepped(make_optimizer(recipe, single, kind), single, gradients)
    np.testing.assert_allclose(path.numpy(), expected, rtol=1e-4)


def test_the_two_rmsprops_part():
    """Under gradients of one size: PyTorch's steps are lr/√(1 − αᵗ) long from the start, whatever
    the size; TensorFlow's come up to lr from below, and for small gradients only once αᵗ < g²."""
    for size, least, most in ((1e-3, 200, 1000), (1.0, 2, 3)):
        gradients = np.full((40, 1), size)
        torchs = reference("rmsprop", gradients, 1.0, 0.99, 1e-8)
        tensorflows = reference("rmsprop_tf", gradients, 1.0, 0.9, 1e-10)
        assert least < torchs[-1, 0] / tensorflows[-1, 0] < most


def optimistic_reference(gradients, lr, betas, eps):
    """θ of optimistic Adam from 0 on, (steps, n), in NumPy's float64, as algorithm 1 has it."""
    mean, square, theta, last = (np.zeros(gradients.shape[1]) for _ in range(4))
    path = []
    for t, g in enumerate(gradients, 1):
        mean = betas[0] * mean + (1 - betas[0]) * g
        square = betas[1] * square + (1 - betas[1]) * g**2
        update = mean / (1 - betas[0] ** t) / (np.sqrt(square / (1 - betas[1] ** t)) + eps)
        theta = theta - 2 * lr * update + lr * last
        last = update
        path.append(theta)
    return np.array(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("betas", [(0.5, 0.9), (0.0, 0.999)])
def test_optimistic_adam_follows_a_float64_reference(betas, kind):
    gradients = np.random.default_rng(0).normal(0, [1e-6, 1e-3, 1, 30], (50, 4))
    recipe = Recipe("optimistic_adam", 5e-5, betas)
    expected = optimistic_reference(gradients, recipe.lr, recipe.betas, recipe.eps)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        network = Weights([0.0] * 4, dtype)
        path = stepped(make_optimizer(recipe, network, kind), network, gradients)
        np.testing.assert_allclose(path.numpy(), expected, rtol=tolerance)


def distances(recipe, steps=2000):
    """‖(x, y)‖ after every simultaneous step of min over x, max over y of xy, from (1, 1) on."""
    players = [Weights([1.0]), Weights([1.0])]
    optimizers = [make_optimizer(recipe, player) for player in players]
    found = []
    for _ in range(steps):
        x, y = (player.w.detach().clone() for player in players)
        for player, gradient, optimizer in zip(players, (y, -x), optimizers, strict=True):
            player.w.grad = gradient
            optimizer.step()
        found.append(torch.hypot(*(player.w.detach() for player in players)).item())
    return np.array(found)


def scaled(h):
    """Optimistic Adam whose step is h times the gradient: ε outgrows √v̂."""
    return Recipe("optimistic_adam", h * 1e12, (0.0, 0.0), eps=1e12)


@pytest.mark.parametrize("h", [0.01, 0.1])
def test_gradient_descent_leaves_a_bilinear_game_at_its_closed_rate(h):
    """Each simultaneous step multiplies the distance by √(1 + h²)."""
    expected = 2**0.5 * (1 + h**2) ** (np.arange(1, 101) / 2)
    np.testing.assert_allclose(distances(Recipe("sgd", h), 100), expected, rtol=1e-12)


@pytest.mark.parametrize("h", [0.1, 0.3, 0.57, 0.585])
def test_optimism_ends_a_bilinear_game_up_to_a_step_of_1_over_sqrt_3(h):
    """Its distance changes by the larger root of μ² = μ(1 − 2ih) + ih, below 1 up to 1/√3."""
    rate = np.abs(np.roots([1, -(1 - 2j * h), -1j * h])).max()
    assert (rate < 1) == (h < 1 / 3**0.5)
    path = distances(scaled(h), 600)
    assert (path[-1] / path[299]) ** (1 / 300) == pytest.approx(rate, rel=1e-6)


STATEFUL = pytest.mark.parametrize("name", ["rmsprop_tf", "optimistic_adam"])


@STATEFUL
def test_a_stack_is_updated_as_each_of_its_networks(name):
    recipe = Recipe(name, 1e-2)
    networks = [Weights([0.1, 0.2]), Weights([0.3, -0.4])]
    alone = copy.deepcopy(networks)
    gradients = torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    for i, network in enumerate(alone):
        stepped(make_optimizer(recipe, network), network, gradients[:, i])
    stack = Stack(networks)
    optimizer = make_optimizer(recipe, stack, "fused")
    for gradient in gradients:
        stack.stacked_parameters["w"].grad = gradient
        optimizer.step()
    for network, expected in zip(networks, alone, strict=True):
        torch.testing.assert_close(network.w, expected.w, rtol=1e-12, atol=0)


def test_an_undone_step_leaves_a_mean_square_of_one():
    """As around the capture of a CUDA graph: zeros would make the first step too long."""
    network = Weights([1.0, 2.0])
    rate = torch.tensor(1e-3)
    optimizer = make_optimizer(Recipe("rmsprop_tf", 1e-3), network, "capturable")
    assert torch.equal(optimizer.param_groups[0]["lr"], rate)
    with undone([network], [optimizer]):
        stepped(optimizer, network, [[5.0, 5.0]])
    assert network.w.tolist() == [1.0, 2.0]
    assert optimizer.state[network.w]["mean_square"].tolist() == [1.0, 1.0]


@STATEFUL
def test_it_goes_on_from_a_saved_state_bit_for_bit(name):
    gradients = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).double()
    recipe = Recipe(name, 1e-2)
    whole, half = Weights([0.1, 0.2]), Weights([0.1, 0.2])
    expected = stepped(make_optimizer(recipe, whole), whole, gradients)
    first = make_optimizer(recipe, half)
    stepped(first, half, gradients[:3])
    second = make_optimizer(recipe, half, "fused")
    load_optimizer(second, copy.deepcopy(first.state_dict()))
    assert torch.equal(stepped(second, half, gradients[3:]), expected[3:])


def test_an_undone_step_leaves_no_last_step():
    network = Weights([1.0, 2.0])
    optimizer = make_optimizer(Recipe("optimistic_adam", 1e-3), network, "capturable")
    with undone([network], [optimizer]):
        stepped(optimizer, network, [[5.0, 5.0]])
    assert network.w.tolist() == [1.0, 2.0]
    assert all(not value.any() for value in optimizer.state[network.w].values())


@pytest.mark.parametrize(
    ("optimizer", "lr"), [("rmsprop_tf", 1e-3), ("optimistic_adam", 1e-3), ("sgd", 0.1)]
)
def test_training_with_it_is_the_same_alone_and_in_a_stack(optimizer, lr):
    params = {"optimizer": optimizer, "lr": lr}
    cells = [small_cell("wgan", "images", seed, params=params, steps=6) for seed in (0, 1)]
    *_, together = train_stack(cells, "cpu")
    for cell, own in zip(cells, together, strict=True):
        *_, alone = train(cell, "cpu")
        for name, weights in alone.G.state_dict().items():
            torch.testing.assert_close(own.G.state_dict()[name], weights, rtol=1e-3, atol=1e-5)
    *_, torchs = train(small_cell("wgan", "images", params={"lr": 1e-3}, steps=6), "cpu")
    assert (torchs.D.linear.weight - together[0].D.linear.weight).abs().max() > 1e-4


# Two rates and weight decay


@pytest.mark.parametrize("lr_decay", ["none", "linear"])
def test_each_network_has_its_own_rate(lr_decay):
    """A step of Adam is as long as its rate in the first step, whatever the gradient."""
    params = {"d_lr": 1e-3, "g_lr": 1e-5}
    cell = small_cell("nonsaturating", params=params, steps=1, lr_decay=lr_decay)
    start, end = (
        [[p.detach().clone() for p in network.parameters()] for network in (snapshot.G, snapshot.D)]
        for snapshot in train(cell, "cpu")
    )
    longest = []
    for before, after in zip(start, end, strict=True):
        moves = [(b - a).abs().max().item() for b, a in zip(before, after, strict=True)]
        longest.append(max(moves))
    assert longest == pytest.approx([1e-5, 1e-3], rel=1e-2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["adam", "optimistic_adam", "rmsprop", "rmsprop_tf", "sgd"])
def test_weight_decay_adds_the_weight_to_the_gradient(name, kind):
    recipe = Recipe(name, 0.01, weight_decay=0.3)
    decayed = Weights([2.0, -1.0])
    optimizer = make_optimizer(recipe, decayed, kind)
    plain = Weights([2.0, -1.0])
    plain_optimizer = make_optimizer(replace(recipe, weight_decay=0.0), plain, kind)
    for gradient in ([0.1, 0.2], [-0.3, 0.1]):
        (found,) = stepped(optimizer, decayed, [gradient])
        with_weight = torch.tensor(gradient) + 0.3 * plain.w.detach()
        (expected,) = stepped(plain_optimizer, plain, [with_weight])
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("product", "is_stable"), [(3.9, True), (4.1, False)])
def test_only_the_product_of_two_rates_counts(product, is_stable):
    """The suite's steps in turn on ψθ stay bounded if h_d h_g < 4, whatever the ratio of the
    rates."""
    game = make_objective(Choice("wgan_gp", {"penalty_weight": 0.0}))
    for ratio in (0.1, 1.0, 10.0):
        d_lr, g_lr = (product * ratio) ** 0.5, (product / ratio) ** 0.5
        recipe = Recipe("sgd", 1.0, d_lr=d_lr, g_lr=g_lr)
        found = path(game, (1.0, 1.0, 0.0), recipe, 100)
        assert bool(np.abs(found).max() < 200) == is_stable
