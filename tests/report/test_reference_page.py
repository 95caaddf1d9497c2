"""The page over all references: made again from committed rows it is the committed one, its numbers
are computed, and a new reference joins by itself."""

import math
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark import __version__
from benchmark.analysis import published, tables
from benchmark.store.code import code_of
from benchmark.store.files import write_json
from tests.helpers import synthetic
from tests.helpers.browser import CHROMIUM, Browser
from tests.report.test_browser import BESIDE, CONTRAST, OPEN_ALL
from tests.studies import gate_page
from tests.studies.reference_page import board, findings, pages, questions, references, settings
from tests.studies.reference_page.references import REFERENCE

EXPRESSION = re.compile(r"\{[{%].*?[%}]\}|`[^`]+`")
FLOORS = {"swd_2k": 0.1, "fid_classifier_750": 24.0}
PAIRS = ("nonsaturating", "minimax", "wgan_gp", "wgan_fdgp")


def test_the_page_is_that_of_the_committed_rows(tmp_path: Path) -> None:
    """`python -m tests.studies.reference_page` writes it."""
    pages.write(target=tmp_path)
    for name in pages.PAGES:
        assert (tmp_path / name).read_bytes() == (REFERENCE / name).read_bytes(), name


def test_pages_and_figures_of_studies_are_those_of_the_committed_tables(tmp_path: Path) -> None:
    for study in ("audit", "explain", "gate", "tricks", "penalty-cost", "speed"):
        shutil.copytree(REFERENCE / study, tmp_path / study)
    pages.studies(tmp_path)
    for file in (file for file in tmp_path.rglob("*.*") if file.is_file()):
        committed = REFERENCE / file.relative_to(tmp_path)
        if file.suffix == ".svg":
            # another version of the drawing library draws otherwise
            is_same = f"Matplotlib v{matplotlib.__version__}," in committed.read_text()
            assert not is_same or file.read_bytes() == committed.read_bytes(), file.name
        elif file.suffix == ".png":
            assert distance(file, committed) < 4, file.name
        else:
            assert file.read_bytes() == committed.read_bytes(), file.name


def test_the_page_of_the_gate_has_the_committed_tables() -> None:
    """It is not made again: it speaks of its pool too, which is not committed, and of values that
    the tables round."""
    text = (REFERENCE / "gate/README.md").read_text(encoding="utf-8")
    frames = {file.stem: pd.read_csv(file) for file in REFERENCE.glob("gate/*.csv")}
    unchanged = frames["unchanged"].astype(object).fillna("")
    planted = frames["planted"].astype(object).fillna("")
    effects = ["largest effect", "of"]
    parts = [gate_page.counts(planted), gate_page.table(gate_page.unchanged_table(unchanged))]
    parts.append(gate_page.table(gate_page.alarm_table(frames["false_alarms"])))
    without = gate_page.table(gate_page.planted_table(planted).drop(columns=effects))
    parts += [line.removesuffix("|") for line in without.splitlines()]
    assert [part for part in parts if part not in text] == []


def distance(one: Path, other: Path) -> float:
    """The mean difference of pixels: other versions of fonts place letters a pixel away."""
    pictures = [np.asarray(Image.open(file).convert("RGB"), dtype=float) for file in (one, other)]
    assert pictures[0].shape == pictures[1].shape
    return float(np.abs(pictures[0] - pictures[1]).mean())


def test_numbers_in_sentences_are_computed() -> None:
    """What is neither an expression over the tables nor a name has no digit."""
    for file in REFERENCE.glob("*/about.toml"):
        about = tomllib.loads(file.read_text(encoding="utf-8"))
        for name in ("run", "cost", "found", "limits"):
            lines = about.get(name, [])
            for line in [lines] if isinstance(lines, str) else lines:
                literal = EXPRESSION.sub("", line)
                assert not re.search("[0-9]", literal), f"{file}: {literal}"


def test_every_reference_has_a_title_sentences_and_a_picture_or_a_page() -> None:
    for reference in references.read_all():
        said = reference.sentences
        assert all(said), reference.name
        assert "?" not in reference.origin.text, reference.name
        assert reference.origin.commits, reference.name
        # an unknown code would pass for the present one
        assert (reference.evidence is None) == ("code" in reference.about), reference.name
        assert (reference.folder / reference.page).is_file()
        for name in reference.pictures:
            assert all((reference.folder / f"{name}{end}").is_file() for end in (".png", ".svg"))


def test_no_report_of_a_reference_names_a_folder_of_the_machine_that_made_it() -> None:
    reports = list(REFERENCE.glob("*/report/report.md"))
    assert reports
    for file in reports:
        assert not re.search("--results [/~]", file.read_text(encoding="utf-8")), file


