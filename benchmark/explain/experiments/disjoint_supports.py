"""What does the generator feel when its samples and the data do not overlap?

Arjovsky et al. 2017 (arXiv:1701.07875, example 1) take two parallel segments of length 1 at a
distance θ. The Jensen–Shannon divergence between them is log 2 for every θ but 0: it does not say
whether a generator comes nearer. The Wasserstein distance is |θ|. So the generator of the minimax
game whose critic is trained to its end should learn nothing, and that of a WGAN everything
(Arjovsky and Bottou 2017, arXiv:1701.04862).

For every θ and every objective a critic (ReLU, two hidden layers; Adam, its rate falling from 0.01
to 0) is trained to its end on fresh points of the two segments. Measured: its estimate of the
divergence, its estimate of the distance (mean score of the real points less that of the generated
ones), and the gradient that a generator which can only shift its segment gets from it. Under
WGAN-GP the penalty allows a slope of 1 + |θ|/(2λ) here, so the distance that it estimates is |θ|(1
+ |θ|/(2λ))."""

import math
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmark.drawing.layout import log_axis
from benchmark.drawing.style import short, style
from benchmark.explain.optimum import asks_for_unit_slope, separable
from benchmark.explain.setup import (
    ORIGINAL,
    choice,
    fit_critic,
    label,
    make_critic,
    objectives,
    slopes_between,
)
from benchmark.train.build import make_objective

ANSWER = (
    "Where samples and data do not overlap, a trained minimax critic only says that they "
    "differ, and teaches its generator next to nothing; the critic of WGAN-GP says how far "
    "they are apart."
)
CAPTION = (
    "Left: the Jensen–Shannon divergence is log 2 at every distance, and the trained critics say "
    "so. Middle: the distance that critics under a bound on their slope estimate (under clipping "
    "divided by their own largest slope); dashed |θ|, dotted the optimum of WGAN-GP with its "
    "penalty's bias. Right: the gradient a generator gets that can shift its segment, on a "
    "logarithmic axis."
)
LOG2 = math.log(2)


def cases(full: bool) -> list[dict[str, Any]]:
    thetas = [-1.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0]
    size = {"steps": 600, "width": 64}
    if full:
        distances = [2**power for power in np.arange(-4, 2.5, 0.5).tolist()]
        thetas = sorted([*distances, *(-distance for distance in distances)])
        size = {"steps": 10_000, "width": 512, "batch_size": 1024}
    return [{"value": value, "thetas": thetas, **size} for value in objectives()]


def measure(
    value: dict[str, Any], thetas: list[float], steps: int, width: int, batch_size: int = 256
) -> pd.DataFrame:
    """One row per θ: objective, theta; js, w1 and w1_biased, which are exact; js_estimate, of
    losses by a sigmoid without a penalty; score_gap (mean score real − generated), slope (the
    largest ‖∇D(x̂)‖); w1_estimate, of clipped critics score_gap ÷ slope, of those whose penalty
    asks for a slope of 1 score_gap; d_loss;
    gradient (norm of d generator loss / d shift)."""
    objective = make_objective(choice(value))
    rows = []
    for theta in thetas:
        D = make_critic(value, (2,), width=width, depth=2)
        fit_critic(objective, D, partial(segments, theta, batch_size), steps)
        exact = {
            "js": LOG2 if theta else 0.0,
            "w1": abs(theta),
            "w1_biased": w1_biased(objective, theta),
        }
        rows.append(
            {"objective": label(value), "theta": theta} | exact | estimates(objective, D, theta)
        )
    return pd.DataFrame(rows)


def w1_biased(objective: Any, theta: float) -> float:
    """The distance that a critic under WGAN-GP's penalty estimates; NaN without this penalty."""
    if not asks_for_unit_slope(objective):
        return math.nan
    return abs(theta) * (1 + abs(theta) / (2 * objective.penalty_weight))


