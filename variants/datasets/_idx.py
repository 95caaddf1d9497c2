"""The reader of MNIST's IDX files, and where they are looked for."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from variants.datasets import Split, data_folder, download


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
