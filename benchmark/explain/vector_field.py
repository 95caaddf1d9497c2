"""The field that the two networks of a game follow on a fixed batch, the products of its Jacobian,
and its leading eigenvalue; the linear-quadratic game, whose Jacobian is 4 by 4."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigs
from torch import Tensor, nn
from torch.func import functional_call

from variants.objectives import Noise

Tensors = dict[str, Tensor]

MEAN, SIGMA = 1.0, 0.5  # of the data of the linear-quadratic game
POINTS = 2000  # quantiles that stand for a normal law

# Ritz vectors, and the relative residual at which Arnoldi's iteration ends: the eigenvalue is off
# by some percent, after 13 to 50 products
NUM_VECTORS = 12
TOLERANCE = 0.1
RESTARTS = 20
SIDE = 1e-9  # of the slope, where a norm has no second derivative at 0
REST = 1e-2  # a field that is longer than this does not rest


class Game(NamedTuple):
    """Both players and the batch on which they meet."""

    objective: Any
    G: nn.Module
    D: nn.Module
    real: Tensor
    z: Tensor
    noise: Noise

    def field(self, of_G: Tensors, of_D: Tensors) -> Tensor:
        """(−∂ g_loss/∂ weights of G, −∂ d_loss/∂ weights of D) at these weights: where both players
        go, (weights,)."""
        towards_G = torch.func.grad(self._g_loss)(of_G, of_D)
        towards_D = torch.func.grad(self._d_loss)(of_D, of_G)
        gradients = [*towards_G.values(), *towards_D.values()]
        return -torch.cat([gradient.flatten() for gradient in gradients])

    def _g_loss(self, of_G: Tensors, of_D: Tensors) -> Tensor:
        return self._loss(self.objective.g_loss, of_G, of_D)

    def _d_loss(self, of_D: Tensors, of_G: Tensors) -> Tensor:
        return self._loss(self.objective.d_loss, of_G, of_D)

    def _loss(self, loss: Any, of_G: Tensors, of_D: Tensors) -> Tensor:
        fake = functional_call(self.G, of_G, (self.z,))
        value: Tensor = loss(
            lambda x: functional_call(self.D, of_D, (x,)), self.real, fake, self.noise
        )
        return value

    @property
    def weights(self) -> tuple[Tensors, Tensors]:
        """Of generator and critic, by name."""
        of_G, of_D = (dict(network.named_parameters()) for network in (self.G, self.D))
        return _detached(of_G), _detached(of_D)

    def product(self, direction: Tensor) -> Tensor:
        """The Jacobian of the field, at the weights of the networks, times a direction (weights,):
        (weights,)."""
        weights = self.weights
        tensors = [*weights[0].values(), *weights[1].values()]
        parts = iter(direction.split([tensor.numel() for tensor in tensors]))
        tangents = tuple(
            {name: next(parts).view_as(tensor) for name, tensor in of.items()} for of in weights
        )
        product: Tensor = torch.func.jvp(self.field, weights, tangents)[1]
        return product.detach()


def _detached(tensors: dict[str, Any]) -> Tensors:
    return {name: tensor.detach() for name, tensor in tensors.items()}


def leading(game: Game) -> complex:
    """The eigenvalue of the field's Jacobian with the largest real part, by Arnoldi's iteration;
    NaN where it does not end, and for a field or a Jacobian that is not finite."""
    weights = game.weights
    if not game.field(*weights).isfinite().all():
        return complex(np.nan)
    size = sum(tensor.numel() for of in weights for tensor in of.values())

    def product(direction: np.ndarray) -> np.ndarray:
        return game.product(torch.from_numpy(direction).float().flatten()).numpy()

    jacobian = LinearOperator((size, size), matvec=product, dtype=np.float32)
    start = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    first = product(start)
    if not np.isfinite(first).all():
        return complex(np.nan)
    if not first.any():
        # A Jacobian of zeros, such as that of a critic whose units are all dead: Arnoldi's
        # iteration cannot begin
        return 0j
    try:
        (found,) = eigs(
            jacobian,
            k=1,
            which="LR",
            v0=start,
            ncv=NUM_VECTORS,
            tol=TOLERANCE,
            maxiter=RESTARTS,
            return_eigenvectors=False,
        )
    except ArpackError:
        return complex(np.nan)
    return complex(found)


class Affine(nn.Module):
    """The generator az + b."""

    latent_dim = 1

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(SIGMA, dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor(MEAN, dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        return self.a * z + self.b


class Quadratic(nn.Module):
    """The critic w₂x² + w₁x + c, with c fixed."""

    def __init__(self, constant: float, slope: float) -> None:
        super().__init__()
        self.constant = constant
        self.w2 = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.w1 = nn.Parameter(torch.tensor(slope, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.w2 * x.square() + self.w1 * x + self.constant)[:, 0]


def linear_quadratic(objective: Any, constant: float) -> list[complex]:
    """The four eigenvalues of the game of an affine generator of a standard normal law and a
    quadratic critic on a normal law, where the generator is right and the critic is the constant;
    none where the field does not rest there, as under a penalty with a target."""
    quantiles = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    z = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)[:, None]
    # the quantiles of a law have a little less than its variance
    z = z / z.square().mean().sqrt()
    real = SIGMA * z + MEAN
    noise = objective.draw(real, torch.Generator().manual_seed(0))
    slope = SIDE if objective.per_sample_penalty else 0.0
    game = Game(objective, Affine(), Quadratic(constant, slope), real, z, noise)
    if game.field(*game.weights).norm() > REST:
        return []
    columns = [game.product(direction) for direction in torch.eye(4, dtype=torch.float64)]
    return [*map(complex, np.linalg.eigvals(torch.stack(columns, dim=1).numpy()))]
