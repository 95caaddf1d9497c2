"""Names made to harm, as matrices, labels, descriptions and folders: every verb shows them as they
are, and nothing is run, read or written outside of the result set."""

import csv
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.store.files import read_json, write_json
from tests.conftest import Ended
from tests.helpers import synthetic

pytestmark = pytest.mark.slow
Ganbench = Callable[..., Ended]
TAGS = [
    "<script>alert(1)</script>",
    "<img%20src=x%20onerror=alert(1)>",
    "=1+1",
    "@SUM(A1)",
    "$x^2$\\frac{1}",
    "a|b_c*d`e`~~f~~",
    "{}%s%%{{7*7}}",
    "../../etc/passwd",
    "é" * 300,
    "A",
    "a",
    "É",
    "E\u0301",
    "\"&quot;'",
    "🦆",
]
MATRICES = ["=1+1", "<b>$a$ & 'q' | %s;`id`", "-rf", "x" * 200]


def hostile(folder: Path) -> Path:
    """A result set whose every text is made to harm."""
    objectives = ["lsgan", *(f"wgan[tag={tag}]" for tag in TAGS)]
    places = [("gaussians8", "mlp"), ("digits", "dcgan")]
    synthetic.write(
        folder, objectives=objectives, groups=places, seeds=[0, 1], reference=objectives[3]
    )
    matrix = read_json(folder / "matrix.json") | {"description": "=cmd <script>alert(2)</script>"}
    dataset = f"digits[tag={'d' * 240}$<i>|]"
    for entry in matrix["cells"]:
        if entry["dataset"] == "digits":
            entry["dataset"] = dataset
    write_json(folder / "matrix.json", matrix)
    protocols = read_json(folder / "protocols.json")
    write_json(folder / "protocols.json", protocols | {dataset: protocols["digits"]})
    for status in folder.glob("cells/*/status.json"):
        synthetic.edit(status, reason="=HYPERLINK(1) <script>alert(3)</script>")
    return folder


def files_in(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", MATRICES)
def test_every_verb_shows_hostile_names_as_they_are(
    name: str, tmp_path: Path, ganbench: Ganbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "r"
    folder = hostile(results / name)
    before = files_in(tmp_path)
    options = ("--matrix", name, "--results", results)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for verb in ("tables", "report", "status"):
            assert ganbench(verb, *options).code == 0
        sides = ("lsgan", f"wgan[tag={TAGS[0]}]", "wgan[tag==1+1]")
        compared = ganbench("compare", *sides, *options, "--output", folder / "compared")
        assert compared.code == 0
        assert ganbench("export", "tensorboard", *options).code == 0
    assert ganbench("check", *options).code == 2
    made = files_in(tmp_path) - before
    assert {path.parts[:2] for path in made} == {("r", name)}
    assert max(len(path.name.encode()) for path in made) <= 200

    for page in [*folder.glob("report/*"), *folder.glob("compared/*.*ml"), *folder.glob("*/*.md")]:
        assert "<script>alert" not in page.read_text(encoding="utf-8")
        assert "<img%20" not in page.read_text(encoding="utf-8")
    for table in folder.rglob("*.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        texts = [cell for cell in cells if not _is_number(cell)]
        assert not [text for text in texts if text.startswith(tuple("=+-@\t\r"))]
    sheets = {path.stem for path in folder.glob("figures/samples_*.png")}
    assert len(sheets) == 2


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_labels_that_differ_in_case_or_unicode_form_have_files_of_their_own(
    tmp_path: Path, ganbench: Ganbench
) -> None:
    datasets = [f"gaussians8[tag={tag}]" for tag in ("A", "a", "É", "E\u0301", "a.b", "a_b", "a b")]
    folder = synthetic.write(
        tmp_path / "set", objectives=["lsgan"], groups=[("gaussians8", "mlp")], seeds=range(1)
    )
    matrix = read_json(folder / "matrix.json")
    (entry,) = matrix["cells"]
    source = folder / "cells" / entry["key"]
    matrix["cells"] = []
    for number, dataset in enumerate(datasets):
        key = f"{entry['key']}{number}"
        copy = source.with_name(key)
        copy.mkdir()
        for file in source.rglob("*"):
            target = copy / file.relative_to(source)
            if file.is_dir():
                target.mkdir()
            else:
                target.write_bytes(file.read_bytes().replace(entry["key"].encode(), key.encode()))
        matrix["cells"].append(entry | {"key": key, "dataset": dataset})
    write_json(folder / "matrix.json", matrix)
    protocols = read_json(folder / "protocols.json")
    write_json(folder / "protocols.json", dict.fromkeys(datasets, protocols["gaussians8"]))
    assert ganbench("plots", "--matrix", "set", "--results", tmp_path).code == 0
    names = {path.name for path in folder.glob("figures/samples_*.png")}
    assert len({name.casefold() for name in names}) == len(datasets)
    assert json.loads((folder / "matrix.json").read_text())["cells"][0]["dataset"] == datasets[0]
