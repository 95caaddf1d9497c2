"""The worked examples of docs/contributing.md, applied to a copy of the tree: they list, train, are
measured and tested."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmark.matrix import files
from benchmark.matrix.expand import expand

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"^<!-- (file|insert): (\S+?)(?: (before|after): (.+?))? -->\n```python\n(.*?)^```$",
    re.M | re.S,
)
MATRIX = """
objectives = ["relativistic", { name = "relativistic", margin = 2 }]
architectures = ["mlp", { name = "residual_mlp", width = 32 }]
datasets = ["gaussians8", "moons"]
seeds = 1
exclude = [
    { architecture = "mlp", dataset = "moons" },
    { architecture = "mlp", objective = "relativistic[margin=2.0]" },
]

[training]
steps = 10

[evaluation]
schedule = [0, 1]
"""


def apply(text: str, tree: Path) -> list[Path]:
    """Write every block of a text into a tree: a new file whole, an insertion beside the one line
    that begins so."""
    written = []
    for kind, name, side, start, code in BLOCK.findall(text):
        path = tree / name
        if kind == "file":
            assert not path.exists(), f"{name} exists already"
            path.write_text(code)
        else:
            lines = path.read_text().splitlines(keepends=True)
            (at,) = [i for i, line in enumerate(lines) if line.lstrip().startswith(start)]
            at += side == "after"
            path.write_text("".join([*lines[:at], code, *lines[at:]]))
        written.append(path)
    return written


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    tree = tmp_path_factory.mktemp("contributing") / "tree"
    tree.mkdir()
    for name in ("benchmark", "variants", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    assert len(apply((ROOT / "docs/contributing.md").read_text(), tree)) == 5
    return tree


def run(tree: Path, *arguments: str) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "GANBENCH_CACHE": str(tree / "cache"),
        "COLUMNS": "160",
    }
    command = [sys.executable, "-m", *arguments]
    found = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=600
    )
    assert found.returncode == 0, (
        f"{' '.join(arguments)}: exit {found.returncode}\n{found.stdout}\n{found.stderr}"
    )
    return found.stdout


def test_new_files_are_listed(tree):
    listed = {
        line.split()[0] for line in run(tree, "benchmark", "list").splitlines() if line.strip()
    }
    assert {"relativistic", "residual_mlp", "moons"} <= listed


def test_they_train_and_are_measured_with_no_other_edit(tree):
    (tree / "tiny.toml").write_text(MATRIX)
    run(
        tree,
        "benchmark",
        "run",
        "--matrix",
        "tiny.toml",
        "--results",
        "runs",
        "--jobs",
        "1",
        "--device",
        "cpu",
    )
    cells = sorted((tree / "runs/tiny/cells").iterdir())
    assert len(cells) == 5
    for cell in cells:
        assert json.loads((cell / "status.json").read_text())["status"] == "done"
        rows = [json.loads(line) for line in (cell / "evals.jsonl").read_text().splitlines()]
        energy = [row["value"] for row in rows if row["metric"] == "energy_2k"]
        assert len(energy) == 2
        assert all(value > 0 for value in energy)
    floors = json.loads((tree / "runs/tiny/protocols.json").read_text())
    assert all(0 <= floors[name]["floor"]["energy_2k"] < 0.01 for name in ("gaussians8", "moons"))


@pytest.mark.slow
def test_contract_tests_take_them_up_by_themselves(tree):
    chosen = "relativistic or residual_mlp or moons"
    arguments = [
        "pytest",
        "tests/contracts/test_contracts.py",
        "-p",
        "no:cacheprovider",
        "-vv",
        "-k",
        chosen,
    ]
    printed = run(tree, *arguments)
    for name in chosen.split(" or "):
        passed = rf"\[(.+-)?{name}(-.+)?\] PASSED"
        assert re.search(passed, printed), f"no contract test ran over {name}\n{printed}"


EXPERIMENTS = """
from importlib import import_module
tiny = {
    "saturation": {"points": 11},
    "disjoint_supports": {"thetas": [1.0], "steps": 3},
    "optimal_critic": {"steps": 3},
    "value_surfaces": {"steps": 3},
    "mode_collapse": {"critic_steps": 5},
    "overfitting": {"critic_steps": 5},
}
for name, size in tiny.items():
    experiment = import_module(f"benchmark.explain.experiments.{name}")
    case = next(case for case in experiment.cases(False) if "relativistic" in str(case))
    assert "relativistic" in set(experiment.measure(**case | size)["objective"]), name
    print(name)
"""


@pytest.mark.slow
def test_a_new_objective_takes_part_in_the_experiments(tree):
    (tree / "experiments.py").write_text(EXPERIMENTS)
    assert len(run(tree, "experiments").split()) == 6


def test_examples_keep_the_style(tree):
    """The new files as ruff formats them."""
    paths = [str(path) for path in (tree / "variants").rglob("*.py")] + [
        str(tree / "benchmark/measure/points.py")
    ]
    for command in (["check"], ["format", "--check"]):
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", *paths],
            cwd=tree,
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stdout


def test_the_matrix_in_the_readme_expands(tmp_path):
    (block,) = re.findall(r"^```toml\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    path = tmp_path / "mine.toml"
    path.write_text(block)
    config, description = files.read(path)
    assert description
    assert len(expand(config)) == 24
    assert tomllib.loads(block)["reference"] in {cell.objective.label for cell in expand(config)}
