"""Text datasets: codes of characters, hold-out, what is read and what is refused."""

import io
import random
import sys
import tracemalloc
import zipfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from benchmark.matrix.values import choices
from benchmark.measure import dataset_facts as facts_module
from benchmark.measure.dataset_facts import dataset_facts
from benchmark.measure.protocol import content_hash
from benchmark.store import data_lines
from variants import load
from variants.datasets import _text_files, python_topics, running_text
from variants.datasets._alphabet import FIXED, LINE_END, Encoder
from variants.datasets._text import Text, held_out_blocks
from variants.datasets._text_files import TextFile, Texts, in_memory

PROSE = "The quick brown fox jumps over 2 lazy dogs; they sleep.\n"


class Given(Text):
    """A text that the test gives."""

    source, licence = "given here", "none needed"

    def __init__(self, text: str | list[str], **parameters: Any) -> None:
        super().__init__(**parameters)
        object.__setattr__(self, "given", text)

    def texts(self) -> Any:
        if isinstance(self.given, str):
            return nullcontext(in_memory("given", self.given))
        files = [in_memory(f"given {i}", text).files[0] for i, text in enumerate(self.given)]
        return nullcontext(Texts("pieces", files))


def text_of(root: Path, **parameters: Any) -> Any:
    return load("datasets", "text").Dataset(root=str(root), **parameters)


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def encoded(data: str | bytes, alphabet: str = "lower", keeps_lines: bool = False) -> str:
    """A file's text in an alphabet, with | for the end of a line."""
    characters = "".join(sorted(FIXED[alphabet]))
    encoder = Encoder(characters, lower=True, keeps_lines=keeps_lines)
    content = data.encode() if isinstance(data, str) else data
    for piece in TextFile("given", lambda: io.BytesIO(content)).pieces():
        encoder.add(piece)
    return "".join("|" if code == LINE_END else characters[code] for code in encoder.codes)


def running(dataset: Any, part: int) -> str:
    """The text that the windows of a split are a view of."""
    text = running_text(dataset.splits[part].samples)
    assert text is not None
    return "".join(dataset.characters[code] for code in text.tolist())


# Characters


def test_the_alphabets_have_the_characters_they_state() -> None:
    lower, letters = Given(PROSE), Given(PROSE, alphabet="letters")
    assert lower.characters == " !\"'(),-.0123456789:;?abcdefghijklmnopqrstuvwxyz"
    assert letters.characters == " abcdefghijklmnopqrstuvwxyz"
    assert (lower.shape, letters.shape) == ((32, 48), (32, 27))
    lines = Given(PROSE, alphabet="letters", segments="lines", length=8)
    assert (lines.characters, lines.shape) == (" abcdefghijklmnopqrstuvwxyz`", (8, 28))


@pytest.mark.parametrize(
    ("given", "lower", "letters"),
    [
        pytest.param("A\r\nb\tc \f d\n\n\ne", "a b c d e", "a b c d e", id="white space"),
        pytest.param("\ufeffBOM", "bom", "bom", id="BOM"),
        pytest.param("a \u00a0\u2003b\u2028c", "a b c", "a b c", id="Unicode's spaces"),
        pytest.param("yes 👍🏽 no", "yes no", "yes no", id="emoji"),
        pytest.param("<b>&amp;</b>", "bamp;b", "bampb", id="markup"),
        pytest.param("‘don’t’ – “no”…", "'don't' - \"no\"...", "dont no", id="quotation marks"),
        pytest.param("ﬁne ＦＵＬＬ ½", "fine full 12", "fine full ", id="compatible forms"),
        pytest.param("caf\u00e9 cafe\u0301", "caf caf", "caf caf", id="both forms of an accent"),
        pytest.param("x = y", "x y", "x y", id="one blank around what is dropped"),
        pytest.param("zero\u200bwidth\u202e", "zerowidth", "zerowidth", id="invisible"),
    ],
)
def test_text_is_brought_into_the_alphabet(given: str, lower: str, letters: str) -> None:
    assert encoded(given) == lower
    assert encoded(given, "letters") == letters


