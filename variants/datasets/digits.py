"""Handwritten digits, 8×8: real images that ship with scikit-learn."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from variants._files import whole_file
from variants.datasets import ImageDataset, Split, cache_folder


@dataclass(frozen=True)
class Dataset(ImageDataset):
    """Optical recognition of handwritten digits (Alpaydin and Kaynak 1998): 1,797 grey 8×8 images
    of 17 levels, from scikit-learn; no download."""

    shape = (1, 8, 8)
    source = (
        "scikit-learn's load_digits, a copy of the test set of UCI's Optical Recognition of "
        "Handwritten Digits"
    )
    licence = "CC BY 4.0 (UCI Machine Learning Repository)"
    split = "stratified by class at a fixed seed: 1,000 for training, 797 held out"

    def load(self) -> tuple[Split, Split]:
        # kept in a file: scikit-learn takes a second to import, in every worker
        path = cache_folder() / "digits.npz"
        try:
            images, labels, order = _read(path)
        # a damaged file raises errors of many kinds
        except Exception:
            images, labels, order = _stratified()
            with suppress(OSError), whole_file(path) as file:
                np.savez(file, images=images.numpy(), labels=labels.numpy(), order=order.numpy())
        train = order[:1000]
        held = order[1000:]
        return Split(images[train], labels[train]), Split(images[held], labels[held])


def _read(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    with np.load(path) as arrays:
        images = torch.from_numpy(arrays["images"])
        labels = torch.from_numpy(arrays["labels"])
        order = torch.from_numpy(arrays["order"])
    return images, labels, order


def _stratified() -> tuple[Tensor, Tensor, Tensor]:
    """All images, their labels, and their order: 1,000 for training come first."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = torch.from_numpy(digits.images).unsqueeze(1).mul(255 / 16).round().to(torch.uint8)
    labels = torch.from_numpy(digits.target)
    train, held = train_test_split(
        range(len(labels)), train_size=1000, stratify=labels, random_state=0
    )
    return images, labels, torch.tensor([*train, *held])
