"""What docs/ says can be typed: shell blocks parse, YAML is YAML, and the flags of ganbench are
there."""

import json
import re
import subprocess
from pathlib import Path
from statistics import median

import pytest
import typer

from benchmark.cli.main import app
from benchmark.store.code import ROOT
from tests.studies import results_page

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
BLOCKS = [
    pytest.param(language, text, id=f"{path.stem}-{number}-{language}")
    for path in sorted((ROOT / "docs").glob("*.md"))
    for number, (language, text) in enumerate(BLOCK.findall(path.read_text()))
]


@pytest.mark.parametrize(("language", "text"), BLOCKS)
def test_a_block_parses_and_its_flags_are_there(language: str, text: str) -> None:
    if language == "bash":
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    else:
        assert language == "yaml"
        assert isinstance(pytest.importorskip("yaml").safe_load(text), dict)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    joined = re.sub(r"\\?\n +", " ", text)
    for verb, rest in re.findall(r"ganbench (\w+) (.*)", joined):
        known = {option for parameter in commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known


PATH = re.compile(r"\b(?:benchmark|variants|tests|results)/[\w./-]*[\w/]")
MARKDOWN = [
    file
    for folder in (ROOT, ROOT / "docs", ROOT / "results", ROOT / "results/reference")
    for file in sorted(folder.glob("*.md"))
]
# Files of a user, and files that an example of CONTRIBUTING.md adds
EXAMPLES = (
    "NAME",
    "MATRIX",
    "relativistic",
    "residual_mlp",
    "moons",
    "results/runs",
    "results/explain",
    "results/speed",
)


@pytest.mark.parametrize("file", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(file: Path) -> None:
    for name in PATH.findall(file.read_text(encoding="utf-8")):
        if not any(example in name for example in EXAMPLES):
            assert (ROOT / name).exists(), f"{file.name} names {name}"


def test_the_tables_of_the_results_page_are_those_of_the_records() -> None:
    """`python -m tests.studies.results_page` writes them."""
    text = results_page.PAGE.read_text(encoding="utf-8")
    assert results_page.filled(text) == text
    blocks = [block[2] for block in results_page.BLOCK.finditer(text)]
    assert blocks == [*results_page.RECORDS, "METRICS"]


def test_the_head_of_quick_says_what_its_baseline_has() -> None:
    head = (ROOT / "benchmark/matrices/quick.toml").read_text(encoding="utf-8").split("\n\n")[0]
    words = head.replace("\n# ", " ")
    groups = json.loads((ROOT / "results/baselines/quick.json").read_text())["groups"]
    values = {}
    for group in groups:
        name = (group["objective"], group["dataset"], group["metric"])
        values[name] = list(group["values"].values())

    def covered(objective: str) -> list[float]:
        return values[objective, "gaussians8", "modes_covered_2k"]

    modes = covered("wgan_gp")
    share = median(values["wgan_gp", "gaussians8", "high_quality_2k"])
    counts = f"(all in {modes.count(8)} seeds, none in {modes.count(0)})"
    of_seeds = f"at the median of the {len(modes)} seeds of the committed baseline {counts}"
    assert f"covers {median(modes):g} of the eight modes {of_seeds}" in words
    assert f"{counts}, with {100 * share:.0f} % of its samples" in words
    names = ("nonsaturating", "wgan", "minimax", "lsgan")
    assert [median(covered(name)) for name in names] == [3, 3, 1, 0]
    assert "the non-saturating loss and WGAN cover 3, minimax 1, LSGAN 0" in words
    for name in ("wgan_fdgp", "wgan_fdgp[pairs=independent]"):
        assert not any(covered(name))
    assert "the finite-difference forms none in any seed" in words
