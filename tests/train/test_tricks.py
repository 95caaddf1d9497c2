"""Tricks in a training: resumed, stacked, compiled and in bf16 the numbers of an eager run."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import Training
from benchmark.train.cell_training import average_decay, move_average
from benchmark.train.execution import eager
from benchmark.train.execution.eager import iterate_eagerly
from benchmark.train.inputs import Blurred, Streams, blurred, draw_inputs
from benchmark.train.loop import train, train_stack
from tests.helpers.cells import small_cell
from variants.objectives import nonsaturating, wgan_gp

# Name of a trick -> objective, its parameters, training options, parameters of the architecture
TRICKS: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "labels": ("nonsaturating", {"real_label": 0.9, "flip": 0.2}, {}, {}),
    "drift and rates": (
        "wgan_gp",
        {"drift": 0.01, "d_lr": 1e-3, "weight_decay": 0.01},
        {},
        {"generator_norm": "pixel", "down": "max", "critic_activation": "relu"},
    ),
    "noise and steps": (
        "wgan_gp",
        {},
        {
            "instance_noise": 0.1,
            "critic_steps": 2,
            "critic_pretrain": 3,
            "generator_batch_multiple": 2,
            "ema": 0.9,
            "ema_warmup": True,
        },
        {"generator_norm": "instance", "down": "mean"},
    ),
}
TRICKS["range"] = ("wgan_gp", {}, {}, {"output": "linear"})
DATA = {"range": {"range": "unit"}}
EXACT = 1e-3  # of losses of eight steps, in float32 by another order of sums
every_trick = pytest.mark.parametrize("trick", TRICKS)


def cell_of(trick: str, seed: int = 0, **options: Any) -> Cell:
    objective, params, training, layers = TRICKS[trick]
    cell = small_cell(objective, "images", seed, None, params, steps=8, **(training | options))
    architecture = Choice("dcgan", {"width": 8, **layers})
    return replace(cell, architecture=architecture, dataset=Choice("digits", DATA.get(trick, {})))


def losses(snapshots: list[Any]) -> list[list[float]]:
    rows = [snapshot.row for snapshot in snapshots if snapshot.row]
    return [[row["d_loss"], row["g_loss"], row["d_real"], row["d_fake"]] for row in rows]


def trained(cell: Cell, **options: Any) -> list[Any]:
    return list(train(cell, "cpu", **options))


@every_trick
def test_a_trick_goes_on_bit_for_bit(trick: str) -> None:
    """From the state after 3 of 8 steps."""
    cell = cell_of(trick)
    whole = trained(cell)
    state = None
    for snapshot in train(cell, "cpu"):
        if snapshot.g_steps == 3:
            state = copy.deepcopy(snapshot.state)
            break
    rest = trained(cell, state=state)
    assert [map_of(snapshot) for snapshot in rest[1:]] == [map_of(s) for s in whole[4:]]


def map_of(snapshot: Any) -> str:
    """The row and the weights of a snapshot, as text: NaN is NaN."""
    # G is the average where there is one
    totals = [p.double().sum().item() for p in snapshot.G.parameters()]
    return repr((snapshot.samples_seen, snapshot.row, totals))


@every_trick
def test_a_stack_of_cells_with_a_trick_is_its_cells(trick: str) -> None:
    cells = [cell_of(trick, seed) for seed in range(2)]
    stack = [*zip(*train_stack(cells, "cpu"), strict=True)]
    for cell, found in zip(cells, stack, strict=True):
        assert found[-1].execution.stack == 2
        for row, expected in zip(losses([*found]), losses(trained(cell)), strict=True):
            assert row == pytest.approx(expected, rel=EXACT, abs=EXACT, nan_ok=True)


@every_trick
def test_a_traced_step_with_a_trick_is_the_eager_one(trick: str, tmp_path: Path) -> None:
    cells = [cell_of(trick, seed) for seed in range(2)]
    found = [*train_stack(cells, "cpu", execution="traced")]
    execution = found[-1][0].execution
    assert (execution.mode, execution.fallback) == ("traced", None)
    for row, expected in zip(
        losses([both[1] for both in found]), losses(trained(cells[1])), strict=True
    ):
        assert row == pytest.approx(expected, rel=EXACT, abs=EXACT, nan_ok=True)


@every_trick
def test_a_trick_in_bf16_is_that_of_float32_up_to_rounding(trick: str) -> None:
    exact = losses(trained(cell_of(trick)))
    rounded = losses(trained(cell_of(trick, precision="bf16")))
    for row, expected in zip(rounded, exact, strict=True):
        assert row[0] == pytest.approx(expected[0], rel=0.1, abs=0.1)
        assert math.isfinite(row[1])
    assert rounded != exact


# Critic steps


@pytest.mark.parametrize("objective", ["lsgan", "wgan_gp"])
def test_critic_steps_and_pretraining_are_counted(
    objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    for role, name in (("D", "critic_step"), ("G", "generator_step")):
        step = getattr(eager, name)

        def recording(*args: Any, role: str = role, step: Any = step, **options: Any) -> Any:
            order.append(role)
            return step(*args, **options)

        monkeypatch.setattr(eager, name, recording)
    cell = small_cell(objective, critic_steps=3, critic_pretrain=4, steps=2)
    *_, last = train(cell, "cpu", execution="eager")
    assert "".join(order[-9:]) == "D" * 4 + "G" + "DDD" + "G"
    assert "".join(order).endswith("D" * 7 + "G" + "DDDG")
    assert last.samples_seen == 16 * (3 + 4 + 3)


def test_a_pretrained_critic_is_the_best_one_before_the_first_generator_step() -> None:
    """Of 8 real samples 6 are 1 and 2 are −1, of the generated ones 3 and 5: on two points a
    linear critic is any function, and D* = log p/q."""
    real = torch.tensor([1.0] * 6 + [-1.0] * 2)[:, None]
    fake = torch.tensor([1.0] * 3 + [-1.0] * 5)[:, None]

    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = torch.nn.Parameter(torch.zeros(()))

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return fake + self.shift

    class Critic(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)[:, 0]

    G, D = Fixed(), Critic(1, 1)
    optimizers = [torch.optim.SGD(G.parameters(), 0.0), torch.optim.Adam(D.parameters(), 0.05)]
    options = Training(batch_size=8, steps=1, critic_pretrain=400)
    streams = [Streams(0, torch.Generator())]
    objective = nonsaturating.Objective()
    draws = draw_inputs(objective, streams, lambda *_: real, 0, 2, options)
    iterate_eagerly(objective, (G, D), optimizers, draws)
    expected = torch.tensor([6 / 3, 2 / 5]).log()
    torch.testing.assert_close(D(torch.tensor([[1.0], [-1.0]])), expected, rtol=1e-3, atol=1e-3)


# Instance noise


def jacobian(objective: Any, noise: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Of the field (−∂g_loss/∂θ, −∂d_loss/∂ψ, −∂d_loss/∂φ) of the Dirac-GAN at 0."""
    real = torch.zeros(4, 1, dtype=torch.float64)

    def field(state: torch.Tensor) -> torch.Tensor:
        def losses(theta: torch.Tensor, psi: torch.Tensor, phi: torch.Tensor) -> Any:
            inputs = objective.seen(real, theta.expand(4, 1), noise)
            D = lambda x: psi * x[:, 0] + phi  # noqa: E731
            return objective.g_loss(D, *inputs), objective.d_loss(D, *inputs)

        of_g = torch.func.grad(lambda theta: losses(theta, state[1], state[2])[0])(state[0])
        of_d = torch.func.grad(lambda pair: losses(state[0], pair[0], pair[1])[1])(state[1:])
        return -torch.cat([of_g[None], of_d])

    found: torch.Tensor = torch.func.jacrev(field)(torch.zeros(3, dtype=torch.float64))
    return found


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_instance_noise_damps_the_dirac_gan(sigma: float) -> None:
    """−σ²/4 ± √(σ⁴/16 − ¼) and −½: noise of ±σ has the variance that this linear theory sees."""
    signs = torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)
    noise = tuple(sigma * row[:, None] for row in signs)
    objective = Blurred(nonsaturating.Objective(), sigma)
    found = torch.linalg.eigvals(jacobian(objective, noise))
    root = torch.tensor(sigma**4 / 16 - 0.25, dtype=torch.complex128).sqrt()
    expected = torch.stack([-(sigma**2) / 4 + root, -(sigma**2) / 4 - root, -0.5 + 0 * root])
    distances = (found[:, None] - expected).abs()
    assert distances.min(dim=0).values.max() < 1e-6
    assert distances.min(dim=1).values.max() < 1e-6


