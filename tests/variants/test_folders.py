"""A user's own folder of variants: found, imported, refused in one line, the same everywhere."""

import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import variants

ROOT = Path(variants.__file__).parent.parent

OBJECTIVE = '''
"""A loss of my own."""

from dataclasses import dataclass

from variants.objectives import Base, Recipe


@dataclass(frozen=True)
class Objective(Base):
    """Mine, 2025."""

    slope: float = 1.0

    recipe = Recipe("adam", lr=1e-4)

    def d_loss(self, D, real, fake, noise=None):
        return self.slope * (D(fake).mean() - D(real).mean())

    def g_loss(self, D, real, fake, noise=None):
        return -D(fake).mean()
'''

CHILD = '''
from dataclasses import dataclass

from variants.objectives import parent_loss


@dataclass(frozen=True)
class Objective(parent_loss.Objective):
    """Mine again, 2025."""

    slope: float = 2.0
'''

ARCHITECTURE = '''
from variants.architectures import mlp


class Generator(mlp.Generator):
    """A narrow MLP."""

    def __init__(self, shape, latent_dim=0, width=8):
        super().__init__(shape, latent_dim, width)


class Discriminator(mlp.Discriminator):
    """A narrow MLP."""

    def __init__(self, shape, norm="auto", width=8):
        super().__init__(shape, norm, width)
'''

DATASET = '''
from dataclasses import dataclass

import torch

from variants.datasets import Base, Split


@dataclass(frozen=True)
class Dataset(Base):
    """A square."""

    shape = (2,)
    modality = "points"
    source = "generated: uniform in a square"
    licence = "none needed"
    split = "two independent draws"

    def load(self):
        generator = torch.Generator().manual_seed(0)
        points = torch.rand(2, 100, 2, generator=generator)
        return Split(points[0]), Split(points[1])
'''

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_trace_left() -> Iterator[None]:
    """Variables, imported modules and search paths are as before after every test."""
    before = os.environ.get(variants.VARIABLE)
    modules = set(sys.modules)
    yield
    os.environ.pop(variants.VARIABLE, None)
    if before is not None:
        os.environ[variants.VARIABLE] = before
    for name in set(sys.modules) - modules:
        folder = Path(getattr(sys.modules[name], "__file__", None) or variants.__file__)
        if name.startswith("variants.") and not folder.is_relative_to(ROOT):
            package, _, stem = name.rpartition(".")
            del sys.modules[name]
            delattr(sys.modules[package], stem)
    for axis in variants.AXES:
        if f"variants.{axis}" in sys.modules:
            sys.modules[f"variants.{axis}"].__path__[:] = variants.search_path(axis)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of a folder of variants; returns the folder."""

    def write(file: str, text: str = "", folder: str = "mine") -> Path:
        path = tmp_path / folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path / folder

    return write


def refusal(folder: Path | str) -> str:
    """The one line with which a folder is refused, and nothing added."""
    before = os.environ.get(variants.VARIABLE, "")
    with pytest.raises(variants.VariantError) as caught:
        variants.add_folder(folder)
    assert os.environ[variants.VARIABLE] == before
    return one_line(caught)


def load_error(axis: str, name: str) -> str:
    """The one line with which a variant is refused when it is loaded."""
    with pytest.raises(variants.VariantError) as caught:
        variants.load(axis, name)
    return one_line(caught)


def one_line(caught: pytest.ExceptionInfo[ValueError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def run(code: str, **environment: str) -> str:
    """What Python code prints in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.strip()


