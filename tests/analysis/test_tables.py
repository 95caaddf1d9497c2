"""Tables from planted results: numbers by hand, holes, divergence, staleness and protocols."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis import published, tables
from benchmark.analysis.robustness import crossed, lost, robustness
from benchmark.analysis.scores import RUN_VALUES
from benchmark.errors import UserError
from benchmark.store.code import ROOT
from tests.helpers import synthetic

POINTS = [("gaussians8", "mlp")]
VALUES = [8.0, 2.0, 4.0]  # per evaluation, plus the seed


@pytest.fixture(autouse=True)
def fresh_code(monkeypatch):
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")


def write(folder: Path, **options) -> Path:
    """Two objectives on points, three evaluations of 8, 2, 4 plus the seed; lsgan 10 above."""
    common = {
        "objectives": ["nonsaturating", "lsgan"],
        "groups": POINTS,
        "evaluations": 3,
        "samples": False,
    }
    curve = lambda objective, metric, seed, i: VALUES[i] + seed + 10 * (objective == "lsgan")  # noqa: E731
    return synthetic.write(folder, **{**common, "curve": curve, **options})


def test_final_best_area_by_hand(tmp_path):
    cells = tables.load(write(tmp_path)).cells.set_index(["objective", "seed"])
    row = cells.loc[("nonsaturating", 1)]
    assert row["swd_2k:final"] == 5
    assert row["swd_2k:best"] == 3
    # geometric: positive and minimised
    assert row["swd_2k:area"] == pytest.approx((9 * 3 * 3 * 5) ** (1 / 4))
    assert [row["swd_2k:best_g_step"], row["swd_2k:final_g_step"]] == [200, 300]
    assert row["modes_covered_2k:best"] == 9  # larger is its best
    assert row["modes_covered_2k:best_g_step"] == 100
    assert row["modes_covered_2k:area"] == ((9 + 3) / 2 + (3 + 5) / 2) / 2


def test_target_by_hand(tmp_path):
    status = {("lsgan", "gaussians8", 0): "missing"}
    found = tables.load(write(tmp_path, status=status, targets={"gaussians8": 4.0}))
    costs = found.published["costs"].set_index(["objective", "seed"])
    assert (costs["target"] == 4).all()
    assert (costs["level"] == "given").all()
    assert costs.loc[("nonsaturating", 1), "samples"] == 2 * 6400
    assert costs.loc[("nonsaturating", 1), "seconds"] == 2 * 2.0
    # 6 is never 4
    assert costs.loc[("nonsaturating", 4), "samples"] == np.inf
    # has not run
    assert np.isnan(costs.loc[("lsgan", 0), "samples"])
    assert (costs.loc["lsgan", "seconds"].drop(0) == np.inf).all()


def test_diverged_before_the_target_never_reaches_it(tmp_path):
    status = {("lsgan", "gaussians8", 0): "diverged", ("lsgan", "gaussians8", 1): "running"}
    found = tables.load(write(tmp_path, status=status, targets={"gaussians8": 4.0}))
    costs = found.published["costs"].set_index(["objective", "seed"])
    assert costs.loc[("lsgan", 0), "samples"] == np.inf
    assert np.isnan(costs.loc[("lsgan", 1), "samples"])
    # nothing was measured before the first step: no way, and no target on it
    without = tables.load(write(tmp_path / "b"))
    assert without.costs.empty
    assert without.targets["gaussians8", "mlp"].why == "the untrained generator was not measured"


def test_targets_are_on_the_way_from_the_untrained_generator_to_the_floor(tmp_path):
    """The way is from 10 to a floor of 0.1, for lsgan and nonsaturating alike."""

    def curve(objective, metric, seed, i):
        return 10.0 / (1 + (i if objective == "lsgan" else 2 * i))

    found = tables.load(write(tmp_path, curve=curve, untrained=True, evaluations=6))
    levels = {"1/4": 10**0.5, "1/2": 1.0, "3/4": 10**-0.5}
    assert found.targets["gaussians8", "mlp"].values == pytest.approx(levels)
    rows = found.convergence[found.convergence["clock"] == "g_steps"]
    reached = rows.pivot(index="objective", columns="level", values="reached")
    # at the sixth evaluation lsgan is at 10/6, nonsaturating at 10/11
    assert reached.loc["lsgan", ["1/4", "1/2", "3/4"]].to_list() == [5, 0, 0]
    assert reached.loc["nonsaturating", ["1/4", "1/2", "3/4"]].to_list() == [5, 5, 0]


def test_summary_says_what_it_averages_over(tmp_path):
    status = {("lsgan", "gaussians8", 0): "diverged", ("lsgan", "gaussians8", 1): "missing"}
    summary = tables.load(write(tmp_path, status=status)).summary.set_index(
        ["objective", "metric", "of"]
    )
    whole, holed = (
        summary.loc[("nonsaturating", "swd_2k", "final")],
        summary.loc[("lsgan", "swd_2k", "final")],
    )
    assert (whole["n"], whole["n_expected"], whole["diverged"]) == (5, 5, 0)
    # of 4, 5, 6, 7, 8
    assert (whole["median"], whole["ci_low"], whole["ci_high"]) == (6, 4, 8)
    assert (holed["n"], holed["n_expected"], holed["diverged"]) == (3, 5, 1)
    # of 16, 17, 18 and infinity
    assert holed["median"] == 17.5
    # four seeds carry no interval
    assert np.isnan(holed["ci_low"])
    worst = summary.loc[("lsgan", "modes_covered_2k", "best")]
    assert worst["median"] == 20.5  # of 20, 21, 22 and -infinity: larger is its best


def test_missing_cells_are_rows(tmp_path):
    nothing = {
        (objective, "gaussians8", seed): "missing"
        for objective in ("nonsaturating", "lsgan")
        for seed in range(5)
    }
    found = tables.load(write(tmp_path, status=nothing))
    assert len(found.cells) == 10
    assert (found.cells["status"] == "missing").all()
    assert not found.cells["stale"].any()
    assert found.evals.empty
    assert found.summary.empty
    assert found.primary == {}
    published.write(found.published, tmp_path)
    whole_group = {("lsgan", "gaussians8", seed): "missing" for seed in range(5)}
    summary = tables.load(write(tmp_path / "b", status=whole_group)).summary
    assert summary[summary["objective"] == "lsgan"]["n"].eq(0).all()
    assert len(summary) == 2 * 4 * len(RUN_VALUES)


def test_not_a_number_is_a_hole(tmp_path):
    curve = lambda objective, metric, seed, i: float("nan") if i == 1 else 5.0  # noqa: E731
    row = tables.load(write(tmp_path, curve=curve)).cells.iloc[0]
    assert row["swd_2k:final"] == 5
    assert np.isnan(row["swd_2k:area"])


def test_two_protocols_are_refused_by_name(tmp_path):
    write(tmp_path, protocol={("gaussians8", 3): "bbbbbbbb"}, targets={"gaussians8": 4.0})
    with pytest.raises(
        UserError, match=r"gaussians8.*aaaaaaaa \(8 cells\) and bbbbbbbb \(2 cells\)"
    ):
        tables.load(tmp_path)


def test_a_stale_cell_of_an_older_protocol_is_a_hole(tmp_path):
    write(tmp_path, protocol={("gaussians8", 3): "bbbbbbbb"}, targets={"gaussians8": 4.0})
    for path in tmp_path.glob("cells/*seed3*/status.json"):
        synthetic.edit(path, evaluation_hash="older")
    found = tables.load(tmp_path)
    assert found.cells["stale"].sum() == 2
    assert set(found.evals["protocol"]) == {"aaaaaaaa"}
    assert set(found.summary["n"]) == {4}
    assert set(found.summary["n_expected"]) == {5}
    stale = found.cells[found.cells["stale"]]["key"]
    costs = found.costs.set_index("key")
    # not "never reached"
    assert costs.loc[stale, "samples"].isna().all()
    assert costs["samples"].notna().sum() == 8


def test_edited_code_is_stale_but_kept(tmp_path, monkeypatch):
    write(tmp_path)
    code = {"lsgan": "edited", "nonsaturating": "c0de"}
    monkeypatch.setattr(
        "benchmark.store.code.training_code", lambda cell: code[cell.objective.name]
    )
    found = tables.load(tmp_path)
    assert found.cells.groupby("objective")["stale"].sum().to_dict() == {
        "lsgan": 5,
        "nonsaturating": 0,
    }
    assert set(found.summary["n"]) == {5}


def test_robustness_counts_verdicts_by_hand(tmp_path, monkeypatch):
    verdicts = {
        ("lsgan", "mlp", 0): "diverged",
        ("lsgan", "dcgan", 1): "late collapse",
        ("wgan", "mlp", 0): None,
    }

    def judge(cells, *_):
        named = cells.set_index("key")[["objective", "architecture", "seed"]]
        return pd.DataFrame(
            {"verdict": [verdicts.get(tuple(row), "ok") for row in named.to_numpy()]}, named.index
        )

    monkeypatch.setattr(tables.stability, "judge", judge)
    found = tables.load(
        synthetic.write(
            tmp_path,
            objectives=["lsgan", "wgan"],
            groups=[("digits", "mlp"), ("digits", "dcgan"), ("gaussians8", "mlp")],
            seeds=range(2),
            status={("lsgan", "mlp", 0): "diverged", ("wgan", "mlp", 0): "missing"},
            curve=lambda objective, metric, seed, i: 10.0 + seed,
            samples=False,
        )
    )
    assert crossed(found.cells) == ["digits"]
    rows = robustness(found, "digits").set_index(["architecture", "objective"])
    counts = rows[["seeds", "done", "diverged", "late collapse", "unfinished", "n", "median"]]
    assert counts.loc[("mlp", "lsgan")].to_list() == [2, 1, 1, 0, 0, 1, np.inf]
    assert counts.loc[("dcgan", "lsgan")].to_list() == [2, 2, 0, 1, 0, 2, 10.5]
    assert counts.loc[("dcgan", "wgan")].to_list() == [2, 2, 0, 0, 0, 2, 10.5]
    assert counts.loc[("mlp", "wgan")].to_list() == [2, 1, 0, 0, 1, 1, 11]
    losses = {key: lost(row) for key, row in rows.to_dict("index").items()}
    assert losses == {
        ("mlp", "lsgan"): ["1/2 diverged"],
        ("dcgan", "lsgan"): ["1/2 late collapse"],
        ("mlp", "wgan"): ["1/2 unfinished"],
        ("dcgan", "wgan"): [],
    }


def test_every_finished_cell_has_a_verdict_and_its_indices(tmp_path):
    cells = tables.load(
        write(
            tmp_path,
            status={("lsgan", "gaussians8", 0): "diverged", ("lsgan", "mlp", 1): "running"},
        )
    )
    cells = cells.cells.set_index(["objective", "seed"])
    assert cells.loc[("lsgan", 0), "verdict"] == "diverged"
    assert pd.isna(cells.loc[("lsgan", 1), "verdict"])
    assert cells["verdict"].drop(("lsgan", 1)).notna().all()
    assert cells.loc[("nonsaturating", 1), "regret"] == pytest.approx(5 / 3)


def test_probes_and_layers(tmp_path):
    def probes(objective, seed, i):
        return {"saturation": 0.25 if objective == "lsgan" else float("nan")}

    found = tables.load(
        write(tmp_path, seeds=range(1), probes=probes, layer=lambda *key: float(key[2] + key[4]))
    )
    by_objective = found.steps.groupby(found.steps["cell"].str.startswith("lsgan"))["saturation"]
    assert by_objective.mean().to_list()[1] == 0.25
    assert by_objective.count().to_dict() == {False: 0, True: 30}
    row = found.layers.iloc[4]  # evaluation 0: two layers of G, three of D
    assert [row["network"], row["layer"], row["depth"], row["g_step"], row["grad_norm"]] == [
        "D",
        "net.4.weight",
        2,
        100,
        2,
    ]
    assert len(found.layers) == 2 * 3 * 5


def test_older_cells_lack_what_they_did_not_measure(tmp_path):
    found = tables.load(write(tmp_path, older=True, targets={"gaussians8": 4.0}))
    assert found.layers.empty
    assert found.steps[list(synthetic.NEW_PROBES)].isna().all(axis=None)
    assert found.cells[[*synthetic.NEW_STATUS, "forwards"]].isna().all(axis=None)
    assert found.costs["forwards"].isna().all()
    assert found.costs["seconds"].notna().all()
    forwards = found.convergence[found.convergence["clock"] == "forwards"]
    assert forwards["n"].eq(0).all()
    assert forwards["median"].isna().all()
    published.write(found.published, tmp_path)


def test_the_execution_of_a_cell_is_told(tmp_path):
    how = {"mode": "graphed", "stack": 4, "fallback": None, "optimizer": "capturable"}
    why = "the first iterations differ"
    fields = {
        0: {"execution": how, "compile_seconds": 2.5},
        1: {
            "execution": how | {"mode": "eager", "stack": 1, "fallback": why},
            "compile_seconds": 0.0,
        },
    }
    folder = write(
        tmp_path,
        fields=lambda objective, seed: fields.get(seed, {}),
        targets={"gaussians8": 4.0},
    )
    found = tables.load(folder)
    cells = found.cells.set_index("seed")
    columns = ["execution", "stack", "fallback", "compile_seconds"]
    graphed = cells.loc[0, columns].to_numpy()[0].tolist()
    assert (graphed[0], graphed[1], pd.isna(graphed[2]), graphed[3]) == ("graphed", 4.0, True, 2.5)
    assert cells.loc[1, columns].to_numpy()[0].tolist() == ["eager", 1.0, why, 0.0]
    older = cells.loc[2, columns].to_numpy()[0].tolist()
    assert [*map(pd.isna, older[:3]), older[3]] == [True, True, True, 0.0]
    devices = cells["device"].groupby(level=0).first().tolist()
    assert devices[:3] == ["Synthetic CPU (graphed, stack of 4)", "Synthetic CPU", "Synthetic CPU"]
    # such seconds do not compare with the others'
    assert found.costs["seconds"].isna().all()


def test_layout_stands_beside_precision(tmp_path):
    cells = tables.load(write(tmp_path)).cells
    assert (cells[["precision", "layout"]] == ["float32", "contiguous"]).all(axis=None)


def test_order_and_files(tmp_path):
    found = tables.load(synthetic.write(tmp_path, samples=False, untrained=True))
    assert list(found.cells["objective"].unique()) == list(synthetic.OBJECTIVES)
    assert list(found.summary["objective"].unique()) == list(synthetic.OBJECTIVES)
    assert list(found.summary["of"][:3]) == ["final", "best", "area"]
    assert list(found.convergence["objective"].unique()) == list(synthetic.OBJECTIVES)
    assert found.primary == {"gaussians8": "swd_2k", "digits": "fid_classifier_750"}
    assert found.floor("digits", "fid_classifier_750") == 24.0
    assert np.isnan(found.floor("digits", "is_mean_750"))
    published.write(found.published, tmp_path)
    for name in ("cells", "evals", "steps", "layers", "summary", "convergence"):
        frame = getattr(found, name)
        written = pd.read_parquet(tmp_path / f"tables/{name}.parquet")
        known = written[list(frame.columns)]
        for column in known.columns[known.dtypes == "Int64"]:
            known = known.astype({column: float})
        pd.testing.assert_frame_equal(known, frame, check_dtype=False)
        assert len(pd.read_csv(tmp_path / f"tables/{name}.csv")) == len(frame)


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path):
    write(
        tmp_path,
        objectives=["lsgan"],
        status={("lsgan", "gaussians8", seed): "running" for seed in range(5)},
    )
    for path in tmp_path.glob("cells/*/evals.jsonl"):
        path.write_text(path.read_text()[:-20])
    assert len(tables.load(tmp_path).evals) == 5 * (4 - 1)


CUT = {  # what a power cut, a full disk or a copy broken off leave of evals.jsonl
    "in the last line": lambda text: text[:-20],
    "before the last newline": lambda text: text[:-1],
    "before the last evaluation": lambda text: "".join(text.splitlines(keepends=True)[:8]),
    "in zeros": lambda text: text[:-100] + "\0" * 99 + "\n",
    "to nothing": lambda text: "",
}


@pytest.mark.parametrize("cut", CUT)
def test_a_done_cell_whose_evaluations_are_cut_is_missing(tmp_path, cut):
    path = write(tmp_path) / "cells" / keys(tmp_path)[3] / "evals.jsonl"
    path.write_text(CUT[cut](path.read_text()))
    found = tables.load(tmp_path)
    assert found.cells["status"].to_list() == ["done"] * 3 + ["missing"] + ["done"] * 6
    assert np.isnan(found.cells["swd_2k:final"][3])
    assert keys(tmp_path)[3] not in set(found.evals["cell"])


def test_a_diverged_cell_may_end_before_its_first_evaluation_but_not_before_its_last(tmp_path):
    status = {("lsgan", "gaussians8", seed): "diverged" for seed in range(3)}
    none, cut, beyond = (
        tmp_path / "cells" / key for key in keys(write(tmp_path, status=status))[5:8]
    )
    (none / "evals.jsonl").unlink()
    text = (cut / "evals.jsonl").read_text()
    (cut / "evals.jsonl").write_text(text[:-20])
    synthetic.edit(beyond / "status.json", samples_seen=100)
    assert tables.load(tmp_path).cells["status"][5:8].to_list() == [
        "diverged",
        "missing",
        "missing",
    ]


def test_a_metric_cut_from_the_last_evaluation_has_no_final(tmp_path):
    path = write(tmp_path) / "cells" / keys(tmp_path)[0] / "evals.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    row = tables.load(tmp_path).cells.iloc[0]
    assert [row["status"], row["swd_2k:final"], row["reverse_kl_2k:best"]] == ["done", 4, 2]
    assert np.isnan(row["reverse_kl_2k:final"])


def test_the_folder_of_another_cell_is_none(tmp_path):
    first, second = (tmp_path / "cells" / key for key in keys(write(tmp_path))[:2])
    for path in (first, second):
        synthetic.edit(path / "status.json", key=path.name)  # as the run path writes it
    first.rename(tmp_path / "aside")
    second.rename(first)
    found = tables.load(tmp_path)
    assert found.cells["status"].to_list() == ["missing"] * 2 + ["done"] * 8
    assert set(found.evals["cell"]) == set(keys(tmp_path)[2:])


def test_not_finite_numbers_and_nulls_are_read_as_they_stand(tmp_path):
    """JSON's extension (NaN, Infinity), as Python writes it; a first cell without rows, a last
    without a file."""
    status = {("lsgan", "gaussians8", seed): "interrupted" for seed in range(4)}
    write(tmp_path, seeds=range(4), objectives=["lsgan"], status=status)
    first, second, third, last = (
        tmp_path / "cells" / key / "evals.jsonl" for key in keys(tmp_path)
    )
    row = (
        '{"samples_seen": 0, "metric": "swd_2k", "value": %s, "stderr": null, '
        '"protocol": "aaaaaaaa", "other": [1]}\n'
    )
    first.write_text("")
    second.write_text(
        "".join(row % value for value in ("NaN", "Infinity", "-Infinity", "7", "1e999"))
    )
    third.write_text(row % "0.1")
    last.unlink()
    evals = tables.load(tmp_path).evals
    assert evals["cell"].to_list() == [keys(tmp_path)[1]] * 5 + [keys(tmp_path)[2]]
    np.testing.assert_array_equal(evals["value"], [np.nan, np.inf, -np.inf, 7, np.inf, 0.1])
    assert evals[["stderr", "g_steps", "n"]].isna().all(axis=None)


DAMAGE = [
    '{"value": 1, \n',
    "\n",
    '{"value": 1}{"value": 2}\n',
    '{"value": "x"}\n',
    "[1]\n",
    "\udcff\n",
]
DAMAGE += [
    f'{{"samples_seen": {x}, "metric": {y}, "protocol": {z}, "value": 1}}\n'
    for x, y, z in (
        ("null", '"swd_2k"', '"aaaaaaaa"'),
        ("NaN", '"swd_2k"', '"aaaaaaaa"'),
        ("1", "null", '"aaaaaaaa"'),
        ("1", '"swd_2k"', "null"),
    )
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_line_is_an_error_with_its_file(tmp_path, damage):
    write(tmp_path)
    path = tmp_path / "cells" / keys(tmp_path)[3] / "evals.jsonl"
    path.write_text(path.read_text() + damage + path.read_text(), errors="surrogateescape")
    with pytest.raises(UserError, match=rf"{path.parent.name}/evals\.jsonl.* is damaged"):
        tables.load(tmp_path)


def keys(folder: Path) -> list[str]:
    return [entry["key"] for entry in json.loads((folder / "matrix.json").read_text())["cells"]]


def planted(**changes) -> dict:
    """A change of the first cell of matrix.json."""
    return {"cells": lambda cells: [{**cells[0], **changes}, *cells[1:]]}


ODD = {
    "cells as a table": ("matrix.json", {"cells": {}}, "cells: Input should be a valid list"),
    "a cell as text": ("matrix.json", {"cells": ["a"]}, r"cells\.0: Input should be"),
    "no modality": (
        "matrix.json",
        planted(modality=None),
        r"cells\.0\.modality: Input should be a valid string",
    ),
    "no spec": ("matrix.json", planted(spec=None), r"cells\.0\.spec: "),
    "a path as key": ("matrix.json", planted(key="../../x"), "'../../x' is not a plain file name"),
    "the folder above as key": (
        "matrix.json",
        planted(key=".."),
        r"'\.\.' is not a plain file name",
    ),
    "no key": ("matrix.json", planted(key=""), "'' is not a plain file name"),
    "a key twice": (
        "matrix.json",
        {"cells": lambda cells: cells + cells[:1]},
        "'nonsaturating-mlp.*' occurs twice",
    ),
    "the labels of another cell": (
        "matrix.json",
        {"cells": lambda cells: [*cells, {**cells[0], "key": "other"}]},
        "'other' has the labels and the seed of another cell",
    ),
    "no config": ("matrix.json", {"config": None}, "config: Input should be a valid dictionary"),
    "a target as text": (
        "matrix.json",
        {"targets": {"gaussians8": "low"}},
        r"targets\.gaussians8: .* valid number",
    ),
    "a number as reference": (
        "matrix.json",
        {"reference": 1},
        "reference: Input should be a valid string",
    ),
    "no floor": (
        "protocols.json",
        {"gaussians8": {"protocol": "a"}},
        r"gaussians8\.floor: Field required",
    ),
    "a floor as text": (
        "protocols.json",
        {"gaussians8": {"protocol": "a", "floor": {"x": "y"}}},
        r"floor\.x",
    ),
    "no versions": (
        "cells/*/environment.json",
        {"versions": None},
        "versions: Input should be a valid dictionary",
    ),
    "a seed as text": ("cells/*/spec.json", {"seed": "0"}, "seed: Input should be a valid integer"),
}


@pytest.mark.parametrize("oddity", ODD)
def test_valid_json_of_another_shape_is_refused_by_its_path(tmp_path, oddity):
    file, changes, message = ODD[oddity]
    path = next(write(tmp_path, seeds=range(1)).glob(file))
    now = json.loads(path.read_text())
    synthetic.edit(
        path,
        **{name: value(now[name]) if callable(value) else value for name, value in changes.items()},
    )
    with pytest.raises(
        UserError, match=rf"^{path} is not a {path.stem} file of this version: .*{message}"
    ):
        tables.load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": None},
        {"recipe": "paper"},
        {"samples_seen": "all"},
        {"status": None},
        {"onset": [1]},
    ],
)
def test_an_odd_status_is_a_cell_to_run_again_as_a_damaged_one_is(tmp_path, changes):
    synthetic.edit(
        next(write(tmp_path, seeds=range(1)).glob("cells/lsgan*/status.json")), **changes
    )
    assert tables.load(tmp_path).cells["status"].to_list() == ["done", "missing"]


def test_a_spec_of_a_later_version_is_stale(tmp_path):
    path = next(write(tmp_path, seeds=range(1)).glob("cells/lsgan*/spec.json"))
    synthetic.edit(path, objective={"name": "lsgan", "params": {}, "a_field_of_a_later_version": 1})
    assert tables.load(tmp_path).cells["stale"].to_list() == [False, True]


@pytest.mark.parametrize(
    "file", ["evals.jsonl", "steps.jsonl", "status.json", "environment.json", "spec.json"]
)
def test_what_cannot_be_read_is_named_and_not_taken_for_missing(tmp_path, file):
    path = next(write(tmp_path, seeds=range(1)).glob(f"cells/*/{file}"))
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=rf"^{path} cannot be read: Is a directory"):
        tables.load(tmp_path)


def test_a_folder_without_a_matrix_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"no matrix\.json"):
        tables.load(tmp_path)
    with pytest.raises(UserError, match=r"matrix\.json lists no cells"):
        tables.load(write(tmp_path, seeds=[]))


def test_a_report_needs_no_torch():
    names = ("stats.comparisons", "analysis.tables", "report.report", "report.compare_page")
    modules = ", ".join(f"benchmark.{name}" for name in names)
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
