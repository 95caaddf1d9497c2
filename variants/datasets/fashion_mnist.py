"""Fashion-MNIST articles of clothing, 28×28."""

from dataclasses import dataclass, field

from variants.datasets import Base, Split
from variants.datasets._idx import load_mnist_like


@dataclass(frozen=True)
class Dataset(Base):
    """Fashion-MNIST articles of clothing, 28×28: 60,000 and 10,000 grey images of ten classes.

    The four IDX files are looked for in `root`, else in $GANBENCH_DATA/fashion_mnist, the user's cache and the usual
    system folder, else downloaded through torchvision.
    """

    root: str | None = field(default=None, compare=False)

    shape = (1, 28, 28)
    modality = "images"
    source = "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747)"
    licence = "MIT"
    split = "the published one: 60,000 for training, 10,000 held out"

    def load(self) -> tuple[Split, Split]:
        return load_mnist_like("fashion_mnist", "FashionMNIST", self.root)
