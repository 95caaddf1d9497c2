"""What every modality's file provides: an `Instrument` that measures samples, and metrics.

An instrument holds the reference statistics of one dataset, and its protocol names everything that
its numbers depend on. A metric is a function of samples and reference statistics, registered by
`@metric` in the modality's file under the name of its row in METRICS.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmark.matrix.cell import digest
from benchmark.metrics import METRICS
from benchmark.train.snapshot import Snapshot
from variants import datasets

Need = Literal["modes", "logits"]
Plant = Callable[[Tensor], Tensor]
"""Samples -> the same with a fault in a share of them."""


class Reading(NamedTuple):
    """What a metric says of samples."""

    value: float
    error: float | None = None
    """The value's standard error, where one is known."""


class Draw(NamedTuple):
    """Real samples that stand for generated ones, and what they are compared with. Samples are
    indices of `Instrument.real_samples`."""

    chosen: Tensor
    """The n samples."""
    spare: Tensor
    """Others, which are in no split."""
    training: Tensor
    """What a generator would have learned from."""
    reference: Any
    unseen: Tensor | None = None
    """Held-out samples that stand for generated ones where a metric looks for training samples:
    indices of the held-out split. None where `chosen` does that too."""


class Instrument(Protocol):
    """What a modality's file provides: `Instrument(dataset, evaluation, device)`."""

    parts: dict[str, Any]  # the protocol, part by part
    n: int  # samples a snapshot is measured on
    columns: dict[str, str]  # metric name -> column
    extractor: Any  # of features; None where there is none
    dataset: Any  # what was opened
    reference: Any  # what samples are compared with

    @property
    def floor_draws(self) -> int:
        """How many draws a noise floor can be the mean of, by their cost and the samples there
        are."""

    @property
    def floor_source(self) -> str:
        """Where the samples of `draws` come from."""

    def generated(self, snapshot: Snapshot) -> Tensor:
        """The n samples of a snapshot as `measure` takes them."""

    def measure(self, samples: Tensor, reference: Any = None) -> dict[str, Reading]:
        """Every metric of samples (n, *shape), by column; against another reference than the
        dataset's where one is given."""

    def marks(self) -> dict[str, dict[str, float]]:
        """What every metric reads of n samples that are easy to make, by mark and column: marks to
        read a value by. Empty where there are none."""

    def draws(self, count: int, spare: int = 0) -> Iterator[Draw]:
        """Draws of n real samples with `spare` others, always the same ones."""

    def measure_real(self, draw: Draw, plant: Plant | None = None) -> dict[str, Reading]:
        """Every metric of the n samples of a draw, by column, with a fault where one is
        planted."""

    def real_samples(self) -> tuple[Tensor, Tensor | None]:
        """The samples that draws are made from, and their classes or modes where known."""


def order_of_draw(num_samples: int, seed: int) -> Tensor:
    """A random order of samples, (num_samples,)."""
    return torch.randperm(num_samples, generator=torch.Generator().manual_seed(seed))


class MetricFunction(NamedTuple):
    """A registered metric."""

    compute: Callable[[Any, Any], float | Reading]
    """(samples or their features, reference) -> the value, or the value and its error."""
    needs: Need | None
    """What the dataset or the extractor must have: known modes, or logits."""


FUNCTIONS: dict[str, dict[str, MetricFunction]] = {"points": {}, "images": {}, "text": {}}

Function = TypeVar("Function", bound=Callable[[Any, Any], float | Reading])


def metric(modality: str, needs: Need | None = None) -> Callable[[Function], Function]:
    """Register a function as the metric of its name on samples of a modality."""

    def register(function: Function) -> Function:
        name = function.__name__
        assert name in METRICS, f"METRICS has no row {name!r}"
        assert modality in METRICS[name].modality, (
            f"the row {name!r} of METRICS is not of {modality}"
        )
        FUNCTIONS[modality][name] = MetricFunction(function, needs)
        return function

    return register


def metric_names(modality: str, wanted: list[str], available: set[Need]) -> list[str]:
    """The metrics of a modality among those wanted (all of them where none is named), without those
    that need what is not available. In the order of METRICS."""
    names = []
    for name in METRICS:
        function = FUNCTIONS[modality].get(name)
        if function is None or (wanted and name not in wanted):
            continue
        if function.needs is None or function.needs in available:
            names.append(name)
    return names


def read_metrics(
    modality: str, columns: dict[str, str], samples: Any, reference: Any
) -> dict[str, Reading]:
    """Every metric of `columns` (name -> column), by column."""
    readings = {}
    for name, column in columns.items():
        answer = FUNCTIONS[modality][name].compute(samples, reference)
        readings[column] = answer if isinstance(answer, Reading) else Reading(answer)
    return readings


def protocol_id(instrument: Instrument) -> str:
    """The id of an instrument's protocol, which every row carries: rows of different protocols are
    never compared."""
    return digest(instrument.parts)


def content_hash(*tensors: Tensor | None) -> str:
    """The first 16 hex digits of the sha256 of the tensors' bytes, shapes and types; of overlapping
    windows the text is hashed, once."""
    total = hashlib.sha256()
    for tensor in tensors:
        if tensor is not None:
            total.update(str((tuple(tensor.shape), tensor.dtype)).encode())
            text = datasets.running_text(tensor)
            numbers = tensor if text is None else text
            total.update(np.ascontiguousarray(numbers.cpu().numpy()).data)
    return total.hexdigest()[:16]


def cache_folder() -> Path:
    """Where classifiers and the features of real images are kept between runs."""
    return datasets.cache_folder() / "measure"
