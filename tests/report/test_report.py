"""The report's chapters, page and Markdown, from planted results; figures are planted too
(test_plots draws them)."""

import base64
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis import published, tables
from benchmark.analysis.evidence import (
    comparisons,
    gather,
    leaders,
    overall,
    power,
    ranks,
    values,
)
from benchmark.drawing.save import Figure
from benchmark.explain.entries import names
from benchmark.report import audit_page, first, report
from benchmark.report.chapters import winners
from benchmark.report.chapters.completeness import losses
from benchmark.report.chapters.stability import regret_sentence
from benchmark.report.page import Card, Chapter
from benchmark.report.render import label
from benchmark.stats.power import shift_of, told_share
from benchmark.store.layout import ResultSet
from benchmark.store.schema import Race
from benchmark.text import interval, number
from tests.helpers import synthetic

SCRIPT = "wgan_gp[note=<script>alert(1)</script>]"
POINTS = [("gaussians8", "mlp")]
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="72pt">'
    '<rect width="72" height="72"/></svg>'
)


@pytest.fixture(autouse=True, scope="module")
def fresh_code():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        yield


def plant(folder: Path) -> list[Figure]:
    """Two figures: one of both places, one of the digits alone."""
    (folder / "figures").mkdir(exist_ok=True)
    places = {"everywhere": "gaussians8,mlp\ndigits,dcgan\n", "digits": "digits,dcgan\n"}
    for stem, rows in places.items():
        for suffix, content in (
            (".svg", SVG),
            (".png", SVG * 9),
            (".csv", f"dataset,architecture\n{rows}"),
        ):
            (folder / f"figures/{stem}{suffix}").write_text(content)
    sections = ("speed", "where")
    return [
        Figure(stem, f"Of {stem}", "A caption.", section)
        for stem, section in zip(places, sections, strict=True)
    ]


def write(folder: Path) -> dict[str, Chapter]:
    """The report of a synthetic result set, without drawing; its chapters by name."""
    found = tables.load(folder)
    published.write(found.published, folder)
    report.write(folder, found, plant(folder))
    return {chapter.name: chapter for chapter in report.chapters(gather(found), folder)}


def cards(found: tables.Tables) -> list[Card]:
    """The cards of the first screen."""
    return first.first_screen(gather(found)).cards


def said(card: Card) -> list[str]:
    """The sentences of a card."""
    claims = [f"{claim.budget}: {claim.sentence}" for claim in card.claims]
    return [*claims, *card.remarks]


def far_apart(folder: Path, seeds: int = 8, **options) -> tables.Tables:
    """lsgan 20, nonsaturating 30, wgan 40, 0.1 to 0.3 more by seed."""
    level = {"nonsaturating": 30.0, "lsgan": 20.0, "wgan": 40.0}
    options = {
        "objectives": level,
        "groups": POINTS,
        "seeds": range(seeds),
        "samples": False,
    } | options
    curve = lambda objective, metric, seed, i: level[objective] + 0.1 * seed + 1 / (1 + i)  # noqa: E731
    return tables.load(synthetic.write(folder, **{"curve": curve, **options}))


@pytest.mark.parametrize("power_of_metric", [1, 0.5])
def test_over_all_places_the_scale_does_not_depend_on_the_unit(tmp_path, power_of_metric):
    """The floors are 24 (digits) and 0.1 (points), untrained generators lie at 100 floors. lsgan
    ends at 2 and 4 floors, nonsaturating at 3 and 3, at the median. A square root changes
    nothing."""
    level = {"lsgan": {"fid": 2, "swd": 4}, "nonsaturating": {"fid": 3, "swd": 3}}
    floors = {"fid": 24.0, "swd": 0.1}
    metrics = {
        "gaussians8": {"swd_2k": 0.1**power_of_metric},
        "digits": {"fid_classifier_750": 24.0**power_of_metric},
    }

    def curve(objective: str, metric: str, seed: int, i: int) -> float:
        ratio = level[objective][metric[:3]] + 0.01 * (seed - 2)
        value = floors[metric[:3]] * (ratio if i else 100)
        return value**power_of_metric

    found = tables.load(
        synthetic.write(
            tmp_path,
            objectives=level,
            curve=curve,
            metrics=metrics,
            untrained=True,
            samples=False,
        )
    )
    lsgan, reference = overall(found).sort_values("objective").to_dict("records")
    assert (lsgan["objective"], lsgan["places"], lsgan["n"]) == ("lsgan", 2, 10)
    ways = [math.log(100 / ratio) / math.log(100) for ratio in (2, 4)]
    assert lsgan["way"] == pytest.approx(np.mean(ways))
    assert lsgan["rank"] == reference["rank"] == 1.5
    # always ahead in one place, never in the other
    assert (lsgan["wins"], lsgan["pairs"]) == (5, 10)
    assert np.isnan(reference["wins"])
    assert overall(far_apart(tmp_path / "one")).empty


