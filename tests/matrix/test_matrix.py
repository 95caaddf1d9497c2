"""Expansion of a matrix: which cells, in which order, under which keys; and every mistake as one
line."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.matrix import files
from benchmark.matrix.cell import Cell, Choice, cell_from_spec
from benchmark.matrix.expand import expand
from benchmark.matrix.options import Training
from benchmark.store.code import ROOT
from benchmark.train.build import make_recipe
from tests.conftest import Ended, matrix_text
from variants.architectures import build, dcgan, mlp
from variants.objectives import Recipe


@pytest.fixture
def cells(matrix_file: Callable[..., Path]) -> Callable[..., list[Cell]]:
    """The cells of a tiny matrix with some of its parts replaced."""

    def expanded(only: str = "", overrides: tuple[str, ...] = (), **parts: str) -> list[Cell]:
        return expand(files.read(matrix_file(**parts), list(overrides)).matrix, only)

    return expanded


def labels(found: list[Cell]) -> list[tuple[str, str, str, int]]:
    return [(c.objective.label, c.architecture.label, c.dataset.label, c.seed) for c in found]


def test_cells_are_the_product_of_the_axes_seeds_fastest(cells: Callable[..., list[Cell]]) -> None:
    found = cells(
        objectives='objectives = ["wgan", "minimax"]',
        architectures='architectures = ["mlp"]',
        datasets='datasets = ["swissroll", "gaussians8"]',
        seeds="seeds = [3, 1]",
    )
    assert labels(found) == [
        (objective, "mlp", dataset, seed)
        for objective in ("wgan", "minimax")
        for dataset in ("swissroll", "gaussians8")
        for seed in (3, 1)
    ]


def test_a_number_of_seeds_counts_from_zero(cells: Callable[..., list[Cell]]) -> None:
    assert [c.seed for c in cells(seeds="seeds = 3")] == [0, 1, 2]


def test_lists_of_parameters_are_swept_in_order(cells: Callable[..., list[Cell]]) -> None:
    found = cells(
        objectives='objectives = [{ name = "wgan_gp", penalty_weight = [1, 5], sided = ["one", "linear"] }]'
    )
    assert [c.objective.params for c in found] == [
        {"penalty_weight": weight, "sided": sided}
        for weight in (1.0, 5.0)
        for sided in ("one", "linear")
    ]


def test_labels_carry_only_parameters_that_differ_from_their_default(
    cells: Callable[..., list[Cell]],
) -> None:
    found = cells(
        objectives='objectives = [{ name = "wgan_gp", critic_steps = 5, sided = ["two", "one"] }]'
    )
    assert [c.objective.label for c in found] == ["wgan_gp", "wgan_gp[sided=one]"]


def test_a_default_given_explicitly_is_the_same_cell(cells: Callable[..., list[Cell]]) -> None:
    (plain,) = cells(objectives='objectives = ["wgan_gp"]')
    (explicit,) = cells(
        objectives='objectives = [{ name = "wgan_gp", penalty_weight = 10, sided = "two" }]'
    )
    assert explicit.key == plain.key
    with pytest.raises(UserError, match="duplicate cell wgan_gp-"):
        cells(objectives='objectives = ["wgan_gp", { name = "wgan_gp", penalty_weight = 10 }]')


def test_one_and_one_point_zero_are_one_value_of_a_float(cells: Callable[..., list[Cell]]) -> None:
    (whole,) = cells(objectives='objectives = [{ name = "wgan_gp", penalty_weight = 1 }]')
    (point,) = cells(objectives='objectives = [{ name = "wgan_gp", penalty_weight = 1.0 }]')
    assert whole.key == point.key


def test_where_data_lies_is_no_part_of_a_cell(cells: Callable[..., list[Cell]]) -> None:
    images = {"architectures": 'architectures = ["dcgan"]'}
    (default,) = cells(datasets='datasets = ["fashion_mnist"]', **images)
    (elsewhere,) = cells(
        datasets='datasets = [{ name = "fashion_mnist", root = "/data/f" }]', **images
    )
    assert elsewhere.dataset.label == "fashion_mnist"
    assert elsewhere.key == default.key
    assert elsewhere.dataset.where == {"root": "/data/f"}


def test_training_of_a_dataset_overrides_the_matrix(cells: Callable[..., list[Cell]]) -> None:
    plain, special = cells(
        datasets='datasets = ["gaussians8", { name = "swissroll", training = { batch_size = 32, ema = 0.5 } }]'
    )
    assert (plain.training.batch_size, plain.training.ema, plain.training.steps) == (
        8,
        0.0,
        20,
    )
    assert (special.training.batch_size, special.training.ema, special.training.steps) == (
        32,
        0.5,
        20,
    )


def test_a_budget_of_a_dataset_replaces_the_budget_of_the_matrix(
    cells: Callable[..., list[Cell]],
) -> None:
    plain, special = cells(
        datasets='datasets = ["gaussians8", { name = "swissroll", training = { samples = 999 } }]'
    )
    assert [plain.training.plain()[budget] for budget in ("steps", "samples", "seconds")] == [
        20,
        None,
        None,
    ]
    assert [special.training.plain()[budget] for budget in ("steps", "samples", "seconds")] == [
        None,
        999,
        None,
    ]


def test_keys_depend_on_training_and_not_on_evaluation(cells: Callable[..., list[Cell]]) -> None:
    (base,) = cells()
    (measured_otherwise,) = cells(evaluation="[evaluation]\nschedule = [1]\nn = { points = 50 }")
    (trained_otherwise,) = cells(training="[training]\nsteps = 21\nbatch_size = 8")
    assert measured_otherwise.key == base.key
    assert trained_otherwise.key != base.key


def test_exclude_takes_a_name_a_label_or_alternatives_and_all_of_its_conditions(
    cells: Callable[..., list[Cell]],
) -> None:
    three = 'objectives = ["wgan", "wgan_gp", { name = "wgan_gp", sided = "one" }]'
    left = labels(
        cells(
            objectives=three,
            seeds="seeds = 2",
            rules='[[exclude]]\nobjective = "wgan_gp"\nseed = 1',
        )
    )
    assert [(name, seed) for name, _, _, seed in left] == [
        ("wgan", 0),
        ("wgan", 1),
        ("wgan_gp", 0),
        ("wgan_gp[sided=one]", 0),
    ]
    left = labels(cells(objectives=three, rules='[[exclude]]\nobjective = "wgan_gp[sided=one]"'))
    assert [name for name, *_ in left] == ["wgan", "wgan_gp"]
    left = labels(
        cells(objectives=three, rules='[[exclude]]\nobjective = "wgan | wgan_gp[sided=one]"')
    )
    assert [name for name, *_ in left] == ["wgan_gp"]


def test_an_excluded_pair_may_be_illegal(cells: Callable[..., list[Cell]]) -> None:
    parts = {
        "objectives": 'objectives = ["lsgan", "wgan_gp"]',
        "architectures": 'architectures = [{ name = "mlp", norm = "batch" }]',
    }
    with pytest.raises(UserError, match="batch norm"):
        cells(**parts)
    assert [
        c.objective.name for c in cells(**parts, rules='[[exclude]]\nobjective = "wgan_gp"')
    ] == ["lsgan"]


def test_include_adds_cells_with_seeds_of_its_own(cells: Callable[..., list[Cell]]) -> None:
    rule = '[[include]]\nobjective = { name = "wgan", clip = [0.1, 1] }\narchitecture = "mlp"\ndataset = "swissroll"\n'
    found = labels(cells(seeds="seeds = 2", rules=rule))
    assert found[2:] == [
        (f"wgan[clip={c}]", "mlp", "swissroll", seed) for c in ("0.1", "1.0") for seed in (0, 1)
    ]
    assert [seed for *_, seed in labels(cells(rules=rule + "seeds = [7]"))[1:]] == [7, 7]
    assert [seed for *_, seed in labels(cells(rules=rule + "seeds = 2"))[1:]] == [0, 1, 0, 1]


def test_only_selects_by_label_name_or_alternatives(cells: Callable[..., list[Cell]]) -> None:
    three = 'objectives = ["wgan", "wgan_gp", { name = "wgan_gp", sided = "one" }]'
    assert len(cells("objective=wgan_gp seed=1", objectives=three, seeds="seeds = 2")) == 2
    assert [c.objective.label for c in cells("objective=wgan_gp[sided=one]", objectives=three)] == [
        "wgan_gp[sided=one]"
    ]
    assert [
        c.objective.label for c in cells("objective=wgan|wgan_gp[sided=one]", objectives=three)
    ] == [
        "wgan",
        "wgan_gp[sided=one]",
    ]


def test_set_overrides_before_validation(cells: Callable[..., list[Cell]]) -> None:
    overrides = (
        "training.steps=7",
        "seeds=[4]",
        'objectives=["lsgan"]',
        "training.lr_decay=linear",
    )
    (only,) = cells(overrides=overrides)
    assert (only.objective.label, only.seed, only.training.steps) == ("lsgan", 4, 7)
    assert only.training.lr_decay == "linear"


@pytest.mark.parametrize(
    ("objective", "architecture", "dataset", "norm"),
    [
        ("nonsaturating", "dcgan", "mnist", "batch"),
        ("wgan_gp", "dcgan", "mnist", "layer"),
        ("wgan_fdgp", "dcgan", "mnist", "layer"),
        ("nonsaturating", "mlp", "digits", "none"),
        ("wgan_gp", "mlp", "digits", "none"),
        ("wgan_gp", "dcgan", "digits", "none"),  # one convolution, the first, which has no norm
    ],
)
def test_auto_norm_is_the_papers_but_layer_norm_under_a_per_sample_penalty(
    cells: Callable[..., list[Cell]], objective: str, architecture: str, dataset: str, norm: str
) -> None:
    (only,) = cells(
        objectives=f'objectives = ["{objective}"]',
        architectures=f'architectures = ["{architecture}"]',
        datasets=f'datasets = ["{dataset}"]',
    )
    assert only.norm == norm


def test_the_hinge_asks_for_spectral_norm_where_none_is_set(
    cells: Callable[..., list[Cell]],
) -> None:
    parts = {"objectives": 'objectives = ["hinge"]', "datasets": 'datasets = ["mnist"]'}
    architectures = 'architectures = ["dcgan", "mlp", { name = "dcgan", norm = "batch" }]'
    assert [c.norm for c in cells(architectures=architectures, **parts)] == [
        "spectral",
        "spectral",
        "batch",
    ]


# Another architecture's critic

DIGITS = {"datasets": 'datasets = ["digits"]'}


def test_a_critic_may_be_another_architectures(cells: Callable[..., list[Cell]]) -> None:
    critics = 'critic = ["dcgan", "mlp", { name = "mlp", width = [16, 32] }]'
    found = cells(architectures=f'architectures = [{{ name = "dcgan", {critics} }}]', **DIGITS)
    assert [c.architecture.label for c in found] == [
        "dcgan",
        "dcgan[critic=mlp]",
        "dcgan[critic=mlp[width=16]]",
        "dcgan[critic=mlp[width=32]]",
    ]
    (plain,) = cells(architectures='architectures = ["dcgan"]', **DIGITS)
    assert found[0].key == plain.key, "its own critic is no other architecture"
    again = cell_from_spec(found[2].spec | {"evaluation": {}, "norm": found[2].norm})
    assert again.key == found[2].key
    generator, critic = build(again.architecture, (1, 8, 8), again.norm)
    assert isinstance(generator, dcgan.Generator)
    assert isinstance(critic, mlp.Discriminator)
    assert critic.out.in_features == 16
    only = "architecture=dcgan[critic=mlp[width=16]]"
    architectures = f'architectures = [{{ name = "dcgan", {critics} }}]'
    assert len(cells(only, architectures=architectures, **DIGITS)) == 1


def test_parameters_beside_a_critic_are_the_generators(cells: Callable[..., list[Cell]]) -> None:
    (both,) = cells(architectures='architectures = [{ name = "dcgan", width = 8 }]', **DIGITS)
    (apart,) = cells(
        architectures='architectures = [{ name = "dcgan", width = 8, critic = "dcgan" }]', **DIGITS
    )
    assert apart.architecture.label == "dcgan[critic=dcgan,width=8]"
    widths = [
        [n.convs[0].out_channels for n in build(c.architecture, (1, 8, 8), c.norm)[1:]]
        for c in (both, apart)
    ]
    assert widths == [[8], [64]]


def test_the_norm_of_a_critic_is_its_own(cells: Callable[..., list[Cell]]) -> None:
    parts = {"objectives": 'objectives = ["nonsaturating"]', "datasets": 'datasets = ["mnist"]'}
    critics = '["mlp", "dcgan", { name = "mlp", norm = "layer" }]'
    found = cells(
        architectures=f'architectures = [{{ name = "dcgan", critic = {critics} }}]', **parts
    )
    assert [c.norm for c in found] == ["none", "batch", "layer"]


# Training of an architecture, optimiser of an objective


def test_training_of_an_architecture_goes_over_the_datasets(
    cells: Callable[..., list[Cell]],
) -> None:
    own = '{ name = "swissroll", training = { samples = 999, ema = 0.5 } }'
    mlp = '{ name = "mlp", training = { steps = 7, batch_size = 4 } }'
    plain, special = cells(
        datasets=f'datasets = ["gaussians8", {own}]', architectures=f"architectures = [{mlp}]"
    )
    assert [
        (c.training.steps, c.training.samples, c.training.batch_size) for c in (plain, special)
    ] == [
        (7, None, 4),
        (7, None, 4),
    ]
    assert (plain.training.ema, special.training.ema) == (0.0, 0.5)
    (set_,) = cells(architectures=f"architectures = [{mlp}]", overrides=("training.steps=3",))
    assert (set_.training.steps, set_.training.batch_size) == (3, 4)


def test_set_of_a_recipe_goes_over_a_datasets_own(cells: Callable[..., list[Cell]]) -> None:
    own = '{ name = "swissroll", training = { recipe = { lr = 1e-3 }, ema = 0.5 } }'
    (found,) = cells(datasets=f"datasets = [{own}]", overrides=("training.recipe.lr=0.5",))
    assert (found.training.recipe.lr, found.training.ema) == (0.5, 0.5)


def test_set_reaches_the_training_of_included_cells(cells: Callable[..., list[Cell]]) -> None:
    own = '{ name = "mlp", training = { steps = 9 } }'
    rule = f'[[include]]\nobjective = "wgan"\narchitecture = {own}\ndataset = "swissroll"'
    assert [c.training.steps for c in cells(rules=rule)] == [20, 9]
    assert [c.training.steps for c in cells(rules=rule, overrides=("training.steps=3",))] == [
        3,
        3,
    ]


def test_a_name_with_empty_brackets_is_the_variant_without_parameters(
    cells: Callable[..., list[Cell]],
) -> None:
    parts = {"architectures": 'architectures = ["mlp", { name = "mlp", width = 8 }]'}
    assert len(cells("architecture=mlp", **parts)) == 2
    assert [c.architecture.label for c in cells("architecture=mlp[]", **parts)] == ["mlp"]
    left = cells(rules='[[exclude]]\narchitecture = "mlp[]"', **parts)
    assert [c.architecture.label for c in left] == ["mlp[width=8]"]


def test_an_objective_may_take_another_optimiser_than_its_papers(
    cells: Callable[..., list[Cell]],
) -> None:
    rates = '{ name = "lsgan", optimizer = "rmsprop", lr = [1e-4, 2e-4] }'
    found = cells(
        objectives=f'objectives = ["lsgan", {rates}, {{ name = "wgan_gp", betas = [[0.0, 0.9], [0.5, 0.9]] }}]'
    )
    assert [c.objective.label for c in found] == [
        "lsgan",
        "lsgan[lr=0.0001,optimizer=rmsprop]",
        "lsgan[optimizer=rmsprop]",
        "wgan_gp",
        "wgan_gp[betas=[0.5,0.9]]",
    ]
    assert cell_from_spec(found[-1].spec | {"evaluation": {}, "norm": "none"}).key == found[-1].key
    assert make_recipe(found[1]) == Recipe("rmsprop", lr=1e-4)
    assert make_recipe(found[-1]) == Recipe("adam", lr=1e-4, betas=[0.5, 0.9])


def test_set_has_the_last_word_over_a_datasets_own_training(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    own = '{ name = "swissroll", training = { samples = 999, ema = 0.5 } }'
    path.write_text(matrix_text(datasets=f'datasets = ["gaussians8", {own}]'))
    found = expand(files.read(path, ["training.steps=7"])[0])
    assert [(c.training.steps, c.training.samples) for c in found] == [(7, None), (7, None)]
    assert [c.training.ema for c in found] == [0.0, 0.5]
    found = expand(files.read(path, ["training.seconds=1.5"])[0])
    assert [(c.training.steps, c.training.seconds) for c in found] == [
        (None, 1.5),
        (None, 1.5),
    ]


# Keys

STEPS = Training(steps=1)


def example(**params: object) -> Cell:
    return Cell(Choice("lsgan", params), Choice("mlp"), Choice("gaussians8"), 0, STEPS)


def test_values_that_read_alike_have_different_keys() -> None:
    lists = [
        example(a=[0.1]),
        example(a=[0, 1]),
        example(a=[0, 0.1]),
        example(a=[1, 0]),
        example(a=0.1),
    ]
    assert len({c.key for c in lists}) == len({c.objective.label for c in lists}) == len(lists)


def test_keys_and_streams_are_the_same_in_every_process() -> None:
    code = """
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import Training
c = Cell(Choice("lsgan", {"b": 2.0, "a": [0.1]}), Choice("mlp"), Choice("gaussians8"), 0, Training(steps=1))
print(c.key, c.stream("weights", 3))
"""
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert runs == ["lsgan_a=_0.1__b=2.0_-mlp-gaussians8-seed0-72304b16 1112293261076192431"] * 2


def test_critics_of_one_generator_share_its_streams() -> None:
    plain, other = (
        Cell(Choice("wgan"), Choice("dcgan", p), Choice("digits"), 0, STEPS)
        for p in ({}, {"critic": "mlp"})
    )
    assert plain.key != other.key
    assert plain.stream("generator") == other.stream("generator")


def test_streams_differ_by_seed_dataset_architecture_and_name_but_not_by_objective() -> None:
    def stream(
        objective: str = "a",
        architecture: str = "b",
        dataset: str = "c",
        seed: int = 0,
        name: str = "d",
    ) -> int:
        return Cell(Choice(objective), Choice(architecture), Choice(dataset), seed, STEPS).stream(
            name
        )

    base = stream()
    assert stream(objective="other") == base
    others = [
        stream(architecture="other"),
        stream(dataset="other"),
        stream(seed=1),
        stream(name="other"),
    ]
    assert len({base, *others}) == 5


def test_a_cell_is_found_again_in_its_spec(cells: Callable[..., list[Cell]]) -> None:
    (only,) = cells(objectives='objectives = [{ name = "wgan", clip = 0.1 }]')
    again = cell_from_spec(only.spec | {"evaluation": only.evaluation.plain(), "norm": only.norm})
    assert again.key == only.key
    assert (again.evaluation, again.norm) == (only.evaluation, only.norm)


def test_the_shipped_matrices_expand() -> None:
    counts = {name: len(expand(files.read(files.find(name))[0])) for name in files.names()}
    assert counts["quick"] == 70
    assert all(counts.values())
    for name in files.names():
        assert re.search(r"^Cost: .*\d", files.read(files.find(name))[1], re.M), (
            f"{name} does not say what it costs"
        )


# Mistakes

MATCH = "did you mean {!r}?".format
MISTAKES: dict[str, tuple[dict[str, str], list[str]]] = {
    "key": ({"seeds": "seed = 1"}, ["'seed'", MATCH("seeds"), "architectures", "exclude"]),
    "training key": (
        {"training": "[training]\nsteps = 5\nbatchsize = 8"},
        ["'batchsize'", MATCH("batch_size"), "ema"],
    ),
    "evaluation key": (
        {"evaluation": "[evaluation]\nshedule = [1]"},
        ["shedule", MATCH("evaluation.schedule")],
    ),
    "sizes key": (
        {"evaluation": "[evaluation]\nn = { point = 9 }"},
        [MATCH("evaluation.n.points"), "n.images"],
    ),
    "recipe key": (
        {"training": "[training]\nsteps = 5\nrecipe = { lrr = 1 }"},
        [MATCH("recipe.lr"), "recipe.betas"],
    ),
    "dataset's training key": (
        {"datasets": 'datasets = [{ name = "swissroll", training = { step = 5 } }]'},
        ["'step'", MATCH("steps"), "batch_size"],
    ),
    "include key": (
        {
            "rules": '[[include]]\nobjective = "wgan"\narchitecture = "mlp"\ndataset = "gaussians8"\nseed = 1'
        },
        ["seed'", MATCH("include.0.seeds"), "include.0.dataset"],
    ),
    "exclude key": (
        {"rules": '[[exclude]]\nobjectives = "wgan"'},
        ["'objectives'", MATCH("objective"), "seed"],
    ),
    "objective": (
        {"objectives": 'objectives = ["wgan_pg"]'},
        ["'wgan_pg'", MATCH("wgan_gp"), "lsgan", "minimax"],
    ),
    "architecture": (
        {"architectures": 'architectures = ["dcgann"]'},
        ["'dcgann'", MATCH("dcgan"), "mlp"],
    ),
    "dataset": (
        {"datasets": 'datasets = ["gaussian8"]'},
        ["'gaussian8'", MATCH("gaussians8"), "swissroll"],
    ),
    "metric": (
        {"evaluation": '[evaluation]\nmetrics = ["sdw"]'},
        ["'sdw'", MATCH("swd"), "fid", "modes_covered"],
    ),
    "excluded name": (
        {"rules": '[[exclude]]\nobjective = "wgna"'},
        ["'wgna'", MATCH("wgan"), "nonsaturating"],
    ),
    "excluded seed": ({"rules": "[[exclude]]\nseed = 9"}, ["'9'", "valid: 0"]),
    "included name": (
        {"rules": '[[include]]\nobjective = "wgna"\narchitecture = "mlp"\ndataset = "gaussians8"'},
        ["'wgna'", MATCH("wgan"), "lsgan"],
    ),
    "no reference": (
        {"seeds": 'seeds = 1\nreference = ""'},
        ["reference", "at least 1 character", "not ''"],
    ),
    "a target of 0": (
        {"rules": "[targets]\ngaussians8 = 0"},
        ["targets.gaussians8", "greater than 0", "not 0"],
    ),
    "a target below 0": (
        {"rules": "[targets]\ngaussians8 = -1.5"},
        ["targets.gaussians8", "not -1.5"],
    ),
    "reference": (
        {"seeds": 'seeds = 1\nreference = "nonsaturatin"'},
        ["'nonsaturatin'", MATCH("nonsaturating")],
    ),
    "parameter": (
        {"objectives": 'objectives = [{ name = "wgan_gp", penalty = 1 }]'},
        ["'wgan_gp'", "'penalty'", MATCH("penalty_weight"), "sided", "critic_steps"],
    ),
    "dataset parameter": (
        {"datasets": 'datasets = [{ name = "gaussians8", root = "x" }]'},
        ["'root'", "training"],
    ),
    "shape is no parameter": (
        {"architectures": 'architectures = [{ name = "mlp", shape = 8 }]'},
        ["'shape'", "width"],
    ),
    "no name": ({"objectives": "objectives = [{ clip = 1 }]"}, ["{'clip': 1}", "name", "wgan_gp"]),
    "name of another type": (
        {"objectives": "objectives = [{ name = 5 }]"},
        ["objective '5'", "wgan_gp"],
    ),
    "axis of another type": (
        {"objectives": 'objectives = "wgan"'},
        ["objectives", "list", "'wgan'"],
    ),
    "axis value of another type": (
        {"objectives": "objectives = [5]"},
        ["objectives.0", "string", "table", "not 5"],
    ),
    "number as string": (
        {"objectives": 'objectives = [{ name = "wgan", clip = "1" }]'},
        ["clip", "number", "'1'"],
    ),
    "number as boolean": (
        {"objectives": 'objectives = [{ name = "wgan", clip = true }]'},
        ["clip", "number", "True"],
    ),
    "number as table": (
        {"objectives": 'objectives = [{ name = "wgan", clip = { a = 1 } }]'},
        ["clip", "{'a': 1}"],
    ),
    "number as date": (
        {"objectives": 'objectives = [{ name = "wgan", clip = 2020-01-01 }]'},
        ["clip", "date(2020"],
    ),
    "NaN": (
        {"objectives": 'objectives = [{ name = "wgan", clip = nan }]'},
        ["clip", "finite", "nan"],
    ),
    "infinity": (
        {"objectives": 'objectives = [{ name = "wgan_gp", target = inf }]'},
        ["target", "finite", "inf"],
    ),
    "fraction for an integer": (
        {"objectives": 'objectives = [{ name = "wgan", critic_steps = 2.5 }]'},
        ["2.5"],
    ),
    "integer for a boolean": (
        {"objectives": 'objectives = [{ name = "wgan", long_critic_phases = 1 }]'},
        ["long_critic_phases", "boolean", "not 1"],
    ),
    "none of the words": (
        {"objectives": 'objectives = [{ name = "wgan_gp", sided = "both" }]'},
        ["sided", "'two', 'one' or 'linear'", "'both'"],
    ),
    "swept over nothing": (
        {"objectives": 'objectives = ["lsgan", { name = "wgan", clip = [] }]'},
        ["clip", "[]"],
    ),
    "refused by the objective": (
        {"objectives": 'objectives = [{ name = "wgan", critic_steps = 0 }]'},
        ["wgan[critic_steps=0]", "at least 1"],
    ),
    "signed along the gradient": (
        {
            "objectives": 'objectives = [{ name = "wgan_fdgp", sided = "signed", pairs = "gradient" }]'
        },
        ["sided=signed", "segment", "endpoint", "pairs=gradient"],
    ),
    "width 0": (
        {"architectures": 'architectures = [{ name = "mlp", width = 0 }]'},
        ["mlp", "width", "1", "not 0"],
    ),
    "negative width": (
        {"architectures": 'architectures = [{ name = "mlp", width = -1 }]'},
        ["width", "not -1"],
    ),
    "negative depth": (
        {"architectures": 'architectures = [{ name = "mlp", depth = -1 }]'},
        ["depth", "not -1"],
    ),
    "negative latents": (
        {"architectures": 'architectures = [{ name = "mlp", latent_dim = -1 }]'},
        ["latent_dim"],
    ),
    "critic": (
        {"architectures": 'architectures = [{ name = "mlp", critic = "dcgann" }]'},
        ["critic", "'dcgann'", MATCH("dcgan")],
    ),
    "critic's parameter": (
        {
            "architectures": 'architectures = [{ name = "mlp", critic = { name = "mlp", latent_dim = 2 } }]'
        },
        ["critic 'mlp'", "'latent_dim'", "width"],
    ),
    "critic's norm beside it": (
        {"architectures": 'architectures = [{ name = "mlp", norm = "layer", critic = "mlp" }]'},
        ["'norm'", "critic"],
    ),
    "critic's training": (
        {
            "architectures": 'architectures = [{ name = "mlp", critic = { name = "mlp", training = { steps = 5 } } }]'
        },
        ["not per critic"],
    ),
    "critic of another type": (
        {"architectures": 'architectures = [{ name = "mlp", critic = 5 }]'},
        ["critic", "not 5"],
    ),
    "no critic": (
        {"architectures": 'architectures = [{ name = "mlp", critic = [] }]'},
        ["critic", "not []"],
    ),
    "critic that refuses the shape": (
        {"architectures": 'architectures = [{ name = "mlp", critic = "dcgan" }]'},
        ["mlp[critic=dcgan]", "gaussians8", "(2,)"],
    ),
    "an objective's learning rate": (
        {"objectives": 'objectives = [{ name = "wgan", lr = -1.0 }]'},
        ["objective 'wgan'", "lr", "greater than 0", "-1.0"],
    ),
    "an objective's optimiser": (
        {"objectives": 'objectives = [{ name = "wgan", optimizer = "sgd" }]'},
        ["optimizer", "'adam' or 'rmsprop'", "'sgd'"],
    ),
    "two optimisers": (
        {
            "objectives": 'objectives = [{ name = "wgan", lr = 1e-3 }]',
            "training": "[training]\nsteps = 5\nrecipe = { lr = 1e-3 }",
        },
        ["wgan[lr=0.001]", "training.recipe", "one of the two"],
    ),
    "training of an objective": (
        {"objectives": 'objectives = [{ name = "wgan", training = { steps = 5 } }]'},
        ["'wgan'", "training is set per dataset"],
    ),
    "training is no table": (
        {"datasets": 'datasets = [{ name = "swissroll", training = 5 }]'},
        ["training", "not 5"],
    ),
    "training is a list": (
        {"datasets": 'datasets = [{ name = "swissroll", training = [5] }]'},
        ["training", "[5]"],
    ),
    "training is a word": ({"training": 'training = "paper"\n'}, ["training", "table", "'paper'"]),
    "two budgets": (
        {"training": "[training]\nsteps = 5\nsamples = 6"},
        ["steps, samples, seconds", "steps and samples"],
    ),
    "a dataset's two budgets": (
        {"datasets": 'datasets = [{ name = "swissroll", training = { steps = 5, seconds = 6 } }]'},
        ["steps and seconds"],
    ),
    "no budget": (
        {"training": "[training]\nbatch_size = 5"},
        ["one budget", "steps, samples, seconds", "none"],
    ),
    "no steps": ({"training": "[training]\nsteps = 0"}, ["steps", "greater than", "not 0"]),
    "negative steps": ({"training": "[training]\nsteps = -5"}, ["steps", "-5"]),
    "steps as string": ({"training": '[training]\nsteps = "20"'}, ["steps", "integer", "'20'"]),
    "steps as boolean": ({"training": "[training]\nsteps = true"}, ["steps", "integer", "True"]),
    "endless seconds": ({"training": "[training]\nseconds = inf"}, ["seconds", "finite", "inf"]),
    "batch size as boolean": (
        {"training": "[training]\nsteps = 5\nbatch_size = true"},
        ["batch_size", "True"],
    ),
    "moving average": (
        {"training": "[training]\nsteps = 5\nema = 1.0"},
        ["ema", "less than 1", "1.0"],
    ),
    "precision": (
        {"training": '[training]\nsteps = 5\nprecision = "fp16"'},
        ["float32", "tf32", "bf16", "'fp16'"],
    ),
    "decay over seconds": (
        {"training": '[training]\nseconds = 5\nlr_decay = "linear"'},
        ["lr_decay", "seconds"],
    ),
    "recipe": (
        {"training": '[training]\nsteps = 5\nrecipe = "papr"'},
        ["recipe", "'paper'", "table", "'papr'"],
    ),
    "optimiser": (
        {"training": '[training]\nsteps = 5\nrecipe = { optimizer = "sgd" }'},
        ["recipe.optimizer", "'adam' or 'rmsprop'", "'sgd'"],
    ),
    "learning rate": (
        {"training": "[training]\nsteps = 5\nrecipe = { lr = -1 }"},
        ["recipe.lr", "-1"],
    ),
    "betas": (
        {"training": "[training]\nsteps = 5\nrecipe = { betas = [0.5, 3] }"},
        ["recipe.betas", "less than 1"],
    ),
    "batch norm under a per-sample penalty": (
        {
            "objectives": 'objectives = ["wgan_gp"]',
            "architectures": 'architectures = [{ name = "mlp", norm = "batch", width = 8 }]',
        },
        ["wgan_gp", "mlp[norm=batch,width=8]", "batch norm", "'layer'", "'none'"],
    ),
    "dcgan on points": (
        {"architectures": 'architectures = ["dcgan"]'},
        ["dcgan", "gaussians8", "multiple of 4", "(2,)"],
    ),
    "duplicate": ({"objectives": 'objectives = ["wgan", "wgan"]'}, ["duplicate cell wgan-mlp"]),
    "told apart by training only": (
        {"architectures": 'architectures = ["mlp", { name = "mlp", training = { steps = 5 } }]'},
        ["nonsaturating x mlp x gaussians8", "twice", "training"],
    ),
    "a seed beyond 31 bits": ({"seeds": "seeds = [2147483648]"}, ["seeds.0", "2147483648"]),
    "too few real images": (
        {"evaluation": "[evaluation]\nn_real = 3"},
        ["n_real", "at least 10", "3"],
    ),
    "duplicate seed": ({"seeds": "seeds = [0, 0]"}, ["duplicate", "seed0"]),
    "duplicate by inclusion": (
        {
            "architectures": 'architectures = ["mlp"]',
            "rules": '[[include]]\nobjective = "nonsaturating"\narchitecture = "mlp"\ndataset = "gaussians8"',
        },
        ["duplicate cell nonsaturating-mlp"],
    ),
    "empty": ({"objectives": "objectives = []"}, ["the matrix is empty"]),
    "no seed": ({"seeds": "seeds = []"}, ["the matrix is empty"]),
    "all excluded": ({"rules": '[[exclude]]\ndataset = "gaussians8"'}, ["the matrix is empty"]),
    "rule without a condition": ({"rules": "[[exclude]]"}, ["exclude", "without a condition"]),
    "rule over a list": (
        {"rules": '[[exclude]]\nobjective = ["wgan"]'},
        ["exclude.0.objective", "['wgan']"],
    ),
    "rules that are no list": ({"rules": '[exclude]\nobjective = "wgan"'}, ["exclude", "list"]),
    "incomplete inclusion": (
        {"rules": '[[include]]\nobjective = "wgan"'},
        ["include.0.architecture", "required"],
    ),
    "inclusion of a number": (
        {"rules": '[[include]]\nobjective = 5\narchitecture = "mlp"\ndataset = "gaussians8"'},
        ["include.0.objective", "not 5"],
    ),
    "inclusion of a list": (
        {
            "rules": '[[include]]\nobjective = ["wgan"]\narchitecture = "mlp"\ndataset = "gaussians8"'
        },
        ["include.0.objective", "['wgan']"],
    ),
    "inclusion with seeds as string": (
        {
            "rules": '[[include]]\nobjective = "wgan"\narchitecture = "mlp"\ndataset = "gaussians8"\nseeds = "01"'
        },
        ["include.0.seeds", "'01'"],
    ),
    "bad TOML": ({"objectives": "objectives = ["}, ["tiny.toml", "line"]),
    "a key twice": ({"seeds": "seeds = 1\nseeds = 2"}, ["tiny.toml", "overwrite"]),
    "a missing axis": ({"datasets": ""}, ["tiny.toml", "datasets", "required"]),
    "schedule falls": ({"evaluation": "[evaluation]\nschedule = [1, 0]"}, ["rising", "[1.0, 0.0]"]),
    "schedule repeats": (
        {"evaluation": "[evaluation]\nschedule = [0, 0, 1]"},
        ["rising", "[0.0, 0.0, 1.0]"],
    ),
    "schedule is empty": ({"evaluation": "[evaluation]\nschedule = []"}, ["rising", "not []"]),
    "schedule beyond the end": (
        {"evaluation": "[evaluation]\nschedule = [0, 2]"},
        ["schedule.1", "1", "not 2"],
    ),
    "schedule of strings": (
        {"evaluation": '[evaluation]\nschedule = ["0"]'},
        ["schedule.0", "number", "'0'"],
    ),
    "schedule as number": (
        {"evaluation": "[evaluation]\nschedule = 1"},
        ["schedule", "list", "not 1"],
    ),
    "no samples": (
        {"evaluation": "[evaluation]\nn = { points = 0 }"},
        ["n.points", "greater than", "not 0"],
    ),
    "sizes as number": (
        {"evaluation": "[evaluation]\nn = 200"},
        ["evaluation.n", "table", "not 200"],
    ),
    "never logged": ({"evaluation": "[evaluation]\nlog_every = 0"}, ["log_every", "not 0"]),
    "metrics of the other modality": (
        {"evaluation": '[evaluation]\nmetrics = ["fid", "kid"]'},
        ["['fid', 'kid']", "gaussians8", "points", "swd"],
    ),
    "no seeds": ({"seeds": "seeds = 0"}, ["seeds", "not 0"]),
    "negative number of seeds": ({"seeds": "seeds = -3"}, ["seeds", "-3"]),
    "negative seed": ({"seeds": "seeds = [0, -1]"}, ["seeds.1", "-1"]),
    "seeds as string": ({"seeds": 'seeds = "5"'}, ["seeds", "integer", "list", "'5'"]),
    "seed as string": ({"seeds": 'seeds = ["one"]'}, ["seeds.0", "integer", "'one'"]),
    "seeds as boolean": ({"seeds": "seeds = true"}, ["seeds", "True"]),
    "seeds as fraction": ({"seeds": "seeds = 2.5"}, ["seeds", "2.5"]),
}


def refused(ended: Ended, *named: str) -> None:
    """One line on stderr that names every one of these, exit code 2, nothing on stdout."""
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("ganbench: ")
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1
    missing = [text for text in named if text not in ended.err]
    assert not missing, f"{missing} not in {ended.err}"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(
    mistake: str, ganbench: Callable[..., Ended], matrix_file: Callable[..., Path], tmp_path: Path
) -> None:
    parts, named = MISTAKES[mistake]
    refused(
        ganbench(
            "run", "--dry-run", "--matrix", matrix_file(**parts), "--results", tmp_path / "results"
        ),
        *named,
    )
    assert os.listdir(tmp_path) == ["tiny.toml"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--set", "training.steps=many"), ["steps", "'many'"]),
        (("--set", "training.step=5"), ["'step'", MATCH("steps")]),
        (("--set", "trainin.steps=5"), ["'trainin'", MATCH("training")]),
        (("--set", "training"), ["--set", "name=value", "'training'"]),
        (("--set", "training.steps="), ["--set", "name=value"]),
        (("--set", "=5"), ["--set", "name=value"]),
        (("--set", "seeds.x=1"), ["seeds.x=1", "not a table"]),
        (("--set", "objectives.0=wgan"), ["objectives.0=wgan", "not a table"]),
        (("--set", "training=5"), ["training", "table", "not 5"]),
        (("--set", "objectives=wgan"), ["objectives", "list", "'wgan'"]),
        (("--only", "objective"), ["--only", "name=value", "'objective'"]),
        (("--only", "objectives=wgan"), ["--only", "'objectives'", MATCH("objective")]),
        (
            ("--only", "objective=nonsaturatin"),
            ["--only", "'nonsaturatin'", MATCH("nonsaturating")],
        ),
        (("--only", "objective=lsgan"), ["--only", "'lsgan'", "valid: nonsaturating"]),
        (("--only", "seed=5"), ["--only", "'5'", "valid: 0"]),
        (("--precision", "fp8"), ["precision", "float32", "bf16", "'fp8'"]),
    ],
)
def test_a_mistaken_flag_is_one_line_that_names_it(
    arguments: tuple[str, ...],
    named: list[str],
    ganbench: Callable[..., Ended],
    matrix_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    common = ("run", "--dry-run", "--matrix", matrix_file(), "--results", tmp_path / "results")
    refused(ganbench(*common, *arguments), *named)
    assert os.listdir(tmp_path) == ["tiny.toml"]


def test_a_matrix_that_is_not_there_or_no_text_is_one_line(
    ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    refused(ganbench("run", "--dry-run", "--matrix", "quik"), "'quik'", MATCH("quick"), ".toml")
    refused(ganbench("run", "--dry-run", "--matrix", tmp_path / "none.toml"), "none.toml", "quick")
    refused(ganbench("run", "--dry-run", "--matrix", tmp_path), str(tmp_path), "quick")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    refused(ganbench("run", "--dry-run", "--matrix", tmp_path / "bytes.toml"), "bytes.toml", "0xff")


def test_the_comment_that_begins_a_file_is_its_description(tmp_path: Path) -> None:
    path = tmp_path / "described.toml"
    path.write_text("# Two lines\n# of words.\n\n# not this\n" + matrix_text())
    assert files.read(path)[1] == "Two lines\nof words."
