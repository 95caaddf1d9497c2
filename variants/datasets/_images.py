"""The reader of images in a folder or a zip: which there are, of which class, and which are
corrupt."""

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
    these names (`…-train.zip`); None where there is neither. Raises ValueError for one alone and
    for several zips of one name."""
    train = _part(folder, "train")
    other = next((part for part in (_part(folder, name) for name in held) if part), None)
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
    first, second = (read_images(part, size, tolerance) for part in (train, held))
    if first.classes != second.classes:
        raise ValueError(
            f"{train.parent}: {train.name} and {held.name} hold different classes ({len(first.classes)} and "
            f"{len(second.classes)}, {len({*first.classes} & {*second.classes})} in common)"
        )
    return first, second


def read_images(path: Path, size: int, tolerance: float = 0.0) -> Split:
    """The images of `path`, a folder or a zip, as uint8 RGB (n, 3, size, size) in a fixed random
    order, so that the first n are of all classes. An image of another size is resized and
    centre-cropped. Its class is the folder it lies in; where all lie in one there are no labels.

    Corrupt images are left out, with a line on stderr. Raises ValueError where their share is above
    `tolerance`, for an unreadable zip, and for a path without images."""
    with _open(path) as source:
        if not source.names:
            raise ValueError(f"{path} holds no images ({', '.join(ENDINGS)})")
        random.Random(0).shuffle(source.names)
        labels, classes = _labels(path, source.names)
        samples, corrupt = decoded(source, size)
    if corrupt:
        shown = [f"{name}: {reason}" for name, reason in sorted(corrupt.items())[:SHOWN]]
        shown += ["…"] if len(corrupt) > SHOWN else []
        said = f"{path}: {len(corrupt)} of {len(source.names)} images cannot be read ({'; '.join(shown)})"
        if len(corrupt) / len(source.names) > tolerance:
            raise ValueError(f"{said}; tolerated is a share of {tolerance:g}")
        if multiprocessing.parent_process() is None:  # workers open what was opened before them
            print(f"{said}: left out", file=sys.stderr)
        if labels is not None:
            labels = labels[torch.tensor([name not in corrupt for name in source.names])]
    return Split(samples, labels, classes, tuple(sorted(corrupt)))


def _part(folder: Path, name: str) -> Path | None:
    if (folder / name).is_dir():
        return folder / name
    zips = [
        path
        for path in sorted(folder.glob(f"*{name}.zip"))
        if not path.stem.removesuffix(name)[-1:].isalpha()
    ]
    if len(zips) > 1:
        raise ValueError(
            f"{folder} has several zips of one split: {', '.join(path.name for path in zips)}"
        )
    return zips[0] if zips else None


@contextmanager
def _open(path: Path) -> Iterator[Source]:
    """A folder, or a zip: its directory states every image's check sum, so nothing is read to tell
    its content."""
    if path.is_dir():
        names = []
        for folder, _, files in os.walk(
            path, onerror=_raise, followlinks=True
        ):  # unreadable is not empty
            inside = Path(folder).relative_to(path).as_posix()
            names += [file if inside == "." else f"{inside}/{file}" for file in files]
        names = sorted(filter(_is_image, names))
        yield Source(names, hash_files(path, names), lambda name: (path / name).read_bytes())
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {
                e.filename: (e.CRC, e.file_size)
                for e in archive.infolist()
                if _is_image(e.filename)
            }
            yield Source(sorted(entries), digest(sorted(entries.items())), archive.read, stat(path))
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is truncated or corrupt: {error}") from error


def _raise(error: OSError) -> None:
    raise error


def _is_image(name: str) -> bool:
    """By its ending; macOS puts files named ._x.jpg and folders named __MACOSX beside the images of
    a zip."""
    return name.lower().endswith(ENDINGS) and not any(
        part.startswith((".", "__MACOSX")) for part in name.removeprefix("./").split("/")
    )


def _labels(path: Path, names: list[str]) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """The index of every image's class (n,) and the names of the classes."""
    folders = [name.rpartition("/")[0] for name in names]
    if len(set(folders)) == 1:
        return None, ()
    if "" in folders:
        beside = names[folders.index("")]
        raise ValueError(
            f"{path}: {beside} lies beside folders of images: give every image a class, or none"
        )
    of = [folder.rpartition("/")[2] for folder in folders]
    classes = sorted(set(of))
    index = {name: i for i, name in enumerate(classes)}
    return torch.tensor([index[name] for name in of]), tuple(classes)