class TestAddFolder:
    def test_its_variants_stand_with_the_shipped_ones(self, write: Write) -> None:
        shipped = variants.names("objectives")
        folder = write("objectives/my_loss.py", OBJECTIVE)
        variants.add_folder(folder)
        assert variants.names("objectives") == sorted([*shipped, "my_loss"])
        assert variants.folders() == [folder]
        assert variants.origin("objectives", "my_loss") == folder / "objectives/my_loss.py"
        shipped_file = ROOT / "variants/objectives/wgan.py"
        assert variants.origin("objectives", "wgan") == shipped_file

    def test_a_folder_needs_only_one_axis_and_is_added_once(self, write: Write) -> None:
        folder = write("datasets/square.py", DATASET)
        variants.add_folder(folder)
        variants.add_folder(str(folder))
        assert variants.folders() == [folder]
        assert "square" in variants.names("datasets")
        assert "square" not in variants.names("objectives")

    def test_several_folders_follow_each_other(self, write: Write) -> None:
        first = write("objectives/my_loss.py", OBJECTIVE, folder="first")
        second = write("objectives/other_loss.py", OBJECTIVE, folder="second")
        variants.add_folder(first)
        variants.add_folder(second)
        assert variants.folders() == [first, second]
        assert {"my_loss", "other_loss"} <= set(variants.names("objectives"))
        assert os.environ["GANBENCH_VARIANTS"] == f"{first}{os.pathsep}{second}"

    def test_a_relative_path_becomes_absolute(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write("objectives/my_loss.py", OBJECTIVE)
        monkeypatch.chdir(folder.parent)
        variants.add_folder("mine")
        assert os.environ["GANBENCH_VARIANTS"] == str(folder)

    def test_helper_modules_and_init_files_are_no_variants(self, write: Write) -> None:
        shipped = variants.names("objectives")
        write("objectives/__init__.py")
        variants.add_folder(write("objectives/_my_helper.py"))
        assert variants.names("objectives") == shipped


class TestLoad:
    def test_an_objective(self, write: Write) -> None:
        from variants.objectives import Base

        variants.add_folder(write("objectives/my_loss.py", OBJECTIVE))
        objective = variants.load("objectives", "my_loss").Objective(slope=3.0)
        assert isinstance(objective, Base)
        assert objective.slope == 3
        assert objective.d_steps(0) == 1

    def test_an_architecture_builds(self, write: Write) -> None:
        import torch

        from benchmark.matrix.cell import Choice
        from variants.architectures import build

        variants.add_folder(write("architectures/narrow.py", ARCHITECTURE))
        G, D = build(Choice("narrow", {"width": 4}), (2,), "none")
        assert D(G(torch.zeros(5, 2))).shape == (5,)
        assert sum(p.numel() for p in D.parameters()) == (2 + 1) * 4 + 2 * (4 + 1) * 4 + (4 + 1)

    def test_a_dataset(self, write: Write) -> None:
        variants.add_folder(write("datasets/square.py", DATASET))
        assert variants.load("datasets", "square").Dataset().train().shape == (100, 2)

    def test_a_file_imports_another_one(self, write: Write) -> None:
        write("objectives/parent_loss.py", OBJECTIVE)
        variants.add_folder(write("objectives/child_loss.py", CHILD))
        child = variants.load("objectives", "child_loss").Objective
        assert issubclass(child, variants.load("objectives", "parent_loss").Objective)
        assert child().slope == 2

    def test_a_file_imports_its_helper_module(self, write: Write) -> None:
        write("objectives/_my_helper.py", "SLOPE = 7.0\n")
        text = OBJECTIVE.replace("slope: float = 1.0", "slope: float = SLOPE")
        text = text.replace("\n\n\n@", "\nfrom variants.objectives._my_helper import SLOPE\n\n\n@")
        variants.add_folder(write("objectives/my_loss.py", text))
        assert variants.load("objectives", "my_loss").Objective().slope == 7

    def test_a_variable_set_after_the_import(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write("objectives/my_loss.py", OBJECTIVE)
        monkeypatch.setenv("GANBENCH_VARIANTS", str(folder))
        assert variants.load("objectives", "my_loss").Objective().slope == 1


class TestProcesses:
    def test_the_variable_is_read_by_a_new_process(self, write: Write) -> None:
        folder = write("objectives/my_loss.py", OBJECTIVE)
        code = "from variants.objectives import my_loss; print(my_loss.Objective().slope)"
        assert run(code, GANBENCH_VARIANTS=str(folder)) == "1.0"

    def test_a_spawned_worker_unpickles_an_objective(self, write: Write) -> None:
        variants.add_folder(write("objectives/my_loss.py", OBJECTIVE))
        objective = variants.load("objectives", "my_loss").Objective(slope=4.0)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(pickle.dumps, (objective,)) == pickle.dumps(objective)

    def test_naming_variants_imports_no_torch(self, write: Write) -> None:
        folder = write("objectives/my_loss.py", OBJECTIVE)
        code = (
            "import sys, variants; variants.origin('objectives', 'my_loss');"
            "print('torch' in sys.modules)"
        )
        assert run(code, GANBENCH_VARIANTS=str(folder)) == "False"

    @pytest.mark.slow
    def test_the_contract_tests_cover_the_folder(self, write: Write) -> None:
        write("objectives/my_loss.py", OBJECTIVE)
        write("architectures/narrow.py", ARCHITECTURE)
        folder = write("datasets/square.py", DATASET)
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "tests/contracts/test_contracts.py"),
                *("-p", "no:cacheprovider", "-p", "no:xdist", "-rA", "-k", "my_loss or square"),
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "GANBENCH_VARIANTS": str(folder)},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout
        for test in (
            "TestObjective::test_a_descent_step_of_the_critic_parts_the_scores[my_loss]",
            "TestDataset::test_holds_what_it_says[square]",
            "test_every_pair_takes_a_step[my_loss-narrow]",
        ):
            assert test in ended.stdout


