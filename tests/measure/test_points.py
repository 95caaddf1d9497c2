"""Metrics of points against closed forms, plain loops and enumeration, and the noise floor."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch_fidelity.metric_isc import isc_features_to_metric

from benchmark.matrix.cell import Choice
from benchmark.measure import images, points
from benchmark.measure.features.extract import Features
from benchmark.measure.features.reference import Reference
from benchmark.measure.instrument import noise_floor, open_instrument
from benchmark.measure.protocol import protocol_id
from tests.helpers.cells import EVALUATION
from variants.datasets import Base, Modes, Split

MODES = Modes(
    torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]), 0.1, torch.full((4,), 0.25)
)


def drawn(n, width=1.0, modes=MODES, seed=0):
    """Exact samples of a mixture, as many of every mode; width: of the modes, × σ."""
    generator = torch.Generator().manual_seed(seed)
    mode = torch.arange(n) % len(modes.centres)
    noise = torch.randn(n, 2, dtype=torch.float64, generator=generator)
    return modes.centres[mode].double() + width * modes.sigma * noise


def reference(held=None, modes=MODES):
    return points.Reference(drawn(2000, seed=1) if held is None else held, modes)


def test_a_mode_is_hit_by_one_sample_and_covered_by_a_tenth_of_its_share():
    """One sample of 1,000 at 2.9 σ of a mode, and one at 3.1 σ of another."""
    stray = torch.tensor([[2.29, 0.0], [0.0, 2.31]], dtype=torch.float64)
    fake = torch.cat([torch.zeros(998, 2, dtype=torch.float64), stray])
    assert points.modes_hit(fake, reference()) == 2
    assert points.modes_covered(fake, reference()) == 1
    assert points.modes_hit(drawn(1000), reference()) == 4
    assert points.modes_hit(drawn(1000) + 0.9, reference()) == 0


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_core_width_is_the_width_of_the_modes(width):
    found = points.core_width(drawn(40_000, width), reference())
    assert found == pytest.approx(width, rel=0.02)


def test_core_width_by_hand():
    """Eight samples of one mode at distance 1, 1, 2, 2, 3, 3, 4, 4 of its centre, two by two on
    opposite sides: the median of the distances is 2.5."""
    away = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    fake = torch.stack([torch.cat([away, -away]), torch.zeros(8, dtype=torch.float64)], dim=1)
    one = Modes(torch.zeros(1, 2), 1.0, torch.ones(1))
    expected = 2.5 / math.sqrt(2 * math.log(2))
    assert points.core_width(fake, reference(modes=one)) == pytest.approx(expected, rel=1e-9)


def test_core_width_and_tail_part_stray_samples_from_the_core():
    """3 % of the mass moved 14 σ away: the core is as before, the tail is that share."""
    fake = drawn(4000)
    before = points.core_width(fake, reference())
    fake[:120] += torch.tensor([-1.0, -1.0], dtype=torch.float64)
    assert points.tail(drawn(4000), reference()).value == 0
    share, error = points.tail(fake, reference())
    assert share == 0.03
    assert error == pytest.approx(math.sqrt(share * (1 - share) / 4000))
    assert points.core_width(fake, reference()) == pytest.approx(before, rel=0.05)


def test_w1_is_the_least_assignment_of_all():
    generator = np.random.default_rng(0)
    for n in (1, 4, 6):
        fake, held = generator.normal(size=(2, n, 2))
        distance = np.linalg.norm(fake[:, None] - held, axis=2)
        least = min(distance[range(n), order].mean() for order in itertools.permutations(range(n)))
        found = points.w1(torch.from_numpy(fake), reference(torch.from_numpy(held)))
        assert found == pytest.approx(least, abs=1e-12)


def test_w1_is_the_optimum_of_the_linear_programme():
    """Of the transport problem itself: marginals of 1/n, by another solver."""
    n = 25
    fake, held = np.random.default_rng(1).normal(size=(2, n, 2))
    distance = np.linalg.norm(fake[:, None] - held, axis=2)
    marginals = np.vstack([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    least = linprog(distance.ravel(), A_eq=marginals, b_eq=np.full(2 * n, 1 / n)).fun
    found = points.w1(torch.from_numpy(fake), reference(torch.from_numpy(held)))
    assert found == pytest.approx(least, rel=1e-9)


def test_w1_of_a_shift_is_its_length_and_has_a_column_of_its_own_n():
    held = drawn(3000)
    shift = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert points.w1(held + shift, reference(held)) == pytest.approx(5, rel=1e-9)
    # the first thousand alone
    other = held.clone()
    other[points.MOST_FOR_W1 :] += 50
    assert points.w1(other, reference(held)) == 0
    evaluation = EVALUATION.replaced(n={"points": 2000, "images": 100})
    columns = open_instrument(Choice("gaussians8"), evaluation, "cpu").columns
    assert (columns["w1"], columns["swd"]) == ("w1_1k", "swd_2k")
    assert open_instrument(Choice("gaussians8"), EVALUATION, "cpu").columns["w1"] == "w1_200"


def test_reverse_kl_is_that_of_the_published_loop():
    """Lin et al.: Σ p log(p / q), p the shares of all samples by mode, q the modes' weights."""
    fake = torch.cat([drawn(400), drawn(100)[:40], torch.full((9, 2), 30.0).double()])
    counts = [0.0] * 4
    for x in fake.tolist():
        distances = [math.dist(x, centre) for centre in MODES.centres.tolist()]
        counts[distances.index(min(distances))] += 1
    shares = [count / len(fake) for count in counts]
    expected = sum(p * math.log(p / 0.25) for p in shares if p)
    assert points.reverse_kl(fake, reference()) == pytest.approx(expected, rel=1e-9)


