"""What does a critic know once it is trained to its end?

Each paper derives the best critic for two known densities p (data) and q (generated), and what its
value then measures: log p/q and the Jensen–Shannon divergence for the original game (Goodfellow et
al. 2014, arXiv:1406.2661, proposition 1); (b p + a q)/(p + q) for least squares, with Pearson's χ²
of p + q against 2q for the generator under the coding −1, 1, 0 (Mao et al. 2017, arXiv:1611.04076);
the Wasserstein distance for a critic of slope 1 (Arjovsky et al. 2017, arXiv:1701.07875). A penalty
is no constraint, though: with P and Q the distribution functions and ρ the density of the points x̂
at which slopes are penalised, the optimum of WGAN-GP in one dimension has the slope 1 + |P −
Q|/(2λρ), and its value is W₁ + ∫(P − Q)²/(2λρ), which is more than the distance (integrate its loss
by parts).

Two normal laws on a line, p = N(−1, 1) and q = N(1, 1.2²). A critic (ReLU, three hidden layers of
64; Adam, its rate falling from 0.01 to 0) is trained on points that fill both laws evenly and
compared with the optimum, found without networks: for a loss that takes scores one by one, by
minimising it point by point; for a penalty on the slope at x̂, by the formula. Which of the two
applies to an objective is tried on the objective itself, not looked up."""

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmark.drawing.style import style, wrap
from benchmark.explain.setup import choice, fit_critic, label, make_critic, objectives
from benchmark.train.build import make_objective

ANSWER = (
    "Trained to its end, a critic measures the divergence that its loss stands for; a "
    "gradient penalty adds a bias that can be predicted, and a critic under spectral norm "
    "does not get there."
)
CAPTION = (
    "Trained critics (coloured) on the exact optimum (black, dashed; none where theory gives none) "
    "over the two densities (grey: data left, generated right). err: root mean squared distance "
    "from the optimum where both laws are typical, in units of the optimum's own spread; value: "
    "the trained critic's against the exact one. Where only differences of scores count, curves "
    "are shifted to mean 0."
)
PEARSON = {"name": "lsgan", "a": -1.0, "b": 1.0, "c": 0.0}
REAL = torch.distributions.Normal(-1.0, 1.0)
FAKE = torch.distributions.Normal(1.0, 1.2)
X = torch.linspace(-8, 8, 3201, dtype=torch.float64)
STEP = 16 / 3200
# critics are compared where both densities are above this; beyond it one law has hardly any samples
TYPICAL = 0.01
SHOWN_EVERY = 16  # points of X
COLUMNS = 5  # of the figure


def cases(full: bool) -> list[dict[str, Any]]:
    size = {"steps": 10_000, "batch_size": 4096} if full else {"steps": 1500, "batch_size": 512}
    return [{"value": value, **size} for value in [*objectives(), PEARSON]]


def measure(value: dict[str, Any], steps: int, batch_size: int) -> pd.DataFrame:
    """objective, x, p, q, score, optimum (NaN: not known), and, the same on every row: bounded (a
    norm of its weights holds the critic down), error, value (of the trained critic: score gap where
    only differences count, else the loss), exact_value, js, chi2 (Pearson's, of p + q against 2q),
    w1."""
    objective = make_objective(choice(value))
    D = make_critic(value, (1,), width=64, depth=3)
    train(objective, D, steps, batch_size)
    with torch.no_grad():
        scores = D(X.float()[:, None]).double()
    p = density(REAL)
    q = density(FAKE)
    weight = torch.where(torch.minimum(p, q) > TYPICAL, (p + q) / 2, 0)
    weight = weight / weight.sum()
    optimum, exact_value = best_critic(objective, p, q)
    if shifts(objective):
        scores = scores - (weight * scores).sum()
        optimum = optimum - (weight * optimum).sum()
    spread = ((weight * optimum.square()).sum() - (weight * optimum).sum().square()).sqrt()
    error = ((weight * (scores - optimum).square()).sum().sqrt() / spread).item()
    curves = pd.DataFrame({"x": X, "p": p, "q": q, "score": scores, "optimum": optimum})
    frame = curves[::SHOWN_EVERY].round(6)
    frame.insert(0, "objective", label(value))
    return frame.assign(
        bounded=objective.critic_norm is not None,
        error=error,
        value=gap(scores, p, q) if shifts(objective) else pointwise(objective, scores, p, q),
        exact_value=exact_value,
        js=js(p, q),
        chi2=integral((p - q).square() / (p + q)),
        w1=integral(((p - q).cumsum(0) * STEP).abs()),
    )


