"""The forms of the gradient penalty that the objectives offer, compared with the exact penalty."""

import itertools
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor, nn

import variants
from benchmark.explain.optimum import asks_for_unit_slope
from benchmark.explain.setup import choice, fit_critic, label, make_critic, noised
from benchmark.train.build import make_objective

EXACT = {"name": "wgan_gp"}
EPSILONS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
SLOPE = 3.0  # of the linear critics
BATCH_SIZE = 256  # of `step`
SIDES = ("two", "one", "linear")  # of the exact penalty


def forms() -> list[dict[str, Any]]:
    """Every objective with the penalty of WGAN-GP, exact or not, in all the forms that its
    parameters name."""
    found = []
    for name in variants.names("objectives"):
        objective = variants.load("objectives", name).Objective
        if asks_for_unit_slope(objective()):
            for params in _named_params(objective):
                changed = {k: v for k, v in params.items() if v != getattr(objective, k)}
                found.append({"name": name} | changed)
    return found


def _named_params(objective: Any) -> Iterator[dict[str, Any]]:
    """All combinations of the parameters whose values have names, without those that the objective
    refuses."""
    hints = get_type_hints(objective)
    literals = [
        field.name for field in fields(objective) if get_origin(hints[field.name]) is Literal
    ]
    for values in itertools.product(*(get_args(hints[name]) for name in literals)):
        params = dict(zip(literals, values, strict=True))
        try:
            objective(**params)
        except ValueError:
            continue
        yield params


def linear(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The penalty of linear critics, whose exact value is known: (|slope| − 1)², or the slope's
    excess alone."""
    rows = []
    for dimensions, value in itertools.product((1, 64), values):
        generator = torch.Generator().manual_seed(0)
        real = torch.randn(512, dimensions, generator=generator, dtype=torch.float64)
        fake = torch.randn(512, dimensions, generator=generator, dtype=torch.float64)
        weight = torch.randn(dimensions, generator=generator, dtype=torch.float64)
        weight *= SLOPE / weight.norm()
        objective = make_objective(choice(value))
        noise = objective.draw(real, generator)
        penalty = objective.penalty(lambda x, weight=weight: x @ weight, real, fake, noise).item()
        exact = SLOPE - 1 if value.get("sided") == "linear" else (SLOPE - 1) ** 2
        row = {"form": label(value), "dimensions": dimensions}
        rows.append(row | {"value": penalty, "exact": exact})
    return rows


def step(values: list[dict[str, Any]], activation: str, width: int) -> list[dict[str, Any]]:
    """Value and parameter gradient of every form on one critic, initial and fitted, compared with
    those of the exact penalty of the same side (two-sided for signed forms), in float64 and at the
    same x̂."""
    D = make_critic(EXACT, (2,), width=width, depth=3, activation=activation)
    draw = noised("gaussians8", BATCH_SIZE)
    real, fake = draw(torch.Generator().manual_seed(1))
    batch = (real.double(), fake.double())
    rows = compared(values, D.double(), *batch, {"critic": activation, "state": "initial"})
    fit_critic(make_objective(choice(EXACT)), D.float(), draw, 200)
    return rows + compared(values, D.double(), *batch, {"critic": activation, "state": "fitted"})


def compared(
    values: list[dict[str, Any]], D: nn.Module, real: Tensor, fake: Tensor, facts: dict[str, str]
) -> list[dict[str, Any]]:
    """form, the facts, epsilon, value, exact, cosine of every form and ε on a critic in float64."""
    generator = torch.Generator().manual_seed(2)
    alpha = torch.rand(2, BATCH_SIZE, generator=generator, dtype=torch.float64)
    exact = {
        side: gradient_of({**EXACT, "sided": side}, D, real, fake, (alpha[0],)) for side in SIDES
    }
    rows = []
    for value in values:
        exact_value, exact_gradient = exact.get(value.get("sided", "two"), exact["two"])
        for epsilon in epsilons(value):
            tried = value if epsilon is None else {**value, "epsilon": epsilon}
            noise = make_objective(choice(tried)).draw(real, torch.Generator().manual_seed(3))
            # the same x̂ as the exact penalty; forms with two α use both rows
            noise = (alpha[0],) if noise[0].dim() == 1 else (alpha, *noise[1:])
            penalty, gradient = gradient_of(tried, D, real, fake, noise)
            cosine = nn.functional.cosine_similarity(gradient, exact_gradient, dim=0).item()
            row = {"form": label(value), **facts, "epsilon": epsilon or np.nan}
            rows.append(row | {"value": penalty, "exact": exact_value, "cosine": cosine})
    return rows


def epsilons(value: dict[str, Any]) -> tuple[float | None, ...]:
    """The ε to try a form with; None where it has none that matters."""
    moves = value.get("pairs", "gradient") in ("gradient", "local")
    return EPSILONS if moves and hasattr(make_objective(choice(value)), "epsilon") else (None,)


def gradient_of(
    value: dict[str, Any], D: nn.Module, real: Tensor, fake: Tensor, noise: tuple[Tensor, ...]
) -> tuple[float, Tensor]:
    """A penalty's value and its gradient by all parameters of D, (n,)."""
    penalty = make_objective(choice(value)).penalty(D, real, fake, noise)
    parameters = list(D.parameters())
    grads = torch.autograd.grad(penalty, parameters, allow_unused=True, materialize_grads=True)
    return penalty.item(), torch.cat([grad.flatten() for grad in grads])
