"""Running experiments: what is kept, what is refused, and how a run ends."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from benchmark.errors import UserError
from benchmark.explain import entries, runner
from benchmark.explain.experiments import disjoint_supports
from benchmark.store.code import ROOT, definitions
from tests.explain.test_claims import CLAIMS


@pytest.mark.slow
def test_one_experiment_from_the_command_line(ganbench, tmp_path):
    folder = tmp_path / "explain"
    ended = ganbench("explain", "saturation", "--results", folder, "--jobs", 1)
    assert ended.code == 0
    assert "3.4e-04 under minimax" in ended.out
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert [file for file in files if not file.startswith("cases/")] == [
        ".lock",
        "README.md",
        "explain.json",
        "figures/saturation.csv",
        "figures/saturation.png",
        "figures/saturation.svg",
        "index.html",
    ]
    (case,) = (folder / "cases").iterdir()
    before = case.stat().st_mtime_ns
    assert ganbench("explain", "saturation", "--results", folder).code == 0
    times = [path.stat().st_mtime_ns for path in (folder / "cases").iterdir()]
    assert times == [before], "kept, not measured again"
    page = (folder / "index.html").read_text()
    assert not re.search(r"(src|href)=\"?https?:", page)
    CLAIMS["saturation"](pd.read_csv(folder / "figures/saturation.csv"))


@pytest.fixture(scope="module")
def saturated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    assert [name for name, _ in runner.run(["saturation"], folder)] == ["saturation"]
    return folder


def test_a_damaged_case_is_measured_again(saturated, ganbench, tmp_path):
    folder = shutil.copytree(saturated, tmp_path / "explain")
    (case,) = (folder / "cases").iterdir()
    case.write_bytes(case.read_bytes()[:-100])
    assert ganbench("explain", "saturation", "--results", folder).code == 0
    assert len(pd.read_parquet(case)) == len(pd.read_csv(folder / "figures/saturation.csv")) > 1000


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 1, "experiments": {"depth": {"title": "x"}}}']
)
def test_a_damaged_page_is_named_before_anything_is_measured(content, ganbench, tmp_path):
    (tmp_path / "explain.json").write_text(content)
    ended = ganbench("explain", "saturation", "--results", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "explain.json is damaged" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["explain.json"]


def test_a_folder_of_other_files_is_refused(ganbench, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    ended = ganbench("explain", "saturation", "--results", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "holds other files" in ended.err
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "unknown experiment ''; valid: saturation"),
        (
            ["saturaton"],
            "unknown experiment 'saturaton' (did you mean 'saturation'?); "
            "valid: saturation, dirac, disjoint",
        ),
        (["--jobs", "-1"], "Invalid value for '--jobs'"),
        (["depth", "--results", __file__], "--results: "),
    ],
)
def test_a_mistake_is_one_line(arguments, message, ganbench):
    ended = ganbench("explain", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_data_that_cannot_be_had_is_one_line_and_loses_nothing(
    saturated, ganbench, tmp_path, monkeypatch
):
    monkeypatch.setenv("GANBENCH_OFFLINE", "1")
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    shutil.copytree(saturated, tmp_path / "e")
    ended = ganbench("explain", "overfitting", "--full", "--results", tmp_path / "e", "--jobs", 1)
    assert ended.code == 2
    assert "MNIST is not in" in ended.err.strip().splitlines()[-1]
    assert list(entries.read(tmp_path / "e")) == ["saturation"]
    assert len(list((tmp_path / "e/cases").iterdir())) == 1, (
        "nothing was measured before the data was looked for"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupt_leaves_what_is_measured_and_no_process(by, code, tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "explain",
        "disjoint_supports",
        "--results",
        str(tmp_path),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("cases/*.parquet")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(by)
        assert process.wait(30) == code
        assert process.stderr.read().count("\n") == 1 or by == signal.SIGKILL
    deadline = time.monotonic() + 20
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    assert time.monotonic() < deadline, "a worker is still there"
    assert 0 < len(list(tmp_path.glob("cases/*.parquet"))) < len(disjoint_supports.cases(False))
    assert not list(tmp_path.glob("cases/.*")), "no half of a file"


def die(*task):
    """What the kernel does to a worker where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_measure", die)
    with pytest.raises(UserError, match="a worker died"):
        list(runner.run(["weights"], tmp_path, jobs=1))


def test_another_wording_measures_nothing_again(tmp_path, monkeypatch):
    shutil.copytree(Path(runner.__file__).parent, tmp_path / "explain")
    monkeypatch.setattr(runner, "__file__", str(tmp_path / "explain/__init__.py"))
    path = tmp_path / "explain/experiments/saturation.py"
    text = path.read_text()

    def code_with(old: str, new: str) -> str:
        assert old in text
        path.write_text(text.replace(old, new))
        definitions.cache_clear()
        return runner.code_of("saturation")

    before = runner.code_of("saturation")
    assert code_with("Where does", "Where, then, does") == before, "the docstring"
    assert code_with("blind on one side", "blind") == before, "the finding"
    assert code_with("rejected:", "refused:") == before, "a function that only the figure uses"
    assert code_with("linspace(-10, 10", "linspace(-9, 9") != before


def test_every_experiment_has_its_own_code():
    codes = [runner.code_of(name) for name in entries.names()]
    assert len(set(codes)) == len(entries.names())


def test_measuring_takes_what_cases_and_measure_use():
    code = """
SIZE = 3
TITLE: str = "x"
def cases(full): return [SIZE]
def measure(size): return helper(size)
def helper(size): return size + other()
def other(): return 1
def draw(frame): return TITLE + shown(frame)
def shown(frame): return helper(frame)
"""
    file = [ast.dump(node) for node in ast.parse(code).body]
    names = [re.search(r"'(\w+)'", text)[1] for text in runner.measuring(file)]
    assert sorted(names) == ["SIZE", "cases", "helper", "measure", "other"]
