"""Images of your own: a folder or a zip."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from variants.datasets import ImageDataset, Split, data_folder
from variants.datasets._images import Images, read_layout
from variants.datasets._listing import check_collection


@dataclass(frozen=True)
class Dataset(ImageDataset):
    """Colour images of any size, resized and centre-cropped to `size`: LSUN, CelebA, ImageNet and
    the like.

    `root` (else $GANBENCH_DATA/COLLECTION, else the user's cache; `image_folder` without a
    collection) is a folder or a zip of images, in one folder per class or all in one. It may come
    split: as folders `train` and `test` (or `val`), above or below those of the classes, or as zips
    named `…train.zip` and `…test.zip` (`…val.zip`). Otherwise the last `n_holdout` images of a
    fixed random order are held out.

    Images are turned as their EXIF orientation says, and transparency is put on white. Of several
    frames the first is taken."""

    size: int = 64
    """Pixels, both sides."""

    collection: str = ""
    """What the images are, such as lsun_bedroom: tells one folder from another in every table."""

    n_holdout: int = 10_000
    """Images held out, where the folder does not come split."""

    root: str | None = field(default=None, compare=False)
    """A folder or a zip of images."""

    corrupt_tolerance: float = field(default=0.001, compare=False)
    """The share of unreadable images that may be left out."""

    licence = "that of the images"
    note = (
        "resized and cropped by this suite: distances compare with each other and not with "
        "published figures"
    )

    def __post_init__(self) -> None:
        if self.size < 8 or self.size % 4:
            raise ValueError(f"size must be a multiple of 4, from 8 on, not {self.size}")
        check_collection(self.collection)
        if self.n_holdout < 1:
            raise ValueError(f"n_holdout must be at least 1, not {self.n_holdout}")
        if not 0 <= self.corrupt_tolerance < 1:
            raise ValueError(
                f"corrupt_tolerance is a share from 0 to below 1, not {self.corrupt_tolerance}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return 3, self.size, self.size

    @property
    def source(self) -> str:
        return f"{self.collection or 'images'}, from a folder or a zip"

    @property
    def split(self) -> str:
        sentence = ""
        # Without images it is what will happen to those that come
        with suppress(OSError):
            sentence = self._images.sentence
        return sentence or f"{self.n_holdout:,} images held out, the last of a fixed random order"

    @property
    def _path(self) -> Path:
        return data_folder(self.root, self.collection or "image_folder")

    @cached_property
    def _images(self) -> Images:
        path = self._path
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            raise OSError(
                f"no images in {path}: put a folder per class there, or all images, or folders or "
                "zips named train and test, or give a folder or a zip as the dataset's root"
            )
        return read_layout(path, self.size, self.corrupt_tolerance)

    def load(self) -> tuple[Split, Split]:
        every = self._images.train
        if self._images.held:
            return every, self._images.held
        n = len(every.samples) - self.n_holdout
        if n < self.n_holdout:
            raise ValueError(
                f"{self._path} holds {len(every.samples)} images: too few to hold out n_holdout = "
                f"{self.n_holdout}, at least twice as many are needed"
            )
        train = replace(every, samples=every.samples[:n])
        held = Split(every.samples[n:], None, every.classes)
        if every.labels is not None:
            train = replace(train, labels=every.labels[:n])
            held = replace(held, labels=every.labels[n:])
        return train, held
