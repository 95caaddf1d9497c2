"""Probes of planted critics, the cost of a step by hand, and the weights a finished cell leaves."""

import math

import pytest
import torch
from torch import nn

from benchmark.machine.workload import reference_workload
from benchmark.matrix.cell import Choice
from benchmark.run.cell.rows import layer_rows
from benchmark.run.cell.samples import load_snapshot, save_generator
from benchmark.store.layout import CellFolder
from benchmark.train.build import make_networks, make_objective
from benchmark.train.flops import count_costs
from benchmark.train.inputs import Inputs
from benchmark.train.loop import train
from benchmark.train.optimizers import make_optimizer
from benchmark.train.probes import PROBES, layer_norms, probe
from benchmark.train.step import grad_norm
from tests.helpers.cells import small_cell


class Linear(nn.Module):
    """D(x) = w·x, as a score per sample."""

    def __init__(self, *weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        return x @ self.weight


class Always(nn.Module):
    """A generator that always makes the same samples, and counts how often."""

    def __init__(self, samples) -> None:
        super().__init__()
        self.samples = samples
        self.register_buffer("made", torch.zeros(()))

    def forward(self, z):
        self.made += 1
        return self.samples


def probed(name, critic, real, held, fake):
    """The probes of an objective; the fresh training batch is twice `real`."""
    G = Always(fake)
    values = probe(
        make_objective(Choice(name)), G, critic, real, (2 * real, held), fake, torch.Generator()
    )
    assert G.made == 0, "looking changes nothing"
    return dict(zip(PROBES, torch.stack(values).tolist(), strict=True))


REAL = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
HELD = torch.tensor([[0.0, 0.0], [0.0, 5.0]])
FAKE = torch.tensor([[-2.0, 1.0], [-2.0, 1.0]])


def test_probes_of_a_linear_critic_by_hand():
    found = probed("wgan", Linear(3.0, 4.0), REAL, HELD, FAKE)
    assert found["slope"] == pytest.approx(5)  # ‖(3, 4)‖ at every point
    assert found["slope_std"] == pytest.approx(0, abs=1e-6)
    assert found["d_real_std"] == pytest.approx(math.sqrt(18))  # of 3 and 9
    assert found["d_fake_std"] == 0
    assert found["d_loss_train"] == pytest.approx(-2 - 12)
    assert found["d_loss_holdout"] == pytest.approx(-2 - 10)
    assert math.isnan(found["penalty"])
    assert math.isnan(found["saturation"])
    assert probed("wgan_gp", Linear(3.0, 4.0), REAL, HELD, FAKE)["penalty"] == pytest.approx(16)


def test_one_sample_has_no_spread():
    found = probed("wgan", Linear(3.0, 4.0), REAL[:1], HELD[:1], FAKE[:1])
    assert found["slope"] == pytest.approx(5)
    assert all(math.isnan(found[name]) for name in ("slope_std", "d_real_std", "d_fake_std"))


@pytest.mark.parametrize(("weight", "share"), [(0.0, 0.0), (5.0, 0.75), (7.0, 1.0)])
def test_saturation_counts_probabilities_within_a_thousandth_of_0_and_1(weight, share):
    """The scores are w, 3w, −2w and −2w; σ(s) is within 1e-3 of 0 or 1 from |s| = 6.907 on."""
    assert probed("nonsaturating", Linear(weight, 0.0), REAL, HELD, FAKE)["saturation"] == share


@pytest.mark.parametrize(
    ("layer", "share"),
    [
        (nn.MaxPool2d(2), 0.75),
        (nn.AvgPool2d(2), 0.0),
        (nn.ReLU(), 0.5),
        (nn.LeakyReLU(0.2), 0.0),
        (nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2)), 0.75),
        (nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2)), 0.9375),
    ],
)
def test_a_maximum_passes_on_a_quarter_of_the_gradient(layer, share):
    """Of values that are all different, half of them negative; the gradient that comes from behind
    is nowhere 0."""

    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((4, 3, 1, 1), 0.7))

        def forward(self, x):
            return (self.weight * layer(x)).sum((1, 2, 3))

    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(4 * 3 * 64, generator=generator).float()
    images = (order - order.mean()).view(4, 3, 8, 8)
    found = probed("nonsaturating", Critic(), images, images, images)
    assert found["sparse"] == share
    assert probed("wgan", Linear(3.0, 0.0), REAL, HELD, FAKE)["sparse"] == 0.5


