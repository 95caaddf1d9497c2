"""What does the smallest game do?

Mescheder et al. 2018 (arXiv:1801.04406) reduce the game to three numbers. The data is the point 0,
the generator the point θ, the critic the line D(x) = ψx + φ; both players are right at θ = 0, ψ =
0. The eigenvalues of the field that they follow say what happens near it: a negative real part
draws them in, a positive one drives them away, and without a real part they turn in circles, which
every discrete step of simultaneous gradient descent widens.

Nothing is trained on data. The field is that of each objective's own losses, its Jacobian is taken
by automatic differentiation in float64 at the equilibrium. Paths begin at θ = ψ = 1 and are made by
the suite's own training steps: gradient descent with a step of 0.1, both players at once or in
turn, and the objective's own paper's optimiser and critic steps at a rate of 0.02. Below, for a
rotation without a real part: the factor by which five update rules change the distance per step
(optimistic: Daskalakis et al. 2018, arXiv:1711.00141), and where a moving average of the generator
goes.

The same game between an affine generator and a quadratic critic, where the data is N(1, ½²), has
four numbers, and four eigenvalues at the solution. In full, networks are trained too (gaussians8,
MLPs of 64 units, 1,000 steps of RMSProp at 0.005, a rate at which runs fail). Half-way, the
eigenvalue with the largest real part of their field on 2,048 samples is found by Arnoldi's
iteration, matrix-free: does it say which runs fail in the other half? Runs are compared with those
of the same objective alone; a run that had failed before, or had diverged, is left out.

A line cannot have the shape that a bound on the slope asks for, |x − 0| at the data; that
a two-sided penalty fails here is the line's failure too, and value surfaces show the other side."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

import variants
from benchmark.drawing.style import style, wrap
from benchmark.explain.dirac_game import averaged_radius, equilibrium, field, flow, moduli, path
from benchmark.explain.setup import choice, label
from benchmark.explain.trained_game import BLOCKS, draw_trained, in_words, measure_trained
from benchmark.explain.vector_field import linear_quadratic
from benchmark.train.build import make_objective
from variants.objectives import Recipe

ANSWER = (
    "Without a penalty or noise no force that is linear in the distance draws the players to the "
    "data: they circle it, or approach it ever more slowly; a zero-centred penalty (R1, R2) brings "
    "them there, and a two-sided one with a target of 1 takes a generator with a straight critic "
    "away."
)
CAPTION = (
    "Each panel: the field of θ (right) and ψ (up), at the equilibrium's φ, with its eigenvalues; "
    "blue: gradient descent at once, orange: in turn, green: the paper's optimiser, all from the "
    "black dot; the star is the solution. Where the equilibrium is elsewhere, its θ is named. "
    "Below: the factor per step by which update rules change the distance on a rotation, over the "
    "angle of a step (above 1 they leave); a moving average of a generator that circles; and the "
    "eigenvalues where data has a width. In full: the leading eigenvalue half-way, by what became "
    "of the run."
)
PEARSON = {"name": "lsgan", "a": -1.0, "b": 1.0, "c": 0.0}
ONE_SIDED = {"name": "wgan_gp", "sided": "one"}
START = (1.0, 1.0)
STEP = 0.1  # of gradient descent
RATE = 0.02  # of the papers' optimisers
LONG = 100.0  # time of the flow
SIDE = 2.4  # half the side of a panel
POINTS = 13  # of the field, per side
COLUMNS = 5  # of the figure
# the kinds of paths, and their colours
PATHS = {"simultaneous": "#0072B2", "alternating": "#E69F00", "paper": "#009E73"}
DECAY = 0.99  # of the average
ANGLE = 0.05  # of a step on the circle
ANGLES = np.linspace(0, 2.2, 111)


def cases(full: bool) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = [{"name": name} for name in variants.names("objectives")]
    steps = 2000 if full else 200
    found: list[dict[str, Any]] = []
    for value in [*values, PEARSON, ONE_SIDED]:
        found.append({"value": value, "steps": steps})
    # all objectives with some seeds first: a run that ends early can be read
    for seeds in BLOCKS if full else ():
        found += [{"value": value, "seeds": seeds} for value in values]
    return found


def measure(value: dict[str, Any], steps: int = 0, seeds: list[int] | None = None) -> pd.DataFrame:
    """objective, part, kind, x, y, dx, dy, real, imaginary: of the smallest game, or with seeds the
    rows of `measure_trained`. part eigenvalue: kind (pair, of the field in θ, ψ, or phi), real and
    imaginary, x the equilibrium's θ, y its φ. normal: the eigenvalues of the game on N(1, ½²), none
    where the field does not rest at the solution. field: (dx, dy) at (x, y). path: θ and ψ, kind of
    PATHS. end, where the equilibrium is not at θ = 0: of the flow from (1, 1), kind above, and (1,
    −1), kind below; x θ, y ψ."""
    objective = make_objective(choice(value))
    if seeds:
        frame = measure_trained(value, objective, seeds)
    else:
        frame = pd.DataFrame(_rows(objective, steps)).round(6)
    frame.insert(0, "objective", label(value))
    return frame


def _rows(objective: Any, steps: int) -> Iterator[dict[str, Any]]:
    resting = equilibrium(objective)
    at = {"x": resting.theta, "y": resting.phi}
    for found in resting.eigenvalues:
        yield {"part": "eigenvalue", "kind": "pair", **at, **_parts(found)}
    yield {"part": "eigenvalue", "kind": "phi", **at, "real": resting.of_phi}
    for found in linear_quadratic(objective, resting.phi):
        yield {"part": "normal", **_parts(found)}
    for x in np.linspace(-SIDE, SIDE, POINTS):
        # no line of the grid lies on ψ = 0, where a field may jump
        for y in np.linspace(-SIDE, SIDE, POINTS + 1):
            state = torch.tensor([x, y, resting.phi], dtype=torch.float64)
            dx, dy, _ = field(objective, state).tolist()
            yield {"part": "field", "x": x, "y": y, "dx": dx, "dy": dy}
    for kind in PATHS:
        for x, y in _path(objective, resting.phi, kind, steps):
            yield {"part": "path", "kind": kind, "x": x, "y": y}
    starts = {"above": 1.0, "below": -1.0} if resting.theta else {}
    for kind, psi in starts.items():
        end = flow(objective, (1.0, psi, resting.phi), np.array([0.0, LONG]))[-1]
        yield {"part": "end", "kind": kind, "x": end[0], "y": end[1]}


def _parts(eigenvalue: complex) -> dict[str, float]:
    return {"real": eigenvalue.real, "imaginary": eigenvalue.imag}


def _path(objective: Any, phi: float, kind: str, steps: int) -> np.ndarray:
    """Every fifth point (θ, ψ) of a path."""
    start = (*START, phi)
    if kind != "paper":
        recipe = Recipe("sgd", STEP)
        found = path(objective, start, recipe, steps, simultaneous=kind == "simultaneous")
        return found[::5]
    given = objective.recipe
    recipe = Recipe(given.optimizer, RATE, given.betas, given.alpha, given.eps)
    return path(objective, start, recipe, steps, d_steps=objective.d_steps(1))[::5]


def draw(frame: pd.DataFrame) -> Figure:
    names = list(frame["objective"].unique())
    lines = -(-len(names) // COLUMNS)
    trained = frame[frame["part"] == "trained"]
    heights = [2.9 * lines, 3.4] if trained.empty else [2.9 * lines, 3.4, 3.4]
    figure = plt.figure(figsize=(2.6 * COLUMNS, sum(heights)), layout="constrained")
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    portraits, below = parts[:2]
    axes = list(portraits.subplots(lines, COLUMNS, squeeze=False).flat)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes, names, strict=False):
        _draw_portrait(ax, str(name), frame[frame["objective"] == name])
    rules, average, normal = below.subplots(1, 3, width_ratios=[2, 1, 2])
    _draw_rules(rules)
    _draw_average(average)
    _draw_normal(normal, frame[frame["part"] == "normal"])
    if not trained.empty:
        draw_trained(parts[2].subplots(), trained)
    return figure


def _draw_portrait(ax: Any, name: str, rows: pd.DataFrame) -> None:
    points = rows[rows["part"] == "field"]
    dx, dy = (points.pivot(index="y", columns="x", values=part) for part in ("dx", "dy"))
    look = {"color": "0.75", "density": 0.7, "linewidth": 0.6, "arrowsize": 0.6}
    ax.streamplot(dx.columns, dx.index, dx.to_numpy(), dy.to_numpy(), **look)
    paths = rows[rows["part"] == "path"]
    for kind, colour in PATHS.items():
        steps = paths[paths["kind"] == kind]
        ax.plot(steps["x"], steps["y"], color=colour, linewidth=1)
    ax.plot(*START, "ko", markersize=4)
    ax.plot(0, 0, "k*", markersize=8)
    ax.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), xticks=[], yticks=[], aspect="equal")
    ax.set_title(f"{wrap(name)}\n{_in_words(rows)}", size=8)


def _in_words(rows: pd.DataFrame) -> str:
    """The eigenvalues of an objective, and where they are taken if not at θ = 0."""
    text, theta = _values(rows), rows.loc[rows["part"] == "eigenvalue", "x"].iloc[0]
    return text if theta == 0 else f"{text} at θ = {theta:.3g}"


def _values(rows: pd.DataFrame) -> str:
    found = _eigenvalues(rows)
    first = found.iloc[0]
    if first["imaginary"] > 0:
        sign = f"{first['real']:.3g} " if first["real"] else ""
        return f"{sign}± {first['imaginary']:.3g} i"
    return ", ".join(f"{real:.3g}" for real in found["real"])


def _eigenvalues(rows: pd.DataFrame) -> pd.DataFrame:
    """The eigenvalues of the field in (θ, ψ), without rounding errors."""
    found = rows[(rows["part"] == "eigenvalue") & (rows["kind"] == "pair")].copy()
    small = found[["real", "imaginary"]].abs() < 1e-5
    found[["real", "imaginary"]] = found[["real", "imaginary"]].mask(small, 0.0)
    return found


def _draw_rules(ax: Any) -> None:
    for name, factor in moduli(ANGLES).items():
        ax.plot(ANGLES, factor, label=name)
    ax.axhline(1, color="0.4", linewidth=1, linestyle=":")
    ax.set(xlabel="angle of a step (step length × ω)", ylabel="factor per step", ylim=(0, 2.2))
    ax.legend(loc="upper left", ncols=2)


def _draw_average(ax: Any) -> None:
    turns = np.exp(1j * ANGLE * np.arange(400))
    average = turns[0]
    followed = [average]
    for turn in turns[1:]:
        average = DECAY * average + (1 - DECAY) * turn
        followed.append(average)
    for values, text in ((turns, "players"), (np.array(followed), f"average, decay {DECAY}")):
        ax.plot(values.real, values.imag, label=text)
    ax.set(aspect="equal", xticks=[], yticks=[], ylim=(-1.1, 1.6))
    ax.legend(loc="upper center", ncols=2)


def _draw_normal(ax: Any, rows: pd.DataFrame) -> None:
    for name, found in rows.groupby("objective", sort=False):
        look = style(str(name))
        points = {"linestyle": "", "color": look["color"], "alpha": 0.7, "label": str(name)}
        ax.plot(found["real"], found["imaginary"], marker=look["marker"], **points)
    ax.axvline(0, color="0.4", linewidth=1, linestyle=":")
    ax.set_xscale("symlog", linthresh=0.1)
    ax.set(xlabel="real part", ylabel="imaginary part", title="data of a width", ylim=(-3, 7))
    ax.legend(loc="upper left", ncols=2, fontsize=6)


def table(frame: pd.DataFrame) -> list[dict[str, str]]:
    """The equilibrium and the eigenvalues of every objective: rows by column."""
    found = frame[frame["part"] == "eigenvalue"]
    return [_row(str(name), rows) for name, rows in found.groupby("objective", sort=False)]


def _row(name: str, rows: pd.DataFrame) -> dict[str, str]:
    at = rows.iloc[0]
    of_phi = rows.loc[rows["kind"] == "phi", "real"].item()
    return {
        "objective": name,
        "θ at the equilibrium": f"{at['x']:.3g}",
        "φ": f"{at['y']:.3g}",
        "eigenvalues of (θ, ψ)": _values(rows),
        "eigenvalue of φ": "not separate" if np.isnan(of_phi) else f"{of_phi:.3g}",
    }


def finding(frame: pd.DataFrame) -> str:
    pairs = {str(name): _eigenvalues(rows) for name, rows in frame.groupby("objective")}
    circling = [name for name, found in pairs.items() if (found["real"] == 0).all()]
    drawn = [name for name, found in pairs.items() if _rests_at_data(found)]
    ends = frame[frame["part"] == "end"].set_index(["objective", "kind"])["x"]
    away = list(ends.index.unique("objective"))
    named = [f"{name} to {ends[name, 'above']:.1f} and {ends[name, 'below']:.1f}" for name in away]
    r1 = pairs["r1"]["real"].max()
    paired = pairs["rpgan_r1r2"]["real"].max()
    return (
        f"No real part, and so no linear pull, at the solution: {', '.join(circling)} (what is of "
        "higher order may still pull, as under nonsaturating, whose distance falls as 1/√t). "
        f"{_without_force(pairs)}Drawn to it: "
        f"{', '.join(drawn)} (slowest eigenvalue {r1:.3f} under r1 at its γ = 10, {paired:.3f} "
        f"under rpgan_r1r2 at γ = 1; the best γ are 1 and ½). The flow from θ = 1, ψ = ±1 takes "
        f"the generator away from the data under {', '.join(named)}: where a penalty pulls the "
        "slope to 1 from below, ψ has no rest at 0, and θ goes on until both forces agree, 2λ from "
        f"the data for a Wasserstein loss. (Time {LONG:g}; where forces are weak they have not "
        "agreed yet.) A one-sided penalty does not do that. On a circle the "
        f"average of decay {DECAY} has {averaged_radius(DECAY, ANGLE):.3f} of the players' radius "
        f"at {ANGLE} a step: averaging hides the rotation, it does not end it. {_of_width(frame)}"
        f"{in_words(frame[frame['part'] == 'trained'])}"
    )


def _without_force(pairs: dict[str, pd.DataFrame]) -> str:
    """Which objectives have no eigenvalue but 0."""
    found = [name for name, of in pairs.items() if not of[["real", "imaginary"]].to_numpy().any()]
    return f"No turn either, and so no force on θ: {', '.join(found)}. " if found else ""


def _of_width(frame: pd.DataFrame) -> str:
    slowest = frame[frame["part"] == "normal"].groupby("objective")["real"].max()
    drawn = slowest[slowest < -1e-5]
    circling = slowest[slowest.abs() <= 1e-5]
    named = [f"{name} {real:.3f}" for name, real in drawn.items()]
    return (
        "Where data has a width, the critic's own curvature damps the game (largest real part of "
        f"four: {', '.join(named)}), but not that of a critic without one: "
        f"{', '.join(circling.index)}."
    )


def _rests_at_data(found: pd.DataFrame) -> bool:
    return bool((found["x"] == 0).all() and (found["real"] < 0).all())
