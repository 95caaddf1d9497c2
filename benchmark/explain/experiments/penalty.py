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
really has between real and generated images, and the classifier-FID (750) reached (a distance of
the features that a classifier of digits has of 750 generated and of real images; lower is better).
What 750 real images get is measured as well."""

import itertools
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmark.drawing.layout import log_axis
from benchmark.drawing.style import short
from benchmark.explain.penalty_cost import cost
from benchmark.explain.penalty_forms import forms, linear, step
from benchmark.explain.setup import ORIGINAL, choice, label, run
from benchmark.matrix.options import Evaluation, SampleSizes
from benchmark.measure.instrument import DRAWS, open_instrument
from benchmark.measure.instrument import measure as measured
from benchmark.metrics import short_name
from benchmark.stats.intervals import median, median_interval

ANSWER = (
    "A finite difference along the gradient and the exact penalty are not separated on digits; "
    "along other directions a difference leaves the critic steeper than it should be."
)
CAPTION = (
    "Above, left: cosine between the parameter gradients of the finite difference along the "
    "gradient and of the exact penalty, over ε: solid at the initial weights, dashed once the "
    "critic is fitted and the penalty nearly met. Right: time of a critic step, in steps without a "
    "penalty, by depth. Below: classifier-FID (750) reached on digits (low is good) against the "
    "critic's true slope, one mark per form and λ, the median over seeds; a penalty that works "
    "holds the slope near 1."
)
UNDER: dict[str, Any] = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.2),
    "frameon": False,
    "fontsize": 8,
    "ncols": 2,
}
COLUMN = "fid_classifier_750"
WEIGHTS = (1.0, 10.0, 100.0)
# pairs -> colour
FAMILIES = {
    "exact": "#56B4E9",
    "gradient": "#D55E00",
    "independent": "#7A3A00",
    "segment": "#009E73",
    "endpoint": "#CC79A7",
    "local": "#999933",
}
MARKS: dict[str, Any] = {"two": "o", "one": "^", "signed": "s", "linear": "D"}
# forms whose cost is drawn -> colour
SHOWN = {
    "wgan_gp": "#56B4E9",
    "wgan_gp[method=jvp]": "#0072B2",
    "wgan_fdgp": "#D55E00",
    "wgan_fdgp[pairs=independent]": "#7A3A00",
    "wgan_fdgp[pairs=endpoint]": "#CC79A7",
}


def cases(full: bool) -> list[dict[str, Any]]:
    values = forms()
    found: list[dict[str, Any]] = [{"part": "linear", "values": values}]
    width = 512 if full else 64
    for activation in ("tanh", "relu"):
        found.append({"part": "step", "values": values, "activation": activation, "width": width})
    size: dict[str, Any] = {"width": 512 if full else 128, "compiled": full}
    for depth in (1, 3, 6, 12):
        found.append({"part": "cost", "values": values, "depth": depth, **size})
    found.append({"part": "floor"})
    size = {"steps": 2000, "width": 256} if full else {"steps": 60, "width": 128}
    weights = (0.1, *WEIGHTS, 1000.0) if full else WEIGHTS
    for value, weight, seed in itertools.product(values, weights, range(10 if full else 5)):
        # a method is another way to the same number
        if "method" not in value:
            weighted = {**value, "penalty_weight": weight}
            found.append({"part": "sweep", "value": weighted, "seed": seed, **size})
    return found


def measure(part: str, **case: Any) -> pd.DataFrame:
    """part, form; linear: dimensions, value, exact (of a slope of 3); step: critic, state, epsilon,
    value, exact, cosine; cost: depth, kept_mb, over_none, over_none_compiled; floor:
    fid; sweep: penalty_weight, seed, slope, slope_std, fid."""
    parts: dict[str, Callable[..., list[dict[str, Any]]]] = {
        "linear": linear,
        "step": step,
        "cost": cost,
        "floor": floor,
        "sweep": sweep,
    }
    frame = pd.DataFrame(parts[part](**case))
    frame.insert(0, "part", part)
    return frame


def floor() -> list[dict[str, Any]]:
    """The classifier-FID (750) of real digits, the mean over draws of them."""
    evaluation = Evaluation(extractor="classifier", n=SampleSizes(images=750))
    instrument = open_instrument(choice({"name": "digits"}, "dataset"), evaluation, "cpu")
    draws = [instrument.measure_real(draw) for draw in instrument.draws(DRAWS)]
    return [{"form": "real images", "fid": np.mean([reading[COLUMN].value for reading in draws])}]


def sweep(value: dict[str, Any], seed: int, steps: int, width: int) -> list[dict[str, Any]]:
    """A generator of digits trained under one form and weight: the critic's true slope, and
    the classifier-FID (750) at the end."""
    mlp = {"name": "mlp", "width": width, "depth": 2, "latent_dim": 32}
    training = {"steps": steps, "batch_size": 64}
    (snapshot,) = run({**value, "lr": 1e-3}, mlp, {"name": "digits"}, seed, [1.0], **training)
    form = {name: setting for name, setting in value.items() if name != "penalty_weight"}
    row = {"form": label(form), "penalty_weight": value["penalty_weight"], "seed": seed}
    fid = measured(snapshot, "cpu")[COLUMN][0]
    assert snapshot.row is not None
    slopes = {name: snapshot.row[name] for name in ("slope", "slope_std")}
    return [row | slopes | {"fid": fid}]


def draw(frame: pd.DataFrame) -> Figure:
    figure = plt.figure(figsize=(9.5, 9.5), layout="constrained")
    layout: Any = [["cosines", "costs"], ["sweep", "sweep"]]
    axes = figure.subplot_mosaic(layout, height_ratios=[1, 1.25])
    steps = frame[(frame["part"] == "step") & (frame["form"] == "wgan_fdgp")]
    _draw_cosines(axes["cosines"], steps)
    _draw_costs(axes["costs"], frame[(frame["part"] == "cost") & frame["form"].isin([*SHOWN])])
    _draw_sweep(axes["sweep"], swept(frame))
    return figure


def _draw_cosines(ax: Any, steps: pd.DataFrame) -> None:
    colours = {"tanh": "C0", "relu": "C3"}
    lines = {"initial": "-", "fitted": "--"}
    for (critic, state), rows in steps.groupby(["critic", "state"], sort=False):
        look: dict[str, Any] = {"color": colours[str(critic)], "linestyle": lines[str(state)]}
        ax.plot(rows["epsilon"], rows["cosine"], marker="o", label=f"{critic}, {state}", **look)
    ax.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    ax.set(xscale="log", ylim=(-1.05, 1.05), xlabel="distance ε of the two points")
    log_axis(ax.xaxis)
    ax.set_ylabel("cosine to the exact gradient")
    ax.set_title("Is it the same gradient?", loc="left", weight="bold", size=10)
    ax.legend(**UNDER)


def _draw_costs(ax: Any, costs: pd.DataFrame) -> None:
    for form, rows in costs.groupby("form", sort=False):
        look: dict[str, Any] = {"marker": "o", "markersize": 4, "color": SHOWN[str(form)]}
        ax.plot(rows["depth"], rows["over_none"], label=form, **look)
    ax.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    ax.set(xlabel="hidden layers of the critic", ylim=(0, None), xticks=sorted(set(costs["depth"])))
    ax.set_ylabel("time ÷ a step without penalty")
    ax.set_title("What does a critic step cost?", loc="left", weight="bold", size=10)
    ax.legend(**UNDER)


def _draw_sweep(ax: Any, runs: pd.DataFrame) -> None:
    for row in runs.to_dict("records"):
        look = {"color": FAMILIES.get(row["pairs"], "0.3"), "marker": MARKS.get(row["sided"], "*")}
        edge = {"edgecolors": "white", "linewidths": 0.5, "alpha": 0.85}
        ax.scatter(row["slope"], row["fid"], s=_size(row["penalty_weight"]), **look, **edge)
    ax.axvline(1, color="0.5", linestyle=":")
    ax.set(xscale="log", yscale="log", ylabel=short_name(COLUMN))
    ax.set_xlabel("true slope ‖∇D(x̂)‖ of the critic (dotted: 1)")
    log_axis(ax.xaxis)
    log_axis(ax.yaxis)
    ax.set_title("What comes of it in training?", loc="left", weight="bold", size=10)
    pairs = [ax.scatter([], [], color=colour, label=name) for name, colour in FAMILIES.items()]
    sides = [ax.scatter([], [], color="0.4", marker=m, label=name) for name, m in MARKS.items()]
    weights = []
    for weight in sorted(set(runs["penalty_weight"])):
        weights.append(ax.scatter([], [], color="0.4", s=_size(weight), label=f"{weight:g}"))
    handles = []
    for head, marks in {"pairs": pairs, "side": sides, "λ": weights}.items():
        handles += [ax.scatter([], [], color="none", label=f"{head}:"), *marks]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)


def _size(weight: float) -> Any:
    """The area of a mark, in points², by λ."""
    return 30 * (1.5 + np.log10(weight))


def swept(frame: pd.DataFrame) -> pd.DataFrame:
    """form, penalty_weight, pairs, sided; median over seeds of slope and fid; diff, low, high: of
    fid less that of the exact penalty at λ = 10, seed by seed, its median and interval."""
    rows = frame[frame["part"] == "sweep"]
    fids = rows.pivot(index=["form", "penalty_weight"], columns="seed", values="fid")
    differences = (fids - fids.xs(("wgan_gp", 10.0))).to_numpy()
    low, high = median_interval(differences)
    means = rows.groupby(["form", "penalty_weight"], sort=False)[["slope", "fid"]].median()
    runs = means.loc[fids.index].assign(diff=median(differences), low=low, high=high).reset_index()
    runs["pairs"] = runs["form"].str.extract(r"pairs=(\w+)")[0].fillna("gradient")
    runs.loc[~runs["form"].str.startswith("wgan_fdgp"), "pairs"] = "exact"
    return runs.assign(sided=runs["form"].str.extract(r"sided=(\w+)")[0].fillna("two"))


def finding(frame: pd.DataFrame) -> str:
    cosine = _cosines_at(frame, epsilon=0.1)
    runs = swept(frame)
    at_ten = runs[runs["penalty_weight"] == 10.0].set_index("form").to_dict("index")
    exact = at_ten["wgan_gp"]
    default = at_ten["wgan_fdgp"]
    original = at_ten[label(ORIGINAL)]
    differences = runs[runs["pairs"] != "exact"].sort_values("fid")
    without_gradient = differences[differences["pairs"] != "gradient"]
    real = frame.loc[frame["part"] == "floor", "fid"].iloc[0]
    best = differences.iloc[0].to_dict()
    cheap = without_gradient.iloc[0].to_dict()
    caution = ""
    is_other_side = best["pairs"] == "gradient" and best["sided"] != default["sided"]
    if is_other_side and _holds_zero(default) and _holds_zero(best):
        caution = (
            ". Neither side of the penalty along the gradient is separated from the exact form, "
            "which does not show that they are equal"
        )
    return (
        "Along the gradient, at ε = 0.1, the finite difference has the exact penalty's parameter "
        "gradient on a smooth critic at its initial weights (cosine "
        f"{cosine['tanh', 'initial']:.3f}), less so once it is fitted "
        f"({cosine['tanh', 'fitted']:.2f}), and hardly across kinks "
        f"({cosine['relu', 'initial']:.2f} and {cosine['relu', 'fitted']:.2f}). In training it "
        f"holds the slope at {default['slope']:.2f} all the same and reaches {short_name(COLUMN)} "
        f"{short(default['fid'])}, the exact penalty {exact['slope']:.2f} and "
        f"{short(exact['fid'])} (difference {_interval(default)} over "
        f"{frame['seed'].nunique():.0f} seeds), the original form {original['slope']:.1f} and "
        f"{short(original['fid'])}; real images get {short(real)}. Differences along other "
        f"directions leave true slopes of {_slopes_by_side(without_gradient)}, over all λ. The "
        "lowest value of a difference is "
        f"{short(best['fid'])} (pairs = {best['pairs']}, sided = {best['sided']}, "
        f"λ = {best['penalty_weight']:g}; from the exact one's {_interval(best)}), without a "
        f"gradient {short(cheap['fid'])} ({cheap['pairs']}, {cheap['sided']}, "
        f"λ = {cheap['penalty_weight']:g}){caution}."
    )


def _cosines_at(frame: pd.DataFrame, epsilon: float) -> dict[Any, float]:
    """Cosines of the difference along the gradient, by (critic, state)."""
    steps = frame[(frame["part"] == "step") & (frame["form"] == "wgan_fdgp")]
    cosines = steps.set_index(["critic", "state", "epsilon"])["cosine"]
    return cosines.xs(epsilon, level="epsilon").to_dict()


def _slopes_by_side(runs: pd.DataFrame) -> str:
    """The range of true slopes under each side of the penalty."""
    slopes = runs.groupby("sided")["slope"].agg(["min", "max"])
    spans = [
        f"{row['min']:.1f} to {row['max']:.1f} {side}-sided" for side, row in slopes.iterrows()
    ]
    return ", ".join(spans).replace("signed-sided", "signed")


def _holds_zero(run: dict[Any, Any]) -> bool:
    """Whether the interval of a run's difference holds 0."""
    return run["low"] < 0 < run["high"]


def _interval(run: dict[Any, Any]) -> str:
    return f"{run['diff']:+.2f} [{run['low']:+.2f}, {run['high']:+.2f}]"
