"""One image file as pixels of 8 bits."""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

# By content, whatever the ending says; formats without a mark of their own at the head of a file
# would take damaged images of others for theirs, and PostScript would run a program
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "QOI")
MAX_PIXELS = 10**8

# Images of more pixels are decoded one at a time, so that memory stays bounded
MANY_PIXELS = 2**24
_large = Lock()
_standard_error = Lock()

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

TURNED = "turned as their EXIF orientation says"
TRANSPARENT = "with transparency, put on white"
DEEP = "of more than 8 bits"
ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")

# Of colours of 16 bits Pillow's unpackers take the high bytes; told the other byte order they take
# the low ones
COLOURS_OF_16_BITS = re.compile(r"(RGB[AX]?;16)([BLN])")
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
GREY_AND_ALPHA = "LA;16B"  # has no other order


class Values(NamedTuple):
    """The least and the greatest value of images of more than 8 bits."""

    least: float
    greatest: float
    are_integers: bool

    def joined(self, other: "Values") -> "Values":
        return Values(
            min(self.least, other.least),
            max(self.greatest, other.greatest),
            self.are_integers and other.are_integers,
        )

    @property
    def scale(self) -> tuple[float, float]:
        """What is shown as 0 and as 255. Whole numbers: as many bits as the greatest has, from 8
        on. Others: 0 to 1 or 0 to 255 where they are within, else from the least to the
        greatest."""
        if self.least < 0:
            return self.least, self.greatest
        if self.are_integers:
            return 0.0, 2.0 ** max(8, int(self.greatest).bit_length()) - 1
        for most in (1.0, 255.0):
            if self.greatest <= most:
                return 0.0, most
        return self.least, self.greatest


SIXTEEN_BITS = (0.0, 65535.0)


class Pixels(NamedTuple):
    """A decoded image."""

    rgb: np.ndarray  # uint8 (3, size, size)
    traits: tuple[str, ...]  # what was done to it: TURNED, TRANSPARENT, DEEP
    values: Values | None  # of an image of more than 8 bits


def decode(content: bytes, size: int, scale: tuple[float, float] = SIXTEEN_BITS) -> Pixels:
    """An image file as uint8 RGB (3, size, size): turned upright, transparency put on white, the
    shorter side resized to `size` (Lanczos), the centre cropped. `scale`: the values of images of
    more than 8 bits that are shown as 0 and 255. Of several frames the first is taken. Raises
    errors of many kinds for damaged files."""
    with Image.open(io.BytesIO(content), formats=_formats()) as image:
        _check_size(image.width, image.height)
        with _large if image.width * image.height > MANY_PIXELS else nullcontext():
            return _decode(content, image, size, scale)


def _decode(content: bytes, image: Image.Image, size: int, scale: tuple[float, float]) -> Pixels:
    traits = []
    values = None
    colours = _colours_of_16_bits(content, image)
    stated = _orientation(image)
    with _no_words_of_libtiff(image):
        image.load()
    # a TIFF is upright when it is loaded, and states it
    orientation = _orientation(image)
    upright = image
    deep = _deep_values(image, colours)
    if deep is not None:
        traits.append(DEEP)
        values = Values(float(deep.min()), float(deep.max()), deep.dtype.kind in "iu")
        upright = Image.fromarray(_to_8_bits(deep, scale)).convert("RGB")
        alpha = _alpha_of(image, deep)
        if alpha is not None:
            upright.putalpha(alpha)
    if stated in TURNS:
        traits.append(TURNED)
    if orientation in TURNS:
        upright = upright.transpose(TURNS[orientation])
    if _has_alpha(upright):
        traits.append(TRANSPARENT)
    rgb = _resized(_on_white(upright), size)
    return Pixels(np.asarray(rgb).transpose(2, 0, 1), tuple(traits), values)


@contextmanager
def _no_words_of_libtiff(image: Image.Image) -> Iterator[None]:
    """libtiff writes what it finds in a damaged file to file descriptor 2 itself: within the block,
    nothing is written there."""
    # without a standard error the descriptor may be that of any file
    if image.format != "TIFF" or sys.__stderr__ is None:
        yield
        return
    with _standard_error:
        kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(nowhere)
            os.close(kept)


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"{width} × {height} pixels: from 1 to {MAX_PIXELS:,} are read")


