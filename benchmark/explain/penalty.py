"""Exact or by finite differences: which form of the gradient penalty, and how strong?

The exact penalty (Gulrajani et al. 2017, arXiv:1704.00028, equation 3) asks for the gradient of a gradient. A finite
difference asks for two scores: |D(x̂₁) − D(x̂₂)| / ‖x̂₁ − x̂₂‖, a quotient that is the slope along one direction and so
never more than the whole slope (mean value theorem). Along the gradient itself it is the whole slope, and since the
gradient is the direction of steepest ascent its parameter gradient is the exact one's up to O(ε) for a smooth critic
(envelope theorem). Two-sided forms of the others have no such footing: Petzka et al. 2018 (arXiv:1709.08894) argue for
one-sided penalties, since even the best critic is flatter than 1 along most pairs.

Four parts, every pair of points and every side that the objectives offer. Linear: critics of slope 3 in 1 and in 64
dimensions. Step: the finite difference's parameter gradient against the exact one's (cosine), over ε, on a smooth
(tanh) and a kinked (ReLU) critic, at its initial weights and once it is fitted. Cost: one critic step by depth, timed
in turn, and the bytes kept for the backward pass. Sweep: generators trained on digits under every form and three
weights λ, with seeds: the slope that the critic really has between real and generated images, and the FID reached."""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import variants
from benchmark.bootstrap import interval, iqm
from benchmark.build import make_objective
from benchmark.explain._training import ORIGINAL, choice, fit_critic, make_critic, noised, run
from benchmark.figure import short
from benchmark.measure import measure as measured
from benchmark.step import critic_gradients

CAPTION = (
    "Left: cosine between the parameter gradients of the finite difference along the gradient and of the exact "
    "penalty, over ε: solid at the initial weights, dashed once the critic is fitted and the penalty nearly met. "
    "Middle: time of a critic step, in steps without a penalty, by depth. Right: FID reached on digits (low is good) "
    "against the critic's true slope, one mark per form and λ, the IQM over seeds; a penalty that works holds the "
    "slope near 1."
)
EXACT, NONE = {"name": "wgan_gp"}, {"name": "wgan"}  # without its clipping
WEIGHTS = (1.0, 10.0, 100.0)
EPSILONS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
SLOPE = 3.0  # of the linear critics


def cases(full: bool) -> list[dict[str, Any]]:
    every = forms()
    found: list[dict[str, Any]] = [{"part": "linear", "values": every}]
    for activation in ("tanh", "relu"):
        found.append({"part": "step", "values": every, "activation": activation, "width": 512 if full else 64})
    for depth in (1, 3, 6, 12):
        found.append({"part": "cost", "values": every, "depth": depth, "width": 512 if full else 128, "compiled": full})
    size: dict[str, Any] = {"steps": 2000, "width": 256} if full else {"steps": 60, "width": 128}
    weights = (0.1, *WEIGHTS, 1000.0) if full else WEIGHTS
    for value, weight, seed in itertools.product(every, weights, range(10 if full else 5)):
        if "method" not in value:  # another way to the same number
            found.append({"part": "sweep", "value": {**value, "penalty_weight": weight}, "seed": seed, **size})
    return found


def forms() -> list[dict[str, Any]]:
    """Every objective with a penalty on single samples, in all the forms that its parameters name."""
    found = []
    for name in variants.names("objectives"):
        objective = variants.load("objectives", name).Objective
        if objective.per_sample_penalty:
            hints = get_type_hints(objective)
            named = {f.name: get_args(hints[f.name]) for f in fields(objective) if get_origin(hints[f.name]) is Literal}
            for values in itertools.product(*named.values()):
                params = dict(zip(named, values, strict=True))
                try:
                    objective(**params)
                except ValueError:  # a pair that means nothing
                    continue
                found.append({"name": name} | {k: v for k, v in params.items() if v != getattr(objective, k)})
    return found


def measure(part: str, **case: Any) -> pd.DataFrame:
    """part, form; linear: dimensions, value, exact (of a slope of 3); step: critic, state, epsilon, value, exact,
    cosine; cost: depth, ms, over_none, kept_mb, over_none_compiled; sweep: penalty_weight, seed, slope, slope_std,
    fid."""
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
    """The penalty of linear critics, whose exact value is known: (|slope| − 1)², or the slope's excess alone."""
    rows = []
    for dimensions, value in itertools.product((1, 64), values):
        generator = torch.Generator().manual_seed(0)
        real, fake = (torch.randn(512, dimensions, generator=generator, dtype=torch.float64) for _ in range(2))
        weight = torch.randn(dimensions, generator=generator, dtype=torch.float64)
        weight *= SLOPE / weight.norm()
        objective = make_objective(choice(value))
        noise = objective.draw(real, generator)
        found = objective.penalty(lambda x, weight=weight: x @ weight, real, fake, noise).item()
        exact = SLOPE - 1 if value.get("sided") == "linear" else (SLOPE - 1) ** 2
        rows.append({"form": choice(value).label, "dimensions": dimensions, "value": found, "exact": exact})
    return rows


