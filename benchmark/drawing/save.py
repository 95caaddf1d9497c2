"""Save a figure as three files: STEM.png (120 dpi), STEM.svg and STEM.csv, the numbers it shows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from benchmark.store.frames import write_csv
from benchmark.text import file_name


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


def save(figure: Any, data: pd.DataFrame, folder: Path, saved: Figure, part: str = "") -> Figure:
    """Write a figure and `data`, the numbers it shows, to `folder`/figures, and close it.

    part: the dataset of one of several figures (`layout.Page.part`), added to its stem and title.
    Returns the figure that was saved."""
    if part:
        saved = replace(saved, stem=stem(saved.stem, part), title=f"{saved.title}, {part}")
    path = folder / "figures" / saved.stem
    # Laid out once for both files, which is the larger part of the work: with a layout engine in
    # place, savefig would lay it out again.
    figure.canvas.draw()
    with plt.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
    _picture(figure).save(path.with_suffix(".png"))
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    write_csv(data, path.with_suffix(".csv"))
    plt.close(figure)
    return saved


def _picture(figure: Any) -> Image.Image:
    """The pixels of a figure that is drawn. Without images in it, lines and bars take a palette,
    which makes the file a third as large."""
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
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
