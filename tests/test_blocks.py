"""Every block of README and docs/ runs as it stands, page by page, or in its dry form.

The shell runs the blocks in a checkout of trained tiny result sets, where `ganbench` and Python
record their arguments; the recorded commands are then called in this process. `run` is called with
--dry-run; of verbs that take minutes the command line is parsed. The shell parses what needs a
cluster."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

import variants
from benchmark.analysis.tables import load
from benchmark.check.baseline import accept
from benchmark.cli.main import app
from benchmark.matrix import files
from benchmark.matrix.options import Matrix
from benchmark.store.code import ROOT
from tests.conftest import Ended
from tests.helpers.trained import trained_set

BLOCK = re.compile(r"^(?:<!-- (file|insert): (\S+).*? -->\n)?```(\w+)\n(.*?)^```$", re.M | re.S)
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
ELSEWHERE = (
    "docs/clusters.md",
    "/opt/conda",
    "submit/quick",
    "random_architectures32",  # 201 networks, each built to see its norm
)  # a page, or a word of a block, of other machines
PARSED = ("audit", "explain", "report", "plots", "verify", "history")
OBJECTIVES = ["nonsaturating", "wgan_gp", "wgan_fdgp"]
QUICK = {
    "objectives": OBJECTIVES,
    "architectures": [{"name": "mlp", "width": 8}],
    "datasets": ["gaussians8"],
    "seeds": 2,
    "training": {"steps": 5, "batch_size": 8},
    "evaluation": {"schedule": [0, 1], "n": {"points": 200}, "log_every": 5},
}
# Writes how it was called, one call after the other, and succeeds
RECORDER = """#!/bin/bash
[ -n "$GANBENCH_VARIANTS" ] && set -- "GANBENCH_VARIANTS=$GANBENCH_VARIANTS" "${0##*/}" "$@" || set -- "${0##*/}" "$@"
printf '%s\\0' "$@" END >> "$CALLS"
"""  # noqa: E501


class Block(NamedTuple):
    kind: str
    file: str
    language: str
    text: str


def blocks_of(page: str) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a checkout holds after `make bench` and more of its kind, on a tiny matrix."""
    checkout = tmp_path_factory.mktemp("checkout")
    matrix = Matrix.model_validate(QUICK)
    runs = checkout / "results/runs"
    quick = trained_set(runs / "quick", matrix)
    for copy in (runs / "before/quick", runs / "after/quick", checkout / "shard1/quick"):
        shutil.copytree(quick, copy)
    shutil.copytree(quick, checkout / "shard2/quick")
    (mine,) = [block for block in blocks_of("README.md") if block.file == "mine.toml"]
    (checkout / "mine.toml").write_text(mine.text, encoding="utf-8")
    shorter = [
        "seeds=2",
        "training.steps=5",
        "evaluation.schedule=[0, 1]",
        "evaluation.n.points=200",
    ]
    config, _ = files.read(checkout / "mine.toml", shorter)
    trained_set(runs / "mine", config)
    accept(load(quick), "quick", checkout / "results/baselines")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, checkout / name)
    folder = checkout / ".venv/bin"
    folder.mkdir(parents=True)
    for name in ("python", "ganbench", "git"):
        (folder / name).write_text(RECORDER)
        (folder / name).chmod(0o755)
    (checkout / ".venv/.installed").touch()
    (folder / "activate").touch()
    (checkout / ".ci").mkdir()
    (checkout / ".ci/run").write_text("true\n")
    return checkout


