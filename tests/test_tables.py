"""Tables from planted results: numbers by hand, holes, divergence, staleness and protocols."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import UserError, tables
from benchmark.cell import ROOT
from tests import synthetic

POINTS = [("gaussians8", "mlp")]
VALUES = [8.0, 2.0, 4.0]  # per evaluation, plus the seed


@pytest.fixture(autouse=True)
def fresh_code(monkeypatch):
    monkeypatch.setattr(tables, "code_hash", lambda cell: "c0de")


def write(folder: Path, **options) -> Path:
    """Two objectives on points, three evaluations of 8, 2, 4 plus the seed; lsgan 10 above."""
    common = {"objectives": ["nonsaturating", "lsgan"], "groups": POINTS, "evaluations": 3, "samples": False}
    curve = lambda objective, metric, seed, i: VALUES[i] + seed + 10 * (objective == "lsgan")  # noqa: E731
    return synthetic.write(folder, **{**common, "curve": curve, **options})


def test_final_best_area_by_hand(tmp_path):
    cells = tables.load(write(tmp_path)).cells.set_index(["objective", "seed"])
    row = cells.loc[("nonsaturating", 1)]
    assert row["swd_2k:final"] == 5
    assert row["swd_2k:best"] == 3
    assert row["swd_2k:area"] == ((9 + 3) / 2 + (3 + 5) / 2) / 2
    assert row["modes_covered_2k:best"] == 9  # larger is its best


def test_target_by_hand(tmp_path):
    found = tables.load(write(tmp_path, status={("nonsaturating", "gaussians8", 0): "missing"}))
    cells = found.cells.set_index(["objective", "seed"])
    assert (cells["target"] == 4.5).all()  # the median of 3, 4, 5, 6
    assert cells.loc[("nonsaturating", 1), "samples_to_target"] == 2 * 6400
    assert cells.loc[("nonsaturating", 1), "seconds_to_target"] == 2 * 2.0
    assert cells.loc[("nonsaturating", 4), "samples_to_target"] == np.inf  # 6 is never 4.5
    assert np.isnan(cells.loc[("nonsaturating", 0), "samples_to_target"])  # has not run
    assert (cells.loc["lsgan", "seconds_to_target"] == np.inf).all()


def test_diverged_before_the_target_never_reaches_it(tmp_path):
    status = {("lsgan", "gaussians8", 0): "diverged", ("lsgan", "gaussians8", 1): "running"}
    cells = tables.load(write(tmp_path, status=status)).cells.set_index(["objective", "seed"])
    assert cells.loc[("lsgan", 0), "samples_to_target"] == np.inf
    assert np.isnan(cells.loc[("lsgan", 1), "samples_to_target"])
    no_reference = tables.load(write(tmp_path / "b", reference=None)).cells
    assert no_reference["samples_to_target"].isna().all()
    assert no_reference["target"].isna().all()


def test_summary_says_what_it_averages_over(tmp_path):
    status = {("lsgan", "gaussians8", 0): "diverged", ("lsgan", "gaussians8", 1): "missing"}
    summary = tables.load(write(tmp_path, status=status)).summary.set_index(["objective", "metric", "of"])
    whole, holed = summary.loc[("nonsaturating", "swd_2k", "final")], summary.loc[("lsgan", "swd_2k", "final")]
    assert (whole["n"], whole["n_expected"], whole["diverged"]) == (5, 5, 0)
    assert whole["median"] == whole["iqm"] == 6
    assert 4 <= whole["ci_low"] < 6 < whole["ci_high"] <= 8
    assert (holed["n"], holed["n_expected"], holed["diverged"]) == (3, 5, 1)
    assert holed["iqm"] == 17
    assert holed["median"] == 17.5
    assert np.isnan(holed["ci_low"])  # three seeds carry no interval
    worst = summary.loc[("lsgan", "modes_covered_2k", "best")]
    assert worst["median"] == 20.5  # of 20, 21, 22 and -infinity: larger is its best


def test_missing_cells_are_rows(tmp_path):
    nothing = {
        (objective, "gaussians8", seed): "missing" for objective in ("nonsaturating", "lsgan") for seed in range(5)
    }
    found = tables.load(write(tmp_path, status=nothing))
    assert len(found.cells) == 10
    assert (found.cells["status"] == "missing").all()
    assert not found.cells["stale"].any()
    assert found.evals.empty
    assert found.summary.empty
    assert found.primary == {}
    tables.write(found, tmp_path)
    whole_group = {("lsgan", "gaussians8", seed): "missing" for seed in range(5)}
    summary = tables.load(write(tmp_path / "b", status=whole_group)).summary
    assert summary[summary["objective"] == "lsgan"]["n"].eq(0).all()
    assert len(summary) == 2 * 4 * 3


def test_not_a_number_is_a_hole(tmp_path):
    curve = lambda objective, metric, seed, i: float("nan") if i == 1 else 5.0  # noqa: E731
    row = tables.load(write(tmp_path, curve=curve)).cells.iloc[0]
    assert row["swd_2k:final"] == 5
    assert np.isnan(row["swd_2k:area"])


def test_two_protocols_are_refused_by_name(tmp_path):
    write(tmp_path, protocol={("gaussians8", 3): "bbbbbbbb"})
    with pytest.raises(UserError, match=r"gaussians8.*aaaaaaaa \(8 cells\) and bbbbbbbb \(2 cells\)"):
        tables.load(tmp_path)


def test_a_stale_cell_of_an_older_protocol_is_a_hole(tmp_path):
    write(tmp_path, protocol={("gaussians8", 3): "bbbbbbbb"})
    for path in tmp_path.glob("cells/*seed3*/status.json"):
        synthetic.edit(path, evaluation_hash="older")
    found = tables.load(tmp_path)
    assert found.cells["stale"].sum() == 2
    assert set(found.evals["protocol"]) == {"aaaaaaaa"}
    assert set(found.summary["n"]) == {4}
    assert set(found.summary["n_expected"]) == {5}


def test_edited_code_is_stale_but_kept(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr(tables, "code_hash", lambda cell: "edited" if cell.objective.name == "lsgan" else "c0de")
    found = tables.load(tmp_path)
    assert found.cells.groupby("objective")["stale"].sum().to_dict() == {"lsgan": 5, "nonsaturating": 0}
    assert set(found.summary["n"]) == {5}


def two_architectures(folder: Path) -> tables.Tables:
    """lsgan loses a seed to divergence on the MLP and one to collapse on the DCGAN; wgan is not done on the MLP."""
    status = {("lsgan", "mlp", 0): "diverged", ("wgan", "mlp", 0): "missing", ("wgan", "mlp", 1): "running"}
    collapsed = {("lsgan", "dcgan", 1), ("lsgan", "mlp", 0), ("wgan", "mlp", 1)}

    def curve(objective: str, metric: str, seed: int, i: int) -> float:
        share = 0.51 if (objective, seed) == ("wgan", 0) else 0.5
        return share if metric.startswith("duplicates") else 10.0 + seed

    return tables.load(
        synthetic.write(
            folder,
            objectives=["lsgan", "wgan"],
            groups=[("digits", "mlp"), ("digits", "dcgan"), ("gaussians8", "mlp")],
            seeds=range(2),
            status=status,
            collapsed=collapsed,
            curve=curve,
            samples=False,
        )
    )


def test_only_a_finished_run_with_over_half_duplicates_has_collapsed(tmp_path):
    cells = two_architectures(tmp_path).cells
    cells = cells.set_index(["dataset", "architecture", "objective", "seed"]).sort_index()["collapsed"]
    assert list(cells[cells.fillna(False)].index) == [("digits", "dcgan", "lsgan", 1)]
    assert cells["digits", "mlp", "wgan"].isna().to_list() == [True, False]  # missing, running
    assert cells["gaussians8"].isna().all()  # not measured


def test_a_run_that_was_never_below_half_duplicates_is_unvaried_and_not_collapsed(tmp_path):
    cells = two_architectures(tmp_path).cells.set_index(["dataset", "architecture", "objective", "seed"])
    assert list(cells.index[cells["unvaried"].fillna(False)]) == [("digits", "dcgan", "wgan", 0)]
    assert not cells.loc[("digits", "dcgan", "wgan", 0), "collapsed"]


def test_robustness_by_hand(tmp_path):
    found = two_architectures(tmp_path)
    assert tables.crossed(found.cells) == ["digits"]
    rows = tables.robustness(found, "digits").set_index(["architecture", "objective"])
    counts = rows[["seeds", "done", "diverged", "collapsed", "n", "iqm"]]
    assert counts.loc[("mlp", "lsgan")].to_list() == [2, 1, 1, 0, 1, 11]
    assert counts.loc[("dcgan", "lsgan")].to_list() == [2, 2, 0, 1, 2, 10.5]
    assert counts.loc[("dcgan", "wgan")].to_list() == [2, 2, 0, 0, 2, 10.5]
    assert counts.loc[("mlp", "wgan")].to_list()[:5] == [2, 0, 0, 0, 0]


def test_layout_stands_beside_precision(tmp_path):
    cells = tables.load(write(tmp_path)).cells
    assert (cells[["precision", "layout"]] == ["float32", "contiguous"]).all(axis=None)


def test_order_and_files(tmp_path):
    found = tables.load(synthetic.write(tmp_path, samples=False))
    assert list(found.cells["objective"].unique()) == list(synthetic.OBJECTIVES)
    assert list(found.summary["objective"].unique()) == list(synthetic.OBJECTIVES)
    assert list(found.summary["of"][:3]) == ["final", "best", "area"]
    assert found.primary == {"gaussians8": "swd_2k", "digits": "fid_classifier_750"}
    assert found.floor("digits", "fid_classifier_750") == 24.0
    assert np.isnan(found.floor("digits", "is_mean_750"))
    tables.write(found, tmp_path)
    for name in ("cells", "evals", "steps", "summary"):
        frame = getattr(found, name)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"tables/{name}.parquet"), frame, check_dtype=False)
        assert len(pd.read_csv(tmp_path / f"tables/{name}.csv")) == len(frame)


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path):
    write(tmp_path)
    for path in tmp_path.glob("cells/*/evals.jsonl"):
        path.write_text(path.read_text()[:-20])
    assert len(tables.load(tmp_path).evals) == 10 * (3 * 4 - 1)


def test_a_folder_without_a_matrix_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"no matrix\.json"):
        tables.load(tmp_path)


def test_a_report_needs_no_torch():
    modules = "benchmark.stats, benchmark.tables, benchmark.plots, benchmark.report, benchmark.compare"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
