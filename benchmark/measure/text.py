"""Measure text, character by character: its n-grams against those of the whole held-out text, how
many samples differ, how sure the generator is, and what it copies from the training text."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.matrix.options import Evaluation
from benchmark.measure.grams import Grams, count_grams, js_divergence
from benchmark.measure.protocol import (
    Draw,
    Plant,
    Reading,
    content_hash,
    metric,
    metric_names,
    read_metrics,
)
from benchmark.measure.substrings import Substrings
from benchmark.metrics import column
from benchmark.train.snapshot import SAMPLING_BATCH, Snapshot
from variants.datasets import running_text

ORDERS = (1, 2, 3, 4)  # of n-grams

# bytes of the places of the training text, from its beginning, that `copied` looks through: as many
# for every place as a sample has characters. Seconds once per process
MOST_SEARCHED = 2**28

MOST_DRAWS = 100  # of a noise floor: seconds


@dataclass
class Samples:
    """Samples as metrics take them."""

    codes: Tensor  # (n, length)
    confidence: float  # the mean largest probability of a position
    num_characters: int

    @classmethod
    def of(cls, samples: Tensor, num_characters: int) -> "Samples":
        """The samples of probabilities (n, length, num_characters), at every position the likeliest
        character, of equals the first; or of codes (n, length), whose confidence is 1."""
        if samples.dim() == 2:
            return cls(samples.cpu(), 1.0, num_characters)
        largest, codes = samples.max(dim=2)
        return cls(codes.cpu(), largest.cpu().double().mean().item(), num_characters)

    def grams(self, order: int) -> Grams:
        return count_grams(self.codes, order, self.num_characters)


@dataclass
class Reference:
    """What generated text is compared with."""

    held: Tensor  # held-out samples (n, length), codes
    train: Tensor  # training samples (n, length), codes
    num_characters: int
    padding: int | None = None  # the code behind the end of a line

    @cached_property
    def grams(self) -> dict[int, Grams]:
        """The n-grams of the held-out samples, by order."""
        counted = {}
        for order in ORDERS:
            counted[order] = count_grams(self.held, order, self.num_characters)
        return counted

    @cached_property
    def substrings(self) -> Substrings:
        """The substrings of the training text, as far as their places fit into MOST_SEARCHED."""
        length = self.train.shape[1]
        num_places = MOST_SEARCHED // length
        most = num_places // length
        if running_text(self.train) is not None:
            most = num_places - length + 1
        return Substrings(self.train[:most], self.num_characters, self.padding)


class Instrument:
    """The instrument for text: n generated samples against all held-out ones."""

    extractor = None

    def __init__(self, dataset: Any, evaluation: Evaluation, device: str) -> None:
        train = dataset.train()
        held = dataset.holdout()
        self.n = evaluation.n.text
        if self.n > len(train):
            raise ValueError(
                f"evaluation.n.text is {self.n:,}, but its noise floor needs as many training "
                f"samples, and there are {len(train):,}"
            )
        names = metric_names("text", evaluation.metrics, set())
        self.columns = {name: column(name, self.n) for name in names}
        self.dataset = dataset
        length, num_characters = dataset.shape
        padding = num_characters - 1 if dataset.segments == "lines" else None
        self.reference = Reference(held, train, num_characters, padding)
        self.parts = {
            "modality": "text",
            "dataset": content_hash(train, held),
            "alphabet": dataset.characters,
            "length": length,
            "segments": dataset.segments,
            "n_fake": self.n,
            "n_real": len(held),
            "reference": "held out",
            "sampling_batch": SAMPLING_BATCH,
            "sampling_statistics": evaluation.sampling_statistics,  # of batch norm
            "most_searched": MOST_SEARCHED,
        }

    def generated(self, snapshot: Snapshot) -> Tensor:
        # samples do not tell how sure the generator is
        return snapshot.outputs(self.n)

    def measure(self, samples: Tensor, reference: Reference | None = None) -> dict[str, Reading]:
        """Every metric of probabilities (n, length, characters) or codes (n, length), by column."""
        return self._read(self.columns, samples, reference or self.reference)

    def _read(
        self, columns: dict[str, str], samples: Tensor, reference: Reference
    ) -> dict[str, Reading]:
        found = Samples.of(samples, reference.num_characters)
        return read_metrics("text", columns, found, reference)

    def marks(self) -> dict[str, dict[str, float]]:
        """Of text that has the right letter frequencies and nothing else, and of uniformly random
        text; always the same ones."""
        rng = np.random.default_rng(0)
        size = (self.n, self.dataset.shape[0])
        num_characters = self.reference.num_characters
        letters = count_grams(self.reference.train, 1, num_characters)
        shares = letters.counts / letters.total
        texts = {
            "letter frequencies": rng.choice(letters.numbers, size, p=shares),
            "uniform random text": rng.integers(num_characters, size=size),
        }
        marks = {}
        for name, codes in texts.items():
            readings = self.measure(torch.from_numpy(codes))
            marks[name] = {column: reading.value for column, reading in readings.items()}
        return marks

    floor_draws = MOST_DRAWS
    floor_source = "training text, against all held-out text; copied: held-out text"

    def draws(self, count: int, spare: int = 0) -> Iterator[Draw]:
        num_train, num_held = len(self.reference.train), len(self.reference.held)
        nothing = torch.empty(0, dtype=torch.long)
        for seed in range(count):
            rng = np.random.default_rng(seed)
            yield Draw(
                chosen=_drawn(rng, num_train, self.n),
                spare=nothing,
                training=_drawn(rng, num_train, self.n),
                reference=self.reference,
                unseen=_drawn(rng, num_held, self.n),
            )

    def measure_real(self, draw: Draw, plant: Plant | None = None) -> dict[str, Reading]:
        """`copied` is read of held-out samples: all others would be found in the training text."""
        columns, of_copied = dict(self.columns), {}
        if "copied" in columns:
            of_copied["copied"] = columns.pop("copied")
        parts = (
            (columns, self.reference.train[draw.chosen]),
            (of_copied, self.reference.held[draw.unseen]),
        )
        readings: dict[str, Reading] = {}
        for part, samples in parts:
            planted = plant(samples) if plant else samples
            readings |= self._read(part, planted, draw.reference)
        return readings

    def real_samples(self) -> tuple[Tensor, Tensor | None]:
        return self.reference.train, None


def _drawn(rng: np.random.Generator, total: int, n: int) -> Tensor:
    """n of `total` samples, or all of them where there are fewer, (n,)."""
    return torch.from_numpy(rng.choice(total, min(n, total), replace=False))


@metric("text")
def js_1(fake: Samples, reference: Reference) -> float:
    """Jensen–Shannon divergence, base 2, of the frequencies of single characters in generated
    samples and in all held-out text (Gulrajani et al. 2017, arXiv:1704.00028, whose code compares
    with the training text). Without smoothing. n samples of a perfect generator do not reach 0:
    compare it with its noise floor and marks."""
    return js_divergence(fake.grams(1), reference.grams[1])


@metric("text")
def js_2(fake: Samples, reference: Reference) -> float:
    """`js_1` of pairs of characters. No pair spans two samples."""
    return js_divergence(fake.grams(2), reference.grams[2])


@metric("text")
def js_3(fake: Samples, reference: Reference) -> float:
    """`js_1` of three characters in a row."""
    return js_divergence(fake.grams(3), reference.grams[3])


@metric("text")
def js_4(fake: Samples, reference: Reference) -> float:
    """`js_1` of four characters in a row."""
    return js_divergence(fake.grams(4), reference.grams[4])


@metric("text")
def unique(fake: Samples, reference: Reference) -> float:
    """The share of distinct samples: 1 / n if all are the same."""
    return len(fake.codes.unique(dim=0)) / len(fake.codes)


@metric("text")
def confidence(fake: Samples, reference: Reference) -> float:
    """The mean over samples and positions of the probability of the likeliest character."""
    return fake.confidence


@metric("text")
def copied(fake: Samples, reference: Reference) -> float:
    """The length of the longest substring of a sample that occurs in the training text, the median
    over samples, in characters; the padding of lines does not count. Its noise floor is that of
    held-out text."""
    return float(np.median(reference.substrings.longest(fake.codes)))
