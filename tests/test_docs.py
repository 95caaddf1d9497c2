"""What README and docs/ say: their length, links, paths, tables and picture."""

import json
import re
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmark.matrix import files, options
from benchmark.matrix.expand import expand
from benchmark.store.code import ROOT
from tests.studies import front_page, results_page

README = ROOT / "README.md"
MARKDOWN = [
    file
    for pattern in ("*.md", "docs/*.md", "results/*.md", "results/reference/**/README.md")
    for file in sorted(ROOT.glob(pattern))
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
PATH = re.compile(r"\b(?:benchmark|variants|tests|results|docs)/[\w./-]*[\w/]")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.M)
# Files of a user, and files that an example adds
EXAMPLES = (
    "NAME",
    "VERSION",
    "MATRIX",
    "my_variants",
    "relativistic",
    "residual_mlp",
    "moons",
    "results/runs",
    "results/explain",
    "results/speed",
)


def of_file(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").split()) <= 1300


@pytest.mark.parametrize("file", MARKDOWN, ids=of_file)
def test_every_path_that_a_page_names_exists(file: Path) -> None:
    for name in PATH.findall(file.read_text(encoding="utf-8")):
        if not any(example in name for example in EXAMPLES):
            assert (ROOT / name).exists(), f"{file.name} names {name}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text)]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("file", MARKDOWN, ids=of_file)
def test_every_link_leads_somewhere(file: Path) -> None:
    text = BLOCK.sub("", file.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        place, _, anchor = link.partition("#")
        if "://" in place:
            continue
        target = file.parent / place if place else file
        assert target.is_file(), f"{file.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{file.name} links to {link}"


def test_the_readme_leads_to_every_page() -> None:
    links = set(LINK.findall(README.read_text(encoding="utf-8")))
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.ipynb")]
    assert {of_file(page) for page in pages} <= links


def test_the_page_of_references_leads_to_every_one() -> None:
    folder = ROOT / "results/reference"
    links = set(LINK.findall((folder / "README.md").read_text(encoding="utf-8")))
    assert {f"{page.parent.name}/README.md" for page in folder.glob("*/README.md")} <= links


def test_every_block_says_its_language() -> None:
    pages = [README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        languages = {language for language, _ in BLOCK.findall(text)}
        assert languages <= {"bash", "python", "toml", "yaml"}, page.name
        for language, block in BLOCK.findall(text):
            if language == "yaml":
                assert isinstance(yaml.safe_load(block), dict)


def test_the_table_and_the_picture_of_the_readme_are_those_of_the_reference() -> None:
    """`python -m tests.studies.front_page` makes them."""
    text = README.read_text(encoding="utf-8")
    assert front_page.filled(text) == text
    assert text.count("<!-- generated: quick -->\n| objective |") == 1
    with Image.open(front_page.PICTURE) as picture:
        assert picture.text["inputs"] == front_page.inputs()
        committed = np.asarray(picture.convert("RGB"), dtype=float)
    drawn = front_page.pixels().astype(float)
    assert drawn.shape == committed.shape
    # Another version of the drawing library places letters a pixel away
    assert np.abs(drawn - committed).mean() < 4


def test_the_readme_says_the_cost_that_the_head_of_quick_says() -> None:
    head = (ROOT / "benchmark/matrices/quick.toml").read_text(encoding="utf-8")
    (minutes,) = re.findall(r"# Cost: about (\d+) minutes on 2 CPU cores", head)
    said = " ".join(README.read_text(encoding="utf-8").split())
    assert f"168 cells, in about {minutes} minutes on 2 CPU cores" in said
    page = (ROOT / "docs/matrices.md").read_text(encoding="utf-8")
    assert f"about {minutes} minutes on 2 CPU cores" in page


@pytest.mark.parametrize("model", [options.Training, options.Evaluation])
def test_the_tables_of_options_are_whole(model: type) -> None:
    page = (ROOT / "docs/matrices.md").read_text(encoding="utf-8")
    section = page.partition(f"### {model.__name__}\n")[2].partition("\n#")[0]
    names = re.findall(r"^\| (`.*?) \|", section, re.M)
    listed = [name.strip("` ") for row in names for name in row.split(",")]
    assert listed == [*model.model_fields]


def test_the_tables_of_variants_and_matrices_are_whole() -> None:
    import variants

    page = (ROOT / "docs/matrices.md").read_text(encoding="utf-8")
    rows = " ".join(line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `"))
    for name in (*variants.names("objectives"), *variants.names("architectures")):
        assert f"`{name}`" in rows
    for path in (ROOT / "benchmark/matrices").glob("*.toml"):
        assert f"`{path.stem}`" in rows
    data = (ROOT / "docs/data.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert set(variants.names("datasets")) <= set(re.findall(r"`(\w+)`", data))


@pytest.mark.parametrize(("page", "cells"), [("README.md", 24), ("docs/matrices.md", 36)])
def test_the_matrix_of_a_page_expands(page: str, cells: int, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (block,) = [block for language, block in BLOCK.findall(text) if language == "toml"]
    path = tmp_path / "mine.toml"
    path.write_text(block, encoding="utf-8")
    config, description = files.read(path)
    assert description
    found = expand(config)
    assert len(found) == cells
    assert config.reference in {cell.objective.label for cell in found}


def test_the_tables_of_the_results_page_are_those_of_the_records() -> None:
    """`python -m tests.studies.results_page` writes them."""
    text = results_page.PAGE.read_text(encoding="utf-8")
    assert results_page.filled(text) == text
    blocks = [block[2] for block in results_page.BLOCK.finditer(text)]
    assert blocks == [*results_page.RECORDS, "METRICS"]


def test_the_results_page_has_every_experiment() -> None:
    text = results_page.PAGE.read_text(encoding="utf-8")
    experiments = text.partition("## Experiments")[2].partition("\n## ")[0]
    for file in (ROOT / "results/reference/explain/figures").glob("*.csv"):
        (row,) = re.findall(rf"^\| `{file.stem}` \|.*$", experiments, re.M)
        columns = file.read_text(encoding="utf-8").partition("\n")[0]
        missing = [column for column in columns.split(",") if f"`{column}`" not in row]
        # The row of a table says what its rows are in words
        assert set(missing) <= set(row_words(row)), (file.stem, missing)


def row_words(row: str) -> list[str]:
    """The words of the second column: what a row of the table is."""
    return re.findall(r"\w+", row.split("|")[2])


def test_the_head_of_quick_says_what_its_baseline_has() -> None:
    head = (ROOT / "benchmark/matrices/quick.toml").read_text(encoding="utf-8").split("\n\n")[0]
    words = head.replace("\n# ", " ")
    groups = json.loads((ROOT / "results/baselines/quick.json").read_text())["groups"]
    values = {}
    for group in groups:
        name = (group["objective"], group["dataset"], group["metric"])
        values[name] = list(group["values"].values())

    def covered(objective: str) -> list[float]:
        return values[objective, "gaussians8", "modes_covered_2k"]

    modes = covered("wgan_gp")
    share = median(values["wgan_gp", "gaussians8", "high_quality_2k"])
    counts = f"(all in {modes.count(8)} seeds, none in {modes.count(0)})"
    of_seeds = f"at the median of the {len(modes)} seeds of the committed baseline {counts}"
    assert f"covers {median(modes):g} of the eight modes {of_seeds}" in words
    assert f"{counts}, with {100 * share:.0f} % of its samples" in words
    names = ("nonsaturating", "wgan", "minimax", "lsgan")
    assert [median(covered(name)) for name in names] == [3, 2, 0, 1]
    assert "the non-saturating loss covers 3, WGAN 2, LSGAN 1, minimax 0" in words
    for name in ("wgan_fdgp", "wgan_fdgp[pairs=independent]"):
        assert not any(covered(name))
    assert "the finite-difference forms none in any seed" in words


def test_the_page_on_the_report_has_its_chapters() -> None:
    page = (ROOT / "docs/report.md").read_text(encoding="utf-8")
    sources = (ROOT / "benchmark/report").rglob("*.py")
    text = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    titles = re.findall(r'Chapter\(\s*"\w+",\s*"([^"]+)"', text)
    assert len(titles) > 8
    assert set(titles) == set(re.findall(r"^\| (\w[^|]*\?) \|", page, re.M))
