"""Networks, objectives and optimisers of a cell, and what cells share."""

import math

import pytest
import torch

from benchmark.matrix.cell import Choice
from benchmark.train.build import make_networks, make_objective, make_recipe
from benchmark.train.execution import iteration as iteration_module
from benchmark.train.loop import train
from tests.helpers.cells import small_cell
from variants.objectives import Recipe, lsgan


def test_networks_share_what_they_have_in_common_by_name():
    _, layer = make_networks(small_cell("wgan_gp", "images"))
    _, batch = make_networks(small_cell("nonsaturating", "images"))
    assert torch.equal(layer.convs[0].weight, batch.convs[0].weight)
    assert layer.convs[0].weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert layer.convs[0].weight.abs().max().item() <= 0.02 * math.sqrt(3)


def test_an_objective_may_bring_its_own_optimiser_in_a_matrix():
    """LSGAN as the WGAN-GP authors ran it: RMSProp 1e-4; what is not set stays the paper's."""
    papers = lsgan.Objective.recipe
    values = {"a": -1.0, "b": 1.0, "c": 0.0}
    cell = small_cell("lsgan", params={**values, "optimizer": "rmsprop", "lr": 1e-4})
    assert make_objective(cell.objective) == lsgan.Objective(**values)
    assert make_recipe(cell) == Recipe("rmsprop", 1e-4, papers.betas, papers.alpha)
    assert make_recipe(small_cell("lsgan", params={"a": -1.0, "c": 0.0})) == papers


def test_the_optimiser_of_an_objective_is_the_one_that_trains():
    """A step of RMSProp from rest moves a weight by lr·g/(√((1 − α)g²) + ε): by 10 lr at α = 0.99,
    whatever g."""
    initial = make_networks(small_cell("lsgan"))[0].out.weight
    cell = small_cell("lsgan", steps=1, params={"optimizer": "rmsprop", "lr": 1e-5})
    *_, last = train(cell, "cpu")
    moved = (last.G.out.weight - initial).abs()
    torch.testing.assert_close(moved, torch.full_like(initial, 1e-4), rtol=0.01, atol=0)


def test_one_shared_recipe_for_all(monkeypatch):
    used = []
    make = iteration_module.make_optimizers

    def recording(recipe, *rest):
        used.append(recipe)
        return make(recipe, *rest)

    monkeypatch.setattr(iteration_module, "make_optimizers", recording)
    recipe = {"optimizer": "rmsprop", "lr": 0.01, "betas": [0.5, 0.999], "alpha": 0.9}
    for name in ("wgan_gp", "minimax"):
        for _ in train(small_cell(name, steps=1, recipe=recipe), "cpu"):
            pass
    assert {(r.optimizer, r.lr, r.alpha) for r in used} == {("rmsprop", 0.01, 0.9)}


def test_streams_do_not_depend_on_the_objective():
    ours, theirs = small_cell("minimax"), small_cell("wgan_gp")
    assert ours.stream("steps") == theirs.stream("steps")
    assert ours.stream("steps") != small_cell("minimax", seed=1).stream("steps")
    assert ours.key != theirs.key
    assert small_cell(params=None).objective == Choice("nonsaturating")
