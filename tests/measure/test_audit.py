"""The audit: faults are what they say, and a metric's limits are those of its values."""

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import api
from benchmark.errors import DamagedError, UserError
from benchmark.matrix.cell import Choice
from benchmark.matrix.files import find, read
from benchmark.measure.audit import faults
from benchmark.measure.audit import run as audits
from benchmark.measure.instrument import open_instrument
from benchmark.report import audit_page
from tests.helpers.cells import EVALUATION
from variants.datasets import Modes


def images(n=40):
    """Images of one value each: class k has values from 20 k."""
    labels = torch.arange(n) % 4
    values = (20 * labels + torch.arange(n) // 4).to(torch.uint8)
    samples = values.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    samples = torch.cat([samples, samples[:1]])
    labels = torch.cat([labels, labels[:1]])
    return faults.Material(
        samples,
        labels,
        others=torch.full((3, 1, 4, 4), 200, dtype=torch.uint8),
        training=torch.full((7, 1, 4, 4), 100, dtype=torch.uint8),
        modes=None,
        generator=torch.Generator().manual_seed(0),
    )


def test_faults_of_images_take_their_share_and_leave_the_others():
    material = images()
    before = material.samples.clone()
    for name, fault in faults.FAULTS["images"].items():
        for share, bad in ((0.25, 10), (1.0, 41)):
            planted = fault(material, share)
            assert planted.shape == before.shape
            assert planted.dtype == torch.uint8
            if name != "dropped class":
                assert torch.equal(planted[bad:], before[bad:]), name
    assert torch.equal(material.samples, before)


def test_duplicates_are_copies_of_those_that_stay():
    material = images()
    half = faults.duplicates(material, 0.5)
    kept = {int(x) for x in half[20:, 0, 0, 0]}
    assert {int(x) for x in half[:20, 0, 0, 0]} <= kept
    assert len(faults.duplicates(material, 1.0).unique(dim=0)) == 1


def test_a_dropped_class_is_filled_with_unseen_samples_of_the_others():
    material = images()
    # class 0 is the commonest: 11 of 41
    assert material.commonest.tolist() == [*range(0, 40, 4), 40]
    gone = faults.dropped(material, 1.0)
    is_member = material.labels == 0
    assert (gone[is_member] == 200).all()
    assert torch.equal(gone[~is_member], material.samples[~is_member])
    assert (faults.dropped(material, 0.5)[:, 0, 0, 0] == 200).sum() == round(0.5 * 11)


def test_training_copies_blur_and_noise():
    material = images()
    assert (faults.copies(material, 0.25)[:10] == 100).all()
    # blur leaves images of one value as they are
    assert torch.equal(faults.blur(material, 1.0), material.samples)
    material.samples[0] = torch.arange(16).view(1, 4, 4)
    blurred = faults.blur(material, 1.0)[0, 0]
    assert blurred[1, 1] == 5
    assert blurred[0, 0] == round((0 + 1 + 4 + 5) / 4)
    noise = faults.noise(material, 1.0).double()
    assert noise.mean().item() == pytest.approx(127.5, abs=10)


def test_wider_modes_are_twice_as_wide():
    modes = Modes(torch.zeros(1, 2), 0.1, torch.ones(1))
    samples = 0.1 * torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
    material = faults.Material(samples, None, samples, samples, modes, torch.Generator())
    assert faults.wider(material, 1.0).std().item() == pytest.approx(0.2, rel=0.02)
    half = faults.wider(material, 0.5)
    assert torch.equal(half[10_000:], samples[10_000:])


def rows_of(column, values):
    """Rows of an audit with one fault: share -> (mean, seen, better)."""
    rows = [{"column": column, "fault": "", "share": 0.0, "mean": 1.0, "sd": 0.1}]
    for share, (mean, seen, better) in values.items():
        row = {"column": column, "fault": "noise", "share": share, "mean": mean, "sd": 0.1}
        rows.append(row | {"seen": seen, "better": better})
    return rows


def test_limits_are_on_the_side_that_is_worse():
    values = {0.1: (0.7, 0.9, 0.0), 0.5: (0.5, 1.0, 0.0)}
    (larger_is_better,) = audits.limits(rows_of("precision_classifier_750", values))
    assert (larger_is_better["course"], larger_is_better["seen_from"]) == ("monotone", 0.1)
    values = {0.1: (0.7, 0.0, 0.9), 0.5: (0.5, 0.0, 1.0)}
    (smaller_is_better,) = audits.limits(rows_of("fid_classifier_750", values))
    assert smaller_is_better["course"] == "not monotone"
    assert smaller_is_better["seen_from"] is None
    assert smaller_is_better["better_from"] == 0.1


def test_a_metric_with_an_ideal_is_worse_on_both_sides():
    assert audits.badness("core_width_2k", [0.5, 1.0, 2.0]).tolist() == pytest.approx(
        [np.log(2), 0, np.log(2)]
    )
    assert audits.badness("swd_2k", [1.0]).tolist() == [1.0]
    assert audits.badness("tail_2k", [0.5]).tolist() == [0.5]
    assert audits.badness("high_quality_2k", [0.5]).tolist() == [-0.5]


@pytest.fixture
def few_draws(monkeypatch, tmp_path):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(audits, "UNPLANTED", 9)
    monkeypatch.setattr(audits, "PLANTED", 3)
    monkeypatch.setattr(audits, "SHARES", (0.25, 1.0))


def test_an_audit_of_points_finds_what_must_be_found(few_draws):
    evaluation = EVALUATION.replaced(metrics=["tail", "high_quality", "modes_hit", "core_width"])
    instrument = open_instrument(Choice("gaussians8"), evaluation, "cpu")
    rows = list(audits.audit(instrument))
    assert len(rows) == 4 * (1 + 5 * 2)
    found = {(row["metric"], row["fault"]): row for row in audits.limits(rows)}
    assert found["tail", "noise"]["seen_from"] == 0.25
    assert found["high_quality", "wider modes"]["seen_from"] == 0.25
    assert found["core_width", "wider modes"]["seen_from"] == 1.0
    assert found["modes_hit", "dropped mode"]["seen_from"] == 1.0
    assert found["modes_hit", "training copies"]["course"] == "flat"
    assert found["tail", "dropped mode"]["seen_from"] is None
    # of noise at a share of 1 the square is full: mean as the area beyond 10 σ of every mode
    full = next(r for r in rows if (r["metric"], r["fault"], r["share"]) == ("tail", "noise", 1))
    assert full["mean"] > 0.8


def texts(n=40):
    """Samples of text: sample k is five times character k of 50, and character 0."""
    samples = torch.arange(n, dtype=torch.uint8).unsqueeze(1).repeat(1, 6)
    samples[:, 5] = 0
    training = torch.full((7, 6), 49, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    empty = torch.empty(0, 6, dtype=torch.uint8)
    return faults.Material(samples, None, empty, training, None, generator, num_values=50)


def test_faults_of_text_take_their_share_and_leave_the_others():
    material = texts()
    before = material.samples.clone()
    for name, fault in faults.FAULTS["text"].items():
        planted = fault(material, 0.25)
        assert planted.dtype == torch.uint8
        assert torch.equal(planted[10:], before[10:]), name
    assert torch.equal(material.samples, before)
    assert (faults.copies(material, 0.25)[:10] == 49).all()
    # the commonest character of all samples
    assert (faults.one_character(material, 0.25)[:10] == 0).all()
    noise = faults.noise(material, 1.0)
    assert (int(noise.min()), int(noise.max())) == (0, 49)


def test_shuffled_characters_are_those_of_the_sample():
    material = texts()
    shuffled = faults.shuffled(material, 1.0)
    assert torch.equal(shuffled.sort(dim=1).values, material.samples.sort(dim=1).values)
    place = (shuffled == 0).long().argmax(dim=1)[1:]
    assert len(place.unique()) == 6


def test_an_audit_of_text_finds_what_must_be_found(few_draws):
    instrument = open_instrument(Choice("python_topics"), EVALUATION, "cpu")
    rows = list(audits.audit(instrument))
    found = {(row["metric"], row["fault"]): row for row in audits.limits(rows)}
    assert {fault for _, fault in found} == set(faults.FAULTS["text"])
    # letters in any order have the right frequencies
    assert found["js_1", "shuffled characters"]["course"] == "flat"
    assert found["js_4", "shuffled characters"]["seen_from"] == 0.25
    assert found["js_1", "noise"]["seen_from"] == 0.25
    assert found["js_4", "training copies"]["seen_from"] is None
    assert found["copied", "training copies"]["seen_from"] is not None
    assert found["copied", "training copies"]["better_from"] is None
    assert found["unique", "duplicates"]["seen_from"] == 0.25
    assert found["unique", "one character"]["seen_from"] == 0.25
    assert {found["confidence", fault]["course"] for fault in faults.FAULTS["text"]} == {"flat"}
    # without a fault `copied` is that of held-out samples, with all copied the whole sample
    means = {(row["fault"], row["share"]): row["mean"] for row in rows if row["metric"] == "copied"}
    assert means["", 0.0] < 32
    assert means["training copies", 1.0] == 32


MATRIX = """
objectives = ["nonsaturating"]
architectures = [{ name = "dcgan", width = 8 }]
datasets = ["digits"]
seeds = 1
[training]
steps = 1
[evaluation]
n = { images = 100, points = 100 }
extractor = "classifier"
metrics = ["clipped_density", "recall"]
"""


def test_the_page_and_the_tables_say_the_same(few_draws, tmp_path):
    (tmp_path / "own.toml").write_text(MATRIX, encoding="utf-8")
    page = api.audit(tmp_path / "own.toml", tmp_path / "out")
    limits = pd.read_csv(tmp_path / "out/limits.csv")
    assert set(limits["column"]) == {"clipped_density_classifier_100", "recall_classifier_100"}
    assert set(limits["fault"]) == set(faults.FAULTS["images"])
    by = limits.set_index(["metric", "fault"])
    assert by.loc[("clipped_density", "noise"), "seen_from"] <= 1.0
    assert by.loc[("clipped_density", "noise"), "course"] == "monotone"
    assert by.loc[("clipped_density", "dropped class"), "course"] != "monotone"
    lines = page.read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if "`clipped_density_classifier_100`" in line)
    assert "dropped class" in line
    assert "9 draws without a fault and 3 with each" in page.read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(audit_page.read(tmp_path / "out"), limits[audit_page.COLUMNS])


def test_data_that_is_too_small_is_one_clear_line(tmp_path):
    (tmp_path / "own.toml").write_text(MATRIX.replace("images = 100", "images = 800"), "utf-8")
    with pytest.raises(UserError, match=r"dataset digits: evaluation\.n\.images is 800"):
        api.audit(tmp_path / "own.toml", tmp_path / "out")
    assert not (tmp_path / "out/limits.csv").exists()


# What a reader is told


def limit(fault, seen_from=np.nan, better_from=np.nan, course="monotone"):
    names = {"fault": fault, "seen_from": seen_from, "better_from": better_from}
    return names | {"course": course}


def test_how_a_metric_sees_a_fault_in_words():
    assert audit_page.sight(limit("noise", 0.05)) == "from 5%"
    assert audit_page.sight(limit("noise", 0.5, 0.05, "not monotone")) == (
        "from 50%, not monotone, rewarded from 5%"
    )
    assert audit_page.sight(limit("noise", course="flat")) == "not seen"


def test_blind_spots_are_what_is_not_seen_and_what_is_rewarded():
    rows = [limit("noise", 0.1), limit("blur"), limit("duplicates", better_from=0.5)]
    assert audit_page.blind_spots(rows) == "blur, duplicates; rewards duplicates"
    assert audit_page.blind_spots([limit("noise", 0.1)]) == "–"


def test_limits_come_from_the_column_itself_or_name_where_they_are_from():
    rows = [
        {"dataset": "a", "column": "fid_classifier_750", "metric": "fid", "fault": "noise"},
        {"dataset": "b", "column": "kid_classifier_750", "metric": "kid", "fault": "noise"},
    ]
    limits = [pd.DataFrame(rows[:0], columns=audit_page.COLUMNS), pd.DataFrame(rows)]
    own, elsewhere = audit_page.limits_of(limits, "a", "fid_classifier_750")
    assert (own[0]["dataset"], elsewhere) == ("a", "")
    other, elsewhere = audit_page.limits_of(limits, "c", "kid_inception_10k")
    assert (other[0]["dataset"], elsewhere) == ("b", "b, classifier-KID (750)")
    assert audit_page.limits_of(limits, "a", "recall_classifier_750") == ([], "")


def test_a_damaged_audit_is_named(tmp_path):
    (tmp_path / "limits.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DamagedError, match=r"limits\.csv is damaged; run `ganbench audit` again"):
        audit_page.read(tmp_path)
    assert audit_page.read(tmp_path / "none").empty


def test_the_committed_audit_knows_every_metric_of_the_quick_matrix():
    """So the report of the quick matrix says of each metric what it cannot see."""
    limits = audit_page.read(audit_page.REFERENCE)
    evaluation = read(find("quick"))[0].evaluation
    for dataset in ("digits", "gaussians8"):
        columns = open_instrument(Choice(dataset), evaluation, "cpu").columns.values()
        assert set(columns) == set(limits[limits["dataset"] == dataset]["column"])
    recall = limits[(limits["metric"] == "recall") & (limits["fault"] == "noise")].iloc[0]
    density = limits[(limits["metric"] == "clipped_density") & (limits["fault"] == "noise")]
    assert not recall["seen_from"] <= 0.9
    assert density.iloc[0]["seen_from"] <= 0.25
