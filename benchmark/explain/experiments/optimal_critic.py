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
from benchmark.explain.setup import choice, fit_critic, make_critic, objectives
from benchmark.train.build import make_objective

CAPTION = (
    "Trained critics (coloured) on the exact optimum (black, dashed; none where theory gives none) over the two "
    "densities (grey: data left, generated right). err: root mean squared distance from the optimum where both laws "
    "are typical, in units of the optimum's own spread; value: the trained critic's against the exact one. Where only "
    "differences of scores count, curves are shifted to mean 0."
)
PEARSON = {"name": "lsgan", "a": -1.0, "b": 1.0, "c": 0.0}
REAL, FAKE = torch.distributions.Normal(-1.0, 1.0), torch.distributions.Normal(1.0, 1.2)
X = torch.linspace(-8, 8, 3201, dtype=torch.float64)
STEP = 16 / 3200
# of both densities: where critics are compared, for beyond it one of the laws is hardly ever seen
TYPICAL = 0.01


def cases(full: bool) -> list[dict[str, Any]]:
    size = {"steps": 10_000, "batch_size": 4096} if full else {"steps": 1500, "batch_size": 512}
    return [{"value": value, **size} for value in [*objectives(), PEARSON]]


def measure(value: dict[str, Any], steps: int, batch_size: int) -> pd.DataFrame:
    """objective, x, p, q, score, optimum (NaN: not known), and, the same on every row: bounded (a
    norm of its weights holds the critic down), error, value (of the trained critic: score gap where
    only differences count, else the loss), exact_value, js, chi2 (Pearson's, of p + q against 2q),
    w1."""
    chosen = choice(value)
    objective = make_objective(chosen)
    quantiles = (torch.arange(batch_size) + 0.5) / batch_size
    real, fake = REAL.icdf(quantiles)[:, None], FAKE.icdf(quantiles)[:, None]

    def shuffled(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        order = [torch.randperm(batch_size, generator=generator) for _ in range(2)]
        return real[order[0]], fake[order[1]]

    D = make_critic(value, (1,), width=64, depth=3)
    fit_critic(objective, D, shuffled, steps)
    with torch.no_grad():
        scores = D(X.float()[:, None]).double()
    p, q = density(REAL), density(FAKE)
    weight = torch.where(torch.minimum(p, q) > TYPICAL, (p + q) / 2, 0)
    weight = weight / weight.sum()
    optimum, exact = best_critic(objective, p, q)
    if shifts(objective):
        scores, optimum = (s - (weight * s).sum() for s in (scores, optimum))
    spread = ((weight * optimum.square()).sum() - (weight * optimum).sum().square()).sqrt()
    error = ((weight * (scores - optimum).square()).sum().sqrt() / spread).item()
    frame = pd.DataFrame({"x": X, "p": p, "q": q, "score": scores, "optimum": optimum})[::16].round(
        6
    )
    facts = {
        **{"bounded": objective.critic_norm is not None, "error": error},
        "value": gap(scores, p, q) if shifts(objective) else pointwise(objective, scores, p, q),
        "exact_value": exact,
        "js": js(p, q),
        "chi2": integral((p - q).square() / (p + q)),
        "w1": integral(((p - q).cumsum(0) * STEP).abs()),
    }
    frame.insert(0, "objective", chosen.label)
    return frame.assign(**facts)


def best_critic(objective: Any, p: Tensor, q: Tensor) -> tuple[Tensor, float]:
    """The optimal scores on X and their value, by numerical integration; NaN where neither rule
    applies."""
    if separable(objective):
        low, high = torch.full_like(X, -50), torch.full_like(X, 50)
        for _ in range(
            60
        ):  # the loss is convex in every score: halve to where its derivative changes sign
            middle = ((low + high) / 2).requires_grad_()
            (slope,) = torch.autograd.grad(
                terms(objective, middle, p / (p + q), q / (p + q)).sum(), middle
            )
            low, high = (
                torch.where(slope < 0, middle, low).detach(),
                torch.where(slope < 0, high, middle).detach(),
            )
        return low, pointwise(objective, low, p, q)
    if penalises_slope(objective):
        behind = (p - q).cumsum(0) * STEP  # P − Q
        rho = between()
        slope = behind.sign() * (1 + behind.abs() / (2 * objective.penalty_weight * rho))
        value = integral(behind.abs() + behind.square() / (2 * objective.penalty_weight * rho))
        return -slope.cumsum(0) * STEP, value
    return torch.full_like(X, math.nan), math.nan


def separable(objective: Any) -> bool:
    """Whether the critic's loss is a mean over scores of real samples plus one over scores of
    generated ones, and has a minimum: no penalty, no pairs, nothing that only a bound on the critic
    holds."""
    if objective.per_sample_penalty or objective.clip:
        return False

    def loss(real: float, fake: float) -> float:
        return objective.d_loss(lambda x: x, torch.tensor([real]), torch.tensor([fake])).item()

    return math.isclose(
        loss(0.3, 0.7) + loss(-1.1, 0.2), loss(0.3, 0.2) + loss(-1.1, 0.7), abs_tol=1e-5
    )


def shifts(objective: Any) -> bool:
    """Whether a constant added to all scores leaves the critic's loss as it is."""
    real, fake = torch.tensor([[0.3], [0.1]]), torch.tensor([[-0.2], [0.4]])
    noise = objective.draw(real, torch.Generator().manual_seed(0))
    losses = [
        objective.d_loss(lambda x, c=c: x[:, 0] + c, real, fake, noise).item() for c in (0.0, 3.0)
    ]
    return math.isclose(*losses, abs_tol=1e-5)


def penalises_slope(objective: Any) -> bool:
    """Whether the penalty is a mean of (|D′(x̂)| − 1)² over x̂ between independent pairs: on the
    critic x²/2, whose slope is x, against the integral."""
    if not objective.per_sample_penalty:
        return False
    generator = torch.Generator().manual_seed(0)
    n = 200_000
    real, fake = (
        law.icdf(torch.rand(n, 1, generator=generator).clamp_min(1e-7)) for law in (REAL, FAKE)
    )
    penalty = objective.penalty(
        lambda x: x[:, 0].square() / 2, real, fake, objective.draw(real, generator)
    )
    return math.isclose(penalty.item(), integral(between() * (X.abs() - 1).square()), rel_tol=0.1)


def between() -> Tensor:
    """The density on X of x̂ = x + α(x̃ − x), x and x̃ independent, α uniform on [0, 1]."""
    alpha = (torch.arange(400, dtype=torch.float64) + 0.5)[:, None] / 400
    mean = (1 - alpha) * REAL.mean + alpha * FAKE.mean
    std = ((1 - alpha).square() * REAL.variance + alpha.square() * FAKE.variance).sqrt()
    return torch.distributions.Normal(mean, std).log_prob(X).exp().mean(0)


def terms(objective: Any, scores: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """p(x) ℓ(real, s(x)) + q(x) ℓ(generated, s(x)) of a separable loss, on X."""
    nothing = torch.zeros(1, dtype=torch.float64)
    each = torch.func.vmap(lambda real, fake: objective.d_loss(lambda x: x, real[None], fake[None]))
    zeros = torch.zeros_like(scores)
    of_zero = objective.d_loss(lambda x: x, nothing, nothing)
    return (
        p * (each(scores, zeros) - of_zero)
        + q * (each(zeros, scores) - of_zero)
        + (p + q) / 2 * of_zero
    )


def pointwise(objective: Any, scores: Tensor, p: Tensor, q: Tensor) -> float:
    """The critic's loss on the two laws, by integration; NaN for a loss that is not separable."""
    return integral(terms(objective, scores, p, q)) if separable(objective) else math.nan


def gap(scores: Tensor, p: Tensor, q: Tensor) -> float:
    return integral(p * scores) - integral(q * scores)


def js(p: Tensor, q: Tensor) -> float:
    """The Jensen–Shannon divergence of two densities on X, nats."""
    middle = (p + q) / 2
    return (
        integral(torch.special.xlogy(p, p / middle)) + integral(torch.special.xlogy(q, q / middle))
    ) / 2


def density(law: torch.distributions.Normal) -> Tensor:
    return law.log_prob(X).exp()


def integral(values: Tensor) -> float:
    return (values.sum() * STEP).item()


def draw(frame: pd.DataFrame) -> Figure:
    names = list(frame["objective"].unique())
    lines = -(-len(names) // 5)
    figure = plt.figure(figsize=(14, 2.9 * lines), layout="constrained")
    axes = list(figure.subplots(lines, 5, squeeze=False).flat)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes, names, strict=False):
        rows = frame[(frame["objective"] == name) & (frame[["p", "q"]].min(axis=1) > TYPICAL / 4)]
        first = rows.iloc[0]
        low, high = np.nanmin(rows[["score", "optimum"]]), np.nanmax(rows[["score", "optimum"]])
        for law in ("p", "q"):
            ax.fill_between(
                rows["x"], low, low + rows[law] / 0.4 * (high - low) / 2, color="0.85", linewidth=0
            )
        ax.plot(rows["x"], rows["score"], linewidth=2, color=style(str(name))["color"])
        ax.plot(rows["x"], rows["optimum"], color="k", linestyle="--", linewidth=1)
        said = f"err {first['error']:.1%}, value {first['value']:.3f} / {first['exact_value']:.3f}"
        if rows["optimum"].isna().all():
            said = f"no optimum known\nvalue {first['value']:.3g}"
        ax.set_title(f"{wrap(str(name))}\n{said}", size=9)
        ax.set(xlabel="x", ylabel="score")
    return figure


def finding(frame: pd.DataFrame) -> str:
    of = frame.groupby("objective", sort=False).first()
    known = of[of["error"].notna() & ~of["bounded"]]
    held = of[of["error"].notna() & of["bounded"]]["error"]
    off = (known["value"] / known["exact_value"] - 1).abs()
    gp, mm, pearson = of.loc["wgan_gp"], of.loc["minimax"], of.loc[choice(PEARSON).label]
    return (
        f"Critics come within {known['error'].max():.1%} of the optimum's spread ({known['error'].idxmax()} the "
        f"furthest off) and within {off.max():.1%} of its value: minimax says JS = {math.log(2) - mm['value'] / 2:.4f} "
        f"(exact {mm['js']:.4f}), least squares with the coding −1, 1, 0 says χ² = {2 - 2 * pearson['value']:.4f} "
        f"(exact {pearson['chi2']:.4f}). wgan_gp says {gp['value']:.3f} where the distance is {gp['w1']:.3f}: the "
        f"{gp['value'] / gp['w1'] - 1:.0%} above it are the penalty's own bias at λ = 10 (predicted "
        f"{gp['exact_value'] / gp['w1'] - 1:.0%}), not an error of training"
        + "".join(
            f"; {name}, whose weights a norm holds, stays {error:.0%} off"
            for name, error in held.items()
        )
        + "."
    )
