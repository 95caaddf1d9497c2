"""Text as samples: codes of characters, in windows of running text or one line each."""

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from variants.datasets import Base, Split
from variants.datasets._alphabet import (
    ALPHABETS,
    FIXED,
    LINE_END,
    NUM_CODE_POINTS,
    PADDING,
    Encoder,
    code_points,
    is_lower,
    most_frequent,
    num_characters,
)
from variants.datasets._text_files import Texts

NUM_BLOCKS = 20  # of a text; the last tenth of each is held out
TENTH = 10  # every tenth file is held out
SHORTEST = 4  # characters of a sample: the metrics count runs of four
LONGEST = 4096  # lines are padded to this length
SEGMENTS = ("windows", "lines")
NAMED = 5  # dropped characters that a remark names

BY_BLOCKS = f"{NUM_BLOCKS} equal blocks of the text, the last 10 % of each held out"


@dataclass(frozen=True)
class Text(Base):
    """Text of `length` characters a sample, as uint8 codes (n, length) of `characters`; networks
    see it one-hot.

    `windows` are all windows of the running text. They overlap and are a view of it: a copy takes
    `length` times its memory. `lines` are the lines of the text, cut at `length` and padded with
    the back-tick, as in the script of WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028,
    gan_language.py); the back-tick is then one more character, and no other one is read as it.

    Held-out text is parts of the source of which no character is in a training sample."""

    length: int = 32
    """Characters of a sample."""

    alphabet: Literal["lower", "letters", "all"] = "lower"
    """lower: a–z, 0–9, the space and .,;:!?'"()-; letters: a–z and the space; all: the 95 most
    frequent. With the first two, text becomes lower-case."""

    segments: Literal["windows", "lines"] = "windows"
    """Whether a sample is a window of the running text or a line of it."""

    modality = "text"

    def __post_init__(self) -> None:
        if not SHORTEST <= self.length <= LONGEST:
            raise ValueError(f"length must be from {SHORTEST} to {LONGEST:,}, not {self.length:,}")
        if self.alphabet not in ALPHABETS:
            raise ValueError(
                f"alphabet must be one of {', '.join(ALPHABETS)}, not {self.alphabet!r}"
            )
        if self.segments not in SEGMENTS:
            raise ValueError(
                f"segments must be one of {', '.join(SEGMENTS)}, not {self.segments!r}"
            )

    def texts(self) -> AbstractContextManager[Texts]:
        """The files of the text, open. Raises ValueError and OSError as `load` does."""
        raise NotImplementedError

    def cleaned(self, text: str) -> str:
        """A piece of the text without what is no text, such as marks between its parts."""
        return text

    @property
    def shape(self) -> tuple[int, ...]:
        return self.length, num_characters(self.alphabet) + len(self._padding)

    @property
    def split(self) -> str:
        return BY_BLOCKS

    @property
    def _padding(self) -> str:
        return PADDING if self.segments == "lines" else ""

    @cached_property
    def characters(self) -> str:
        """The characters of the codes: code i is the i-th. Those of `all` are known from the text,
        which is read; the padding comes last."""
        if self.alphabet in FIXED:
            return "".join(sorted(FIXED[self.alphabet])) + self._padding
        counts = np.zeros(NUM_CODE_POINTS, np.int64)
        with self.texts() as texts:
            for file in texts.files:
                for piece in file.pieces():
                    points = code_points(self.cleaned(piece), lower=False)
                    counts += np.bincount(points, minlength=NUM_CODE_POINTS)
        return most_frequent(counts, excluded=self._padding) + self._padding

    def decode(self, codes: Tensor) -> list[str]:
        """Samples (n, length) of codes as strings, with the padding."""
        table = np.array(list(self.characters))
        return ["".join(row) for row in table[codes.cpu().numpy()]]

    def load(self) -> tuple[Split, Split]:
        """Both splits. Raises ValueError that names file and byte for what is no text, and the
        lengths for too short a text; OSError for files that cannot be read."""
        with self.texts() as texts:
            where = texts.where
            by_files = self.holds_out_files(texts)
            train, held = self._encoder(), self._encoder()
            for index, file in enumerate(texts.files):
                is_held = by_files and index % TENTH == TENTH - 1
                encoder = held if is_held else train
                for piece in file.pieces():
                    encoder.add(self.cleaned(piece))
                encoder.end_file()
        parts = train.codes, held.codes
        if not by_files:
            parts = held_out_blocks(train.codes, train.gap)
        remarks = _remarks(train, held)
        training, held_out = (self._samples(codes) for codes in parts)
        if training is None or held_out is None:
            num_train, num_held = (len(codes.rstrip(bytes([train.gap]))) for codes in parts)
            raise ValueError(f"{where}: {self._too_short(num_train, num_held, remarks)}")
        return Split(training, left_out=texts.left_out, remarks=remarks), Split(held_out)

    def holds_out_files(self, texts: Texts) -> bool:
        """Whether every tenth file is held out; otherwise blocks of the text."""
        return False

    def _encoder(self) -> Encoder:
        characters = self.characters.removesuffix(self._padding)
        return Encoder(characters, is_lower(self.alphabet), keeps_lines=self.segments == "lines")

    def _samples(self, codes: bytearray) -> Tensor | None:
        """The samples of a part of the text, uint8 (n, length); None where there is not one."""
        if self.segments == "lines":
            return _lines(codes, self.length, padding=self.shape[1] - 1)
        if len(codes) < self.length:
            return None
        return torch.frombuffer(codes, dtype=torch.uint8).unfold(0, self.length, 1)

    def _too_short(self, num_train: int, num_held: int, remarks: tuple[str, ...]) -> str:
        what = "a line" if self.segments == "lines" else f"a window of length = {self.length}"
        sentence = (
            f"the text is too short: {num_train:,} characters for training and {num_held:,} held "
            f"out; each part needs {what}"
        )
        return "; ".join((sentence, *remarks))