QUOTED = """run --results 'my runs' --set 'metrics=["kid"]'"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eight objectives, one named <script>, in two places, five seeds; a diverged, a missing, a
    running and a failed cell, which left a traceback."""
    status = {
        ("minimax", "digits", 1): "diverged",
        ("wgan", "digits", 4): "missing",
        ("wgan", "digits", 3): "running",
    }
    status |= {("lsgan", "gaussians8", 2): "error"}
    path = tmp_path_factory.mktemp("runs") / "quick"
    synthetic.write(path, objectives=[*synthetic.OBJECTIVES, SCRIPT], status=status, samples=False)
    (failed,) = path.glob("cells/lsgan-mlp-gaussians8-seed2-*")
    lines = [f"line {i}" for i in range(39)]
    lines += [QUOTED, "ValueError: <img src=x onerror=alert(2)>"]
    (failed / "traceback.txt").write_text("\n".join(lines))
    write(path)
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report/index.html").read_text()


@pytest.fixture(scope="module")
def markdown(folder: Path) -> str:
    return (folder / "report/report.md").read_text()


def test_chapters_answer_in_order(page, markdown):
    order = "where speed stability cost failures certainty metrics why ran reproduce"
    names = order.split()
    found = re.findall(r'<section id="(\w+)">\n<h2>(.*?)</h2>', page)
    assert [name for name, _ in found] == names
    questions = [question for _, question in found]
    assert [
        line.removeprefix("## ") for line in markdown.splitlines() if line.startswith("## ")
    ] == questions
    assert all(f'href="#{name}"' in page for name in names)


def test_each_metric_that_is_shown_says_what_it_cannot_see(folder):
    """The synthetic digits have the columns of the committed audit."""
    chapters = report.chapters(gather(tables.load(folder)), folder)
    (chapter,) = (chapter for chapter in chapters if chapter.name == "metrics")
    shown = tables.load(folder).summary.groupby("dataset")["metric"].nunique()
    for table in chapter.tables:
        (dataset,) = table.tags["dataset"]
        assert len(table.rows) == shown[dataset]
        unseen = table.columns.index("cannot see")
        assert all(row.cells[unseen] for row in table.rows)
    (digits,) = (table for table in chapter.tables if table.tags["dataset"] == ["digits"])
    (fid,) = (row.cells for row in digits.rows if row.cells[1] == "fid_classifier_750")
    line = dict(zip(digits.columns, fid, strict=True))
    assert line["audited elsewhere"] == ""
    assert "training copies" in line["cannot see"]
    assert line["noise"].startswith("from ")


def test_an_audit_of_the_set_itself_comes_before_the_committed_one(tmp_path):
    synthetic.write(tmp_path, groups=[("digits", "dcgan")], seeds=range(1), samples=False)
    names = {"dataset": "digits", "protocol": "p", "n": 750, "column": "fid_classifier_750"}
    limit = names | {"metric": "fid", "fault": "planted here", "course": "flat"}
    values = names | {"fault": "planted here", "draws": 3}
    audit_page.write(
        tmp_path / "audit",
        [values | {"share": share} for share in (0.0, 0.5)],
        [limit | {"seen_from": None, "better_from": 0.5}],
    )
    (table,) = write(tmp_path)["metrics"].tables
    (row,) = (row.cells for row in table.rows if row.cells[1] == "fid_classifier_750")
    assert row[2] == "planted here; rewards planted here"


def test_marks_stand_beside_the_noise_floor(tmp_path):
    synthetic.write(tmp_path, groups=[("digits", "dcgan")], seeds=range(1), samples=False)
    marks = {
        "letter frequencies": {"fid_classifier_750": 0.9, "kid_classifier_750": 0.8},
        "uniform random text": {"fid_classifier_750": 1.25},
    }
    entry = ResultSet(tmp_path).protocols["digits"].model_copy(update={"marks": marks})
    ResultSet(tmp_path).write_protocols({"digits": entry.sealed()})
    (_, table) = write(tmp_path)["metrics"].tables
    assert table.columns == ["metric", "noise floor", *marks]
    rows = {row.cells[0]: row.cells[1:] for row in table.rows}
    floor = entry.floor_text("fid_classifier_750")
    assert rows["classifier-FID (750)"] == [floor, "0.9", "1.25"]
    # what a mark does not have is no number
    assert rows["classifier-KID (750)"][2] == number(math.nan)


def test_noise_floors_have_their_spread(tmp_path):
    synthetic.write(tmp_path, groups=[("digits", "dcgan")], seeds=range(1), samples=False)
    protocols = ResultSet(tmp_path).protocols
    spread = {"floor": {"fid_classifier_750": 0.5}, "floor_spread": {"fid_classifier_750": 0.04}}
    entry = protocols["digits"].model_copy(update=spread)
    assert entry.floor_text("fid_classifier_750") == "0.500 ± 0.040"
    # records of former versions have one draw and no spread
    assert protocols["digits"].model_copy(update={"floor_spread": {}}).floor_text(
        "fid_classifier_750"
    ) == number(protocols["digits"].floor["fid_classifier_750"])
    ResultSet(tmp_path).write_protocols({"digits": entry.sealed()})
    (table, *_) = write(tmp_path)["where"].tables
    assert table.rows[0].cells[:2] == ["real samples", "0.500 ± 0.040"]


