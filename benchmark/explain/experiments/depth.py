"""Does the gradient survive a deep critic?

Gulrajani et al. 2017 (arXiv:1704.00028, figure 1b and section 3): when every weight is held within
±c, the gradient is multiplied by about the same factor at each layer on its way back, so that over
twelve layers it grows or vanishes exponentially, whatever c is; under the gradient penalty it stays
as it is.

A ReLU critic of twelve hidden layers of 512 units without normalisation, on the Swiss roll against
the same with unit normal noise, trained by each objective's own paper's optimiser for 150 steps, in
full 10,000 (the paper trains a generator as deep beside it: here it is held). Measured in float64:
the norm of the derivative of the mean score difference by each layer's output. Only objectives that
bound the critic take part, clipping at three values of c."""

import copy
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmark.drawing.style import style
from benchmark.explain.setup import (
    bounding,
    choice,
    label,
    make_critic,
    noised,
    train_critic,
)
from benchmark.train.build import make_objective

ANSWER = (
    "Under weight clipping the gradient of a deep critic vanishes or explodes; under a "
    "gradient penalty or spectral norm it does neither."
)
CAPTION = (
    "Norm of the gradient at the output of each layer of the trained critic, input on the left, "
    "score on the right, on a logarithmic axis. A slope is exponential growth or decay on the way "
    "back from right to left; flat is healthy. Grey: before training, without clipping or a norm "
    "of the weights."
)
CLIPS = (0.1, 0.01, 0.001)
DEPTH = 12


def cases(full: bool) -> list[dict[str, Any]]:
    size = {"steps": 10_000, "batch_size": 256} if full else {"steps": 150, "batch_size": 64}
    values: list[dict[str, Any]] = [{"name": "wgan", "clip": clip} for clip in CLIPS]
    values += [value for value in bounding() if make_objective(choice(value)).clip is None]
    return [{"value": value, **size} for value in values]


def measure(value: dict[str, Any], steps: int, batch_size: int, width: int = 512) -> pd.DataFrame:
    """objective, step (0, 1 and all critic steps), layer (1: nearest the input; the last one's
    output is the score), gradient; and decades, log10 of the first layer's gradient over the last
    hidden one's, the same for a step."""
    objective = make_objective(choice(value))
    D = make_critic(value, (2,), width=width, depth=DEPTH)
    real, fake = noised("swissroll", 512)(torch.Generator().manual_seed(1))
    batches = noised("swissroll", batch_size)
    frames = []
    for step in train_critic(objective, D, batches, steps, objective.recipe):
        if step in (0, 1, steps):
            norms = gradients(D, real, fake)
            layers = range(1, 1 + len(norms))
            rows = pd.DataFrame({"step": step, "layer": layers, "gradient": norms})
            rows.insert(0, "objective", _shown(value))
            with np.errstate(divide="ignore"):
                decades = np.log10(np.divide(norms[0], norms[-2]))
            frames.append(rows.assign(decades=decades))
    return pd.concat(frames)


def _shown(value: dict[str, Any]) -> str:
    """The objective's label; under clipping always with c, which is the point here."""
    objective = make_objective(choice(value))
    if objective.clip is not None:
        return f"{value['name']}[clip={objective.clip:g}]"
    return label(value)


def gradients(D: nn.Module, real: Tensor, fake: Tensor) -> list[float]:
    """The norm of ∂(E D(fake) − E D(real)) / ∂ output of each linear layer, in float64, in the
    order of the layers."""
    D = copy.deepcopy(D).double()
    outputs: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    for module in D.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(keep)
    both = D(torch.cat([fake, real]).double())
    (both[: len(fake)].mean() - both[len(fake) :].mean()).backward()
    return [output.grad.norm().item() for output in outputs if output.grad is not None]


def draw(frame: pd.DataFrame) -> Figure:
    figure = plt.figure(figsize=(8.5, 4.8), layout="constrained")
    ax = figure.subplots()
    start = frame[(frame["step"] == 0) & (frame["objective"] == "wgan_gp")]
    ax.plot(start["layer"], start["gradient"], color="0.75", linewidth=4, label="before training")
    last = frame[frame["step"] == frame["step"].max()]
    for name, rows in last.groupby("objective", sort=False):
        ax.plot(rows["layer"], rows["gradient"], label=name, **style(str(name)) | {"markersize": 4})
    ax.set(yscale="log", xlabel="layer", ylabel="norm of the gradient at its output")
    ax.set_xticks(range(1, DEPTH + 2))
    figure.legend(loc="outside right upper")
    return figure


def finding(frame: pd.DataFrame) -> str:
    decades = _decades(frame, frame["step"].max())
    after_one = _decades(frame, 1)
    clipped = [name for name in decades.index if name.startswith("wgan[")]
    others = decades.drop(clipped)
    changes = [
        f"{decades[name]:+.1f} under {name} ({after_one[name]:+.1f} after the first step)"
        for name in clipped
    ]
    return (
        "From the last hidden layer back to the first the gradient changes by these decades "
        f"(powers of ten): {', '.join(changes)}; under penalties and spectral norm by "
        f"{others.min():+.1f} to {others.max():+.1f}. At c = 0.01, the published default, a share "
        f"of {10 ** decades['wgan[clip=0.01]']:.0e} reaches the first layer; where it vanishes, "
        "the first clip of the initial weights is enough, and where it explodes, training is what "
        "does it."
    )


def _decades(frame: pd.DataFrame, step: int) -> pd.Series:
    """The decades of each objective after a critic step."""
    return frame[frame["step"] == step].groupby("objective", sort=False)["decades"].first()
