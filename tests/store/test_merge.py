"""Result folders of shards joined into one."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark.analysis import tables
from benchmark.errors import UserError
from benchmark.store import merge as module
from benchmark.store.layout import ResultSet
from benchmark.store.locks import take
from benchmark.store.merge import Merged, merge
from tests.conftest import Ended
from tests.helpers import synthetic
from tests.helpers.result_sets import seeds_that_are

POINTS = [("gaussians8", "mlp")]
BOTH = [*POINTS, ("digits", "dcgan")]
LABELS = ("nonsaturating", "wgan", "wgan_gp")
STATUS = {
    ("wgan", "digits", 1): "diverged",
    ("wgan_gp", "mlp", 0): "error",
    ("wgan_gp", "mlp", 2): "missing",
}


@pytest.fixture(autouse=True, scope="module")
def fresh_code() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        yield


def write(folder: Path, **options: Any) -> Path:
    return synthetic.write(
        folder,
        **{"objectives": ["wgan"], "groups": POINTS, "seeds": range(2), "steps": 3, **options},
    )


def keys(folder: Path) -> list[str]:
    return [cell["key"] for cell in json.loads((folder / "matrix.json").read_text())["cells"]]


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three objectives on two groups, three seeds, with a diverged, a missing and an erroneous
    cell."""
    folder = tmp_path_factory.mktemp("whole") / "tiny"
    write(folder, objectives=LABELS, groups=BOTH, seeds=range(3), status=STATUS, untrained=True)
    for dataset, _ in BOTH:
        synthetic.write_real(folder, dataset)
    return folder


@pytest.fixture
def shards(whole: Path, tmp_path: Path) -> list[Path]:
    """The whole cut as --shard i/3 cuts it, each with the protocols of its own datasets."""
    folders = []
    for i in range(3):
        folder = tmp_path / f"machine{i}" / "tiny"
        mine = keys(whole)[i::3]
        shutil.copytree(whole, folder)
        for key in set(keys(whole)) - set(mine):
            shutil.rmtree(folder / "cells" / key, ignore_errors=True)
        protocols = json.loads((whole / "protocols.json").read_text())
        kept = {
            name: value
            for name, value in protocols.items()
            if name == "schema" or any(name in key for key in mine)
        }
        (folder / "protocols.json").write_text(json.dumps(kept))
        folders.append(folder)
    return folders


def test_shards_merged_are_the_whole(whole: Path, shards: list[Path], tmp_path: Path) -> None:
    before = [content(shard) for shard in shards]
    assert 0 < min(len(os.listdir(shard / "cells")) for shard in shards) < 7
    statuses = merge(shards, tmp_path / "joined" / "tiny").statuses
    assert Counter(statuses) == {"done": 15, "diverged": 1, "error": 1, "missing": 1}
    assert content(tmp_path / "joined/tiny") == content(whole)
    assert [content(shard) for shard in shards] == before
    expected, found = tables.load(whole), tables.load(tmp_path / "joined/tiny")
    for name in ("cells", "evals", "steps", "layers", "summary", "convergence"):
        frame = getattr(expected, name)
        assert len(frame)
        pd.testing.assert_frame_equal(getattr(found, name), frame)
    assert (found.protocols, found.matrix) == (expected.protocols, expected.matrix)


def test_a_merge_repeated_or_made_one_by_one_is_the_same(
    whole: Path, shards: list[Path], tmp_path: Path
) -> None:
    merge(shards, tmp_path / "joined")
    (tmp_path / "joined/cells/.killed.new").mkdir()
    merge(shards, tmp_path / "joined")
    assert not (tmp_path / "joined/cells/.killed.new").exists()
    for shard in reversed(shards):
        merge([shard], tmp_path / "one_by_one")
    assert content(tmp_path / "joined") == content(tmp_path / "one_by_one") == content(whole)


