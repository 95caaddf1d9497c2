"""Reads images from a folder or a zip, with their classes; corrupt images are left out."""

import multiprocessing
import os
import random
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from variants.datasets import Split
from variants.datasets._decoded import Source, decoded, digest, hash_files, stat

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
SHOWN = 3  # corrupt images that a message names


def find_split(folder: Path, held: tuple[str, ...] = ("test",)) -> tuple[Path, Path] | None:
    """The two parts of a folder that comes split: folders `train` and one of `held`, or zips of
    these names (`…-train.zip`); None where there is neither part. Raises ValueError for one part
    alone and for several zips of one name."""
    train = _part(folder, "train")
    other = None
    for name in held:
        other = other or _part(folder, name)
    if train and other:
        return train, other
    for part in (train, other):
        if part:
            raise ValueError(
                f"{folder} has {part.name} but not its counterpart: both splits are needed"
            )
    return None


def read_split(train: Path, held: Path, size: int, tolerance: float = 0.0) -> tuple[Split, Split]:
    """Two folders or zips as the train and the held-out split. Raises ValueError where they hold
    different classes."""
    train_split = read_images(train, size, tolerance)
    held_split = read_images(held, size, tolerance)
    if train_split.classes != held_split.classes:
        common = set(train_split.classes) & set(held_split.classes)
        raise ValueError(
            f"{train.parent}: {train.name} and {held.name} hold different classes "
            f"({len(train_split.classes)} and {len(held_split.classes)}, {len(common)} in common)"
        )
    return train_split, held_split


def read_images(path: Path, size: int, tolerance: float = 0.0) -> Split:
    """The images of `path`, a folder or a zip, as uint8 RGB (n, 3, size, size) in a fixed random
    order, so that the first n are of all classes. An image of another size is resized and
    centre-cropped. The class of an image is its folder; where all images are in one folder there
    are no labels.

    Corrupt images are left out, with a line on stderr. Raises ValueError where their share is above
    `tolerance`, for an unreadable zip, and for a path without images."""
    with _open(path) as source:
        if not source.names:
            raise ValueError(f"{path} holds no images ({', '.join(ENDINGS)})")
        random.Random(0).shuffle(source.names)
        labels, classes = _labels(path, source.names)
        samples, corrupt = decoded(source, size)
    if corrupt:
        sentence = _corrupt_sentence(path, len(source.names), corrupt)
        if len(corrupt) / len(source.names) > tolerance:
            raise ValueError(f"{sentence}; tolerated is a share of {tolerance:g}")
        # a worker reads images that its parent has read and spoken of before
        if multiprocessing.parent_process() is None:
            print(f"{sentence}: left out", file=sys.stderr)
        if labels is not None:
            labels = labels[torch.tensor([name not in corrupt for name in source.names])]
    return Split(samples, labels, classes, tuple(sorted(corrupt)))


def _corrupt_sentence(path: Path, count: int, corrupt: dict[str, str]) -> str:
    shown = [f"{name}: {reason}" for name, reason in sorted(corrupt.items())[:SHOWN]]
    if len(corrupt) > SHOWN:
        shown.append("…")
    return f"{path}: {len(corrupt)} of {count} images cannot be read ({'; '.join(shown)})"


def _part(folder: Path, name: str) -> Path | None:
    """The folder or the zip of one split; None where there is none."""
    if (folder / name).is_dir():
        return folder / name
    zips = []
    for path in sorted(folder.glob(f"*{name}.zip")):
        # `my-train.zip`, but not `restrain.zip`
        if not path.stem.removesuffix(name)[-1:].isalpha():
            zips.append(path)
    if len(zips) > 1:
        several = ", ".join(path.name for path in zips)
        raise ValueError(f"{folder} has several zips of one split: {several}")
    return zips[0] if zips else None


@contextmanager
def _open(path: Path) -> Iterator[Source]:
    """A folder or a zip of images. A zip's directory states the check sum of every image, so the
    hash of its content needs no image to be read."""
    if path.is_dir():
        names = _images_in(path)
        yield Source(names, hash_files(path, names), lambda name: (path / name).read_bytes())
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {}
            for entry in archive.infolist():
                if _is_image(entry.filename):
                    entries[entry.filename] = (entry.CRC, entry.file_size)
            content = digest(sorted(entries.items()))
            yield Source(sorted(entries), content, archive.read, stat(path))
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is truncated or corrupt: {error}") from error


def _images_in(path: Path) -> list[str]:
    """The images in a folder and its subfolders, by their paths inside it, sorted. Raises OSError
    for a subfolder that cannot be read: it may hold images."""
    names = []
    for folder, _, files in os.walk(path, onerror=_raise, followlinks=True):
        inside = Path(folder).relative_to(path)
        names += [(inside / file).as_posix() for file in files]
    return sorted(filter(_is_image, names))


def _raise(error: OSError) -> None:
    raise error


def _is_image(name: str) -> bool:
    """Whether a name is an image's, by its ending. macOS adds files named ._x.jpg and folders named
    __MACOSX to a zip."""
    if not name.lower().endswith(ENDINGS):
        return False
    parts = name.removeprefix("./").split("/")
    return not any(part.startswith((".", "__MACOSX")) for part in parts)


def _labels(path: Path, names: list[str]) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """The index of every image's class (n,) and the names of the classes."""
    folders = [name.rpartition("/")[0] for name in names]
    if len(set(folders)) == 1:
        return None, ()
    if "" in folders:
        name = names[folders.index("")]
        raise ValueError(
            f"{path}: {name} lies next to folders of images: give every image a class, or none"
        )
    class_names = [folder.rpartition("/")[2] for folder in folders]
    classes = sorted(set(class_names))
    index = {name: i for i, name in enumerate(classes)}
    return torch.tensor([index[name] for name in class_names]), tuple(classes)