def curve(objective: str, metric: str, seed: int, i: int) -> float:
    """Distances fall from ten times the floor. Those of wgan_fdgp are three times as large, those
    of minimax half as large until the last of six evaluations."""
    value = synthetic.learning(objective, metric, seed, i)
    if metric in FLOORS:
        value = FLOORS[metric] * 10 / (i + 1) * (1 + 0.01 * seed)
        value *= {"wgan_fdgp": 3.0, "minimax": 1.0 if i == 5 else 0.5}.get(objective, 1.0)
    return value


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of references with one that has no about.toml, kept as its tables."""
    folder = tmp_path_factory.mktemp("shelf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        patch.setattr(references, "measuring_code", lambda modality: None)
        keep(folder / "newest", seeds=range(12), untrained=True)
        keep(folder / "other", seeds=range(5), status={("minimax", "digits", 3): "diverged"})
    return folder


@pytest.fixture
def shelf(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
    monkeypatch.setattr(references, "measuring_code", lambda modality: None)
    return kept


def keep(folder: Path, **plan: Any) -> None:
    """A reference as it is committed: the tables of a result set without its cells."""
    synthetic.write(folder, objectives=PAIRS, curve=curve, samples=False, steps=4, **plan)
    published.write(tables.load(folder).published, folder)
    shutil.rmtree(folder / "cells")
    (folder / "README.md").write_text("# Newest\n", encoding="utf-8")
    write_json(folder / "environment.json", {"versions": {"ganbench": __version__}})


@pytest.mark.slow
def test_a_new_reference_joins_by_itself(shelf: Path) -> None:
    newest, other = references.read_all(shelf)
    here = settings.of([newest, other])
    places = ["mlp on gaussians8", "dcgan on digits"]
    names = [f"{name}: {place}" for name in ("newest", "other") for place in places]
    assert [setting.name for setting in here] == names
    pages.write(shelf)
    text = (shelf / "index.html").read_text(encoding="utf-8")
    assert all(name in text for name in names)
    assert "96 runs of 600 generator steps" in newest.sentences.run[0]
    (final, *_) = board.tables(here)
    assert len(final.rows) == 5
    column = final.columns.index("wgan_fdgp")
    # the last of six evaluations, the median of seeds 0 to 11: 24 x 10 / 6 x 3 x 1.055
    value, _, verdict = final.rows[1].cells[column].split("\n")
    assert (float(value), verdict) == (pytest.approx(126.6, abs=0.5), "worse")
    # five seeds carry no claim
    assert final.rows[3].cells[column].endswith("not separated")
    assert final.rows[-1].cells[column] == "0, 2"


def test_findings_are_the_ratios_of_the_planted_values(shelf: Path) -> None:
    newest, _ = references.read_all(shelf)
    found = findings.of(settings.of([newest]))
    wins, differences, minimax, *_ = found
    at_end, *_ = differences.tables
    for row in at_end.rows:
        assert row.dot is not None
        assert row.dot[:3] == pytest.approx((3, 3, 3))
    worse = "At the end of training, worse than `nonsaturating`: `wgan_fdgp` in both rows."
    assert wins.answers[1] == worse
    # those that end alike: the first of them; at a third of the steps minimax is half as far
    assert [row.cells[2].partition(":")[0] for row in wins.tables[0].rows] == [PAIRS[0]] * 2
    # all 12 seeds lost, of 6 comparisons: 2 x 2^-12 x 6
    assert [row.cells[4:6] for row in at_end.rows] == [["0.00293", "worse"]] * 2
    assert "contradicted in 6 of 6 comparisons" in differences.answers[-3]
    assert "`wgan_fdgp` costs 1 times one of `wgan_gp`" in differences.answers[-2]
    early, at_end = minimax.tables
    for rows, ratio in ((early.rows, 2), (at_end.rows, 1)):
        assert [row.dot and row.dot.value for row in rows] == pytest.approx([ratio, ratio])
    # the end tests no claim on the beginning
    assert minimax.answers[-2].endswith("in 0, contradicted in 2 of 2 comparisons, open in 0.")


def test_a_place_of_few_seeds_takes_no_claim_from_others(shelf: Path) -> None:
    """The lowest p of five seeds is 0.0625: whatever their values are, they are told apart from
    nothing."""
    newest, other = references.read_all(shelf)
    (_, differences, *_) = findings.of(settings.of([newest, other]))
    at_end, *_ = differences.tables
    marks = [row.cells[4:6] for row in at_end.rows]
    assert marks == [["0.00293", "worse"]] * 2 + [["–", "not separated"]] * 2
    assert "over the 6 comparisons" in differences.note
    assert "contradicted in 6 of 12 comparisons" in differences.answers[-3]


def test_sets_of_other_seeds_are_one_comparison(shelf: Path, tmp_path: Path) -> None:
    """As long as they train and measure the same; a set of seeds that another has stays apart."""
    keep(tmp_path / "more", seeds=range(12, 18), untrained=True)
    newest, other = references.read_all(shelf)
    (more,) = references.read_all(tmp_path)
    (_, differences, *_) = findings.of(settings.of([newest, other, more]))
    at_end, *_ = differences.tables
    assert [(row.cells[0].partition(" (")[0], row.cells[3]) for row in at_end.rows] == [
        ("newest and more: mlp on gaussians8", "0 of 18"),
        ("newest and more: dcgan on digits", "0 of 18"),
        ("other: mlp on gaussians8", "0 of 5"),
        ("other: dcgan on digits", "0 of 5"),
    ]


def test_a_leader_that_collapsed_on_every_seed_is_none(shelf: Path) -> None:
    newest, _ = references.read_all(shelf)
    (wins, *_) = findings.of(settings.of([newest]))
    first = wins.tables[0].rows[0].cells[2].partition(":")[0]
    assert newest.evidence is not None
    cells = newest.evidence.tables.cells
    cells.loc[cells["objective"] == first, "verdict"] = "collapsed"
    (wins, *_) = findings.of(settings.of([newest]))
    second = wins.tables[0].rows[0].cells[2].partition(":")[0]
    assert second != first
    cells["verdict"] = "collapsed"
    (wins, *_) = findings.of(settings.of([newest]))
    assert [row.cells[2] for row in wins.tables[0].rows] == ["none: all collapsed"] * 2


def test_a_run_that_diverged_is_the_worst(shelf: Path) -> None:
    _, other = references.read_all(shelf)
    (_, digits) = settings.of([other])
    regret = questions.regret(digits.evidence, digits.at)
    early = questions.early(digits.evidence, digits.at)
    assert math.isinf(regret.loc["minimax", 3])
    assert math.isinf(early.loc["minimax", 3])
    # 240 / 6 at the end, after 0.5 x 240 / 5
    assert regret.loc["minimax", 0] == pytest.approx(40 / 24)
    # the first of six evaluations comes after a tenth of the steps
    assert early.loc["minimax", 0] == pytest.approx(120)


def test_a_reference_of_former_code_is_marked(shelf: Path, tmp_path: Path) -> None:
    shutil.copytree(shelf / "newest", tmp_path / "newest")
    (reference,) = references.read_all(tmp_path)
    assert reference.origin.mark == ""
    assert "the present code trained and measured all 96 runs" in reference.origin.text
    file = tmp_path / "newest/tables/cells.csv"
    rows = pd.read_csv(file, dtype=str)
    for datasets, mark in (
        (["digits"], "partly earlier code"),
        (["gaussians8"], "earlier code"),
    ):
        rows.loc[rows["dataset"].isin(datasets), "code"] = "former"
        rows.to_csv(file, index=False)
        (reference,) = references.read_all(tmp_path)
        assert reference.origin.mark == mark
        num_former = (rows["code"] == "former").sum()
        assert f"trained {num_former} of 96 runs" in reference.origin.text
    (final, *_) = board.tables(settings.of([reference]))
    assert all("(earlier code)" in row.cells[0] for row in final.rows[:-1])


def test_a_reference_that_former_code_measured_is_marked(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = {"images": "f0rmer", "points": None}
    monkeypatch.setattr(references, "measuring_code", codes.get)
    newest, _ = references.read_all(shelf)
    assert newest.origin.mark == "partly earlier code"
    assert "the present code trained all 96 runs" in newest.origin.text
    assert "other code than the present one measured 48 of 96 runs" in newest.origin.text


def test_a_study_of_former_code_is_marked(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Study\n", encoding="utf-8")
    places = ["benchmark/check"]
    about = {"version": __version__, "commits": ["aaaaaaa", "bbbbbbb"]}
    now = code_of(tuple(places))
    for hashes, mark in (
        ([now, now], ""),
        (["f0rmer", now], "partly earlier code"),
        (["f0rmer", "older"], "earlier code"),
    ):
        code = {"places": places, "hashes": hashes}
        origin = references.Reference(tmp_path, about | {"code": code}).origin
        assert origin.mark == mark
        assert ("the code of commit" in origin.text) == bool(mark)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_fits_shows_its_pictures_and_asks_for_nothing_else(
    browser: Browser, width: int, dark: bool
) -> None:
    browser.open(REFERENCE / "index.html", width, dark)
    browser.run("for (const one of document.images) one.loading = 'eager'")
    browser.run(OPEN_ALL)
    browser.run("Promise.all([...document.images].map(one => one.decode()))")
    assert browser.run(BESIDE) <= 0
    assert browser.run(CONTRAST) == []
    folder = REFERENCE.as_uri()
    assert not [
        fault for fault in browser.faults() if not fault.get("request", "").startswith(folder)
    ]
    assert browser.run("document.images.length") >= 10
    assert browser.run("[...document.images].every(one => one.naturalWidth > 100)")
