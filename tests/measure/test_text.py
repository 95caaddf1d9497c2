"""Measuring text: against closed forms, brute force and the published marks of a real text."""

import hashlib
import math
from collections import Counter

import numpy as np
import pytest
import torch

from benchmark.matrix.cell import Choice
from benchmark.matrix.expand import expand
from benchmark.matrix.files import read
from benchmark.measure import grams, text
from benchmark.measure.grams import count_grams, js_divergence
from benchmark.measure.instrument import measure, noise_floor, open_instrument
from benchmark.measure.protocol import content_hash, metric_names, protocol_id
from benchmark.measure.substrings import Substrings
from benchmark.run.prepare import matrix_file, prepare
from benchmark.store.layout import ResultSet
from benchmark.train.loop import train
from tests.helpers.cells import EVALUATION, small_cell

TOPICS = Choice("python_topics")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def codes(*samples):
    """Samples of lower-case letters as codes."""
    return torch.tensor([[ord(character) - ord("a") for character in sample] for sample in samples])


def js(one, other, order, num_characters=26):
    sides = [count_grams(side, order, num_characters) for side in (one, other)]
    return js_divergence(*sides)


# Divergences in closed form


def test_equal_samples_have_divergence_0_also_repeated_and_in_another_order():
    samples = torch.randint(0, 5, (60, 9), generator=torch.Generator().manual_seed(0))
    other = samples.flip(0).repeat(3, 1)
    for order in (1, 2, 3, 4):
        assert js(samples, other, order) == 0


def test_disjoint_alphabets_have_divergence_1():
    samples = torch.randint(0, 5, (60, 9), generator=torch.Generator().manual_seed(0))
    for order in (1, 2, 3, 4):
        assert js(samples, samples + 5, order) == 1


def test_one_letter_against_two_equally_frequent_ones():
    expected = 0.5 * math.log2(1 / 0.75) + 0.5 * (0.5 * math.log2(0.5 / 0.75) + 0.5 * 1)
    assert expected == pytest.approx(0.3113, abs=5e-5)
    assert js(codes("a"), codes("ab"), 1) == pytest.approx(expected, rel=1e-15)
    assert js(codes("ab"), codes("a"), 1) == pytest.approx(expected, rel=1e-15)


def test_letters_of_another_order_differ_in_pairs_alone():
    one, other = codes(*["ab"] * 10), codes(*["ba"] * 10)
    assert js(one, other, 1) == 0
    # no pair spans two samples: "ba" is nowhere in the first
    assert js(one, other, 2) == 1


def test_a_text_that_is_shifted_by_one_character():
    """Of "abcabc" and "bcabca": letters are as frequent, pairs are (2 ab, 2 bc, 1 ca) against (1
    ab, 2 bc, 2 ca) of five."""
    one, other = codes("abcabc"), codes("bcabca")
    assert js(one, other, 1) == 0
    p, q, m = 2 / 5, 1 / 5, 3 / 10
    assert js(one, other, 2) == pytest.approx(p * math.log2(p / m) + q * math.log2(q / m))


def brute_force(samples, order):
    """Relative frequencies of n-grams, by a dictionary."""
    counts = Counter()
    for sample in samples.tolist():
        for start in range(len(sample) - order + 1):
            counts[tuple(sample[start : start + order])] += 1
    return {gram: count / counts.total() for gram, count in counts.items()}


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("at_once", [2**17, 7])
def test_divergences_are_those_of_a_count_by_hand(order, at_once, monkeypatch):
    monkeypatch.setattr(grams, "AT_ONCE", at_once)
    rng = torch.Generator().manual_seed(order)
    running = torch.randint(0, 6, (90,), generator=rng).to(torch.uint8).unfold(0, 9, 1)
    assert running.stride() == (1, 1)
    lines = torch.randint(0, 5, (40, 9), generator=rng).to(torch.uint8)
    p, q = brute_force(running, order), brute_force(lines, order)
    expected = 0.0
    for one, other in ((p, q), (q, p)):
        for gram, share in one.items():
            expected += share / 2 * math.log2(2 * share / (share + other.get(gram, 0)))
    assert js(running, lines, order, 6) == pytest.approx(expected, abs=1e-12)
    assert js(lines, running, order, 6) == pytest.approx(expected, abs=1e-12)
    assert js(running, running.clone(), order, 6) == 0


def test_numbers_of_n_grams_do_not_collide():
    samples = torch.tensor([[255, 255, 255, 255], [255, 255, 255, 254], [0, 0, 0, 255]])
    counted = count_grams(samples.to(torch.uint8), 4, 256)
    assert counted.numbers.tolist() == [255, 256**4 - 2, 256**4 - 1]
    assert counted.counts.tolist() == [1, 1, 1]


def test_an_n_gram_that_is_longer_than_a_sample_has_no_value():
    assert math.isnan(js(codes("abc"), codes("abc"), 4))


# Copied substrings


