"""A matrix becomes a list of cells. Nothing runs.

objectives = ["nonsaturating",
              {name = "wgan_gp", penalty_weight = [1, 10]},       # a list of values is swept
              {name = "lsgan", optimizer = "rmsprop_tf", lr = 1e-4}, # not its paper's
              {name = "lsgan", a = -1, c = 0, label = "LSGAN (Pearson)"}]  # a display name
architectures = [{name = "dcgan", width = 32},
                 {name = "dcgan", critic = ["resnet20", "mlp"]}]  # the critics of others
datasets = ["digits", {name = "gaussians8", training = {steps = 500}}]  # own training options
seeds = 5                                                         # 0 to 4, or a list
[training]
[evaluation]
[[include]]                                                       # cells beyond the product
[[exclude]]                                                       # cells out of the product
"""

import itertools
from typing import Any, NamedTuple

from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import Cell
from benchmark.matrix.labels import unlabelled
from benchmark.matrix.options import BUDGETS, Matrix, Seeds, Training, Value, validated
from benchmark.matrix.pairs import check_lone_sample, critic_norm
from benchmark.matrix.select import Candidate, excluded, selected
from benchmark.matrix.values import AxisValue, choices, classes
from benchmark.metrics import METRICS
from variants.objectives import RECIPE


class Plan(NamedTuple):
    """A cell before its training options are merged and its pair is checked."""

    objective: AxisValue
    architecture: AxisValue
    dataset: AxisValue
    seed: int

    @property
    def candidate(self) -> Candidate:
        return Candidate(
            self.objective.choice, self.architecture.choice, self.dataset.choice, self.seed
        )


def expand(matrix: Matrix, only: str = "") -> list[Cell]:
    """The cells of a matrix in its order. only: a selection such as "objective=wgan_gp seed=0".

    Raises UserError for unknown variants and parameters, for a pair that cannot train, for a cell
    that occurs twice, and if no cell is left."""
    matrix, display_names = unlabelled(matrix)
    plans = [*_product(matrix), *_included(matrix)]
    cells = [_cell(matrix, plan) for plan in plans]
    _check_distinct(cells)
    if only:
        chosen = selected([plan.candidate for plan in plans], only, display_names)
        cells = list(itertools.compress(cells, chosen))
    if not cells:
        under = f" under --only {only!r}" if only else ""
        raise UserError(f"the matrix is empty{under}: no cell is left to run")
    if not only:
        _check_names(matrix, cells)
    return cells


def _product(matrix: Matrix) -> list[Plan]:
    """The product of the axes and the seeds, without the excluded cells."""
    plans = _plans(matrix.objectives, matrix.architectures, matrix.datasets, matrix.seeds)
    out = excluded([plan.candidate for plan in plans], matrix.exclude)
    return [plan for plan, is_out in zip(plans, out, strict=True) if not is_out]


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
    """The product of values on the axes, the seeds fastest. A number of seeds counts from 0."""
    parts = itertools.product(
        _swept("objective", objectives),
        _swept("architecture", architectures),
        _swept("dataset", datasets),
        range(seeds) if isinstance(seeds, int) else seeds,
    )
    return [Plan(*part) for part in parts]


def _swept(axis: str, values: list[Value]) -> list[AxisValue]:
    found = []
    for value in values:
        found += choices(axis, value)
    return found


def _cell(matrix: Matrix, plan: Plan) -> Cell:
    """One cell. Raises UserError if its options or its pair contradict each other."""
    objective, architecture, dataset = plan.candidate[:3]
    training = _training(matrix, plan)
    own_recipe = [key for key in RECIPE if key in objective.params]
    if own_recipe and training.recipe != "paper":
        raise UserError(
            f"objective {objective.label} sets {', '.join(own_recipe)}, but training.recipe gives "
            "all objectives one optimiser; set one of the two"
        )
    modality = classes("dataset", dataset.name)[0].modality
    _check_metrics(matrix.evaluation.metrics, modality, dataset.label)
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
    norm = critic_norm(objective, architecture, dataset)
    if training.batch_size == 1:
        check_lone_sample(objective, architecture, dataset, norm)
    return Cell(objective, architecture, dataset, plan.seed, training, matrix.evaluation, norm)


def _training(matrix: Matrix, plan: Plan) -> Training:
    """The training options of the matrix, changed by those of the dataset, then by those of the
    architecture. A later budget replaces an earlier one."""
    merged: dict[str, Any] = {}
    for layer in (matrix.training, plan.dataset.training, plan.architecture.training):
        if not layer.keys().isdisjoint(BUDGETS):
            for budget in BUDGETS:
                merged.pop(budget, None)
        merged |= layer
    return validated(Training, merged, "training")


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


def _check_names(matrix: Matrix, cells: list[Cell]) -> None:
    """Refuse a reference or a target of what no cell has."""
    objectives = {cell.objective.label for cell in cells}
    if matrix.reference and matrix.reference not in objectives:
        raise unknown("reference objective", matrix.reference, sorted(objectives))
    datasets = {cell.dataset.label for cell in cells}
    names = {cell.dataset.name for cell in cells}
    for name in matrix.targets:
        if name not in datasets | names:
            raise unknown("dataset in targets", name, sorted(datasets))
