"""The reader of image folders: class-per-folder images in a folder or a zip."""

import io
import random
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from variants.datasets import Split

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def read_images(path: Path, size: int) -> Split:
    """The images of `path`, a folder or a zip of CLASS/IMAGE files, as uint8 RGB (n, 3, size, size) and the index of
    each one's class, in a fixed random order, so that the first n are of all classes. An image of another size is
    resized and centre-cropped. Raises ValueError for an unreadable zip or image, naming it, and for a path with no
    images."""
    if path.is_dir():
        names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.suffix.lower() in ENDINGS)
        return _decode(path, names, lambda name: (path / name).read_bytes(), size)
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.lower().endswith(ENDINGS))
            return _decode(path, names, archive.read, size)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is truncated or corrupt: {error}") from error


def _decode(path: Path, names: list[str], read: Callable[[str], bytes], size: int) -> Split:
    if not names:
        raise ValueError(f"{path} holds no images ({', '.join(ENDINGS)})")
    random.Random(0).shuffle(names)

    def decode(name: str) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(read(name))) as image:
                return np.asarray(_fit(image.convert("RGB"), size))
        except Exception as error:  # damaged bytes raise errors of many kinds in zipfile, zlib and PIL
            raise ValueError(f"{path}: image {name} cannot be read: {error}") from error

    with ThreadPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(decode, names)))
    folders = [PurePosixPath(name).parent.name for name in names]
    classes = sorted(set(folders))
    labels = torch.tensor([classes.index(folder) for folder in folders])
    return Split(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels, tuple(classes))


def _fit(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` (Lanczos), then crop the centre."""
    if image.size == (size, size):
        return image
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))
