"""Measuring finished cells again: what is stale or missing, from the stored generators."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.measure import points
from benchmark.measure.protocol import FUNCTIONS
from benchmark.run.measure_again import measure_again
from benchmark.run.options import RunOptions
from benchmark.run.session import run_matrix
from benchmark.store.files import read_rows, write_record
from benchmark.store.layout import ResultSet
from tests.conftest import Ended, matrix_text


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result set of two cells."""
    root = tmp_path_factory.mktemp("measure_again")
    path = root / "tiny.toml"
    path.write_text(matrix_text(seeds="seeds = 2", evaluation=EVALUATION))
    run_matrix(path, RunOptions(jobs=1, device="cpu"), root / "runs")
    return root / "runs" / "tiny"


EVALUATION = "[evaluation]\nschedule = [0, 0.5, 1]\nn = { points = 200 }\nlog_every = 5"


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> ResultSet:
    shutil.copytree(trained, tmp_path / "tiny")
    return ResultSet(tmp_path / "tiny")


def keys(results: ResultSet) -> list[str]:
    return [entry.key for entry in results.matrix.cells]


def rows(results: ResultSet, key: str) -> dict[tuple[int, str], dict[str, Any]]:
    """(generator step, metric) → row."""
    found = {}
    for row in read_rows(results.cell(key).evals):
        assert (row["g_steps"], row["metric"]) not in found
        found[row["g_steps"], row["metric"]] = row
    return found


def again(results: ResultSet, **options: Any) -> Any:
    return measure_again(results.path, "cpu", note=lambda text: None, **options)


def make_stale(results: ResultSet, key: str) -> None:
    """As after a change of the code in measure/."""
    files = results.cell(key)
    status = files.status
    status.measuring_code = "of the past"
    files.write_status(status)


def test_what_is_up_to_date_is_left_alone(results: ResultSet) -> None:
    before = {key: results.cell(key).evals.read_bytes() for key in keys(results)}
    done = again(results)
    assert (done.measured, done.current) == (0, 2)
    assert {key: results.cell(key).evals.read_bytes() for key in keys(results)} == before


def test_unchanged_metrics_keep_their_values_to_the_bit(results: ResultSet) -> None:
    """The generator samples from the latents of the training's last evaluation."""
    first = keys(results)[0]
    make_stale(results, first)
    before = rows(results, first)
    done = again(results)
    assert (done.measured, done.current) == (1, 1)
    assert not done.set_aside
    assert rows(results, first) == before
    assert not results.cell(first).former_evals.exists()
    assert again(results).current == 2


def without_hashes(results: ResultSet, key: str) -> None:
    """As a cell that an older version committed."""
    status = results.cell(key).status
    status.files = {}
    results.cell(key).write_status(status)


def test_a_lost_metric_is_measured_at_the_end(results: ResultSet) -> None:
    key = keys(results)[0]
    files = results.cell(key)
    before = rows(results, key)
    kept = [row for (_, metric), row in before.items() if metric != "swd_200"]
    files.evals.write_text("".join(json.dumps(row) + "\n" for row in kept))
    without_hashes(results, key)
    assert again(results).measured == 1
    after = rows(results, key)
    final = max(step for step, _ in before)
    assert after[final, "swd_200"] == before[final, "swd_200"]
    assert (0, "swd_200") not in after
    assert files.status.status.is_finished


