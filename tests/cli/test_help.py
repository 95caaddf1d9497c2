"""Help, examples, completion: what a newcomer asks the command line for."""

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import variants
from benchmark.cli import main as cli
from benchmark.cli.help import EXAMPLES
from benchmark.matrix import files
from tests.conftest import Ended
from tests.helpers import synthetic

VERBS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


def test_every_verb_has_examples_and_every_example_is_a_command_line() -> None:
    assert set(EXAMPLES) == {"", *VERBS}
    for verb, lines in EXAMPLES.items():
        assert lines, verb
        for line in lines:
            program, name, *rest = shlex.split(line)
            assert program == "ganbench"
            if verb:
                assert name == verb
            if name in VERBS:
                # raises for an option that the verb does not have
                VERBS[name].make_context(name, rest)
            else:
                assert name == "--install-completion"


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("verb", [None, "run", "list"])
def test_help_has_two_flags_and_a_verb(
    flag: str, verb: str | None, ganbench: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    words = [verb] if verb else []
    flagged, asked = ganbench(*words, flag), ganbench("help", *words)
    assert (flagged.code, asked.code, flagged.err, asked.err) == (0, 0, "", "")
    for out in (flagged.out, asked.out):
        for line in EXAMPLES[verb or ""]:
            assert line in out
        assert "Usage: ganbench" in out
    if verb:
        assert f"ganbench {verb} [OPTIONS]" in asked.out


def test_help_of_an_unknown_verb_names_the_nearest(ganbench: Callable[..., Ended]) -> None:
    ended = ganbench("help", "rnu")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("ganbench: unknown verb 'rnu' (did you mean 'run'?); valid: ")


@pytest.fixture
def completed(
    ganbench: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], list[str]]:
    """What bash is offered for the last word of a command line."""

    def complete(line: str) -> list[str]:
        monkeypatch.setenv("_GANBENCH_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        ended = ganbench()
        monkeypatch.delenv("_GANBENCH_COMPLETE")
        assert ended.err == ""
        return ended.out.split()

    return complete


def test_verbs_matrices_and_names_are_completed(
    completed: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completed("ganbench re") == ["report"]
    assert set(VERBS) <= set(completed("ganbench "))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quiet.toml").write_text("")
    (tmp_path / "quiz").mkdir()
    assert completed("ganbench run --matrix qu") == ["quick", "quiet.toml", "quiz/"]
    assert completed("ganbench run --matrix quiz/") == []
    assert set(completed("ganbench run --matrix ")) >= set(files.names())
    assert completed("ganbench list wgan_") == ["wgan_div", "wgan_fdgp", "wgan_gp"]
    assert completed("ganbench list obj") == ["objectives"]
    assert completed("ganbench help ch") == ["check"]
    assert completed("ganbench export ml") == ["mlflow"]
    assert completed("ganbench explain pen") == ["penalty"]
    for axis in variants.AXES:
        assert set(completed("ganbench list ")) >= set(variants.names(axis))


def test_what_a_result_set_holds_is_completed(
    completed: Callable[[str], list[str]], tmp_path: Path
) -> None:
    folder = synthetic.write(tmp_path / "tiny", objectives=["wgan", "wgan_gp"], samples=False)
    of_tiny = f"--matrix tiny --results {tmp_path}"
    assert completed(f"ganbench compare {of_tiny} wgan_") == ["wgan_gp"]
    keys = [path.name for path in (folder / "cells").iterdir() if path.name.startswith("wgan_gp")]
    assert sorted(completed(f"ganbench sample {of_tiny} wgan_gp")) == sorted(keys)
    assert completed("ganbench compare --results /nowhere wg") == []


def test_completion_can_be_installed(
    ganbench: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: ("bash", "/bin/bash"))
    ended = ganbench("--install-completion")
    assert ended.code == 0
    scripts = [Path(folder, name) for folder, _, names in os.walk(tmp_path) for name in names]
    (script,) = [path for path in scripts if path.name == "ganbench.sh"]
    assert re.search(r"_GANBENCH_COMPLETE=complete_bash", script.read_text())
