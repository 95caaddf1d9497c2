"""Reads images from a folder or a zip, with their classes; corrupt images are left out."""

import multiprocessing
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from variants.datasets import Split
from variants.datasets._decoded import Decoded, Source, decoded, digest, hash_files, stat
from variants.datasets._listing import (
    ENDINGS,
    open_zip,
    printable,
    read_entry,
    read_file,
    zip_entries,
)
from variants.datasets._parts import SHOWN, Layout, Part, classes_of, find_layout, whole
from variants.datasets._pixels import DEEP


@dataclass(frozen=True)
class Images:
    """The images of a folder or a zip: one split, or two where it comes split."""

    train: Split
    held: Split | None = None
    sentence: str = ""  # how they are split


def read_images(path: Path, size: int, tolerance: float = 0.0) -> Split:
    """All images of `path`, a folder or a zip, as uint8 RGB (n, 3, size, size) in a fixed random
    order, so that the first n are of all classes. An image of another size is resized and
    centre-cropped. The class of an image is its first folder below those that all images share;
    where all images are in one folder there are no labels.

    Corrupt images are left out, with a line on stderr. Raises ValueError where their share is above
    `tolerance`, for an unreadable zip, and for a path without images."""
    (split,) = _read([whole(path)], size, tolerance)
    return split


def read_layout(
    path: Path, size: int, tolerance: float = 0.0, held: Sequence[str] = ("test", "val")
) -> Images:
    """The images of a folder or a zip, in the splits that it comes in. `held` names the splits that
    may be held out, the preferred one first; another one is taken where its classes are not those
    of the training images. Raises ValueError as `read_images` does, and for splits without the same
    classes."""
    layout = find_layout(path, held)
    if not layout.held:
        (every,) = _read([layout.train], size, tolerance)
        return Images(every)
    chosen = _with_same_classes(path, layout)
    train, other = _read([layout.train, chosen], size, tolerance)
    unused = dict(layout.unused)
    for part in layout.held:
        if part is not chosen:
            unused[part.name] = len(part.files)
    sentence = f"as the folder comes: {layout.train.name} for training, {chosen.name} held out"
    if unused:
        counts = [f"{name} ({n:,} images)" for name, n in sorted(unused.items())]
        sentence += f", not used: {_shown(counts)}"
    return Images(_left_out_too(train, layout.left_out), other, sentence)


def comes_split(path: Path, held: Sequence[str]) -> bool:
    """Whether a folder holds splits. Raises ValueError as `find_layout` does."""
    return path.is_dir() and bool(find_layout(path, held).held)


def _with_same_classes(path: Path, layout: Layout) -> Part:
    """The first split to hold out that has the classes of the training images."""
    _check_not_empty(layout.train)
    _, classes = classes_of(layout.train)
    for part in layout.held:
        if part.files and classes_of(part)[1] == classes:
            return part
    part = layout.held[0]
    _check_not_empty(part)
    _, other = classes_of(part)
    common = set(classes) & set(other)
    raise ValueError(
        f"{path}: {layout.train.name} and {part.name} hold different classes "
        f"({len(classes)} and {len(other)}, {len(common)} in common)"
    )


def _read(parts: list[Part], size: int, tolerance: float) -> list[Split]:
    """Parts as splits, decoded on one scale."""
    with ExitStack() as stack:
        sources = []
        for part in parts:
            _check_not_empty(part)
            sources.append(stack.enter_context(_open(part)))
        # before anything is decoded
        labels = [_labels(part, source.names) for part, source in zip(parts, sources, strict=True)]
        images = decoded(sources, size)
    return [
        _split(part, source, found, label, tolerance)
        for part, source, found, label in zip(parts, sources, images, labels, strict=True)
    ]


def _labels(part: Part, names: list[str]) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """The class of every image in the order of `names`, (n,), and the names of the classes."""
    indices, classes = classes_of(part)
    if indices is None:
        return None, ()
    index = dict(zip(part.files, indices, strict=True))
    return torch.tensor([index[name] for name in names]), classes


