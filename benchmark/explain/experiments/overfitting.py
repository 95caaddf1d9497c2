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
from benchmark.explain.setup import choice, final, objectives, run
from benchmark.train.build import make_objective
from benchmark.train.data import as_floats, make_dataset

CAPTION = (
    "Top: the critic's loss on training (line) and held-out images (dashed) over the critic's steps, mean over the "
    "seeds. Below: how far held-out images have moved from training towards generated ones in the critic's eyes, one "
    "line per seed; 0: no difference, 1: held-out images look generated."
)
IMAGES = 1000
TOLD = ("nonsaturating", "wgan", "wgan_gp")


def cases(full: bool) -> list[dict[str, Any]]:
    size: dict[str, Any] = {"dataset": {"name": "digits"}, "critic_steps": 1000, "width": 256}
    if full:
        size = {
            "dataset": {"name": "mnist", "n_train": IMAGES},
            "critic_steps": 100_000,
            "width": 1024,
        }
    return [
        {"value": value, "seed": seed, **size}
        for value in objectives()
        for seed in range(5 if full else 2)
    ]


def measure(
    value: dict[str, Any], seed: int, dataset: dict[str, Any], critic_steps: int, width: int
) -> pd.DataFrame:
    """One row per tenth of the run: objective, seed, critic_steps, d_loss_train, d_loss_holdout,
    moved."""
    chosen = choice(value)
    objective = make_objective(chosen)
    mlp = {"name": "mlp", "width": width, "depth": 3, "latent_dim": 64}
    rows, g_steps, tenths = (
        [],
        critic_steps // objective.d_steps(1),
        [tenth / 10 for tenth in range(11)],
    )
    for snapshot in run(value, mlp, dataset, seed, tenths, steps=g_steps, batch_size=64):
        data = make_dataset(snapshot.cell.dataset)
        n = min(IMAGES, len(data.holdout()))
        splits = [
            as_floats(split[:n], torch.contiguous_format)
            for split in (data.train(), data.holdout())
        ]
        fake = as_floats(snapshot.sample(n), torch.contiguous_format)
        noise = objective.draw(fake, torch.Generator().manual_seed(snapshot.g_steps))
        losses = [objective.d_loss(snapshot.D, split, fake, noise).item() for split in splits]
        with torch.no_grad():
            train, held, generated = (snapshot.D(batch).mean().item() for batch in (*splits, fake))
        row = {"objective": chosen.label, "seed": seed, "critic_steps": snapshot.samples_seen // 64}
        row |= {"d_loss_train": losses[0], "d_loss_holdout": losses[1]}
        known = snapshot.g_steps and train > generated  # it tells the two apart
        rows.append(row | {"moved": (train - held) / (train - generated) if known else math.nan})
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    names = list(frame["objective"].unique())
    figure = plt.figure(figsize=(1.9 * len(names), 4.6), layout="constrained")
    axes = figure.subplots(2, len(names), squeeze=False, sharex=True)
    for (top, below), name in zip(axes.T, names, strict=True):
        rows, colour = frame[frame["objective"] == name], style(str(name))["color"]
        of = (
            rows[rows["critic_steps"] > 0]
            .groupby("critic_steps")[["d_loss_train", "d_loss_holdout"]]
            .mean()
        )
        top.plot(of.index, of["d_loss_train"], color=colour, linewidth=2)
        top.plot(of.index, of["d_loss_holdout"], color=colour, linewidth=2, linestyle="--")
        for _, of_seed in rows.groupby("seed"):
            below.plot(of_seed["critic_steps"], of_seed["moved"], color=colour, linewidth=1.2)
        top.set_title(wrap(str(name)), size=9)
        below.set(ylim=(-0.1, max(0.5, 1.1 * frame["moved"].max())), xlabel="critic steps")
        below.tick_params(labelleft=below is axes[1, 0])
        below.axhline(0, color="0.6", linewidth=0.8)
    axes[0, 0].set_ylabel("critic loss")
    axes[1, 0].set_ylabel("held-out moved\ntowards generated")
    return figure


def finding(frame: pd.DataFrame) -> str:
    of = (
        final(frame)
        .groupby("objective", sort=False)[["d_loss_train", "d_loss_holdout", "moved"]]
        .mean()
    )
    gap, moved = of["d_loss_holdout"] - of["d_loss_train"], of["moved"].sort_values()
    said = ", ".join(f"{name} {value:.0%}" for name, value in moved.items())
    losses = [
        f"{name} {of['d_loss_holdout'][name]:.3g} against {of['d_loss_train'][name]:.3g}"
        for name in TOLD
    ]
    return (
        f"By the end held-out images have moved from training towards generated images by {said}. The loss is higher "
        f"on held-out than on training images under {int((gap > 0).sum())} of {len(gap)} objectives "
        f"({', '.join(losses)}); steps and seeds are few and optimisers differ, so their order is no ranking."
    )
