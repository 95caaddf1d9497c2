"""A matrix becomes a list of cells. Nothing runs.

objectives = ["nonsaturating",
              {name = "wgan_gp", penalty_weight = [1, 10]},       # a list of values is swept
              {name = "lsgan", optimizer = "rmsprop_tf", lr = 1e-4}, # not its paper's
              {name = "hinge", instance_noise = 0.1},       # a training option of its own
              {name = "lsgan", a = -1, c = 0, label = "LSGAN (Pearson)"},  # a display name
              {name = "wgan", search = 32}]                       # 32 configurations
architectures = [{name = "dcgan", width = [16, 32, 64], sample = 2},  # two of the three
                 {name = "dcgan", critic = ["resnet20", "mlp"]}]  # the critics of others
datasets = ["digits", {name = "gaussians8", training = {steps = 500}}]  # own training options
seeds = 5        # 0 to 4, or a list; {weights = 5, batches = 5} crosses the random streams
[training]
[evaluation]
[[include]]                                                       # cells beyond the product
[[exclude]]                                                       # cells out of the product
"""

import itertools
from functools import partial
from typing import Any, NamedTuple

from benchmark.errors import UserError, unknown
from benchmark.matrix import recall
from benchmark.matrix.cell import Cell, DisplayNames
from benchmark.matrix.labels import unlabelled
from benchmark.matrix.options import (
    BUDGETS,
    OF_OBJECTIVE,
    CrossedSeeds,
    Matrix,
    Search,
    Seeds,
    Training,
    Value,
    validated,
)
from benchmark.matrix.options.seeds import numbers
from benchmark.matrix.search.part import Part, with_configurations
from benchmark.matrix.search.phases import Group, Outcomes
from benchmark.matrix.search.rungs import check_rung
from benchmark.matrix.search.space import check_names
from benchmark.matrix.select import Candidate, excluded, selected
from benchmark.matrix.values import AxisValue, choices
from benchmark.metrics import METRICS
from variants._recipes import RECIPE


class Plan(NamedTuple):
    """A group of cells before its training options are merged and its pair is checked."""

    objective: AxisValue
    architecture: AxisValue
    dataset: AxisValue
    seeds: list[int]
    is_crossed: bool = False

    @property
    def candidates(self) -> list[Candidate]:
        choices = (self.objective.choice, self.architecture.choice, self.dataset.choice)
        return [Candidate(*choices, seed) for seed in self.seeds]


class Expanded(NamedTuple):
    """A matrix as cells."""

    cells: list[Cell]
    """In the order of the matrix."""

    parts: dict[str, Part]
    """The parts of cells in a search, by key."""

    display_names: DisplayNames


def expand(matrix: Matrix, only: str = "") -> list[Cell]:
    """The cells of a matrix in its order; of a search those that need no results. only: a selection
    such as "objective=wgan_gp seed=0".

    Raises UserError for unknown variants and parameters, for a pair that cannot train, for a cell
    that occurs twice, and if no cell is left."""
    return expanded(matrix, only).cells


def expanded(matrix: Matrix, only: str = "", outcomes: Outcomes | None = None) -> Expanded:
    """`expand` with all that follows from what the pools of searches reached, by key."""
    matrix, display_names = unlabelled(matrix)
    plans = [*_product(matrix), *_included(matrix)]
    _check_search(matrix, plans)
    cells: list[Cell] = []
    parts: dict[str, Part] = {}
    for plan in plans:
        if not plan.objective.search:
            cells += _cells(matrix, plan)
            continue
        for cell, part in _group(matrix, plan).cells(outcomes or {}):
            cells.append(cell)
            parts[cell.key] = part
    recall.save()
    _check_distinct(cells)
    display_names = with_configurations(display_names, cells, parts)
    if only:
        axes = [(cell.objective, cell.architecture, cell.dataset, cell.seed) for cell in cells]
        chosen = selected(axes, only, display_names)
        cells = list(itertools.compress(cells, chosen))
    if not cells:
        under = f" under --only {only!r}" if only else ""
        raise UserError(f"the matrix is empty{under}: no cell is left to run")
    if not only:
        _check_names(matrix, plans)
    return Expanded(cells, parts, display_names)


def _group(matrix: Matrix, plan: Plan) -> Group:
    """A searched objective in a place."""

    def cells_of(objective: AxisValue, architecture: AxisValue, seeds: list[int]) -> list[Cell]:
        return _cells(matrix, Plan(objective, architecture, plan.dataset, seeds))

    return Group(plan.objective, plan.architecture, plan.seeds, matrix.search, cells_of)


def _check_search(matrix: Matrix, plans: list[Plan]) -> None:
    """Refuse a table [search] without an objective that is searched, a range of what none has, and
    a rung at which no run is measured."""
    searched = [plan.objective.choice.name for plan in plans if plan.objective.search]
    if any(plan.objective.search and plan.is_crossed for plan in plans):
        raise UserError("a search takes a number or a list of seeds, and none that are crossed")
    if matrix.search != Search() and not searched:
        raise UserError("the table [search] needs an objective with search, as in {search = 32}")
    check_names(searched, matrix.search)
    check_rung(matrix.search.stop, matrix.evaluation.schedule)


