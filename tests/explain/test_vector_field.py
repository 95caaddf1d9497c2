"""The field of two networks against closed forms and against its dense Jacobian; trained runs."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from benchmark.explain import trained_game
from benchmark.explain.dirac_game import Line, Point, equilibrium
from benchmark.explain.setup import choice, make_critic
from benchmark.explain.trained_game import (
    draw_trained,
    in_words,
    measure_trained,
    predictions,
)
from benchmark.explain.vector_field import Game, leading, linear_quadratic
from benchmark.train.build import make_objective
from variants.architectures import build


def by_real_part(values):
    return sorted(map(complex, values), key=lambda value: (round(value.real, 6), value.imag))


def objective_of(name, **params):
    return make_objective(choice({"name": name, **params}))


@pytest.mark.parametrize("name", ["wgan", "hinge", "wgan_div"])
def test_a_flat_critic_turns_at_the_singular_values(name):
    """ȧ = 2w₂a, ḃ = 2w₂b + w₁ and the reverse: with σ = ½ and μ = 1, ±i times the singular values
    of ((1, 0), (2, 1)), √2 ± 1."""
    found = by_real_part(linear_quadratic(objective_of(name), 0.0))
    assert [value.real for value in found] == pytest.approx([0] * 4, abs=1e-9)
    turns = sorted(value.imag for value in found)
    root = math.sqrt(2)
    assert turns == pytest.approx([-root - 1, 1 - root, root - 1, root + 1], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "force", "curvature"),
    [
        # σ(0) = ½ is the force on G and on D; the critic's own curvature is 2 · ¼ E f fᵀ
        ("nonsaturating", {}, 0.5, 0.5),
        ("minimax", {}, 0.5, 0.5),
        ("fgan", {"divergence": "pearson"}, 1.0, 0.5),
    ],
)
def test_a_curved_critic_damps_where_data_has_a_width(name, params, force, curvature):
    """((0, gA), (−gAᵀ, −cM)), with M the second moments of (x², x) on the points."""
    quantiles = torch.distributions.Normal(0.0, 1.0).icdf(
        (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    )
    x = (1 + 0.5 * quantiles / quantiles.square().mean().sqrt()).numpy()
    features = np.stack([x**2, x])
    moments = features @ features.T / len(x)
    A = np.array([[1.0, 0.0], [2.0, 1.0]])
    jacobian = np.block([[np.zeros((2, 2)), force * A], [-force * A.T, -curvature * moments]])
    found = linear_quadratic(objective_of(name, **params), 0.0)
    np.testing.assert_allclose(
        by_real_part(found), by_real_part(np.linalg.eigvals(jacobian)), atol=1e-6
    )
    assert max(value.real for value in found) < -0.05


@pytest.mark.parametrize("name", ["wgan_gp", "wgan_fdgp", "dragan"])
def test_a_penalty_with_a_target_does_not_rest_at_the_data(name):
    assert linear_quadratic(objective_of(name), 0.0) == []


@pytest.mark.parametrize("name", ["r1", "rpgan_r1r2", "nonsaturating", "lsgan"])
def test_products_are_those_of_the_smallest_game(name):
    objective = objective_of(name)
    resting = equilibrium(objective)
    real = z = torch.zeros(2, 1, dtype=torch.float64)
    game = Game(objective, Point(0.0).double(), Line(0.0, resting.phi).double(), real, z, None)
    columns = [game.product(direction) for direction in torch.eye(3, dtype=torch.float64)]
    found = np.linalg.eigvals(torch.stack(columns, 1)[:2, :2].numpy())
    assert by_real_part(found) == pytest.approx(by_real_part(resting.eigenvalues), abs=1e-6)


@pytest.mark.parametrize("name", ["nonsaturating", "wgan_gp", "wgan_fdgp", "hinge"])
def test_the_leading_eigenvalue_is_that_of_the_dense_jacobian(name):
    objective, generator = objective_of(name), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    G, _ = build(choice({"name": "mlp", "width": 8, "depth": 1}, "architecture"), (2,), "none")
    D = make_critic({"name": name}, (2,), width=8, depth=1).eval()
    real, z = torch.randn(2, 64, 2, generator=generator)
    game = Game(objective, G, D, real + 1, z, objective.draw(real, generator))
    size = sum(weight.numel() for of in game.weights for weight in of.values())
    dense = torch.stack([game.product(direction) for direction in torch.eye(size)], 1)
    values = np.linalg.eigvals(dense.double().numpy())
    expected = values[values.real.argmax()]
    assert leading(game).real == pytest.approx(expected.real, rel=0.05)


def test_a_field_that_is_not_finite_has_none():
    G, D = Point(1.0), Line(1.0, 0.0)
    nn.init.constant_(D.psi, math.inf)
    real = z = torch.zeros(2, 1)
    assert math.isnan(leading(Game(objective_of("wgan"), G, D, real, z, None)).real)


def test_a_game_whose_critic_is_dead_has_an_eigenvalue_of_0():
    """Every unit gives 0, and the loss of WGAN is linear: nothing moves."""
    G, _ = build(choice({"name": "mlp", "width": 8, "depth": 1}, "architecture"), (2,), "none")
    D = make_critic({"name": "wgan"}, (2,), width=8, depth=1).eval()
    nn.init.constant_(D.body.linears[0].bias, -1e3)
    real = z = torch.zeros(4, 2)
    assert leading(Game(objective_of("wgan"), G, D, real, z, None)) == 0


def test_trained_runs_have_an_eigenvalue_half_way_and_a_verdict(monkeypatch):
    monkeypatch.setattr(
        trained_game, "TRAINING", {**trained_game.TRAINING, "steps": 20, "batch_size": 16}
    )
    monkeypatch.setattr(trained_game, "BATCH", 64)
    rows = measure_trained({"name": "lsgan"}, objective_of("lsgan"), [3, 5])
    assert rows["x"].tolist() == [3, 5]
    assert (rows["middle"] == 10).all()
    assert rows["real"].notna().all()
    assert rows["kind"].notna().all()
    rows = rows.assign(objective="lsgan")
    assert "2 trained runs of 1 objectives" in in_words(rows)
    ax = Figure().subplots()
    draw_trained(ax, rows)
    assert sum(len(drawn.get_offsets()) for drawn in ax.collections) == 2


def test_only_later_failures_are_predicted():
    rows = pd.DataFrame(
        {
            "objective": "a",
            "real": [5.0, 4.0, 1.0, 9.0, math.nan],
            "kind": ["late collapse", "ok", "ok", "stuck", "diverged"],
            "y": [400.0, math.nan, math.nan, 0.0, 30.0],
            "middle": [250.0, 250.0, 250.0, 250.0, math.nan],
        }
    )
    found = predictions(rows)
    assert found["late collapse"][0] == 1
    assert found["any failure"].num_events == 1
    assert found["diverged"].num_events == 0
    assert "diverged: none that can be compared" in in_words(rows)
