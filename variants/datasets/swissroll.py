"""Swiss roll in the plane."""

from dataclasses import dataclass

import torch

from variants.datasets import Base, Split


@dataclass(frozen=True)
class Dataset(Base):
    """scikit-learn's make_swiss_roll with noise 0.25, columns 0 and 2, divided by 7.5 (Gulrajani et
    al. 2017, arXiv:1704.00028, toy experiments). A fixed sample; the paper's script draws a new
    sample for every batch."""

    shape = (2,)
    modality = "points"
    source = (
        "generated: scikit-learn's make_swiss_roll, noise 0.25, columns 0 and 2, divided by 7.5"
    )
    licence = "none needed"
    split = "two independent draws: 100,000 for training, 20,000 held out"

    def load(self) -> tuple[Split, Split]:
        from sklearn.datasets import make_swiss_roll

        def draw(n: int, seed: int) -> Split:
            points, _ = make_swiss_roll(n, noise=0.25, random_state=seed)
            return Split(torch.from_numpy(points[:, [0, 2]] / 7.5).float())

        return draw(100_000, 2017), draw(20_000, 2018)
