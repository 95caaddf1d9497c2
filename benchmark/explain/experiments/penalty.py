"""Exact or by finite differences: which form of the gradient penalty, and how strong?

The exact penalty (Gulrajani et al. 2017, arXiv:1704.00028, equation 3) asks for the gradient of a
gradient. A finite difference asks for two scores: |D(x̂₁) − D(x̂₂)| / ‖x̂₁ − x̂₂‖, a quotient that
is the slope along one direction and so never more than the whole slope (mean value theorem). Along
the gradient itself it is the whole slope, and since the gradient is the direction of steepest
ascent its parameter gradient is the exact one's up to an error that shrinks with the distance ε of
the two points, for a smooth critic (envelope theorem). A quotient along another direction has no
such footing: where even the best critic is flatter than 1, asking for 1 asks for the wrong thing. A
one-sided penalty, which only forbids more than 1 (Petzka et al. 2018, arXiv:1709.08894, argue for
it), does not ask that.

Four parts, over every pair of points and every side that the objectives offer. Linear: critics of
slope 3 in 1 and in 64 dimensions, where the exact value is known.

Step: the finite difference's parameter gradient against the exact one's (cosine: 1, the same
direction) over ε, on a smooth (tanh) and a kinked (ReLU) critic, at its initial weights and once it
is fitted. There the penalty is nearly met, so that an error of order ε is large beside what is left
of it.

Cost: time of one critic step by depth, in turn in one process, as a ratio to a step without a
penalty, and the bytes kept for the backward pass (in full compiled, too).

Sweep: generators of digits (8×8) trained for 60 steps at a rate of 0.001 under every form and three
weights λ, over five seeds (in full 2,000 steps, five weights, ten seeds): the slope that the critic
really has between real and generated images, and the FID reached (a distance of the features of
generated and real images; lower is better, real images get 0.05)."""

import itertools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import variants
from benchmark.drawing.layout import log_axis
from benchmark.drawing.style import short
from benchmark.explain.penalty_cost import cost
from benchmark.explain.setup import ORIGINAL, choice, fit_critic, make_critic, noised, run
from benchmark.measure.instrument import measure as measured
from benchmark.stats.bootstrap import interval, iqm
from benchmark.train.build import make_objective

CAPTION = (
    "Left: cosine between the parameter gradients of the finite difference along the gradient and of the exact "
    "penalty, over ε: solid at the initial weights, dashed once the critic is fitted and the penalty nearly met. "
    "Middle: time of a critic step, in steps without a penalty, by depth. Right: FID reached on digits (low is good) "
    "against the critic's true slope, one mark per form and λ, the IQM over seeds; a penalty that works holds the "
    "slope near 1."
)
EXACT = {"name": "wgan_gp"}
WEIGHTS = (1.0, 10.0, 100.0)
EPSILONS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
SLOPE = 3.0  # of the linear critics


def cases(full: bool) -> list[dict[str, Any]]:
    every = forms()
    found: list[dict[str, Any]] = [{"part": "linear", "values": every}]
    for activation in ("tanh", "relu"):
        found.append(
            {
                "part": "step",
                "values": every,
                "activation": activation,
                "width": 512 if full else 64,
            }
        )
    for depth in (1, 3, 6, 12):
        found.append(
            {
                "part": "cost",
                "values": every,
                "depth": depth,
                "width": 512 if full else 128,
                "compiled": full,
            }
        )
    size: dict[str, Any] = {"steps": 2000, "width": 256} if full else {"steps": 60, "width": 128}
    weights = (0.1, *WEIGHTS, 1000.0) if full else WEIGHTS
    for value, weight, seed in itertools.product(every, weights, range(10 if full else 5)):
        if "method" not in value:  # another way to the same number
            found.append(
                {
                    "part": "sweep",
                    "value": {**value, "penalty_weight": weight},
                    "seed": seed,
                    **size,
                }
            )
    return found


