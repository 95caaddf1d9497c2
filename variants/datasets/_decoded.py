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
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError, features
from PIL import __version__ as pillow
from rich.console import Console
from rich.progress import track

from variants._files import whole_file
from variants.datasets import cache_folder

T = TypeVar("T")

BATCH_BYTES = 2**27  # of pixels in memory while images are decoded
TASK = 8  # images a thread takes at a time: of small ones it decodes thousands a second
# In every key. Another version of a decoder may round otherwise: with the versions in the key, what
# is cached is what
# would be decoded now, and the same versions mean the same pixels on every machine.
RECIPE = [
    "RGB, Lanczos on the shorter side, centre crop; 2",
    pillow,
    features.version("jpg"),
    features.version("webp"),
]


@dataclass
class Source:
    """Images somewhere: their names, in their order; a hash of names and bytes; and how one is
    read.

    A damaged zip's bytes are not those that its directory states and `content` is made of: what was
    found corrupt is then true of this file only, whose `state` tells it from others."""

    names: list[str]
    content: str
    read: Callable[[str], bytes]
    state: list[int] | None = None


def decoded(source: Source, size: int) -> tuple[torch.Tensor, dict[str, str]]:
    """The pixels of the readable images (n, 3, size, size), mapped from the cache into memory (copy
    on write), and {name: what is wrong} of the others. Two processes at once write the same, one
    after the other. Raises OSError for files and folders that cannot be read or written."""
    stem = cache_folder() / "images" / digest([RECIPE, size, source.content, digest(source.names)])
    if (found := _load(stem, source)) is None:
        _store(stem, source, size)
        found = _load(stem, source)
    assert found is not None, f"{stem} was removed while it was opened"
    return found


def decode(content: bytes, size: int) -> np.ndarray:
    """An image file as uint8 RGB (3, size, size): the shorter side resized to `size` (Lanczos), the
    centre cropped."""
    with Image.open(io.BytesIO(content)) as opened:
        deep = opened.mode.startswith("I")  # 16 bits of grey, which PIL would clip to 8
        grey = (
            Image.fromarray((np.asarray(opened).astype(np.uint32) >> 8).astype(np.uint8))
            if deep
            else opened
        )
        image = grey.convert("RGB")
    if image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image).transpose(2, 0, 1)


def hash_files(folder: Path, names: list[str]) -> str:
    """A hash of the files' names and bytes. It is remembered under their sizes and times, as git's
    index does, so that an unchanged folder is not read again."""
    memory = cache_folder() / "images" / f"folder-{digest(str(folder.resolve()))}.json"
    seen = digest([(name, stat(folder / name)) for name in names])
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(memory.read_text())
        if known["seen"] == seen:
            return known["content"]
    hashes = _in_threads(
        lambda name: _sha256((folder / name).read_bytes()), names, 4096, f"reading {folder.name}"
    )
    content = digest(list(zip(names, hashes, strict=True)))
    with whole_file(memory) as file:
        file.write(json.dumps({"seen": seen, "content": content}).encode())
    return content


def stat(path: Path) -> list[int]:
    """Size and times in ns: what changes when a file does."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def digest(value: Any) -> str:
    """The first 16 hex digits of the sha256 of a value's JSON."""
    return _sha256(json.dumps(value).encode())[:16]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _load(stem: Path, source: Source) -> tuple[torch.Tensor, dict[str, str]] | None:
    """What is cached; None where nothing is, or not what was written: by size and times, else by
    the check sum."""
    pixels = stem.with_suffix(".npy")
    with suppress(OSError, ValueError, TypeError, KeyError):
        info = json.loads(stem.with_suffix(".json").read_text())
        same = info["stat"] == stat(pixels) or info["crc32"] == _crc32(pixels)
        if same and (not info["corrupt"] or info["state"] == source.state):
            mapped = np.load(pixels, mmap_mode="c")
            return torch.from_numpy(mapped[: len(source.names) - len(info["corrupt"])]), info[
                "corrupt"
            ]
    return None


def _store(stem: Path, source: Source, size: int) -> None:
    """Decode every image, in threads (PIL decodes and resizes outside the interpreter's lock), a
    batch at a time."""
    shape, corrupt = (len(source.names), 3, size, size), dict[str, str]()
    stem.parent.mkdir(parents=True, exist_ok=True)
    needed, free = int(np.prod(shape)), shutil.disk_usage(stem.parent).free
    if needed > free:
        raise OSError(
            f"the decoded images need {needed / 1e9:.1f} GB, and {stem.parent} has {free / 1e9:.1f} GB free; make room "
            "or set GANBENCH_CACHE to another folder"
        )

    def attempt(name: str) -> np.ndarray | str:
        try:
            return decode(source.read(name), size)
        except (
            Exception
        ) as error:  # damaged bytes raise errors of many kinds in zipfile, zlib and PIL
            if isinstance(error, MemoryError) or getattr(error, "errno", None) not in (
                None,
                errno.EINVAL,
            ):
                # the machine's fault, not the image's; a damaged zip seeks where it cannot, EINVAL
                raise
            return (
                "no image"
                if isinstance(error, UnidentifiedImageError)
                else str(error) or type(error).__name__
            )

    pixels, batch = stem.with_suffix(".npy"), max(1, BATCH_BYTES // (3 * size * size))
    with whole_file(
        pixels
    ) as file:  # written, not mapped: a full disk is then an OSError and no bus error
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        end = file.tell() + needed
        for name, image in zip(
            source.names, _in_threads(attempt, source.names, batch, "decoding images"), strict=True
        ):
            if isinstance(image, str):
                corrupt[name] = image
            else:
                file.write(image.tobytes())
        file.truncate(
            end
        )  # a row for every name: the last ones, in place of the corrupt, are never used
    info = {
        "stat": stat(pixels),
        "crc32": _crc32(pixels),
        "state": source.state,
        "corrupt": corrupt,
    }
    with whole_file(stem.with_suffix(".json")) as file:
        file.write(json.dumps(info).encode())


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while part := file.read(BATCH_BYTES):
            value = zlib.crc32(part, value)
    return value


def _in_threads(
    function: Callable[[str], T], names: list[str], batch: int, description: str
) -> Iterator[T]:
    """function(name) of every name, in order, computed a batch at a time, behind a progress bar on
    a terminal."""

    def several(part: list[str]) -> list[T]:
        return [function(name) for name in part]

    def results() -> Iterator[T]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(names), batch):
                part = names[start : start + batch]
                for found in pool.map(
                    several, [part[i : i + TASK] for i in range(0, len(part), TASK)]
                ):
                    yield from found

    console = Console(stderr=True)
    yield from track(
        results(),
        description,
        len(names),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
