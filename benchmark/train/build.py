"""From a cell's words to objects: its objective, its networks with their initial weights, its
optimiser's recipe."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

import variants
from benchmark.matrix.cell import Cell, Choice
from benchmark.train.data import make_dataset
from variants.architectures import build, initialise
from variants.objectives import RECIPE, Recipe


def make_objective(choice: Choice) -> Any:
    """The objective with its parameters set, but for those of its optimiser. Raises ValueError for
    a combination it refuses."""
    params = {key: value for key, value in choice.params.items() if key not in RECIPE}
    return variants.load("objectives", choice.name).Objective(**params)


def make_networks(cell: Cell) -> tuple[nn.Module, nn.Module]:
    """Generator and critic with their initial weights, drawn by (network, parameter name)."""
    with torch.random.fork_rng(
        devices=[]
    ):  # for layers that bring no initial standard deviation of their own
        torch.manual_seed(cell.stream("weights"))
        networks = build(cell.architecture, make_dataset(cell.dataset).shape, cell.norm)
    for role, network in zip(("generator", "critic"), networks, strict=True):
        initialise(network, partial(cell.stream, role))
    return networks


def make_recipe(cell: Cell) -> Recipe:
    """The optimiser of a cell: under recipe="paper" its objective's, as far as the matrix does not
    set it for that objective; else the one the matrix gives to all."""
    shared = cell.training.recipe
    if shared != "paper":
        return Recipe(**shared.plain())
    own = {key: value for key, value in cell.objective.params.items() if key in RECIPE}
    return replace(make_objective(cell.objective).recipe, **own)
