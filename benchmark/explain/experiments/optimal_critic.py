"""What does a critic know once it is trained to its end?

Each paper derives the best critic for two known densities p (data) and q (generated), and what its
value then measures: log p/q and the Jensen–Shannon divergence for the original game (Goodfellow et
al. 2014, arXiv:1406.2661, proposition 1); (b p + a q)/(p + q) for least squares, with Pearson's χ²
of p + q against 2q for the generator under the coding −1, 1, 0 (Mao et al. 2017, arXiv:1611.04076);
the f-divergence itself for an f-GAN (Nowozin et al. 2016, arXiv:1606.00709); the Wasserstein
distance for a critic of slope 1 (Arjovsky et al. 2017, arXiv:1701.07875). A penalty is no
constraint, though: with P and Q the distribution functions and ρ the density of the points x̂ at
which slopes are penalised, the optimum of WGAN-GP in one dimension has the slope 1 + |P − Q|/(2λρ),
and its score gap is W₁ + ∫(P − Q)²/(2λρ), which is more than the distance (integrate its loss by
parts). Under the linear form, max(0, slope − 1), a slope of 1 is best wherever |P − Q| < λρ, which
is nearly everywhere here: the gap is W₁. Where there is no target, as in WGAN-div, the best gap is
no distance.

Two normal laws on a line, p = N(−1, 1) and q = N(1, 1.2²). A critic (ReLU, three hidden layers of
64; Adam, its rate falling from 0.01 to 0) is trained on points that fill both laws evenly and
compared with the optimum, found without networks: for a loss that takes scores one by one, by
minimising it point by point; for a score gap with a penalty on the slope at x̂, by minimising over
the slope at every point. Which of the two applies to an objective is tried on the objective itself,
not looked up; for pairs, means and penalties elsewhere neither does."""

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmark.drawing.style import style, wrap
from benchmark.explain.optimum import (
    FAKE,
    REAL,
    X,
    best_critic,
    cumulative,
    density,
    gap,
    integral,
    js,
    separable,
    shifts,
)
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
LINEAR = {"name": "wgan_gp", "sided": "linear"}
# critics are compared where both densities are above this; beyond it one law has hardly any samples
TYPICAL = 0.01
SHOWN_EVERY = 16  # points of X
COLUMNS = 5  # of the figure


def cases(full: bool) -> list[dict[str, Any]]:
    size = {"steps": 10_000, "batch_size": 4096} if full else {"steps": 1500, "batch_size": 512}
    return [{"value": value, **size} for value in [*objectives(), PEARSON, LINEAR]]


def measure(value: dict[str, Any], steps: int, batch_size: int) -> pd.DataFrame:
    """objective, x, p, q, score, optimum (NaN: not known), and, the same on every row: bounded (a
    norm of its weights holds the critic down), error, value (of the trained critic: its loss on the
    points of its training where that takes scores one by one, else the score gap), exact_value, js,
    chi2 (Pearson's, of p + q against 2q), w1."""
    objective = make_objective(choice(value))
    D = make_critic(value, (1,), width=64, depth=3)
    real, fake = train(objective, D, steps, batch_size)
    with torch.no_grad():
        scores = D(X.float()[:, None]).double()
    p = density(REAL)
    q = density(FAKE)
    weight = torch.where(torch.minimum(p, q) > TYPICAL, (p + q) / 2, 0)
    weight = weight / weight.sum()
    optimum, exact_value = best_critic(objective, p, q)
    free = separable(objective)
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
        value=objective.d_loss(D, real, fake).item() if free else gap(scores, p, q),
        exact_value=exact_value,
        js=js(p, q),
        chi2=integral((p - q).square() / (p + q)),
        w1=integral(cumulative(p - q).abs()),
    )


def train(objective: Any, D: Any, steps: int, batch_size: int) -> tuple[Tensor, Tensor]:
    """Train a critic to its optimum on quantiles of the two laws, paired at random. Returns them,
    (batch_size, 1) each."""
    quantiles = (torch.arange(batch_size) + 0.5) / batch_size
    real = REAL.icdf(quantiles)[:, None]
    fake = FAKE.icdf(quantiles)[:, None]

    def shuffled(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        real_order = torch.randperm(batch_size, generator=generator)
        fake_order = torch.randperm(batch_size, generator=generator)
        return real[real_order], fake[fake_order]

    fit_critic(objective, D, shuffled, steps)
    return real, fake


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
    off = (known["value"] / known["exact_value"] - 1).abs().drop("fgan")
    mm = facts.loc["minimax"]
    fgan = facts.loc["fgan"]
    pearson = facts.loc[label(PEARSON)]
    gp = facts.loc["wgan_gp"]
    linear = facts.loc[label(LINEAR)]
    sentence = (
        f"Critics come within {known['error'].max():.1%} of the optimum's spread "
        f"({known['error'].idxmax()} the furthest off) and within {off.max():.1%} of its value, "
        f"but for fgan (the Kullback–Leibler divergence), which says {fgan['value']:.2f} instead "
        f"of {fgan['exact_value']:.2f}: where no sample is generated, nothing holds the score. "
        f"Minimax says JS = {math.log(2) - mm['value'] / 2:.4f} (exact {mm['js']:.4f}), least "
        f"squares with the coding −1, 1, 0 says χ² = {2 - 2 * pearson['value']:.4f} (exact "
        f"{pearson['chi2']:.4f}). wgan_gp says {gp['value']:.3f} where the distance is "
        f"{gp['w1']:.3f}: the {gp['value'] / gp['w1'] - 1:.0%} above it are the penalty's own bias "
        f"at λ = 10 (predicted {gp['exact_value'] / gp['w1'] - 1:.0%}), not an error of training; "
        f"its linear form, whose best critic has no such bias, says {linear['value']:.3f}"
    )
    for name, error in bounded["error"].items():
        sentence += f"; {name}, whose weights a norm holds, stays {error:.0%} off"
    return f"{sentence}."
