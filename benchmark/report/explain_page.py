"""Write the experiments as one page to read from top to bottom, README.md and index.html."""

import inspect
from functools import partial
from pathlib import Path
from typing import NamedTuple

import variants
from benchmark.explain.entries import read
from benchmark.report.render import data_link, image, templates
from benchmark.store.files import write_bytes
from benchmark.text import escaped, one_line

TEMPLATES = {"README.md": "explain.md.j2", "index.html": "explain.html.j2"}
INTRODUCTION = (
    "A generative adversarial network (GAN) is two networks that train against one another. The "
    "generator turns random numbers, the latents z, into samples x̃: points, or images. The critic "
    "(also called discriminator) gives every sample a score D; it is trained to score the data x "
    "high and the generated samples x̃ low. The generator is trained to raise the scores of its own "
    "samples. It never sees the data: all it learns comes through the critic, as the gradient of "
    "the scores by its samples.",
    "An objective is the pair of losses that the two minimise, with what keeps the critic in "
    "bounds. Each comes with its paper's recipe: the optimiser, and how many steps the critic "
    "takes for each of the generator's. Within an experiment all objectives start from the same "
    "networks and see the same data; whether each keeps its own recipe is said there.",
)
GLOSSARY = {
    "E": "a mean over samples",
    "σ, softplus": (
        "the sigmoid σ(t) = 1/(1 + e⁻ᵗ), which makes a probability of a score; softplus(t) = "
        "log(1 + eᵗ)"
    ),
    "ReLU, tanh": (
        "what a layer does to its outputs: max(0, t), which has a kink, or the smooth tanh(t)"
    ),
    "x̂": "a point between data and generated samples: x + α(x̃ − x) with α random between 0 and 1",
    "slope, ‖∇D‖": (
        "the norm of the score's gradient by the sample; a critic whose slope is at most 1 is "
        "1-Lipschitz"
    ),
    "penalty, λ": (
        "a term that pulls the slope at x̂ towards 1 (K in the table), and its weight; two-sided: "
        "from both sides, one-sided: only from above"
    ),
    "finite difference, ε": (
        "a slope from two scores instead of a gradient; ε is the distance of the two points"
    ),
    "clipping, c": "every weight of the critic is cut to [−c, c] after each of its steps",
    "spectral norm": (
        "every layer of the critic is divided by its largest singular value (hinge uses it)"
    ),
    "γ": "weight of a penalty on the squared slope, which pulls it towards 0",
    "a, b, c, m": (
        "of least squares: the labels that the critic gives generated samples and data, and the "
        "one that the generator wants; of hinge: the margin beyond which a score no longer counts"
    ),
    "Jensen–Shannon divergence (JS)": (
        "how well two distributions can be told apart, from 0, not at all, to log 2"
    ),
    "Pearson's χ²": "another such divergence, which least squares measures",
    "Wasserstein distance (W₁)": (
        "how far one distribution has to be moved, on average, to become the other"
    ),
    "mode": "a cluster of the data, such as one of eight Gaussians",
}
LABELS = (
    "A label such as wgan_fdgp[pairs=independent] is an objective with a parameter that is not the "
    "default: this one is the form of the finite differences first proposed. Minimax and "
    "nonsaturating have one and the same critic loss, and so the same trained critics wherever no "
    "generator takes part."
)


class Losses(NamedTuple):
    """An objective as its docstring has it."""

    paper: str
    formulas: list[str]
    """What the critic and the generator minimise."""


def write(folder: Path) -> Path:
    """Write README.md and index.html of the experiments in folder/explain.json; return the path of
    index.html."""
    page = {
        "experiments": read(folder),
        "introduction": INTRODUCTION,
        "glossary": GLOSSARY,
        "labels": LABELS,
        "objectives": {name: losses(name) for name in variants.names("objectives")},
    }
    environment = templates()
    environment.filters["md"] = escaped
    environment.filters["image"] = partial(image, folder / "figures")
    environment.filters["data_link"] = partial(data_link, folder / "figures")
    for name, template in TEMPLATES.items():
        text = environment.get_template(template).render(page)
        write_bytes(folder / name, text.encode())
    return folder / "index.html"


def losses(name: str) -> Losses:
    """The paper of an objective and its two losses, from its docstring."""
    text = inspect.cleandoc(variants.load("objectives", name).Objective.__doc__)
    paper = text.partition("\n\n")[0]
    formulas = [one_line(line) for line in text.splitlines() if line.startswith("min over")]
    return Losses(one_line(paper), formulas)
