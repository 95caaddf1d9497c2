"""What a release consists of: the version, and a wheel that holds what the suite reads."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from benchmark import __version__
from benchmark.store.code import ROOT
from tests.studies import package_page

# Folders of the checkout → where the wheel has their files
MAPPED = {
    "results/baselines": "benchmark/check/baselines",
    "results/reference/explain": "benchmark/explain/reference",
    "results/reference/audit": "benchmark/report/audit",
}
NOT_SHIPPED = ("README.md", "index.html", ".lock")


def test_the_citation_has_the_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", text, re.M) == [__version__]


def test_the_text_of_the_package_links_to_no_file_of_the_checkout() -> None:
    text = (ROOT / "PACKAGE.md").read_text(encoding="utf-8")
    assert text == package_page.page((ROOT / "README.md").read_text(encoding="utf-8"))
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []
    assert "Reading the report (docs/report.md)" in text
    assert "docs/quick.png" not in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["readme"] == "PACKAGE.md"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `python -m build` makes of the source distribution."""
    pytest.importorskip("build")
    tree = tmp_path_factory.mktemp("release") / "tree"
    ignore = shutil.ignore_patterns("__pycache__", "cases", ".lock")
    for folder in ("benchmark", "variants", *MAPPED):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignore)
    for name in ("pyproject.toml", "PACKAGE.md", "LICENSE"):
        shutil.copyfile(ROOT / name, tree / name)
    command = [sys.executable, "-m", "build", "--no-isolation", str(tree)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert built.returncode == 0, built.stderr
    (file,) = (tree / "dist").glob("*.whl")
    return file


@pytest.mark.slow
def test_the_wheel_holds_every_file_that_is_read(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    needed = set()
    for folder in ("benchmark", "variants"):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                needed.add(file.relative_to(ROOT).as_posix())
    for folder, place in MAPPED.items():
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and file.name not in NOT_SHIPPED and "cases" not in file.parts:
                needed.add(f"{place}/{file.relative_to(ROOT / folder).as_posix()}")
    assert needed - held == set()
    assert "ganbench/__init__.py" in held


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    for arguments in (["list"], ["run", "--matrix", "quick", "--dry-run"]):
        command = [sys.executable, "-m", "benchmark", *arguments]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
        assert "wgan_gp" in ended.stdout
    script = "import ganbench, benchmark; print(benchmark.__file__)"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.stdout.startswith(str(tmp_path / "installed"))
