"""Save a figure as three files: STEM.png (120 dpi), STEM.svg and STEM.csv, the numbers it shows."""

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.transforms import Bbox
from PIL import Image

from benchmark.store.files import whole_file
from benchmark.store.frames import write_csv
from benchmark.text import file_name

MARGIN = 0.05  # inches around a text for which the canvas grows


class Passage(NamedTuple):
    """Lines of text that a figure shows of an objective, or of real samples."""

    objective: str
    """Empty for real samples."""
    name: str
    note: str
    """Follows the name; empty, or of what other step the lines are."""
    text: str


@dataclass(frozen=True)
class Figure:
    """A figure on disk."""

    stem: str
    """Its files are figures/STEM.png, .svg and .csv."""
    title: str
    """Plain text."""
    caption: str
    """Plain text, whole sentences."""
    section: str = ""
    """The name of the chapter of the report that shows it; empty outside a report."""
    passages: tuple[Passage, ...] = ()
    """What a figure of text shows; a page has it as text, and not as a picture."""


def save(figure: Any, data: pd.DataFrame, folder: Path, saved: Figure, part: str = "") -> Figure:
    """Write a figure and `data`, the numbers it shows, to `folder`/figures, and close it.

    part: the dataset of one of several figures (`layout.Page.part`), added to its stem and title.
    Returns the figure that was saved."""
    if part:
        saved = replace(saved, stem=stem(saved.stem, part), title=f"{saved.title}, {part}")
    path = folder / "figures" / saved.stem
    write_pictures(figure, path)
    write_csv(data, path.with_suffix(".csv"))
    return saved


def write_pictures(figure: Any, path: Path) -> None:
    """Write a figure as PATH.png and PATH.svg, and close it. Within `style.drawing` the same figure
    gives the same bytes."""
    # Laid out once for both files, which is the larger part of the work: with a layout engine in
    # place, savefig would lay it out again.
    figure.canvas.draw()
    with plt.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
    picture = _pixels(figure)
    box = None
    drawn = figure.get_tightbbox()
    if not _holds(figure.bbox_inches, drawn):
        # a text that stands out: the canvas grows
        box = Bbox.union([figure.bbox_inches, drawn.padded(MARGIN)])
        content = BytesIO()
        figure.savefig(content, format="png", dpi="figure", bbox_inches=box)
        picture = Image.open(content).convert("RGB")
    with whole_file(path.with_suffix(".png")) as file:
        _in_palette(picture, figure).save(file, "PNG")
    with whole_file(path.with_suffix(".svg")) as file:
        figure.savefig(file, format="svg", metadata={"Date": None}, bbox_inches=box)
    plt.close(figure)


def _holds(outer: Bbox, inner: Bbox) -> bool:
    """Whether a box lies within another one, to a pixel."""
    slack = 0.01
    is_low = inner.x0 < outer.x0 - slack or inner.y0 < outer.y0 - slack
    return not (is_low or inner.x1 > outer.x1 + slack or inner.y1 > outer.y1 + slack)


def _pixels(figure: Any) -> Image.Image:
    """The pixels of a figure that is drawn."""
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])


def _in_palette(picture: Image.Image, figure: Any) -> Image.Image:
    """The picture of a figure. Without images in it, lines and bars take a palette, which makes the
    file a third as large."""
    if any(ax.images for ax in figure.axes):
        return picture
    picture = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette = np.array(picture.getpalette())
    palette[palette > 250] = 255  # white stays white
    picture.putpalette(palette.tolist())
    return picture


def stem(*names: str) -> str:
    """The name of the files of a figure about these names; different names have different files."""
    return file_name(*names)