def test_the_inception_score_has_the_standard_error_of_a_mean():
    """Ten splits: the error divides by 10 − 1, the printed deviation by 10."""
    logits = torch.randn(200, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features = Features(logits, logits)
    held = Reference(features, features, 5, 50)
    order = np.random.RandomState(2020).permutation(200)
    probabilities = logits.softmax(1).numpy()[order].reshape(10, 20, 7)
    middle = probabilities.mean(1, keepdims=True)
    scores = np.exp((probabilities * np.log(probabilities / middle)).sum(2).mean(1))
    found = images.is_mean(features, held)
    assert found.value == pytest.approx(scores.mean(), rel=1e-9)
    assert found.error == pytest.approx(scores.std(ddof=1) / math.sqrt(10), rel=1e-9)
    assert images.is_std(features, held) == pytest.approx(scores.std(ddof=0), rel=1e-9)
    theirs = isc_features_to_metric(logits)["inception_score_std"]
    assert images.is_std(features, held) == pytest.approx(theirs, rel=1e-9)


# The noise floor


def test_the_noise_floor_of_points_is_the_mean_of_draws(monkeypatch, tmp_path):
    """Every draw has other points, and is measured against the same held-out ones."""
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    instrument = open_instrument(Choice("gaussians8"), EVALUATION, "cpu")
    floor = noise_floor(instrument, "code")
    train = instrument.dataset.train()
    values = []
    for draw in instrument.draws(floor.draws):
        assert draw.reference is instrument.reference
        assert len(draw.chosen.unique()) == instrument.n
        values.append(points.swd(train[draw.chosen].double(), instrument.reference))
    assert floor.draws == 20
    assert floor.mean["swd_200"] == pytest.approx(np.mean(values), rel=1e-9)
    assert floor.spread["swd_200"] == pytest.approx(np.std(values, ddof=1), rel=1e-9)
    assert floor.spread["swd_200"] > 0


def test_the_noise_floor_is_kept_under_the_code_that_measured_it(monkeypatch, tmp_path):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    instrument = open_instrument(Choice("gaussians8"), EVALUATION, "cpu")
    first = noise_floor(instrument, "code")
    monkeypatch.setattr(type(instrument), "measure_real", lambda *_: pytest.fail("measured"))
    assert noise_floor(instrument, "code") == first
    with pytest.raises(pytest.fail.Exception):
        noise_floor(instrument, "other code")


class FewPoints(Base):
    """Fewer points than 20 draws need."""

    shape, modality, source, licence = (2,), "points", "made here", "none"
    split = "halves"

    def load(self):
        return Split(drawn(600)), Split(drawn(300, seed=1))

    def modes(self):
        return MODES


def test_few_points_are_split_anew_in_each_draw():
    instrument = points.Instrument(FewPoints(), EVALUATION, "cpu")
    for draw in instrument.draws(3):
        both = torch.cat([draw.chosen, draw.training])
        samples, modes = instrument.real_samples()
        assert len(both.unique()) == 900 - instrument.n
        # the reference has the others
        left = set(range(900)) - set(both.tolist())
        assert {tuple(x) for x in draw.reference.held.tolist()} == {
            tuple(samples[index].tolist()) for index in left
        }
        assert (modes[draw.chosen] == draw.chosen % 4).all() or len(samples) == 900
    assert "split anew" in instrument.floor_source


def test_images_are_split_anew_in_each_draw_against_references_of_the_same_size():
    instrument = open_instrument(Choice("digits"), EVALUATION, "cpu")
    seen = []
    for draw in instrument.draws(3, spare=30):
        parts = torch.cat([draw.chosen, draw.spare, draw.training])
        assert sorted(parts.tolist()) == list(range(1100))
        assert (len(draw.chosen), len(draw.spare)) == (100, 30)
        assert len(draw.reference.real.features) == len(draw.training)
        samples, labels = instrument.real_samples()
        fresh = instrument.measure(samples[draw.chosen], draw.reference)
        kept = instrument.measure_real(draw)
        for column, reading in fresh.items():
            assert reading.value == pytest.approx(kept[column].value, rel=1e-5, abs=1e-6)
        seen.append(kept["fid_classifier_100"].value)
        assert len(labels) == len(samples)
    assert len(set(seen)) == 3


def test_drawing_does_not_change_the_protocol_or_the_dataset_s_own_reference():
    instrument = open_instrument(Choice("digits"), EVALUATION, "cpu")
    before = protocol_id(instrument), instrument.measure(instrument.dataset.holdout()[:100])
    list(instrument.draws(2))
    after = protocol_id(instrument), instrument.measure(instrument.dataset.holdout()[:100])
    assert before == after
