"""The contract of a dataset, its provenance, and the readers that several dataset files share.

A file defines a dataclass `Dataset(Base)`. Images are uint8 (n, C, H, W) tensors and stand for [−1, 1]; points are
float32 (n, 2). Fields with `compare=False` (such as `root`) say where the data lies and are no part of its identity.
Loaders raise ValueError for bad content and OSError for what cannot be had.
"""

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Modes:
    """A mixture's known modes: centres (k, dim), one standard deviation, weights (k,) that sum to 1."""

    centres: Tensor
    sigma: float
    weights: Tensor


@dataclass(frozen=True)
class Split:
    """Samples (n, *shape) and, where there are any, their class labels (n,) and the names of the classes."""

    samples: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Base:
    """What every dataset has: a shape, a modality, two splits and where they came from."""

    shape: ClassVar[tuple[int, ...]]
    modality: ClassVar[Literal["points", "images"]]
    source: ClassVar[str]
    licence: ClassVar[str]
    split: ClassVar[str]  # how train and held-out samples were told apart
    note: ClassVar[str] = ""

    def load(self) -> tuple[Split, Split]:
        """The train and the held-out split."""
        raise NotImplementedError

    @cached_property
    def splits(self) -> tuple[Split, Split]:
        return self.load()

    def train(self) -> Tensor:
        """Training samples (n, *shape)."""
        return self.splits[0].samples

    def holdout(self) -> Tensor:
        """Held-out samples (n, *shape), never trained on."""
        return self.splits[1].samples

    def modes(self) -> Modes | None:
        """The modes, where they are known."""
        return None


def data_folder(root: str | None, name: str) -> Path:
    """Where a dataset is looked for and downloaded to: `root`, else $GANBENCH_DATA/name, else the user's cache."""
    if root:
        if not Path(root).expanduser().exists():
            raise OSError(f"root {root!r} does not exist")
        return Path(root).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "ganbench" / "datasets"
    return Path(os.environ.get("GANBENCH_DATA", cache)) / name


def load_idx_pair(folders: list[Path]) -> tuple[Split, Split] | None:
    """The train and test split from MNIST's four IDX files (plain or .gz) in the first folder that holds any of them;
    None where none does. Raises ValueError for a missing, truncated or corrupt file, naming it."""
    for folder in folders:
        if any(folder.glob("*-idx?-ubyte*")):
            read = {
                part: Split(_read_idx(folder, f"{part}-images-idx3"), _read_idx(folder, f"{part}-labels-idx1"))
                for part in ("train", "t10k")
            }
            for part, split in read.items():
                shape, labels = tuple(split.samples.shape), split.labels
                if labels is None or shape[0] != len(labels):
                    raise ValueError(f"{folder}: {part} has {shape[0]} images but another number of labels")
                if shape[0] == 0 or shape[1:] != (28, 28):
                    raise ValueError(f"{folder}: {part} holds images of shape {shape}, not (n, 28, 28)")
            return tuple(Split(s.samples.unsqueeze(1), s.labels) for s in read.values())  # type: ignore[return-value]
    return None


def _read_idx(folder: Path, stem: str) -> Tensor:
    """One IDX file as a tensor (LeCun's format: 0, 0, type 8 = uint8, number of dimensions, sizes, bytes)."""
    paths = [folder / f"{stem}-ubyte.gz", folder / f"{stem}-ubyte"]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        raise ValueError(f"{folder} has no {stem}-ubyte or {stem}-ubyte.gz")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is truncated or corrupt: {error}") from error
    dimensions = int(stem[-1])
    if content[:4] != bytes([0, 0, 8, dimensions]):
        raise ValueError(f"{path} is not an IDX file of unsigned bytes in {dimensions} dimensions")
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise ValueError(f"{path} is truncated: {len(content)} bytes, a header has {header}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise ValueError(f"{path} is truncated or corrupt: {len(content)} bytes, {expected} expected")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy())


def load_mnist_like(name: str, torchvision_class: str, root: str | None) -> tuple[Split, Split]:
    """IDX files in `root`, in the usual system folders, or downloaded through torchvision."""
    folder = data_folder(root, name)
    raw = folder / torchvision_class / "raw"
    system = [Path("/usr/share/datasets") / name.replace("_", "-"), Path("/usr/share/datasets") / name]
    found = load_idx_pair([folder, raw] if root else [folder, raw, *system])
    if found is None:
        download(torchvision_class, folder)
        found = load_idx_pair([raw])
    if found is None:
        raise OSError(f"torchvision downloaded {torchvision_class} but left no IDX files in {raw}")
    return found


def download(torchvision_class: str, folder: Path) -> None:
    """Download through torchvision, unless $GANBENCH_OFFLINE is set. Raises OSError that says what to do where that
    fails."""
    if os.environ.get("GANBENCH_OFFLINE"):
        raise OSError(f"{torchvision_class} is not in {folder}, and GANBENCH_OFFLINE forbids to download it")
    import torchvision

    try:
        for train in (True, False):
            getattr(torchvision.datasets, torchvision_class)(folder, train=train, download=True)
    except Exception as error:  # torchvision raises RuntimeError, URLError, HTTPError… for a failed download
        raise OSError(
            f"{torchvision_class} is not in {folder} and could not be downloaded ({error}); "
            "put the files there, or give their folder as the dataset's root"
        ) from error
