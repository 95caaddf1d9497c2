"""Fashion-MNIST articles of clothing, 28×28."""

from dataclasses import dataclass

from variants.datasets._idx import MnistLike


@dataclass(frozen=True)
class Dataset(MnistLike):
    """Fashion-MNIST articles of clothing, 28×28: 60,000 and 10,000 grey images of ten classes.

    The four IDX files are looked for in `root`, else in $GANBENCH_DATA/fashion_mnist, the user's
    cache and the usual system folder, else downloaded through torchvision."""

    name = "fashion_mnist"
    torchvision_class = "FashionMNIST"
    source = "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747)"
    licence = "MIT"
