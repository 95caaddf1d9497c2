"""The samples and the generator that a cell leaves behind."""

import io
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.store.files import check_committed, open_plain, write_bytes
from benchmark.store.layout import CellFolder
from benchmark.store.schema import Execution
from benchmark.text import one_line
from benchmark.train.build import make_networks
from benchmark.train.snapshot import Counters, Progress, Snapshot

SHEET_SIDE = 8  # a sheet shows SHEET_SIDE × SHEET_SIDE images
NUM_SAVED = {"images": SHEET_SIDE**2, "text": 64, "points": 1000}
REASON_LENGTH = 300  # characters of torch's error that the user sees


def save_samples(files: CellFolder, snapshot: Snapshot, dataset: Any) -> None:
    """Save NUM_SAVED samples as npz; images as a PNG sheet too, text as lines too."""
    drawn = snapshot.sample(NUM_SAVED[dataset.modality]).cpu()
    samples = drawn.numpy()
    stem = f"{snapshot.g_steps:06d}"
    write_bytes(files.samples / f"{stem}.npz", _as_npz(samples))
    if dataset.modality == "images":
        buffer = io.BytesIO()
        Image.fromarray(_sheet(samples)).save(buffer, "PNG")
        write_bytes(files.samples / f"{stem}.png", buffer.getvalue())
    if dataset.modality == "text":
        write_bytes(files.samples / f"{stem}.txt", as_lines(dataset.decode(drawn)))


def save_real(path: Path, dataset: Any) -> Path:
    """Save NUM_SAVED held-out samples, the same ones at every call: texts as lines, others as npz.
    path: without a suffix. Returns the path with its suffix."""
    held = dataset.splits[1].samples
    # Neighbours may be alike: windows of one text, or images of one class
    order = torch.randperm(len(held), generator=torch.Generator().manual_seed(0))
    samples = held[order[: NUM_SAVED[dataset.modality]]]
    if dataset.modality == "text":
        file = path.with_name(f"{path.name}.txt")
        write_bytes(file, as_lines(dataset.decode(samples)))
    else:
        file = path.with_name(f"{path.name}.npz")
        write_bytes(file, _as_npz(samples.numpy()))
    return file


def _as_npz(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, samples=samples)
    return buffer.getvalue()


def as_lines(texts: list[str]) -> bytes:
    """Texts as the content of a file: UTF-8, a line each."""
    return "".join(f"{text}\n" for text in texts).encode()


def _sheet(images: np.ndarray) -> np.ndarray:
    """Images (SHEET_SIDE², C, H, W) as one picture (SHEET_SIDE · H, SHEET_SIDE · W[, C])."""
    _, channels, height, width = images.shape
    grid = images.reshape(SHEET_SIDE, SHEET_SIDE, channels, height, width)
    rows = grid.transpose(0, 3, 1, 4, 2)
    return rows.reshape(SHEET_SIDE * height, SHEET_SIDE * width, channels).squeeze()


def save_generator(files: CellFolder, snapshot: Snapshot) -> None:
    """Save the weights of the generator that samples: for more samples than were measured."""
    # The clone holds the weights of this cell alone, not those of its stack
    weights = {name: value.cpu().clone() for name, value in snapshot.G.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    write_bytes(files.generator, buffer.getvalue())


def load_snapshot(cell: Cell, files: CellFolder, device: str) -> Snapshot:
    """The end of a training, from the weights of its generator. It can sample and no more: its
    critic is untrained. Raises UserError for a file that is not there, that is damaged or whose
    weights do not fit."""
    try:
        with open(files.generator, "rb", opener=open_plain) as file:
            content = file.read()
        G, D = (network.to(device) for network in make_networks(cell))
        with warnings.catch_warnings(action="ignore"):
            weights = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        G.load_state_dict(weights)
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise ValueError("its weights are not finite")
        # Last, because torch says more of a file that it cannot read
        check_committed(
            files.generator, content, files.committed_file(files.generator, files.status)
        )
    except UserError:
        raise
    # the file may have any content, for which torch raises many kinds of error
    except Exception as error:
        reason = one_line(error)[:REASON_LENGTH]
        if isinstance(error, UnpicklingError):
            reason = "not weights alone"  # torch's message advises to load the file unsafely
        kind = type(error).__name__
        raise UserError(f"{files.generator} cannot be read: {kind}: {reason}") from error
    return Snapshot(cell, G, D, Progress(share=1.0), Counters(), Execution())