def test_clipped_is_the_share_of_weights_at_the_bound():
    clipped = Linear(0.01, -0.01, 0.0099, 0.0)
    x = torch.zeros(2, 4)
    assert probed("wgan", clipped, x, x, x)["clipped"] == 0.5
    assert math.isnan(probed("lsgan", clipped, x, x, x)["clipped"])


def test_layer_norms_add_up_to_the_networks_gradient_norm():
    *_, last = train(small_cell("wgan_gp", steps=3), "cpu")
    norms = {name: norm.item() for name, norm in layer_norms(last.D).items()}
    assert norms == last.layers["D"]
    assert list(norms) == [name for name, _ in last.D.named_parameters()]
    assert math.hypot(*norms.values()) == pytest.approx(grad_norm(last.D).item(), rel=1e-5)
    rows = layer_rows(last)
    assert [row["layer"] for row in rows if row["network"] == "D"] == list(norms)
    assert {row["g_step"] for row in rows} == {3}
    assert [row["depth"] for row in rows if row["network"] == "G"] == list(
        range(len(last.layers["G"]))
    )


def test_a_steps_cost_in_forward_passes_by_hand():
    """Of two linear layers n → n and n → n without biases, a forward pass costs 2, its backward
    pass 2 for the weights and 1 for what lies between them; the input's own gradient costs 1
    more."""

    def network():
        return nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network()

        def forward(self, x):
            return self.body(x).sum(1)

    G, D, objective = network(), Critic(), make_objective(Choice("lsgan"))
    optimizers = tuple(make_optimizer(objective.recipe, network) for network in (G, D))
    real, z = torch.randn(4, 8), torch.randn(4, 8)
    inputs = Inputs(real, z, None)
    again = inputs._replace(z=z.clone())
    critic, generator = count_costs(objective, (G, D), optimizers, inputs, again).forwards
    # Real and fake, forward and backward, and the generator's forward
    assert critic == 4 * (2 * (2 + 3) + 2) / 2
    # The generator's; through the critic to its input, without its weights
    assert generator == 4 * ((2 + 3) + (2 + 2)) / 2
    larger = inputs._replace(z=torch.randn(8, 8))
    twice = count_costs(objective, (G, D), optimizers, inputs, larger).forwards
    assert twice == (critic, 2 * generator)
    # With the latents of the critic step, its fakes are there already
    same = count_costs(objective, (G, D), optimizers, inputs, inputs).forwards
    assert same == (critic, generator - 4 * 2 / 2)


@pytest.mark.parametrize(
    "name", ["minimax", "wgan", "wgan_gp", "wgan_gp jvp", "wgan_fdgp", "hinge"]
)
@pytest.mark.parametrize("place", ["points", "images"])
def test_a_penalty_costs_more_and_nothing_else_does(name, place):
    params = {"method": "jvp"} if name.endswith("jvp") else {}
    costs = next(train(small_cell(name.split()[0], place, params=params), "cpu")).counters.forwards
    plain = next(train(small_cell("lsgan", place), "cpu")).counters.forwards
    assert costs[1] == plain[1]
    assert costs[0] > 1.2 * plain[0] if "gp" in name else costs[0] == plain[0]


@pytest.mark.parametrize("training", [{}, {"ema": 0.9}])
@pytest.mark.parametrize("place", ["points", "images"])
def test_the_weights_that_a_cell_leaves_sample_what_was_measured(tmp_path, place, training):
    cell = small_cell(place=place, steps=3, **training)
    *_, last = train(cell, "cpu")
    files = CellFolder(tmp_path)
    save_generator(files, last)
    samples = load_snapshot(cell, files, "cpu").sample(300)
    assert torch.equal(samples, last.sample(300))
    initial = make_networks(cell)[0]
    assert not torch.equal(next(initial.parameters()), next(last.G.parameters()))


def test_the_reference_workload_leaves_the_random_state():
    before = torch.get_rng_state()
    milliseconds, memory = reference_workload("cpu")
    assert torch.equal(before, torch.get_rng_state())
    assert 0 < milliseconds < 60_000
    assert memory is None