def forms() -> list[dict[str, Any]]:
    """Every objective with a penalty on single samples, in all the forms that its parameters
    name."""
    found = []
    for name in variants.names("objectives"):
        objective = variants.load("objectives", name).Objective
        if objective.per_sample_penalty:
            hints = get_type_hints(objective)
            named = {
                f.name: get_args(hints[f.name])
                for f in fields(objective)
                if get_origin(hints[f.name]) is Literal
            }
            for values in itertools.product(*named.values()):
                params = dict(zip(named, values, strict=True))
                try:
                    objective(**params)
                except ValueError:  # a pair that means nothing
                    continue
                found.append(
                    {"name": name} | {k: v for k, v in params.items() if v != getattr(objective, k)}
                )
    return found


def measure(part: str, **case: Any) -> pd.DataFrame:
    """part, form; linear: dimensions, value, exact (of a slope of 3); step: critic, state, epsilon,
    value, exact, cosine; cost: depth, kept_mb, over_none, over_none_compiled; sweep:
    penalty_weight, seed, slope, slope_std, fid."""
    parts: dict[str, Callable[..., list[dict[str, Any]]]] = {
        "linear": linear,
        "step": step,
        "cost": cost,
        "sweep": sweep,
    }
    frame = pd.DataFrame(parts[part](**case))
    frame.insert(0, "part", part)
    return frame


