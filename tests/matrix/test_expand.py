"""Expansion of a matrix: which cells, in which order, with which options and normalisation."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmark.cli.progress import option_lines
from benchmark.errors import UserError
from benchmark.matrix import files
from benchmark.matrix.cell import Cell, cell_from_spec
from benchmark.matrix.expand import expand
from benchmark.matrix.options import BUDGETS
from benchmark.matrix.values import made, parameters
from benchmark.train.build import make_recipe
from tests.conftest import matrix_text
from variants.architectures import build, dcgan, mlp
from variants.objectives import Recipe, lsgan, wgan


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
        objectives='objectives = [{ name = "wgan_gp", penalty_weight = [1, 5], '
        'sided = ["one", "linear"] }]'
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
        datasets='datasets = ["gaussians8", '
        '{ name = "swissroll", training = { batch_size = 32, ema = 0.5 } }]'
    )
    assert (plain.training.batch_size, plain.training.ema, plain.training.steps) == (8, 0.0, 20)
    assert (special.training.batch_size, special.training.ema) == (32, 0.5)
    assert special.training.steps == 20


def test_a_budget_of_a_dataset_replaces_the_budget_of_the_matrix(
    cells: Callable[..., list[Cell]],
) -> None:
    plain, special = cells(
        datasets='datasets = ["gaussians8", { name = "swissroll", training = { samples = 999 } }]'
    )
    budgets = [[cell.training.plain()[name] for name in BUDGETS] for cell in (plain, special)]
    assert budgets == [[20, None, None], [None, 999, None]]


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
    rule = '[[include]]\nobjective = { name = "wgan", clip = [0.1, 1] }\n'
    rule += 'architecture = "mlp"\ndataset = "swissroll"\n'
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
    chosen = cells("objective=wgan|wgan_gp[sided=one]", objectives=three)
    assert [c.objective.label for c in chosen] == ["wgan", "wgan_gp[sided=one]"]


def test_set_overrides_before_validation(cells: Callable[..., list[Cell]]) -> None:
    overrides = ("training.steps=7", "seeds=[4]", 'objectives=["lsgan"]')
    overrides += ("training.lr_decay=linear",)
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
    norms = [c.norm for c in cells(architectures=architectures, **parts)]
    assert norms == ["spectral", "spectral", "batch"]


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
    for cell in (plain, special):
        assert (cell.training.steps, cell.training.samples) == (7, None)
        assert cell.training.batch_size == 4
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
    overridden = cells(rules=rule, overrides=("training.steps=3",))
    assert [c.training.steps for c in overridden] == [3, 3]


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
    betas = '{ name = "wgan_gp", betas = [[0.0, 0.9], [0.5, 0.9]] }'
    found = cells(objectives=f'objectives = ["lsgan", {rates}, {betas}]')
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


def test_an_objective_may_set_training_options_of_its_own(
    cells: Callable[..., list[Cell]],
) -> None:
    """They stand in its label and its key; they leave the cells of others, and all streams, as they
    are. The printed options are those of the matrix."""
    noise = '{ name = "lsgan", instance_noise = [0.0, 0.1], noise_decay = "linear" }'
    average = '{ name = "lsgan", ema = 0.9, ema_warmup = [false, true], critic_pretrain = 3 }'
    (plain,) = cells(objectives='objectives = ["lsgan"]')
    found = cells(objectives=f"objectives = [{noise}, {average}]")
    assert [c.objective.label for c in found] == [
        "lsgan",
        "lsgan[instance_noise=0.1]",
        "lsgan[critic_pretrain=3,ema=0.9]",
        "lsgan[critic_pretrain=3,ema=0.9,ema_warmup=true]",
    ]
    assert found[0] == plain
    assert found[1].training == plain.training.replaced(instance_noise=0.1)
    own = {"ema": 0.9, "ema_warmup": True, "critic_pretrain": 3}
    assert found[3].training == plain.training.replaced(**own)
    for cell in found:
        spec = cell.spec | {"evaluation": cell.evaluation.plain(), "norm": cell.norm}
        assert cell_from_spec(spec) == cell
        assert cell.stream("weights") == plain.stream("weights")
        assert made(cell.objective) == lsgan.Objective()
    assert option_lines(found) == option_lines([plain])


def test_an_objective_and_the_matrix_may_set_two_halves_of_a_trick(
    cells: Callable[..., list[Cell]],
) -> None:
    (found,) = cells(
        objectives='objectives = [{ name = "lsgan", noise_decay = "none" }]',
        overrides=("training.instance_noise=0.1",),
    )
    assert (found.training.instance_noise, found.training.noise_decay) == (0.1, "none")


def test_a_field_with_the_name_of_an_option_is_refused(
    cells: Callable[..., list[Cell]], monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Own(wgan.Objective):
        instance_noise: float = 0.5

    monkeypatch.setattr(wgan, "Objective", Own)
    with pytest.raises(UserError, match="'wgan': its field instance_noise has an option's name"):
        parameters("objective", "wgan")


def test_an_optimiser_has_its_own_constants(cells: Callable[..., list[Cell]]) -> None:
    """What is left out is TensorFlow's for rmsprop_tf and PyTorch's for rmsprop; what is said
    although it is the default changes no label."""
    said = '{ name = "wgan", optimizer = "rmsprop_tf", alpha = [0.9, 0.99], eps = 1e-10 }'
    plain = '{ name = "wgan", alpha = 0.99, eps = [1e-8, 1e-6] }'
    lsgan = '{ name = "lsgan", optimizer = "rmsprop_tf", lr = 1e-4 }'
    found = cells(objectives=f"objectives = [{said}, {plain}, {lsgan}]")
    assert [c.objective.label for c in found] == [
        "wgan[optimizer=rmsprop_tf]",
        "wgan[alpha=0.99,optimizer=rmsprop_tf]",
        "wgan",
        "wgan[eps=1e-06]",
        "lsgan[lr=0.0001,optimizer=rmsprop_tf]",
    ]
    assert [make_recipe(c) for c in found] == [
        Recipe("rmsprop_tf", 5e-5, alpha=0.9, eps=1e-10),
        Recipe("rmsprop_tf", 5e-5, alpha=0.99, eps=1e-10),
        Recipe("rmsprop", 5e-5, alpha=0.99, eps=1e-8),
        Recipe("rmsprop", 5e-5, alpha=0.99, eps=1e-6),
        Recipe("rmsprop_tf", 1e-4, alpha=0.9, eps=1e-10),
    ]


def test_naming_an_objectives_own_optimiser_keeps_its_constants(
    cells: Callable[..., list[Cell]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Recipe("rmsprop", 5e-5, alpha=0.5)
    monkeypatch.setattr(wgan.Objective, "recipe", own)
    values = [
        '{ name = "wgan", optimizer = "rmsprop" }',
        '{ name = "wgan", optimizer = "rmsprop", alpha = 0.99 }',
    ]
    found = cells(objectives=f"objectives = [{', '.join(values)}]")
    assert [make_recipe(c).alpha for c in found] == [0.5, 0.99]


def test_a_shared_optimiser_has_its_own_constants(cells: Callable[..., list[Cell]]) -> None:
    """Also without eps: the key of a cell is made of what is written here."""

    def recipe(table: str) -> tuple[object, Recipe]:
        (cell,) = cells(training=f"[training]\nsteps = 20\nrecipe = {{ {table} }}")
        return cell.spec["training"]["recipe"], make_recipe(cell)

    spec, used = recipe('optimizer = "rmsprop", lr = 1e-3')
    assert spec == {"optimizer": "rmsprop", "lr": 1e-3, "betas": [0.5, 0.999], "alpha": 0.99}
    assert used == Recipe("rmsprop", 1e-3, alpha=0.99, eps=1e-8, betas=[0.5, 0.999])
    spec, used = recipe('optimizer = "rmsprop_tf", lr = 1e-3')
    assert spec == {"optimizer": "rmsprop_tf", "lr": 1e-3, "betas": [0.5, 0.999], "alpha": 0.9}
    assert used == Recipe("rmsprop_tf", 1e-3, alpha=0.9, eps=1e-10, betas=[0.5, 0.999])
    spec, used = recipe('optimizer = "adam", eps = 1e-6')
    assert spec["eps"] == used.eps == 1e-6


def test_set_has_the_last_word_over_a_datasets_own_training(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    own = '{ name = "swissroll", training = { samples = 999, ema = 0.5 } }'
    path.write_text(matrix_text(datasets=f'datasets = ["gaussians8", {own}]'))
    found = expand(files.read(path, ["training.steps=7"]).matrix)
    assert [(c.training.steps, c.training.samples) for c in found] == [(7, None), (7, None)]
    assert [c.training.ema for c in found] == [0.0, 0.5]
    found = expand(files.read(path, ["training.seconds=1.5"]).matrix)
    assert [(c.training.steps, c.training.seconds) for c in found] == [(None, 1.5), (None, 1.5)]


def test_the_shipped_matrices_say_what_they_cost() -> None:
    """tests/test_fingerprint.py expands them all."""
    for name in files.names():
        loaded = files.read(files.find(name))
        says_cost = re.search(r"^Cost: .*\d", loaded.description, re.MULTILINE)
        assert says_cost, f"{name} does not say what it costs"
    assert len(expand(files.read(files.find("quick")).matrix)) == 168


def test_a_table_of_a_list_is_overridden_by_its_position() -> None:
    path = files.find("random_architectures")
    larger = expand(files.read(path, ["architectures.1.sample=52"]).matrix)
    before = [cell.key for cell in expand(files.read(path).matrix)]
    assert len(larger) == len(before) + 2 * 7
    assert set(before) < {cell.key for cell in larger}
    wgan = files.read(path, ["objectives.0=wgan_div"])
    assert wgan.matrix.objectives[0] == "wgan_div"


def test_the_comment_that_begins_a_file_is_its_description(tmp_path: Path) -> None:
    path = tmp_path / "described.toml"
    path.write_text("# Two lines\n# of words.\n\n# not this\n" + matrix_text())
    assert files.read(path).description == "Two lines\nof words."


def test_seeds_of_weights_and_of_batches_are_crossed(cells: Callable[..., list[Cell]]) -> None:
    found = cells(seeds="seeds = { weights = 3, batches = [0, 7] }")
    assert [cell.seed for cell in found] == [0, 7, 1000, 1007, 2000, 2007]
    assert all(cell.is_crossed for cell in found)
    grown = cells(seeds="seeds = { weights = 4, batches = [0, 7, 8] }")
    assert {cell.key for cell in found} < {cell.key for cell in grown}
    fewer = cells(overrides=("seeds.weights=1",), seeds="seeds = { weights = 3, batches = 2 }")
    assert [cell.seed for cell in fewer] == [0, 1]
    chosen = cells("seed=2007", seeds="seeds = { weights = 3, batches = [0, 7] }")
    assert [cell.seed for cell in chosen] == [2007]
    assert not any(cell.is_crossed for cell in cells(seeds="seeds = 2"))
