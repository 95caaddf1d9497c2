"""Images decoded once, into a cache that is mapped into memory from then on."""

import errno
import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError, features
from PIL import __version__ as pillow
from rich.console import Console
from rich.progress import track

from variants._files import whole_file
from variants.datasets import cache_folder, to_be_cached

T = TypeVar("T")

BATCH_BYTES = 2**27  # of pixels in memory while images are decoded
TASK = 8  # images a thread takes at a time: of small ones it decodes thousands a second

# In every key. Another version of a decoder may round differently: with the versions in the key,
# cached pixels are those that would be decoded now, on every machine with the same versions.
RECIPE = [
    "RGB, Lanczos on the shorter side, centre crop; 2",
    pillow,
    features.version("jpg"),
    features.version("webp"),
]


@dataclass
class Source:
    """Images in a folder or a zip."""

    names: list[str]  # in their order
    content: str  # a hash of names and bytes
    read: Callable[[str], bytes]  # the bytes of one image

    # size and times of a zip. A damaged zip has other bytes than its directory states, from which
    # `content` is made: which images are corrupt is then true of this very file alone
    state: list[int] | None = None


def decoded(source: Source, size: int) -> tuple[torch.Tensor, dict[str, str]]:
    """The pixels of the readable images (n, 3, size, size), mapped from the cache into memory (copy
    on write), and {name: what is wrong} of the others. Two processes at once may both write: they
    write the same. Raises OSError for files and folders that cannot be read or written."""
    key = digest([RECIPE, size, source.content, digest(source.names)])
    stem = cache_folder() / "images" / key
    cached = _load(stem, source)
    if cached is None:
        _store(stem, source, size)
        cached = _load(stem, source)
    assert cached is not None, f"{stem} was removed while it was opened"
    return cached


def decode(content: bytes, size: int) -> np.ndarray:
    """An image file as uint8 RGB (3, size, size): the shorter side resized to `size` (Lanczos), the
    centre cropped."""
    with Image.open(io.BytesIO(content)) as opened:
        if opened.mode.startswith("I"):
            # 16 bits of grey, which PIL would clip to 8
            grey = np.asarray(opened).astype(np.uint32) >> 8
            image = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
        else:
            image = opened.convert("RGB")
    if image.size != (size, size):
        scale = size / min(image.size)
        width = max(size, round(image.width * scale))
        height = max(size, round(image.height * scale))
        image = image.resize((width, height), Image.Resampling.LANCZOS)
        left = (width - size) // 2
        top = (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image).transpose(2, 0, 1)


def hash_files(folder: Path, names: list[str]) -> str:
    """A hash of the files' names and bytes. It is kept with the files' sizes and times, as in git's
    index, so that an unchanged folder is not read again."""
    memory = cache_folder() / "images" / f"folder-{digest(str(folder.resolve()))}.json"
    seen = digest([(name, stat(folder / name)) for name in names])
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["seen"] == seen:
            return known["content"]

    def hash_file(name: str) -> str:
        return _sha256((folder / name).read_bytes())

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


def _load(stem: Path, source: Source) -> tuple[torch.Tensor, dict[str, str]] | None:
    """The cached pixels and corrupt images; None where nothing is cached, or the file is not the
    one that was written (told by its size and times, else by its check sum)."""
    pixels = stem.with_suffix(".npy")
    with suppress(OSError, ValueError, TypeError, KeyError):
        info = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        corrupt = info["corrupt"]
        same = info["stat"] == stat(pixels) or info["crc32"] == _crc32(pixels)
        if same and (not corrupt or info["state"] == source.state):
            mapped = np.load(pixels, mmap_mode="c")
            readable = len(source.names) - len(corrupt)
            return torch.from_numpy(mapped[:readable]), corrupt
    return None


def _store(stem: Path, source: Source, size: int) -> None:
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
        corrupt = _write_images(file, source, size)
        # a row for every name: the last ones, as many as are corrupt, are never used
        file.truncate(end)
    info = {
        "stat": stat(pixels),
        "crc32": _crc32(pixels),
        "state": source.state,
        "corrupt": corrupt,
    }
    with whole_file(stem.with_suffix(".json")) as file:
        file.write(json.dumps(info).encode())


def _write_images(file: BinaryIO, source: Source, size: int) -> dict[str, str]:
    """Decode every image and write its pixels; {name: what is wrong} of those left out."""

    def attempt(name: str) -> np.ndarray | str:
        return _attempt(source, name, size)

    corrupt = {}
    batch = max(1, BATCH_BYTES // (3 * size * size))
    images = _in_threads(attempt, source.names, batch, "decoding images")
    for name, image in zip(source.names, images, strict=True):
        if isinstance(image, str):
            corrupt[name] = image
        else:
            file.write(image.tobytes())
    return corrupt


def _attempt(source: Source, name: str, size: int) -> np.ndarray | str:
    """An image's pixels, or what is wrong with the image. Raises errors that are the machine's."""
    try:
        return decode(source.read(name), size)
    except UnidentifiedImageError:
        return "no image"
    # damaged bytes raise errors of many kinds in zipfile, zlib and PIL
    except Exception as error:
        # a damaged zip seeks to where it cannot: EINVAL
        number = getattr(error, "errno", None)
        if isinstance(error, MemoryError) or number not in (None, errno.EINVAL):
            raise
        return str(error) or type(error).__name__


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