def linear(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The penalty of linear critics, whose exact value is known: (|slope| − 1)², or the slope's
    excess alone."""
    rows = []
    for dimensions, value in itertools.product((1, 64), values):
        generator = torch.Generator().manual_seed(0)
        real, fake = (
            torch.randn(512, dimensions, generator=generator, dtype=torch.float64) for _ in range(2)
        )
        weight = torch.randn(dimensions, generator=generator, dtype=torch.float64)
        weight *= SLOPE / weight.norm()
        objective = make_objective(choice(value))
        noise = objective.draw(real, generator)
        found = objective.penalty(lambda x, weight=weight: x @ weight, real, fake, noise).item()
        exact = SLOPE - 1 if value.get("sided") == "linear" else (SLOPE - 1) ** 2
        rows.append(
            {"form": choice(value).label, "dimensions": dimensions, "value": found, "exact": exact}
        )
    return rows


def step(values: list[dict[str, Any]], activation: str, width: int) -> list[dict[str, Any]]:
    """Value and parameter gradient of every form on one critic, initial and fitted, beside those of
    the exact penalty of the same side (two-sided for signed forms), in float64 and at the same
    x̂."""
    D, draw = (
        make_critic(EXACT, (2,), width=width, depth=3, activation=activation),
        noised("gaussians8", 256),
    )
    real, fake = (batch.double() for batch in draw(torch.Generator().manual_seed(1)))
    alpha = torch.rand(2, 256, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    sides = ("two", "one", "linear")
    rows = []
    for state in ("initial", "fitted"):
        if state == "fitted":
            fit_critic(make_objective(choice(EXACT)), D.float(), draw, 200)
        D = D.double()
        exact = {
            side: gradient_of({**EXACT, "sided": side}, D, real, fake, (alpha[0],))
            for side in sides
        }
        for value, epsilon in [(form, each) for form in values for each in epsilons(form)]:
            tried = value if epsilon is None else {**value, "epsilon": epsilon}
            own = make_objective(choice(tried)).draw(real, torch.Generator().manual_seed(3))
            own = (alpha[0],) if own[0].dim() == 1 else (alpha, *own[1:])
            found, gradient = gradient_of(tried, D, real, fake, own)
            exact_value, exact_gradient = exact.get(value.get("sided", "two"), exact["two"])
            cosine = nn.functional.cosine_similarity(gradient, exact_gradient, dim=0).item()
            row = {
                "form": choice(value).label,
                "critic": activation,
                "state": state,
                "epsilon": epsilon or np.nan,
            }
            rows.append(row | {"value": found, "exact": exact_value, "cosine": cosine})
    return rows


def epsilons(value: dict[str, Any]) -> tuple[float | None, ...]:
    """The ε to try a form with; None where it has none that matters."""
    moves = value.get("pairs", "gradient") in ("gradient", "local")
    return EPSILONS if moves and hasattr(make_objective(choice(value)), "epsilon") else (None,)


def gradient_of(
    value: dict[str, Any], D: nn.Module, real: Tensor, fake: Tensor, noise: tuple[Tensor, ...]
) -> tuple[float, Tensor]:
    """A penalty's value and its gradient in all parameters of D, (n,)."""
    penalty = make_objective(choice(value)).penalty(D, real, fake, noise)
    grads = torch.autograd.grad(
        penalty, list(D.parameters()), allow_unused=True, materialize_grads=True
    )
    return penalty.item(), torch.cat([grad.flatten() for grad in grads])


def sweep(value: dict[str, Any], seed: int, steps: int, width: int) -> list[dict[str, Any]]:
    """A generator of digits trained under one form and weight: the critic's true slope, and the FID
    at the end."""
    mlp = {"name": "mlp", "width": width, "depth": 2, "latent_dim": 32}
    training = {"steps": steps, "batch_size": 64}
    (snapshot,) = run({**value, "lr": 1e-3}, mlp, {"name": "digits"}, seed, [1.0], **training)
    form = choice({k: v for k, v in value.items() if k != "penalty_weight"}).label
    row = {"form": form, "penalty_weight": value["penalty_weight"], "seed": seed}
    fid = measured(snapshot, "cpu")["fid_classifier_750"][0]
    assert snapshot.row is not None
    slopes = {name: snapshot.row[name] for name in ("slope", "slope_std")}
    return [row | slopes | {"fid": fid}]


def draw(frame: pd.DataFrame) -> Figure:
    figure = plt.figure(figsize=(15, 5.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1.1, 1.6])
    along = frame[(frame["part"] == "step") & (frame["form"] == "wgan_fdgp")]
    for (critic, state), rows in along.groupby(["critic", "state"], sort=False):
        look: dict[str, Any] = {
            "color": {"tanh": "C0", "relu": "C3"}[str(critic)],
            "linestyle": "--" if state == "fitted" else "-",
        }
        left.plot(rows["epsilon"], rows["cosine"], marker="o", label=f"{critic}, {state}", **look)
    left.set(
        xscale="log",
        ylim=(-1.05, 1.05),
        xlabel="ε",
        ylabel="cosine to the exact penalty's gradient",
    )
    left.legend()
    costs = frame[(frame["part"] == "cost") & frame["form"].isin([*SHOWN])]
    for form, rows in costs.groupby("form", sort=False):
        middle.plot(
            rows["depth"],
            rows["over_none"],
            marker="o",
            markersize=4,
            color=SHOWN[str(form)],
            label=form,
        )
    middle.set(
        xlabel="hidden layers of the critic",
        ylabel="time of a critic step ÷ without penalty",
        ylim=(0, None),
    )
    middle.legend(fontsize=8)
    for row in swept(frame).to_dict("records"):
        look = {
            "color": FAMILIES.get(row["pairs"], "0.3"),
            "marker": MARKS.get(row["sided"], "*"),
            "alpha": 0.75,
            "linewidths": 0,
        }
        right.scatter(
            row["slope"], row["fid"], s=30 * (1.5 + np.log10(row["penalty_weight"])), **look
        )
    for pairs, colour in FAMILIES.items():
        right.scatter([], [], color=colour, label=pairs)
    for sided, mark in MARKS.items():
        right.scatter([], [], color="0.4", marker=mark, label=sided)
    right.axvline(1, color="0.5", linestyle=":")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="true slope ‖∇D(x̂)‖ (larger marks: larger λ)",
        ylabel="FID (classifier, 750)",
    )
    for axis in (right.xaxis, right.yaxis):
        log_axis(axis)
    right.legend(fontsize=8, ncols=2)
    return figure


FAMILIES = {
    **{"exact": "#56B4E9", "gradient": "#D55E00", "independent": "#7A3A00", "segment": "#009E73"},
    **{"endpoint": "#CC79A7", "local": "#999933"},
}
MARKS: dict[str, Any] = {"two": "o", "one": "^", "signed": "s", "linear": "D"}
SHOWN = {
    **{"wgan_gp": "#56B4E9", "wgan_gp[method=jvp]": "#0072B2", "wgan_fdgp": "#D55E00"},
    **{"wgan_fdgp[pairs=independent]": "#7A3A00", "wgan_fdgp[pairs=endpoint]": "#CC79A7"},
}