def test_completeness_comes_first(page, markdown):
    line = "77/80 cells finished, 1 diverged, 1 missing, 1 running, 1 error"
    assert sorted(line.split(", ")) == sorted(
        re.search(r'class="verdict">(.*?)</p>', page)[1].split(", ")
    )
    assert markdown.startswith("# quick: 77/80 cells finished, 1 diverged")
    first = page.partition('<section id="ran">')[2]
    assert "No: what has not finished is a hole" in first.partition("</section>")[0]
    row = first.partition("dcgan on digits</th>")[2].partition("</tr>")[0]
    assert sorted(re.findall(r"<td>(\d+)</td>", row)) == [
        "0",
        "0",
        "1",
        "1",
        "1",
        "37",
        "40",
    ]  # of 40; error, stale: 0


def test_numbers_on_the_page_are_those_of_the_tables(folder, page, markdown):
    summary = pd.read_csv(folder / "tables/summary.csv").set_index(["objective", "metric", "of"])
    row = summary.loc[("lsgan", "fid_classifier_750", "final")]
    shown = interval(row)
    assert f"<td>{shown.replace(' [', chr(10) + '[', 1)}\n" in page
    assert f"| {shown} not separated |" in markdown
    for text in (
        "d_loss is NaN",
        "CC BY 4.0",
        "feedbeef",
        "0.985",
        "Synthetic CPU",
        "ganbench run --matrix quick",
    ):
        assert text in page
        assert text in markdown


def test_page_says_what_was_held_equal(page):
    first = page.partition('<section id="ran">')[2]
    assert (
        "<strong>dcgan on digits</strong>: each objective with its own paper&#39;s optimiser"
        in first
    )
    one = "one optimiser for all objectives (optimizer rmsprop, lr 0.001)"
    assert f"<strong>mlp on gaussians8</strong>: {one}" in first


def test_names_and_files_are_escaped(page, markdown):
    for text in (page, markdown):
        assert "alert(1)" in text
        assert "<script>alert" not in text
        assert "&lt;img src=x onerror=alert(2)&gt;" in text
        assert "<img src=x" not in text


def test_quotes_stay_in_the_listings_of_the_markdown(markdown):
    assert QUOTED in markdown


def test_page_loads_nothing_from_elsewhere(folder, page, markdown):
    for attribute in re.findall(r'\b(?:src|srcset|data|action|href)="([^"]*)"', page):
        assert attribute.startswith(("data:", "#")), attribute
    assert "default-src 'none'" in page
    assert "@import" not in page
    # Within a picture a clip is named
    assert not re.search(r"url\((?!%23)", page)
    links = re.findall(r"\]\((\.\./[^)]*)\)", markdown)
    files = [folder / "report" / link for link in links]
    assert {file.suffix for file in files} >= {".csv", ".svg"}
    assert {file.name for file in files} >= {f"{name}.csv" for name in tables.TABLES}
    assert all(file.exists() for file in files)


def test_the_numbers_of_a_figure_are_in_the_page_unless_they_are_many(folder, page):
    link = re.search(r'<a download="digits.csv" href="data:text/csv;base64,([^"]*)">', page)
    assert base64.b64decode(link[1]) == (folder / "figures/digits.csv").read_bytes()
    assert "<code>figures/why_value_surfaces.csv</code>" in page


def test_each_figure_is_in_its_chapter_and_filtered_by_what_it_shows(page):
    parts = iter(re.split(r'<section id="(\w+)">', page)[1:])
    at = {
        name: re.findall(r'<figure id="(\w+)"(.*?)>', text)
        for name, text in zip(parts, parts, strict=True)
    }
    assert {name: figures for name, figures in at.items() if figures} == {
        "speed": [("everywhere", ' data-architecture="0 1" data-dataset="0 1"')],
        "where": [("digits", ' data-architecture="1" data-dataset="1"')],
        "why": [(f"why_{name}", "") for name in names()],  # of no axis: no filter hides them
    }


def test_rows_columns_and_places_know_what_they_are_about(page):
    names = [*synthetic.OBJECTIVES, SCRIPT]
    boxes = re.findall(
        r'<input type="checkbox" name="(\w+)" value="(\d+)" data-label="[^"]*" checked', page
    )
    assert boxes == [
        *(("objective", str(i)) for i in range(len(names))),
        *((axis, str(i)) for axis in ("architecture", "dataset") for i in range(2)),
    ]
    costs = page.partition('<section id="cost">')[2].partition("</section>")[0]
    rows = re.findall(r"<tr([^>]*)><th[^>]*>lsgan</th>", costs)
    assert rows[1] == ' data-objective="2" data-architecture="1" data-dataset="1"'
    # a comparison is about both
    assert 'data-objective="0 1" data-architecture="1" data-dataset="1"' in page


def test_no_claim_that_the_seeds_cannot_carry(page, markdown):
    chip = '<span class="chip flat"><span class="sign">·</span> not separated</span>'
    assert page.count(f"{chip} from nonsaturating") == 6
    for text in (page, markdown):
        assert 'chip good"' not in text
        assert 'chip bad"' not in text
        assert not re.search(r"(\| |\] |, )(better|worse) (than|\|)", text)
        assert "significant" not in text