def _product(matrix: Matrix) -> list[Plan]:
    """The product of the axes and the seeds, without the excluded cells."""
    plans = _plans(matrix.objectives, matrix.architectures, matrix.datasets, matrix.seeds)
    if not matrix.exclude:
        return plans
    if not any("seed" in rule for rule in matrix.exclude):
        # The first seed speaks for its group
        firsts = [plan.candidates[0] for plan in plans]
        is_excluded = excluded(firsts, matrix.exclude)
        return [plan for plan, is_out in zip(plans, is_excluded, strict=True) if not is_out]
    candidates = [candidate for plan in plans for candidate in plan.candidates]
    is_out = iter(excluded(candidates, matrix.exclude))
    left = []
    for plan in plans:
        seeds = [seed for seed in plan.seeds if not next(is_out)]
        if seeds:
            left.append(plan._replace(seeds=seeds))
    return left


def _included(matrix: Matrix) -> list[Plan]:
    """The cells beyond the product."""
    plans = []
    for extra in matrix.include:
        seeds = matrix.seeds if extra.seeds is None else extra.seeds
        plans += _plans([extra.objective], [extra.architecture], [extra.dataset], seeds)
    return plans


def _plans(
    objectives: list[Value], architectures: list[Value], datasets: list[Value], seeds: Seeds
) -> list[Plan]:
    """The product of values on the axes."""
    parts = itertools.product(
        _swept("objective", objectives),
        _swept("architecture", architectures),
        _swept("dataset", datasets),
    )
    of_part = numbers(seeds)
    is_crossed = isinstance(seeds, CrossedSeeds)
    return [Plan(*part, of_part, is_crossed) for part in parts if of_part]


def _swept(axis: str, values: list[Value]) -> list[AxisValue]:
    found = []
    for value in values:
        found += choices(axis, value)
    return found


def _cells(matrix: Matrix, plan: Plan) -> list[Cell]:
    """The cells of a group. Raises UserError if its options or its pair contradict each other."""
    objective, architecture, dataset = (value.choice for value in plan[:3])
    training = _training(matrix, plan)
    own_recipe = [key for key in RECIPE if key in objective.params]
    if own_recipe and training.recipe != "paper":
        raise UserError(
            f"objective {objective.label} sets {', '.join(own_recipe)}, but training.recipe gives "
            "all objectives one optimiser; set one of the two"
        )
    _check_metrics(matrix.evaluation.metrics, recall.modality(dataset.name), dataset.label)
    if training.seconds and training.lr_decay != "none":
        raise UserError("training: lr_decay needs a budget in steps or samples, not in seconds")
    if training.seconds and training.instance_noise and training.noise_decay != "none":
        raise UserError("training: noise_decay needs a budget in steps or samples, not in seconds")
    own_steps = [key for key in ("critic_steps", "long_critic_phases") if key in objective.params]
    if own_steps and training.critic_steps != "paper":
        raise UserError(
            f"objective {objective.label} sets {', '.join(own_steps)}, but training.critic_steps "
            "gives all objectives one number; set one of the two"
        )
    norm = recall.critic_norm(objective, architecture, dataset, training)
    cell = partial(Cell, objective, architecture, dataset, training=training, norm=norm)
    cell = partial(cell, evaluation=matrix.evaluation, is_crossed=plan.is_crossed)
    return [cell(seed=seed) for seed in plan.seeds]


def _training(matrix: Matrix, plan: Plan) -> Training:
    """The training options of the matrix, changed by those of the dataset, then by those of the
    architecture, and those that the objective sets for its own cells. A later budget replaces an
    earlier one. Raises UserError for an option that the objective and [training] both set."""
    merged: dict[str, Any] = {}
    for layer in (matrix.training, plan.dataset.training, plan.architecture.training):
        if not layer.keys().isdisjoint(BUDGETS):
            for budget in BUDGETS:
                merged.pop(budget, None)
        merged |= layer
    shared = validated(Training, merged, "training")
    objective = plan.objective.choice
    own = {key: objective.params[key] for key in OF_OBJECTIVE if key in objective.params}
    if not own:
        return shared
    for key in own:
        value = getattr(shared, key)
        if value != Training.model_fields[key].default:
            raise UserError(
                f"objective {objective.label} sets {key}, but training.{key} = {value} holds for "
                "all objectives; set one of the two"
            )
    return validated(Training, merged | own, f"objective {objective.label}")


def _check_metrics(wanted: list[str], modality: str, dataset: str) -> None:
    valid = [name for name, metric in METRICS.items() if modality in metric.modality]
    if wanted and not set(wanted).intersection(valid):
        raise UserError(
            f"evaluation.metrics {wanted} has none for {dataset} ({modality}); "
            f"valid: {', '.join(valid)}"
        )


def _check_distinct(cells: list[Cell]) -> None:
    """Refuse cells that tables could not tell apart."""
    seen: dict[tuple[Any, ...], Cell] = {}
    for cell in cells:
        labels = (cell.objective.label, cell.architecture.label, cell.dataset.label)
        first = seen.setdefault((*labels, cell.seed), cell)
        if first is cell:
            continue
        if first.key == cell.key:
            hint = ""
            if cell.dataset.name in ("image_folder", "text"):
                hint = " (two folders are told apart by `collection`)"
            raise UserError(f"duplicate cell {cell.key}: the matrix names it twice{hint}")
        raise UserError(
            f"{' x '.join(labels)} stands in the matrix twice, with different training options: "
            "tables could not tell them apart"
        )


def _check_names(matrix: Matrix, plans: list[Plan]) -> None:
    """Refuse a reference or a target of what no cell has."""
    objectives = {plan.objective.choice.label for plan in plans}
    if matrix.reference and matrix.reference not in objectives:
        raise unknown("reference objective", matrix.reference, sorted(objectives))
    datasets = {plan.dataset.choice.label for plan in plans}
    names = {plan.dataset.choice.name for plan in plans}
    for name in matrix.targets:
        if name not in datasets | names:
            raise unknown("dataset in targets", name, sorted(datasets))
