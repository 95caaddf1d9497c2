"""Answers about the shipped variants that are kept: the same with and without them, never stale,
and no import of torch in the verbs that plan, list and read."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import variants.objectives
from benchmark.errors import UserError
from benchmark.machine import devices
from benchmark.matrix import files, recall
from benchmark.matrix.cell import Cell
from benchmark.matrix.expand import expand
from benchmark.run import plan
from benchmark.store.code import ROOT
from benchmark.store.schema import RunStatus, Status
from tests.conftest import Ended
from tests.helpers import result_sets

# Every call of a list, in one process that never imports torch
WATCHED = """
import json
import sys

from benchmark.cli.main import main

for call, code in json.loads(sys.argv[1]):
    sys.argv = ["ganbench", *call]
    try:
        main()
    except SystemExit as end:
        assert (end.code or 0) == code, call
    assert "torch" not in sys.modules, call
"""
OBJECTIVE = '''
"""A default that is computed."""

import os
from dataclasses import dataclass

from variants.objectives import lsgan


@dataclass(frozen=True)
class Objective(lsgan.Objective):
    b: float = float(os.environ["LEVEL"])
'''


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a cache of its own."""
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))
    recall._open.cache_clear()
    yield tmp_path / "cache" / "answers"
    recall._open.cache_clear()


def shipped(name: str) -> list[Cell]:
    return expand(files.read(files.find(name)).matrix)


def refuse(*arguments: object) -> None:
    pytest.fail("a variant was asked")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("depth", "robustness")]


@pytest.mark.parametrize("name", ["quick", "text", *SLOW])
def test_cells_are_the_same_with_kept_answers(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(recall, "_kept", lambda: None)
        asked = shipped(name)
    first = shipped(name)
    # As another process
    recall._open.cache_clear()
    monkeypatch.setattr("benchmark.matrix.values.classes", refuse)
    monkeypatch.setattr("benchmark.matrix.pairs.critic_norm", refuse)
    kept = shipped(name)
    assert asked == first == kept
    assert [cell.key for cell in asked] == [cell.key for cell in kept]
    # An equal value may be of another type
    assert repr(asked) == repr(kept)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b'{"answers": {}}',
        b'{"answers": null, "sha256": "74234e98"}',
        b'{"answers": {"x": "y"}, "sha256": "00000000"}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_not_used(content: bytes, cache: Path) -> None:
    cells = shipped("quick")
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(content)
    recall._open.cache_clear()
    assert shipped("quick") == cells
    assert file.read_bytes() == whole


def test_a_truncated_or_edited_file_is_not_used(cache: Path) -> None:
    cells = shipped("quick")
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    edited = whole.replace(b"none", b"layer")
    assert edited != whole
    for content in (whole[:-1], whole[: len(whole) // 2], edited):
        file.write_bytes(content)
        recall._open.cache_clear()
        assert shipped("quick") == cells


def test_edited_sources_have_other_answers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped("quick")
    (before,) = cache.iterdir()
    monkeypatch.setattr(recall, "_first_sources", lambda: "0" * 16)
    shipped("quick")
    # These sources are not those on disk, as where a file was edited after its import
    assert [*cache.iterdir()] == [before]


def test_every_source_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "ROOT", tmp_path)
    names = ["errors.py", "train/loop.py", "train/execution/stack.py", "measure/points.py"]
    seen = {recall.sources()}
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
        seen.add(recall.sources())
        (tmp_path / name).write_text("x = 1")
        seen.add(recall.sources())
    assert len(seen) == 1 + 2 * len(names)


def test_a_mistake_is_refused_each_time(cells: Callable[..., list[Cell]], cache: Path) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="critic_steps"):
            cells(objectives='objectives = [{ name = "wgan", critic_steps = 0 }]')
        recall._open.cache_clear()


def test_answers_of_two_processes_are_all_kept(cache: Path) -> None:
    """One after the other; at the same time one of them may find its answers again."""
    path = cache / f"{recall.sources()}.json"
    stores = [recall.Answers(path) for _ in range(8)]
    for number, store in enumerate(stores):
        store.new[str(number)] = "1"
        store.save()
    assert recall.Answers(path).answers == {str(number): "1" for number in range(8)}
    for number, store in enumerate(stores):
        store.new[f"again {number}"] = "1"
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(recall.Answers.save, stores)]
    assert recall.Answers(path).answers.items() >= {str(n): "1" for n in range(8)}.items()


