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
from benchmark.explain.setup import (
    ORIGINAL,
    choice,
    fit_critic,
    make_critic,
    objectives,
    slopes_between,
)
from benchmark.train.build import make_objective

CAPTION = (
    "Left: the Jensen–Shannon divergence is log 2 at every distance, and the trained critics say so. Middle: the "
    "distance that critics under a bound on their slope estimate (under clipping divided by their own largest slope); "
    "dashed |θ|, dotted the optimum of WGAN-GP with its penalty's bias. Right: the gradient a generator gets that can "
    "shift its segment, on a logarithmic axis."
)


def cases(full: bool) -> list[dict[str, Any]]:
    thetas = [-1.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0]
    if full:
        thetas = sorted(
            {sign * 2**power for sign in (-1, 1) for power in np.arange(-4, 2.5, 0.5).tolist()}
        )
    size = (
        {"steps": 10_000, "width": 512, "batch_size": 1024} if full else {"steps": 600, "width": 64}
    )
    return [{"value": value, "thetas": thetas, **size} for value in objectives()]


def measure(
    value: dict[str, Any], thetas: list[float], steps: int, width: int, batch_size: int = 256
) -> pd.DataFrame:
    """One row per θ: objective, theta; js, w1 and w1_biased, which are exact; js_estimate, of
    losses by a sigmoid; score_gap (mean score real − generated), slope (the largest ‖∇D(x̂)‖),
    w1_estimate: score_gap, under clipping ÷ slope, of critics that a bound on the slope makes one;
    d_loss; gradient (norm of d generator loss / d shift)."""
    chosen = choice(value)
    objective = make_objective(chosen)
    rows = []
    for theta in thetas:
        D = make_critic(value, (2,), width=width, depth=2)
        fit_critic(objective, D, partial(segments, theta, batch_size), steps)
        generator = torch.Generator().manual_seed(1)
        real, fake = segments(theta, 4096, generator)
        shift = torch.zeros(2, requires_grad=True)
        (gradient,) = torch.autograd.grad(objective.g_loss(D, real, fake + shift), shift)
        gap = (D(real).mean() - D(fake).mean()).item()
        d_loss = objective.d_loss(D, real, fake, objective.draw(real, generator)).item()
        slope = slopes_between(D, real, fake, generator).max().item()
        estimate = (
            gap / slope if objective.clip else gap if objective.per_sample_penalty else math.nan
        )
        rows.append({
            **{"objective": chosen.label, "theta": theta, "js": math.log(2) if theta else 0.0, "w1": abs(theta)},
            "w1_biased": abs(theta) * (1 + abs(theta) / (2 * getattr(objective, "penalty_weight", math.nan))),
            "js_estimate": math.log(2) - d_loss / 2 if objective.sigmoid else math.nan,
            **{"score_gap": gap, "slope": slope, "w1_estimate": estimate, "d_loss": d_loss},
            "gradient": gradient.norm().item(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def segments(theta: float, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """n points of {0} × [0, 1] and n of {θ} × [0, 1], each (n, 2)."""
    heights = torch.rand(2, n, generator=generator)
    return torch.stack([torch.zeros(n), heights[0]], 1), torch.stack(
        [torch.full((n,), theta), heights[1]], 1
    )


def draw(frame: pd.DataFrame) -> Figure:
    figure = plt.figure(figsize=(13, 4.4), layout="constrained")
    axes = figure.subplots(1, 3)
    right = frame[frame["theta"] > 0]
    for name, rows in right.groupby("objective", sort=False):
        look = style(str(name)) | {"markersize": 4}
        axes[2].plot(rows["theta"], rows["gradient"], label=name, **look)
        if rows["js_estimate"].notna().any():
            axes[0].plot(rows["theta"], rows["js_estimate"], **look)
        if rows["w1_estimate"].notna().any():
            axes[1].plot(rows["theta"], rows["w1_estimate"], **look | {"linestyle": ""})
    bias = right.dropna(subset="w1_biased").drop_duplicates("theta")
    axes[0].axhline(math.log(2), color="0.3", linestyle="--", linewidth=1)
    axes[0].annotate(
        "log 2", (right["theta"].min(), math.log(2)), xytext=(0, 4), textcoords="offset points"
    )
    axes[1].plot(bias["theta"], bias["w1"], color="0.3", linestyle="--", linewidth=1)
    axes[1].plot(bias["theta"], bias["w1_biased"], color="0.3", linestyle=":", linewidth=1.2)
    axes[0].set(ylim=(0, 0.8), ylabel="estimate of the JS divergence, nats", xscale="log")
    axes[1].set(ylabel="estimate of the Wasserstein distance", xscale="log", yscale="log")
    axes[2].set(ylabel="gradient norm of the shifting generator", xscale="log", yscale="log")
    for ax in axes:
        ax.set_xlabel("distance θ of the segments")
        log_axis(ax.xaxis)
    figure.legend(loc="outside lower center", ncols=5)
    return figure


def finding(frame: pd.DataFrame) -> str:
    of = {str(name): rows for name, rows in frame.groupby("objective", sort=False)}
    gp, mm = of["wgan_gp"], of["minimax"]
    off = (gp["w1_estimate"] / gp["w1_biased"] - 1).abs().max()
    original, clipped = (
        of[name]["w1_estimate"] / of[name]["w1"] for name in (choice(ORIGINAL).label, "wgan")
    )
    ends = {name: (rows["gradient"].min(), rows["gradient"].max()) for name, rows in of.items()}
    size = {name: f"{short(low)} to {short(high)}" for name, (low, high) in ends.items()}
    return (
        "At every distance the trained minimax critic estimates the divergence at log 2 to within "
        f"{(mm['js'] - mm['js_estimate']).abs().max():.0e}, and the generator's gradient is {size['minimax']} under "
        f"minimax, {size['nonsaturating']} under nonsaturating with the very same critic, {size['wgan']} under "
        f"clipping and {size['wgan_gp']} under wgan_gp. The distance that wgan_gp estimates is within {off:.2%} of "
        f"|θ|(1 + |θ|/(2λ)), clipping's {clipped.min():.2f} to {clipped.max():.2f} of |θ| and the original finite "
        f"differences' {original.min():.2f} to {original.max():.2f} of it."
    )
