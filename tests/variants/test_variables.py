"""The GANBENCH_ variables: blank values, `~`, flags, files instead of folders, unknown names."""

import re
from pathlib import Path

import pytest
import torch

from benchmark.measure.features.extractors import open_extractor
from benchmark.store.code import ROOT
from variants import _variables, datasets, folders
from variants._variables import VariableError

USED = re.compile(r"GANBENCH_[A-Z]+\b")


@pytest.mark.parametrize("blank", ["", "  ", "\t\n"])
def test_a_blank_value_is_no_value(
    blank: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CACHE", "DATA", "OFFLINE", "VARIANTS"):
        monkeypatch.setenv(f"GANBENCH_{name}", blank)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert datasets.cache_folder() == tmp_path / "ganbench"
    assert datasets.data_folder(None, "mnist") == tmp_path / "ganbench/datasets/mnist"
    assert datasets.why_no_download() == ""
    assert folders() == []
    monkeypatch.setenv("XDG_CACHE_HOME", blank)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert datasets.cache_folder() == tmp_path / "home/.cache/ganbench"


def test_a_tilde_is_the_home_folder_and_a_relative_path_is_of_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANBENCH_DATA", "~/data")
    monkeypatch.setenv("GANBENCH_CACHE", " kept ")
    monkeypatch.setenv("GANBENCH_VARIANTS", "~/a: b :")
    assert datasets.data_folder(None, "cifar10") == tmp_path / "data/cifar10"
    assert datasets.cache_folder() == tmp_path / "kept"
    assert folders() == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(
    ("text", "is_set"),
    [("1", True), ("yes", True), ("ON", True), ("0", False), ("no", False), (" False ", False)],
)
def test_a_flag_says_yes_or_no(text: str, is_set: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANBENCH_OFFLINE", text)
    assert bool(datasets.why_no_download()) is is_set


def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANBENCH_OFFLINE", "maybe")
    with pytest.raises(VariableError, match="GANBENCH_OFFLINE is 'maybe'; valid: 1, true"):
        _variables.check()
    monkeypatch.delenv("GANBENCH_OFFLINE")
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "file"))
    with pytest.raises(VariableError, match=r"GANBENCH_DATA: .* is a file, not a folder"):
        _variables.check()


@pytest.mark.parametrize("text", ["junk", "[1]", '"abc"', '{"a": 1}', '{"commit": 1}', "0"])
def test_a_commit_that_is_none_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANBENCH_GIT", text)
    with pytest.raises(VariableError, match=r"GANBENCH_GIT is .*; valid: a JSON object"):
        _variables.check()
    for blank in ("", " ", "\t"):
        monkeypatch.setenv("GANBENCH_GIT", blank)
        assert _variables.commit() is None
    monkeypatch.setenv("GANBENCH_GIT", " null ")
    assert _variables.commit() == {}


def test_an_unknown_variable_is_named_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANBENCH_CASHE", "x")
    (line,) = _variables.unknown()
    assert "GANBENCH_CASHE (did you mean GANBENCH_CACHE?)" in line


def test_offline_forbids_the_weights_of_an_extractor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, *_, **__: fetched.append(url)
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("GANBENCH_OFFLINE", "1")
    with pytest.raises(Exception, match="GANBENCH_OFFLINE forbids to download it"):
        open_extractor("inception-v3-compat", None, None, "cpu")
    assert fetched == []


def test_a_cache_that_cannot_be_written_to_names_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="set GANBENCH_CACHE to another folder"):
        datasets.to_be_cached(tmp_path / "file/measure/features.npz")


def test_the_page_lists_every_variable_and_no_other_code_reads_one() -> None:
    page = (ROOT / "docs/variables.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(GANBENCH_\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert rows == _variables.VARIABLES
    for folder in ("benchmark", "variants", "tests/speed"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert set(USED.findall(text)) <= set(rows), file
            if file.name != "_variables.py":
                assert not re.search(r"environ(\.get\(|\[)\"GANBENCH_(?!GIT)", text), file