def longest_by_hand(sample, texts):
    found = 0
    for start in range(len(sample)):
        for end in range(start + 1, len(sample) + 1):
            if any(sample[start:end] in text for text in texts):
                found = max(found, end - start)
    return found


@pytest.mark.parametrize("num_characters", [2, 3, 255, 256])
def test_the_longest_copied_substring_is_that_of_a_search_by_hand(num_characters):
    rng = torch.Generator().manual_seed(num_characters)
    draw = torch.randint(0, 3, (150,), generator=rng) * (num_characters - 1) // 2
    characters = draw.to(torch.uint8)
    samples = characters[torch.randint(0, 150, (40, 8), generator=rng)]
    running, lines = characters.unfold(0, 8, 1), characters[:144].view(18, 8)
    for source, texts in ((running, characters.unsqueeze(0)), (lines, lines)):
        strings = [bytes(row.tolist()) for row in texts]
        expected = [longest_by_hand(bytes(row.tolist()), strings) for row in samples]
        found = Substrings(source, num_characters).longest(samples)
        assert found.tolist() == expected
        assert Substrings(source, num_characters).longest(source).tolist() == [8] * len(source)


def test_nothing_is_shared_beyond_the_ends_of_a_text():
    """Code 0 is a character, not the padding; and a substring does not span two lines."""
    lines = Substrings(codes("baaa", "cdda"), 26)
    assert lines.longest(codes("zaaa", "zzzz", "aacd", "ddaa", "aazz")).tolist() == [3, 0, 2, 3, 2]
    running = Substrings(codes("bacd").unfold(1, 3, 1)[0], 26)
    assert running.longest(codes("cdd", "acd", "dba", "daa")).tolist() == [2, 3, 2, 1]


def test_the_padding_of_lines_is_not_copied():
    """Code 3 is padding: `ab` padded shares one character with `bc` padded, not three."""
    lines = Substrings(codes("abdd", "aadd"), 4, padding=3)
    assert lines.longest(codes("bcdd", "dddd", "abdd", "dabd")).tolist() == [1, 0, 2, 2]


# One sample, and what the generator is sure of


def reference(train, held=None, num_characters=26):
    return text.Reference(train if held is None else held, train, num_characters)


def test_distinct_samples_and_copied_characters_by_hand():
    samples = text.Samples.of(codes("abcd", "abcd", "abce", "zzzz"), 26)
    assert text.unique(samples, reference(codes("abcd"))) == 3 / 4
    # longest substrings: 4, 4, 3 and 0 characters
    assert text.copied(samples, reference(codes("abcd"))) == 3.5
    assert text.confidence(samples, reference(codes("abcd"))) == 1


def test_confidence_and_the_likeliest_characters_by_hand():
    outputs = torch.tensor(
        [
            [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]],
            # of equals the first
            [[0.25, 0.375, 0.375], [0.125, 0.75, 0.125]],
        ]
    )
    samples = text.Samples.of(outputs, 3)
    assert samples.codes.tolist() == [[0, 2], [1, 1]]
    assert text.confidence(samples, reference(codes("ab"))) == (0.5 + 1 + 0.375 + 0.75) / 4


# A real text


def values(readings):
    return {column: reading.value for column, reading in readings.items()}


@pytest.fixture(scope="module")
def topics():
    evaluation = EVALUATION.replaced(n={"points": 200, "images": 100, "text": 2000})
    return open_instrument(TOPICS, evaluation, "cpu")


def test_the_protocol_names_what_numbers_depend_on(topics):
    train, held = topics.dataset.train(), topics.dataset.holdout()
    assert topics.parts["modality"] == "text"
    assert topics.parts["reference"] == "held out"
    assert topics.parts["dataset"] == content_hash(train, held)
    assert topics.parts["alphabet"] == topics.dataset.characters
    assert (topics.parts["length"], topics.parts["segments"]) == (32, "windows")
    assert topics.parts["most_searched"] == 2**28
    assert (topics.parts["n_fake"], topics.parts["n_real"]) == (2000, len(held))
    other = open_instrument(Choice("python_topics", {"length": 16}), EVALUATION, "cpu")
    assert protocol_id(other) != protocol_id(topics)
    assert list(topics.columns.values())[3:] == [
        "js_4_2k", "unique_2k", "confidence_2k", "copied_2k",
    ]  # fmt: skip


def test_floors_are_those_of_training_text_and_copied_is_that_of_held_out_text(topics):
    """The floors and marks that docs/metrics.md gives, of Python 3.11; another Python has a text
    that is much like it."""
    draws = [values(topics.measure_real(draw)) for draw in topics.draws(5)]
    for order, floor in zip((1, 2, 3, 4), (0.0016, 0.0187, 0.0828, 0.1961), strict=True):
        mean = np.mean([draw[f"js_{order}_2k"] for draw in draws])
        assert mean == pytest.approx(floor, rel=0.15, abs=5e-4)
    for draw in draws:
        assert draw["confidence_2k"] == 1
        assert draw["unique_2k"] > 0.9
        # a training window is 32 characters of the training text
        assert draw["copied_2k"] < 32
    again = [values(topics.measure_real(draw)) for draw in topics.draws(5)]
    assert again == draws


