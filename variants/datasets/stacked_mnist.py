"""Stacked MNIST: a thousand modes that can be counted."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch

from variants.datasets import ImageDataset, Split, fashion_mnist, mnist

DIGITS: Any = {"mnist": mnist.Dataset, "fashion_mnist": fashion_mnist.Dataset}

# as many stacks as Lin et al. train on, and count modes with
N_TRAIN = 128_000
N_HOLDOUT = 26_000


@dataclass(frozen=True)
class Dataset(ImageDataset):
    """Three random digits stacked as the channels of an image: 10³ equally likely modes (Metz et
    al. 2017, arXiv:1611.02163; Srivastava et al. 2017, VEEGAN, arXiv:1705.07761; Lin et al. 2018,
    PacGAN, arXiv:1712.04086).

    The label is 100a + 10b + c for digits a, b, c in the red, green and blue channel. `digits` says
    which images are stacked: those of Fashion-MNIST make the same construction where MNIST cannot
    be had. `root` is the folder of these images."""

    digits: Literal["mnist", "fashion_mnist"] = "mnist"
    """Which images are stacked."""

    root: str | None = field(default=None, compare=False)
    """Folder of these images."""

    shape = (3, 28, 28)
    licence = "that of the digits: MNIST CC BY-SA 3.0, Fashion-MNIST MIT"
    split = (
        "drawn from the published one: 128,000 stacks of training digits, 26,000 of test digits "
        "held out"
    )
    num_modes = 1000

    def __post_init__(self) -> None:
        if self.digits not in DIGITS:
            raise ValueError(f"digits must be one of {', '.join(DIGITS)}, not {self.digits!r}")

    @property
    def source(self) -> str:
        return f"generated: three images of {self._single.source} stacked as channels"

    @cached_property
    def _single(self) -> Any:
        return DIGITS[self.digits](root=self.root)

    def classified(self) -> tuple[Split, Split]:
        """The single digits: a classifier of them, applied to every channel, tells the 1,000 modes
        apart."""
        return self._single.splits

    def load(self) -> tuple[Split, Split]:
        generator = torch.Generator().manual_seed(1000)

        def draw(digits: Split, n: int) -> Split:
            assert digits.labels is not None
            index = torch.randint(len(digits.samples), (n, 3), generator=generator)
            labels = digits.labels.long()[index] @ torch.tensor([100, 10, 1])
            return Split(digits.samples.squeeze(1)[index], labels)

        train, held = self._single.splits
        return draw(train, N_TRAIN), draw(held, N_HOLDOUT)