def test_seeds_far_apart_are_separated_from_the_reference(tmp_path):
    """Eight seeds, six comparisons over three budgets: p = 2 / 2⁸ = 0.0078, 0.047 after Holm; the
    pairs differ by 10 exactly."""
    found = far_apart(tmp_path)
    compared = comparisons(found).set_index(["of", "first"])
    assert compared["verdict"].to_dict() == {
        ("final", "lsgan"): "better",
        ("final", "wgan"): "worse",
        ("equal_compute", "lsgan"): "better",
        ("equal_compute", "wgan"): "worse",
        ("equal_time", "lsgan"): "better",
        ("equal_time", "wgan"): "worse",
    }
    assert compared.loc[("final", "lsgan"), "p_holm"] == pytest.approx(6 * 2 / 256)
    assert compared.loc[("final", "lsgan"), "difference"] == pytest.approx(-10)
    line = said(cards(found)[0])[0]
    assert line.startswith("At equal generator steps (600): lsgan leads with 20.5 [")
    assert line.endswith("over 8 seeds, better than nonsaturating.")
    table = first.first_screen(gather(found)).verdicts
    verdicts = {row.cells[0]: row.cells[1:] for row in table.rows}
    expected = {"nonsaturating": "reference", "lsgan": "better", "wgan": "worse"}
    assert verdicts == {name: [verdict] * 3 for name, verdict in expected.items()}


def test_without_a_reference_all_pairs_are_compared(tmp_path):
    found = far_apart(tmp_path, 9, reference=None)
    evidence = gather(found)
    assert [tuple(row) for row in evidence.compared[["first", "second"]].to_numpy()[:3]] == [
        ("lsgan", "nonsaturating"),
        ("lsgan", "wgan"),
        ("nonsaturating", "wgan"),
    ]
    assert said(cards(found)[0])[0].endswith("9 seeds, better than nonsaturating, the next.")
    board = winners.chapter(evidence).tables[0]
    finals = [row.cells[board.columns.index("final")] for row in board.rows[1:]]
    assert [text.split("\n")[-1] for text in finals] == ["+2 −0", "+1 −1", "+0 −2"]


def test_the_first_two_of_a_family_with_a_reference_are_not_tested(tmp_path):
    """wgan 10, lsgan 20, nonsaturating 30: the first two are both compared with the last only."""
    level = {"nonsaturating": 30.0, "lsgan": 20.0, "wgan": 10.0}
    found = far_apart(
        tmp_path,
        curve=lambda objective, metric, seed, i: level[objective] + 0.1 * seed + 1 / (1 + i),
    )
    row = leaders(found, comparisons(found)).iloc[0]
    assert row[["first", "second", "reference", "verdict", "n"]].to_list() == [
        "wgan",
        "lsgan",
        "nonsaturating",
        "",
        8,
    ]
    assert row[["difference", "ci_low", "ci_high"]].to_list() == pytest.approx([-10, -10, -10])
    line = said(cards(found)[0])[0]
    assert line.endswith("8 seeds, better than nonsaturating; so is lsgan.")


def test_a_leader_that_is_the_reference_has_the_verdict_turned_round(tmp_path):
    found = far_apart(tmp_path, reference="lsgan")
    row = leaders(found, comparisons(found)).iloc[0]
    assert row[["first", "second", "verdict"]].to_list() == ["lsgan", "nonsaturating", "better"]


def test_a_survivor_does_not_lead(tmp_path):
    """lsgan is far ahead in the two runs of five that did not diverge."""
    status = {("lsgan", "gaussians8", seed): "diverged" for seed in (0, 1, 4)}
    curve = lambda objective, metric, seed, i: 1.0 + seed if objective == "lsgan" else 9.0 + seed  # noqa: E731
    found = far_apart(
        tmp_path, 5, objectives=["nonsaturating", "lsgan"], curve=curve, status=status
    )
    assert list(values(found)["gaussians8", "mlp", "final"].index) == ["nonsaturating", "lsgan"]
    board = winners.chapter(gather(found)).tables[0]
    assert [[row.cells[0], row.cells[-1]] for row in board.rows[1:]] == [
        ["nonsaturating", "5/5"],
        ["lsgan", "2/5\n3 diverged\n2 collapsed"],
    ]
    assert board.rows[2].dot.value == math.inf
    assert board.rows[2].cells[1].startswith("diverged\n[3, diverged]")


def test_half_of_the_seeds_make_no_leader(tmp_path):
    """lsgan is far ahead in the seeds that it has finished: 2 of 5 are too few, 3 are not."""
    starts = {
        2: "No leader yet; ahead is lsgan with 20.2, on 2 of 5 seeds.",
        3: "lsgan leads with 20.3 over 3 of 5 seeds,",
    }
    for finished, start in starts.items():
        status = {("lsgan", "gaussians8", seed): "missing" for seed in range(finished, 5)}
        found = far_apart(tmp_path / str(finished), 5, status=status)
        line = said(cards(found)[0])[0]
        assert line.startswith(f"At equal generator steps (600): {start}")
    assert line.count("no leader") == 0


