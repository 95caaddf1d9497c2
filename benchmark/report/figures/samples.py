"""Samples of every objective at equal samples seen, a figure for each place."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmark.analysis.robustness import crossed
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables, joined
from benchmark.drawing.layout import grid, headline
from benchmark.drawing.save import Figure, Passage, save, stem
from benchmark.drawing.style import inches, plain, style, wrap
from benchmark.errors import DamagedError
from benchmark.store.files import LARGEST
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.text import described, place_name, visible

STRIP = 16  # images, or lines of text, of an objective
COLUMNS = 4  # of scatter plots
WIDTH = 9.5  # inches of a figure
CHARACTER = 0.06  # inches of a character of text
LONGEST = 120  # characters of a line that a picture shows
CAPTION = (
    "Each objective's last evaluation at or before {} samples seen by the critic, the most that "
    "all of them have reached with this seed; a name says where it is earlier. The first samples, "
    "not picked."
)
TEXT_CAPTION = " A line is a sample; · is a blank."


def saved_samples(tables: Tables, folder: Path) -> pd.DataFrame:
    """Every evaluation whose samples are on disk: cell, axes, modality, status, samples_seen,
    g_steps, raced_seconds, file: that of lines where samples are text."""
    columns = ["cell", "samples_seen", "g_steps", "raced_seconds"]
    rows = joined(tables.evals[columns].drop_duplicates(), tables.cells)
    files = []
    for row in rows[["cell", "g_steps", "modality"]].to_dict("records"):
        suffix = ".txt" if row["modality"] == "text" else ".npz"
        samples = ResultSet(folder).cell(row["cell"]).samples
        files.append(str(samples / f"{row['g_steps']:06.0f}{suffix}"))
    rows = rows.assign(file=files)
    return rows[rows["file"].map(os.path.exists).astype(bool)]


def read_samples(file: Path) -> np.ndarray:
    """Saved samples: images (n, C, H, W) or points (n, 2). Raises UserError for a damaged file."""
    files = CellFolder(file.parent.parent)
    content = files.content(file, files.status)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"{size:,} bytes of samples")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            samples = arrays["samples"]
    # numpy and zipfile raise many kinds of error
    except Exception as error:
        raise DamagedError(f"{file} is damaged: {described(error)}") from error
    is_images = samples.ndim == 4 and samples.dtype == np.uint8 and samples.shape[1] in (1, 3)
    is_points = samples.ndim == 2 and samples.dtype.kind == "f" and samples.shape[1] == 2
    if not len(samples) or not (is_images or is_points):
        raise DamagedError(f"{file} is damaged: samples {samples.dtype} {samples.shape}")
    return samples


def read_lines(file: Path) -> list[str]:
    """Saved samples of text, a line each. Raises UserError for a damaged file."""
    files = CellFolder(file.parent.parent)
    content = files.content(file, files.status)
    try:
        *lines, rest = content.decode().split("\n")
        if rest or not lines:
            raise ValueError("no whole lines")
    except ValueError as error:
        raise DamagedError(f"{file} is damaged: {described(error)}") from error
    return lines


def draw(tables: Tables, folder: Path) -> list[Figure]:
    """A figure per place: samples of every objective at equal samples seen, all of one seed.
    Without the datasets that have robustness figures, which hold all architectures together."""
    rows = saved_samples(tables, folder)
    rows = rows[~rows["dataset"].isin(crossed(tables.cells))]
    return [_place(per_place, folder) for _, per_place in rows.groupby(PLACE, sort=False)]


def _place(rows: pd.DataFrame, folder: Path) -> Figure:
    """The figure of one place. rows: its saved samples."""
    chosen, common = _at_equal_samples(rows)
    first = rows.iloc[0]
    seed = chosen["seed"].iloc[0]
    is_earlier = chosen["samples_seen"] < common
    notes = chosen["samples_seen"].map("at {:,.0f}".format).where(is_earlier, "")
    labels: dict[Any, str] = {}
    for name, note in notes.items():
        labels[name] = f"{wrap(str(name))}\n{note}".rstrip()
    files: dict[Any, Path] = {name: Path(file) for name, file in chosen["file"].items()}
    place = place_name(first["architecture"], first["dataset"])
    title = f"Samples, {place}, after {common:,.0f} samples seen, seed {seed}"
    caption = CAPTION.format(f"{common:,.0f}")
    saved = Figure(
        stem("samples", first["dataset"], first["architecture"]), title, caption, "where"
    )
    data = chosen[["cell", "seed", "samples_seen", "g_steps"]].reset_index()
    if first["modality"] == "text":
        texts = {name: read_lines(file)[:STRIP] for name, file in files.items()}
        figure = _texts(texts, labels)
        data = data.assign(text=data["objective"].map(texts)).explode("text")
        saved = replace(saved, caption=caption + TEXT_CAPTION, passages=_passages(texts, notes))
    else:
        samples = {name: read_samples(file) for name, file in files.items()}
        draw_place = _strips if first["modality"] == "images" else _scatters
        figure = draw_place(samples, labels)
    headline(figure, title)
    return save(figure, data, folder, saved)


def _at_equal_samples(rows: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """By objective, its last saved samples at or before the most that all objectives have seen, and
    that number; all of one seed: the one with the most objectives, and of several the one that has
    reached the most samples."""
    ends = rows.groupby(["seed", "objective"])["samples_seen"].max()
    seeds = ends.groupby("seed").agg(["size", "min"])
    seeds = seeds.sort_values(["size", "min"], kind="stable", ascending=False)
    common = seeds["min"].iloc[0]
    chosen = rows[(rows["seed"] == seeds.index[0]) & (rows["samples_seen"] <= common)]
    chosen = chosen.sort_values("samples_seen", kind="stable")
    chosen = chosen.drop_duplicates("objective", keep="last").set_index("objective")
    objectives = [name for name in rows["objective"].unique() if name in chosen.index]
    return chosen.loc[objectives].rename_axis("objective"), common


def _strips(samples: dict[Any, np.ndarray], labels: dict[Any, str]) -> Any:
    """A line of images (n, C, H, W) per objective."""
    line = max(0.58, 0.1 + 1.15 * inches(labels.values()))
    size = (WIDTH, line * len(samples) + 0.4)
    figure, axes = plt.subplots(len(samples), 1, figsize=size, squeeze=False)
    for ax, (name, images) in zip(axes[:, 0], samples.items(), strict=True):
        framed = np.pad(images[:STRIP], ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=255)
        strip = np.concatenate(list(framed), axis=-1).transpose(1, 2, 0)  # (H, STRIP * W, C)
        if strip.shape[-1] == 1:
            strip = strip.repeat(3, axis=-1)
        ax.imshow(strip, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(labels[name], rotation=0, ha="right", va="center")
        ax.set_frame_on(False)
    return figure


def _scatters(samples: dict[Any, np.ndarray], labels: dict[Any, str]) -> Any:
    """A scatter plot of points (n, 2) per objective, all on one scale."""
    finite = {}
    ends = []
    for name, points in samples.items():
        finite[name] = points[np.isfinite(points).all(axis=1)]
        if len(finite[name]):
            ends.append(np.quantile(np.abs(finite[name]), 0.99))
    reach = 1.1 * np.median(ends or [1.0])
    figure, axes = grid(len(samples), COLUMNS, 2.3, 2.5)
    for ax, (name, points) in zip(axes, finite.items(), strict=True):
        look = {"s": 2, "alpha": 0.5, "linewidths": 0, "rasterized": True}
        ax.scatter(*points.T, **look, color=style(name)["color"])
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
        ax.set_title(labels[name], fontsize=8)
    return figure


def _texts(samples: dict[Any, list[str]], labels: dict[Any, str]) -> Any:
    """A block of lines per objective."""
    longest = max(len(line) for lines in samples.values() for line in lines)
    width = 0.3 + CHARACTER * min(longest, LONGEST)
    columns = max(1, min(COLUMNS, int(WIDTH / width)))
    height = 0.15 + 0.122 * STRIP + inches(labels.values())
    figure, axes = grid(len(samples), columns, max(width, 1.9), height)
    for ax, (name, lines) in zip(axes, samples.items(), strict=True):
        text = "\n".join(visible(line)[:LONGEST] for line in lines)
        look = {"family": "monospace", "size": 7, "va": "top", "linespacing": 1.25}
        ax.text(0, 1, plain(text), transform=ax.transAxes, **look)
        ax.set_title(labels[name], loc="left", fontsize=8, color=style(name)["color"])
        ax.set_axis_off()
    return figure


def _passages(samples: dict[Any, list[str]], notes: pd.Series) -> tuple[Passage, ...]:
    """The lines of every objective, for pages."""
    passages = []
    for name, lines in samples.items():
        note = f", {notes[name]} samples seen" if notes[name] else ""
        passages.append(Passage(str(name), note, "\n".join(map(visible, lines))))
    return tuple(passages)
