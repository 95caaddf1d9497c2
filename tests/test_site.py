"""The notebook runs, and the site is built: every link of it leads somewhere, none to the network
for what a page needs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.store.code import ROOT

NOTEBOOK = ROOT / "docs" / "tour.ipynb"
# What a browser loads by itself
LOADED = re.compile(
    r"""<(?:script|img|iframe)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)" """[:-1]
)


def test_the_notebook_was_committed_as_it_runs() -> None:
    """With the outputs of one run from top to bottom, and without an error."""
    nbformat = pytest.importorskip("nbformat")
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    assert not re.search(r"/(?:tmp|home|work|root)/", NOTEBOOK.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, 4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=resources
    ).execute()


@pytest.mark.slow
def test_the_site_is_built_and_loads_nothing_from_the_network(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    pytest.importorskip("furo")
    pytest.importorskip("myst_nb")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "trees"]
    built = subprocess.run(
        [*map(str, command), "-c", "docs", ".", str(site)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert built.returncode == 0, built.stderr
    for name in ("README", "docs/tour", "docs/contributing", "results/README"):
        page = (site / f"{name}.html").read_text(encoding="utf-8")
        for found in LOADED.findall(page):
            assert not re.match(r"(?:https?:)?//", "".join(found)), f"{name} loads {found}"
    for report in ("quick/report", "explain"):
        assert (site / "results/reference" / report / "index.html").is_file()
    references = site / "results/reference/index.html"
    named = re.findall(r'(?:src|href)="([^":#]+)"', references.read_text(encoding="utf-8"))
    assert len(named) > 20
    for name in named:
        assert (references.parent / name).is_file(), f"the page of all references names {name}"
