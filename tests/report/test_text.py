"""Text on the report's pages: samples as lines, marks next to noise floors."""

import html
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark.analysis import tables
from benchmark.analysis.evidence import gather
from benchmark.analysis.sides import of_labels
from benchmark.errors import DamagedError
from benchmark.report import report
from benchmark.report.chapters.leaderboards import leaderboard, summary_by_key
from benchmark.report.chapters.measures import other_metrics
from benchmark.report.figures import comparison, learning, samples, saved
from benchmark.report.page import records
from benchmark.report.render import faint
from benchmark.store.layout import ResultSet
from benchmark.text import visible
from tests.helpers import synthetic

OBJECTIVES = ["nonsaturating", "wgan", "lsgan"]
SHOWN = visible(synthetic.MARKUP)  # the first sample of every cell


@pytest.fixture(autouse=True, scope="module")
def fresh_code():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        yield


def plant(folder: Path, **options) -> tables.Tables:
    """Three objectives on text, of which `lsgan` has half of the evaluations."""
    status = {("lsgan", "fortunes", seed): "interrupted" for seed in range(2)}
    options = {"objectives": OBJECTIVES, "groups": synthetic.TEXT, "seeds": range(2)} | options
    return tables.load(synthetic.write(folder, status=status, **options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "text"
    plant(path)
    synthetic.write_real(path, "fortunes")
    found = tables.load(path)
    drawing, at_equal_cost = samples.draw(found, path)
    assert len(at_equal_cost.passages) == 4
    report.write(path, found, [replace(drawing, section="where")])
    return path


def pre(text: str) -> list[str]:
    """The contents of every <pre> with 16 lines, without the tags in them."""
    blocks = re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL)
    blocks = [re.sub(r"</?span[^>]*>", "", block) for block in blocks]
    return [block for block in blocks if block.count("\n") == 15]


@pytest.mark.parametrize("name", ["index.html", "report.md"])
def test_samples_are_lines_of_escaped_text_with_visible_blanks(folder, name):
    page = (folder / "report" / name).read_text()
    blocks = pre(page)
    assert len(blocks) == 4
    for block in blocks:
        assert html.unescape(block).split("\n")[0] == SHOWN
        assert "&lt;b&gt;&amp;&lt;/b&gt;·it" in block
        assert " " not in block
        assert "<" not in block
    assert "<b>" not in page
    assert "samples_fortunes_text_resnet.png" not in page


def test_each_objective_is_filtered_alone_and_says_where_it_is_earlier(folder):
    page = (folder / "report/index.html").read_text()
    heads = re.findall(
        r'<div( data-objective="\d")?><strong>(.*?)</strong><small>(.*?)</small><pre>', page
    )
    assert heads == [
        ("", "real samples", "\u00a0"),
        (' data-objective="0"', "nonsaturating", "\u00a0"),
        (' data-objective="1"', "wgan", "\u00a0"),
        (' data-objective="2"', "lsgan", "300 steps, interrupted"),
    ]
    assert ".faint" in page
    markdown = (folder / "report/report.md").read_text()
    assert "**lsgan**, 300 steps, interrupted" in markdown


def test_the_figure_is_a_picture_and_a_table_of_lines_too(folder):
    stem = folder / "figures/samples_fortunes_text_resnet"
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in stem.with_suffix(".svg").read_text()
    lines = pd.read_csv(stem.with_suffix(".csv"), keep_default_na=False)
    assert lines.groupby("objective", sort=False).size().to_dict() == dict.fromkeys(OBJECTIVES, 16)
    assert lines["text"].iloc[0] == synthetic.MARKUP
    written = (ResultSet(folder).cell(lines["cell"].iloc[0]).samples / "000600.txt").read_text()
    assert list(lines["text"][:16]) == written.split("\n")[:16]


def test_what_fills_lines_is_pale_and_nothing_is_markup():
    fill = '<span class="faint">{}</span>'
    assert faint("<i>·a``") == f"&lt;i&gt;{fill.format('·')}a{fill.format('``')}"
    assert visible("a b\u202ec\x1b") == "a·b□c□"


@pytest.mark.parametrize("content", [b"", b"no end", b"caf\xe9\n"])
def test_damaged_lines_are_named(tmp_path, content):
    found = plant(tmp_path, evaluations=2)
    file = Path(saved.saved_samples(found, tmp_path)["file"].iloc[-1])
    assert file.suffix == ".txt"
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"{file} is damaged: ") as caught:
        saved.read_samples(file)
    assert "\n" not in str(caught.value)


def test_long_lines_are_cut_in_the_picture_alone(tmp_path):
    found = plant(tmp_path, evaluations=2, objectives=["wgan"])
    for file in map(Path, saved.saved_samples(found, tmp_path)["file"]):
        file.write_text(f"{'x ' * 2000}\n" * 20)
    (tmp_path / "figures").mkdir()
    drawing, *_ = samples.draw(found, tmp_path)
    assert [len(line) for line in drawing.passages[0].text.split("\n")] == [4000] * 16


def texts_of(figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_marks_stand_next_to_the_floor(folder, tmp_path, monkeypatch):
    found = tables.load(folder)
    assert found.marks("fortunes", "js_4_2k") == {
        "letter frequencies": 0.9,
        "uniform random text": 0.997,
    }
    assert found.marks("fortunes", "unique_2k") == found.marks("digits", "fid") == {}
    board = leaderboard(gather(found), records(found.cells)[0], summary_by_key(found))
    marks = {row.cells[0]: row.cells[1] for row in board.rows if row.is_mark}
    expected = {"real samples": "0.16", "letter frequencies": "0.9", "uniform random text": "0.997"}
    assert marks == expected
    (table,) = other_metrics(found)
    marks = [row.cells for row in table.rows if row.is_mark]
    assert marks == [
        ["real samples", "0.001", "1"],
        ["letter frequencies", "0.001", "–"],
        ["uniform random text", "0.298", "–"],
    ]
    drawn = []
    for module in (learning, comparison):
        monkeypatch.setattr(module, "save", lambda figure, *_: drawn.append(texts_of(figure)))
    learning.learning_curves(found, tmp_path)
    comparison.draw(of_labels(found, ["wgan", "lsgan"]), tmp_path)
    marks = list(synthetic.MARKS)
    assert drawn == [[*marks, "↓ noise floor 0.16", *marks, *marks], [*marks, "↓ noise floor 0.16"]]