@cache
def _formats() -> list[str]:
    """The formats that the installed Pillow reads."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    # a damaged EXIF block raises errors of many kinds, and the pixels are sound
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _colours_of_16_bits(content: bytes, image: Any) -> np.ndarray | None:
    """The values (H, W, 3) of an image of 16 bits per colour, of which Pillow reads 8; None for any
    other image."""
    if not image.tile:
        return None
    _check_planes(image)
    rawmode = _rawmode(image.tile[0].args)
    if image.format == "PPM" and image.tile[0].args == ("RGB", 65535):
        codec, high, low = "raw", "RGB;16B", "RGB;16L"
    elif match := COLOURS_OF_16_BITS.fullmatch(rawmode):
        codec, high, low = "", rawmode, match[1] + OTHER_ORDER[match[2]]
    elif rawmode == GREY_AND_ALPHA:
        high_grey, low_grey, *_ = np.moveaxis(_read(content, "", "RGBA", "RGBA"), -1, 0)
        return np.dstack([high_grey << 8 | low_grey] * 3)
    else:
        return None
    high_bytes = _read(content, codec, high)[..., :3]
    return high_bytes << 8 | _read(content, codec, low)[..., :3]


def _rawmode(args: Any) -> str:
    """How the unpacker of a tile is told to read."""
    first = args if isinstance(args, str) else next(iter(args or ()), "")
    return str(first)


def _read(content: bytes, codec: str, rawmode: str, mode: str = "") -> np.ndarray:
    """An image file that is unpacked in another way than Pillow would, as uint16."""
    with Image.open(io.BytesIO(content), formats=_formats()) as image:
        other: Any = image
        other._mode = mode or image.mode
        other.tile = [_told(tile, codec, rawmode) for tile in other.tile]
        with _no_words_of_libtiff(image):
            return np.asarray(image).astype(np.uint16)


def _told(tile: Any, codec: str, rawmode: str) -> Any:
    """A tile with another rawmode and, where it is named, another codec."""
    if codec or isinstance(tile.args, str):
        return tile._replace(codec_name=codec or tile.codec_name, args=rawmode)
    return tile._replace(args=(rawmode, *tile.args[1:]))


def _check_planes(image: Any) -> None:
    """Raise ValueError for a TIFF that Pillow would read as other pixels than it holds."""
    if image.format != "TIFF":
        return
    tags = image.tag_v2
    are_apart = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2
    if are_apart and max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8:
        raise ValueError("a TIFF of more than 8 bits with a plane per colour is not read")


def _deep_values(image: Image.Image, colours: np.ndarray | None) -> np.ndarray | None:
    """The values (H, W) or (H, W, 3) of an image of more than 8 bits; None for any other."""
    if colours is not None:
        return colours
    if not image.mode.startswith(("I", "F")):
        return None
    values = np.asarray(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("a value is not finite")
    return values


def _to_8_bits(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Values as uint8: `scale` is what is shown as 0 and as 255."""
    low, high = scale
    num_bits = int(high).bit_length()
    levels: np.ndarray
    if values.dtype.kind in "iu" and num_bits >= 8 and scale == (0, 2**num_bits - 1):
        levels = values.astype(np.int64) >> (num_bits - 8)
    else:
        span = (high - low) or 1.0
        levels = ((values.astype(np.float64) - low) * (255 / span)).round()
    return levels.clip(0, 255).astype(np.uint8)


def _alpha_of(image: Image.Image, values: np.ndarray) -> Image.Image | None:
    """The transparency of an image of more than 8 bits."""
    if image.mode in ALPHA_MODES:
        return image.getchannel("A")
    key = image.info.get("transparency")
    if not isinstance(key, int | tuple):
        return None
    is_key = np.atleast_3d(values == np.asarray(key)).all(axis=-1)
    return Image.fromarray(np.where(is_key, 0, 255).astype(np.uint8))


def _has_alpha(image: Image.Image) -> bool:
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        return bool((alpha < 255).any())
    return False


def _on_white(image: Image.Image) -> Image.Image:
    """The image as RGB. What lies under a transparent pixel is not shown anywhere."""
    if not _has_alpha(image):
        return image.convert("RGB")
    layers = image.convert("RGBA")
    background = Image.new("RGBA", layers.size, (255, 255, 255, 255))
    return Image.alpha_composite(background, layers).convert("RGB")


def _resized(image: Image.Image, size: int) -> Image.Image:
    """The shorter side resized to `size`, the centre cropped."""
    if image.size == (size, size):
        return image
    scale = size / min(image.size)
    width = max(size, round(image.width * scale))
    height = max(size, round(image.height * scale))
    if width * height > MAX_PIXELS:
        raise ValueError(f"{image.width} × {image.height} pixels: too long for its width")
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    left = (width - size) // 2
    top = (height - size) // 2
    return image.crop((left, top, left + size, top + size))
