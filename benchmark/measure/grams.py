"""Counts of character n-grams, and the Jensen–Shannon divergence of two of them: exact, in
float64."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from variants.datasets import running_text

Array = NDArray[Any]
AT_ONCE = 2**17  # samples that are counted at once: their numbers are 8 bytes a character


@dataclass(frozen=True)
class Grams:
    """How often each n-gram occurs in samples."""

    numbers: Array
    """The n-grams that occur, as rising numbers: their characters are the digits, (k,) int64."""
    counts: Array
    """How often each occurs, (k,)."""

    @property
    def total(self) -> float:
        return float(self.counts.sum())


def count_grams(samples: Tensor, order: int, num_characters: int) -> Grams:
    """The n-grams of n = order characters within samples, which are codes (n, length) below
    num_characters. No n-gram spans two samples. Windows of running text are counted from the text,
    in which each n-gram stands once, with the number of windows that hold it."""
    total = Grams(np.empty(0, np.int64), np.empty(0))
    for part in samples.split(AT_ONCE):
        weights = None
        rows = part
        text = running_text(part)
        if text is not None:
            rows = text.unsqueeze(0)
            weights = _num_windows(len(part), part.shape[1], order)
        numbers = _numbers(rows.numpy(force=True), order, num_characters)
        total = _sum(total, _counted(numbers.ravel(), weights))
    return total


def js_divergence(one: Grams, other: Grams) -> float:
    """The Jensen–Shannon divergence of the relative frequencies p and q, in bits, from 0 to 1:
    ½ Σ p log₂(p / m) + ½ Σ q log₂(q / m), m = (p + q) / 2, without smoothing. NaN where one side
    has no n-gram."""
    if not one.total or not other.total:
        return float("nan")
    _, here, there = np.intersect1d(
        one.numbers, other.numbers, assume_unique=True, return_indices=True
    )
    p, q = one.counts[here] / one.total, other.counts[there] / other.total
    middle = (p + q) / 2
    shared = (p * np.log2(p / middle) + q * np.log2(q / middle)).sum()
    # What one side alone has is p log₂ 2: counted, so that 0 and 1 are exact
    alone = _share_without(one, here) + _share_without(other, there)
    return float(shared + alone) / 2


def _share_without(grams: Grams, index: Array) -> float:
    return (grams.total - float(grams.counts[index].sum())) / grams.total


def _numbers(codes: Array, order: int, num_characters: int) -> Array:
    """The n-grams of rows of codes (n, length) as numbers (n, length − order + 1)."""
    width = max(codes.shape[1] - order + 1, 0)
    numbers = np.zeros((len(codes), width), np.int64)
    for i in range(order):
        numbers *= num_characters
        numbers += codes[:, i : i + width]
    return numbers


def _num_windows(num_windows: int, length: int, order: int) -> Array:
    """How many windows hold the n-gram at each place of the running text that they are of."""
    place = np.arange(num_windows + length - order)
    first = np.maximum(place + order - length, 0)
    last = np.minimum(place, num_windows - 1)
    return np.maximum(last - first + 1, 0)


def _counted(numbers: Array, weights: Array | None) -> Grams:
    distinct, inverse = np.unique(numbers, return_inverse=True)
    return Grams(distinct, np.bincount(inverse, weights, len(distinct)).astype(float))


def _sum(one: Grams, other: Grams) -> Grams:
    if not len(one.numbers):
        return other
    numbers = np.concatenate([one.numbers, other.numbers])
    return _counted(numbers, np.concatenate([one.counts, other.counts]))
