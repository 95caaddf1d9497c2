"""What does the critic see of the data?

Gulrajani et al. 2017 (arXiv:1704.00028, figure 1a and section 3) hold the generator at the data
plus unit normal noise and look at the critic's value surface: under weight clipping it is a very
simple function that misses the higher moments of the data, under the gradient penalty it is not.

Here the same for every objective on 8 Gaussians, 25 Gaussians and the Swiss roll: a ReLU critic of
three hidden layers, trained for 1,000 steps by the objective's own paper's optimiser (in full for
50,000; the paper: to optimality); WGAN-GP also at λ = 0.1, as in the authors' toy script. What the
critic has seen of the data's fine structure is one number, its contrast: by how much the score
falls, on average, when a data point is moved by normal noise of σ 0.1, in standard deviations of
the surface over the square. A surface that follows nothing but where the data lies as a whole has
little of it."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import variants
from benchmark.drawing.style import wrap
from benchmark.explain.setup import choice, label, make_critic, noised, objectives, train_critic
from benchmark.train.build import make_objective

ANSWER = (
    "A critic under weight clipping sees less of the fine structure of most of these data "
    "sets than one under a gradient penalty."
)
CAPTION = (
    "The critic's score over the plane, light where it finds points real, each panel on its own "
    "scale; orange: data. Below each panel its contrast: the fall of the score when a data point "
    "moves by noise of σ 0.1, in the surface's standard deviations."
)
# the λ of the authors' toy script; the paper says 10
TOY = {"name": "wgan_gp", "penalty_weight": 0.1}
DATASETS = ("gaussians8", "gaussians25", "swissroll")
NEARBY = 0.1  # σ of the noise that moves the data for the contrast
SIDE = 2.0  # half the side of the square
POINTS = 33  # of the grid, per side
COLUMNS = 8  # of the figure


def cases(full: bool) -> list[dict[str, Any]]:
    size = {"steps": 1000, "width": 128}
    if full:
        size = {"steps": 50_000, "width": 512, "batch_size": 256}
    found = []
    for value in [*objectives(), TOY]:
        for dataset in DATASETS:
            found.append({"value": value, "dataset": dataset, **size})
    return found


def measure(
    value: dict[str, Any], dataset: str, steps: int, width: int, batch_size: int = 128
) -> pd.DataFrame:
    """objective, dataset, x, y, score; and, the same on every row, contrast."""
    objective = make_objective(choice(value))
    D = make_critic(value, (2,), width=width, depth=3)
    for _ in train_critic(objective, D, noised(dataset, batch_size), steps, objective.recipe):
        pass
    side = torch.linspace(-SIDE, SIDE, POINTS, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        scores = D.double()(grid)
    data = variants.load("datasets", dataset).Dataset().holdout()[:5000].double()
    rounded = [float(f"{score:.4g}") for score in scores]
    frame = pd.DataFrame({"x": grid[:, 0], "y": grid[:, 1], "score": rounded})
    frame.insert(0, "objective", label(value))
    frame.insert(1, "dataset", dataset)
    return frame.assign(contrast=contrast(D, data) / scores.std().item())


@torch.no_grad()
def contrast(D: nn.Module, data: Tensor) -> float:
    """How much the mean score of points (n, 2) falls when each moves by normal noise of NEARBY."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(10 * len(data), 2, generator=generator)
    moved = data.repeat(10, 1) + NEARBY * noise
    return (D(data).mean() - D(moved).mean()).item()


def draw(frame: pd.DataFrame) -> Figure:
    names = list(frame["objective"].unique())
    datasets = list(frame["dataset"].unique())
    rows = -(-len(names) // COLUMNS) * len(datasets)
    figure = plt.figure(figsize=(1.75 * COLUMNS, 2.05 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for index, name in enumerate(names):
        block, column = divmod(index, COLUMNS)
        for i, dataset in enumerate(datasets):
            ax = axes[block * len(datasets) + i, column]
            ax.set_axis_on()
            is_shown = (frame["objective"] == name) & (frame["dataset"] == dataset)
            data = variants.load("datasets", dataset).Dataset().holdout()[:400]
            _draw_surface(ax, frame[is_shown], data)
            if column == 0:
                ax.set_ylabel(dataset)
            if i == 0:
                ax.set_title(wrap(name), size=9)
    return figure


def _draw_surface(ax: Any, rows: pd.DataFrame, data: Tensor) -> None:
    scores = rows.pivot(index="y", columns="x", values="score")
    colours = plt.get_cmap("viridis")
    filled = ax.contourf(scores.columns, scores.index, scores, levels=14, cmap=colours)
    filled.set_rasterized(True)  # a tenth of the file's size
    ax.scatter(*data.T, s=1.2, color="#FF9F40", linewidths=0)
    ax.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), xticks=[], yticks=[], aspect="equal")
    ax.set_xlabel(f"{rows['contrast'].iloc[0]:.3f}")


def finding(frame: pd.DataFrame) -> str:
    surfaces = frame.drop_duplicates(["objective", "dataset"])
    contrasts = surfaces.pivot(index="objective", columns="dataset", values="contrast")
    toy = label(TOY)
    span = {name: f"{row.min():.3f} to {row.max():.3f}" for name, row in contrasts.iterrows()}
    lower = (contrasts.loc["wgan"] < contrasts.loc["wgan_gp"]).sum()
    lower_toy = (contrasts.loc["wgan"] < contrasts.loc[toy]).sum()
    return (
        f"The contrast is {span['wgan']} under clipping, {span['wgan_gp']} under wgan_gp at "
        f"λ = 10, {span[toy]} at λ = 0.1 and {span['nonsaturating']} without any bound "
        "(nonsaturating). So clipping sees less of the fine structure than wgan_gp on "
        f"{lower_toy} of {contrasts.shape[1]} datasets at the λ of the authors' script, on "
        f"{lower} at that of their paper."
    )