def swept(frame: pd.DataFrame) -> pd.DataFrame:
    """form, penalty_weight, pairs, sided; IQM over seeds of slope and fid; diff, low, high: of the
    FID less that of the exact penalty at λ = 10, seed by seed, its IQM and interval."""
    rows = frame[frame["part"] == "sweep"]
    fids = rows.pivot(index=["form", "penalty_weight"], columns="seed", values="fid")
    differences = fids - fids.xs(("wgan_gp", 10.0))
    low, high = interval(differences.to_numpy(), rng=np.random.default_rng(0))
    found = rows.groupby(["form", "penalty_weight"], sort=False)[["slope", "fid"]].agg(iqm)
    found = (
        found.loc[fids.index]
        .assign(diff=iqm(differences.to_numpy()), low=low, high=high)
        .reset_index()
    )
    found["pairs"] = found["form"].str.extract(r"pairs=(\w+)")[0].fillna("gradient")
    found.loc[~found["form"].str.startswith("wgan_fdgp"), "pairs"] = "exact"
    return found.assign(sided=found["form"].str.extract(r"sided=(\w+)")[0].fillna("two"))


def finding(frame: pd.DataFrame) -> str:
    steps = frame[(frame["part"] == "step") & (frame["form"] == "wgan_fdgp")]
    cosine = steps.set_index(["critic", "state", "epsilon"])["cosine"]
    of = swept(frame)
    at = of.set_index(["form", "penalty_weight"])
    exact, default, original = (
        at.xs((name, 10.0)).to_dict() for name in ("wgan_gp", "wgan_fdgp", choice(ORIGINAL).label)
    )
    differences = of[of["pairs"] != "exact"].sort_values("fid")
    best = differences.iloc[0]
    cheap = differences[~differences["pairs"].isin(["gradient"])].iloc[0]
    sides = (
        differences[differences["pairs"] != "gradient"]
        .groupby("sided")["slope"]
        .agg(["min", "max"])
    )
    slopes = ", ".join(
        f"{row['min']:.1f} to {row['max']:.1f} {side}-sided" for side, row in sides.iterrows()
    )
    slopes = slopes.replace("signed-sided", "signed")
    alike = all(form["low"] < 0 < form["high"] for form in (default, best))
    told = cosine.xs(0.1, level="epsilon").to_dict()
    apart = f"{default['diff']:+.2f} [{default['low']:+.2f}, {default['high']:+.2f}]"
    return (
        "Along the gradient, at ε = 0.1, the finite difference has the exact penalty's parameter gradient on a smooth "
        f"critic at its initial weights (cosine {told['tanh', 'initial']:.3f}), less so once it is fitted "
        f"({told['tanh', 'fitted']:.2f}), and hardly across kinks ({told['relu', 'initial']:.2f} and "
        f"{told['relu', 'fitted']:.2f}). In training it holds the slope at {default['slope']:.2f} all the same and "
        f"reaches FID {short(default['fid'])}, the exact penalty {exact['slope']:.2f} and {short(exact['fid'])} "
        f"(difference {apart} over {frame['seed'].nunique():.0f} seeds), the original form {original['slope']:.1f} and "
        f"{short(original['fid'])}. Differences along other directions leave true slopes of {slopes}, over all λ. The "
        f"lowest FID of a difference is {short(best['fid'])} (pairs = {best['pairs']}, sided = {best['sided']}, λ = "
        f"{best['penalty_weight']:g}; from the exact one's {best['diff']:+.2f} [{best['low']:+.2f}, "
        f"{best['high']:+.2f}]), without a gradient {short(cheap['fid'])} ({cheap['pairs']}, {cheap['sided']}, λ = "
        f"{cheap['penalty_weight']:g}): we recommend pairs = {best['pairs']} at λ = {best['penalty_weight']:g}"
        f"{', on either side, for neither is told apart from the exact penalty' if alike else ''}."
    )
