"""The longest substring that a sample shares with a text."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from variants.datasets import running_text

Array = NDArray[Any]


class Substrings:
    """Every place of a text, in the order of the characters that follow it."""

    def __init__(self, samples: Tensor, num_characters: int, padding: int | None = None) -> None:
        """samples: codes (n, length) below num_characters, windows of running text or lines.
        padding: the code behind the end of a line, which no substring has in it. A substring does
        not span two lines. 0 stands after the end of a text."""
        self.length = samples.shape[1]
        self.padding = padding
        self.dtype = np.dtype(np.uint8 if num_characters < 256 else ">u2")
        text = running_text(samples)
        rows = samples if text is None else text.unsqueeze(0)
        self.places = self._suffixes(rows.numpy(force=True))
        self.places.sort()

    def longest(self, samples: Tensor) -> Array:
        """The length of the longest substring of each sample (n, length) that occurs in the text,
        (n,). Of all places of a text, one of the two that a suffix lies between begins with the
        most characters of it."""
        codes = samples.numpy(force=True)
        suffixes = self._suffixes(codes)
        after = np.searchsorted(self.places, suffixes)
        lengths = np.zeros(len(suffixes), int)
        for neighbour in (after - 1, after):
            place = self.places[neighbour.clip(0, len(self.places) - 1)]
            lengths = np.maximum(lengths, self._num_equal(suffixes, place))
        # Beyond the end of a sample, and in padding, there is nothing to share
        rest = self._ends(codes) - np.arange(self.length)
        return np.minimum(lengths.reshape(-1, self.length), rest).max(axis=1)

    def _ends(self, codes: Array) -> Array:
        """From every place of samples (n, length) on, the place of the next padding, or the end of
        the sample, (n, length)."""
        ends = np.full(codes.shape, self.length)
        if self.padding is not None:
            ends = np.where(codes == self.padding, np.arange(self.length), self.length)
        return np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]

    def _suffixes(self, rows: Array) -> Array:
        """The `length` characters from every place of rows of codes (n, width) on, as strings of
        bytes, whose order is that of the characters, (n · width,)."""
        num_rows, width = rows.shape
        padded = np.zeros((num_rows, width + self.length - 1), self.dtype)
        padded[:, :width] = rows
        padded[:, :width] += 1
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.length, axis=1)
        flat = np.ascontiguousarray(windows).reshape(-1)
        return flat.view(f"S{self.length * self.dtype.itemsize}")

    def _num_equal(self, one: Array, other: Array) -> Array:
        """How many characters two arrays of strings (n,) have in common at their beginnings."""
        differ = self._codes(one) != self._codes(other)
        return np.where(differ.any(axis=1), differ.argmax(axis=1), self.length)

    def _codes(self, strings: Array) -> Array:
        return strings.view(self.dtype).reshape(-1, self.length)