class TestRefusal:
    def test_a_folder_that_does_not_exist(self, tmp_path: Path) -> None:
        folder = tmp_path / "nowhere"
        assert refusal(folder) == f"variants: there is no folder {folder}"

    def test_a_folder_without_any_axis(self, tmp_path: Path) -> None:
        assert refusal(tmp_path) == (
            f"variants: {tmp_path} has none of the folders objectives, architectures, datasets"
        )

    def test_a_variable_that_names_no_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GANBENCH_VARIANTS", str(tmp_path / "nowhere"))
        assert "there is no folder" in load_error("objectives", "wgan")
        with pytest.raises(variants.VariantError, match="there is no folder"):
            variants.names("objectives")

    @pytest.mark.parametrize(
        "file", ["objectives/wgan.py", "architectures/_bottleneck.py", "datasets/mnist.py"]
    )
    def test_the_name_of_a_shipped_file(self, write: Write, file: str) -> None:
        folder = write(file, OBJECTIVE)
        shipped = ROOT / "variants" / file
        assert refusal(folder) == (
            f"{folder / file}: the name is taken by the shipped file {shipped}"
        )

    def test_one_name_in_two_folders(self, write: Write) -> None:
        first = write("objectives/my_loss.py", OBJECTIVE, folder="first")
        second = write("objectives/my_loss.py", OBJECTIVE, folder="second")
        variants.add_folder(first)
        assert refusal(second) == (
            f"{second}/objectives/my_loss.py: the name is taken by the file "
            f"{first}/objectives/my_loss.py"
        )
        assert variants.folders() == [first]

    def test_a_name_that_cannot_be_imported(self, write: Write) -> None:
        folder = write("objectives/my-loss.py", OBJECTIVE)
        assert refusal(folder) == (
            f"{folder}/objectives/my-loss.py: 'my-loss' is no name that Python can import"
        )

    @pytest.mark.parametrize("name", ["norms", "torch"])
    def test_a_name_that_the_package_uses(self, write: Write, name: str) -> None:
        import variants.objectives

        used = getattr(variants.objectives, name)
        folder = write(f"objectives/{name}.py", OBJECTIVE)
        variants.add_folder(folder)
        assert load_error("objectives", name) == (
            f"{folder}/objectives/{name}.py: the name is taken by variants.objectives.{name}"
        )
        assert getattr(variants.objectives, name) is used

    def test_an_unknown_name(self, write: Write) -> None:
        folder = write("objectives/my_loss.py", OBJECTIVE)
        variants.add_folder(folder)
        message = load_error("objectives", "no_loss")
        assert message.startswith("there is no file no_loss.py in ")
        assert message.endswith(f"{folder}/objectives")

    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("import torch\n\nx = (\n", 3, "SyntaxError: '(' was never closed"),
            ("import torch\nfrom nowhere import x\n", 2, "No module named 'nowhere'"),
            ("\n\nraise ValueError('one\\ntwo')\n", 3, "ValueError: one two"),
            ("from variants.objectives import Bse\n", 1, "cannot import name 'Bse'"),
        ],
    )
    def test_a_file_that_does_not_import(
        self, write: Write, text: str, line: int, message: str
    ) -> None:
        folder = write("objectives/my_loss.py", text)
        variants.add_folder(folder)
        said = load_error("objectives", "my_loss")
        assert said.startswith(f"{folder}/objectives/my_loss.py, line {line}: ")
        assert message in said

    def test_an_error_in_a_file_that_it_imports(self, write: Write) -> None:
        write("objectives/parent_loss.py", "\n1 / 0\n")
        folder = write("objectives/child_loss.py", CHILD)
        variants.add_folder(folder)
        assert load_error("objectives", "child_loss") == (
            f"{folder}/objectives/parent_loss.py, line 2: the file does not import: "
            "ZeroDivisionError: division by zero"
        )

    @pytest.mark.parametrize(
        ("file", "text", "message"),
        [
            ("objectives/mine.py", "x = 1\n", " defines no class Objective"),
            (
                "objectives/mine.py",
                "class Objective:\n    pass\n",
                ": class Objective must extend variants.objectives.Base",
            ),
            (
                "objectives/mine.py",
                OBJECTIVE.replace('recipe = Recipe("adam", lr=1e-4)', ""),
                ": class Objective has no recipe",
            ),
            (
                "objectives/mine.py",
                OBJECTIVE.replace("def g_loss", "def other"),
                ": class Objective has no g_loss",
            ),
            (
                "architectures/mine.py",
                ARCHITECTURE.replace("class Discriminator", "class Critic"),
                " defines no class Discriminator",
            ),
            (
                "architectures/mine.py",
                ARCHITECTURE.replace("mlp.Discriminator", "__import__('torch').nn.Module"),
                ": class Discriminator has no paper_norm",
            ),
            (
                "datasets/mine.py",
                DATASET.replace('licence = "none needed"', ""),
                ": class Dataset has no licence",
            ),
        ],
    )
    def test_a_file_without_what_its_axis_needs(
        self, write: Write, file: str, text: str, message: str
    ) -> None:
        folder = write(file, text)
        variants.add_folder(folder)
        assert load_error(Path(file).parent.name, "mine") == f"{folder / file}{message}"
