"""Crossed seeds: components of planted tables, holes, and what a report may not claim."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis import stability, tables
from benchmark.analysis.designs.spread import gather
from benchmark.analysis.evidence import gather as evidence_of
from benchmark.analysis.scores import BATCHES, WEIGHTS
from benchmark.analysis.sides import of_labels, of_sets
from benchmark.check import baseline
from benchmark.errors import UserError
from benchmark.stats.variance import components
from tests.helpers import synthetic

SEEDS = [1000 * weights + batches for weights in range(4) for batches in range(3)]
COLUMNS = {"digits": {"fid_classifier_750": 1.0}}
PLAN = {
    "groups": [("digits", "dcgan")],
    "objectives": ["nonsaturating", "wgan_gp"],
    "seeds": SEEDS,
    "metrics": COLUMNS,
    "evaluations": 3,
    "crossed": True,
}


def final(objective: str, seed: int) -> float:
    """Of the non-saturating loss the weights make the spread, of WGAN-GP the batches."""
    weights, batches = divmod(seed, 1000)
    rest = np.random.default_rng(seed).normal(0, 0.02)
    chosen = weights if objective == "nonsaturating" else batches
    return 10 * math.exp(0.3 * chosen + rest)


def curve(objective: str, metric: str, seed: int, i: int) -> float:
    return final(objective, seed) * (5 if i == 0 else 1)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tables.Tables:
    folder = tmp_path_factory.mktemp("crossed")
    return tables.load(synthetic.write(folder, curve=curve, samples=False, **PLAN))


def of(frame: pd.DataFrame, objective: str) -> pd.DataFrame:
    return frame[frame["objective"] == objective].set_index("source")


def test_both_seeds_are_columns_of_the_cells(found: tables.Tables) -> None:
    cells = found.published["cells"]
    assert cells[WEIGHTS].tolist()[:4] == [0, 0, 0, 1]
    assert cells[BATCHES].tolist()[:4] == [0, 1, 2, 0]


def test_components_are_those_of_the_logarithms(found: tables.Tables) -> None:
    frame = gather(found).components
    for objective, most in (("nonsaturating", "weights"), ("wgan_gp", "batches")):
        rows = of(frame, objective)
        table = [[final(objective, 1000 * w + b) for b in range(3)] for w in range(4)]
        expected = components(np.log(table))
        assert rows["variance"].tolist() == pytest.approx([part.variance for part in expected])
        assert rows["share"].idxmax() == most
        assert rows.loc[most, "share"] > 0.95
        assert rows.loc[most, "sd"] == pytest.approx(
            math.expm1(math.sqrt(rows.loc[most, "variance"]))
        )
        assert rows.loc[most, "low"] < rows.loc[most, "variance"] < rows.loc[most, "high"]
    assert found.published["spread"]["variance"].equals(frame["variance"])


@pytest.mark.parametrize(
    ("status", "why"), [("missing", "1 of 12 runs are not finished"), ("diverged", "diverged")]
)
def test_a_hole_or_a_diverged_run_leaves_no_components(
    tmp_path: Path, status: str, why: str
) -> None:
    planted = {("wgan_gp", "dcgan", 1001): status}
    options = {**PLAN, "status": planted, "samples": False}
    rows = gather(tables.load(synthetic.write(tmp_path / "holes", curve=curve, **options)))
    broken, whole = of(rows.components, "wgan_gp"), of(rows.components, "nonsaturating")
    assert broken["why"].str.contains(why).all()
    assert broken["variance"].isna().all()
    assert (whole["why"] == "").all()


def test_crossed_seeds_carry_no_interval_and_no_test(found: tables.Tables) -> None:
    evidence = evidence_of(found)
    assert evidence.compared.empty
    assert evidence.power.empty
    assert found.summary["median"].notna().any()
    assert found.summary[["ci_low", "ci_high"]].isna().all(axis=None)
    assert stability.agreement(found.cells, found.evals, found.steps, found.primary).empty


def test_crossed_seeds_are_not_compared_and_are_no_baseline(
    found: tables.Tables, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="nothing to compare but 24 runs of crossed seeds"):
        of_labels(found, PLAN["objectives"])
    with pytest.raises(UserError, match="nothing to compare but 24 runs of crossed seeds"):
        of_sets({"one": found, "other": found})
    with pytest.raises(UserError, match="cannot accept crossed: its seeds are crossed"):
        baseline.accept(found, "crossed", tmp_path)
    assert not any(tmp_path.iterdir())


def test_seeds_that_are_not_crossed_are_as_they_were(tmp_path: Path) -> None:
    options = {**PLAN, "seeds": range(6), "crossed": False, "samples": False}
    plain = tables.load(synthetic.write(tmp_path / "plain", curve=curve, **options))
    assert gather(plain) is None
    assert WEIGHTS not in plain.cells
    assert len(evidence_of(plain).compared) == 3
    assert plain.summary["ci_low"].notna().any()
