"""What the report says of drawn architectures and of crossed seeds, and what it leaves out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark.analysis import tables
from benchmark.analysis.designs.drawn import without_drawn
from benchmark.analysis.evidence import Evidence, gather
from benchmark.report import first
from benchmark.report.chapters import certainty, completeness
from benchmark.report.designs import drawn, spread
from benchmark.report.figures.designs import crossed_seeds, success_curves
from tests.analysis.test_spread import PLAN, curve
from tests.helpers import synthetic
from tests.helpers.drawn import write


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return gather(without_drawn(tables.load(write(tmp_path_factory.mktemp("twelve")))))


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("crossed")
    return gather(tables.load(synthetic.write(folder, curve=curve, samples=False, **PLAN)))


def test_the_first_screen_begins_with_the_drawn_architectures(twelve: Evidence) -> None:
    screen = first.first_screen(twelve)
    assert [card.place for card in screen.cards] == [
        "12 drawn architectures on digits",
        "dcgan on digits",
    ]
    sentences = [(claim.budget, claim.sentence) for claim in screen.cards[0].claims]
    assert sentences == [
        ("10 of 12", "wgan_gp [55%, 95%] not separated from nonsaturating."),
        ("2 of 12", "nonsaturating [5%, 45%] reference."),
    ]
    assert "and 24 cells of drawn architectures (18 done, 6 diverged)" in screen.status


def test_the_chapter_has_the_success_table_and_the_choices(twelve: Evidence) -> None:
    (chapter,) = drawn.chapters(twelve.tables)
    (item,) = chapter.items
    assert "Failed: 6 of 24 runs (6 diverged: nonsaturating 6 of 12)." in item.lines[-1]
    fids, scores, choices, pairs = chapter.tables
    assert fids.columns[3] == "≤ 18 (2 ×)"
    assert fids.rows[1].cells[3] == "10 of 12\n[55%, 95%]\nnot separated"
    assert [row.cells for row in scores.rows[6:8]] == [["4", "0", "12"], ["4.5", "0", "12"]]
    assert scores.rows[-1].cells == ["6", "0", "0"]
    assert choices.rows[0].cells[0] == "depth = 10"
    above = [row.cells for row in pairs.rows if row.cells[2].endswith("> 5")]
    numbers = ["12", "0", "0", "0", "0.000488", "0.0107", "better"]
    assert [row[3:] for row in above] == [numbers]


@pytest.mark.parametrize(
    ("log10_p", "text"), [(0.0, "1"), (-43.95, "1.12e−44"), (-1505.2, "1e-1505")]
)
def test_a_p_however_small_is_a_number(log10_p: float, text: str) -> None:
    assert drawn.p_text(log10_p) == text


def test_the_curve_shows_what_the_table_counts(twelve: Evidence, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (figure,) = success_curves(twelve.tables, tmp_path)
    shown = pd.read_csv(tmp_path / f"figures/{figure.stem}.csv")
    fids = shown[(shown["objective"] == "wgan_gp") & (shown["metric"] == "fid_classifier_750")]
    before = fids[fids["threshold"] <= 18].iloc[-1]
    assert before["share"] == pytest.approx(10 / 12, abs=1e-3)
    assert before["low"] < before["share"] < before["high"]


def test_every_crossed_run_has_its_cell(crossed: Evidence, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (figure,) = crossed_seeds(crossed.tables, tmp_path)
    assert figure.section == "spread"
    shown = pd.read_csv(tmp_path / f"figures/{figure.stem}.csv")
    counts = shown.groupby("objective")[["seed.weights", "seed.batches"]].nunique()
    assert counts.to_numpy().tolist() == [[4, 3], [4, 3]]


def test_two_objectives_without_a_reference_have_no_verdict(twelve: Evidence) -> None:
    everything = twelve.tables.with_pools
    assert everything is not None
    matrix = everything.matrix.model_copy(update={"reference": None})
    (card,) = drawn.cards(replace(everything, matrix=matrix))
    assert [claim.verdict for claim in card.claims] == ["", ""]


def test_crossed_seeds_are_explained_and_nothing_is_claimed(crossed: Evidence) -> None:
    (chapter,) = spread.chapters(crossed.tables)
    (item,) = chapter.items
    assert item.lines[0].startswith("nonsaturating, 4 × 3 seeds: of the variance 100% initial")
    assert [row.cells[1] for row in chapter.tables[0].rows[:3]] == list(spread.SOURCES.values())
    screen = first.first_screen(crossed)
    (card,) = screen.cards
    assert card.claims[0].sentence.endswith("untested: crossed seeds are no independent pairs.")
    assert screen.verdicts is None
    assert certainty.chapter(crossed).answers == [certainty.CROSSED]


def test_other_matrices_have_neither_chapter(tmp_path: Path) -> None:
    plain = tables.load(synthetic.write(tmp_path / "plain", seeds=range(1), samples=False))
    for chapters in (drawn.chapters, spread.chapters, drawn.cards):
        found: Callable[[tables.Tables], list] = chapters
        assert found(plain) == []
    assert "drawn" not in completeness.headline(plain)