def test_lines_keep_their_ends_and_empty_ones_are_dropped() -> None:
    given = "\n\n one \r\n\r\n \t\ntwo  words\f#\n|three"
    assert encoded(given, keeps_lines=True) == "one|two words|three"


@pytest.mark.parametrize("keeps_lines", [False, True])
def test_where_a_file_is_cut_into_pieces_changes_nothing(
    keeps_lines: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(0)
    parts = ["word", " ", "\n", "\r\n", "\t", "#", " # ", "é", "👍", "“", "…", "\f"]
    texts = ["".join(rng.choices(parts, k=rng.randint(1, 60))) + "x" for _ in range(200)]
    whole = [encoded(text, keeps_lines=keeps_lines) for text in texts]
    for size in (1, 2, 7):
        monkeypatch.setattr(_text_files, "PIECE", size)
        assert [encoded(text, keeps_lines=keeps_lines) for text in texts] == whole


def test_all_is_the_95_most_frequent_characters_counted_by_hand() -> None:
    rng = random.Random(0)
    ranked = [chr(point) for point in (*range(0x21, 0x7F), *range(0x410, 0x450))]
    text = "".join(f"{rng.choice(ranked[: rng.randint(1, len(ranked))])} " for _ in range(20_000))
    counts = Counter(text.replace(" ", ""))
    chosen = sorted(counts, key=lambda character: (-counts[character], character))[:94]
    data = Given(text, alphabet="all", length=8)
    assert data.characters == "".join(sorted([" ", *chosen]))
    assert data.shape == (8, 95)
    dropped = sum(counts.values()) - sum(counts[character] for character in chosen)
    assert dropped > 0
    assert data.splits[0].remarks[0].startswith(f"{dropped:,} of {len(text):,} characters are not")


def test_all_of_a_text_of_few_characters_is_filled_up_and_keeps_case() -> None:
    data = Given("AbA \u200b\u202e" * 300, alphabet="all", length=8)
    assert data.characters == "".join(chr(point) for point in range(0x20, 0x7F))
    assert running(data, 1).startswith("AbA AbA")
    lines = Given("`Ab`\n" * 300, alphabet="all", length=8, segments="lines")
    assert lines.shape == (8, 96)
    assert len(set(lines.characters)) == 96
    assert lines.characters.endswith("`")
    assert set(lines.decode(lines.train())) == {"Ab``````"}


def test_decode_gives_the_strings_of_codes() -> None:
    data = Given(PROSE * 40)
    first = data.decode(data.train()[:2])
    assert first == ["the quick brown fox jumps over 2", "he quick brown fox jumps over 2 "]
    index = torch.tensor([[data.characters.index(c) for c in "to be?  "]], dtype=torch.uint8)
    assert data.decode(index) == ["to be?  "]


# Hold-out


@pytest.mark.parametrize("num_words", [400, 999, 5000])
def test_held_out_words_are_the_last_tenth_of_twenty_blocks_and_whole(num_words: int) -> None:
    """Every word is another one, so a word tells its place in the source."""
    words = [f"w{index}" for index in range(num_words)]
    data = Given(" ".join(words))
    train, held = running(data, 0).split(), running(data, 1).split()
    assert sorted(train + held) == sorted(words)
    assert not set(train) & set(held)
    # each part has the order of the source
    assert train == [word for word in words if word in set(train)]
    assert held == [word for word in words if word in set(held)]
    source = " ".join(words) + " "
    block, held_words, start = len(source) / 20, set(held), 0
    for word in words:
        share = start % block / block
        # a border moves by less than a word
        slack = (len(word) + 2) / block
        if min(share, 1 - share, abs(share - 0.9)) > slack:
            assert (word in held_words) == (share > 0.9)
        start += len(word) + 1
    assert len(" ".join(held)) / len(source) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("segments", ["windows", "lines"])
def test_no_held_out_sample_has_a_character_of_a_training_sample(segments: str) -> None:
    """Every stretch of seven digits is at one place of the source."""
    numbers = [f"{index:07d}" for index in random.Random(0).sample(range(10**7), 600)]
    text = "\n".join(numbers)
    assert len({text[i : i + 7] for i in range(len(text) - 6)}) == len(text) - 6
    data = Given(text, segments=segments)
    found = []
    for split in data.splits:
        samples = data.decode(split.samples)
        found.append({s for sample in samples for s in sample.strip("`").split(" ") if len(s) == 7})
    train, held = found
    assert train | held == set(numbers)
    assert not train & held


def test_text_without_blanks_is_cut_and_nothing_is_lost() -> None:
    text = bytearray(random.Random(0).choices(range(1, 5), k=1000))
    train, held = held_out_blocks(text, gap=0)
    assert (len(train), len(held)) == (900, 100)
    assert train[:45] + held[:5] + train[45:90] == text[:95]


def test_a_folder_of_ten_files_holds_out_every_tenth_and_of_nine_blocks(tmp_path: Path) -> None:
    for index in range(20):
        written(tmp_path / "many" / f"{index:02d}" / "a.txt", f"this is file{index} {PROSE}" * 5)
    data = text_of(tmp_path / "many")
    assert data.split == "every 10th file held out, 2 of 20"
    held = set(running(data, 1).split())
    assert {word for word in held if word.startswith("file")} == {"file9", "file19"}
    assert not {"file9", "file19"} & set(running(data, 0).split())
    # two files join as words
    assert "sleep. this is file19" in running(data, 1)
    for index in range(9):
        written(tmp_path / "few" / f"{index}.txt", f"this is file{index} {PROSE}" * 5)
    few = text_of(tmp_path / "few")
    assert few.split == "20 equal blocks of the text, the last 10 % of each held out"
    assert len(few.holdout()) == pytest.approx(0.1 * len(few.train()), rel=0.5)


# Samples


def test_windows_are_a_view_of_the_text() -> None:
    data = Given(PROSE * 100, length=16)
    for samples in (data.train(), data.holdout()):
        assert samples.dtype == torch.uint8
        assert samples.stride() == (1, 1)
        assert samples.untyped_storage().nbytes() == len(samples) + 15
    text = running(data, 0)
    assert data.decode(data.train()) == [text[i : i + 16] for i in range(len(text) - 15)]
    assert torch.equal(Given(PROSE * 100, length=16).train(), data.train())


def test_lines_are_cut_and_padded() -> None:
    lines = [f"{word} {index}" for index, word in enumerate(["a", "some words", "more"] * 100)]
    data = Given("\n\n".join(lines), segments="lines", length=8)
    padded = [f"{line[:8]:`<8}" for line in lines]
    train, held = data.decode(data.train()), data.decode(data.holdout())
    assert sorted(train + held) == sorted(padded)
    assert len(held) == pytest.approx(30, abs=12)
    assert data.train().max() == data.shape[1] - 1 == 48


def test_a_long_text_is_read_within_a_few_times_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_text_files, "PIECE", 2**15)
    data = Given(PROSE * 2**16 + "👍", length=32)
    tracemalloc.start()
    train, held = data.splits
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(train.samples) + len(held.samples) > 3_000_000
    # codes twice, the source, the table of codes
    assert peak < 3.5 * len(PROSE) * 2**16 + 2**23


