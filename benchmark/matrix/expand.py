"""A matrix: TOML -> list of cells. Pure: nothing is read but the file, nothing runs.

objectives = ["nonsaturating", {name = "wgan_gp", penalty_weight = [1, 10]},    # a list of values is swept
              {name = "lsgan", optimizer = "rmsprop", lr = 1e-4}]               # another optimiser than its paper's
architectures = [{name = "dcgan", width = 32},
                 {name = "dcgan", critic = ["resnet20", {name = "mlp", width = 64}]}]  # another one's critic
datasets = ["digits", {name = "gaussians8", training = {steps = 500}}]          # training of this dataset's cells
seeds = 5                                                                       # 0 … 4, or a list
[training]
[evaluation]
[[include]]                                                                     # cells beyond the product
[[exclude]]                                                                     # cells out of the product
"""

import itertools
import tomllib
from pathlib import Path
from typing import Any

import variants
from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import BUDGETS, Matrix, Training, validated
from benchmark.matrix.values import choices, classes, critic_norm
from benchmark.metrics import METRICS
from variants.objectives import RECIPE

FOLDER = Path(__file__).parent.parent / "matrices"
AXES = ("objective", "architecture", "dataset")


def names() -> list[str]:
    """The matrices that ship with the suite."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name_or_path: str) -> Path:
    """The file of a matrix, by the name of a shipped one or by its path."""
    path = FOLDER / f"{name_or_path}.toml"
    if path.exists():
        return path
    if name_or_path.endswith(".toml") and Path(name_or_path).is_file():
        return Path(name_or_path)
    raise unknown("matrix", name_or_path, [*names(), "or the path of a .toml file"])


def read(path: Path, overrides: list[str] | None = None) -> tuple[Matrix, str]:
    """A validated matrix and the comment that begins its file. Overrides are
    `training.steps=200`."""
    try:
        text = path.read_text()
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: {error}") from error
    for override in overrides or []:
        _override(raw, override)
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return validated(Matrix, raw, path.name), "\n".join(line.lstrip("# ") for line in lines)


def expand(matrix: Matrix, only: str = "") -> list[Cell]:
    """The cells of a matrix in its order, checked pair by pair. `only`: "objective=wgan_gp
    seed=0"."""
    axes = [
        [c for value in getattr(matrix, f"{axis}s") for c in choices(axis, value)] for axis in AXES
    ]
    plans: list[Any] = list(itertools.product(*axes, _seeds(matrix.seeds)))
    named = [_named(plan[:3], plan[3]) for plan in plans]
    excluded = [
        _condition(rule, "exclude", named, {axis: variants.names(f"{axis}s") for axis in AXES})
        for rule in matrix.exclude
    ]
    plans = [
        plan
        for plan, names in zip(plans, named, strict=True)
        if not any(_meets(names, rule) for rule in excluded)
    ]
    for extra in matrix.include:
        seeds = _seeds(matrix.seeds if extra.seeds is None else extra.seeds)
        plans += itertools.product(*(choices(axis, getattr(extra, axis)) for axis in AXES), seeds)
    cells = [cell(matrix, *plan) for plan in plans]
    seen: dict[tuple[Any, ...], Cell] = {}
    for c in cells:
        same = seen.setdefault(
            (c.objective.label, c.architecture.label, c.dataset.label, c.seed), c
        )
        if same is not c and same.key == c.key:
            hint = (
                " (two image folders are told apart by `collection`)"
                if c.dataset.name == "image_folder"
                else ""
            )
            raise UserError(f"duplicate cell {c.key}: the matrix names it twice{hint}")
        if same is not c:
            raise UserError(
                f"{c.objective.label} x {c.architecture.label} x {c.dataset.label} stands in the matrix twice, with "
                "different training options: tables could not tell them apart"
            )
    if only:
        chosen = selected([(c.objective, c.architecture, c.dataset, c.seed) for c in cells], only)
        cells = [c for c, taken in zip(cells, chosen, strict=True) if taken]
    if not cells:
        raise UserError(
            f"the matrix is empty{f' under --only {only!r}' if only else ''}: no cell is left to run"
        )
    if (
        matrix.reference
        and matrix.reference not in (labels := {c.objective.label for c in cells})
        and not only
    ):
        raise unknown("reference objective", matrix.reference, sorted(labels))
    for name in matrix.targets:
        if name not in (labels := {c.dataset.label for c in cells}) and not only:
            raise unknown("dataset in targets", name, sorted(labels))
    return cells


def selected(cells: list[tuple[Choice, Choice, Choice, int]], only: str) -> list[bool]:
    """Which cells (objective, architecture, dataset, seed) `--only` takes."""
    named = [_named(((o,), (a,), (d,)), seed) for o, a, d, seed in cells]
    rule = _condition(dict(_pair(part, "--only") for part in only.split()), "--only", named)
    return [_meets(names, rule) for names in named]


