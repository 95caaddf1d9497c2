"""The objects that a cell names: dataset, objective, networks with initial weights, optimiser."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.values import classes, made
from benchmark.train.data import make_dataset
from benchmark.train.recompute import recompute_blocks
from variants._recipes import CONSTANTS, RECIPE, Recipe
from variants.architectures import build, critic_of, initialise


@dataclass(frozen=True)
class Workbench:
    """The opened variants of a cell, which are handed down. Cells that differ only in their seed
    share one."""

    dataset: Any
    objective: Any
    recipe: Recipe


def open_workbench(cell: Cell) -> Workbench:
    """Load the dataset of a cell, make its objective and choose its optimiser. Raises OSError or
    ValueError for data that cannot be read."""
    dataset = load_dataset(cell.dataset)
    return Workbench(dataset, make_objective(cell.objective), make_recipe(cell))


def load_dataset(choice: Choice) -> Any:
    """The dataset, its data loaded. Raises OSError or ValueError for data that cannot be read."""
    dataset = make_dataset(choice)
    dataset.splits  # noqa: B018  loads the data
    return dataset


def make_objective(choice: Choice) -> Any:
    """The objective with its parameters; those of its optimiser are left out. Raises ValueError for
    parameters that the objective refuses."""
    return made(choice)


def make_networks(cell: Cell, shape: tuple[int, ...] | None = None) -> tuple[nn.Module, nn.Module]:
    """Generator and critic with their initial weights, drawn by (network, parameter name). shape:
    of one sample, if the dataset is open already."""
    shape = shape or make_dataset(cell.dataset).shape
    # torch's own initialisation stays for layers without an initial standard deviation of ours
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.stream("weights"))
        growth = cell.training.growth
        images = cell.dataset.params.get("range", "signed")
        networks = build(cell.architecture, shape, cell.norm, growth=growth, images=images)
    for role, network in zip(("generator", "critic"), networks, strict=True):
        initialise(network, partial(cell.stream, role))
        if cell.training.recompute:
            recompute_blocks(network)
    return networks


def make_recipe(cell: Cell) -> Recipe:
    """The optimiser of a cell. Under recipe="paper": the objective's own, with the values that the
    matrix sets for this objective, and with the weight decay that the architecture's paper has for
    critics with a norm. Otherwise: the one that the matrix gives to all objectives."""
    shared = cell.training.recipe
    if shared != "paper":
        return Recipe(**shared.plain())
    changed = {key: v for key, v in cell.objective.params.items() if key in RECIPE}
    if "optimizer" in changed:
        # Another optimiser brings its own alpha and eps
        changed = CONSTANTS[changed["optimizer"]] | changed
    if cell.norm not in ("none", "spectral"):
        critic, _ = critic_of(cell.architecture)
        decay = getattr(classes("critic", critic)[0], "weight_decay_with_norm", None)
        changed = changed if decay is None else {"weight_decay": decay} | changed
    return replace(make_objective(cell.objective).recipe, **changed)