def test_marks_are_those_of_letter_frequencies_and_of_uniform_text(topics):
    marks = topics.marks()
    assert marks == topics.marks()
    assert list(marks) == ["letter frequencies", "uniform random text"]
    letters, uniform = marks.values()
    found = [letters[f"js_{order}_2k"] for order in (1, 2, 3, 4)]
    assert found == pytest.approx([0.0017, 0.264, 0.630, 0.910], rel=0.05, abs=1e-3)
    found = [uniform[f"js_{order}_2k"] for order in (1, 2, 3, 4)]
    assert found == pytest.approx([0.292, 0.676, 0.942, 0.998], rel=0.05)
    assert letters["unique_2k"] == uniform["unique_2k"] == 1
    assert 2 <= uniform["copied_2k"] <= letters["copied_2k"] <= 6
    points = open_instrument(Choice("gaussians8"), EVALUATION, "cpu")
    assert points.marks() == {}


def test_more_samples_than_training_text_are_refused():
    evaluation = EVALUATION.replaced(n={"points": 200, "images": 100, "text": 10**6})
    with pytest.raises(ValueError, match=r"evaluation\.n\.text is 1,000,000, but its noise floor"):
        open_instrument(TOPICS, evaluation, "cpu")


def test_copied_looks_through_the_beginning_of_a_long_text(monkeypatch):
    """Its length is limited by the bytes of its places."""
    monkeypatch.setattr(text, "MOST_SEARCHED", 8 * 4)
    train = codes("abcdefghijklmnop")[0].unfold(0, 4, 1)
    lines = train[::4].contiguous()
    for samples in (train, lines):
        substrings = reference(samples).substrings
        assert substrings.places.nbytes == 8 * 4
        assert substrings.longest(codes("efgh", "ghij")).tolist() == [4, 2]


def test_windows_are_hashed_as_their_text():
    characters = torch.arange(200, dtype=torch.uint8)
    windows = characters.unfold(0, 50, 1)
    expected = hashlib.sha256(b"((151, 50), torch.uint8)" + bytes(range(200))).hexdigest()[:16]
    assert content_hash(windows) == expected
    assert content_hash(windows.clone()) != expected
    # a view of a part of a text is hashed as that part
    assert content_hash(characters[10:].unfold(0, 50, 1)) == content_hash(windows[10:])
    assert content_hash(windows[10:]) != content_hash(windows[:-10])


def test_a_snapshot_is_measured_by_its_outputs_and_left_alone():
    rows = []
    for measuring in (True, False):
        rows.append([])
        for snapshot in train(small_cell(place="text", steps=4), "cpu"):
            if measuring:
                found = values(measure(snapshot, "cpu"))
                assert set(found) == {f"{name}_100" for name in metric_names("text", [], set())}
                outputs = snapshot.outputs(100)
                sure = outputs.max(dim=2).values.double().mean().item()
                assert found["confidence_100"] == pytest.approx(sure, rel=1e-12)
                assert sure < 1
                instrument = open_instrument(snapshot.cell.dataset, snapshot.cell.evaluation, "cpu")
                of_codes = values(instrument.measure(snapshot.sample(100)))
                assert of_codes | {"confidence_100": sure} == pytest.approx(found)
            rows[-1].append(snapshot.row and snapshot.row["d_loss"])
    assert rows[0] == rows[1]


MATRIX = """
objectives = ["nonsaturating"]
architectures = [{ name = "text_resnet", width = 8, blocks = 1 }]
datasets = ["python_topics"]
seeds = 1
[training]
steps = 1
[evaluation]
n = { text = 100 }
"""


def test_a_run_writes_marks_beside_floors_and_keeps_them(tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(MATRIX, encoding="utf-8")
    matrix, description = read(tmp_path / "own.toml")
    cells = expand(matrix)
    results = ResultSet(tmp_path / "results")
    record = matrix_file("own", description, matrix, cells)
    prepare(results, record, cells, "cpu")
    (protocol,) = results.protocols.values()
    instrument = open_instrument(cells[0].dataset, cells[0].evaluation, "cpu")
    assert protocol.marks == instrument.marks()
    assert set(protocol.floor) == set(instrument.columns.values())
    monkeypatch.setattr(text.Instrument, "marks", None)
    prepare(results, record, cells, "cpu")
    (again,) = results.protocols.values()
    assert again == protocol


def test_the_noise_floor_is_kept_between_runs(monkeypatch):
    instrument = open_instrument(TOPICS, EVALUATION, "cpu")
    floor = noise_floor(instrument, "code")
    assert floor.draws == 20
    assert set(floor.mean) == set(instrument.columns.values())
    assert floor.spread["js_4_100"] > 0
    monkeypatch.setattr(text, "js_divergence", None)
    assert noise_floor(instrument, "code") == floor
