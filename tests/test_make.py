"""The Makefile: values with blanks, quotes and dollars, PYTHONPATH, a folder of an odd name."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmark.store.code import ROOT

# Stands for Python: prints what it was called with
PROGRAM = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps([os.environ.get("PYTHONPATH"), sys.argv[1:]]))
"""
ODD = 'it\'s a $HOME  "x"'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder of an odd name with the Makefile and a program."""
    if not shutil.which("make"):
        pytest.skip("needs make")
    folder = tmp_path / ODD
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    program = folder / "my py"
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o755)
    return folder


def called(checkout: Path, *words: str, **variables: str) -> tuple[str, list[str]]:
    """What the last program that make calls gets: PYTHONPATH and its arguments."""
    environment = {key: text for key, text in os.environ.items() if not key.startswith("MAKE")}
    for name in ("PYTHONPATH", "ARGS", "MATRIX", "PYTHON"):
        environment.pop(name, None)
    ended = subprocess.run(
        ["make", "-s", *words],
        cwd=checkout,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    path, arguments = json.loads(ended.stdout.splitlines()[-1])
    return path, arguments


@pytest.mark.parametrize("verb", ["run", "report", "check", "accept", "compare", "bench"])
def test_a_value_is_one_word(verb: str, checkout: Path) -> None:
    program = str(checkout / "my py")
    _, arguments = called(
        checkout, verb, f"MATRIX={ODD}.toml", f"RESULTS={ODD}", f"PYTHON={program}"
    )
    name = "report" if verb == "bench" else verb
    wanted = ["-m", "benchmark", name, "--matrix", f"{ODD}.toml", "--results", ODD]
    assert arguments == wanted


def test_args_are_split_by_the_shell_and_variables_of_the_environment_count(checkout: Path) -> None:
    _, arguments = called(
        checkout,
        "run",
        "PYTHON=./my py",
        """ARGS=--only "seed=0 objective=wgan" --set 'a="$b"' --results $HOME/x""",
        MATRIX="my own.toml",
        HOME="/home/me",
    )
    assert arguments[3:] == [
        *("--matrix", "my own.toml", "--results", "results/runs"),
        *("--only", "seed=0 objective=wgan", "--set", 'a="$b"', "--results", "/home/me/x"),
    ]


def test_python_may_be_a_command_with_arguments_and_home_is_expanded(checkout: Path) -> None:
    shutil.copy(checkout / "my py", checkout / "py")
    _, arguments = called(
        checkout, "run", "PYTHON=env A=1 ./py", "RESULTS=~/my runs", HOME="/home/me"
    )
    assert arguments[-1] == "/home/me/my runs"


def test_the_folders_of_the_user_stay_in_pythonpath(checkout: Path) -> None:
    assert called(checkout, "list", "PYTHON=./my py")[0] == "."
    assert called(checkout, "list", "PYTHON=./my py", PYTHONPATH="/a b:/c")[0] == ".:/a b:/c"
