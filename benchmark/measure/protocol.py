"""Snapshot -> numbers, one file per modality.

An instrument is what a dataset is measured with: it holds the reference statistics, and its
protocol names everything its numbers depend on. It is opened once per process and stays resident. A
metric is a function of its own name in the modality's file: (fake, reference) -> a value, or a
value and its standard error."""

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from benchmark.matrix.cell import digest
from benchmark.metrics import METRICS
from variants import datasets

Reading = tuple[float, float | None]  # a value and its standard error, where one is known


class Instrument(Protocol):
    """What a modality's file provides: `Instrument(dataset, evaluation, device)`."""

    parts: dict[str, Any]  # the protocol, part by part
    n: int  # samples a snapshot is measured on
    columns: dict[str, str]  # metric name -> column
    extractor: Any  # of features; None where there is none

    def measure(self, samples: Tensor) -> dict[str, Reading]:
        """Every metric of samples (n, *shape), by column."""

    def floor(self) -> dict[str, Reading]:
        """Every metric of real held-out samples in the place of generated ones: the noise floor."""


def protocol_id(instrument: Instrument) -> str:
    """The id that stands on every row: rows of different protocols are never compared."""
    return digest(instrument.parts)


def metric_names(modality: str, wanted: list[str]) -> list[str]:
    """The metrics of a modality among those wanted; all of them where none is named."""
    return [
        name
        for name, m in METRICS.items()
        if modality in m.modality and (not wanted or name in wanted)
    ]


def with_error(value: float | Reading) -> Reading:
    """A metric function's answer as a value and its standard error."""
    return value if isinstance(value, tuple) else (value, None)


def content_hash(*tensors: Tensor | None) -> str:
    """The first 16 hex digits of the sha256 of the tensors' bytes and shapes."""
    total = hashlib.sha256()
    for tensor in tensors:
        if tensor is not None:
            total.update(str((tuple(tensor.shape), tensor.dtype)).encode())
            total.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
    return total.hexdigest()[:16]


def cache_folder() -> Path:
    """Where classifiers and real statistics are kept between runs."""
    return datasets.cache_folder() / "measure"
