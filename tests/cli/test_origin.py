"""The commands that a report prints run, and two matrix files of one name stay apart."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import variants
from benchmark.analysis.tables import load
from benchmark.report.chapters import reproduce
from benchmark.run.options import RunOptions
from benchmark.run.session import Session
from benchmark.store.files import write_record
from benchmark.store.layout import ResultSet
from tests.conftest import Ended, matrix_text

Ganbench = Callable[..., Ended]
VERBS = {
    "tables": (),
    "plots": (),
    "report": (),
    "status": (),
    "check": (),
    "accept": (),
    "measure": (),
    "compare": ("wgan", "lsgan"),
    "sample": ("nonsaturating",),
    "export": ("tensorboard",),
    "run": ("--dry-run",),
}
OWN = '''"""One loss more."""
from variants.objectives import nonsaturating


class Objective(nonsaturating.Objective):
    """One loss more."""
'''


def listed(folder: Path, matrix: Path, *overrides: str) -> ResultSet:
    """A result set as a run leaves it before its first cell."""
    options = RunOptions(overrides=overrides, device="cpu")
    session = Session(matrix, options, folder)
    write_record(session.results.matrix_file, session.matrix_file)
    return session.results


def matrix_at(path: Path, **parts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(matrix_text(**parts))
    return path


def commands(folder: Path) -> list[list[str]]:
    """The words of the commands of `ganbench` that a report prints, as a shell reads them."""
    (listing,) = (
        part
        for part in reproduce.chapter(load(folder), folder).listings
        if part.summary == "Commands"
    )
    lines = [shlex.split(line) for line in listing.text.splitlines()]
    return [words[1:] for words in lines if words[0] == "ganbench"]


def test_the_commands_of_a_report_run_as_they_are_printed(
    tmp_path: Path, ganbench: Ganbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variants.VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "my variants; x/objectives/own_loss.py"
    own.parent.mkdir(parents=True)
    own.write_text(OWN)
    matrix = matrix_at(
        tmp_path / "my $HOME (1)/it's one.toml", objectives='objectives = ["own_loss"]'
    )
    variants.add_folder(own.parent.parent)
    changed = ("training.steps=6", 'evaluation.metrics=["swd", "reverse_kl"]')
    options = RunOptions(overrides=changed, stack="1", device="cpu")
    session = Session(matrix, options, Path("re sults"))
    write_record(session.results.matrix_file, session.matrix_file)
    folder = Path("re sults/it's one")
    run, report = commands(folder)
    assert (run[0], report[0]) == ("run", "report")
    assert str(tmp_path) not in f"{run} {report}"
    assert run[-4:] == ["--stack", "1", "--device", "cpu"]

    # Printed by a process that knows the variants; read by one that does not
    shutil.rmtree(folder)
    monkeypatch.setenv(variants.VARIABLE, "")
    ended = ganbench(*run)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "it's one: 1 done")
    again = ResultSet(folder).matrix
    assert (again.hash, again.command) == (session.matrix_file.hash, session.matrix_file.command)
    monkeypatch.setenv(variants.VARIABLE, "")
    assert ganbench("tables", *report[1:]).out == "re sults/it's one/tables\n"


def test_the_commands_of_a_shipped_matrix_need_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = Session(
        "quick", RunOptions(overrides=("seeds=2",), device="cpu"), Path("results/runs")
    )
    write_record(session.results.matrix_file, session.matrix_file)
    run, report = commands(session.results.path)
    assert run == ["run", "--matrix", "quick", "--set", "seeds=2", "--device", "cpu"]
    assert report == ["report", "--matrix", "quick"]
    moved = tmp_path / "elsewhere/joined"
    shutil.copytree(session.results.path, moved)
    assert commands(moved)[1] == ["report", "--matrix", "joined", "--results", "elsewhere"]


@pytest.mark.parametrize("verb", VERBS)
def test_results_of_another_file_of_the_same_name_are_refused_in_one_line(
    verb: str, tmp_path: Path, ganbench: Ganbench
) -> None:
    first = matrix_at(tmp_path / "a/exp.toml")
    second = matrix_at(tmp_path / "b/exp.toml", seeds="seeds = 3")
    results = listed(tmp_path / "r", second)
    before = results.matrix_file.read_bytes()
    options = ("--matrix", first, "--results", tmp_path / "r")
    ended = ganbench(verb, *VERBS[verb], *options)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    for text in (str(first), str(second), "seeds is 3 against 1"):
        assert text in ended.err
    assert results.matrix_file.read_bytes() == before


def test_a_run_does_not_mix_the_results_of_two_files(tmp_path: Path, ganbench: Ganbench) -> None:
    first = matrix_at(tmp_path / "a/exp.toml", seeds="seeds = 2")
    listed(tmp_path / "r", first)
    second = matrix_at(tmp_path / "b/exp.toml", training="[training]\nsteps = 30")
    ended = ganbench("run", "--matrix", second, "--results", tmp_path / "r")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "training.steps is 20 against 30" in ended.err
    assert ResultSet(tmp_path / "r/exp").matrix.config["training"]["steps"] == 20


def test_a_file_that_was_edited_copied_or_moved_with_its_results_is_the_same_matrix(
    tmp_path: Path, ganbench: Ganbench
) -> None:
    matrix = matrix_at(tmp_path / "work/exp.toml")
    listed(tmp_path / "work/r", matrix, "seeds=4")

    def status(matrix: object, results: Path) -> int:
        return ganbench("status", "--matrix", matrix, "--results", results).code

    # Edited, and without the options of the last run
    matrix_at(matrix, seeds="seeds = 2")
    assert status(matrix, tmp_path / "work/r") == 0
    listed(tmp_path / "work/r", matrix)
    copied = Path(shutil.copy(matrix, tmp_path / "exp.toml"))
    assert status(copied, tmp_path / "work/r") == 0
    shutil.move(tmp_path / "work", tmp_path / "elsewhere")
    matrix_at(tmp_path / "elsewhere/exp.toml", seeds="seeds = 7")
    assert status(tmp_path / "elsewhere/exp.toml", tmp_path / "elsewhere/r") == 0
    # The name of a result set is that of any matrix
    assert status("exp", tmp_path / "elsewhere/r") == 0
    assert status(tmp_path / "gone/exp.toml", tmp_path / "elsewhere/r") == 2


def test_a_file_named_like_a_shipped_matrix_is_another_matrix(
    tmp_path: Path, ganbench: Ganbench
) -> None:
    own = matrix_at(tmp_path / "quick.toml")
    listed(tmp_path / "r", own)
    for verb in ("status", "run"):
        ended = ganbench(verb, "--matrix", "quick", "--results", tmp_path / "r")
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert str(own) in ended.err


def test_a_merged_set_knows_the_file(tmp_path: Path, ganbench: Ganbench) -> None:
    matrix = matrix_at(tmp_path / "exp.toml")
    for shard in ("one", "two"):
        listed(tmp_path / shard, matrix)
    sources = (tmp_path / "one/exp", tmp_path / "two/exp")
    assert ganbench("merge", *sources, "--into", tmp_path / "deep/er/exp").code == 0
    run, _ = commands(tmp_path / "deep/er/exp")
    assert Path(run[2]).resolve() == matrix
    matrix_at(matrix, seeds="seeds = 9")
    options = ("--matrix", matrix, "--results", tmp_path / "deep/er")
    assert ganbench("status", *options).code == 0


@pytest.mark.parametrize("name", ["..", "...", ".", " ", "a\nb", "\u202egnp", "x" * 230, "é" * 110])
def test_a_matrix_whose_name_is_no_folder_is_refused(
    name: str, tmp_path: Path, ganbench: Ganbench
) -> None:
    matrix = matrix_at(tmp_path / "m" / f"{name}.toml")
    ended = ganbench("run", "--dry-run", "--matrix", matrix, "--results", tmp_path / "r" / "deep")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "r").exists()
