"""Images decoded once, into a cache that is mapped into memory from then on."""

import errno
import hashlib
import json
import logging
import os
import shutil
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from PIL import UnidentifiedImageError, features
from PIL import __version__ as pillow
from rich.console import Console
from rich.progress import track

from variants._files import whole_file
from variants.datasets import cache_folder, to_be_cached
from variants.datasets._listing import read_file
from variants.datasets._pixels import SIXTEEN_BITS, Pixels, Values, decode

T = TypeVar("T")

BATCH_BYTES = 2**27  # of pixels in memory while images are decoded
TASK = 8  # images a thread takes at a time: of small ones it decodes thousands a second

# In every key. Another version of a decoder may round differently: with the versions in the key,
# cached pixels are those that would be decoded now, on every machine with the same versions.
RECIPE = [
    "RGB, upright, on white, Lanczos on the shorter side, centre crop; 4",
    pillow,
    features.version("jpg"),
    features.version("webp"),
]

# what Pillow remarks on a damaged image is said with the image's name
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass
class Source:
    """Images in a folder or a zip."""

    names: list[str]  # in their order
    content: str  # a hash of names and bytes
    read: Callable[[str], bytes]  # the bytes of one image

    # size and times of a zip. A damaged zip has other bytes than its directory states, from which
    # `content` is made: which images are corrupt is then true of this very file alone
    state: list[int] | None = None


@dataclass
class Decoded:
    """The images of a source."""

    pixels: torch.Tensor  # of the readable ones, (n, 3, size, size), uint8
    corrupt: dict[str, str]  # name -> what is wrong
    traits: dict[str, int]  # what was done to the images -> to how many
    values: Values | None  # of all images of more than 8 bits
    scale: tuple[float, float]  # the values of these that are shown as 0 and as 255


def decoded(sources: list[Source], size: int) -> list[Decoded]:
    """The images of every source. Pixels are mapped from the cache into memory (copy on write).
    Images of more than 8 bits share one scale, which all of them decide. Two processes at once may
    both write: they write the same. Raises OSError for files and folders that cannot be read or
    written."""
    first = [_decoded(source, size, SIXTEEN_BITS) for source in sources]
    values = [images.values for images in first if images.values is not None]
    if not values:
        return first
    every = values[0]
    for other in values[1:]:
        every = every.joined(other)
    if every.scale == SIXTEEN_BITS:
        return first
    return [_decoded(source, size, every.scale) for source in sources]


def _decoded(source: Source, size: int, scale: tuple[float, float]) -> Decoded:
    key = digest([RECIPE, size, scale, source.content, digest(source.names)])
    stem = cache_folder() / "images" / key
    cached = _load(stem, source, scale)
    if cached is None:
        _store(stem, source, size, scale)
        cached = _load(stem, source, scale)
    assert cached is not None, f"{stem} was removed while it was opened"
    return cached


def hash_files(folder: Path, part: str, names: list[str]) -> str:
    """A hash of the files' names and bytes. It is kept with the files' sizes and times, as in git's
    index, so that an unchanged part of a folder is not read again."""
    memory = cache_folder() / "images" / f"folder-{digest([str(folder.resolve()), part])}.json"
    seen = digest([(name, stat(folder / name)) for name in names])
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["seen"] == seen:
            return known["content"]

    def hash_file(name: str) -> str:
        try:
            return _sha256(read_file(folder / name))
        # too large: it counts as corrupt
        except ValueError as error:
            return str(error)

    hashes = _in_threads(hash_file, names, 4096, f"reading {folder.name}")
    content = digest(list(zip(names, hashes, strict=True)))
    with whole_file(to_be_cached(memory)) as file:
        file.write(json.dumps({"seen": seen, "content": content}).encode())
    return content


