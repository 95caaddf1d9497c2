"""Drawn architectures: successes, pairs and choices worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark.analysis import tables
from benchmark.analysis.designs.choices import parameters
from benchmark.analysis.designs.drawn import MANY, drawn_architectures, gather, without_drawn
from benchmark.analysis.evidence import gather as evidence_of
from tests.helpers import synthetic
from tests.helpers.drawn import DRAWN, write


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tables.Tables:
    return tables.load(write(tmp_path_factory.mktemp("drawn")))


def row(frame: pd.DataFrame, **names: object) -> pd.Series:
    for name, value in names.items():
        frame = frame[frame[name] == value]
    (only,) = (row for _, row in frame.iterrows())
    return only


def test_architectures_of_one_name_are_drawn_where_there_are_many(found: tables.Tables) -> None:
    assert drawn_architectures(found) == {"digits": DRAWN}
    few = found.matrix.model_copy(update={"cells": found.matrix.cells[: 2 * MANY]})
    assert drawn_architectures(replace(found, matrix=few)) == {}


def test_thresholds_are_multiples_of_what_the_others_reach(found: tables.Tables) -> None:
    """dcgan ends at 10 and at 8: 9 at the median."""
    fids = gather(found).shares[gather(found).shares["metric"] == "fid_classifier_750"]
    assert fids["threshold"].unique().tolist() == [9, 13.5, 18, 27, 45]
    scores = gather(found).shares[gather(found).shares["metric"] == "is_mean_classifier_750"]
    assert scores["threshold"].tolist()[::2] == [1 + i / 2 for i in range(17)]


def test_shares_by_hand(found: tables.Tables) -> None:
    drawn = gather(found)
    criterion = drawn.main("digits")
    assert (criterion.column, criterion.threshold) == ("fid_classifier_750", 18)
    at = {"metric": criterion.column, "threshold": 18}
    ns = row(drawn.shares, objective="nonsaturating", **at)
    gp = row(drawn.shares, objective="wgan_gp", **at)
    assert (ns["successes"], ns["n"], gp["successes"], gp["n"]) == (2, 12, 10, 12)
    assert gp["share"] == pytest.approx(10 / 12)
    assert gp["low"] < gp["share"] < gp["high"]
    above = {"metric": "is_mean_classifier_750", "threshold": 5}
    assert row(drawn.shares, objective="nonsaturating", **above)["successes"] == 0
    assert row(drawn.shares, objective="wgan_gp", **above)["successes"] == 12


def test_pairs_by_hand(found: tables.Tables) -> None:
    pairs = gather(found).pairs
    assert (pairs[["only_first", "only_second", "both", "neither"]].sum(axis=1) == 12).all()
    assert set(zip(pairs["first"], pairs["second"], strict=True)) == {("wgan_gp", "nonsaturating")}
    main = row(pairs, metric="fid_classifier_750", threshold=18)
    assert main[["only_first", "only_second", "both", "neither"]].tolist() == [8, 0, 2, 2]
    assert main["log10_p"] == pytest.approx(math.log10(2 / 2**8))
    assert main["p_holm"] >= 2 / 2**8
    above = row(pairs, metric="is_mean_classifier_750", threshold=5)
    assert above["log10_p"] == pytest.approx(math.log10(2 / 2**12))
    # 22 tests, of which as many as have this p come first
    assert above["p_holm"] == pytest.approx(22 * 2 / 2**12)
    assert above["verdict"] == "better"
    assert main["verdict"] == "not separated"


def test_choices_by_hand(found: tables.Tables) -> None:
    """Of depth 2 are the first six, on all of which the non-saturating loss diverged."""
    choices = gather(found).choices
    assert choices["choice"].unique().tolist() == ["depth", "width"]
    for depth, ns, gp in (("2", 0, 6), ("10", 2, 4)):
        at = {"choice": "depth", "value": depth}
        assert row(choices, objective="nonsaturating", **at)["successes"] == ns
        assert row(choices, objective="wgan_gp", **at)["successes"] == gp
        assert row(choices, objective="wgan_gp", **at)["n"] == 6


def test_a_value_that_labels_leave_out_is_read_from_the_matrix_file(found: tables.Tables) -> None:
    entries = [{"name": "random_dcgan", "norm": ["auto", "none"], "depth": [2, 6]}]
    cells = found.matrix.cells[:4]
    named = []
    for entry, params in zip(cells, ({}, {"norm": "none"}, {"depth": 6}, {}), strict=True):
        architecture = entry.spec.architecture.model_copy(update={"params": params})
        spec = entry.spec.model_copy(update={"architecture": architecture})
        changes = {"spec": spec, "architecture": f"a{len(named)}", "dataset": "digits"}
        named.append(entry.model_copy(update=changes))
    changes = {"cells": named, "config": {"architectures": entries}}
    matrix = found.matrix.model_copy(update=changes)
    names = [entry.architecture for entry in named]
    assert parameters(matrix, "digits", names) == {
        "depth": {"a0": 2, "a1": 2, "a2": 6, "a3": 2},
        "norm": {"a0": "auto", "a1": "none", "a2": "auto", "a3": "auto"},
    }


def test_a_second_seed_is_compared_with_the_first_and_counts_nowhere_else(
    found: tables.Tables, tmp_path: Path
) -> None:
    assert gather(found).retest.empty
    two = tables.load(write(tmp_path / "two", seeds=range(2)))
    assert gather(two).shares.equals(gather(found).shares)
    gp = row(gather(two).retest, objective="wgan_gp")
    assert (gp["n"], gp["same_outcome"]) == (12, 1)
    assert gp["correlation"] == pytest.approx(1)


def test_a_run_that_is_missing_is_a_hole(tmp_path: Path) -> None:
    status = {("wgan_gp", DRAWN[11], 0): "missing", ("wgan_gp", DRAWN[0], 0): "error"}
    drawn = gather(tables.load(write(tmp_path / "holes", status=status)))
    at = {"metric": "fid_classifier_750", "threshold": 18}
    assert row(drawn.shares, objective="wgan_gp", **at)["n"] == 10
    assert row(drawn.pairs, **at)[["n", "only_first", "neither"]].tolist() == [10, 7, 1]


def test_pages_show_the_places_that_are_not_drawn(found: tables.Tables) -> None:
    shown = without_drawn(found)
    assert shown.cells["architecture"].unique().tolist() == ["dcgan"]
    assert len(shown.matrix.cells) == len(shown.cells) == 2
    assert shown.with_pools is found
    assert gather(shown).shares.equals(gather(found).shares)
    assert set(shown.evals["cell"]) == set(shown.cells["key"])
    evidence = evidence_of(shown)
    assert set(evidence.compared["architecture"]) == {"dcgan"}


def test_without_others_the_first_stands_for_all(tmp_path: Path) -> None:
    alone = tables.load(write(tmp_path / "alone", others=()))
    assert without_drawn(alone).cells["architecture"].unique().tolist() == DRAWN[:1]
    # of 24 values, six of them infinite, the 12th is 16 and the 13th 20
    assert gather(alone).main("digits").threshold == pytest.approx(2 * 18)


def test_a_matrix_of_few_architectures_is_as_it_was(tmp_path: Path) -> None:
    few = tables.load(synthetic.write(tmp_path / "few", seeds=range(1), samples=False))
    assert gather(few) is None
    assert without_drawn(few) is few
    assert "success" not in few.published
