"""The public names: the example of the documentation, lazy imports, results as tables."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ganbench
import pytest

from benchmark import api
from benchmark.errors import UserError
from benchmark.store.code import ROOT
from tests.conftest import matrix_text

EXAMPLE = re.compile(r"^    import ganbench\n(.*?)^All names", re.M | re.S)


def example() -> str:
    """The ten lines of the module's docstring."""
    (body,) = EXAMPLE.findall(ganbench.__doc__)
    lines = ["import ganbench", *(line[4:] for line in body.splitlines())]
    return "\n".join(lines)


def run_script(text: str, cwd: Path) -> str:
    """Run a script as a user would. Returns what it prints."""
    script = cwd / "script.py"
    script.write_text(text)
    command = [sys.executable, str(script)]
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example has run, on a matrix that trains in a moment."""
    cwd = tmp_path_factory.mktemp("api")
    text = matrix_text(objectives='objectives = ["wgan_gp", "wgan_fdgp"]', seeds="seeds = 2")
    (cwd / "quick.toml").write_text(text)
    lines = example().replace('"quick"', '"quick.toml"').splitlines()
    body = "\n".join(f"    {line}" for line in lines)
    printed = run_script(f'if __name__ == "__main__":\n{body}\n', cwd)
    (cwd / "printed.txt").write_text(printed)
    return cwd


def test_the_example_is_short() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 10


def test_the_example_runs_and_prints_scores_and_a_comparison(folder: Path) -> None:
    printed = (folder / "printed.txt").read_text()
    assert "equal_time" in printed
    assert "is the lowest 1 seed can reach" in printed, "no claim from one seed"


def test_importing_costs_neither_torch_nor_pandas() -> None:
    code = "import sys, ganbench; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_every_public_name_is_there() -> None:
    for name in ganbench.__all__:
        assert getattr(ganbench, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ganbench.nothing  # noqa: B018


def test_cells_train_without_a_file() -> None:
    matrix = ganbench.Matrix.model_validate(
        {
            "objectives": ["lsgan"],
            "architectures": [{"name": "mlp", "width": 8}],
            "datasets": ["gaussians8"],
            "seeds": [3],
            "training": {"steps": 4, "batch_size": 8},
        }
    )
    (cell,) = ganbench.cells(matrix)
    snapshots = list(ganbench.train(cell))
    assert snapshots[-1].g_steps == 4
    assert snapshots[-1].sample(10).shape == (10, 2)
    assert ganbench.cells(matrix, only="seed=3") == [cell]
    with pytest.raises(ganbench.UserError, match="seed"):
        ganbench.cells(matrix, only="seed=4")


def test_results_are_tables(folder: Path) -> None:
    results = ganbench.load(folder / "results/runs/quick")
    assert results.cells["status"].value_counts().to_dict() == {"done": 2, "missing": 2}
    assert results.cells["seed"].dtype == "Int64"
    assert results.cells["architecture.width"].to_list() == [8] * 4
    assert len(results.scores) == 2 * results.scores["metric"].nunique()
    assert {"objective", "architecture", "dataset", "seed"} <= set(results.scores.columns)
    for table in (results.evals, results.steps, results.layers, results.summary):
        assert len(table)
    assert results.report().exists()
    verdicts = results.check()
    marks = {verdict.mark for verdict in verdicts if verdict.metric != "numbers"}
    assert marks == {"x"}, "other cells than the baseline's"


def test_options_are_checked_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ganbench.UserError, match=r"unknown engine 'rya' .*did you mean 'ray'"):
        ganbench.run("quick", tmp_path, engine="rya")
    with pytest.raises(ganbench.UserError, match=r"no matrix\.json"):
        ganbench.load(tmp_path).cells  # noqa: B018
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"jobz": 2}, r"unknown option 'jobz' .*did you mean 'jobs'"),
        ({"timeout": -1}, "--timeout takes a number from 0 on, not -1"),
        ({"timeout": "x"}, "--timeout takes a number from 0 on, not 'x'"),
        ({"checkpoint_every": float("nan")}, "--checkpoint-every takes a number from 0 on"),
        ({"threads": 0}, "--threads takes a number from 1 on, not 0"),
    ],
)
def test_odd_options_write_nothing(options: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(ganbench.UserError, match=named):
        ganbench.run("quick", tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_devices_and_executions_are_checked_before_training() -> None:
    cell = ganbench.cells("quick", only="objective=wgan_gp dataset=gaussians8 seed=0")[0]
    with pytest.raises(ganbench.UserError, match="unknown device 'gpu'"):
        ganbench.train(cell, device="gpu")
    with pytest.raises(ganbench.UserError, match="unknown execution mode 'fast'"):
        ganbench.train(cell, execution="fast")
    with pytest.raises(ganbench.UserError, match="unknown device 'gpu'"):
        ganbench.measure("nowhere", "gpu")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: api.RunOptions(jobs="two"), "jobs: .* valid integer, not 'two'"),
        (lambda: api.RunOptions(stack=2), "stack: .* valid string, not 2"),
        (lambda: api.RunOptions(only=3), "only: .* valid string, not 3"),
        (lambda: api.RunOptions(overrides="a=b"), "overrides: .*not 'a=b'"),
        (lambda: api.RunOptions(force="yes"), "force: .* valid boolean"),
        (lambda: api.RunOptions(jobs=99_999_999), "--jobs takes at most 1,024"),
        (lambda: api.Matrix(objectives=3), "Matrix: objectives: .* valid list, not 3"),
        (lambda: api.cells("quick", only=3), "only takes a string, not 3"),
        (lambda: api.cells("quick", only="seed=0 seed=1"), r"seed twice; .* seed=0\|1"),
        (lambda: api.load(None), "folder takes the path of a folder, not None"),
        (lambda: api.load(""), "folder takes the path of a folder, not ''"),
        (lambda: api.run("quick", results=0), "results takes the path of a folder, not 0"),
        (lambda: api.train("quick"), "train takes a cell"),
    ],
)
def test_a_wrong_type_is_one_line(call: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