def test_a_changed_metric_is_replaced_and_its_past_set_aside(
    results: ResultSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keys(results)[0]
    before = rows(results, key)
    final = max(step for step, _ in before)
    swd = points.swd
    registered = FUNCTIONS["points"]["swd"]
    doubled = registered._replace(compute=lambda fake, real: 2 * swd(fake, real))
    monkeypatch.setitem(FUNCTIONS["points"], "swd", doubled)
    make_stale(results, key)
    done = again(results)
    assert done.set_aside == {"swd_200": 1}
    assert any("swd_200" in line and "set aside" in line for line in done.lines)
    after = rows(results, key)
    assert after[final, "swd_200"]["value"] == 2 * before[final, "swd_200"]["value"]
    assert (0, "swd_200") not in after
    former = list(read_rows(results.cell(key).former_evals))
    assert {(row["g_steps"], row["metric"]) for row in former} == {
        place for place in before if place[1] == "swd_200" and place[0] != final
    }
    others = {place for place in before if place[1] != "swd_200"}
    assert {place: after[place] for place in others} == {p: before[p] for p in others}


def test_a_cell_that_cannot_be_measured_again_is_named(results: ResultSet) -> None:
    first, second = keys(results)
    results.cell(first).generator.unlink()
    files = results.cell(second)
    status = files.status
    status.code = "of the past"
    files.write_status(status)
    done = again(results, force=True)
    assert done.measured == 0
    assert sorted(key for named in done.impossible.values() for key in named) == sorted(
        [first, second]
    )
    assert any("was not kept" in line for line in done.lines)
    assert any("different code trained" in line for line in done.lines)


def test_a_matrix_that_changes_meanwhile_is_kept(results: ResultSet) -> None:
    make_stale(results, keys(results)[0])

    def change(text: str) -> None:
        later = results.matrix.model_copy(update={"description": "Later."})
        write_record(results.matrix_file, later)

    measure_again(results.path, "cpu", note=change)
    assert results.matrix.description == "Later."


def test_only_some_cells(results: ResultSet) -> None:
    assert again(results, only="seed=1", force=True).measured == 1


def test_the_verb(results: ResultSet, ganbench: Callable[..., Ended]) -> None:
    folder = results.path.parent
    ended = ganbench(
        "measure", "--matrix", "tiny", "--results", folder, "--force", "--device", "cpu"
    )
    assert (ended.code, ended.out) == (0, "2 cells measured again, 0 were up to date\n")
    ended = ganbench("report", "--matrix", "tiny", "--results", folder)
    head, *_, page = ended.out.splitlines()
    assert (ended.code, page) == (0, str(results.report / "index.html"))
    assert head.startswith("objective ")


def drop_protocol(results: ResultSet, key: str) -> None:
    files = results.cell(key)
    kept = [
        {name: row[name] for name in row if name != "protocol"} for row in read_rows(files.evals)
    ]
    files.evals.write_text("".join(json.dumps(row) + "\n" for row in kept))


def foreign_generator(results: ResultSet, key: str) -> None:
    results.cell(key).generator.write_bytes(b"[]\n")


def folder_as_generator(results: ResultSet, key: str) -> None:
    results.cell(key).generator.unlink()
    results.cell(key).generator.mkdir()


def nested_rows(results: ResultSet, key: str) -> None:
    evals = results.cell(key).evals
    evals.write_bytes(b"[" * 100_000 + b"\n" + evals.read_bytes())


def damaged_spec(results: ResultSet, key: str) -> None:
    results.cell(key).spec_file.write_text("{")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (drop_protocol, "evals.jsonl is damaged: a row has no protocol"),
        (nested_rows, "evals.jsonl, line 1 is damaged: maximum recursion depth"),
        (foreign_generator, "generator.pt cannot be read: UnpicklingError: not weights alone"),
        (folder_as_generator, "generator.pt cannot be read: IsADirectoryError"),
        (damaged_spec, "spec.json is damaged"),
    ],
)
def test_a_damaged_cell_is_named_and_the_others_are_measured(
    damage: Callable[[ResultSet, str], None], named: str, results: ResultSet
) -> None:
    first = keys(results)[0]
    damage(results, first)
    before = results.cell(first).evals.read_bytes(), results.cell(first).status
    done = again(results, force=True)
    assert done.measured == 1
    assert list(done.failed) == [first]
    assert named in done.failed[first]
    assert len(done.failed[first].splitlines()) == 1
    assert (results.cell(first).evals.read_bytes(), results.cell(first).status) == before


def test_evaluation_options_of_another_version_are_one_line(
    results: ResultSet, ganbench: Callable[..., Ended]
) -> None:
    content = json.loads(results.matrix_file.read_text())
    content["config"]["evaluation"]["n"] = 3
    results.matrix_file.write_text(json.dumps(content))
    ended = ganbench("measure", "--matrix", "tiny", "--results", results.path.parent)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert "matrix.json" in ended.err


def test_a_lost_spec_is_said(results: ResultSet) -> None:
    results.cell(keys(results)[0]).spec_file.unlink()
    assert any("there is no spec.json" in line for line in again(results).lines)


@pytest.mark.parametrize("critic", [[1], {}, {"name": 3}, 3, None])
def test_a_spec_with_an_impossible_critic_is_of_other_code(
    critic: object, results: ResultSet, ganbench: Callable[..., Ended]
) -> None:
    for path in (results.matrix_file, results.cell(keys(results)[0]).spec_file):
        content = json.loads(path.read_text())
        spec = content["cells"][0]["spec"] if "cells" in content else content
        spec["architecture"]["params"]["critic"] = critic
        del content["sha256"]
        path.write_text(json.dumps(content))
    for key in keys(results):
        without_hashes(results, key)
    assert any("different code trained" in line for line in again(results).lines)
    folder = results.path.parent
    assert ganbench("status", "--matrix", "tiny", "--results", folder).code == 0