def test_unfinished_objectives_count_in_the_correction(tmp_path):
    status = {("wgan", "gaussians8", seed): "missing" for seed in range(8)}
    compared = (
        comparisons(far_apart(tmp_path, status=status)).query("of == 'final'").set_index("first")
    )
    assert compared.loc["lsgan", "p_holm"] == pytest.approx(6 * 2 / 256)
    assert (compared.loc["wgan", "n"], compared.loc["wgan", "verdict"]) == (0, "not separated")


def test_ranks_and_power(tmp_path):
    """Eight seeds reach p = 2/256, six comparisons ask for 0.0083, which takes all eight wins."""
    found = far_apart(tmp_path)
    ranked = ranks(found)
    counts = ranked.pivot(index="objective", columns="rank", values="seeds")
    expected = 8 * np.eye(3)
    assert counts.loc[["lsgan", "nonsaturating", "wgan"]].to_numpy().tolist() == expected.tolist()
    row = power(found, comparisons(found)).iloc[0]
    assert row[["n", "comparisons", "seeds_asked", "wins_asked"]].to_list() == [8, 6, 8, 8]
    assert row[["lowest_p", "asked_p"]].to_list() == [2 / 256, 0.05 / 6]
    assert row["told_share"] == told_share(8, 0.05 / 6) == pytest.approx(0.8 ** (1 / 8))
    assert row["told_sd"] == shift_of(row["told_share"])
    assert row[["first", "first_on", "first_of"]].to_list() == ["lsgan", 8, 8]
    # three objectives: 0.05 ÷ 3
    assert row["first_low"] == pytest.approx((0.05 / 6) ** (1 / 8))


def test_few_seeds_say_so(tmp_path):
    """Five seeds and 21 pairs at three budgets: p = 2/32 against 0.05/63, twelve could (2/4096)."""
    synthetic.write(tmp_path, groups=POINTS, reference=None, samples=False)
    chapters = write(tmp_path)
    why = (
        "p = 0.062 is the lowest 5 seeds can reach, 63 comparisons ask for 0.00079, 12 seeds could"
    )
    screen = first.first_screen(gather(tables.load(tmp_path)))
    assert "not separated from" in said(screen.cards[0])[0]
    assert screen.error_rate == (
        "Brackets: exact 95 % intervals over seeds, 93.75 % at five seeds, none below. No "
        "difference can be told from chance here: 63 comparisons need 12 seeds."
    )
    assert why in chapters["certainty"].folds["All comparisons"][0].rows[0].cells
    assert chapters["certainty"].answers[1] == (
        "With 5 seeds this matrix cannot tell any difference from chance: 63 comparisons need 12 "
        "seeds."
    )
    assert "93.8% at 5 seeds" in chapters["certainty"].notes[1]
    (table,) = chapters["certainty"].folds["What the seeds can tell"]
    row = dict(zip(table.columns, table.rows[0].cells, strict=True))
    names = ("comparisons", "lowest p", "asked", "seeds needed", "wins needed", "told: wins")
    assert [row[name] for name in names] == ["63", "0.0625", "0.000794", "12", "–", "–"]


def test_a_leader_most_of_whose_runs_failed_is_said_to_have():
    runs = [("wgan", "stuck"), ("wgan", "collapsed"), ("wgan", None), ("lsgan", "stuck"),
            ("lsgan", "ok"), *[("gan", "stuck")] * 2, ("gan", "ok")]  # fmt: skip
    cells = pd.DataFrame(runs, columns=["objective", "verdict"])
    assert first.most_failed(cells, "wgan") == "all of its runs failed (1 stuck, 1 collapsed)"
    assert first.most_failed(cells, "gan") == "2 of its 3 runs failed (2 stuck)"
    assert first.most_failed(cells, "lsgan") == ""
    assert first.most_failed(cells, "minimax") == ""


def test_the_first_screen_says_how_often_a_report_is_wrong(tmp_path):
    far_apart(tmp_path)
    chapter = write(tmp_path)["certainty"]
    page = (tmp_path / "report/index.html").read_text()
    assert "on this page is false is 5% at most" in page.partition('<section id="where">')[0]
    assert "Holm's correction is over all 6 comparisons of this report" in chapter.answers[0]
    assert 'any "better" or "worse" in it is false is 5% at most' in chapter.answers[0]


def test_how_fast_names_the_target_and_where_it_is_from(tmp_path):
    """lsgan starts below the target, 30.6; nonsaturating is at it once its seed is 4 or less; wgan
    never."""
    far_apart(tmp_path, targets={"gaussians8": 30.6})
    chapter = write(tmp_path)["speed"]
    assert chapter.items[0].lines[0] == (
        "Sliced Wasserstein distance 30.6, given in the matrix. First there at the median: "
        "lsgan by generator steps (100), critic forwards (70,000) and raced seconds (2)."
    )
    table = chapter.tables[0]
    rows = {row.cells[0]: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}
    names = ("lsgan", "nonsaturating", "wgan")
    assert [rows[name]["reached"] for name in names] == ["8/8", "5/8", "0/8"]
    assert rows["lsgan"]["generator steps"] == "100 [100, 100]"
    assert rows["nonsaturating"]["generator steps"] == "450 [200, > 600]"
    assert rows["wgan"]["generator steps"] == "> 600"