def _split(
    part: Part,
    source: Source,
    images: Decoded,
    labelled: tuple[torch.Tensor | None, tuple[str, ...]],
    tolerance: float,
) -> Split:
    """A part that was decoded. Raises ValueError where too many images are corrupt."""
    labels, classes = labelled
    corrupt = images.corrupt
    if corrupt:
        sentence = _corrupt_sentence(part, corrupt)
        if len(corrupt) / len(source.names) > tolerance:
            raise ValueError(f"{sentence}; tolerated is a share of {tolerance:g}")
        # a worker reads images that its parent has read and spoken of before
        if multiprocessing.parent_process() is None:
            print(f"{sentence}: left out", file=sys.stderr)
        if labels is not None:
            labels = labels[torch.tensor([name not in corrupt for name in source.names])]
    split = Split(
        images.pixels,
        labels,
        classes,
        tuple(printable(name) for name in sorted(corrupt)),
        remarks=tuple(_remarks(part, images)),
    )
    return _left_out_too(split, part.left_out)


def _left_out_too(split: Split, left_out: dict[str, str]) -> Split:
    """A split that names further files that are left out."""
    names = {printable(name): reason for name, reason in sorted(left_out.items())}
    return replace(split, left_out={**split.left_out, **names})


def _remarks(part: Part, images: Decoded) -> Iterator[str]:
    """What was done to the images, in sentences."""
    formats = Counter(Path(name).suffix.lower() for name in part.files)
    if len(formats) > 1:
        counts = [f"{n:,} {suffix}" for suffix, n in formats.most_common()]
        yield f"{part.name}: images of {len(formats)} formats: {', '.join(counts)}"
    for trait, n in sorted(images.traits.items()):
        sentence = f"{part.name}: {n:,} images {trait}"
        if trait == DEEP and images.values is not None:
            least, greatest, _ = images.values
            sentence += f", of values from {least:g} to {greatest:g}"
            low, high = images.scale
            sentence += f": {low:g} is shown as 0, {high:g} as 255"
        yield sentence


def _corrupt_sentence(part: Part, corrupt: dict[str, str]) -> str:
    shown = [f"{printable(name)}: {reason}" for name, reason in sorted(corrupt.items())]
    return (
        f"{part.path}: {len(corrupt)} of {len(part.files)} images cannot be read "
        f"({_shown(shown, '; ')})"
    )


def _shown(texts: list[str], separator: str = ", ") -> str:
    """The first few of several texts."""
    dots = ["…"] if len(texts) > SHOWN else []
    return separator.join([*texts[:SHOWN], *dots])


def _check_not_empty(part: Part) -> None:
    if part.files:
        return
    message = f"{part.path} holds no images ({', '.join(ENDINGS)})"
    if part.path.name != part.name and part.path.is_dir():
        message = f"{part.path}: {part.name} holds no images ({', '.join(ENDINGS)})"
    if part.left_out:
        reasons = Counter(part.left_out.values())
        counts = [f"{n:,} {reason}" for reason, n in reasons.most_common()]
        message += f"; left out are {_shown(counts)}, such as {printable(min(part.left_out))}"
    raise ValueError(message)


@contextmanager
def _open(part: Part) -> Iterator[Source]:
    """The images of a part, in a fixed random order. A zip's directory states the check sum of
    every image, so the hash of its content needs no image to be read."""
    names = list(part.files)
    random.Random(0).shuffle(names)
    path = part.path
    if path.is_dir():
        content = hash_files(path, part.name, part.files)
        yield Source(names, content, lambda name: read_file(path / name))
        return
    with open_zip(path) as archive:
        _, entries = zip_entries(path, archive)
        facts = {name: (entries[name].CRC, entries[name].file_size) for name in part.files}
        content = digest(sorted(facts.items()))
        yield Source(names, content, lambda name: read_entry(archive, entries[name]), stat(path))