def test_a_merge_cut_short_is_completed_by_the_next(
    whole: Path, shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, copytree = [], shutil.copytree

    def dies(source: Path, target: Path, *rest: Any, **named: Any) -> None:
        copytree(source, target, *rest, **named)
        copied.extend(
            [target] if isinstance(target, Path) else []
        )  # a cell's folder, not one in it
        if len(copied) == 4:
            next(copied[-1].glob("*.jsonl")).unlink()  # half a copy
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copytree", dies)
        with pytest.raises(KeyboardInterrupt):
            merge(shards, tmp_path / "joined")
    there = [
        path.name for path in (tmp_path / "joined/cells").iterdir() if not path.name.startswith(".")
    ]
    assert (
        len(there) == 3 == len(os.listdir(tmp_path / "joined/cells"))
    )  # nothing of the fourth is left
    for key in there:
        assert content(tmp_path / "joined/cells" / key) == content(whole / "cells" / key)
    merge(shards, tmp_path / "joined")
    assert content(tmp_path / "joined") == content(whole)


def test_a_finished_cell_wins_over_an_error_and_what_is_under_way_stays_behind(
    tmp_path: Path,
) -> None:
    failed = write(
        tmp_path / "a", status={("wgan", "mlp", 0): "error", ("wgan", "mlp", 1): "running"}
    )
    finished = write(tmp_path / "b", status={("wgan", "mlp", 1): "interrupted"})
    first, second = keys(failed)
    for order in ((failed, finished), (finished, failed)):
        into = tmp_path / f"{order[0].name} first"
        assert merge(order, into) == Merged(["done", "missing"], [])
        assert content(into / "cells" / first) == content(finished / "cells" / first)
        assert not (into / "cells" / second).exists()
    into = tmp_path / "later"
    assert merge([failed], into) == Merged(["error", "missing"], [])
    assert merge([finished], into) == Merged(["done", "missing"], [])  # replaces the error
    assert os.listdir(into / "cells") == [first]


@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_what_is_under_way_gives_way_to_a_finished_cell_only(state: str, tmp_path: Path) -> None:
    into = write(tmp_path / "into", status={("wgan", "mlp", 0): state})
    before = content(into)
    failed = write(tmp_path / "a", status={("wgan", "mlp", 0): "error"})
    merged = merge([failed], into)
    assert (merged.statuses, content(into)) == ([state, "done"], before)
    assert merged.notes == [
        f"{keys(into)[0]} is {state} in {into}: kept, and not the error of {failed}"
    ]
    finished = write(tmp_path / "b")
    merged = merge([finished], into)
    assert merged.statuses == ["done", "done"]
    assert merged.notes == [
        f"{keys(into)[0]} was {state} in {into}: replaced by the one that is done in {finished}"
    ]


def test_a_cell_that_a_run_works_on_is_kept_as_it_is(tmp_path: Path) -> None:
    into = write(
        tmp_path / "into", status={("wgan", "mlp", 0): "running", ("wgan", "mlp", 1): "error"}
    )
    source = write(tmp_path / "a")
    working, failed = keys(into)
    before = content(into / "cells" / working)
    file = (into / "cells" / failed / ".lock").open("wb")  # a run may wait for it
    lock = take(ResultSet(into).cell(working))
    assert lock
    assert merge([source], into) == Merged(
        ["running", "done"],
        [f"{working} is being run in {into}: kept, and not the one of {source}"],
    )
    lock.release()
    assert content(into / "cells" / working) == before
    assert os.path.samestat(os.fstat(file.fileno()), os.stat(into / "cells" / failed / ".lock"))
    assert content(into / "cells" / failed) == content(source / "cells" / failed)


def test_a_cell_that_a_run_finishes_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = write(tmp_path / "into", status={("wgan", "mlp", 0): "running"})
    source = write(tmp_path / "a")
    key, copytree = keys(into)[0], shutil.copytree

    def copies(*rest: Any, **named: Any) -> None:
        copytree(*rest, **named)
        synthetic.edit(into / "cells" / key / "status.json", status="diverged")

    monkeypatch.setattr(module.shutil, "copytree", copies)
    merged = merge([source], into)
    assert (merged.statuses[0], merged.notes) == (
        "diverged",
        [f"{key} was diverged in {into} meanwhile: kept, and not the one of {source}"],
    )


def test_neither_locks_nor_unfinished_files_are_copied(tmp_path: Path) -> None:
    source = write(tmp_path / "a")
    for name in (".lock", ".status.json.1-ab", "samples/.000003.npz.1-ab"):
        (source / "cells" / keys(source)[0] / name).parent.mkdir(exist_ok=True)
        (source / "cells" / keys(source)[0] / name).write_text("theirs")
    merge([source], tmp_path / "joined")
    found = {path.name: path.read_text() for path in (tmp_path / "joined").rglob(".*")}
    assert found == {".lock": ""}


@pytest.mark.parametrize("named", [True, False])
def test_cells_of_two_protocols_are_not_joined(named: bool, tmp_path: Path) -> None:
    first = write(tmp_path / "a", status={("wgan", "mlp", 1): "missing"})
    second = write(
        tmp_path / "b",
        status={("wgan", "mlp", 0): "missing"},
        protocol={("gaussians8", 1): "bbbbbbbb"},
        fields=lambda objective, seed: {"protocol": "bbbbbbbb"},
    )
    if not named:
        (second / "protocols.json").unlink()
    with pytest.raises(
        UserError,
        match=r"gaussians8 is measured under protocol aaaaaaaa in \S+/a \(wgan.* "
        r"and bbbbbbbb in \S+/b \(wgan",
    ):
        merge([first, second], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_nothing_outside_the_target_is_touched(tmp_path: Path) -> None:
    first = write(tmp_path / "a")
    matrix = json.loads((first / "matrix.json").read_text())
    matrix["cells"][0]["key"] = "../../b"
    synthetic.edit(first / "matrix.json", cells=matrix["cells"])
    (tmp_path / "b").mkdir()
    (tmp_path / "b/mine").write_text("")
    with pytest.raises(UserError, match=r"matrix\.json.*\.\./\.\./b"):
        merge([first], tmp_path / "joined")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert os.listdir(tmp_path / "b") == ["mine"]


def test_a_dangling_link_in_a_source_is_named(tmp_path: Path) -> None:
    first = write(tmp_path / "a")
    link = first / "cells" / keys(first)[1] / "checkpoint.pt"
    link.symlink_to("nowhere")
    with pytest.raises(UserError, match=f"^{link} cannot be copied: .*No such file"):
        merge([first], tmp_path / "joined")
    assert os.listdir(tmp_path / "joined/cells") == keys(first)[:1]


def test_a_cell_finished_twice_must_have_the_same_evaluations(tmp_path: Path) -> None:
    first = write(
        tmp_path / "a", curve=lambda objective, metric, seed, i: float("nan") if i == 1 else 3.0
    )
    shutil.copytree(first, tmp_path / "b")
    key = keys(first)[1]
    path = tmp_path / "b/cells" / key / "evals.jsonl"
    path.write_text(path.read_text().replace('"train_seconds": 4.0', '"train_seconds": 4.5'))
    merge([first, tmp_path / "b"], tmp_path / "joined")  # the clocks differ, the numbers do not
    path.write_text(path.read_text().replace('"value": 3.0', '"value": 3.0000001', 1))
    with pytest.raises(
        UserError,
        match=rf"^{key} is finished in \S+/a and in \S+/b with different evaluations; --prefer-f",
    ):
        merge([first, tmp_path / "b"], tmp_path / "other")
    assert not (tmp_path / "other").exists()
    merge([tmp_path / "b", first], tmp_path / "other", prefer_first=True)
    assert content(tmp_path / "other/cells" / key) == content(tmp_path / "b/cells" / key)


def test_other_matrices_and_protocols_are_refused_by_name(tmp_path: Path) -> None:
    first = write(tmp_path / "a")
    shutil.copytree(first, tmp_path / "b")
    synthetic.edit(
        tmp_path / "b/matrix.json",
        hash="ffffffff",
        config={"training": {"batch_size": 32}, "evaluation": {"n": 750}},
    )
    with pytest.raises(
        UserError,
        match=r"/a and \S+/b are results of different matrices: "
        r"training.batch_size is 64 against 32$",
    ):
        merge([first, tmp_path / "b"], tmp_path / "joined")
    synthetic.edit(
        tmp_path / "b/matrix.json", config=json.loads((first / "matrix.json").read_text())["config"]
    )
    with pytest.raises(
        UserError, match="hash is 0123abcd against ffffffff, though no option differs"
    ):
        merge([first, tmp_path / "b"], tmp_path / "joined")
    shutil.copytree(first, tmp_path / "c")
    entry = json.loads((first / "protocols.json").read_text())["gaussians8"]
    other = entry | {"protocol": "bbbbbbbb", "parts": entry["parts"] | {"n_fake": 500}}
    synthetic.edit(tmp_path / "c/protocols.json", gaussians8=other)
    with pytest.raises(
        UserError,
        match=r"gaussians8 is measured under protocol aaaaaaaa in .*/a "
        r"and bbbbbbbb in .*/c: n_fake is 750 against 500",
    ):
        merge([first, tmp_path / "c"], tmp_path / "joined")
    shutil.copytree(first, tmp_path / "d")
    synthetic.edit(tmp_path / "d/matrix.json", cells=[])
    with pytest.raises(UserError, match="list different cells"):
        merge([first, tmp_path / "d"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_floors_of_the_same_protocol_are_joined(tmp_path: Path) -> None:
    """A machine that ran with fewer metrics has fewer floors."""
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    entry = json.loads((first / "protocols.json").read_text())["gaussians8"]
    synthetic.edit(first / "protocols.json", gaussians8=entry | {"floor": {"swd_2k": 0.125}})
    merge([first, second], tmp_path / "joined")
    floor = tables.load(tmp_path / "joined").protocols["gaussians8"].floor
    assert floor == entry["floor"] | {"swd_2k": 0.125}


def test_spreads_of_floors_and_marks_are_joined_like_floors(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    known = ({"a": 1.0}, {"a": 0.1}, {"flat": {"a": 1.0}})
    other = ({"b": 2.0}, {"b": 0.2}, {"flat": {"a": 2.0, "b": 2.0}, "even": {"b": 3.0}})
    for shard, floors in ((first, known), (second, other)):
        entry = json.loads((shard / "protocols.json").read_text())["gaussians8"]
        fields = dict(zip(("floor", "floor_spread", "marks"), floors, strict=True))
        synthetic.edit(shard / "protocols.json", gaussians8=entry | fields)
    merge([first, second], tmp_path / "joined")
    joined = ResultSet(tmp_path / "joined").protocols["gaussians8"]
    assert joined.floor == {"a": 1.0, "b": 2.0}
    assert joined.floor_spread == {"a": 0.1, "b": 0.2}
    assert joined.marks == {"flat": {"a": 1.0, "b": 2.0}, "even": {"b": 3.0}}


def test_a_timeout_counts_as_an_error_does(tmp_path: Path) -> None:
    def shard(name: str, **seeds_by_status: list[int]) -> Path:
        return write(tmp_path / name, status=seeds_that_are(**seeds_by_status))

    def statuses(first: Path, second: Path, into: str) -> list[str]:
        return list(merge([first, second], tmp_path / into).statuses)

    gave_up, whole = shard("a", timeout=[0]), shard("c")
    assert statuses(gave_up, shard("b", missing=[0]), "ab") == ["timeout", "done"]
    assert statuses(gave_up, whole, "ac") == ["done", "done"]
    assert statuses(shard("d", error=[1]), gave_up, "da") == ["done", "done"]


def test_merge_on_the_command_line(
    ganbench: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", status={("wgan", "mlp", 1): "missing"})
    write(tmp_path / "b", status={("wgan", "mlp", 0): "missing"})
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert ganbench("merge", "a", "b", "--into", "runs/joined") == (0, "runs/joined: 2 done\n", "")
    assert ganbench("status", "--matrix", "joined", "--results", "runs").out.startswith(
        "joined: 2 cells: 2 done"
    )
    evals = next(Path("b/cells").glob("*/evals.jsonl"))
    evals.write_text("garbage\n" + evals.read_text())
    for arguments, message in (
        (("a", "empty", "--into", "new"), "no matrix.json in empty: not the results of a matrix"),
        (("a", "nowhere", "--into", "new"), "no matrix.json in nowhere"),
        (("a", "b", "--into", "new"), f"{evals}, line 1 is damaged"),
        (("a", "b", "--into", "./a"), "--into a is one of the folders to merge"),
        (
            ("a", "b", "--into", "a/cells/joined"),
            "--into a/cells/joined lies in a, one of the folders to merge",
        ),
        (("a", "--into", "full"), "--into full is neither empty nor the results of a matrix"),
        (("a", "--into", "full/notes.txt"), "--into: full/notes.txt is not a folder"),
        (("a", "b"), "--into"),
    ):
        ended = ganbench("merge", *arguments)
        assert (ended.code, ended.out) == (2, ""), arguments
        assert message in ended.err
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["a", "b", "empty", "full", "runs"]


def test_races_of_all_folders_arrive_and_one_with_a_result_comes_first(tmp_path: Path) -> None:
    folders = [write(tmp_path / name / "runs" / "m") for name in ("a", "b", "c")]
    failed = {"objectives": {"wgan": {"reason": "out of memory"}}}
    synthetic.write_race(folders[0], "gaussians8", "mlp", {}, failed)
    other = {"surroundings": {"device": "Another CPU", "threads": 1}}
    synthetic.write_race(folders[2], "gaussians8", "mlp", {"wgan": 7.0}, other)
    merge(folders, tmp_path / "all", prefer_first=True)
    races = ResultSet(tmp_path / "all").races
    found = {race.surroundings.device: race.objectives["wgan"].milliseconds for race in races}
    assert found == {"Synthetic CPU": [20.0] * 10, "Another CPU": [7.0] * 10}