# What is read


FINE = b'\xef\xbb\xbf<p class="x">One &amp; two</p>\r\n\r\n' + "👍🏽 «ça» 漢字\r\n".encode()


@pytest.mark.parametrize("alphabet", ["lower", "letters", "all"])
@pytest.mark.parametrize("segments", ["windows", "lines"])
def test_a_file_with_markup_emoji_crlf_bom_and_no_newline_is_fine(
    tmp_path: Path, alphabet: str, segments: str
) -> None:
    path = written(tmp_path / "any.ending", FINE * 50 + b"the end")
    data = text_of(path, alphabet=alphabet, segments=segments, length=8)
    for split in data.splits:
        assert split.samples.shape[1] == 8
        assert all(line.isprintable() for line in data.decode(split.samples))
    words = "".join(data.decode(data.train()))
    assert "\ufeff" not in words
    assert "one two" in words.lower() or segments == "lines" or alphabet == "all"


def test_a_zip_reads_as_its_folder(tmp_path: Path) -> None:
    folder, archive = tmp_path / "books", tmp_path / "books.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for index in range(12):
            text = f"book {index} {PROSE}" * 9
            written(folder / f"shelf{index % 2}" / f"{index:02d}.txt", text)
            file.writestr(f"shelf{index % 2}/{index:02d}.txt", text)
        written(folder / "cover.png", b"\x89PNG")
        file.writestr("cover.png", b"\x89PNG")
    found = [text_of(root, collection="books") for root in (folder, archive)]
    hashes = [content_hash(*(split.samples for split in data.splits)) for data in found]
    assert hashes[0] == hashes[1]
    assert found[0] == found[1], "where the text lies is no part of its identity"
    for data in found:
        assert dict(data.splits[0].left_out) == {"cover.png": "of format .png"}
        assert data.source == "books, from a file, a folder or a zip"