def estimates(objective: Any, D: Any, theta: float) -> dict[str, float]:
    """What a trained critic says of the two segments, and the gradient of a shift."""
    generator = torch.Generator().manual_seed(1)
    real, fake = segments(theta, 4096, generator)
    shift = torch.zeros(2, requires_grad=True)
    (gradient,) = torch.autograd.grad(objective.g_loss(D, real, fake + shift), shift)
    gap = (D(real).mean() - D(fake).mean()).item()
    d_loss = objective.d_loss(D, real, fake, objective.draw(real, generator)).item()
    slope = slopes_between(D, real, fake, generator).max().item()
    w1_estimate = math.nan
    if objective.clip is not None:
        w1_estimate = gap / slope
    elif asks_for_unit_slope(objective):
        w1_estimate = gap
    says_js = objective.sigmoid and separable(objective)
    return {
        "js_estimate": LOG2 - d_loss / 2 if says_js else math.nan,
        "score_gap": gap,
        "slope": slope,
        "w1_estimate": w1_estimate,
        "d_loss": d_loss,
        "gradient": gradient.norm().item(),
    }


def segments(theta: float, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """n points of {0} × [0, 1] and n of {θ} × [0, 1], each (n, 2)."""
    heights = torch.rand(2, n, generator=generator)
    real = torch.stack([torch.zeros(n), heights[0]], 1)
    fake = torch.stack([torch.full((n,), theta), heights[1]], 1)
    return real, fake


def draw(frame: pd.DataFrame) -> Figure:
    figure = plt.figure(figsize=(13, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    positive = frame[frame["theta"] > 0]
    for name, rows in positive.groupby("objective", sort=False):
        look = style(str(name)) | {"markersize": 4}
        right.plot(rows["theta"], rows["gradient"], label=name, **look)
        if rows["js_estimate"].notna().any():
            left.plot(rows["theta"], rows["js_estimate"], **look)
        if rows["w1_estimate"].notna().any():
            middle.plot(rows["theta"], rows["w1_estimate"], **look | {"linestyle": ""})
    exact = positive.dropna(subset="w1_biased").drop_duplicates("theta")
    left.axhline(LOG2, color="0.3", linestyle="--", linewidth=1)
    corner = (positive["theta"].min(), LOG2)
    left.annotate("log 2", corner, xytext=(0, 4), textcoords="offset points")
    middle.plot(exact["theta"], exact["w1"], color="0.3", linestyle="--", linewidth=1)
    middle.plot(exact["theta"], exact["w1_biased"], color="0.3", linestyle=":", linewidth=1.2)
    left.set(ylim=(0, 0.8), ylabel="estimate of the JS divergence, nats", xscale="log")
    middle.set(ylabel="estimate of the Wasserstein distance", xscale="log", yscale="log")
    right.set(ylabel="gradient norm of the shifting generator", xscale="log", yscale="log")
    for ax in (left, middle, right):
        ax.set_xlabel("distance θ of the segments")
        log_axis(ax.xaxis)
    figure.legend(loc="outside lower center", ncols=5)
    return figure


def finding(frame: pd.DataFrame) -> str:
    by_objective = {str(name): rows for name, rows in frame.groupby("objective", sort=False)}
    gp = by_objective["wgan_gp"]
    mm = by_objective["minimax"]
    bias_error = (gp["w1_estimate"] / gp["w1_biased"] - 1).abs().max()
    js_error = (mm["js"] - mm["js_estimate"]).abs().max()
    original = _share_of_distance(by_objective[label(ORIGINAL)])
    clipped = _share_of_distance(by_objective["wgan"])
    size = {name: _span(rows["gradient"]) for name, rows in by_objective.items()}
    return (
        "At every distance the trained minimax critic estimates the divergence at log 2 to within "
        f"{js_error:.0e}, and the generator's gradient is {size['minimax']} under minimax, "
        f"{size['nonsaturating']} under nonsaturating with the very same critic, {size['wgan']} "
        f"under clipping and {size['wgan_gp']} under wgan_gp. The distance that wgan_gp estimates "
        f"is within {bias_error:.2%} of |θ|(1 + |θ|/(2λ)), clipping's {clipped.min():.2f} to "
        f"{clipped.max():.2f} of |θ| and the original finite differences' {original.min():.2f} to "
        f"{original.max():.2f} of it."
    )


def _share_of_distance(rows: pd.DataFrame) -> pd.Series:
    return rows["w1_estimate"] / rows["w1"]


def _span(values: pd.Series) -> str:
    return f"{short(values.min())} to {short(values.max())}"
