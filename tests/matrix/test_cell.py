"""Keys and random streams of cells."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from benchmark.matrix.cell import Cell, Choice, cell_from_spec
from benchmark.matrix.expand import expand
from benchmark.matrix.options import Matrix, Training
from benchmark.store.code import ROOT
from benchmark.store.schema import Spec
from tests.helpers.cells import small_cell

STEPS = Training(steps=1)
REFERENCE = ROOT / "results" / "reference"
PRINT_KEY = """
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import Training
objective = Choice("lsgan", {"b": 2.0, "a": [0.1]})
cell = Cell(objective, Choice("mlp"), Choice("gaussians8"), 0, Training(steps=1))
print(cell.key, cell.stream("weights", 3))
"""


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


def test_a_later_option_is_in_a_key_only_if_it_is_set() -> None:
    assert small_cell(generator_latents="fresh").key == small_cell().key
    changed = small_cell(generator_latents="critic")
    assert changed.key != small_cell().key
    assert Training.model_validate(changed.spec["training"]) == changed.training
    assert "generator_latents" not in small_cell().spec["training"]


def test_keys_and_streams_are_the_same_in_every_process() -> None:
    expected = "lsgan_a=_0.1__b=2.0_-mlp-gaussians8-seed0-72304b16 1112293261076192431"
    for seed in ("1", "2"):
        ended = subprocess.run(
            [sys.executable, "-c", PRINT_KEY],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout.strip() == expected


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


def test_a_key_is_a_short_file_name_in_any_alphabet() -> None:
    cells = [
        example(tag=letters + end) for letters in ("x" * 300, "é" * 300, "🦆/" * 90) for end in "ab"
    ]
    keys = [cell.key for cell in cells]
    assert max(len(key.encode()) for key in keys) <= 129
    assert len(set(keys)) == len(keys)
    assert not [key for key in keys if "/" in key]


def test_a_label_has_no_blank_and_nothing_that_is_not_printed() -> None:
    label = example(tag="a b\nc\u202ed\x1b[0m é").objective.label
    assert label == "lsgan[tag=a%20b%0Ac%E2%80%AEd%1B[0m%20é]"


def test_zero_has_one_sign(cells: Callable[..., list[Cell]]) -> None:
    (zero,) = cells(objectives='objectives = [{ name = "wgan_gp", target = -0.0 }]')
    (same,) = cells(objectives='objectives = [{ name = "wgan_gp", target = 0.0 }]')
    assert (zero.key, zero.objective.label) == (same.key, "wgan_gp[target=0.0]")


def test_committed_keys_stay() -> None:
    """An option that is newer than a key is no part of it while it has its default."""
    for file in REFERENCE.glob("*/matrix.json"):
        stored = json.loads(file.read_text())
        for entry in stored["cells"]:
            training = Training.model_validate(entry["spec"]["training"])
            assert training.plain() == entry["spec"]["training"]
    stored = json.loads((REFERENCE / "quick" / "matrix.json").read_text())
    found = [cell.key for cell in expand(Matrix(**stored["config"]))]
    assert found == [entry["key"] for entry in stored["cells"]]


# Crossed seeds


def crossed(seed: int) -> Cell:
    return replace(small_cell("wgan_gp"), seed=seed, is_crossed=True)


def test_a_crossed_seed_names_the_streams_of_weights_and_of_steps() -> None:
    """A stream is that of the plain seed that the cell shares it with, for every objective."""
    cell = crossed(3001)
    for names in (("weights",), ("generator", "body.weight"), ("critic", "out.weight")):
        for objective in ("wgan_gp", "minimax"):
            assert cell.stream(*names) == small_cell(objective, seed=3).stream(*names)
    assert cell.stream("steps") == small_cell(seed=1).stream("steps")
    evaluations = {crossed(seed).stream("evaluation") for seed in (3001, 3002, 2001)}
    assert len(evaluations) == 3


def test_a_crossed_cell_has_a_key_of_its_own_and_a_spec_that_says_so() -> None:
    plain = replace(crossed(3), is_crossed=False)
    assert "crossed" not in plain.spec
    assert plain.key == small_cell("wgan_gp", seed=3).key
    assert crossed(3).spec == plain.spec | {"crossed": True}
    assert crossed(3).key != plain.key
    spec = Spec.model_validate({**crossed(3).spec, "norm": "none"})
    assert spec.cell().is_crossed
    assert spec.cell().key == crossed(3).key
    assert Spec.model_validate(plain.spec).plain() == plain.spec