def stat(path: Path) -> list[int]:
    """Size and times in ns: what changes when a file does."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def digest(value: Any) -> str:
    """The first 16 hex digits of the sha256 of a value's JSON."""
    return _sha256(json.dumps(value).encode())[:16]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _load(stem: Path, source: Source, scale: tuple[float, float]) -> Decoded | None:
    """The cached images; None where nothing is cached, or the file is not the one that was written
    (told by its size and times, else by its check sum)."""
    pixels = stem.with_suffix(".npy")
    with suppress(OSError, ValueError, TypeError, KeyError):
        info = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        corrupt = info["corrupt"]
        same = info["stat"] == stat(pixels) or info["crc32"] == _crc32(pixels)
        if same and (not corrupt or info["state"] == source.state):
            mapped = np.load(pixels, mmap_mode="c")
            readable = torch.from_numpy(mapped[: len(source.names) - len(corrupt)])
            values = info["values"] and Values(*info["values"])
            return Decoded(readable, corrupt, info["traits"], values, scale)
    return None


def _store(stem: Path, source: Source, size: int, scale: tuple[float, float]) -> None:
    """Decode every image, in threads (PIL decodes and resizes outside the interpreter's lock), a
    batch at a time, and write pixels and facts. Raises OSError where there is no room."""
    shape = (len(source.names), 3, size, size)
    to_be_cached(stem)
    needed = int(np.prod(shape))
    free = shutil.disk_usage(stem.parent).free
    if needed > free:
        raise OSError(
            f"the decoded images need {needed / 1e9:.1f} GB, and {stem.parent} has "
            f"{free / 1e9:.1f} GB free; make room or set GANBENCH_CACHE to another folder"
        )
    pixels = stem.with_suffix(".npy")
    # written and not mapped: a full disk is then an OSError and no bus error
    with whole_file(pixels) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        end = file.tell() + needed
        facts = _write_images(file, source, size, scale)
        # a row for every name: the last ones, as many as are corrupt, are never used
        file.truncate(end)
    info = {"stat": stat(pixels), "crc32": _crc32(pixels), "state": source.state, **facts}
    with whole_file(stem.with_suffix(".json")) as file:
        file.write(json.dumps(info).encode())


def _write_images(
    file: BinaryIO, source: Source, size: int, scale: tuple[float, float]
) -> dict[str, Any]:
    """Decode every image and write its pixels. Returns the corrupt images, which are left out, and
    what was done to the others."""

    def attempt(name: str) -> Pixels | str:
        return _attempt(source, name, size, scale)

    corrupt = {}
    traits: Counter[str] = Counter()
    values: Values | None = None
    batch = max(1, BATCH_BYTES // (3 * size * size))
    with warnings.catch_warnings():
        # Pillow's, of damaged EXIF blocks and the like: the filter holds in all threads
        warnings.simplefilter("ignore")
        images = _in_threads(attempt, source.names, batch, "decoding images")
        for name, image in zip(source.names, images, strict=True):
            if isinstance(image, str):
                corrupt[name] = image
                continue
            file.write(image.rgb.tobytes())
            traits.update(image.traits)
            if image.values is not None:
                values = image.values.joined(values or image.values)
    return {"corrupt": corrupt, "traits": traits, "values": values}


def _attempt(source: Source, name: str, size: int, scale: tuple[float, float]) -> Pixels | str:
    """An image's pixels, or what is wrong with the image. Raises errors that are the machine's."""
    try:
        return decode(source.read(name), size, scale)
    except UnidentifiedImageError:
        return "no image"
    # damaged bytes raise errors of many kinds in zipfile, zlib and PIL
    except Exception as error:
        # a damaged zip seeks to where it cannot: EINVAL
        number = getattr(error, "errno", None)
        if isinstance(error, MemoryError) or number not in (None, errno.EINVAL):
            raise
        return " ".join(str(error).split()) or type(error).__name__


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while part := file.read(BATCH_BYTES):
            value = zlib.crc32(part, value)
    return value


def _in_threads(
    function: Callable[[str], T], names: list[str], batch: int, description: str
) -> Iterator[T]:
    """function(name) of every name, in order, computed a batch at a time, with a progress bar on a
    terminal."""
    console = Console(stderr=True)
    yield from track(
        _results(function, names, batch),
        description,
        len(names),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _results(function: Callable[[str], T], names: list[str], batch: int) -> Iterator[T]:
    def several(part: list[str]) -> list[T]:
        return [function(name) for name in part]

    with ThreadPoolExecutor(_num_cores()) as pool:
        for names_of_batch in _parts(names, batch):
            for results in pool.map(several, _parts(names_of_batch, TASK)):
                yield from results


def _num_cores() -> int:
    """Cores that the affinity of this process allows."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parts(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]
