"""The command line: what it prints, its exit codes, and what it does not import."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import variants
from benchmark import __version__
from benchmark.check import baseline as check
from benchmark.cli.progress import option_lines, ranges
from benchmark.matrix import files
from benchmark.matrix.expand import expand
from benchmark.matrix.options import Evaluation, Training
from benchmark.store.code import ROOT
from tests.conftest import Ended
from tests.helpers import synthetic

QUICK_TO_ANSWER = """
import sys
from benchmark.cli import main as cli
for arguments in (["--version"], ["--help"], ["list"], ["run", "--help"]):
    sys.argv = ["ganbench", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
print("imported:", *sorted({"torch", "pandas", "seaborn", "scipy"} & set(sys.modules)))
"""


def test_help_list_and_version_answer_without_torch() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", QUICK_TO_ANSWER],
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    assert ended.stdout.startswith(f"ganbench {__version__}\n")
    assert ended.stdout.endswith("imported:\n")
    for name in (*(name for axis in variants.AXES for name in variants.names(axis)), "quick"):
        assert re.search(rf"^\s*{name}\s+\S", ended.stdout, re.MULTILINE), name
    verbs = "list run status measure audit tables plots report compare check accept merge sample"
    for verb in (*verbs.split(), "explain"):
        assert re.search(rf"\b{verb}\b", ended.stdout), verb


UNNEEDED = {"torch", "matplotlib", "seaborn", "jinja2", "pyarrow.parquet"}
COMPARED = """
import sys
from benchmark.cli import main as cli
sys.argv = ["ganbench", *sys.argv[1:]]
try:
    cli.main()
except SystemExit:
    print("ended")
print("imported:", *sorted(UNNEEDED & set(sys.modules)))
"""


@pytest.mark.parametrize("verb", ["check", "compare wgan_gp nonsaturating"])
def test_results_are_compared_without_what_pages_need(verb: str, tmp_path: Path) -> None:
    synthetic.write(
        tmp_path / "quick", objectives=["wgan_gp", "nonsaturating"], seeds=range(2), samples=False
    )
    code = COMPARED.replace("UNNEEDED", repr(UNNEEDED))
    ended = subprocess.run(
        [sys.executable, "-c", code, *verb.split(), "--results", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert "nonsaturating" in ended.stdout
    assert ended.stdout.endswith("ended\nimported:\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("rnu",), "rnu"),
        (("run", "--matrx", "quick"), "--matrx"),
        (("run", "--jobs", "two"), "--jobs"),
        (("compare",), "names"),
    ],
)
def test_unknown_verbs_and_options_are_usage_errors(
    arguments: tuple[str, ...], named: str, ganbench: Callable[..., Ended]
) -> None:
    ended = ganbench(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert named in re.sub(r"\x1b\[[\d;]*m", "", ended.err).replace(
        "NAMES", "names"
    )  # as typer's version has it
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "verb", ["status", "tables", "plots", "report", "check", "accept", "compare a b", "sample a"]
)
def test_without_results_every_later_stage_says_so(
    verb: str, ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "matrix.json").write_text("{}")
    ended = ganbench(*verb.split(), "--matrix", "quick", "--results", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"ganbench: no results of matrix 'quick' in {tmp_path}; there are: other; "
        f"`ganbench run --matrix quick --results {tmp_path}` makes them\n"
    )


def test_a_result_set_that_is_not_there_names_the_nearest(
    ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "matrix.json").write_text("{}")
    ended = ganbench("report", "--matrix", "qick", "--results", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "'qick'" in ended.err
    assert "(did you mean 'quick'?); there are: quick\n" in ended.err, "no such matrix can be run"


def test_check_without_a_baseline_could_not_compare(
    ganbench: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    synthetic.write(
        tmp_path / "tiny", objectives=["wgan"], groups=[("gaussians8", "mlp")], samples=False
    )
    ended = ganbench("check", "--matrix", "tiny", "--results", tmp_path)
    assert ended.code == 2
    assert ended.err == (
        f"ganbench: no baseline for matrix 'tiny' in {tmp_path / 'baselines'}; "
        "there are: quick (ganbench accept)\n"
    )


def test_check_writes_its_table_to_a_new_folder(
    ganbench: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
    synthetic.write(
        tmp_path / "tiny", objectives=["wgan"], groups=[("gaussians8", "mlp")], samples=False
    )
    of_tiny = ("--matrix", "tiny", "--results", tmp_path)
    assert ganbench("accept", *of_tiny).code == 0
    new = tmp_path / "new"
    ended = ganbench(
        "check", *of_tiny, "--markdown", new / "a/summary.md", "--junit", new / "b/check.xml"
    )
    assert (ended.code, ended.err) == (0, "")
    assert (new / "a/summary.md").read_text().startswith("### ganbench check")
    assert (new / "b/check.xml").exists()
    for option in ("--markdown", "--junit"):
        ended = ganbench("check", *of_tiny, option, new / "a/summary.md/deeper/file")
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert "summary.md" in ended.err


def test_what_cannot_be_written_is_one_line(ganbench: Callable[..., Ended], tmp_path: Path) -> None:
    folder = synthetic.write(
        tmp_path / "tiny", objectives=["wgan"], groups=[("gaussians8", "mlp")], samples=False
    )
    (folder / "tables").write_text("in the way")
    ended = ganbench("tables", "--matrix", "tiny", "--results", tmp_path)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert f"{folder / 'tables'}: " in ended.err
    (folder / "tables").unlink()
    (folder / "tables" / "cells.parquet").mkdir(parents=True)
    ended = ganbench("tables", "--matrix", "tiny", "--results", tmp_path)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "cells.parquet" in ended.err


def test_a_damaged_result_file_is_named(ganbench: Callable[..., Ended], tmp_path: Path) -> None:
    synthetic.write(
        tmp_path / "tiny", objectives=["wgan"], groups=[("gaussians8", "mlp")], samples=False
    )
    path = next(tmp_path.glob("tiny/cells/*/status.json"))
    path.write_text("{")
    assert (
        "4 done, 1 missing" in ganbench("status", "--matrix", "tiny", "--results", tmp_path).out
    )  # runs again
    path.write_text('{"schema": 99}')
    assert (
        f"{path} has schema 99" in ganbench("tables", "--matrix", "tiny", "--results", tmp_path).err
    )
    path.unlink()
    evals = next(
        found for found in tmp_path.glob("tiny/cells/*/evals.jsonl") if found.parent != path.parent
    )
    evals.write_text("garbage\n" + evals.read_text())
    assert (
        f"{evals}, line 1 is damaged"
        in ganbench("tables", "--matrix", "tiny", "--results", tmp_path).err
    )
    (tmp_path / "tiny/matrix.json").write_text("[]")
    ended = ganbench("status", "--matrix", "tiny", "--results", tmp_path)
    assert ended.code == 2
    assert ended.err.startswith(f"ganbench: {tmp_path}/tiny/matrix.json is damaged")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--jobs", "-1"), ["--jobs", "-1"]),
        (("--device", "cuda"), ["--device cuda", "valid: auto, cpu"]),
        (("--device", "cuda:0"), ["'cuda:0'", "valid: auto, cpu"]),
        (("--device", "gpu"), ["'gpu'", "valid: auto, cpu"]),
        (("--device", "cpu,tpu"), ["'tpu'", "valid: auto, cpu"]),
        (("--engine", "foo"), ["engine", "'foo'", "valid: local"]),
        *(
            (("--shard", text), ["--shard", "1 ≤ i ≤ n", repr(text)])
            for text in ("0/2", "3/2", "1", "1/0", "-1/2", "a/b")
        ),
        (("--shard", "²/3"), ["--shard", "²"]),
    ],
)
def test_where_and_how_to_run_is_checked(
    arguments: tuple[str, ...],
    named: list[str],
    ganbench: Callable[..., Ended],
    matrix_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    ended = ganbench(
        "run", "--matrix", matrix_file(), "--results", tmp_path / "results", *arguments
    )
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert [text for text in named if text not in ended.err] == []
    assert os.listdir(tmp_path) == ["tiny.toml"]


def test_results_that_cannot_be_written_are_refused(
    ganbench: Callable[..., Ended], matrix_file: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    ended = ganbench(
        "run",
        "--matrix",
        matrix_file(),
        "--results",
        tmp_path / "file" / "deeper",
        "--device",
        "cpu",
    )
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert str(tmp_path / "file") in ended.err


def test_shards_are_a_partition_and_a_dry_run_writes_nothing(
    ganbench: Callable[..., Ended], matrix_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = matrix_file(objectives='objectives = ["nonsaturating", "lsgan"]', seeds="seeds = 2")

    def keys(*arguments: str) -> list[str]:
        ended = ganbench(
            "run",
            "--dry-run",
            "--matrix",
            path,
            "--results",
            tmp_path / "r",
            "--device",
            "cpu",
            *arguments,
        )
        assert ended.code == 0
        groups = re.findall(r"^  (\S+) +seed ([\d, -]+)  ", ended.out, re.MULTILINE)
        return [
            f"{name} {seed}"
            for name, seeds in groups
            for seed in seeds.replace("-", ", ").split(", ")
        ]

    whole = keys()
    assert len(whole) == len(set(whole)) == 4
    shards = [keys("--shard", f"{i}/3") for i in (1, 2, 3)]
    assert sorted(map(len, shards)) == [1, 1, 2]
    assert sorted(key for shard in shards for key in shard) == sorted(whole)
    assert keys("--shard", "5/5") == []  # more shards than cells: nothing to do is no error
    assert os.listdir(tmp_path) == ["tiny.toml"]


def test_a_dry_run_prints_the_options_in_force_as_a_matrix_file_has_them(
    ganbench: Callable[..., Ended], matrix_file: Callable[..., Path], tmp_path: Path
) -> None:
    named = 'objectives = [{ name = "nonsaturating", label = "NS-GAN" }]'
    path, results = matrix_file(objectives=named), tmp_path / "results"
    ended = ganbench(
        "run", "--dry-run", "--matrix", path, "--results", results, "--set", "training.ema=0.25"
    )
    training, evaluation = ended.out.splitlines()[1:3]
    assert training.endswith("  # gaussians8")
    options = tomllib.loads(f"{training}\n{evaluation}")
    assert Training.model_validate(options["training"]).plain()["ema"] == 0.25
    assert options["training"]["steps"] == 20
    assert "samples" not in options["training"]
    assert Evaluation.model_validate(options["evaluation"]).schedule == [0, 1]
    assert (
        "mlp[width=8] on gaussians8: 1 cell to run\n  nonsaturating (NS-GAN)  seed 0  " in ended.out
    )
    assert "estimated for 1 of 1 cell: " in ended.out
    assert "by its head" not in ended.out


def test_options_are_printed_once_with_all_that_they_hold_for(
    matrix_file: Callable[..., Path],
) -> None:
    narrow, wide = '{ name = "mlp", width = 4 }', '{ name = "mlp", width = 8'
    architectures = f"architectures = [{narrow}, {wide}, training = {{ batch_size = 32 }} }}]"
    datasets = 'datasets = ["gaussians8", "swissroll", "gaussians25"]'
    rule = '[[exclude]]\narchitecture = "mlp[width=8]"\ndataset = "gaussians25"'
    path = matrix_file(architectures=architectures, datasets=datasets, rules=rule)
    here = expand(files.read(path).matrix)
    *trainings, evaluation = option_lines(here)
    assert [line.partition("  # ")[2] for line in trainings] == [
        "mlp[width=4] on gaussians8; mlp[width=4] on swissroll; gaussians25",
        "mlp[width=8] on gaussians8; mlp[width=8] on swissroll",
    ]
    sizes = [tomllib.loads(line)["training"]["batch_size"] for line in trainings]
    assert sizes == [here[0].training.batch_size, 32]
    assert tomllib.loads(evaluation).keys() == {"evaluation"}
    assert option_lines([]) == []


def test_a_dry_run_says_which_data_is_missing_and_what_the_head_says_of_cost(
    ganbench: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("GANBENCH_OFFLINE", raising=False)
    results = ("--results", tmp_path / "r", "--device", "cpu")
    ended = ganbench("run", "--dry-run", "--matrix", "cifar10", *results)
    assert (ended.code, ended.err) == (0, "")
    folder = tmp_path / "data" / "cifar10"
    advice = f"data of cifar10 is missing: CIFAR10 is not in {folder}, `ganbench run` downloads it"
    assert advice in ended.out
    assert "cost of the whole matrix, by its head: 80 cells, 11 EFLOP by count." in ended.out
    assert "Expect" not in ended.out
    assert "estimated" not in ended.out
    assert re.search(r"^  wgan_gp\[lr=0.0002\] +seed 0-4$", ended.out, re.MULTILINE)
    ended = ganbench("run", "--dry-run", "--matrix", "robustness", *results)
    assert "data of image_folder[collection=lsun_bedroom]" in ended.out
    assert f"no images in {tmp_path / 'data' / 'lsun_bedroom'}: put a folder per class" in ended.out


@pytest.mark.parametrize(
    ("seeds", "text"), [([0], "0"), ([3, 1, 2, 7], "1-3, 7"), ([0, 1, 5, 6], "0-1, 5-6")]
)
def test_seeds_are_listed_as_ranges(seeds: list[int], text: str) -> None:
    assert ranges(seeds) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--output", "/proc/x"),
        ("compare", "a", "b", "--output", "/proc/x"),
        ("sample", "a", "--output", "/proc/x"),
        ("check", "--junit", "/proc/x/check.xml"),
        ("check", "--markdown", "/proc/x/check.md"),
        ("explain", "penalty", "--results", "/proc/x"),
        ("run", "--results", "/proc/x"),
        ("new", "objective", "mine", "--variants", "/proc/x"),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    arguments: tuple[str, ...], ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("needs /proc")
    synthetic.write(tmp_path / "quick", objectives=["wgan"], samples=False)
    of_quick = () if arguments[0] in ("explain", "new", "run") else ("--results", tmp_path)
    ended = ganbench(*arguments, *of_quick)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert re.search("--(output|junit|markdown|results|variants): /proc is not a folder", ended.err)
