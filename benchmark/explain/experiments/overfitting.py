"""Does the critic learn the data, or its samples?

Gulrajani et al. 2017 (arXiv:1704.00028, figure 5b): with only 1,000 images and a large critic the
critic's loss on the training images parts from that on held-out ones: it knows the images by heart,
and what it tells the generator is no longer about the data. It happens under clipping, too.

Digits of 8×8 pixels, 1,000 for training and 797 held out (in full: 1,000 images of MNIST). Critic
and generator are ReLU networks of three hidden layers without normalisation (hinge: spectral norm),
each objective with its own paper's optimiser, all with the same number of critic steps. The
critic's loss is taken on both splits with the same generated samples and the same noise. Losses
have different units, so the gap is given in one that all share: how far the mean score of the
held-out images has moved from that of the training images towards that of the generated ones; 0:
held-out images look as real as training images, 1: they look generated."""

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmark.drawing.style import style, wrap
from benchmark.explain.setup import choice, final, label, objectives, run
from benchmark.train.build import make_objective
from benchmark.train.data import floats_of, make_dataset
from benchmark.train.snapshot import Snapshot

ANSWER = (
    "Every critic comes to know its training images: it scores held-out ones lower, by far "
    "the most under minimax, non-saturating and least-squares losses."
)
CAPTION = (
    "Top: the critic's loss on training (line) and held-out images (dashed) over the critic's "
    "steps, mean over the seeds. Below: how far held-out images have moved from training towards "
    "generated ones in the critic's eyes, one line per seed; 0: no difference, 1: held-out images "
    "look generated."
)
IMAGES = 1000
BATCH_SIZE = 64
NAMED = ("nonsaturating", "wgan", "wgan_gp")  # in the finding
LOSSES = ["d_loss_train", "d_loss_holdout"]


def cases(full: bool) -> list[dict[str, Any]]:
    size: dict[str, Any] = {"dataset": {"name": "digits"}, "critic_steps": 1000, "width": 256}
    if full:
        mnist = {"name": "mnist", "n_train": IMAGES}
        size = {"dataset": mnist, "critic_steps": 100_000, "width": 1024}
    found = []
    for value in objectives():
        for seed in range(5 if full else 2):
            found.append({"value": value, "seed": seed, **size})
    return found


def measure(
    value: dict[str, Any], seed: int, dataset: dict[str, Any], critic_steps: int, width: int
) -> pd.DataFrame:
    """One row per tenth of the run: objective, seed, critic_steps, d_loss_train, d_loss_holdout,
    moved."""
    objective = make_objective(choice(value))
    mlp = {"name": "mlp", "width": width, "depth": 3, "latent_dim": 64}
    tenths = [tenth / 10 for tenth in range(11)]
    training = {"steps": critic_steps // objective.d_steps(1), "batch_size": BATCH_SIZE}
    rows = []
    for snapshot in run(value, mlp, dataset, seed, tenths, **training):
        steps = snapshot.samples_seen // BATCH_SIZE
        row = {"objective": label(value), "seed": seed, "critic_steps": steps}
        rows.append(row | judged(snapshot, objective))
    return pd.DataFrame(rows)


def judged(snapshot: Snapshot, objective: Any) -> dict[str, float]:
    """d_loss_train, d_loss_holdout and moved of a critic; moved is NaN where the critic does not
    tell training images from generated ones."""
    data = make_dataset(snapshot.cell.dataset)
    n = min(IMAGES, len(data.holdout()))
    to_floats = floats_of(data)
    train = to_floats(data.train()[:n])
    holdout = to_floats(data.holdout()[:n])
    fake = to_floats(snapshot.sample(n))
    noise = objective.draw(fake, torch.Generator().manual_seed(snapshot.g_steps))
    d_loss_train = objective.d_loss(snapshot.D, train, fake, noise).item()
    d_loss_holdout = objective.d_loss(snapshot.D, holdout, fake, noise).item()
    with torch.no_grad():
        of_train = snapshot.D(train).mean().item()
        of_holdout = snapshot.D(holdout).mean().item()
        of_fake = snapshot.D(fake).mean().item()
    moved = math.nan
    if snapshot.g_steps and of_train > of_fake:
        moved = (of_train - of_holdout) / (of_train - of_fake)
    return {"d_loss_train": d_loss_train, "d_loss_holdout": d_loss_holdout, "moved": moved}


def draw(frame: pd.DataFrame) -> Figure:
    names = list(frame["objective"].unique())
    figure = plt.figure(figsize=(1.9 * len(names), 4.6), layout="constrained")
    axes = figure.subplots(2, len(names), squeeze=False, sharex=True)
    highest = max(0.5, 1.1 * frame["moved"].max())
    for (top, below), name in zip(axes.T, names, strict=True):
        rows = frame[frame["objective"] == name]
        colour = style(str(name))["color"]
        losses = rows[rows["critic_steps"] > 0].groupby("critic_steps")[LOSSES].mean()
        top.plot(losses.index, losses["d_loss_train"], color=colour, linewidth=2)
        top.plot(losses.index, losses["d_loss_holdout"], color=colour, linewidth=2, linestyle="--")
        for _, one_seed in rows.groupby("seed"):
            below.plot(one_seed["critic_steps"], one_seed["moved"], color=colour, linewidth=1.2)
        top.set_title(wrap(str(name)), size=9)
        below.set(ylim=(-0.1, highest), xlabel="critic steps")
        below.tick_params(labelleft=below is axes[1, 0])
        below.axhline(0, color="0.6", linewidth=0.8)
    axes[0, 0].set_ylabel("critic loss")
    axes[1, 0].set_ylabel("held-out moved\ntowards generated")
    return figure


def finding(frame: pd.DataFrame) -> str:
    means = final(frame).groupby("objective", sort=False)[[*LOSSES, "moved"]].mean()
    train = means["d_loss_train"]
    holdout = means["d_loss_holdout"]
    shares = [f"{name} {value:.0%}" for name, value in means["moved"].sort_values().items()]
    losses = [f"{name} {holdout[name]:.3g} against {train[name]:.3g}" for name in NAMED]
    num_higher = int((holdout - train > 0).sum())
    return (
        "By the end held-out images have moved from training towards generated images by "
        f"{', '.join(shares)}. The loss is higher on held-out than on training images under "
        f"{num_higher} of {len(means)} objectives ({', '.join(losses)}); steps and seeds are few "
        "and optimisers differ, so their order is no ranking."
    )
