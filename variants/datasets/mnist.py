"""MNIST handwritten digits, 28×28."""

from dataclasses import dataclass

from variants.datasets._idx import MnistLike


@dataclass(frozen=True)
class Dataset(MnistLike):
    """MNIST handwritten digits, 28×28: 60,000 and 10,000 grey images of ten classes.

    The four IDX files are looked for in `root`, else in $GANBENCH_DATA/mnist, the user's cache and
    the usual system folder, else downloaded through torchvision."""

    name = "mnist"
    torchvision_class = "MNIST"
    source = "MNIST (LeCun, Cortes, Burges 1998)"
    licence = "CC BY-SA 3.0"