@pytest.mark.parametrize(("objectives", "status"), [(1, "done"), (3, "diverged")])
def test_how_fast_names_nobody_where_nothing_compares(tmp_path, objectives, status):
    """An objective alone; a place where every run diverged."""
    names = ["lsgan", "nonsaturating", "wgan"][:objectives]
    ends = {(name, "gaussians8", seed): status for name in names for seed in range(8)}
    far_apart(tmp_path, objectives=names, status=ends, targets={"gaussians8": 30.6})
    chapter = write(tmp_path)["speed"]
    assert chapter.items == []
    assert [row.cells[0] for row in chapter.tables[0].rows] == names


def test_failures_say_why_with_a_trace(folder):
    chapter = {c.name: c for c in report.chapters(gather(tables.load(folder)), folder)}["failures"]
    assert chapter.answers == ["2 cells: 1 error, 1 diverged."]
    (table,) = chapter.tables
    rows = {row.cells[1]: row.cells for row in table.rows}
    assert rows["diverged"][2:] == ["350", "d_loss is NaN"]
    traces = {
        trace.summary.rpartition(": ")[2]: trace.text.splitlines() for trace in chapter.listings
    }
    assert traces["error"][0] == "line 26"
    assert traces["error"][14] == "ValueError: <img src=x onerror=alert(2)>"
    assert traces["diverged"][0].startswith("classifier-FID (750) at generator step: ")
    assert traces["diverged"][-6].split() == [
        "g_step",
        "d_loss",
        "g_loss",
        "d_grad_norm",
        "g_grad_norm",
    ]
    assert traces["diverged"][-1].split()[:2] == ["580", "NaN"]


def test_the_loss_says_which_seed_is_better_only_at_equal_steps_and_beyond_chance(tmp_path):
    """Every loss rises over the run as the metric falls. Seed by seed, 0.1 worse each, wgan's falls
    and lsgan's rises; nonsaturating's is a wave that depends on the seed."""
    slope = {"wgan": -1.0, "lsgan": 1.0, "nonsaturating": 0.0}

    def probes(objective, seed, i):
        wave = (1 - abs(slope[objective])) * np.sin(3.0 * i + 2 * seed)
        return {"d_loss": 10.0 * i + slope[objective] * seed + wave}

    far_apart(tmp_path, seeds=7, probes=probes)
    chapter = write(tmp_path)["stability"]
    regret, agreement = chapter.items[0].lines
    assert "instead of never, ends the same for nonsaturating, lsgan and wgan (value" in regret
    assert agreement.startswith("At equal steps the better seed has the higher loss for wgan (p = ")
    assert "; the better seed has the lower loss for lsgan (p = " in agreement
    assert agreement.endswith("for 1 objective the agreement of loss and quality is within chance.")
    rows = {row.cells[0]: row.cells for row in chapter.tables[0].rows}
    assert rows["wgan"][5].startswith("1\n(−")
    assert rows["lsgan"][5].startswith("−1\n(−")


def test_what_stopping_by_the_loss_costs_is_said_against_never_stopping():
    def rows(**medians):
        return [
            {"objective": name, "quantity": quantity, "median": median}
            for name, pair in medians.items()
            for quantity, median in zip(("loss_regret", "regret"), pair, strict=True)
        ]

    start = "Stopping where the critic's loss is highest, instead of never, ends "
    end = " (value ÷ best value of the run, median over seeds)."
    every = rows(wgan=(2.0, 1.0), lsgan=(1.0, 1.5), hinge=(1.0, 1.0))
    sentence = "worse for wgan (2, not 1); better for lsgan (1, not 1.5); the same for hinge"
    assert regret_sentence(every) == f"{start}{sentence}{end}"
    assert regret_sentence(rows(wgan=(2.0, 1.0))) == f"{start}worse for wgan (2, not 1){end}"
    many = rows(**{f"wgan{i}": (2.0, 1.0) for i in range(11)})
    assert regret_sentence(many) == f"{start}worse for 11 objectives{end}"
    assert regret_sentence([]) == ""


def test_the_parameters_of_both_networks_stand_in_the_table_of_costs(tmp_path):
    far_apart(tmp_path)
    table = write(tmp_path)["cost"].tables[0]
    assert table.columns[-2:] == ["parameters, generator", "critic"]
    assert [row.cells[-2:] for row in table.rows] == [["1,000", "900"]] * 3


@pytest.mark.parametrize("seeds", [3, 6])
def test_a_best_value_has_its_step_where_it_is_not_the_final_one(tmp_path, seeds):
    """wgan is best at step 300; the values of the others fall to the end."""

    def curve(objective: str, metric: str, seed: int, i: int) -> float:
        return 5 + seed + abs(i - 2) if objective == "wgan" else 9 - i

    found = far_apart(tmp_path / "rise", seeds=seeds, curve=curve, untrained=True)
    board = winners.chapter(gather(found)).tables[0]
    head = board.columns.index("best, at step")
    best = {row.cells[0]: row.cells[head].partition("\n")[0] for row in board.rows}
    assert best["wgan"].endswith(" at 200")
    assert best["lsgan"].endswith(" at 500")
    falling = far_apart(tmp_path / "fall", seeds=seeds)
    assert "best, at step" not in winners.chapter(gather(falling)).tables[0].columns