def cell(
    matrix: Matrix,
    objective: tuple[Choice, dict[str, Any]],
    architecture: tuple[Choice, dict[str, Any]],
    dataset: tuple[Choice, dict[str, Any]],
    seed: int,
) -> Cell:
    """One cell, refused where its objective and architecture contradict each other. The training
    options are the matrix's, then the dataset's, then the architecture's; a later budget takes the
    place of an earlier one."""
    merged: dict[str, Any] = {}
    for layer in (matrix.training, dataset[1], architecture[1]):
        merged = {
            key: v for key, v in merged.items() if key not in BUDGETS or not {*BUDGETS} & {*layer}
        } | layer
    training = validated(Training, merged, "training")
    own = [key for key in RECIPE if key in objective[0].params]
    if own and training.recipe != "paper":
        raise UserError(
            f"objective {objective[0].label} sets {', '.join(own)}, but training.recipe gives all objectives one "
            "optimiser; set one of the two"
        )
    wanted, modality = matrix.evaluation.metrics, classes("dataset", dataset[0].name)[0].modality
    if wanted and not any(modality in METRICS[name].modality for name in wanted):
        valid = ", ".join(name for name, m in METRICS.items() if modality in m.modality)
        raise UserError(
            f"evaluation.metrics {wanted} has none for {dataset[0].label} ({modality}); valid: {valid}"
        )
    if training.seconds and training.lr_decay != "none":
        raise UserError("training: lr_decay needs a budget in steps or samples, not in seconds")
    return Cell(
        objective[0],
        architecture[0],
        dataset[0],
        seed,
        training,
        matrix.evaluation,
        critic_norm(objective[0], architecture[0], dataset[0]),
    )


def _override(raw: dict[str, Any], text: str) -> None:
    key, value = _pair(text, "--set")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word
    *path, last = key.strip().split(".")
    included = [
        list(entry.values()) for entry in raw.get("include") or [] if isinstance(entry, dict)
    ]
    values = [raw.get("datasets"), raw.get("architectures"), *included]
    tables = [table for several in values for table in _tables(several)]
    for part in path:
        raw = raw.setdefault(part, {})
        if not isinstance(raw, dict):
            raise UserError(f"--set {text}: {part!r} is not a table")
    raw[last] = parsed
    if path[:1] == [
        "training"
    ]:  # --set has the last word: over a dataset's or an architecture's own training, too
        first = [*path, last][1]
        gone = BUDGETS if first in BUDGETS else (first,)
        for other in set(gone) - {first}:
            raw.pop(other, None)
        for table in tables:
            table["training"] = {key: v for key, v in table["training"].items() if key not in gone}


def _tables(values: Any) -> list[dict[str, Any]]:
    """The values of an axis, as the file gives them, that bring training options of their own."""
    tables = (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )
    return [table for table in tables if isinstance(table.get("training"), dict)]


def _pair(text: str, flag: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key or not value:
        raise UserError(f"{flag} takes name=value, not {text!r}")
    return key, value


def _condition(
    rule: dict[str, Any],
    where: str,
    named: list[dict[str, tuple[str, ...]]],
    also: dict[str, list[str]] | None = None,
) -> dict[str, set[str]]:
    """A rule as {key: the names that meet it}; every name must occur in the plan, or in `also`."""
    if not rule:
        raise UserError(f"{where} has a rule without a condition: it would take every cell")
    found = {}
    for key, value in rule.items():
        if key not in (*AXES, "seed"):
            raise unknown(f"key in {where}", key, (*AXES, "seed"))
        found[key] = {name.strip() for name in str(value).split("|")}
        valid = dict.fromkeys(
            [*(name for names in named for name in names[key]), *(also or {}).get(key, [])]
        )
        for name in sorted(found[key]):
            if name not in valid:
                raise unknown(f"{key} in {where}", name, valid)
    return found


def _seeds(seeds: int | list[int]) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, int) else seeds


def _named(chosen: Any, seed: int) -> dict[str, tuple[str, ...]]:
    """What a condition may call each part of a cell: a variant by its label or its bare name, which
    takes all its variations; NAME[] is the one without parameters."""
    names = {
        axis: (
            choice[0].label,
            choice[0].name,
            *([] if choice[0].params else [f"{choice[0].name}[]"]),
        )
        for axis, choice in zip(AXES, chosen, strict=True)
    }
    return names | {"seed": (str(seed),)}


def _meets(names: dict[str, tuple[str, ...]], rule: dict[str, set[str]]) -> bool:
    return all(wanted & {*names[key]} for key, wanted in rule.items())
