"""How every figure looks and is saved: STEM.png (120 dpi), STEM.svg and STEM.csv (the numbers
drawn) in figures/.

Colours are fixed per objective and safe for colour-blind eyes; a parameterised label keeps its
objective's hue, darker, with another line and marker. All of it comes from the name alone, so a new
variant shifts no colour."""

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb
from PIL import Image

from benchmark.matrix.cell import digest
from benchmark.metrics import metric, sign

matplotlib.use("Agg")

COLOURS = {  # Okabe & Ito 2008; black has no darker shade, only other lines and markers
    **{"minimax": "#E69F00", "nonsaturating": "#0072B2", "lsgan": "#009E73", "hinge": "#000000"},
    **{"wgan": "#CC79A7", "wgan_gp": "#56B4E9", "wgan_fdgp": "#D55E00"},
}
OTHERS = ("#332288", "#882255", "#999933", "#44AA99", "#661100", "#6E6E6E", "#117733")
DASHES = [(0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3))]
MARKERS = "sD^vPX"
VERDICT_LOOKS = {  # colour and hatch: told apart without colour too
    "ok": ("#C9DDF0", ""),
    "diverged": ("#B2182B", ""),
    "exploding": ("#EE7733", "////"),
    "vanishing": ("#DDCC77", "...."),
    "saturated": ("#44AA99", "\\\\\\\\"),
    "collapsed": ("#6A3D9A", "xxxx"),
    "late collapse": ("#C2A5DC", "++++"),
    "stuck": ("#777777", "----"),
    "no verdict": ("#FFFFFF", ""),
}
SECTIONS = ("where", "speed", "stability", "cost", "certainty")
LOOK: Any = {
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
LOOK |= {
    "legend.handlelength": 3.5,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "ganbench",
}
LOOK |= {"hatch.linewidth": 0.6, "figure.dpi": 120, "image.composite_image": False}


@dataclass(frozen=True)
class Figure:
    """A figure on disk: figures/STEM.png, .svg and .csv; title and caption are plain text. section:
    the part of the report it belongs to, one of SECTIONS, or why; empty for a figure of a
    comparison."""

    stem: str
    title: str
    caption: str
    section: str = ""


def style(label: str) -> dict[str, Any]:
    """Colour, line and marker of an objective label, from its name and parameters alone."""
    name, _, params = label.partition("[")
    colour, pick = (
        COLOURS.get(name, OTHERS[int(digest(name), 16) % len(OTHERS)]),
        int(digest(params), 16),
    )
    if not params:
        return {"color": colour, "linestyle": "-", "marker": "o"}
    darker = tuple(0.6 * channel for channel in to_rgb(colour))
    return {
        "color": darker,
        "linestyle": DASHES[pick % len(DASHES)],
        "marker": MARKERS[pick % len(MARKERS)],
    }


def save(figure: Any, data: pd.DataFrame, folder: Path, saved: Figure, of: str = "") -> Figure:
    """Write the figure and the numbers it shows to `folder`/figures, and close it. of: what `pages`
    says it is of."""
    if of:
        saved = replace(saved, stem=stem(saved.stem, of), title=f"{saved.title}, {of}")
    path = folder / "figures" / saved.stem
    figure.canvas.draw()  # lays it out, once for both files: that is the larger part of the work
    with plt.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(
            None
        )  # with an engine in place, savefig would draw all of it twice
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    if not any(
        ax.images for ax in figure.axes
    ):  # lines and bars take a palette: a third of the size
        picture = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        picture.putpalette(
            [255 if value > 250 else value for value in picture.getpalette() or ()]
        )  # white stays white
    picture.save(path.with_suffix(".png"))
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    data.to_csv(path.with_suffix(".csv"), index=False)
    plt.close(figure)
    return saved


def grid(count: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure of `count` axes of width x height inches, in lines of `columns`."""
    lines, columns = -(-count // columns), min(columns, count)
    figure, axes = plt.subplots(
        lines, columns, figsize=(width * columns, height * lines + 0.4), squeeze=False
    )
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure, list(axes.flat[:count])


def heat(ax: Any, worse: pd.DataFrame, texts: pd.DataFrame) -> None:
    """A heatmap from 0, the best and light, upwards, a text in every cell; NaN is grey."""
    options: dict[str, Any] = {"xticklabels": False, "yticklabels": False, "cbar": False}
    sns.heatmap(
        worse,
        annot=texts,
        fmt="",
        annot_kws={"size": 8},
        cmap="crest",
        linewidths=2,
        vmin=0,
        ax=ax,
        **options,
    )
    for i, j in np.argwhere(worse.isna().to_numpy()):
        ax.text(
            j + 0.5, i + 0.5, str(texts.fillna("–").iloc[i, j]), ha="center", va="center", size=8
        )
    ax.set_facecolor("0.88")
    ax.grid(False)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(worse.shape[1]) + 0.5, worse.columns)
    ax.set_yticks(np.arange(worse.shape[0]) + 0.5, [wrap(name) for name in worse.index])


def log_values(values: pd.Series, metrics: pd.Series) -> pd.Series:
    """log10 of each metric's value, negative where higher is better; NaN where there is no
    logarithm."""
    return np.log10(values.where(values > 0)) * metrics.map(sign)


def stem(*names: str) -> str:
    """A file name of names."""
    return "".join(c if c.isalnum() or c in "_=" else "_" for c in "_".join(names))


def described(column: str) -> str:
    """A metric's label and its column."""
    return f"{metric(column).label} ({column})"


def short(value: float) -> str:
    """Three digits, or a whole number from a thousand on."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def wrap(label: str) -> str:
    """A variant's label on several lines: its name, then a line per parameter, none longer than
    about 1.5 inches."""
    lines = re.sub(r",(?=\w+=)", ",\n", label.replace("[", "\n[", 1)).split("\n")
    return plain(
        "\n".join(
            part for line in lines for part in textwrap.wrap(line, 22, break_on_hyphens=False)
        )
    )


def one_line(label: str, longest: int = 26) -> str:
    """A variant's label on one line, or, where it is long, as `wrap` has it."""
    return plain(label) if len(label) <= longest else wrap(label)


def inches(labels: Iterable[str]) -> float:
    """The height of the tallest of the labels, in lines of eight points."""
    return 0.16 * max(label.count("\n") + 1 for label in labels)


def plain(text: str) -> str:
    """A name is no formula."""
    return text.replace("$", r"\$")
