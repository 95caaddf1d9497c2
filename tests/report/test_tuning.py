"""The chapter on tuning, from planted pools and final runs, and what the other chapters show."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.evidence import gather
from benchmark.analysis.search.finals import shown
from benchmark.analysis.tables import Tables, load
from benchmark.drawing.style import drawing
from benchmark.report import report
from benchmark.report.chapters import completeness, failures, tuning
from benchmark.report.figures import tuning as figures
from benchmark.report.first import first_screen
from tests.analysis.test_tuning import FINALS, NAN, NUM, POOLS, stopped
from tests.helpers import searched


@pytest.fixture(autouse=True, scope="module")
def fresh_code():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        yield


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Tables:
    folder = tmp_path_factory.mktemp("runs") / "searched"
    return load(searched.write(folder, POOLS, FINALS))


def lines(tables: Tables) -> list[str]:
    (chapter,) = tuning.chapters(shown(tables))
    return [line for item in chapter.items for line in item.lines]


def test_sentences_of_the_final_runs(tables):
    (chapter,) = tuning.chapters(shown(tables))
    assert chapter.answers[0] == (
        "Every objective has 8 configurations on 1 seed: its published default, and others drawn "
        "independently from its wide ranges; all have the same values of what they share. The best "
        f"of each pool and the default ran again on {NUM} seeds that no pool had: every claim here "
        "is of these final runs."
    )
    assert lines(tables) == [
        "Tuning helps nonsaturating (31.4 → 23.4).",
        "Tuned and default are not separated: wgan_gp.",
        "lsgan: the default is the best of its pool.",
        "Tuned, lsgan has the lowest classifier-FID (750) at the median, 11.4 [11.0, 11.7]; by "
        "default it has, too.",
        "2 of 2 pairs of tuned objectives are separated; lsgan is better than nonsaturating.",
    ]


def test_tables_of_the_chapter(tables):
    (chapter,) = tuning.chapters(shown(tables))
    first, pools, best, rungs, rivals = chapter.tables
    row = first.rows[0].cells
    assert row[:4] == ["nonsaturating", "31.4 [31.0, 31.7]", "23.4 [23.0, 23.7]", "−8 [−8, −8]"]
    assert row[-2:] == ["better", "lr 0.001, critic_steps 5"]
    assert pools.rows[0].cells[:4] == ["nonsaturating", "1 of 8", "30", "20"]
    assert pools.rows[0].cells[4:7] == ["3.35 [3.00, 3.70]", "1.35 [1.00, 1.70]", "50%"]
    # the expected best of four, over all draws of four of the seven drawn configurations
    assert best.columns == ["objective", "best of 1", "best of 4", "best of 7"]
    least = [min(four) for four in combinations(POOLS["nonsaturating"][1:], 4)]
    assert best.rows[0].cells[2].endswith(f"mean {np.mean(least):.3g}")
    assert best.rows[0].cells[3].endswith("mean 20")
    assert rungs.rows[0].cells[2:] == 2 * ["1.00 [0.90, 1.00]"]
    assert len(rivals.rows) == 2


def test_a_pick_that_was_lucky_and_a_leader_that_changes(tmp_path):
    noise = np.linspace(0, 0.7, NUM)
    finals = {
        "nonsaturating": (20 + noise, 23 + noise),
        "lsgan": (30 + noise, 12 + noise),
        "wgan_gp": (48 + noise, 49 - noise),
    }
    pools = POOLS | {"lsgan": [30.0, 12.0]}
    folder = searched.write(tmp_path / "lucky", pools, finals, reference=None)
    said = lines(load(folder))
    assert "Tuning harms nonsaturating (20.4 → 23.4): the pick was lucky in the pool." in said
    assert said[-2] == (
        "Tuned, lsgan has the lowest classifier-FID (750) at the median, 12.4 [12.0, 12.7]; by "
        "default nonsaturating has."
    )
    assert said[-1] == (
        "3 of 3 pairs of tuned objectives are separated; lsgan is better than wgan_gp and "
        "nonsaturating."
    )


def test_final_runs_that_are_not_there_carry_no_claim(tmp_path):
    missing = {name: ([NAN], [NAN]) for name in POOLS}
    tables = load(searched.write(tmp_path / "begun", POOLS, missing))
    (chapter,) = tuning.chapters(shown(tables))
    assert chapter.answers[0].endswith("on which claims rest, are not finished yet.")
    assert lines(tables) == [
        "nonsaturating and wgan_gp: no seed is finished and measured under both.",
        "lsgan: the default is the best of its pool.",
    ]


def test_what_early_stopping_did(tmp_path):
    tables = stopped(tmp_path / "stopped")
    (chapter,) = tuning.chapters(shown(tables))
    assert lines(tables)[-3:] == [
        "Early stopping at 50% of the budget was allowed for nonsaturating (1.00 [0.90, 1.00]; 2 "
        "of 4 later ones stopped): the interval of the rank correlation with the end over the "
        "first 8 configurations lies above 0.8.",
        "Early stopping at 50% of the budget was not allowed for lsgan (0.4 [−0.5, 0.9]): the "
        "interval of the rank correlation with the end over the first 8 configurations does not "
        "lie above 0.8.",
        "Early stopping is not decided yet for wgan_gp: no configuration follows the first.",
    ]
    _, pools, _, rungs, _ = chapter.tables
    assert pools.columns[-2:] == ["stopped", "seconds saved"]
    assert [row.cells[-2:] for row in pools.rows] == [["2", "12"], ["0", "0"], ["0", "0"]]
    assert pools.rows[0].cells[6:9] == ["–", "–", "–"]
    assert rungs.note.endswith("the others that did are a selection.")
    assert chapter.notes[1].startswith("A pool with stopped configurations has neither a curve")
    # with a pool that is whole, the curves are explained
    assert chapter.notes[2].startswith("Tuning curves")
    pages = shown(tables)
    (tables.folder / "figures").mkdir(exist_ok=True)
    with drawing(pages.matrix.objective_labels):
        (curves,) = figures.curves(pages, tables.folder)
        assert len(figures.sensitivity(pages, tables.folder)) == 1
    data = pd.read_csv(tables.folder / f"figures/{curves.stem}.csv")
    assert set(data["objective"]) == {"lsgan", "wgan_gp"}
    assert "stopped" in completeness.headline(pages)
    assert failures.chapter(gather(pages), tables.folder).tables == []


def test_figures(tables):
    folder = tables.folder
    (folder / "figures").mkdir(exist_ok=True)
    pages = shown(tables)
    with drawing(pages.matrix.objective_labels):
        (curves,) = figures.curves(pages, folder)
        (sensitivity,) = figures.sensitivity(pages, folder)
    data = pd.read_csv(folder / f"figures/{curves.stem}.csv")
    assert data.groupby("objective")["k"].max().tolist() == [7, 7, 7]
    data = pd.read_csv(folder / f"figures/{sensitivity.stem}.csv")
    assert len(data) == 24
    assert sensitivity.stem == "sensitivity_digits_dcgan"
    assert (folder / f"figures/{sensitivity.stem}.svg").stat().st_size > 10_000


def test_page_of_a_search(tables):
    page = report.write(tables.folder, tables, figures=[])
    text = page.read_text()
    assert 'id="tuned"' in text
    assert "outside the chapter on tuning" in text
    assert "tables/tuning_pools.csv" in text
    # no configuration of a pool is a variant of the page
    assert searched.label("wgan_gp", 1) not in text.partition('id="reproduce"')[0]
    assert "wgan_gp (tuned)" in text


def test_cells_of_pools_count_as_run_and_as_failed(tmp_path):
    broken = searched.label("lsgan", 1)
    pools = POOLS | {"lsgan": [10.0, 50.0, NAN]}
    folder = searched.write(tmp_path / "failed", pools, FINALS, errors=[(broken, 0)])
    tables = shown(load(folder))
    assert first_screen(gather(tables)).status == (
        "40/40 cells finished, 0 diverged, and 19 cells of pools (15 done, 2 diverged, 1 error, "
        "1 missing)"
    )
    ran = completeness.chapter(gather(tables))
    assert ran.answers[0] == completeness.INCOMPLETE
    assert ran.tables[0].rows[0].cells[:2] == ["dcgan on digits", str(19 + 5 * NUM)]
    # what diverged in a pool is a finding of the search
    listed = failures.chapter(gather(tables), folder)
    assert listed.answers == ["1 cell: 1 error."]
    (row,) = listed.tables[0].rows
    assert row.cells[0].startswith("lsgan_lr=0.0001_")
    assert row.tags["objective"] == ["lsgan"]


def test_a_matrix_without_a_search_has_no_chapter(tmp_path):
    from tests.helpers import synthetic

    plain = load(synthetic.write(tmp_path / "plain", seeds=[0], samples=False))
    assert tuning.chapters(plain) == []
    assert figures.curves(plain, tmp_path) == figures.sensitivity(plain, tmp_path) == []
