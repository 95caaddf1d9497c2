"""Tables as they are written: axes in each, a column per parameter, whole numbers, scores."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis import published, tables
from benchmark.analysis.published import with_parameters, with_whole_numbers
from benchmark.analysis.scores import AXES, RUN_VALUES, scores
from benchmark.store.schema import Named, Spec
from tests.helpers import synthetic


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tables.Tables:
    """Two objectives on points; of wgan seed 0 diverged and seed 1 has not run."""
    folder = tmp_path_factory.mktemp("published")
    status = {("wgan", "gaussians8", 0): "diverged", ("wgan", "gaussians8", 1): "missing"}
    options = {"groups": [("gaussians8", "mlp")], "seeds": range(2), "evaluations": 3}
    synthetic.write(folder, objectives=["lsgan", "wgan"], status=status, samples=False, **options)
    return tables.load(folder)


def test_every_table_of_cells_has_their_axes(found: tables.Tables) -> None:
    frames = found.published
    axes = found.cells.set_index("key")[AXES]
    for name in ("evals", "steps", "layers"):
        frame = frames[name]
        assert list(frame.columns[-4:]) == AXES
        assert list(frame.columns[:-4]) == list(getattr(found, name).columns)
        expected = axes.loc[frame["cell"].astype(str)]
        for axis in AXES:
            assert list(frame[axis]) == list(expected[axis])


def test_a_parameter_is_a_column_where_a_cell_sets_it() -> None:
    cells = pd.DataFrame({"key": ["a", "b", "c"]})

    def spec(objective: dict, architecture: dict) -> Spec:
        return Spec(
            objective=Named(name="wgan_gp", params=objective),
            architecture=Named(name="mlp", params=architecture),
            dataset=Named(name="gaussians8", params={}),
            seed=0,
            training={},
        )

    specs = [
        spec({"penalty_weight": 1}, {"width": 64, "norm": "batch"}),
        spec({"penalty_weight": 0.5}, {"width": 128, "critic": {"norm": "layer"}}),
        spec({"smooth": True}, {}),
    ]
    frame = with_parameters(cells, specs)
    assert list(frame.columns) == [
        "key",
        "objective.penalty_weight",
        "objective.smooth",
        "architecture.critic",
        "architecture.norm",
        "architecture.width",
    ]
    assert frame["objective.penalty_weight"].to_list() == [1, 0.5, pd.NA]
    assert frame["objective.smooth"].to_list() == [pd.NA, pd.NA, True]
    assert frame["architecture.width"].dtype == "Int64"
    assert frame["architecture.width"].to_list() == [64, 128, pd.NA]
    assert frame.loc[1, "architecture.critic"] == '{"norm": "layer"}'
    assert frame["architecture.norm"].isna().to_list() == [False, True, True]
    assert list(with_parameters(cells, [spec({}, {})] * 3).columns) == ["key"]


def test_counts_are_whole_numbers_unless_a_file_says_otherwise() -> None:
    frame = pd.DataFrame(
        {"g_steps": [1.0, np.nan], "n": [1.5, 2.0], "fid_1k:best_g_step": [3.0, 4.0], "value": 1.0}
    )
    whole = with_whole_numbers(frame)
    assert whole.dtypes.astype(str).to_list() == ["Int64", "float64", "Int64", "float64"]
    assert whole["g_steps"].to_list() == [1, pd.NA]


def test_counts_are_integers_in_both_files(found: tables.Tables, tmp_path: Path) -> None:
    published.write(found.published, tmp_path)
    cells = pd.read_parquet(tmp_path / "tables/cells.parquet")
    assert cells["g_steps"].dtype == "Int64"
    assert cells["g_steps"].isna().to_list() == [False, False, False, True]
    line = (tmp_path / "tables/evals.csv").read_text().splitlines()[1]
    assert line.endswith(',"lsgan","mlp","gaussians8",0')
    assert line.split(",")[1:4] == ["6400", "100", "2"]


def test_scores_have_a_row_per_finished_cell_and_metric(found: tables.Tables) -> None:
    frame = scores(found.cells)
    assert list(frame.columns) == ["cell", *AXES, "metric", *RUN_VALUES]
    metrics = ["swd_2k", "modes_covered_2k", "high_quality_2k", "reverse_kl_2k"]
    # three finished cells in the order of the matrix, metrics in the order of METRICS
    assert frame["metric"].to_list() == metrics * 3
    assert frame["seed"].to_list() == [0] * 4 + [1] * 4 + [0] * 4
    cells = found.cells.set_index("key")
    for row in frame.to_dict("records"):
        for value in RUN_VALUES:
            if row["objective"] == "lsgan":
                assert row[value] == cells.loc[row["cell"], f"{row['metric']}:{value}"]
            else:
                worst = np.inf if row["metric"] in ("swd_2k", "reverse_kl_2k") else -np.inf
                assert row[value] == worst


def test_stored_tables_stand_in_for_cells(tmp_path):
    """A committed result set has tables and no cells: what is derived of them is the same."""
    lost = {("wgan_gp", "mlp", 1): "diverged", ("lsgan", "mlp", 2): "missing"}
    objectives = ("wgan_gp", "lsgan", "wgan_fdgp[pairs=independent]")
    folder = synthetic.write(tmp_path / "set", objectives=objectives, status=lost)
    whole = tables.load(folder)
    published.write(whole.published, folder)
    shutil.rmtree(folder / "cells")
    kept = tables.load(folder)
    for name, frame in whole.published.items():
        same = kept.published[name]
        pd.testing.assert_frame_equal(
            same.astype(object).where(same.notna(), None),
            frame.astype(object).where(frame.notna(), None),
            check_categorical=False,
        )
    assert (kept.targets, kept.equal_cost) == (whole.targets, whole.equal_cost)


def test_stored_tables_of_an_older_version_lack_columns(tmp_path: Path) -> None:
    synthetic.write(tmp_path, groups=[("digits", "dcgan")], seeds=range(1))
    published.write(tables.load(tmp_path).published, tmp_path)
    shutil.rmtree(tmp_path / "cells")
    file = tmp_path / "tables" / "steps.csv"
    pd.read_csv(file).drop(columns="sparse").to_csv(file, index=False)
    steps = tables.load(tmp_path).steps
    assert steps["sparse"].isna().all()
    assert steps["d_loss"].notna().all()


def test_a_result_set_without_cells_and_tables_has_nothing(tmp_path):
    folder = synthetic.write(tmp_path / "set", objectives=("wgan", "wgan_gp"), seeds=range(1))
    shutil.rmtree(folder / "cells")
    assert set(tables.load(folder).cells["status"]) == {"missing"}


def test_stored_tables_of_a_set_in_which_nothing_ran_are_read(tmp_path: Path) -> None:
    synthetic.write(tmp_path, objectives=["wgan"], samples=False)
    shutil.rmtree(tmp_path / "cells")
    found = tables.load(tmp_path)
    published.write(found.published, tmp_path)
    stored = tables.load(tmp_path)
    assert stored.evals.empty
    assert list(stored.cells["status"]) == list(found.cells["status"])
    assert stored.evals.dtypes.to_dict() == found.evals.dtypes.to_dict()


def test_a_variant_may_be_called_null(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "kept", objectives=["null", "NA"], samples=False)
    published.write(tables.load(folder).published, folder)
    shutil.rmtree(folder / "cells")
    assert set(tables.load(folder).cells["objective"]) == {"null", "NA"}