def held_out_blocks(text: bytearray, gap: int) -> tuple[bytearray, bytearray]:
    """Codes of a text in two parts: of NUM_BLOCKS equal blocks the last tenth is held out. Borders
    are moved behind the next `gap`, so that both parts are whole words, or whole lines; a text that
    has none within the length of a block is cut."""
    reach = len(text) // NUM_BLOCKS

    def moved(border: int) -> int:
        if border in (0, len(text)):
            return border
        # -1 where there is no gap
        return text.find(gap, border - 1, border + reach) + 1 or border

    train, held = bytearray(), bytearray()
    with memoryview(text) as view:
        for block in range(NUM_BLOCKS):
            start = len(text) * block // NUM_BLOCKS
            end = len(text) * (block + 1) // NUM_BLOCKS
            border = end - (end - start) // TENTH
            train += view[moved(start) : moved(border)]
            held += view[moved(border) : moved(end)]
    return train, held


def _lines(text: bytearray, length: int, padding: int) -> Tensor | None:
    """The lines of a text, each cut at `length` and padded, uint8 (n, length)."""
    if not text:
        return None
    codes = torch.frombuffer(text, dtype=torch.uint8)
    is_end = codes == LINE_END
    ends = is_end.nonzero().squeeze(1)
    if not is_end[-1]:
        ends = torch.cat([ends, torch.tensor([len(codes)])])
    starts = torch.cat([torch.tensor([0]), ends[:-1] + 1])
    padded = torch.cat([codes, codes.new_full((length,), padding)])
    lines = padded.unfold(0, length, 1)[starts]
    is_behind = torch.arange(length) >= (ends - starts).unsqueeze(1)
    return lines.masked_fill_(is_behind, padding)


def _remarks(*encoders: Encoder) -> tuple[str, ...]:
    """How many characters were dropped, and which most often."""
    dropped: Counter[str] = Counter()
    for encoder in encoders:
        dropped += encoder.dropped
    if not dropped:
        return ()
    shown = []
    for character, count in dropped.most_common(NAMED):
        name = character if character.isprintable() else f"U+{ord(character):04X}"
        shown.append(f"{name} {count:,}")
    dots = ", …" if len(dropped) > NAMED else ""
    num_read = sum(encoder.num_read for encoder in encoders)
    return (
        f"{dropped.total():,} of {num_read:,} characters are not in the alphabet and were dropped "
        f"({', '.join(shown)}{dots})",
    )