@pytest.fixture
def checkout(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory."""
    folder = shutil.copytree(trained, tmp_path / "checkout")
    monkeypatch.chdir(folder)
    monkeypatch.setenv(variants.VARIABLE, "")
    monkeypatch.setenv("GANBENCH_BASELINES", "")
    return folder


def recorded(text: str, checkout: Path) -> list[list[str]]:
    """Run a block in the shell. Returns the calls of the recording programs."""
    calls = checkout / "calls"
    calls.write_bytes(b"")
    path = f"{checkout / '.venv/bin'}:/usr/bin:/bin"
    environment = {"PATH": path, "CALLS": str(calls), "HOME": str(checkout)}
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    words = calls.read_text(encoding="utf-8").split("\0")[:-1]
    found: list[list[str]] = [[]]
    for word in words:
        if word == "END":
            found.append([])
        else:
            found[-1].append(word)
    return found[:-1]


def check_options(words: list[str]) -> None:
    """Parse the command line of a verb, and call nothing."""
    verb, *arguments = words
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    command.make_context(verb, arguments)


def parse(text: str) -> None:
    """Parse a block, and the command lines of ganbench in it, and run nothing."""
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    joined = re.sub(r"\\?\n +", " ", text)
    for line in re.findall(r"ganbench (\w+ --[^&|'\n]*)", joined):
        options = re.sub(r"\$\w+", "1", line)
        check_options(shlex.split(options, comments=True))


def check_call(words: list[str], ganbench: Callable[..., Ended]) -> None:
    """Call a recorded command, or its dry form."""
    program, *arguments = words
    if program == "python" and arguments[:2] == ["-m", "benchmark"]:
        program, arguments = "ganbench", arguments[2:]
    if program == "python":
        assert arguments[0] == "-m"
        module = arguments[1].replace(".", "/")
        known = {"pytest", "ruff", "mypy", "sphinx", "pip", "build"}
        assert module in known or (ROOT / f"{module}.py").is_file()
    if program != "ganbench":
        return
    if arguments[0] in PARSED:
        check_options(arguments)
        return
    if arguments[0] == "run":
        arguments.append("--dry-run")
    ended = ganbench(*arguments)
    assert ended.code == 0, f"{shlex.join(words)}: {ended.err}"


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("page", PAGES)
def test_every_shell_block_runs(
    page: str,
    checkout: Path,
    ganbench: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for block in blocks_of(page):
        if block.kind == "file" and not (ROOT / block.file).exists():
            (checkout / block.file).parent.mkdir(parents=True, exist_ok=True)
            (checkout / block.file).write_text(block.text, encoding="utf-8")
        if block.language != "bash":
            continue
        if any(word in page + block.text for word in ELSEWHERE):
            parse(block.text)
            continue
        for words in recorded(block.text, checkout):
            with monkeypatch.context() as patch:
                if "=" in words[0]:
                    patch.setenv(*words.pop(0).split("=", 1))
                check_call(words, ganbench)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_every_python_block_runs(page: str, checkout: Path) -> None:
    """Those of contributing.md are files, which tests/test_contributing.py adds to a checkout."""
    for block in blocks_of(page):
        if block.language == "python" and not block.kind:
            exec(compile(block.text, page, "exec"), {"__name__": "__main__"})


@pytest.fixture
def own_objective(checkout: Path) -> Iterator[Path]:
    """README's own objective in my_variants/, and README's matrix with it."""
    for block in blocks_of("README.md"):
        if block.file:
            (checkout / block.file).parent.mkdir(parents=True, exist_ok=True)
            (checkout / block.file).write_text(block.text, encoding="utf-8")
    matrix = checkout / "mine.toml"
    text = matrix.read_text(encoding="utf-8")
    for before, after in (
        ('objectives = ["nonsaturating"', 'objectives = ["my_loss", "nonsaturating"'),
        ("seeds = 8", "seeds = 1"),
        ("steps = 500", "steps = 5"),
    ):
        assert before in text
        text = text.replace(before, after)
    matrix.write_text(text + "\n[evaluation]\nn = { points = 200 }\n", encoding="utf-8")
    shutil.rmtree(checkout / "results/runs/mine")
    return checkout


@pytest.mark.slow
def test_the_readme_in_python_with_its_own_objective(own_objective: Path) -> None:
    (block,) = [
        block for block in blocks_of("README.md") if block.language == "python" and not block.kind
    ]
    script = own_objective / "script.py"
    script.write_text(block.text, encoding="utf-8")
    environment = os.environ | {variants.VARIABLE: "my_variants"}
    ended = subprocess.run(
        [sys.executable, str(script)],
        cwd=own_objective,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert "my_loss" in ended.stdout