def test_few_files_stay(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(recall.MOST_FILES + 3):
        monkeypatch.setattr(recall, "sources", lambda number=number: f"{number}")
        store = recall.Answers(cache / f"{number}.json")
        store.new["x"] = "1"
        store.save()
        os.utime(store.path, (number, number))
    assert len([*cache.iterdir()]) == recall.MOST_FILES


def test_a_cache_that_cannot_be_written_changes_nothing(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file")
    assert len(shipped("quick")) == 168


def test_a_computed_default_of_the_user_is_never_kept(
    cells: Callable[..., list[Cell]], cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own" / "objectives").mkdir(parents=True)
    (tmp_path / "own" / "objectives" / "levelled.py").write_text(OBJECTIVE)
    monkeypatch.setenv("GANBENCH_VARIANTS", str(tmp_path / "own"))
    swept = 'objectives = [{ name = "levelled", b = [1.0, 2.0] }]'
    for level, labels in (("1", ["levelled", "levelled[b=2.0]"]), ("2", ["levelled[b=1.0]"])):
        monkeypatch.setenv("LEVEL", level)
        forget("levelled")
        assert [cell.objective.label for cell in cells(objectives=swept)][: len(labels)] == labels
    assert not cache.exists()
    forget("levelled")


def forget(objective: str) -> None:
    """Have a variant imported again, as in another process."""
    sys.modules.pop(f"variants.objectives.{objective}", None)
    vars(variants.objectives).pop(objective, None)


def test_planning_listing_and_reading_need_no_torch(
    ganbench: Callable[..., Ended], cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result_sets.write(tmp_path / "quick", objectives=["wgan", "wgan_gp"])
    there = ["--results", str(tmp_path)]
    first = [["run", "--dry-run", "--results", str(tmp_path / "new")], ["list", "wgan_gp"]]
    others = [["list"], ["list", "quick"], ["status", *there]]
    others.append(["compare", "wgan_gp", "wgan", *there])
    nothing = ["check", *there, "--baselines", str(tmp_path)]
    monkeypatch.setattr(plan, "_time_steps", lambda *arguments: 1.0)
    expected = [ganbench(*call) for call in first]
    calls = [(call, 0) for call in [*first, *others]]
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps([*calls, (nothing, 2)])],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("".join(call.out for call in expected))
    assert ended.stderr.startswith("ganbench: no baseline for matrix 'quick'")


def test_a_gpu_is_looked_for_where_there_may_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "DEVICE_FILES", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "nvme0n1").touch()
    assert not devices._may_have_gpus()
    (tmp_path / "nvidia0").touch()
    assert devices._may_have_gpus()


def test_an_answer_is_json_from_the_first_time_on(cache: Path) -> None:
    for _ in range(2):
        assert recall.answer("a pair", [1], lambda: (1, 2.0)) == [1, 2.0]
    recall.save()
    (file,) = cache.iterdir()
    assert json.loads(file.read_bytes())["answers"] == {'["a pair", 1]': "[1, 2.0]"}


def test_a_trial_that_came_too_late_is_made_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = shipped("quick")[0]
    known = {cell.key: Status(status=RunStatus.MISSING)}
    monkeypatch.setattr(plan, "_time_steps", lambda *arguments: 7.0)
    monkeypatch.setattr(plan, "TRIAL_SECONDS", -1.0)
    assert plan.estimate({cell.key: cell}, known, "cpu") == {cell.key: None}
    monkeypatch.setattr(plan, "TRIAL_SECONDS", 1000.0)
    recall._open.cache_clear()
    assert plan.estimate({cell.key: cell}, known, "cpu") == {cell.key: 7.0}
    # what was found is kept
    monkeypatch.setattr(plan, "_time_steps", refuse)
    recall._open.cache_clear()
    assert plan.estimate({cell.key: cell}, known, "cpu") == {cell.key: 7.0}