def test_real_samples_and_the_untrained_generator_are_rows_of_a_leaderboard(tmp_path):
    """0.1 and, before the first step, 50."""
    curve = lambda objective, metric, seed, i: 50.0 if i == 0 else 1.0 + seed  # noqa: E731
    found = far_apart(tmp_path, untrained=True, curve=curve)
    board = winners.chapter(gather(found)).tables[0]
    marks = {row.cells[0]: row.dot.value for row in board.rows if row.is_mark}
    assert marks == {"real samples": 0.1, "untrained": 50.0}
    assert [row.is_mark for row in board.rows] == [True, False, False, False, True]
    assert board.axis.is_log
    assert board.axis.low < 0.1 < 50 < board.axis.high
    page = tmp_path / "report"
    write(tmp_path)
    html = (page / "index.html").read_text()
    assert (html.count("<circle"), html.count('class="diamond"')) == (3, 2)


def stuck(objective: str, metric: str, seed: int, i: int) -> float:
    """No run comes below 0.95 of the untrained value; nonsaturating is ahead on every seed."""
    level = {"nonsaturating": 0.95, "lsgan": 0.97, "wgan": 1.2}[objective]
    return 50.0 if i == 0 else 50 * level + 0.01 * seed


def test_where_nothing_was_learnt_no_winner_is_named(tmp_path):
    found = far_apart(tmp_path, untrained=True, curve=stuck)
    evidence = gather(found)
    assert (len(evidence.leaders), len(evidence.compared), len(evidence.ranks)) == (0, 0, 0)
    (card,) = cards(found)
    assert not card.is_ranked
    assert said(card) == ["Nothing was learnt here: no ranking (24 stuck)."]
    chapters = write(tmp_path)
    board = chapters["where"].tables[0]
    assert board.note.startswith("Nothing was learnt here: no ranking (24 stuck).")
    names = [row.cells[0] for row in board.rows if not row.is_mark]
    assert names == list(found.cells["objective"].unique())
    line = "nothing was learnt here: no ranking (24 stuck)."
    assert [item.lines for item in chapters["certainty"].items] == [[line]]
    page = (tmp_path / "report/index.html").read_text()
    for word in ("leads", "better than nonsaturating", "chip good", "chip bad"):
        assert word not in page.partition("<script>")[0].partition('<section id="why">')[0]


def test_of_one_objective_nothing_is_said_to_be_compared(tmp_path):
    found = far_apart(tmp_path, objectives=["lsgan"], reference=None)
    (card,) = cards(found)
    claim = "At the end of training: lsgan has reached 20.5 [20.2, 20.9] over 8 seeds; no other "
    assert said(card) == [f"{claim}objective was run.", "No failure was seen in 8 runs."]
    chapters = write(tmp_path)
    (board,) = chapters["where"].tables[:1]
    assert board.columns == ["objective", "final", "area", "seeds"]
    assert "Hollow" not in board.note
    sentence = "Nothing is compared: no place has two objectives with finished runs."
    assert (chapters["certainty"].answers, chapters["certainty"].tables) == ([sentence], [])
    assert chapters["cost"].items[0].lines == ["A generator step takes 20 ms (lsgan)."]


def test_a_reference_whose_runs_failed_is_said_to_have_once(tmp_path):
    status = {("nonsaturating", "mlp", seed): "diverged" for seed in range(8)}
    found = far_apart(tmp_path, status=status)
    claims = [sentence for sentence in said(cards(found)[0]) if "all of its runs" in sentence]
    assert claims == ["The reference: nonsaturating, but all of its runs failed (8 diverged)."]


def test_failed_runs_are_counted_by_objective():
    def sentence(num_objectives: int) -> str:
        names = [f"gan{i}" for i in range(num_objectives) for _ in range(2)]
        cells = {"objective": names, "verdict": ["stuck", "ok"] * num_objectives, "status": "done"}
        return losses(pd.DataFrame(cells))

    every = "gan0 1 of 2, gan1 1 of 2, gan2 1 of 2, gan3 1 of 2"
    assert sentence(4) == f"Failed: 4 of 8 runs (4 stuck: {every})."
    assert sentence(5).endswith("gan2 1 of 2, 2 more in 2 other objectives).")


