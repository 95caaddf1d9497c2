"""Standard streams: closed, without a reader, on a full disk, and without the characters."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.cli.streams import HANDLER, Sink, open_standard_streams
from benchmark.store.code import ROOT
from tests.conftest import Ended
from tests.helpers import synthetic

FULL = Path("/dev/full")


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command line in which `$ganbench` is the program."""
    return subprocess.run(
        ["bash", "-c", command],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "ganbench": f"{sys.executable} -m benchmark"}
        | variables,
        capture_output=True,
        timeout=120,
    )


def test_a_reader_that_had_enough_changes_no_exit_code() -> None:
    ended = shell("set -o pipefail; $ganbench list | head -1")
    assert (ended.returncode, ended.stderr) == (0, b"")
    ended = shell("set -o pipefail; $ganbench check --results nowhere 2>&1 | head -c 1")
    assert ended.returncode == 2


def test_closed_streams_change_no_exit_code() -> None:
    assert shell("$ganbench list <&- >&- 2>&-").returncode == 0
    assert shell("$ganbench list --nothing >&- 2>&-").returncode == 2


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_output_that_is_lost_is_no_success() -> None:
    ended = shell("$ganbench list > /dev/full")
    assert ended.returncode == 2
    assert ended.stderr == b"ganbench: standard output: No space left on device\n"
    assert shell("$ganbench list 2> /dev/full").returncode == 0


C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(
    "variables", [C_LOCALE, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_output_has_the_characters_of_its_encoding(variables: dict[str, str]) -> None:
    ended = shell("$ganbench list", **variables)
    assert (ended.returncode, ended.stderr) == (0, b"")
    encoding = variables.get("PYTHONIOENCODING", "ascii")
    sign = "x" if encoding == "ascii" else "×"
    assert f"5{sign}5 convolutions" in ended.stdout.decode(encoding)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["compare nonsaturating wgan_gp", "report", "plots", "check"])
def test_every_page_is_written_in_every_locale(verb: str, tmp_path: Path) -> None:
    synthetic.write(tmp_path / "tiny", groups=[("gaussians8", "mlp")], samples=False)
    ended = shell(f"$ganbench {verb} --matrix tiny --results {tmp_path}", **C_LOCALE)
    assert ended.returncode == (2 if verb == "check" else 0), ended.stderr
    ended.stdout.decode("ascii")


def test_marks_and_signs_stay_apart_and_bytes_that_are_no_text_pass() -> None:
    open_standard_streams()
    assert "− – ≥ 5 × ∞ é … 漢".encode("ascii", HANDLER) == b"- - >= 5 x inf e ... ?"
    assert "caf\udce9".encode("utf-8", HANDLER) == b"caf\xe9"


def test_a_sink_outlives_its_descriptor() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = Sink(writing)
    stream = io.TextIOWrapper(io.BufferedWriter(sink))
    for _ in range(3):
        stream.write("text\n")
        stream.flush()
    assert (sink.works, sink.error) == (False, None)
    os.close(writing)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--results", ""),
        ("status", "--results", " "),
        ("new", "objective", "my_loss", "--variants", ""),
        ("merge", "a", "--into", ""),
        ("check", "--baselines", ""),
        ("explain", "--results", ""),
        ("list", "--variants", ""),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_blank_path_is_refused(
    arguments: tuple[str, ...],
    ganbench: Callable[..., Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = ganbench(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "is blank" in ended.err
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_text_is_refused() -> None:
    ended = shell("$ganbench report --matrix $'caf\\xe9.toml'")
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (2, b"", 1)
    assert ended.stderr.startswith(rb"ganbench: caf\xe9.toml: the name is no text")


def test_verbs_look_at_the_variables_first(
    ganbench: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANBENCH_OFLINE", "1")
    assert "did you mean GANBENCH_OFFLINE?" in ganbench("list").err
    monkeypatch.setenv("GANBENCH_OFFLINE", "perhaps")
    ended = ganbench("list")
    assert (ended.code, ended.out) == (2, "")
