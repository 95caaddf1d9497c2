"""The contract of a dataset, its provenance, and where data and caches are.

A file defines a dataclass `Dataset(Base)`, of images `Dataset(ImageDataset)`. Images are uint8
tensors (n, C, H, W) and stand for [−1, 1], or for [0, 1] under `range = "unit"`; points are float32
tensors (n, 2); text is uint8 codes (n, length), and networks see it one-hot. Fields with
`compare=False` (such as `root`) say where the data is and are no part of the dataset's identity; a
field with the metadata `in_label` is always a part of it, because its default is not the same
everywhere. Loaders raise ValueError for bad content and OSError for data that cannot be had.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor

from variants import _variables, search_path

# the shipped folder and the user's
__path__[:] = search_path("datasets")

_downloads: ContextVar[bool] = ContextVar("downloads", default=True)


@dataclass(frozen=True)
class Modes:
    """A mixture's known modes: centres (k, dim), one standard deviation, weights (k,) that sum to
    1."""

    centres: Tensor
    sigma: float
    weights: Tensor


@dataclass(frozen=True)
class Split:
    """Samples (n, *shape), codes of text (n, length), and, where there are any, their class labels
    (n,) and the names of the classes. `corrupt` names the images that could not be read and were
    left out, `left_out` every other file that was, with the reason. `remarks` say what was done to
    the samples."""

    samples: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Base:
    """What every dataset has: a shape, a modality, two splits and where they came from.

    `shape`, `source`, `split` and `note` are class attributes, or properties where they depend on a
    field."""

    modality: ClassVar[Literal["points", "images", "text"]]
    licence: ClassVar[str]
    num_modes: ClassVar[int] = 0  # classes of images that count as modes

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: (2,), (C, H, W) or (length, characters)."""
        raise NotImplementedError

    @property
    def source(self) -> str:
        """Where the samples come from."""
        raise NotImplementedError

    @property
    def split(self) -> str:
        """How train and held-out samples were told apart."""
        raise NotImplementedError

    @property
    def note(self) -> str:
        """What else to know of the samples."""
        return ""

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

    def classified(self) -> tuple[Split, Split]:
        """The labelled splits a classifier extractor is trained on."""
        return self.splits

    def modes(self) -> Modes | None:
        """The modes, where they are known."""
        return None


@dataclass(frozen=True)
class ImageDataset(Base):
    """A dataset of images, which networks see in a range."""

    range: Literal["signed", "unit"] = field(default="signed", kw_only=True)
    """What black and white are to the networks: −1 and 1 (signed) or 0 and 1 (unit)."""

    modality = "images"


def running_text(samples: Tensor) -> Tensor | None:
    """The text (n + length − 1,) that overlapping windows (n, length) are a view of; None for
    samples that are no such view."""
    if samples.dim() != 2 or samples.stride() != (1, 1):
        return None
    return samples.as_strided((sum(samples.shape) - 1,), (1,))


def data_folder(root: str | None, name: str) -> Path:
    """The folder of a dataset, where it is read from and downloaded to: `root`, else
    $GANBENCH_DATA/name, else a folder in the user's cache. Raises OSError for a `root` that does
    not exist."""
    if root:
        folder = Path(root).expanduser()
        if not folder.exists():
            raise OSError(f"root {root!r} does not exist")
        return folder
    return (_variables.folder("GANBENCH_DATA") or _variables.user_cache() / "datasets") / name


def cache_folder() -> Path:
    """The folder for what is computed from data and kept between runs: $GANBENCH_CACHE, else the
    user's cache. The folder may be deleted at any time."""
    return _variables.folder("GANBENCH_CACHE") or _variables.user_cache()


def to_be_cached(path: Path) -> Path:
    """The path of a file of the cache that is about to be written; its folder is made. Raises
    OSError that names GANBENCH_CACHE for a folder that cannot be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OSError(
            f"the cache {path.parent} cannot be written to ({error.strerror}); set GANBENCH_CACHE "
            "to another folder"
        ) from error
    return path


@contextmanager
def no_downloads() -> Iterator[None]:
    """Within the block a dataset that would have to be downloaded raises OSError."""
    token = _downloads.set(False)
    try:
        yield
    finally:
        _downloads.reset(token)


def why_no_download() -> str:
    """The reason why nothing may be downloaded now; the empty string where it may."""
    if _variables.flag("GANBENCH_OFFLINE"):
        return "GANBENCH_OFFLINE forbids to download it"
    return "" if _downloads.get() else "nothing is downloaded here"


def download(torchvision_class: str, folder: Path) -> None:
    """Download through torchvision. Raises OSError that says what to do where the download fails,
    where $GANBENCH_OFFLINE forbids it, and within `no_downloads`."""
    missing = f"{torchvision_class} is not in {folder}"
    reason = why_no_download()
    if reason:
        raise OSError(f"{missing}, and {reason}")
    import torchvision

    dataset_class = getattr(torchvision.datasets, torchvision_class)
    try:
        for train in (True, False):
            dataset_class(folder, train=train, download=True)
    # torchvision raises RuntimeError, URLError, HTTPError and others for a failed download
    except Exception as error:
        raise OSError(
            f"{missing} and could not be downloaded ({error}); "
            "put the files there, or give their folder as the dataset's root"
        ) from error