def test_a_target_that_no_objective_reaches_stands_for_the_harder_ones(tmp_path):
    """From 50 to 40, a floor of 0.1: not even a quarter of the way."""
    curve = lambda objective, metric, seed, i: 50.0 if i == 0 else 40.0  # noqa: E731
    far_apart(tmp_path, untrained=True, curve=curve)
    (line,) = write(tmp_path)["speed"].items[0].lines
    assert ", 1/4 of the way" in line
    assert line.endswith("No objective reaches it in half of its runs.")


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("gan[a=1,b=x]", "gan|[a=1,|b=x]"),
        ("n = 2,000", "n = 2,000"),
        ("gan_pairs=one_-mlp-seed1-0886748f", "gan|_pairs=one_-|mlp-seed1-0886748f"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_names_break_between_their_parts(name, broken):
    assert label(name).replace("<wbr>", "|") == broken


def test_one_run_that_learns_makes_a_ranking(tmp_path):
    def curve(objective: str, metric: str, seed: int, i: int) -> float:
        learns = (objective, seed, i) == ("wgan", 3, 5)
        return 5.0 if learns else stuck(objective, metric, seed, i)

    assert cards(far_apart(tmp_path, untrained=True, curve=curve))[0].is_ranked


def test_robustness_table_counts_what_was_lost(tmp_path):
    """With its second seed nonsaturating diverges on the MLP and wgan collapses on it; wgan_gp is
    missing on DCGAN."""
    mlp = "mlp[depth=4,width=8]"
    status = {("wgan_gp", "dcgan", seed): "missing" for seed in range(3)} | {
        ("nonsaturating", mlp, 1): "diverged"
    }
    synthetic.write(
        tmp_path,
        objectives=["nonsaturating", "wgan", "wgan_gp"],
        groups=[("digits", "dcgan"), ("digits", mlp)],
        seeds=range(3),
        status=status,
        collapsed={("wgan", mlp, 1)},
        samples=False,
    )
    table = write(tmp_path)["where"].tables[0]
    assert table.title == "digits: which objective trains which architecture?"
    assert [tags.get("objective") for tags in table.column_tags] == [
        None,
        ["nonsaturating"],
        ["wgan"],
        ["wgan_gp"],
    ]
    lost = {
        row.cells[0]: [cell.split("\n")[1:] for cell in row.cells[1:]] for row in table.rows[:2]
    }
    assert lost == {
        "dcgan": [[], [], ["3/3 unfinished"]],
        mlp: [["1/3 diverged"], ["1/3 collapsed"], []],
    }
    assert table.rows[2].cells == ["no seed lost", "1 of 2", "1 of 2", "1 of 2"]
    assert (
        "1 diverged, 1 collapsed, 3 missing"
        in (tmp_path / "report/report.md").read_text().partition("\n")[0]
    )


@pytest.mark.parametrize("how", ["missing", "diverged", "one seed", "nothing measured", "older"])
def test_partial_results_still_make_a_report(tmp_path, how):
    seeds = [0] if how == "one seed" else [0, 1]
    lost = (
        how
        if how in ("missing", "diverged")
        else "diverged"
        if how == "nothing measured"
        else "done"
    )
    synthetic.write(
        tmp_path,
        objectives=["lsgan", "wgan"],
        groups=[("digits", "dcgan")],
        seeds=seeds,
        status={(name, "digits", seed): lost for name in ("lsgan", "wgan") for seed in seeds},
        evaluations=1 if how == "nothing measured" else 3,  # a diverged run keeps half of them
        older=how == "older",
        samples=False,
    )
    chapters = write(tmp_path)
    assert len(chapters) == 10
    assert "cells finished" in (tmp_path / "report/index.html").read_text()


@pytest.mark.parametrize("how", ["no race", "not all", "failed", "pace"])
def test_the_report_says_why_seconds_do_not_compare(how, tmp_path):
    """In every chapter that has seconds, and no seconds are shown as if they did."""
    synthetic.write(tmp_path, groups=POINTS, samples=False, untrained=True)
    (path,) = (tmp_path / "races").glob("*.json")
    race = ResultSet(tmp_path).races[0].plain()
    reason = "no race has timed its objectives"
    if how == "no race":
        path.unlink()
    elif how == "not all":
        del race["objectives"]["wgan"]
        reason = "wgan was in no race"
    elif how == "failed":
        race["objectives"]["wgan"] = {"reason": "out of memory on cpu"}
        reason = "wgan could not be raced: out of memory on cpu"
    else:
        race["objectives"]["wgan"]["milliseconds"] = [20.0] * 5 + [30.0] * 5
        reason = (
            "the pace differed between the rounds of the race (wgan: ±22% against the others, "
            "more than 10%)"
        )
    if how != "no race":
        ResultSet(tmp_path).write_race(Race.model_validate(race))
    chapters = write(tmp_path)
    where = said(cards(tables.load(tmp_path))[0])
    assert f"Not compared at equal raced seconds: {reason}." in where
    lines = chapters["cost"].items[0].lines
    assert lines[0] == f"Seconds do not compare: {reason}."
    assert lines[1].startswith("Equal cost: 350,000 critic forward-equivalents, those of")
    assert not {"raced ms per generator step", "± % over the race"} & {
        *chapters["cost"].tables[0].columns
    }
    assert chapters["speed"].items[0].lines[-1] == f"Seconds do not compare: {reason}."
    assert not any("raced" in head for head in chapters["speed"].tables[0].columns)


def test_the_report_says_that_no_run_is_done(tmp_path):
    status = {
        (objective, "gaussians8", seed): "diverged" if seed else "error"
        for objective in synthetic.OBJECTIVES
        for seed in range(5)
    }
    synthetic.write(tmp_path, groups=POINTS, samples=False, status=status)
    write(tmp_path)
    where = said(cards(tables.load(tmp_path))[0])
    line = "Not compared at equal raced seconds: no run is done (28 diverged, 7 error)."
    assert line in where