def train(objective: Any, D: Any, steps: int, batch_size: int) -> None:
    """Train a critic to its optimum on quantiles of the two laws, paired at random."""
    quantiles = (torch.arange(batch_size) + 0.5) / batch_size
    real = REAL.icdf(quantiles)[:, None]
    fake = FAKE.icdf(quantiles)[:, None]

    def shuffled(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        real_order = torch.randperm(batch_size, generator=generator)
        fake_order = torch.randperm(batch_size, generator=generator)
        return real[real_order], fake[fake_order]

    fit_critic(objective, D, shuffled, steps)


def best_critic(objective: Any, p: Tensor, q: Tensor) -> tuple[Tensor, float]:
    """The optimal scores on X and their value, by numerical integration; NaN where neither rule
    applies."""
    if separable(objective):
        scores = best_scores(objective, p, q)
        return scores, pointwise(objective, scores, p, q)
    if penalises_slope(objective):
        difference = (p - q).cumsum(0) * STEP  # P − Q
        strength = 2 * objective.penalty_weight * between()  # 2λρ
        slope = difference.sign() * (1 + difference.abs() / strength)
        value = integral(difference.abs() + difference.square() / strength)
        return -slope.cumsum(0) * STEP, value
    return torch.full_like(X, math.nan), math.nan


def best_scores(objective: Any, p: Tensor, q: Tensor) -> Tensor:
    """The scores on X that minimise a separable loss, which is convex in each of them: by halving
    the interval in which its derivative changes sign."""
    low = torch.full_like(X, -50)
    high = torch.full_like(X, 50)
    for _ in range(60):
        middle = ((low + high) / 2).requires_grad_()
        loss = terms(objective, middle, p / (p + q), q / (p + q)).sum()
        (slope,) = torch.autograd.grad(loss, middle)
        middle = middle.detach()
        low, high = torch.where(slope < 0, middle, low), torch.where(slope < 0, high, middle)
    return low


def separable(objective: Any) -> bool:
    """Whether the critic's loss has a minimum and is a mean over scores of real samples plus one
    over scores of generated samples: no penalty, no pairs, no clipping."""
    if objective.per_sample_penalty or objective.clip is not None:
        return False

    def loss(real: float, fake: float) -> float:
        return objective.d_loss(lambda x: x, torch.tensor([real]), torch.tensor([fake])).item()

    straight = loss(0.3, 0.7) + loss(-1.1, 0.2)
    crossed = loss(0.3, 0.2) + loss(-1.1, 0.7)
    return math.isclose(straight, crossed, abs_tol=1e-5)


def shifts(objective: Any) -> bool:
    """Whether the critic's loss stays the same when a constant is added to all scores."""
    real = torch.tensor([[0.3], [0.1]])
    fake = torch.tensor([[-0.2], [0.4]])
    noise = objective.draw(real, torch.Generator().manual_seed(0))

    def loss(constant: float) -> float:
        return objective.d_loss(lambda x: x[:, 0] + constant, real, fake, noise).item()

    return math.isclose(loss(0.0), loss(3.0), abs_tol=1e-5)


def penalises_slope(objective: Any) -> bool:
    """Whether the penalty is a mean of (|D′(x̂)| − 1)² over x̂ between independent pairs: on the
    critic x²/2, whose slope is x, against the integral."""
    if not objective.per_sample_penalty:
        return False
    generator = torch.Generator().manual_seed(0)

    def sample(law: torch.distributions.Normal) -> Tensor:
        return law.icdf(torch.rand(200_000, 1, generator=generator).clamp_min(1e-7))

    real = sample(REAL)
    fake = sample(FAKE)
    noise = objective.draw(real, generator)
    penalty = objective.penalty(lambda x: x[:, 0].square() / 2, real, fake, noise)
    return math.isclose(penalty.item(), integral(between() * (X.abs() - 1).square()), rel_tol=0.1)


def between() -> Tensor:
    """The density on X of x̂ = x + α(x̃ − x), x and x̃ independent, α uniform on [0, 1]."""
    alpha = (torch.arange(400, dtype=torch.float64) + 0.5)[:, None] / 400
    mean = (1 - alpha) * REAL.mean + alpha * FAKE.mean
    std = ((1 - alpha).square() * REAL.variance + alpha.square() * FAKE.variance).sqrt()
    return torch.distributions.Normal(mean, std).log_prob(X).exp().mean(0)


def terms(objective: Any, scores: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """p(x) ℓ(real, s(x)) + q(x) ℓ(generated, s(x)) of a separable loss, on X."""
    zero = torch.zeros(1, dtype=torch.float64)
    zeros = torch.zeros_like(scores)
    loss_at_zero = objective.d_loss(lambda x: x, zero, zero)

    def pair(real: Tensor, fake: Tensor) -> Tensor:
        return objective.d_loss(lambda x: x, real[None], fake[None])

    losses = torch.func.vmap(pair)
    of_real = p * (losses(scores, zeros) - loss_at_zero)
    of_fake = q * (losses(zeros, scores) - loss_at_zero)
    return of_real + of_fake + (p + q) / 2 * loss_at_zero


def pointwise(objective: Any, scores: Tensor, p: Tensor, q: Tensor) -> float:
    """The critic's loss on the two laws, by integration; NaN for a loss that is not separable."""
    return integral(terms(objective, scores, p, q)) if separable(objective) else math.nan


def gap(scores: Tensor, p: Tensor, q: Tensor) -> float:
    """Mean score of the data less that of the generated samples."""
    return integral(p * scores) - integral(q * scores)


def js(p: Tensor, q: Tensor) -> float:
    """The Jensen–Shannon divergence of two densities on X, nats."""
    middle = (p + q) / 2
    from_p = integral(torch.special.xlogy(p, p / middle))
    from_q = integral(torch.special.xlogy(q, q / middle))
    return (from_p + from_q) / 2


def density(law: torch.distributions.Normal) -> Tensor:
    """The density of a law on X."""
    return law.log_prob(X).exp()


def integral(values: Tensor) -> float:
    """The integral of values on X."""
    return (values.sum() * STEP).item()


def draw(frame: pd.DataFrame) -> Figure:
    names = list(frame["objective"].unique())
    lines = -(-len(names) // COLUMNS)
    figure = plt.figure(figsize=(14, 2.9 * lines), layout="constrained")
    axes = list(figure.subplots(lines, COLUMNS, squeeze=False).flat)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    typical = frame[["p", "q"]].min(axis=1) > TYPICAL / 4
    for ax, name in zip(axes, names, strict=False):
        _draw_critic(ax, str(name), frame[(frame["objective"] == name) & typical])
    return figure


def _draw_critic(ax: Any, name: str, rows: pd.DataFrame) -> None:
    low = np.nanmin(rows[["score", "optimum"]])
    high = np.nanmax(rows[["score", "optimum"]])
    for law in ("p", "q"):
        top = low + rows[law] / 0.4 * (high - low) / 2
        ax.fill_between(rows["x"], low, top, color="0.85", linewidth=0)
    ax.plot(rows["x"], rows["score"], linewidth=2, color=style(name)["color"])
    ax.plot(rows["x"], rows["optimum"], color="k", linestyle="--", linewidth=1)
    first = rows.iloc[0]
    note = f"err {first['error']:.1%}, value {first['value']:.3f} / {first['exact_value']:.3f}"
    if rows["optimum"].isna().all():
        note = f"no optimum known\nvalue {first['value']:.3g}"
    ax.set_title(f"{wrap(name)}\n{note}", size=9)
    ax.set(xlabel="x", ylabel="score")


def finding(frame: pd.DataFrame) -> str:
    facts = frame.groupby("objective", sort=False).first()
    known = facts[facts["error"].notna() & ~facts["bounded"]]
    bounded = facts[facts["error"].notna() & facts["bounded"]]
    off = (known["value"] / known["exact_value"] - 1).abs()
    mm = facts.loc["minimax"]
    pearson = facts.loc[label(PEARSON)]
    gp = facts.loc["wgan_gp"]
    sentence = (
        f"Critics come within {known['error'].max():.1%} of the optimum's spread "
        f"({known['error'].idxmax()} the furthest off) and within {off.max():.1%} of its value: "
        f"minimax says JS = {math.log(2) - mm['value'] / 2:.4f} (exact {mm['js']:.4f}), least "
        f"squares with the coding −1, 1, 0 says χ² = {2 - 2 * pearson['value']:.4f} (exact "
        f"{pearson['chi2']:.4f}). wgan_gp says {gp['value']:.3f} where the distance is "
        f"{gp['w1']:.3f}: the {gp['value'] / gp['w1'] - 1:.0%} above it are the penalty's own bias "
        f"at λ = 10 (predicted {gp['exact_value'] / gp['w1'] - 1:.0%}), not an error of training"
    )
    for name, error in bounded["error"].items():
        sentence += f"; {name}, whose weights a norm holds, stays {error:.0%} off"
    return f"{sentence}."