def step(values: list[dict[str, Any]], activation: str, width: int) -> list[dict[str, Any]]:
    """Value and parameter gradient of every form on one critic, initial and fitted, beside the exact penalty's, in
    float64 and at the same x̂."""
    D, draw = make_critic(EXACT, (2,), width=width, depth=3, activation=activation), noised("gaussians8", 256)
    real, fake = (batch.double() for batch in draw(torch.Generator().manual_seed(1)))
    alpha = torch.rand(2, 256, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rows = []
    for state in ("initial", "fitted"):
        if state == "fitted":
            fit_critic(make_objective(choice(EXACT)), D.float(), draw, 200)
        D = D.double()
        exact, exact_gradient = gradient_of(EXACT, D, real, fake, (alpha[0],))
        for value, epsilon in [(form, each) for form in values for each in epsilons(form)]:
            tried = value if epsilon is None else {**value, "epsilon": epsilon}
            own = make_objective(choice(tried)).draw(real, torch.Generator().manual_seed(3))
            own = (alpha[0],) if own[0].dim() == 1 else (alpha, *own[1:])
            found, gradient = gradient_of(tried, D, real, fake, own)
            cosine = nn.functional.cosine_similarity(gradient, exact_gradient, dim=0).item()
            row = {"form": choice(value).label, "critic": activation, "state": state, "epsilon": epsilon or np.nan}
            rows.append(row | {"value": found, "exact": exact, "cosine": cosine})
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
    grads = torch.autograd.grad(penalty, list(D.parameters()), allow_unused=True, materialize_grads=True)
    return penalty.item(), torch.cat([grad.flatten() for grad in grads])


def cost(values: list[dict[str, Any]], depth: int, width: int, compiled: bool) -> list[dict[str, Any]]:
    """Milliseconds of the critic's loss and gradients, every form in turn; medians of the rounds."""
    draw, generator = noised("gaussians8", 64), torch.Generator().manual_seed(1)
    real, fake = draw(generator)
    D = make_critic(EXACT, (2,), width=width, depth=depth)
    params, buffers = {name: p.detach() for name, p in D.named_parameters()}, dict(D.named_buffers())
    rows: list[dict[str, Any]] = []
    contenders: dict[tuple[str, bool], Callable[[], Any]] = {}
    for value in [NONE, *values]:
        label = "none" if value is NONE else choice(value).label
        objective = make_objective(choice(value))
        noise = objective.draw(real, generator)
        contenders[label, False] = partial(eager, objective, D, real, fake, noise)
        rows.append({"form": label, "depth": depth, "kept_mb": kept(objective, D, real, fake, noise)})
        if compiled and value.get("method") != "jvp":  # compiles, and is then a hundred times slower
            whole = torch.compile(critic_gradients(objective, D, "float32"), dynamic=False)
            contenders[label, True] = partial(whole, params, buffers, real, fake, noise)
    times: dict[tuple[str, bool], list[float]] = {name: [] for name in contenders}
    for turn in range(33):
        for name, contender in contenders.items():
            started = time.perf_counter()
            contender()
            times[name] += [1000 * (time.perf_counter() - started)] if turn > 2 else []  # the first ones warm up
    for row in rows:
        row["ms"] = statistics.median(times[row["form"], False])
        for column, mode in (("over_none", False), ("over_none_compiled", True)):
            own, none = times.get((row["form"], mode), []), times.get(("none", mode), [])
            row[column] = statistics.median(a / b for a, b in zip(own, none, strict=True)) if own else np.nan
    return rows


def eager(objective: Any, D: nn.Module, real: Tensor, fake: Tensor, noise: Any) -> None:
    """The critic's loss and its gradients."""
    torch.autograd.grad(objective.d_loss(D, real, fake, noise), list(D.parameters()), allow_unused=True)


def kept(objective: Any, D: nn.Module, real: Tensor, fake: Tensor, noise: Any) -> float:
    """MiB that the loss keeps for its backward pass, beside the parameters; every storage once."""
    own, found = {p.data_ptr() for p in D.parameters()}, dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            found[tensor.data_ptr()] = max(found.get(tensor.data_ptr(), 0), tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = objective.d_loss(D, real, fake, noise)
    del loss
    return sum(found.values()) / 2**20


def sweep(value: dict[str, Any], seed: int, steps: int, width: int) -> list[dict[str, Any]]:
    """A generator of digits trained under one form and weight: the critic's true slope, and the FID at the end."""
    mlp = {"name": "mlp", "width": width, "depth": 2, "latent_dim": 32}
    training = {"steps": steps, "batch_size": 64}
    (snapshot,) = run({**value, "lr": 1e-3}, mlp, {"name": "digits"}, seed, [1.0], **training)
    form = choice({k: v for k, v in value.items() if k != "penalty_weight"}).label
    row = {"form": form, "penalty_weight": value["penalty_weight"], "seed": seed}
    fid = measured(snapshot, "cpu")["fid_classifier_750"][0]
    return [row | {"slope": snapshot.row["slope"], "slope_std": snapshot.row["slope_std"], "fid": fid}]  # type: ignore


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
    left.set(xscale="log", ylim=(-1.05, 1.05), xlabel="ε", ylabel="cosine to the exact penalty's gradient")
    left.legend()
    costs = frame[(frame["part"] == "cost") & frame["form"].isin([*SHOWN])]
    for form, rows in costs.groupby("form", sort=False):
        middle.plot(rows["depth"], rows["over_none"], marker="o", markersize=4, color=SHOWN[str(form)], label=form)
    middle.set(xlabel="hidden layers of the critic", ylabel="time of a critic step ÷ without penalty", ylim=(0, None))
    middle.legend(fontsize=8)
    for row in swept(frame).to_dict("records"):
        look = {
            "color": FAMILIES.get(row["pairs"], "0.3"),
            "marker": MARKS.get(row["sided"], "*"),
            "alpha": 0.75,
            "linewidths": 0,
        }
        right.scatter(row["slope"], row["fid"], s=30 * (1.5 + np.log10(row["penalty_weight"])), **look)
    for pairs, colour in FAMILIES.items():
        right.scatter([], [], color=colour, label=pairs)
    for sided, mark in MARKS.items():
        right.scatter([], [], color="0.4", marker=mark, label=sided)
    right.axvline(1, color="0.5", linestyle=":")
    right.set(
        xscale="log", yscale="log", xlabel="true slope ‖∇D(x̂)‖ (larger marks: larger λ)", ylabel="FID (classifier, 750)"
    )
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
    """form, penalty_weight, pairs, sided; IQM over seeds of slope and fid; diff, low, high: of the FID less that of the
    exact penalty at λ = 10, seed by seed, its IQM and interval."""
    rows = frame[frame["part"] == "sweep"]
    fids = rows.pivot(index=["form", "penalty_weight"], columns="seed", values="fid")
    differences = fids - fids.xs(("wgan_gp", 10.0))
    low, high = interval(differences.to_numpy(), rng=np.random.default_rng(0))
    found = rows.groupby(["form", "penalty_weight"], sort=False)[["slope", "fid"]].agg(iqm)
    found = found.loc[fids.index].assign(diff=iqm(differences.to_numpy()), low=low, high=high).reset_index()
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
    sides = differences[differences["pairs"] != "gradient"].groupby("sided")["slope"].agg(["min", "max"])
    slopes = ", ".join(f"{row['min']:.1f} to {row['max']:.1f} {side}-sided" for side, row in sides.iterrows())
    slopes = slopes.replace("signed-sided", "signed")
    told = cosine.xs(0.1, level="epsilon").to_dict()
    return (
        "Along the gradient, at ε = 0.1, the finite difference has the exact penalty's parameter gradient on a smooth "
        f"critic far from the optimum (cosine {told['tanh', 'initial']:.3f}), but not near it "
        f"({told['tanh', 'fitted']:.2f}), nor across kinks ({told['relu', 'initial']:.2f} and "
        f"{told['relu', 'fitted']:.2f}); trained, it holds the slope at {default['slope']:.2f} all the same and "
        f"reaches FID {short(default['fid'])}, the exact penalty {exact['slope']:.2f} and {short(exact['fid'])} "
        f"(difference {default['diff']:+.2f} [{default['low']:+.2f}, {default['high']:+.2f}] over "
        f"{frame['seed'].nunique():.0f} seeds), the original form {original['slope']:.1f} and "
        f"{short(original['fid'])}. Every other pair leaves the true slope free ({slopes}, over all λ); the lowest FID "
        f"of all finite differences, {short(best['fid'])}, is that of pairs = {best['pairs']}, sided = "
        f"{best['sided']}, λ = {best['penalty_weight']:g}, which is the form to start from (without a gradient: "
        f"{cheap['pairs']}, {cheap['sided']}, λ = {cheap['penalty_weight']:g}, FID {short(cheap['fid'])})."
    )
