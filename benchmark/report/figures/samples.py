"""Figures of samples: per dataset and architecture, every objective's at equal samples seen."""

import os
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmark.analysis.robustness import crossed
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables, joined
from benchmark.drawing.style import Figure, grid, plain, save, stem, style, wrap


def saved_samples(tables: Tables, folder: Path) -> pd.DataFrame:
    """Every evaluation whose samples are on disk: cell, axes, modality, status, samples_seen,
    g_steps, train_seconds, file."""
    at = ["cell", "samples_seen", "g_steps", "train_seconds"]
    rows = joined(tables.evals[at].drop_duplicates(), tables.cells)
    names = [
        f"{cell}/samples/{step:06.0f}.npz"
        for cell, step in zip(rows["cell"], rows["g_steps"], strict=True)
    ]
    rows = rows.assign(file=[str(folder / "cells" / name) for name in names])
    return rows[rows["file"].map(os.path.exists).astype(bool)]


def sample_grids(tables: Tables, folder: Path) -> list[Figure]:
    """Per dataset and architecture: samples of every objective at equal samples seen, all of one
    seed. Without the datasets that have robustness figures: those hold all architectures
    together."""
    rows = saved_samples(tables, folder)
    rows = rows[~rows["dataset"].isin(crossed(tables.cells))]
    return [
        _samples(of_place, folder, *map(str, place))
        for place, of_place in rows.groupby(PLACE, sort=False)
    ]


def _samples(rows: pd.DataFrame, folder: Path, dataset: str, architecture: str) -> Figure:
    reach = (
        rows.groupby(["seed", "objective"])["samples_seen"]
        .max()
        .groupby("seed")
        .agg(["size", "min"])
    )
    reach = reach.sort_values(["size", "min"], kind="stable", ascending=False)
    seed, common = (
        reach.index[0],
        reach["min"].iloc[0],
    )  # the seed with the most objectives that have reached the most
    chosen = rows[(rows["seed"] == seed) & (rows["samples_seen"] <= common)].sort_values(
        "samples_seen", kind="stable"
    )
    names = rows["objective"].unique()
    chosen = (
        chosen.drop_duplicates("objective", keep="last")
        .set_index("objective")
        .reindex(names)
        .dropna(subset="cell")
    )
    samples = {name: np.load(file)["samples"] for name, file in chosen["file"].items()}
    behind = chosen["samples_seen"][chosen["samples_seen"] < common]
    labels = {
        name: wrap(name) + (f"\nat {behind[name]:,.0f}" if name in behind else "")
        for name in samples
    }
    figure = (_strips if rows["modality"].iloc[0] == "images" else _scatters)(samples, labels)
    title = f"Samples, {architecture} on {dataset}, after {common:,.0f} samples seen, seed {seed}"
    figure.suptitle(plain(title), fontsize=10)
    caption = f"Each objective's last evaluation at or before {common:,.0f} samples seen by the critic, the most "
    caption += "that all of them have reached with this seed; a name says where it is earlier. The first samples, "
    caption += "not picked."
    data = chosen[["cell", "seed", "samples_seen", "g_steps"]].reset_index()
    return save(
        figure,
        data,
        folder,
        Figure(stem("samples", dataset, architecture), title, caption, "where"),
    )


def _strips(samples: dict[Any, Any], labels: dict[Any, str], columns: int = 16) -> Any:
    figure, axes = plt.subplots(
        len(samples), 1, figsize=(9.5, 0.58 * len(samples) + 0.4), squeeze=False
    )
    for ax, (name, images) in zip(axes[:, 0], samples.items(), strict=True):
        framed = np.pad(images[:columns], ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=255)
        strip = np.concatenate(list(framed), axis=-1).transpose(1, 2, 0)  # (H, columns * W, C)
        ax.imshow(
            strip.repeat(3, axis=-1) if strip.shape[-1] == 1 else strip, interpolation="nearest"
        )
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(labels[name], rotation=0, ha="right", va="center")
        ax.set_frame_on(False)
    return figure


def _scatters(samples: dict[Any, Any], labels: dict[Any, str], columns: int = 4) -> Any:
    figure, axes = grid(len(samples), columns, 2.3, 2.5)
    finite = [points[np.isfinite(points).all(axis=1)] for points in samples.values()]
    reach = 1.1 * np.median(
        [np.quantile(np.abs(points), 0.99) for points in finite if len(points)] or [1.0]
    )
    for ax, name, points in zip(axes, samples, finite, strict=True):
        ax.scatter(
            *points.T, s=2, alpha=0.5, linewidths=0, color=style(name)["color"], rasterized=True
        )
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
        ax.set_title(labels[name], fontsize=8)
    return figure
