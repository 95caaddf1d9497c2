"""The page of the experiments, and the chapter of a report that quotes them."""

import json
import re
import shutil

from benchmark.explain import entries
from benchmark.explain.entries import REFERENCE
from benchmark.explain.experiments import saturation
from benchmark.report import explain_page
from benchmark.report.chapters import explanation
from benchmark.store.code import ROOT
from benchmark.store.files import write_json
from benchmark.text import escaped
from tests.helpers import synthetic


def test_the_page_reads_from_top_to_bottom():
    found = entries.read(REFERENCE)
    assert list(found) == entries.names()
    markdown = (REFERENCE / "README.md").read_text()
    page = (REFERENCE / "index.html").read_text()
    positions = [markdown.index(entry.title) for entry in found.values()]
    assert positions == sorted(positions)
    for name, entry in found.items():
        assert (REFERENCE / f"figures/{name}.png").exists()
        assert entry.text, "the argument and its source"
        assert re.search(r"\d{4}", entry.text[0])
        assert f'id="{name}"' in page
    for row in found["dirac"].table:
        assert f"| {' | '.join(map(escaped, row.values()))} |" in markdown
        cells = "".join(f"<td>{text}</td>" for text in list(row.values())[1:])
        assert f'<th scope="row">{row["objective"]}</th>{cells}' in page
    assert not re.search(r"(src|href)=\"?https?:", page)
    assert explain_page.losses("minimax")[1][1] == "min over G: −E softplus(D(x̃))"


def test_the_report_says_why(tmp_path):
    folder = tmp_path / "runs/quick"
    synthetic.write(folder)
    chapter = explanation.chapter(folder)
    assert "experiments, as they come with the suite." in chapter.answers[0]
    titles = [entry.title for entry in entries.read(REFERENCE).values()]
    assert [item.lead for item in chapter.items] == titles
    answers = [entry.answer for entry in entries.read(REFERENCE).values()]
    assert [item.lines[0] for item in chapter.items] == answers
    assert all(answer.endswith(".") and answer.count(". ") == 0 for answer in answers)
    figures = explanation.figures(folder)
    assert [item.figure for item in chapter.items] == [figure.stem for figure in figures]
    assert [figure.stem for figure in figures] == [f"why_{name}" for name in entries.names()]
    assert all((folder / f"figures/{figure.stem}.svg").exists() for figure in figures)
    own = tmp_path / "explain"
    entry = entries.read(REFERENCE)["depth"].model_copy(update={"finding": "Own finding."})
    (own / "figures").mkdir(parents=True)
    for path in REFERENCE.glob("figures/depth.*"):
        shutil.copy(path, own / "figures")
    write_json(own / "explain.json", {"experiments": {"depth": entry.model_dump()}})
    chapter = explanation.chapter(folder)
    assert [item.lines[-1] for item in chapter.items].count("Own finding.") == 1
    assert len(chapter.items) == len(entries.names()), "the others are the reference's"
    assert "1 of them run with these results" in chapter.answers[0]
    (own / "figures/depth.png").unlink()
    chapter = explanation.chapter(folder)
    assert "experiments, as they come with the suite." in chapter.answers[0], "it has no figure"


def test_without_any_experiment_the_report_says_how(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.chapters.explanation.REFERENCE", tmp_path)
    assert "ganbench explain" in explanation.chapter(tmp_path / "runs/quick").answers[0]
    assert explanation.figures(tmp_path / "runs/quick") == []


def test_the_reference_names_no_machine():
    text = (REFERENCE / "explain.json").read_text()
    assert str(ROOT) not in text
    assert saturation.CAPTION in json.loads(text)["experiments"]["saturation"]["caption"]
