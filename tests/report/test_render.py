"""How figures get into a page: drawn by several processes, as data URIs within a budget."""

import base64
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from benchmark.drawing import parallel
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import drawing
from benchmark.errors import DamagedError
from benchmark.report import render


def draw(folder: Path, name: str) -> list[Figure]:
    """A figure with a title of `name`."""
    figure, ax = plt.subplots(figsize=(2, 2))
    ax.plot([0, 1 / 3], [1, 2])
    ax.set_title(name)
    data = pd.DataFrame({"process": [os.getpid()]})
    return [save(figure, data, folder, Figure(name, name, "A line."))]


def parts(root: ElementTree.Element) -> list[str]:
    """What an SVG file draws."""
    return [element.tag for element in root.iter() if "svg}" in element.tag]


def test_a_page_shows_all_that_an_svg_file_draws(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    with drawing():
        draw(tmp_path, "50 % of <a> & \"b\" 'c' #d")
    (file,) = (tmp_path / "figures").glob("*.svg")
    markup = str(render.image(tmp_path / "figures", file.stem))
    uri, width = markup.removeprefix('src="').removesuffix('"').split('" width="')
    # the canvas has grown by the title
    assert 230 <= int(width) < 260
    assert not {'"', "<", ">", "&", "#", "\n"} & set(uri)
    shown = ElementTree.fromstring(unquote(uri.removeprefix("data:image/svg+xml,")))
    whole = ElementTree.fromstring(file.read_bytes())
    assert [part for part in parts(whole) if not part.endswith("metadata")] == parts(shown)
    # A hundredth of a point is not seen
    paths = [element.get("d", "") for element in shown.iter() if element.tag.endswith("}path")]
    assert len(max(paths, key=len)) > 100
    assert not re.search(r"[1-9]\d*\.\d{3}", " ".join(paths))
    assert len(uri) < 0.8 * len(base64.b64encode(file.read_bytes()))


def test_the_svg_files_of_a_page_have_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "MOST_SVG", 100)
    assert render.largest_svg([50, 20, 30]) == render.LARGEST_SVG
    # 20 and 30 take 50, and both of 60 bytes become pictures
    assert render.largest_svg([60, 20, 60, 30]) == 59
    for suffix in ("svg", "png"):
        (tmp_path / f"x.{suffix}").write_bytes(b"x" * 60)
    assert "image/svg" in render.image(tmp_path, "x", 60)
    assert "image/png" in render.image(tmp_path, "x", 59)


def test_processes_draw_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "available_cores", lambda: 2)
    (tmp_path / "figures").mkdir()
    names = ["one", "two", "three", "four"]
    with drawing():
        figures = parallel.in_parallel([lambda name=name: draw(tmp_path, name) for name in names])
    assert [figure.stem for figure in figures] == names
    tables = [pd.read_csv(tmp_path / f"figures/{name}.csv") for name in names]
    assert os.getpid() not in {table["process"].item() for table in tables}


def test_a_fault_in_a_process_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Sequence[Figure]:
        raise DamagedError("a file is damaged")

    monkeypatch.setattr(parallel, "available_cores", lambda: 2)
    with pytest.raises(DamagedError, match="a file is damaged"):
        parallel.in_parallel([fail, fail])
