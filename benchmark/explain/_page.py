"""The experiments as one page to read from top to bottom: README.md and a self-contained index.html in their folder."""

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import variants
from benchmark.cell import write_bytes
from benchmark.explain import read
from benchmark.report_parts import escaped, image, templates

INTRODUCTION = (
    "A generative adversarial network is two networks that train against one another. The generator turns random "
    "numbers, the latents z, into samples x̃: points, or images. The critic (also called discriminator) gives every "
    "sample a score D; it is trained to score the data x high and the generated samples x̃ low. The generator is "
    "trained to raise the scores of its own samples. It never sees the data: all it learns comes through the critic, "
    "as the gradient of the "
    "scores by its samples.",
    "An objective is the pair of losses that the two minimise, with what keeps the critic in bounds. That is all that "
    "differs between the rows below; networks, data and random numbers are the same for all.",
)
TERMS = (
    "σ is the sigmoid, softplus(t) = log(1 + eᵗ), E a mean over samples. Minimax, nonsaturating and least squares "
    "leave the critic free and measure a divergence between generated samples and data. The Wasserstein objectives "
    "measure a distance, and need a critic whose slope ‖∇D‖ is at most 1 (1-Lipschitz): wgan clips every weight to "
    "±c, wgan_gp adds a penalty on the slope at points x̂ between data and samples, wgan_fdgp approximates that slope "
    "by the difference of two scores. A label such as wgan_fdgp[pairs=independent] is an objective with a parameter "
    "that is not the default."
)


def write(folder: Path) -> Path:
    """Write README.md and index.html of the experiments in folder/explain.json; the path of index.html."""
    page: dict[str, Any] = {"experiments": read(folder), "introduction": INTRODUCTION, "terms": TERMS}
    page["objectives"] = {name: losses(name) for name in variants.names("objectives")}
    environment = templates()
    environment.filters |= {"md": escaped, "image": partial(image, folder / "figures")}
    for name, template in (("README.md", "explain.md.j2"), ("index.html", "explain.html.j2")):
        write_bytes(folder / name, environment.get_template(template).render(page).encode())
    return folder / "index.html"


def losses(name: str) -> tuple[str, list[str]]:
    """The paper of an objective and its two losses, from its docstring."""
    lines = inspect.cleandoc(variants.load("objectives", name).Objective.__doc__).splitlines()
    return lines[0], [" ".join(line.split()) for line in lines if line.startswith("min over")]
