"""What is known of a dataset's samples: counts, classes, what was left out, and samples that occur
twice or in both splits."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.measure.protocol import content_hash
from benchmark.store.schema import CorruptImages, DatasetFacts, LeftOutFiles
from variants.datasets import Split

NAMED_FILES = 20  # corrupt images, and files that are left out, that are named
NAMED_CLASSES = 1000
MOST_LEAKS = 0.5  # of the held-out samples

# Samples that occur more often than this come from a distribution of few values, of which the
# held-out samples cannot be others
MOST_COPIES = 10

DARK = 64  # the brightest value of images of 8 bits that were meant to be seen is higher


def dataset_facts(dataset: Any) -> DatasetFacts:
    """The facts of a dataset whose data is loaded. Raises ValueError where most held-out samples
    are training samples."""
    train, held = dataset.splits
    corrupt = [*train.corrupt, *held.corrupt]
    left_out = {**train.left_out, **held.left_out}
    repeats, leaks = _repeats_and_leaks(train.samples, held.samples)
    facts = DatasetFacts(
        source=dataset.source,
        licence=dataset.licence,
        split=dataset.split,
        note=dataset.note,
        content_hash=content_hash(train.samples, held.samples),
        n_train=len(train.samples),
        n_holdout=len(held.samples),
        shape=list(dataset.shape),
        n_classes=_num_classes(dataset, train),
        classes=list(train.classes[:NAMED_CLASSES]),
        corrupt=CorruptImages(n=len(corrupt), names=corrupt[:NAMED_FILES]),
        left_out=LeftOutFiles(
            n=len(left_out),
            names=list(left_out)[:NAMED_FILES],
            reasons=dict(Counter(left_out.values()).most_common()),
        ),
        repeats=repeats,
        leaks=leaks,
        remarks=[*train.remarks, *held.remarks, *_brightness(dataset, train.samples)],
    )
    _check_leaks(facts)
    return facts


def _check_leaks(facts: DatasetFacts) -> None:
    assert facts.n_train is not None
    assert facts.n_holdout is not None
    assert facts.repeats is not None
    assert facts.leaks is not None
    distinct = facts.n_train - facts.repeats
    if facts.leaks <= MOST_LEAKS * facts.n_holdout or facts.n_train > MOST_COPIES * distinct:
        return
    raise ValueError(
        f"{facts.leaks:,} of {facts.n_holdout:,} held-out samples equal a training sample "
        f"({facts.split}): a generator that copies its training data would look good; hold out "
        "samples that are not trained on"
    )


def _num_classes(dataset: Any, train: Split) -> int | None:
    """How many classes images have; None without labels. The labels of points are modes."""
    if dataset.modality != "images" or train.labels is None:
        return None
    return len(train.classes) or len(train.labels.unique())


def _brightness(dataset: Any, samples: Tensor) -> Iterator[str]:
    if dataset.modality != "images" or not len(samples):
        return
    brightest = int(samples.max())
    if brightest < DARK:
        yield f"all training images are dark: the brightest value is {brightest} of 255"


def _repeats_and_leaks(train: Tensor, held: Tensor) -> tuple[int, int]:
    """How many training samples equal an earlier one, and how many held-out samples equal a
    training sample."""
    seen = set(_hashes(train))
    leaks = sum(sample in seen for sample in _hashes(held))
    return len(train) - len(seen), leaks


def _hashes(samples: Tensor) -> Iterator[bytes]:
    for sample in samples.cpu().numpy():
        yield hashlib.blake2b(np.ascontiguousarray(sample).data, digest_size=16).digest()
