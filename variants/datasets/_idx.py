"""MNIST and datasets in the same form: reads IDX files, and says where they are looked for."""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
import torch
from torch import Tensor

from variants.datasets import ImageDataset, Split, data_folder, download

CLASSES = 10
MAX_BYTES = 2**30  # of one file, unpacked: MNIST has 47 million


@dataclass(frozen=True)
class MnistLike(ImageDataset):
    """60,000 and 10,000 grey images, 28×28, of ten classes, in MNIST's four IDX files."""

    n_train: int = 0
    """Only the first so many training images, for a critic to learn them by heart; 0: all."""

    root: str | None = field(default=None, compare=False)
    """Folder of the four files."""

    shape = (1, 28, 28)
    name: ClassVar[str]
    torchvision_class: ClassVar[str]

    def __post_init__(self) -> None:
        if self.n_train < 0:
            raise ValueError(f"n_train must not be negative, not {self.n_train}")

    @property
    def split(self) -> str:
        published = "the published one: 60,000 for training, 10,000 held out"
        if self.n_train:
            return f"{published}; of the former the first {self.n_train:,}"
        return published

    @cached_property
    def _all(self) -> tuple[Split, Split]:
        return load_mnist_like(self.name, self.torchvision_class, self.root)

    def classified(self) -> tuple[Split, Split]:
        return self._all

    def load(self) -> tuple[Split, Split]:
        train, held = self._all
        n = self.n_train
        if n > len(train.samples):
            raise ValueError(f"n_train is {n:,}, and there are {len(train.samples):,} images")
        if n and train.labels is not None:
            train = Split(train.samples[:n], train.labels[:n])
        return train, held


def load_mnist_like(name: str, torchvision_class: str, root: str | None) -> tuple[Split, Split]:
    """The splits from IDX files in `root`, in the usual system folders, or downloaded through
    torchvision. Raises OSError for files that cannot be had, ValueError for damaged ones."""
    folder = data_folder(root, name)
    raw = folder / torchvision_class / "raw"
    system = [
        Path("/usr/share/datasets") / name.replace("_", "-"),
        Path("/usr/share/datasets") / name,
    ]
    splits = load_idx_pair([folder, raw] if root else [folder, raw, *system])
    if splits is None:
        download(torchvision_class, folder)
        splits = load_idx_pair([raw])
    if splits is None:
        raise OSError(f"torchvision downloaded {torchvision_class} but left no IDX files in {raw}")
    return splits


def load_idx_pair(folders: list[Path]) -> tuple[Split, Split] | None:
    """The train and test split from MNIST's four IDX files (plain or .gz) in the first folder that
    holds any of them; None where none does. Raises ValueError for a missing, truncated or corrupt
    file, naming it."""
    for folder in folders:
        if any(folder.glob("*-idx?-ubyte*")):
            return _read_part(folder, "train"), _read_part(folder, "t10k")
    return None


def _read_part(folder: Path, part: str) -> Split:
    """The images (n, 1, 28, 28) and labels of "train" or "t10k"."""
    images = _read_idx(folder, f"{part}-images-idx3")
    labels = _read_idx(folder, f"{part}-labels-idx1")
    shape = tuple(images.shape)
    if len(images) != len(labels):
        raise ValueError(f"{folder}: {part} has {len(images)} images but another number of labels")
    if len(images) == 0 or shape[1:] != (28, 28):
        raise ValueError(f"{folder}: {part} holds images of shape {shape}, not (n, 28, 28)")
    if labels.max() >= CLASSES:
        raise ValueError(f"{folder}: {part} has label {int(labels.max())}, and classes 0 to 9")
    return Split(images.unsqueeze(1), labels)


def _read_idx(folder: Path, stem: str) -> Tensor:
    """One IDX file as a tensor (LeCun's format: 0, 0, type 8 = uint8, number of dimensions, sizes,
    bytes)."""
    path = folder / f"{stem}-ubyte.gz"
    if not path.exists():
        path = folder / f"{stem}-ubyte"
    if not path.exists():
        raise ValueError(f"{folder} has no {stem}-ubyte or {stem}-ubyte.gz")
    # to open a pipe would wait for a writer
    if not path.is_file():
        raise ValueError(f"{path} is no regular file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _parse_idx(file, path, int(stem[-1]))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is truncated or corrupt: {error}") from error


def _parse_idx(file: BinaryIO | gzip.GzipFile, path: Path, dimensions: int) -> Tensor:
    """The content of an IDX file; no more of it is read than its header states."""
    head = file.read(4)
    if head != bytes([0, 0, 8, dimensions]):
        raise ValueError(f"{path} is not an IDX file of unsigned bytes in {dimensions} dimensions")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(
            f"{path} is truncated: {4 + len(sizes)} bytes, a header has {4 + 4 * dimensions}"
        )
    shape = struct.unpack(f">{dimensions}I", sizes)
    expected = math.prod(shape)
    if expected > MAX_BYTES:
        raise ValueError(f"{path} states {expected:,} bytes: {MAX_BYTES:,} are read at most")
    content = file.read(expected + 1)
    if len(content) != expected:
        more = "more than " if len(content) > expected else ""
        raise ValueError(
            f"{path} is truncated or corrupt: {more}{min(len(content), expected):,} bytes of "
            f"content, {expected:,} expected"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8).reshape(shape).copy())