def test_a_link_is_read_once(tmp_path: Path) -> None:
    written(tmp_path / "books" / "a.txt", PROSE * 40)
    before = text_of(tmp_path / "books").train()
    (tmp_path / "books" / "b.txt").symlink_to("a.txt")
    data = text_of(tmp_path / "books")
    assert torch.equal(data.train(), before)
    assert dict(data.splits[0].left_out) == {"b.txt": "a link to a file that is read anyway"}


LONG = PROSE.encode() * 40
UMLAUT = "ü".encode()

REFUSED: dict[str, tuple[bytes, str]] = {
    "bad bytes": (
        LONG + b"caf\xe9 au lait",
        rf"byte {len(LONG) + 3} \(0xe9\) is not valid UTF-8: convert",
    ),
    "cut in a character": (LONG + UMLAUT[:1], rf"byte {len(LONG)} \(0xc3\) is not valid UTF-8"),
    "bad bytes behind many": (UMLAUT * 9 + b"\n" + LONG + b"\xff", rf"byte {19 + len(LONG)} "),
    "bad bytes behind a BOM": (b"\xef\xbb\xbfabc\xff", r"byte 6 \(0xff\) is not valid UTF-8"),
    "UTF-16": (PROSE.encode("utf-16"), r"byte 0 \(0x(ff|fe)\) is not valid UTF-8: convert"),
    "UTF-16 without a mark": (PROSE.encode("utf-16-le"), "byte 1 is NUL: the file holds no text"),
    "a binary file": (b"abc\x00\x01", "byte 3 is NUL: the file holds no text"),
    "an escape": (LONG + b"\x1b[31m", rf"byte {len(LONG)} is the control character U\+001B"),
    "a C1 control": (
        LONG + b"a\xc2\x85",
        rf"byte {len(LONG) + 1} is the control character U\+0085",
    ),
    "delete": (b"a\x7f", r"byte 1 is the control character U\+007F"),
    "an empty file": (b"", "is empty: it holds no text"),
    "white space": (b"\xef\xbb\xbf \n\t\r\n", "is empty: it holds no text"),
    "too short": (b"tiny text", "too short: 9 characters for training and 0 held out; each "),
    "a held-out part that is too short": (
        b"as the quick brown fox " * 11,
        "too short: 229 characters for training and 22 held out; each part needs a window of length"
        " = 32",
    ),
    "another script": (
        "щука ".encode() * 500,
        r"too short: \d+ characters .* 2,000 of 2,500 characters are not in the alphabet",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("place", ["file", "folder", "zip"])
def test_what_is_no_text_is_refused_in_a_line_that_names_file_and_byte(
    tmp_path: Path, case: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_text_files, "PIECE", 64)
    content, message = REFUSED[case]
    root = written(tmp_path / "root" / "bad.txt", content)
    if place == "folder":
        root = root.parent
    if place == "zip":
        root = tmp_path / "root.zip"
        with zipfile.ZipFile(root, "w") as file:
            file.writestr("bad.txt", content)
    with pytest.raises(ValueError, match=message) as caught:
        _ = text_of(root).splits
    assert "\n" not in str(caught.value)
    name = root.name if "too short" in message else "bad.txt"
    assert name in str(caught.value)


def test_paths_without_text_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"root '.*nowhere' does not exist"):
        _ = text_of(tmp_path / "nowhere").splits
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match=r"no text in .*empty: put \.txt files there, or give a file"):
        _ = text_of(tmp_path / "empty").splits
    written(tmp_path / "other" / "a.html", PROSE)
    written(tmp_path / "other" / "b.html", PROSE)
    with pytest.raises(ValueError, match=r"no text \(.txt\); left out are 2 of format .html, such"):
        _ = text_of(tmp_path / "other").splits
    with pytest.raises(ValueError, match="/dev/null is neither a file nor a folder"):
        _ = text_of(Path("/dev/null")).splits
    written(tmp_path / "no.zip", PROSE)
    with pytest.raises(ValueError, match=r"no.zip is truncated or corrupt"):
        _ = text_of(tmp_path / "no.zip").splits


