"""The samples that a result set has kept: which of them are compared, and how they are read.

Any file may be damaged or truncated; none is trusted."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.published import joined
from benchmark.analysis.tables import Tables
from benchmark.errors import DamagedError
from benchmark.store.files import LARGEST, check_committed, read_bytes
from benchmark.store.layout import REAL, CellFolder, ResultSet
from benchmark.store.schema import CommittedFile
from benchmark.text import Record, described

Samples = np.ndarray | list[str]
"""Images (n, C, H, W), points (n, 2), or lines of text."""


def saved_samples(tables: Tables, folder: Path) -> pd.DataFrame:
    """Every evaluation whose samples are on disk: cell, axes, modality, status, samples_seen,
    g_steps, forwards, raced_seconds, file: that of lines where samples are text."""
    columns = ["cell", "samples_seen", "g_steps", "forwards", "raced_seconds"]
    rows = joined(tables.evals[columns].drop_duplicates(), tables.cells)
    files = []
    for row in rows[["cell", "g_steps", "modality"]].to_dict("records"):
        suffix = ".txt" if row["modality"] == "text" else ".npz"
        samples = ResultSet(folder).cell(row["cell"]).samples
        files.append(str(samples / f"{row['g_steps']:06.0f}{suffix}"))
    rows = rows.assign(file=files)
    return rows[rows["file"].map(os.path.exists).astype(bool)]


def read_samples(file: Path) -> Samples:
    """Saved samples of a cell. Raises UserError for a damaged file."""
    files = CellFolder(file.parent.parent)
    return _parsed(file, files.content(file, files.status))


def real_samples(tables: Tables, folder: Path, dataset: str) -> Samples | None:
    """The real samples that the result set has kept of a dataset; None for none. Raises UserError
    for a damaged file."""
    protocol = tables.protocols.get(dataset)
    kept: dict[str, CommittedFile] = protocol.real if protocol else {}
    for name, committed in kept.items():
        file = folder / REAL / Path(name).name
        content = read_bytes(file)
        if content is not None:
            check_committed(file, content, committed)
            return _parsed(file, content)
    return None


def _parsed(file: Path, content: bytes) -> Samples:
    """The samples that a file holds. Raises DamagedError."""
    try:
        if file.suffix == ".txt":
            *lines, rest = content.decode().split("\n")
            if rest or not lines:
                raise ValueError("no whole lines")
            return lines
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"{size:,} bytes of samples")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            samples: np.ndarray = arrays["samples"]
    # numpy and zipfile raise many kinds of error
    except Exception as error:
        raise DamagedError(f"{file} is damaged: {described(error)}") from error
    is_images = samples.ndim == 4 and samples.dtype == np.uint8 and samples.shape[1] in (1, 3)
    is_points = samples.ndim == 2 and samples.dtype.kind == "f" and samples.shape[1] == 2
    if not len(samples) or not (is_images or is_points):
        raise DamagedError(f"{file} is damaged: samples {samples.dtype} {samples.shape}")
    return samples


def first_seed(rows: pd.DataFrame) -> Any:
    """The first of the seeds with samples of the most cells."""
    return rows.groupby("seed", sort=False)["cell"].nunique().idxmax()


def equal_steps(rows: pd.DataFrame) -> float:
    """The most generator steps that all finished runs have saved samples of; where they share none,
    those of the run that ended first."""
    per_run = finished(rows, "dataset").groupby("cell")["g_steps"]
    shared = set.intersection(*per_run.agg(set))
    return max(shared, default=0) or per_run.max().min()


def finished(rows: pd.DataFrame, axis: str) -> pd.DataFrame:
    """The samples of the runs that are done; of all runs with a label of `axis` where none is."""
    done = rows["status"] == "done"
    return rows[done | ~done.groupby(rows[axis]).transform("any")]


def panes(cells: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, with the last of its samples among `rows` and its mark."""
    ordered = rows.sort_values("g_steps", kind="stable")
    last = ordered.drop_duplicates("cell", keep="last").set_index("cell")
    names = ["key", "architecture", "objective", "dataset", "seed", "status", "onset", "verdict"]
    costs = ["g_steps", "samples_seen", "forwards", "raced_seconds", "file"]
    shown = cells[names].join(last[costs], on="key")
    return shown.assign(mark=[_mark(pane) for pane in shown.to_dict("records")])


def _mark(pane: Record) -> str:
    """What a pane says of its run: nothing where the run is done and ok."""
    if pane["status"] == "diverged":
        return f"diverged at step {pane['onset']:,.0f}"
    if pane["status"] != "done":
        return str(pane["status"])
    if pd.isna(pane["verdict"]) or pane["verdict"] == "ok":
        return ""
    return str(pane["verdict"])


def steps_text(steps: float) -> str:
    """`1,000 steps`."""
    return f"{steps:,.0f} steps"
