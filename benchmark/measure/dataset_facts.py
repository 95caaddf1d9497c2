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
from variants.datasets import Split, running_text

NAMED_FILES = 20  # corrupt images, and files that are left out, that are named
NAMED_CLASSES = 1000
MOST_LEAKS = 0.5  # of the held-out samples

# Samples that occur more often than this come from a distribution of few values, of which the
# held-out samples cannot be others
MOST_COPIES = 10

SHORT_TEXT = 16  # characters; shorter samples occur twice in any long text

# of the hashes of text
MULTIPLIER = 0x9E3779B97F4A7C15
CODE_NUMBERS = np.random.default_rng(0).integers(2**64, size=256, dtype=np.uint64)
NUMBERS_AT_ONCE = 2**20

DARK = 64  # the brightest value of images of 8 bits that were meant to be seen is higher


def dataset_facts(dataset: Any) -> DatasetFacts:
    """The facts of a dataset whose data is loaded. Raises ValueError where most held-out samples
    are training samples."""
    train, held = dataset.splits
    corrupt = [*train.corrupt, *held.corrupt]
    left_out = {**train.left_out, **held.left_out}
    copies = _text_copies if dataset.modality == "text" else _copies
    repeats, leaks, num_compared = copies(train.samples, held.samples)
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
        n_compared=num_compared,
        remarks=[*train.remarks, *held.remarks, *_brightness(dataset, train.samples)],
    )
    _check_leaks(facts)
    return facts


def _check_leaks(facts: DatasetFacts) -> None:
    assert facts.n_train is not None
    assert facts.n_compared is not None
    assert facts.leaks is not None
    if facts.leaks <= MOST_LEAKS * facts.n_compared:
        return
    # text; of windows repeats are not counted: they never have few values
    if len(facts.shape) == 2 and facts.shape[0] < SHORT_TEXT:
        return
    if facts.repeats is not None and facts.n_train > MOST_COPIES * (facts.n_train - facts.repeats):
        return
    raise ValueError(
        f"{facts.leaks:,} of {facts.n_compared:,} held-out samples equal a training sample "
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


def _copies(train: Tensor, held: Tensor) -> tuple[int, int, int]:
    """How many training samples equal an earlier one; how many held-out samples equal a training
    sample, and of how many."""
    seen = set(_hashes(train))
    leaks = sum(sample in seen for sample in _hashes(held))
    return len(train) - len(seen), leaks, len(held)


def _hashes(samples: Tensor) -> Iterator[bytes]:
    for sample in samples.cpu().numpy():
        yield hashlib.blake2b(np.ascontiguousarray(sample).data, digest_size=16).digest()


def _text_copies(train: Tensor, held: Tensor) -> tuple[int | None, int, int]:
    """The same of codes (n, length). Of overlapping windows, held-out ones that do not overlap are
    looked for among all training windows, and repeats are not counted: neighbours that share all
    but one character repeat what their text repeats."""
    if running_text(held) is not None:
        held = held[:: held.shape[1]]
    hashes, counts = np.unique(np.concatenate([*_text_hashes(held)]), return_counts=True)
    is_found = np.zeros(len(hashes), bool)
    seen = []
    for found in _text_hashes(train):
        places = np.searchsorted(hashes, found).clip(max=len(hashes) - 1)
        is_found[places[hashes[places] == found]] = True
        if running_text(train) is None:
            seen.append(found)
    repeats = None
    if seen:
        repeats = len(train) - len(np.unique(np.concatenate(seen)))
    return repeats, int(counts[is_found].sum()), len(held)


def _text_hashes(samples: Tensor) -> Iterator[np.ndarray]:
    """A hash of 64 bits of every sample (n, length) of codes, some at a time: a polynomial in
    MULTIPLIER, put together from windows of 1, 2, 4, … characters."""
    length = samples.shape[1]
    text = running_text(samples)
    # windows of a text, or of every sample the only one
    codes = samples if text is None else text
    num_at_once = NUMBERS_AT_ONCE // (length if text is None else 1)
    for start in range(0, len(samples), num_at_once):
        end = start + num_at_once
        if text is not None:
            end += length - 1
        hashes = CODE_NUMBERS[codes[start:end].cpu().numpy()]
        span = 1
        while span < length:
            step = min(span, length - span)
            factor = np.uint64(pow(MULTIPLIER, span, 2**64))
            hashes = hashes[..., :-step] * factor + hashes[..., step:]
            span += step
        yield hashes.ravel()