def test_a_damaged_file_in_a_zip_is_named(tmp_path: Path) -> None:
    root = tmp_path / "books.zip"
    with zipfile.ZipFile(root, "w") as file:
        file.writestr("a.txt", PROSE * 40)
        file.writestr("b.txt", PROSE * 40)
    content = bytearray(root.read_bytes())
    content[content.rindex(b"lazy dogs")] ^= 1
    root.write_bytes(content)
    with pytest.raises(ValueError, match=r"books.zip: b.txt is truncated or corrupt: Bad CRC"):
        _ = text_of(root).splits


def test_parameters_are_checked_before_any_text_is_read() -> None:
    with pytest.raises(ValueError, match="length must be from 4 to 4,096, not 3"):
        Given("", length=3)
    with pytest.raises(ValueError, match="not 1,000,000"):
        Given("", length=10**6)
    with pytest.raises(ValueError, match="alphabet must be one of lower, letters, all, not 'up'"):
        Given("", alphabet="up")
    with pytest.raises(ValueError, match="segments must be one of windows, lines, not 'words'"):
        Given("", segments="words")
    for name in ("a/b", "..", "x" * 101):
        with pytest.raises(ValueError, match="collection is a name of at most 100 letters, digits"):
            load("datasets", "text").Dataset(collection=name)


# The shipped ones


def test_python_topics_are_prose_each_paragraph_once() -> None:
    data = load("datasets", "python_topics").Dataset()
    assert data.shape == (32, 48)
    text = running(data, 0)
    assert len(text) > 250_000
    assert data.source.endswith(f"Python {python_topics.RUNNING}, each paragraph once")
    facts = dataset_facts(data)
    assert facts.leaks is not None
    assert facts.n_compared is not None
    # topics with their repetitions: 43 %
    assert facts.leaks / facts.n_compared < 0.1
    assert text.count("a class definition defines a class object") <= 1


def test_the_version_of_python_is_in_the_label_and_another_one_is_not_to_be_had() -> None:
    (choice,) = (value.choice for value in choices("dataset", "python_topics"))
    assert choice.label == f"python_topics[python={python_topics.RUNNING}]"
    assert choice.params == {"python": python_topics.RUNNING}
    table = {"name": "python_topics", "python": "2.7.18", "length": 16}
    (other,) = (value.choice for value in choices("dataset", table))
    assert other.label == "python_topics[length=16,python=2.7.18]"
    with pytest.raises(OSError, match=r"topics of Python 2\.7\.18 are not here: this is Python 3"):
        _ = load("datasets", "python_topics").Dataset(**other.params).splits


