"""The hash of the code: of its meaning, of the files that a cell depends on, and of no others."""

import ast
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import variants
from benchmark.matrix import recall
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import Training
from benchmark.store import code
from benchmark.store.code import definitions, measuring_code, training_code

Edit = Callable[[str, str], None]

MODULE = '''"""What it is."""

import math
from dataclasses import dataclass

RATE = 0.5


def loss(x: float) -> float:
    """The loss of x."""
    return math.exp(x) - RATE * x


@dataclass
class Pair:
    """Two numbers."""

    first: float
    """The first one."""

    second: float = 1.0
'''


def cell(**choices: Choice) -> Cell:
    """A cell of small variants, some of them replaced."""
    parts = {
        "objective": Choice("wgan"),
        "architecture": Choice("mlp"),
        "dataset": Choice("stacked_mnist"),
    }
    return Cell(**(parts | choices), seed=0, training=Training(steps=1))


def forget() -> None:
    """Read every file again."""
    for cached in (definitions, code._hash, code.files_of, code._with_imports, code._imports):
        cached.cache_clear()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code, which the hashes are of."""
    root = tmp_path / "checkout"
    for folder in ("benchmark", "variants"):
        shutil.copytree(code.ROOT / folder, root / folder, ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(code, "ROOT", root)
    monkeypatch.setattr(variants, "SHIPPED", root / "variants")
    # Kept are the hashes of the code that runs
    monkeypatch.setattr(recall, "_kept", lambda: None)
    return root


@pytest.fixture
def edit(checkout: Path) -> Edit:
    """Replaces the text of a file of the copy, by its path in it."""

    def write(name: str, text: str) -> None:
        (checkout / name).write_text(text)

    return write


MODALITIES = ("points", "images", "text")


def hashes() -> tuple[str, ...]:
    """Of training, and of measuring each of MODALITIES."""
    forget()
    return training_code(cell()), *map(measuring_code, MODALITIES)


# Meaning

SAME = {
    "another docstring": ('"""The loss of x."""', '"""Another text, and\n    a second line."""'),
    "no docstring": ('    """The loss of x."""\n', ""),
    "a comment": ("RATE = 0.5\n", "# per step\nRATE = 0.5  # a half\n"),
    "another layout": (
        "math.exp(x) - RATE * x",
        "(\n        math.exp(x)\n        - (RATE * x)\n    )",
    ),
    "another order of imports": (
        "import math\nfrom dataclasses import dataclass\n",
        "from dataclasses import dataclass\nimport math\n",
    ),
    "no text under a field": ('    """The first one."""\n\n', ""),
}
DIFFERENT = {
    "a constant": ("RATE = 0.5", "RATE = 0.25"),
    "the type of a constant": ("second: float = 1.0", "second: float = 1"),
    "an operator": ("math.exp(x) - RATE", "math.exp(x) + RATE"),
    "a name": ("math.exp(x)", "math.expm1(x)"),
    "a field": ("    second: float = 1.0\n", "    second: float = 1.0\n    third: int = 0\n"),
    "a decorator": ("@dataclass\n", "@dataclass(frozen=True)\n"),
    "the order of fields": (
        '    first: float\n    """The first one."""\n\n    second: float = 1.0\n',
        "    second: float = 1.0\n    first: float\n",
    ),
}


@pytest.mark.parametrize("change", SAME)
def test_wording_and_layout_are_no_meaning(change: str, edit: Edit) -> None:
    edit("benchmark/train/planted.py", MODULE)
    before = hashes()
    old, new = SAME[change]
    assert old in MODULE
    edit("benchmark/train/planted.py", MODULE.replace(old, new))
    assert hashes() == before


@pytest.mark.parametrize("change", DIFFERENT)
def test_what_computes_another_number_is_another_hash(change: str, edit: Edit) -> None:
    edit("benchmark/train/planted.py", MODULE)
    before = hashes()
    old, new = DIFFERENT[change]
    assert old in MODULE
    edit("benchmark/train/planted.py", MODULE.replace(old, new))
    assert hashes()[0] != before[0]


def test_a_definition_may_move_from_one_file_to_another(edit: Edit) -> None:
    edit("benchmark/train/planted.py", MODULE)
    before = hashes()
    head, tail = MODULE.split("@dataclass\n")
    edit("benchmark/train/planted.py", head)
    edit("benchmark/train/execution/planted.py", f'"""Moved."""\n\n\n@dataclass\n{tail}')
    assert hashes() == before
    edit("benchmark/train/execution/planted.py", '"""Gone."""\n')
    assert hashes()[0] != before[0]


def test_every_file_reads_the_same_after_a_round_through_its_syntax_tree(
    checkout: Path, edit: Edit
) -> None:
    """`ast.unparse` keeps the meaning of a file, and neither its comments nor its layout."""
    before = hashes()
    for name in (*code.TRAINING, *code.MEASURING):
        place = checkout / name
        for file in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            file.write_text(ast.unparse(ast.parse(file.read_text())))
    assert hashes() == before


# Training and measuring apart


@pytest.mark.parametrize("name", ["train/loop.py", "train/execution/stack.py", "matrix/pairs.py"])
def test_training_code_is_no_measuring_code(name: str, checkout: Path, edit: Edit) -> None:
    before = hashes()
    text = (checkout / "benchmark" / name).read_text()
    edit(f"benchmark/{name}", text + "\nPLANTED = 1\n")
    after = hashes()
    assert after[0] != before[0]
    assert after[1:] == before[1:]


@pytest.mark.parametrize(
    ("name", "modalities"),
    [
        ("points.py", {"points"}),
        ("images.py", {"images"}),
        ("features/extract.py", {"images"}),
        ("text.py", {"text"}),
        ("grams.py", {"text"}),
        ("protocol.py", {*MODALITIES}),
        ("instrument.py", {*MODALITIES}),
    ],
)
def test_measuring_code_is_no_training_code(
    name: str, modalities: set[str], checkout: Path, edit: Edit
) -> None:
    before = hashes()
    text = (checkout / "benchmark/measure" / name).read_text()
    edit(f"benchmark/measure/{name}", text + "\nPLANTED = 1\n")
    after = hashes()
    assert after[0] == before[0]
    changed = {
        modality
        for modality, old, new in zip(MODALITIES, before[1:], after[1:], strict=True)
        if old != new
    }
    assert changed == modalities


# The variants of a cell

RESNET20 = Choice("dcgan", {"critic": {"name": "resnet20", "width": 16}})


@pytest.mark.parametrize(
    ("architecture", "file"),
    [
        (Choice("resnet50"), "architectures/_bottleneck"),
        (Choice("gated"), "architectures/dcgan"),
        (RESNET20, "architectures/_bottleneck"),
        (Choice("mlp"), "datasets/_idx"),
        (Choice("mlp"), "architectures/__init__"),
    ],
)
def test_the_code_of_a_cell_is_all_that_its_variants_import(
    architecture: Choice, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[tuple[Path, ...]] = []
    monkeypatch.setattr("benchmark.store.code._hash", hashed.append)
    training_code(cell(architecture=architecture))
    assert code.ROOT / f"variants/{file}.py" in hashed[0]
    assert code.ROOT / "variants/architectures/resnet.py" not in hashed[0], "nor what they do not"


def test_a_cell_does_not_depend_on_variants_that_are_not_its_own(
    checkout: Path, edit: Edit
) -> None:
    before = hashes()
    edit("variants/objectives/lsgan.py", "PLANTED = 1\n")
    edit("variants/architectures/dcgan.py", "PLANTED = 1\n")
    assert hashes() == before
    text = (checkout / "variants/objectives/wgan.py").read_text()
    edit("variants/objectives/wgan.py", text + "\nPLANTED = 1\n")
    assert hashes()[0] != before[0]


def test_a_variant_of_the_user_is_hashed_with_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / "mine", tmp_path / "also_mine"]
    for folder in folders:
        (folder / "objectives").mkdir(parents=True)
    own = folders[0] / "objectives/own.py"
    parts = [folder / "objectives" / "_part.py" for folder in folders]
    own.write_text(
        "from variants.objectives._part import RATE\nfrom variants.objectives import lsgan\n"
    )
    parts[1].write_text("RATE = 0.5\n")
    monkeypatch.setenv("GANBENCH_VARIANTS", os.pathsep.join(map(str, folders)))
    mine = cell(objective=Choice("own"))

    def now() -> str:
        forget()
        return training_code(mine)

    before = now()
    hashed: list[tuple[Path, ...]] = []
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.store.code._hash", hashed.append)
        training_code(mine)
    assert {own, parts[1], code.ROOT / "variants/objectives/lsgan.py"} <= {*hashed[0]}
    parts[1].write_text("RATE = 0.25\n")
    edited = now()
    assert edited != before
    parts[1].write_text("# a quarter\nRATE = 0.25\n")
    assert now() == edited


def test_a_variant_whose_file_is_gone_is_an_error() -> None:
    with pytest.raises(variants.VariantError, match=r"nowhere\.py"):
        training_code(cell(objective=Choice("nowhere")))
