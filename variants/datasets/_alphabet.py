"""Which characters a text is made of: the alphabets, and the codes of characters."""

import unicodedata
from collections import Counter
from string import ascii_lowercase, digits

import numpy as np

BLANK = " "
PADDING = "`"  # behind the end of a line, as in the script of WGAN-GP
MARKS = ".,;:!?'\"()-"
FIXED = {
    "lower": BLANK + ascii_lowercase + digits + MARKS,
    "letters": BLANK + ascii_lowercase,
}
ALPHABETS = (*FIXED, "all")
MOST_FREQUENT = 95  # characters of the alphabet `all`: as many as printable ASCII has

# typographic forms, which an alphabet without them reads as these
PLAIN = {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-"}

SPACES = [character for character in map(chr, range(0x3001)) if character.isspace()]
LINE_ENDS = "\n\r\f\u2028\u2029"
NUM_CODE_POINTS = 0x110000

# codes that no character has
LINE_END = 254
DROPPED = 255


def num_characters(alphabet: str) -> int:
    """How many characters an alphabet has, without the padding."""
    return len(FIXED[alphabet]) if alphabet in FIXED else MOST_FREQUENT


def is_lower(alphabet: str) -> bool:
    """Whether texts become lower-case."""
    return alphabet in FIXED


def code_points(text: str, lower: bool) -> np.ndarray:
    """The characters of a text, uint32 (n,), in Unicode's form NFKC: an accent is one character
    with its letter, a ligature is its letters, a full-width letter is a plain one."""
    text = unicodedata.normalize("NFKC", text)
    if lower:
        text = text.lower()
    return np.frombuffer(text.encode("utf-32-le"), np.dtype("<u4"))


def most_frequent(counts: np.ndarray, excluded: str) -> str:
    """The alphabet of a text with `counts` (NUM_CODE_POINTS,) of each character: the space and the
    most frequent others that can be shown, the lower code point first among equals. A text with
    fewer characters is given further ones, from ASCII on."""
    others = []
    for point in np.flatnonzero(counts).tolist():
        character = chr(point)
        if character.isprintable() and character not in SPACES and character not in excluded:
            others.append((-int(counts[point]), character))
    chosen = [BLANK] + [character for _, character in sorted(others)]
    for character in map(chr, range(0x250)):
        if character.isprintable() and character not in (*chosen, *SPACES, *excluded):
            chosen.append(character)
    return "".join(sorted(chosen[:MOST_FREQUENT]))


class Encoder:
    """Codes of texts that are read one after another: code i is the i-th of `characters`, whose
    first is the space. Other characters are dropped. Runs of white space are one space, or one
    LINE_END where `keeps_lines` and the run has an end of a line."""

    def __init__(self, characters: str, lower: bool, keeps_lines: bool) -> None:
        assert characters[0] == BLANK
        assert len(characters) < LINE_END
        self.lower = lower
        self.gap = LINE_END if keeps_lines else 0  # between two files
        self.table = np.full(NUM_CODE_POINTS, DROPPED, np.uint8)
        known = dict(zip(characters, range(len(characters)), strict=True))
        for form, plain in PLAIN.items():
            if plain in known:
                known.setdefault(form, known[plain])
        known |= dict.fromkeys(SPACES, 0)
        known |= dict.fromkeys(LINE_ENDS, self.gap)
        for character, code in known.items():
            self.table[ord(character)] = code
        self.codes = bytearray()
        self.num_read = 0  # characters
        self.dropped: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Append a piece of a text."""
        points = code_points(text, self.lower)
        codes = self.table[points]
        is_dropped = codes == DROPPED
        self.num_read += len(points)
        values, counts = np.unique(points[is_dropped], return_counts=True)
        for point, count in zip(values.tolist(), counts.tolist(), strict=True):
            self.dropped[chr(point)] += count
        self._append(codes[~is_dropped])

    def end_file(self) -> None:
        """Append what stands between two files."""
        self._append(np.array([self.gap], np.uint8))

    def _append(self, codes: np.ndarray) -> None:
        codes = _single_gaps(codes)
        if not len(codes):
            return
        if _is_gap(codes[0]):
            if not self.codes:
                codes = codes[1:]
            elif _is_gap(self.codes[-1]):
                codes[0] = max(codes[0], self.codes.pop())
        self.codes += codes.tobytes()


def _is_gap(codes: np.ndarray | int) -> np.ndarray | bool:
    return (codes == 0) | (codes == LINE_END)


def _single_gaps(codes: np.ndarray) -> np.ndarray:
    """Codes with one gap for every run of gaps: a LINE_END where the run has one."""
    is_gap = np.asarray(_is_gap(codes))
    is_first = is_gap.copy()
    is_first[1:] &= ~is_gap[:-1]
    starts = np.flatnonzero(is_first)
    if len(starts):
        # from the start of a run to that of the next one no other character is a LINE_END
        has_line_end = np.logical_or.reduceat(codes == LINE_END, starts)
        codes[starts[has_line_end]] = LINE_END
    return codes[is_first | ~is_gap]