def test_a_python_without_its_topics_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(OSError, match=r"this Python has no pydoc_data.topics .*dataset text with"):
        _ = load("datasets", "python_topics").Dataset().splits
    other = ModuleType("pydoc_data.topics")
    other.topics = {"b": f"second\n\n{PROSE * 30}", "a": f"{PROSE * 30}\n\nfirst"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", other)
    data = load("datasets", "python_topics").Dataset()
    with data.texts() as texts:
        assert "".join(texts.files[0].pieces()) == f"{PROSE * 30}\n\nfirst\n\nsecond"


def test_fortunes_are_read_without_indices_separators_and_what_is_struck_over(
    tmp_path: Path,
) -> None:
    cookies = f"{PROSE}%\nIt is __\b\bnot 5 % o'\bf\a it.\n%\n%DCL is text\n" * 30
    for name in ("art", "zippy"):
        written(tmp_path / name, cookies)
        written(tmp_path / f"{name}.dat", b"\x00\x01")
        (tmp_path / f"{name}.u8").symlink_to(name)
    data = load("datasets", "fortunes").Dataset(root=str(tmp_path))
    whole = running(data, 0)
    assert whole.startswith(
        "the quick brown fox jumps over 2 lazy dogs; they sleep. it is not 5 of"
    )
    assert " it. dcl is text the quick" in whole
    assert data.split == "20 equal blocks of the text, the last 10 % of each held out"
    every = load("datasets", "fortunes").Dataset(root=str(tmp_path), alphabet="all")
    assert "is not 5 % of it. %DCL is" in running(every, 0)


def test_fortunes_that_are_not_here_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fortunes = load("datasets", "fortunes")
    monkeypatch.setattr(fortunes, "FOLDER", tmp_path / "nowhere")
    with pytest.raises(
        OSError, match=r"no fortunes in .*nowhere: `apt install fortunes` puts them"
    ):
        _ = fortunes.Dataset().splits


# Facts


def random_text(num_words: int, seed: int) -> str:
    rng = random.Random(seed)
    words = ["".join(rng.choices("abc", k=rng.randint(1, 4))) for _ in range(5)]
    return " ".join(rng.choices(words, k=num_words))


@pytest.mark.parametrize("length", [4, 7, 8, 13])
def test_copies_among_windows_are_those_of_brute_force(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_module, "NUMBERS_AT_ONCE", 100)
    data = Given(random_text(2500, seed=length), length=length)
    train, held = data.splits
    facts = dataset_facts(data)
    seen = set(data.decode(train.samples))
    compared = data.decode(held.samples[::length])
    assert facts.n_compared == len(compared)
    assert facts.leaks == sum(window in seen for window in compared)
    assert facts.leaks > 0
    assert facts.repeats is None
    line = data_lines.headline(facts)
    assert line.startswith(f"{len(train.samples):,} training and {len(held.samples):,} held-out w")
    assert f"windows of {length} characters, alphabet of 48; 20 equal blocks" in line
    assert data_lines.remarks(facts)[0].startswith(
        f"{facts.leaks:,} of {facts.n_compared:,} held-out windows equal a training window"
    )


def test_copies_among_lines_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_module, "NUMBERS_AT_ONCE", 100)
    text = random_text(3000, seed=1).replace(" ", "\n")
    data = Given(text, segments="lines", length=5)
    facts = dataset_facts(data)
    train, held = (data.decode(split.samples) for split in data.splits)
    assert facts.repeats == len(train) - len(set(train)) > 0
    assert facts.leaks == sum(line in set(train) for line in held) > 0
    assert facts.n_compared == len(held)
    assert "held-out lines of 5 characters, alphabet of 49" in data_lines.headline(facts)


def test_hashes_tell_the_order_of_characters_apart() -> None:
    rng = random.Random(0)
    samples = set()
    for _ in range(300):
        letters = [0] * 28 + [1, 2, 3, 4]
        rng.shuffle(letters)
        samples.add(tuple(letters))
    codes = torch.tensor(sorted(samples), dtype=torch.uint8)
    (hashes,) = facts_module._text_hashes(codes)
    assert len(set(hashes.tolist())) == len(samples)


def test_a_held_out_file_that_is_a_copy_of_training_files_is_refused(tmp_path: Path) -> None:
    numbers = random.Random(0).sample(range(10**6), 2000)
    text = " ".join(str(number) for number in numbers)
    for index in range(10):
        written(tmp_path / f"{index}.txt", text)
    with pytest.raises(
        ValueError, match=r"held-out samples equal a training sample .every 10th fi"
    ):
        dataset_facts(text_of(tmp_path))
    # what is short occurs twice anyway
    facts = dataset_facts(text_of(tmp_path, length=8))
    assert facts.leaks == facts.n_compared


def test_the_content_hash_of_windows_is_that_of_their_text() -> None:
    one, same, other = (Given(text) for text in (PROSE * 40, PROSE * 40, PROSE * 40 + "x"))
    hashes = [
        content_hash(*(split.samples for split in data.splits)) for data in (one, same, other)
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    assert content_hash(Given(PROSE * 40, length=16).train()) != content_hash(one.train())
