"""Steps: the critic's loss differentiated term by term, and fakes that two steps share."""

import copy
import weakref

import pytest
import torch
from torch import nn

import variants
from benchmark.train import flops
from benchmark.train.build import make_networks, make_objective
from benchmark.train.execution.eager import iterate_eagerly
from benchmark.train.inputs import Inputs
from benchmark.train.loop import train
from benchmark.train.optimizers import make_optimizer
from benchmark.train.step import critic_step
from tests.helpers.cells import small_cell
from tests.helpers.critics import SmoothCritic
from variants.objectives import nonsaturating, wgan_gp


class Given(nn.Module):
    """A generator whose samples are its latents, times a weight."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.num_calls = 0

    def forward(self, z):
        self.num_calls += 1
        return self.scale * z


def gradients(objective, D, batch, by_term):
    """The gradients of a critic step by parameter, and what the step returns."""
    D = copy.deepcopy(D)
    optimizer = torch.optim.SGD(D.parameters(), lr=0.0)
    row = critic_step(objective, Given(), D, optimizer, *batch, by_term=by_term)
    return [parameter.grad for parameter in D.parameters()], row


def batch_of(objective, n=8, dim=6):
    generator = torch.Generator().manual_seed(0)
    real, z = torch.randn(2, n, dim, generator=generator)
    return Inputs(real, z, objective.draw(real, generator))


OBJECTIVES = variants.names("objectives")
WITH_TERMS = [name for name in OBJECTIVES if variants.load("objectives", name).Objective.has_terms]


@pytest.mark.parametrize("name", WITH_TERMS)
def test_term_by_term_is_the_whole_loss(name):
    objective = variants.load("objectives", name).Objective()
    D, batch = SmoothCritic(6, scale=2).float(), batch_of(objective)
    whole, row = gradients(objective, D, batch, by_term=False)
    found, found_row = gradients(objective, D, batch, by_term=True)
    torch.testing.assert_close(found_row, row, equal_nan=True)
    for ours, expected in zip(found, whole, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("by_term", "num_kept"), [(False, 2), (True, 0)])
def test_a_term_frees_its_activations_before_the_next(by_term, num_kept):
    """When the penalty scores its points, a whole loss still holds the activations of the fakes and
    of the real samples."""
    activations, kept = [], []
    D = SmoothCritic(6).float()

    def remember(module, inputs, output):
        kept.append(sum(activation() is not None for activation in activations))
        activations.append(weakref.ref(output))

    D.second.register_forward_hook(remember)
    objective = wgan_gp.Objective()
    optimizer = torch.optim.SGD(D.parameters(), lr=0.0)
    batch = batch_of(objective)
    # tanh keeps its result, so the activation that is watched is a view's base
    D.activation = nn.functional.softplus
    critic_step(objective, Given(), D, optimizer, *batch, by_term=by_term)
    assert kept == [0, 0 if by_term else 1, num_kept]


def test_another_loss_has_not_the_terms_of_its_parent():
    class Doubled(wgan_gp.Objective):
        def d_loss(self, D, real, fake, noise=None):
            return 2 * super().d_loss(D, real, fake, noise)

    class Longer(nonsaturating.Objective):
        def d_terms(self, D, real, fake, noise=None):
            yield from super().d_terms(D, real, fake, noise)
            yield D(real).square().mean()

    D = SmoothCritic(6).float()
    for objective, parent in ((Doubled(), wgan_gp), (Longer(), nonsaturating)):
        real, fake, noise = batch_of(objective)
        loss = objective.d_loss(D, real, fake, noise)
        assert loss != parent.Objective().d_loss(D, real, fake, noise)
        if objective.has_terms:
            total = sum(objective.d_terms(D, real, fake, noise))
            torch.testing.assert_close(total, loss)
    assert (Doubled.has_terms, Longer.has_terms) == (False, True)


def test_a_deep_critic_is_differentiated_by_term_and_the_cell_says_so(monkeypatch):
    cell = small_cell("wgan_gp", "images", steps=5)
    whole = list(train(cell, "cpu"))
    assert whole[-1].execution.label == "eager"
    monkeypatch.setattr(flops, "DEEP", 0)
    by_term = []
    for snapshot in train(cell, "cpu"):
        by_term.append(snapshot)
        if len(by_term) == 3:
            state = copy.deepcopy(snapshot.state)
    assert by_term[-1].execution.label == "eager, by term"
    for ours, expected in zip(by_term[1:], whole[1:], strict=True):
        assert ours.row["d_loss"] == pytest.approx(expected.row["d_loss"], rel=1e-4, abs=1e-4)
    *_, last = train(cell, "cpu", state=state)
    # NaN is NaN
    assert repr(last.row) == repr(by_term[-1].row)


@pytest.mark.parametrize("name", ["nonsaturating", "wgan_gp"])
def test_shared_fakes_are_made_once(name):
    """With the numbers of fakes that are made again from the same latents."""
    cell = small_cell(name, "images")
    objective = make_objective(cell.objective)
    pair = make_networks(cell)
    generator = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(objective.d_steps(0) + 1):
        real = torch.randn(16, 1, 8, 8, generator=generator)
        z = torch.randn(16, pair[0].latent_dim, generator=generator)
        draws.append(Inputs(real, z, objective.draw(real, generator)))
    draws[-1] = draws[-1]._replace(z=draws[-2].z)
    again = [*draws[:-1], draws[-1]._replace(z=draws[-2].z.clone())]
    results, calls = [], []
    for inputs in (draws, again):
        networks = copy.deepcopy(pair)
        optimizers = [make_optimizer(objective.recipe, network) for network in networks]
        networks[0].register_forward_hook(lambda *_: calls.append(1))
        row = iterate_eagerly(objective, networks, optimizers, inputs)
        tensors = [*networks[0].state_dict().values(), *networks[1].state_dict().values()]
        results.append([row, *tensors])
        calls.append(0)
    assert all(map(torch.equal, *results))
    d_steps = objective.d_steps(0)
    assert calls == [1] * d_steps + [0] + [1] * (d_steps + 1) + [0]


def test_latents_of_the_critic_change_only_the_generator_steps():
    fresh = list(train(small_cell("nonsaturating", steps=2), "cpu"))
    shared = list(train(small_cell("nonsaturating", steps=2, generator_latents="critic"), "cpu"))
    assert shared[1].row["d_loss"] == fresh[1].row["d_loss"]
    assert shared[1].row["g_loss"] != fresh[1].row["g_loss"]
    costs = [snapshots[0].counters.forwards for snapshots in (shared, fresh)]
    assert costs[0][0] == costs[1][0]
    assert costs[0][1] < costs[1][1]
