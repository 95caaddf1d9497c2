"""The contract of a dataset, its provenance, and where data and caches lie.

A file defines a dataclass `Dataset(Base)`. Images are uint8 (n, C, H, W) tensors and stand for [−1,
1]; points are float32 (n, 2). Fields with `compare=False` (such as `root`) say where the data lies
and are no part of its identity. Loaders raise ValueError for bad content and OSError for what
cannot be had."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal

from torch import Tensor

from variants import search_path

# the shipped folder and the user's
__path__[:] = search_path("datasets")


@dataclass(frozen=True)
class Modes:
    """A mixture's known modes: centres (k, dim), one standard deviation, weights (k,) that sum to
    1."""

    centres: Tensor
    sigma: float
    weights: Tensor


@dataclass(frozen=True)
class Split:
    """Samples (n, *shape) and, where there are any, their class labels (n,) and the names of the
    classes."""

    samples: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()  # files that could not be read and were left out


@dataclass(frozen=True)
class Base:
    """What every dataset has: a shape, a modality, two splits and where they came from.

    `shape`, `source`, `split` and `note` are class attributes, or properties where they depend on a
    field."""

    modality: ClassVar[Literal["points", "images"]]
    licence: ClassVar[str]
    num_modes: ClassVar[int] = 0  # classes of images that count as modes

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: (2,) or (C, H, W)."""
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


def data_folder(root: str | None, name: str) -> Path:
    """Where a dataset is looked for and downloaded to: `root`, else $GANBENCH_DATA/name, else the
    user's cache."""
    if root:
        if not Path(root).expanduser().exists():
            raise OSError(f"root {root!r} does not exist")
        return Path(root).expanduser()
    return Path(os.environ.get("GANBENCH_DATA", _user_cache() / "datasets")) / name


def cache_folder() -> Path:
    """Where what was computed from data is kept between runs: $GANBENCH_CACHE, else the user's
    cache. It may be deleted at any time."""
    return Path(os.environ.get("GANBENCH_CACHE", _user_cache()))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name once it is whole: readers and other writers see the old one or the
    new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(
        f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}"
    )  # two machines share a cache
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "ganbench"


def download(torchvision_class: str, folder: Path) -> None:
    """Download through torchvision, unless $GANBENCH_OFFLINE is set. Raises OSError that says what
    to do where that fails."""
    if os.environ.get("GANBENCH_OFFLINE"):
        raise OSError(
            f"{torchvision_class} is not in {folder}, and GANBENCH_OFFLINE forbids to download it"
        )
    import torchvision

    try:
        for train in (True, False):
            getattr(torchvision.datasets, torchvision_class)(folder, train=train, download=True)
    except (
        Exception
    ) as error:  # torchvision raises RuntimeError, URLError, HTTPError… for a failed download
        raise OSError(
            f"{torchvision_class} is not in {folder} and could not be downloaded ({error}); "
            "put the files there, or give their folder as the dataset's root"
        ) from error