def test_under_a_penalty_the_noisy_samples_are_the_ends_of_its_points() -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake, on_real, on_fake = torch.randn(4, 5, 2, generator=generator)
    alpha = torch.rand(5, generator=generator)
    points = []

    def D(x: torch.Tensor) -> torch.Tensor:
        points.append(x.detach())
        return x.square().sum(1)

    objective = Blurred(wgan_gp.Objective(), 1.0)
    objective.penalty(D, *objective.seen(real, fake, (alpha, on_real, on_fake)))
    share = alpha[:, None]
    expected = (1 - share) * (real + on_real) + share * (fake + on_fake)
    assert any(torch.allclose(x, expected) for x in points), points


def test_the_best_critic_of_two_blurred_laws() -> None:
    """D* = log N(μ₁, s₁² + σ²) − log N(μ₂, s₂² + σ²): there the loss has no slope in the three
    weights of a quadratic critic."""
    generator = torch.Generator().manual_seed(0)
    sigma, n = 0.7, 400_000
    laws = [(-1.0, 0.5), (1.0, 1.2)]
    real, fake = (
        mean + std * torch.randn(n, 1, generator=generator, dtype=torch.float64)
        for mean, std in laws
    )
    objective = Blurred(nonsaturating.Objective(), sigma)
    noise = objective.draw(real, generator)

    def slopes(blur: float) -> torch.Tensor:
        """The gradient of the loss at the best critic of laws blurred by so much."""
        weights = torch.zeros(3, dtype=torch.float64)
        for (mean, std), sign in zip(laws, (1, -1), strict=True):
            variance = std**2 + blur**2
            constant = -(mean**2) / (2 * variance) - math.log(variance) / 2
            weights += sign * torch.tensor([constant, mean / variance, -1 / (2 * variance)])
        weights.requires_grad_()
        powers = torch.arange(3)
        loss = objective.d_loss(
            lambda x: (weights * x**powers).sum(1), *objective.seen(real, fake, noise)
        )
        return torch.autograd.grad(loss, weights)[0].abs().max()

    assert slopes(sigma) < 5e-3
    assert slopes(0.0) > 5e-2


