"""Names on pages and in figures: metrics with their protocol, variants by their display names."""

import base64
import gzip
import html
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

import benchmark.api as ganbench
from benchmark.analysis import published
from benchmark.analysis.evidence import gather
from benchmark.analysis.tables import load
from benchmark.drawing import style
from benchmark.errors import DamagedError
from benchmark.explain.entries import REFERENCE, read
from benchmark.export import samples
from benchmark.report.charts import charts
from benchmark.store.layout import ResultSet
from benchmark.store.reader import Reader
from tests.conftest import Ended
from tests.helpers import synthetic

INDEPENDENT = "wgan_fdgp[pairs=independent]"
SHOWN = "FD penalty (as proposed)"
NAMES = {
    "objective": {INDEPENDENT: SHOWN},
    "architecture": {"mlp": "Perceptron"},
    "dataset": {"gaussians8": "Eight modes"},
}
BARE = re.compile(r"(?<!-)\bFID\b")


def rename(folder: Path, names: dict[str, dict[str, str]]) -> None:
    path = folder / "matrix.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"display_names": names}))


def texts(page: Path) -> str:
    """What a reader of an HTML page reads, with the alternatives of images."""
    source = page.read_text()
    source = re.sub(r"<(style|script).*?</\1>", "", source, flags=re.DOTALL)
    source = re.sub(r'<img alt="([^"]*)"[^>]*>', r"\1", source)
    return html.unescape(re.sub(r"<[^>]+>", " ", source))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    objectives = ("nonsaturating", "wgan_fdgp", INDEPENDENT)
    results = synthetic.write(tmp_path_factory.mktemp("runs") / "set", objectives=objectives)
    rename(results, NAMES)
    return results


@pytest.fixture(scope="module")
def drawn(folder):
    """The texts of every figure of the report."""
    found: list[str] = []
    close = plt.close

    def close_read(figure):
        found.extend(text.get_text() for text in figure.findobj(Text))
        close(figure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", close_read)
        ganbench.load(folder).report()
    return found


def test_no_metric_stands_without_its_protocol(folder, drawn):
    assert len(drawn) > 100
    written = [
        *drawn,
        texts(folder / "report/index.html"),
        (folder / "report/report.md").read_text(),
    ]
    for text in written:
        assert not BARE.search(text), text[max(0, BARE.search(text).start() - 60) :][:120]
    assert any("classifier-FID (750)" in text for text in drawn)
    full = "classifier-FID (digits, n = 750; comparable within this protocol only)"
    assert full in written[-2]


def test_pages_and_figures_show_display_names(folder, drawn):
    page = texts(folder / "report/index.html")
    assert f"{SHOWN} objective {INDEPENDENT}" in " ".join(page.split())
    experiments = sum(entry.finding.count(INDEPENDENT) for entry in read(REFERENCE).values())
    assert page.count(INDEPENDENT) == 1 + experiments, "of the results, the table of labels alone"
    assert page.count(SHOWN) > 10
    assert "Perceptron on Eight modes" in page
    assert "mlp on gaussians8" not in page
    assert not any("pairs=independent" in text for text in drawn)
    curves = pd.read_csv(folder / "figures/learning_curves.csv")
    assert set(curves["objective"]) == {"nonsaturating", "wgan_fdgp", SHOWN}


def test_tables_and_keys_have_labels(folder):
    results = ganbench.load(folder)
    results.write()
    cells = pd.read_csv(folder / "tables/cells.csv")
    assert set(cells["objective"]) == {"nonsaturating", "wgan_fdgp", INDEPENDENT}
    assert set(results.scores["dataset"]) == {"gaussians8", "digits"}
    assert results.labels == NAMES


def test_a_display_name_has_the_look_of_its_label():
    with style.drawing({SHOWN: INDEPENDENT}):
        shown = style.style(SHOWN)
    assert shown == style.style(INDEPENDENT)
    assert shown["color"] != style.style(SHOWN)["color"]


def test_a_chart_has_the_looks_of_its_figure(folder):
    tables = published.labelled(load(folder))
    packed = re.search(r'id="chart-data">([^<]*)<', charts(tables, gather(tables), folder).head)
    data = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    colours = {objective["label"]: objective["colour"] for objective in data["objectives"]}
    labels = {name: INDEPENDENT if name == SHOWN else name for name in colours}
    looks = style.looks(labels.values())
    assert colours == {name: to_hex(looks[label]["color"]) for name, label in labels.items()}
    assert SHOWN in colours


def test_compare_takes_labels_and_display_names(folder, ganbench_runs, tmp_path):
    by_name = ganbench_runs("compare", "wgan_fdgp", SHOWN, "--output", tmp_path)
    by_label = ganbench_runs("compare", "wgan_fdgp", INDEPENDENT)
    assert by_name.code == 0
    assert by_name.out == by_label.out
    assert SHOWN in by_name.out
    assert "Perceptron on Eight modes" in by_name.out
    page = texts(tmp_path / "compare.html")
    assert INDEPENDENT not in page
    assert not BARE.search(page)


@pytest.fixture
def ganbench_runs(ganbench, folder):
    """A verb on the result set of this file."""

    def call(*arguments: object) -> Ended:
        return ganbench(*arguments, "--matrix", folder.name, "--results", folder.parent)

    return call


def test_sets_with_other_display_names_are_compared_by_their_labels(folder, ganbench, tmp_path):
    other = synthetic.write(tmp_path / "other", objectives=("nonsaturating", INDEPENDENT))
    rename(other, {"objective": {INDEPENDENT: "Another name"}})
    ended = ganbench("compare", folder, other)
    assert ended.code == 0
    assert f"{SHOWN}, Perceptron on Eight modes" in ended.out
    assert "Another name" not in ended.out


def test_status_sample_and_only_know_display_names(folder, ganbench_runs):
    cell = Reader(folder).overview().cells[-1]
    assert cell.objective == INDEPENDENT
    assert cell.shown == (SHOWN, "dcgan", "digits")
    assert samples.find(folder, f"{SHOWN}-Perceptron-Eight modes-seed3").startswith(
        "wgan_fdgp_pairs=independent_-mlp-gaussians8-seed3-"
    )
    chosen = ResultSet(folder).matrix.selected(f"objective={SHOWN} seed=1")
    assert {entry.objective for entry in chosen} == {INDEPENDENT}
    assert len(chosen) == 2


def test_two_variants_of_one_display_name_are_refused(tmp_path):
    folder = synthetic.write(tmp_path / "set", objectives=("wgan", "wgan_gp"), seeds=range(1))
    rename(folder, {"objective": {"wgan": "wgan_gp"}})
    with pytest.raises(DamagedError, match="two variants have one objective name"):
        ResultSet(folder).matrix  # noqa: B018
