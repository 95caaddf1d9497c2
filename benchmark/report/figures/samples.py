"""Samples of every objective at equal samples seen, a figure for each place."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmark.analysis.robustness import crossed
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables, joined
from benchmark.drawing.layout import grid, headline
from benchmark.drawing.save import Figure, save, stem
from benchmark.drawing.style import inches, style, wrap
from benchmark.errors import DamagedError
from benchmark.store.files import LARGEST
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.text import described, place_name

STRIP = 16  # images of an objective
COLUMNS = 4  # of scatter plots
CAPTION = (
    "Each objective's last evaluation at or before {} samples seen by the critic, the most that "
    "all of them have reached with this seed; a name says where it is earlier. The first samples, "
    "not picked."
)


def saved_samples(tables: Tables, folder: Path) -> pd.DataFrame:
    """Every evaluation whose samples are on disk: cell, axes, modality, status, samples_seen,
    g_steps, raced_seconds, file."""
    columns = ["cell", "samples_seen", "g_steps", "raced_seconds"]
    rows = joined(tables.evals[columns].drop_duplicates(), tables.cells)
    files = []
    for cell, step in zip(rows["cell"], rows["g_steps"], strict=True):
        samples = ResultSet(folder).cell(cell).samples
        files.append(str(samples / f"{step:06.0f}.npz"))
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


def draw(tables: Tables, folder: Path) -> list[Figure]:
    """A figure per place: samples of every objective at equal samples seen, all of one seed.
    Without the datasets that have robustness figures, which hold all architectures together."""
    rows = saved_samples(tables, folder)
    rows = rows[~rows["dataset"].isin(crossed(tables.cells))]
    return [_place(per_place, folder) for _, per_place in rows.groupby(PLACE, sort=False)]


def _place(rows: pd.DataFrame, folder: Path) -> Figure:
    """The figure of one place. rows: its saved samples."""
    dataset = str(rows["dataset"].iloc[0])
    architecture = str(rows["architecture"].iloc[0])
    # The seed with the most objectives; of several, the one that has reached the most samples.
    ends = rows.groupby(["seed", "objective"])["samples_seen"].max()
    seeds = ends.groupby("seed").agg(["size", "min"])
    seeds = seeds.sort_values(["size", "min"], kind="stable", ascending=False)
    seed = seeds.index[0]
    common = seeds["min"].iloc[0]
    chosen = rows[(rows["seed"] == seed) & (rows["samples_seen"] <= common)]
    chosen = chosen.sort_values("samples_seen", kind="stable")
    chosen = chosen.drop_duplicates("objective", keep="last").set_index("objective")
    objectives = [name for name in rows["objective"].unique() if name in chosen.index]
    chosen = chosen.loc[objectives].rename_axis("objective")
    samples = {}
    labels = {}
    for name, row in chosen.iterrows():
        samples[name] = read_samples(Path(row["file"]))
        is_earlier = row["samples_seen"] < common
        labels[name] = wrap(name) + (f"\nat {row['samples_seen']:,.0f}" if is_earlier else "")
    draw_samples = _strips if rows["modality"].iloc[0] == "images" else _scatters
    figure = draw_samples(samples, labels)
    place = place_name(architecture, dataset)
    title = f"Samples, {place}, after {common:,.0f} samples seen, seed {seed}"
    headline(figure, title)
    data = chosen[["cell", "seed", "samples_seen", "g_steps"]].reset_index()
    caption = CAPTION.format(f"{common:,.0f}")
    saved = Figure(stem("samples", dataset, architecture), title, caption, "where")
    return save(figure, data, folder, saved)


def _strips(samples: dict[Any, np.ndarray], labels: dict[Any, str]) -> Any:
    """A line of images (n, C, H, W) per objective."""
    line = max(0.58, 0.1 + 1.15 * inches(labels.values()))
    size = (9.5, line * len(samples) + 0.4)
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
