"""`ganbench new`: files that work as they are written."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import variants
from benchmark.store.code import ROOT
from tests.conftest import Ended

RUFF = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", ROOT / "pyproject.toml"]


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of a test are not those of the next one."""
    monkeypatch.setenv(variants.VARIABLE, "")


@pytest.mark.parametrize("axis", ["objective", "architecture", "dataset"])
def test_the_files_pass_their_own_test(
    axis: str, ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    name = f"my_{axis}"
    ended = ganbench("new", axis, name, "--variants", folder)
    assert ended.code == 0, ended.err
    variant, test = map(Path, ended.out.splitlines()[:2])
    assert (variant, test) == (folder / f"{axis}s/{name}.py", folder / f"tests/test_{name}.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT), variants.VARIABLE: ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout
    listed = ganbench("list", "--variants", folder)
    assert f"({variant})" in "".join(listed.out.split())
    style = subprocess.run(
        [*RUFF, str(variant)],
        capture_output=True,
        text=True,
    )
    assert style.returncode == 0, style.stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("objectve", "mine"), ["unknown axis 'objectve'", "did you mean 'objective'"]),
        (("objective", "wgan"), ["there is a variant 'wgan' already"]),
        (("objective", "my-loss"), ["'my-loss' cannot be the name of a variant"]),
        (("objective", "class"), ["'class' cannot be the name of a variant"]),
        (("objective", "_hidden"), ["'_hidden' cannot be the name of a variant"]),
        (("objective", "../up"), ["'../up' cannot be the name of a variant"]),
    ],
)
def test_bad_names_write_nothing(
    arguments: tuple[str, str], parts: list[str], ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = ganbench("new", *arguments, "--variants", tmp_path / "mine")
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    for part in parts:
        assert part in ended.err
    assert not (tmp_path / "mine").exists()


def test_no_file_is_replaced(ganbench: Callable[..., Ended], tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert ganbench("new", "objective", "mine", "--variants", folder).code == 0
    before = (folder / "objectives/mine.py").read_text()
    again = ganbench("new", "objective", "mine", "--variants", folder)
    assert again.code == 2
    assert "already" in again.err
    assert (folder / "objectives/mine.py").read_text() == before


def test_names_that_the_axis_uses_write_nothing(
    ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = ganbench("new", "objective", "Base", "--variants", tmp_path / "mine")
    assert ended.code == 2
    assert "the name is taken by variants.objectives.Base" in ended.err
    assert not (tmp_path / "mine").exists()


def test_a_name_may_be_a_word_of_the_template(
    ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    assert ganbench("new", "objective", "FOLDER", "--variants", tmp_path / "mine").code == 0
    assert (tmp_path / "mine/objectives/FOLDER.py").read_text().startswith('"""FOLDER: ')


def test_list_shows_a_file_that_does_not_import(
    ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "objectives").mkdir()
    (tmp_path / "objectives/broken.py").write_text("x = (\n")
    ended = ganbench("list", "--variants", tmp_path)
    assert ended.code == 0
    assert "does not import: SyntaxError" in " ".join(ended.out.split())


def test_a_folder_of_the_variable_that_is_gone_is_one_line(
    ganbench: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not cells that are stale because no variant is found."""
    monkeypatch.setenv(variants.VARIABLE, str(tmp_path / "gone"))
    ended = ganbench("status", "--results", tmp_path)
    assert (ended.code, ended.err) == (
        2,
        f"ganbench: variants: there is no folder {tmp_path / 'gone'}\n",
    )
