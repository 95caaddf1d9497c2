"""Clipped density and coverage: plain loops, a simulation, and their promise of planted noise."""

import math

import numpy as np
import pytest
import torch

from benchmark.matrix.cell import Choice
from benchmark.matrix.files import find, read
from benchmark.measure import images
from benchmark.measure.features.clipped import expected_coverage
from benchmark.measure.features.extract import Features
from benchmark.measure.features.reference import Reference
from benchmark.measure.instrument import open_instrument
from tests.helpers.cells import EVALUATION
from variants.datasets import Base, Split

K = 5


def gaussian(n, d=8, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, dtype=torch.float64, generator=generator) + shift


def measured(fake, real):
    reference = Reference(Features(real, None), Features(real, None), 5, 50)
    features = Features(fake, None)
    return (
        images.clipped_density(features, reference),
        images.clipped_coverage(features, reference),
    )


def plain(fake, real):
    """Density and coverage before calibration, by loops over pairs."""
    fake, real = fake.tolist(), real.tolist()
    radii = []
    for i, x in enumerate(real):
        others = sorted(math.dist(x, y) for j, y in enumerate(real) if j != i)
        radii.append(others[K - 1])
    cut = [min(radius, float(np.median(radii))) for radius in radii]

    def density(points, own):
        total = 0
        for j, x in enumerate(points):
            balls = [
                math.dist(x, y) <= radius
                for i, (y, radius) in enumerate(zip(real, cut, strict=True))
                if not (own and i == j)
            ]
            total += min(sum(balls) / K, 1)
        return total / len(points)

    covered = 0
    for y, radius in zip(real, radii, strict=True):
        covered += min(sum(math.dist(x, y) < radius for x in fake), K) / K
    return density(fake, False) / density(real, True), covered / len(real)


@pytest.mark.parametrize(("n", "m", "shift"), [(60, 80, 0.4), (80, 60, 0.0), (7, 130, 1.0)])
def test_values_are_those_of_plain_loops(n, m, shift):
    fake, real = gaussian(n, 3, 1, shift), gaussian(m, 3, 2)
    density, coverage = measured(fake, real)
    expected_density, uncalibrated = plain(fake, real)
    assert density == pytest.approx(min(1, expected_density), abs=1e-12)
    good = np.interp(uncalibrated, expected_coverage(m, n), np.arange(n + 1))
    assert coverage == pytest.approx(good / n, abs=1e-12)


def test_a_line_by_hand():
    """Seven images at 0, 1 … 6: their 5 nearest are within 5 4 3 3 3 4 5, cut at the median 4. The
    image in the middle has six within 3, of which five count. So 5 images are in 5 balls or 6,
    and of the outer two one is in 2 and one in 3."""
    real = torch.arange(7, dtype=torch.float64).unsqueeze(1)
    reference = Reference(Features(real, None), Features(real, None), 5, 50)
    assert reference.balls.wide.tolist() == [5, 4, 3, 3, 3, 4, 5]
    assert reference.balls.clipped.tolist() == [4, 4, 3, 3, 3, 4, 4]
    assert reference.density == pytest.approx((5 * 5 + 2 + 3) / 5 / 7, abs=1e-12)
    far = Features(real + 100, None)
    assert images.clipped_density(far, reference) == 0
    assert images.clipped_coverage(far, reference) == 0


def test_every_ball_full_is_full_coverage():
    real = gaussian(40, 3)
    copies = real.repeat(K, 1)
    assert measured(copies, real) == (1, 1)


def test_expected_coverage_is_that_of_simulated_samples():
    """Whatever the distribution: here uniform on a line, where the ball of one real sample among N
    holds a share of good ones that is drawn 20,000 times."""
    rng = np.random.default_rng(0)
    num_real, num_fake = 30, 40
    expected = expected_coverage(num_real, num_fake)
    for good in (0, 1, 3, 10, 40):
        mass = rng.beta(K, num_real - K, 20_000)
        inside = np.minimum(rng.binomial(good, mass), K) / K
        assert expected[good] == pytest.approx(inside.mean(), abs=0.005)
    shares = []
    for _ in range(2000):
        real, fake = rng.random((num_real, 1)), rng.random((num_fake, 1))
        distance = np.abs(real - real.T) + np.diag([np.inf] * num_real)
        radii = np.sort(distance, axis=1)[:, K - 1]
        inside = (np.abs(real - fake.T) < radii[:, None]).sum(axis=1)
        shares.append(np.minimum(inside, K).mean() / K)
    assert expected[-1] == pytest.approx(np.mean(shares), abs=0.006)
    assert expected[0] == 0
    assert (np.diff(expected) > 0).all()


def test_a_share_of_noise_takes_its_share_of_both():
    """Far noise in a share p: both fall to 1 − p of their value without, within .03."""
    real, fake = gaussian(2000, 6, 1), gaussian(2000, 6, 2)
    noise = gaussian(2000, 6, 3, shift=30.0)
    clean = measured(fake, real)
    assert min(clean) > 0.93
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        bad = int(share * len(fake))
        found = measured(torch.cat([noise[:bad], fake[bad:]]), real)
        for value, before in zip(found, clean, strict=True):
            assert value / before == pytest.approx(1 - share, abs=0.03)


def test_noise_among_digits_takes_its_share_where_recall_sees_nothing():
    """The quick matrix's protocol: pixels of uniform noise for a share of held-out digits."""
    instrument = open_instrument(Choice("digits"), read(find("quick"))[0].evaluation, "cpu")
    held = instrument.dataset.holdout()[: instrument.n]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, held.shape, dtype=torch.uint8, generator=generator)
    names = ("clipped_density", "clipped_coverage", "recall")
    values = []
    shares = (0, 0.1, 0.25, 0.5, 0.75, 0.9)
    for share in shares:
        bad = int(share * len(held))
        readings = instrument.measure(torch.cat([noise[:bad], held[bad:]]))
        values.append([readings[instrument.columns[name]].value for name in names])
    density, coverage, recall = np.transpose(values)
    assert (density[0], coverage[0]) == pytest.approx((0.949, 0.987), abs=2e-3)
    expected = 1 - np.array(shares)
    assert np.abs(density / density[0] - expected).max() <= 0.03
    assert np.abs(coverage / coverage[0] - expected).max() <= 0.03
    assert recall.min() > 0.9


@pytest.mark.parametrize("n", [1, 5])
def test_fewer_training_images_than_neighbours_are_refused(n):
    class Few(Base):
        shape, modality, source, licence, split = (1, 8, 8), "images", "made here", "none", "halves"

        def load(self):
            samples = torch.zeros(20, 1, 8, 8, dtype=torch.uint8)
            labels = torch.arange(20) % 2
            return Split(samples[:n], labels[:n]), Split(samples, labels)

    evaluation = EVALUATION.replaced(n={"points": 10, "images": 10})
    with pytest.raises(ValueError, match=f"{n} training images are too few.* its 5 nearest"):
        images.Instrument(Few(), evaluation, "cpu")
