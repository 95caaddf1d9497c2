"""Handwritten digits, 8×8: real images that ship with scikit-learn."""

from dataclasses import dataclass

import torch

from variants.datasets import Base, Split


@dataclass(frozen=True)
class Dataset(Base):
    """Optical recognition of handwritten digits (Alpaydin and Kaynak 1998): 1,797 grey 8×8 images of 17 levels,
    from scikit-learn; no download."""

    shape = (1, 8, 8)
    modality = "images"
    source = "scikit-learn's load_digits, a copy of the test set of UCI's Optical Recognition of Handwritten Digits"
    licence = "CC BY 4.0 (UCI Machine Learning Repository)"
    split = "stratified by class at a fixed seed: 1,000 for training, 797 held out"

    def load(self) -> tuple[Split, Split]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        images = torch.from_numpy(digits.images).unsqueeze(1).mul(255 / 16).round().to(torch.uint8)
        labels = torch.from_numpy(digits.target)
        train, held = train_test_split(range(len(labels)), train_size=1000, stratify=labels, random_state=0)
        return Split(images[train], labels[train]), Split(images[held], labels[held])
