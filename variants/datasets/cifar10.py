"""CIFAR-10, 32×32 colour images of ten classes."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from variants.datasets import ImageDataset, Split, data_folder, download
from variants.datasets._images import comes_split, read_layout

HELD = ("test",)


@dataclass(frozen=True)
class Dataset(ImageDataset):
    """CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 colour images.

    `root` (else $GANBENCH_DATA/cifar10, else the user's cache) may hold torchvision's
    `cifar-10-batches-py`, or class-per-folder images as folders `train` and `test` or as zips named
    `…train.zip` and `…test.zip`. With none of them torchvision downloads the set."""

    root: str | None = field(default=None, compare=False)
    """Folder of the images."""

    shape = (3, 32, 32)
    source = "CIFAR-10 (Krizhevsky 2009)"
    licence = "none stated by its authors; cite Krizhevsky 2009"
    split = "the published one: 50,000 for training, 10,000 held out"

    @property
    def note(self) -> str:
        """Where the pixels come from."""
        if comes_split(data_folder(self.root, "cifar10"), HELD):
            return (
                "from image files: if lossy (JPEG), distances compare with each other and not with "
                "published figures"
            )
        return "from the published arrays"

    def load(self) -> tuple[Split, Split]:
        folder = data_folder(self.root, "cifar10")
        if comes_split(folder, HELD):
            images = read_layout(folder, size=32, held=HELD)
            assert images.held is not None
            return images.train, images.held
        if not (folder / "cifar-10-batches-py").exists():
            download("CIFAR10", folder)
        return _torchvision(folder, train=True), _torchvision(folder, train=False)


def _torchvision(folder: Path, train: bool) -> Split:
    import torchvision

    try:
        data = torchvision.datasets.CIFAR10(folder, train=train)
    # torchvision's check sums fail
    except RuntimeError as error:
        raise ValueError(f"{folder}/cifar-10-batches-py: {error}") from error
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return Split(images, torch.tensor(data.targets))
