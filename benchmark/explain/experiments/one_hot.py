"""Why does a one-hot critic kill the standard GAN?

Gulrajani et al. 2017 (arXiv:1704.00028, section 5.4) generate text character by character and say
that they could not get comparable results with the standard GAN. A real character is a vector with
a single 1; a generator gives probabilities, which are never that hard. Their supports are disjoint,
so a critic can tell them apart by hardness alone, whatever the text says.

English of the Python documentation, letters and spaces in windows of 16 (in full: all characters,
32, and the paper's networks). Every objective has its own paper's optimiser, but a rate of 0.001
for all, and the same number of critic steps. On 256 real
windows and 256 generated ones: the margin is the difference of the mean scores over their common
standard deviation, which needs no unit. Hardness is the share of the margin that goes away when the
generated samples are made one-hot, each character the likeliest: 1 where the critic looks at
hardness alone, 0 where it looks at the text alone. The gradient is that of the generator's loss in
all its weights. Entropy is that of the generated probabilities, a mean over positions. Distinct is
the share of distinct samples."""

import math
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmark.explain.setup import choice, draw_by_steps, final, label, objectives, run
from benchmark.train.build import make_objective
from benchmark.train.data import floats_of, make_dataset, one_hot
from benchmark.train.snapshot import Snapshot

ANSWER = (
    "A critic of text first sees that real characters are one-hot and generated ones are not; "
    "under minimax, non-saturating and least-squares losses the samples then become one-hot, "
    "and all alike."
)
CAPTION = (
    "Over the critic's steps, mean over the seeds and a band from the least to the greatest: the "
    "critic's margin between real and generated text, the share of it that is hardness alone, the "
    "generator's gradient, the entropy of its characters and the share of distinct samples. A "
    "generator whose entropy falls to 0 while its samples become one has learned to be hard, not "
    "to write."
)
SAMPLES = 256
BATCH_SIZE = 64
SCHEDULE = [0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1]
# column -> axis label
SHOWN = {
    "margin": "margin, in standard deviations",
    "hardness": "share of the margin that is hardness",
    "gradient": "norm of the generator's gradient",
    "entropy": "entropy of a character, bits",
    "distinct": "share of distinct samples",
}
NAMED = ("minimax", "nonsaturating", "lsgan", "wgan", "wgan_gp", "wgan_fdgp")  # in the finding


def cases(full: bool) -> list[dict[str, Any]]:
    size: dict[str, Any] = {
        "critic_steps": 500,
        "text": {"length": 16, "alphabet": "letters"},
        "networks": {"width": 32, "blocks": 2},
    }
    if full:
        size = {"critic_steps": 10_000, "text": {"alphabet": "all"}, "networks": {}}
    found = []
    for value in objectives():
        for seed in range(5 if full else 3):
            found.append({"value": value, "seed": seed, **size})
    return found


def measure(
    value: dict[str, Any],
    seed: int,
    critic_steps: int,
    text: dict[str, Any],
    networks: dict[str, Any],
) -> pd.DataFrame:
    """One row per share of SCHEDULE: objective, seed, critic_steps, g_steps and the columns of
    SHOWN."""
    objective = make_objective(choice(value))
    architecture = {"name": "text_resnet", **networks}
    dataset = {"name": "python_topics", **text}
    training = {"steps": critic_steps // objective.d_steps(1), "batch_size": BATCH_SIZE}
    rows = []
    for snapshot in run({**value, "lr": 1e-3}, architecture, dataset, seed, SCHEDULE, **training):
        row = {
            "objective": label(value),
            "seed": seed,
            "critic_steps": snapshot.samples_seen // BATCH_SIZE,
            "g_steps": snapshot.g_steps,
        }
        rows.append(row | seen(snapshot, objective))
    return pd.DataFrame(rows)


def seen(snapshot: Snapshot, objective: Any) -> dict[str, float]:
    """The columns of SHOWN for a snapshot."""
    dataset = make_dataset(snapshot.cell.dataset)
    generator = torch.Generator().manual_seed(snapshot.cell.stream("explain"))
    windows = torch.randint(len(dataset.train()), (SAMPLES,), generator=generator)
    real = floats_of(dataset)(dataset.train()[windows])
    z = torch.randn(SAMPLES, snapshot.G.latent_dim, generator=generator)
    noise = objective.draw(real, generator)
    fake = snapshot.G(z)
    loss = objective.g_loss(snapshot.D, real, fake, noise)
    gradients = torch.autograd.grad(loss, list(snapshot.G.parameters()))
    return {
        **separation(snapshot.D, real, fake.detach()),
        "gradient": torch.nn.utils.get_total_norm(gradients).item(),
    }


@torch.no_grad()
def separation(D: Any, real: torch.Tensor, fake: torch.Tensor) -> dict[str, float]:
    """margin, hardness, entropy and distinct of a critic on real and generated text (n, L, V).
    Hardness is NaN where the critic does not tell them apart."""
    codes = fake.argmax(dim=2)
    of_real = D(real)
    of_fake = D(fake)
    of_hard = D(one_hot(codes, fake.shape[2]))
    difference = (of_real.mean() - of_fake.mean()).item()
    spread = ((of_real.var() + of_fake.var()) / 2).sqrt().item()
    hardness = math.nan
    if difference > spread:
        hardness = (of_hard.mean() - of_fake.mean()).item() / difference
    return {
        "margin": difference / spread,
        "hardness": hardness,
        "entropy": torch.special.entr(fake).sum(2).mean().item() / math.log(2),
        "distinct": len(codes.unique(dim=0)) / len(codes),
    }


def draw(frame: pd.DataFrame) -> Figure:
    figure, axes = draw_by_steps(frame, SHOWN, (3.1 * len(SHOWN), 4.6))
    axes[0].set(yscale="log", ylim=(0.1, None))
    axes[1].set_ylim(-0.5, 1.5)
    axes[2].set_yscale("log")
    return figure


def finding(frame: pd.DataFrame) -> str:
    first = frame["critic_steps"][frame["critic_steps"] > 0].min()
    early = frame[frame["critic_steps"] <= first].groupby("objective")["hardness"].mean()
    ends = final(frame).groupby("objective")[["hardness", "entropy"]].mean()
    fewest = frame.groupby(["objective", "seed"])["distinct"].min().groupby("objective").mean()
    without = [name for name in NAMED if math.isnan(early[name])]
    at_first = [f"{name} {early[name]:.1f}" for name in NAMED if name not in without]
    no_margin = f" ({', '.join(without)}: no margin yet)" if without else ""
    at_end = [f"{name} {ends['hardness'][name]:z.1f}" for name in NAMED]
    entropies = [f"{name} {ends['entropy'][name]:.1f}" for name in NAMED]
    distinct = [f"{name} {fewest[name]:.0%}" for name in NAMED]
    return (
        f"After {first} critic steps the margin is hardness and little else: {', '.join(at_first)} "
        f"of it{no_margin}, where more than 1 means that the same samples made one-hot pass the "
        f"real ones. At the end hardness is {', '.join(at_end)} of the margin, a character has an "
        f"entropy of {', '.join(entropies)} bits, and at the worst evaluation of a run "
        f"{', '.join(distinct)} "
        "of the samples are distinct, a mean over seeds."
    )
