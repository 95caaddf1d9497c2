"""The Dirac-GAN: data at 0, one generated sample at θ, the critic D(x) = ψx + φ. Its vector field,
equilibria and eigenvalues, from an objective's own losses in float64."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from benchmark.train.optimizers import make_optimizers
from benchmark.train.step import critic_step, generator_step
from variants.objectives import Recipe

SIDE = 1e-9  # how far from ψ = 0 a field is looked at that jumps there


class Equilibrium(NamedTuple):
    """Where the field is 0, and how it changes there."""

    theta: float
    """Not 0 where a penalty makes the field jump at ψ = 0."""

    phi: float

    eigenvalues: list[complex]
    """Of the field in (θ, ψ)."""

    of_phi: float
    """The eigenvalue of φ; NaN where φ is coupled to θ and ψ."""


def field(objective: Any, state: Tensor) -> Tensor:
    """(−∂ g_loss/∂θ, −∂ d_loss/∂ψ, −∂ d_loss/∂φ) at (θ, ψ, φ): where both players go, (3,)."""
    real = torch.zeros(2, 1, dtype=state.dtype)
    # what is drawn only places x̂, and the slope of the critic is ψ everywhere
    noise = objective.draw(real, torch.Generator().manual_seed(0))

    def losses(own: Tensor, other: Tensor, is_critic: bool) -> Tensor:
        theta, (psi, phi) = (other, own) if is_critic else (own, other)
        loss = objective.d_loss if is_critic else objective.g_loss
        value: Tensor = loss(lambda x: psi * x[:, 0] + phi, real, theta.expand(2, 1), noise)
        return value

    of_generator = torch.func.grad(losses)(state[0], state[1:], False)
    of_critic = torch.func.grad(losses)(state[1:], state[0], True)
    return -torch.cat([of_generator[None], of_critic])


def _at(objective: Any, *state: float) -> Tensor:
    return field(objective, torch.tensor(state, dtype=torch.float64))


def equilibrium(objective: Any) -> Equilibrium:
    """The equilibrium at ψ = 0, on the side of ψ > 0 where the field jumps there."""
    phi = _root(lambda phi: _at(objective, 0.0, 0.0, phi)[2].item())
    # at ψ = 0 a norm has no second derivative
    psi = SIDE if objective.per_sample_penalty else 0.0
    theta = 0.0
    if _at(objective, 0.0, psi, phi)[1].abs() > 1e-3:
        theta = _root(lambda theta: _at(objective, theta, psi, phi)[1].item())
    state = torch.tensor([theta, psi, phi], dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda state: field(objective, state))(state)
    eigenvalues = np.linalg.eigvals(jacobian[:2, :2].numpy())
    coupled = max(jacobian[2, :2].abs().max(), jacobian[:2, 2].abs().max()) > 1e-6
    of_phi = math.nan if coupled else jacobian[2, 2].item()
    if coupled:
        eigenvalues = np.linalg.eigvals(jacobian.numpy())
    return Equilibrium(theta, phi, sorted(map(complex, eigenvalues), key=_order), of_phi)


def _order(value: complex) -> tuple[float, float]:
    return -round(value.real, 9), -value.imag


def _root(function: Any) -> float:
    """Where a falling function is 0, by halving; 0 where it is 0 there."""
    if abs(function(0.0)) < 1e-9:
        return 0.0
    low, high = -1000.0, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return (low + high) / 2


def flow(objective: Any, start: tuple[float, float, float], times: np.ndarray) -> np.ndarray:
    """(θ, ψ, φ) of the continuous flow at the times, (len(times), 3)."""

    def right_side(_: float, state: np.ndarray) -> np.ndarray:
        return field(objective, torch.from_numpy(state)).numpy()

    span = (0.0, times[-1])
    solved = solve_ivp(right_side, span, start, "LSODA", times, rtol=1e-5, atol=1e-7)
    return np.asarray(solved.y.T)


class Point(nn.Module):
    """The generator: every latent becomes θ."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta * torch.ones_like(z)


class Line(nn.Module):
    """The critic ψx + φ."""

    def __init__(self, psi: float, phi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi))
        self.phi = nn.Parameter(torch.tensor(phi))

    def forward(self, x: Tensor) -> Tensor:
        return self.psi * x[:, 0] + self.phi


def path(
    objective: Any,
    start: tuple[float, float, float],
    recipe: Recipe,
    steps: int,
    *,
    d_steps: int = 1,
    simultaneous: bool = False,
) -> np.ndarray:
    """(θ, ψ) before the first and after every generator step, (steps + 1, 2), by the suite's own
    steps. simultaneous: the generator sees the critic of before its step."""
    G, D = Point(start[0]), Line(*start[1:])
    G_optimizer, D_optimizer = make_optimizers(recipe, (G, D))
    real, z = torch.zeros(2, 1), torch.zeros(2, 1)
    noise = objective.draw(real, torch.Generator().manual_seed(0))
    found = [(G.theta.item(), D.psi.item())]
    for _ in range(steps):
        frozen = Line(D.psi.item(), D.phi.item())
        for _ in range(d_steps):
            critic_step(objective, G, D, D_optimizer, real, z, noise)
        seen = frozen if simultaneous else D
        generator_step(objective, G, seen, G_optimizer, real, z, noise)
        found.append((G.theta.item(), D.psi.item()))
    return np.array(found)


def moduli(x: np.ndarray) -> dict[str, np.ndarray]:
    """The largest |μ| of five update rules on a rotation by ω, over x = step length × ω: above 1
    the players leave the equilibrium."""
    one, turn = np.ones_like(x), 1j * x
    alternating = 1 - x**2 / 2 + np.sqrt((1 - x**2 / 2) ** 2 - 1 + 0j)
    optimistic = [np.abs(np.roots([1, -(1 + 2 * t), t])).max() for t in turn]
    return {
        "simultaneous": np.abs(one + turn),
        "alternating": np.maximum(np.abs(alternating), np.abs(1 / alternating)),
        "extragradient": np.abs(one + turn + turn**2),
        "optimistic": np.array(optimistic),
        # the rate of consensus is that of the game: γω = 1
        "consensus": np.abs(one - x + turn),
    }


def averaged_radius(beta: float, angle: float) -> float:
    """The radius, as a share of the circle's, on which an average of decay β ends whose players
    turn by `angle` at every step."""
    return abs((1 - beta) / (1 - beta * np.exp(-1j * angle)))