def test_instance_noise_falls_to_0_and_leaves_the_other_streams() -> None:
    options = Training(steps=10, instance_noise=0.2)
    objective = wgan_gp.Objective()
    real = torch.zeros(1000, 3)
    (alpha,) = objective.draw(real, torch.Generator().manual_seed(0))
    for share, expected in ((0.0, 0.2), (0.5, 0.1), (1.0, 0.0)):
        drawn = blurred(objective, options, share).draw(real, torch.Generator().manual_seed(0))
        assert torch.equal(drawn[0], alpha)
        spreads = [noise.std().item() for noise in drawn[1:]]
        assert spreads == pytest.approx([expected] * 2, rel=0.05)
    constant = blurred(objective, options.replaced(noise_decay="none"), 0.9)
    assert constant.sigma == 0.2
    assert blurred(objective, Training(steps=10), 0.5) is objective


def test_mean_scores_of_blurred_samples_are_logged() -> None:
    for execution in ("eager", "stack"):
        cells = [small_cell("wgan_gp", seed=seed, instance_noise=0.1, steps=2) for seed in (0, 1)]
        cells = cells[: 1 if execution == "eager" else 2]
        *_, last = train_stack(cells, "cpu")
        for name in ("d_real", "d_fake"):
            assert math.isfinite(last[0].row[name])


# The moving average


def test_warm_up_of_the_moving_average() -> None:
    options = Training(steps=1, ema=0.9, ema_warmup=True)
    decays = [average_decay(options, step) for step in (0, 1, 80, 81, 1000)]
    assert decays == pytest.approx([1 / 10, 2 / 11, 0.9, 0.9, 0.9])
    assert average_decay(Training(steps=1, ema=0.9), 0) == 0.9


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_a_moving_average_keeps_constants_lags_a_ramp_and_shrinks_a_circle(decay: float) -> None:
    """By β/(1 − β) steps, and to a radius of (1 − β)/|1 − β e^{−iω}|: an average hides a rotation
    and does not stop it."""
    average, network = torch.nn.Linear(4, 1, bias=False), torch.nn.Linear(4, 1, bias=False)
    average.double().requires_grad_(False), network.double().requires_grad_(False)
    average.weight[:] = torch.tensor([[2.0, 0.0, 1.0, 0.0]])
    omega = 0.3
    for step in range(400):
        angle = omega * step
        values = [2.0, step, math.cos(angle), math.sin(angle)]
        network.weight[:] = torch.tensor([values], dtype=torch.float64)
        move_average(average, network, decay)
    constant, ramp, x, y = average.weight[0].tolist()
    assert constant == 2
    assert 399 - ramp == pytest.approx(decay / (1 - decay), rel=1e-9)
    expected = (1 - decay) / abs(1 - decay * complex(math.cos(omega), -math.sin(omega)))
    assert math.hypot(x, y) == pytest.approx(expected, rel=1e-9)
