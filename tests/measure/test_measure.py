"""Measuring: torch-fidelity is the reference; points against numbers worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch_fidelity
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from benchmark.check.baseline import IN_CHECKOUT
from benchmark.errors import UserError
from benchmark.matrix.cell import Choice
from benchmark.matrix.files import find, read
from benchmark.measure import images, points
from benchmark.measure.features import classifier, extractors
from benchmark.measure.features.classifier import classifier_weights
from benchmark.measure.instrument import measure, noise_floor, open_instrument
from benchmark.measure.protocol import FUNCTIONS, metric, metric_names, protocol_id
from benchmark.metrics import METRICS
from benchmark.store.files import read_json
from benchmark.train.data import make_dataset
from benchmark.train.loop import train
from tests.helpers.cells import EVALUATION, small_cell
from variants.datasets import Base, Modes, Split

DIGITS = Choice("digits")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def generated():
    """Digits blurred and shifted: neither real nor far."""
    real = make_dataset(DIGITS).train().float()
    return ((real.roll(1, 3) + real) / 2).round().to(torch.uint8)[:100]


class ImageDataset(torch.utils.data.Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def whole_call(fake, real, extractor, weights, subset_size):
    return torch_fidelity.calculate_metrics(
        input1=ImageDataset(fake),
        input2=ImageDataset(real),
        cuda=False,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor=extractor,
        feature_extractor_weights_path=str(weights),
        kid_subsets=5,
        kid_subset_size=subset_size,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )


def assert_agrees_with_the_whole_call(found, expected, floor=0.0):
    names = {
        "fid": "frechet_inception_distance",
        "is_mean": "inception_score_mean",
        "is_std": "inception_score_std",
        "kid": "kernel_inception_distance_mean",
        "precision": "precision",
        "recall": "recall",
    }
    for name, theirs in names.items():
        assert found[name] == pytest.approx(expected[theirs], rel=1e-4, abs=1e-4 + floor), name


def by_name(instrument, samples):
    found = instrument.measure(samples)
    return {name: found[column][0] for name, column in instrument.columns.items()}


# Images


def test_values_are_torch_fidelitys_on_the_same_float64_features(generated):
    instrument = open_instrument(DIGITS, EVALUATION, "cpu")
    fake = images.extract(instrument.extractor, generated, "cpu")
    real = instrument.reference.real
    found = by_name(instrument, generated)
    statistics = [fid_features_to_statistics(part.features) for part in (fake, real)]
    fid = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert found["fid"] == pytest.approx(fid, rel=1e-6)
    score = isc_features_to_metric(fake.logits)
    assert found["is_mean"] == pytest.approx(score["inception_score_mean"], rel=1e-6)
    kid = kid_features_to_metric(
        fake.features,
        real.features,
        kid_subsets=5,
        kid_subset_size=50,
        rng_seed=2020,
        verbose=False,
    )
    assert found["kid"] == pytest.approx(kid["kernel_inception_distance_mean"], abs=1e-6)
    both = prc_features_to_metric(
        fake.features,
        real.features,
        prc_neighborhood=3,
        prc_batch_size=1000,
        save_cpu_ram=False,
        verbose=False,
    )
    assert (found["precision"], found["recall"]) == pytest.approx(
        (both["precision"], both["recall"]), rel=1e-6
    )


def plain_nearest(x, y, others=False):
    """The distance of each of x to its nearest of y, its own place left out: by difference, every
    pair at once."""
    distance = (x.unsqueeze(1) - y).norm(dim=2)
    return distance.fill_diagonal_(torch.inf).amin(1) if others else distance.amin(1)


@pytest.mark.parametrize(
    ("n", "m", "d", "subsets", "size"),
    [
        (600, 1100, 8, 5, 40),  # a kernel of every subset's own, blocks of both sides
        (120, 150, 24, 30, 60),  # the kernel of every pair once
        (64, 65, 2, 5, 20),  # groups of neighbours without a rest
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_values_on_random_features_are_those_of_torch_fidelity_and_of_plain_loops(
    n, m, d, subsets, size, threads
):
    """Multiplication is NumPy's on one thread and torch's on two."""
    generator = torch.Generator().manual_seed(n)
    fake, held, real = (
        images.Features(
            scale * torch.randn(k, d, dtype=torch.float64, generator=generator) + shift,
            torch.randn(k, 7, dtype=torch.float64, generator=generator),
        )
        for k, scale, shift in ((n, 0.8, 0.3), (n, 1, 0), (m, 1, 0))
    )
    reference = images.Reference(real, held, subsets, size)
    torch.set_num_threads(threads)
    try:
        names = ("fid", "kid", "precision", "recall", "nn_ratio", "duplicates", "is_std")
        found = {name: getattr(images, name)(fake, reference) for name in names}
        found["is_mean"] = images.is_mean(fake, reference)[0]
    finally:
        torch.set_num_threads(1)
    both = prc_features_to_metric(
        fake.features,
        real.features,
        prc_neighborhood=3,
        prc_batch_size=1000,
        save_cpu_ram=False,
        verbose=False,
    )
    score = isc_features_to_metric(fake.logits)
    ratio = (
        plain_nearest(fake.features, real.features).median()
        / plain_nearest(held.features, real.features).median()
    )
    near = plain_nearest(held.features, held.features, others=True).quantile(
        0.01, interpolation="lower"
    )
    same = (plain_nearest(fake.features, fake.features, others=True) <= near).double().mean()
    expected = {"precision": both["precision"], "recall": both["recall"]}
    expected |= {"nn_ratio": ratio.item(), "duplicates": same.item()}
    expected |= {"is_mean": score["inception_score_mean"], "is_std": score["inception_score_std"]}
    statistics = [fid_features_to_statistics(part.features) for part in (fake, real)]
    expected |= {
        "fid": fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    }
    kid = kid_features_to_metric(
        fake.features,
        real.features,
        kid_subsets=subsets,
        kid_subset_size=size,
        rng_seed=2020,
        verbose=False,
    )
    expected |= {"kid": kid["kernel_inception_distance_mean"]}
    assert found == pytest.approx(expected, rel=1e-6, abs=0)


def test_frechet_distance_of_gaussians_in_closed_form():
    """Diagonal Gaussians: ‖μ‖² + Σ (σ₁ − σ₂)², the features whitened so that their sample moments
    are exact."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / 499)).T
    scale, shift = (
        torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64),
        torch.tensor([1.0, 0.0, -2.0, 0.0]),
    )
    reference = images.Reference(images.Features(white, None), images.Features(white, None), 5, 50)
    found = images.fid(images.Features(white * scale + shift, None), reference)
    assert found == pytest.approx(5 + (0 + 1 + 0.25 + 4), rel=1e-9)
    assert images.fid(images.Features(white.clone(), None), reference) == pytest.approx(0, abs=1e-9)


def test_classifier_agrees_with_a_whole_call(generated):
    dataset = make_dataset(DIGITS)
    found = by_name(open_instrument(DIGITS, EVALUATION, "cpu"), generated)
    expected = whole_call(generated, dataset.train(), "classifier", classifier_weights(dataset), 50)
    assert_agrees_with_the_whole_call(found, expected)


def test_classifier_knows_its_data_and_says_how_well():
    extractor = open_instrument(DIGITS, EVALUATION, "cpu").extractor
    assert 0.95 < extractor.accuracy <= 1
    train_split, held = make_dataset(DIGITS).splits
    features, logits = extractor(held.samples)
    assert (logits.argmax(1) == held.labels).double().mean().item() == pytest.approx(
        extractor.accuracy, abs=1e-9
    )
    features, _ = extractor(train_split.samples)
    assert features.square().mean().sqrt().item() == pytest.approx(1, rel=1e-4)


def test_classifier_is_trained_once_and_cached_by_content(tmp_path, monkeypatch):
    class Halves(Base):
        shape, modality, source, licence, split = (1, 8, 8), "images", "made here", "none", "halves"

        def load(self):
            digits = make_dataset(DIGITS).train()
            bright = torch.arange(200) % 2
            samples = (digits[:200].float() / 2 + 120 * bright.view(-1, 1, 1, 1)).to(torch.uint8)
            return Split(samples[:100], bright[:100]), Split(samples[100:], bright[100:])

    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(classifier, "EPOCHS", 3)
    path = classifier_weights(Halves())
    written = path.stat().st_mtime_ns
    assert classifier_weights(Halves()) == path
    assert path.stat().st_mtime_ns == written
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["accuracy"] == 1


def test_the_quick_matrix_has_one_protocol_on_every_machine(tmp_path, monkeypatch):
    """The digits classifier ships with the suite: nothing is trained, so no machine's rounding
    enters the protocol."""
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    assert classifier_weights(make_dataset(DIGITS)).parent == classifier.SHIPPED


def test_noise_floor_is_far_below_other_images(generated):
    instrument = open_instrument(DIGITS, EVALUATION, "cpu")
    means = noise_floor(instrument, "code").mean
    floor = {name: means[column] for name, column in instrument.columns.items()}
    found = by_name(instrument, generated)
    assert floor["fid"] < found["fid"] / 3
    assert floor["nn_ratio"] == pytest.approx(1, abs=0.1)
    assert floor["precision"] > 0.8


def test_memorised_images_show_in_the_nearest_neighbour_check():
    instrument = open_instrument(DIGITS, EVALUATION, "cpu")
    assert by_name(instrument, make_dataset(DIGITS).train()[:100])["nn_ratio"] == pytest.approx(
        0, abs=1e-6
    )


def test_real_statistics_are_cached_under_everything_they_depend_on(
    generated, tmp_path, monkeypatch
):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    dataset = make_dataset(DIGITS)
    first = by_name(images.Instrument(dataset, EVALUATION, "cpu"), generated)
    files = {path.name for path in (tmp_path / "measure").iterdir()}
    assert {name.partition("-")[0] for name in files} == {"real", "held", "neighbours5"}
    again = by_name(images.Instrument(dataset, EVALUATION, "cpu"), generated)
    assert {path.name for path in (tmp_path / "measure").iterdir()} == files
    assert first == pytest.approx(again, rel=1e-12)
    by_name(images.Instrument(dataset, EVALUATION.replaced(**{"n_real": 500}), "cpu"), generated)
    assert len(list((tmp_path / "measure").iterdir())) == len(files) + 2


@pytest.mark.parametrize("modality", ["points", "images"])
def test_every_row_has_a_function_and_the_reverse(modality):
    rows = {name for name, row in METRICS.items() if modality in row.modality}
    assert set(FUNCTIONS[modality]) == rows
    module = {"points": points, "images": images}[modality]
    for name, function in FUNCTIONS[modality].items():
        assert function.compute is getattr(module, name)


def test_every_modality_of_a_row_is_measured():
    assert {modality for row in METRICS.values() for modality in row.modality} == set(FUNCTIONS)


def test_a_function_without_a_row_is_refused():
    def no_such_metric(fake, reference):
        return 0.0

    def fid(fake, reference):
        return 0.0

    with pytest.raises(AssertionError, match="METRICS has no row 'no_such_metric'"):
        metric("points")(no_such_metric)
    with pytest.raises(AssertionError, match="the row 'fid' of METRICS is not of points"):
        metric("points")(fid)


def test_metrics_are_those_wanted_whose_needs_are_met_in_the_order_of_the_rows():
    assert metric_names("points", [], {"modes"}) == [
        "swd", "w1", "modes_covered", "modes_hit", "high_quality", "reverse_kl", "core_width",
        "tail", "js_grid",
    ]  # fmt: skip
    assert metric_names("points", [], set()) == ["swd", "w1", "js_grid"]
    assert metric_names("points", ["js_grid", "reverse_kl", "fid"], {"modes"}) == [
        "reverse_kl", "js_grid"
    ]  # fmt: skip
    without_logits = metric_names("images", [], {"modes"})
    assert "is_mean" not in without_logits
    assert "modes_covered" in without_logits


def test_protocols_differ_with_what_numbers_depend_on():
    base = protocol_id(open_instrument(DIGITS, EVALUATION, "cpu"))
    ema = {"sampling_statistics": "ema"}
    for change in ({"n_real": 500}, {"n": {"points": 200, "images": 90}}, {"kid_subsets": 6}, ema):
        assert protocol_id(open_instrument(DIGITS, EVALUATION.replaced(**change), "cpu")) != base
    assert (
        protocol_id(
            open_instrument(DIGITS, EVALUATION.replaced(schedule=[1.0], metrics=["fid"]), "cpu")
        )
        == base
    )
    points_of = [
        open_instrument(Choice("gaussians8"), EVALUATION.replaced(**change), "cpu")
        for change in ({}, ema)
    ]
    assert protocol_id(points_of[0]) != protocol_id(points_of[1])


def test_protocols_are_those_of_the_committed_baseline():
    """Else `check` refuses every comparison: a change of protocol needs a new baseline."""
    matrix, _ = read(find("quick"))
    evaluation = matrix.evaluation
    for group in read_json(IN_CHECKOUT / "quick.json")["groups"]:
        assert (
            protocol_id(open_instrument(Choice(group["dataset"]), evaluation, "cpu"))
            == group["protocol"]
        )


def line(*gaps):
    """Features of images on a line, with these gaps between neighbours."""
    return images.Features(
        torch.tensor([0.0, *gaps], dtype=torch.float64).cumsum(0).unsqueeze(1), None
    )


def test_duplicates_by_hand():
    """Held-out images with gaps 1, 2 … 199: the nearest other is at 1, 1, 2, 3 … 199, and 1 % of
    200 are at 1."""
    reference = images.Reference(line(1), line(*range(1, 200)), 5, 50)
    assert reference.near == 1
    assert images.duplicates(reference.held, reference) == 0.01
    assert images.duplicates(line(*[1.01] * 199), reference) == 0
    assert images.duplicates(line(*[0.0] * 199), reference) == 1
    assert (
        images.duplicates(line(*[1.01] * 140, *[0.99] * 59), reference) == 0.3
    )  # 60 images, 59 gaps
    assert images.duplicates(line(*[0.99, 5.0] * 99, 0.99), reference) == 1  # pairs


def test_a_collapse_shows_among_real_copies_too():
    """Where held-out images have copies the threshold is 0, and equal features of any size are at
    distance 0."""
    held = line(*[0.0, 3.0] * 99, 0.0)
    reference = images.Reference(held, held, 5, 50)
    assert reference.near == 0
    wide = torch.randn(1, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e3
    assert images.duplicates(images.Features(wide.expand(1500, 64), None), reference) == 1
    assert images.duplicates(images.Features(torch.randn(1500, 64).double(), None), reference) == 0


def test_planted_copies_show_as_duplicates():
    """On the digits' own features: 420 distinct training images, and 280 more copies of one of
    them."""
    evaluation = EVALUATION.replaced(n={"points": 200, "images": 700}, metrics=["duplicates"])
    instrument, real = (
        images.Instrument(make_dataset(DIGITS), evaluation, "cpu"),
        make_dataset(DIGITS).train(),
    )
    assert by_name(instrument, real[:700])["duplicates"] <= 0.03
    planted = torch.cat([real[:420], real[:1].expand(280, -1, -1, -1)])
    assert by_name(instrument, planted)["duplicates"] == pytest.approx(281 / 700, abs=0.03)
    held = instrument.reference.held
    assert 0.01 <= images.duplicates(held, instrument.reference) <= 0.015


def of_modes(*modes):
    """Samples whose likeliest of 1,000 classes are these."""
    return images.Features(
        torch.empty(0), torch.nn.functional.one_hot(torch.tensor(modes), 1000).double() - 7
    )


def test_modes_of_images_by_hand():
    reference = images.Reference(line(1), line(1), 5, 50)
    each, half, one = (
        of_modes(*range(1000)),
        of_modes(*range(500), *range(500)),
        of_modes(*[7] * 1000),
    )
    uneven = of_modes(1, 1, 1, 999)
    found = [images.modes_covered(samples, reference) for samples in (each, half, one, uneven)]
    assert found == [1000, 500, 1, 2]
    expected = [0, math.log(2), math.log(1000), 0.75 * math.log(750) + 0.25 * math.log(250)]
    found = [images.reverse_kl(samples, reference) for samples in (each, half, one, uneven)]
    assert found == pytest.approx(expected, abs=1e-12)


def test_image_modes_need_a_dataset_with_modes_and_its_classifier(monkeypatch):
    dataset = make_dataset(DIGITS)
    evaluation = EVALUATION.replaced(metrics=["modes_covered", "reverse_kl"])
    assert images.Instrument(dataset, evaluation, "cpu").columns == {}
    monkeypatch.setattr(type(dataset), "num_modes", 10)
    instrument = images.Instrument(dataset, evaluation, "cpu")
    assert instrument.columns == {
        "modes_covered": "modes_covered_classifier_100", "reverse_kl": "reverse_kl_classifier_100"
    }  # fmt: skip
    floor = noise_floor(instrument, "code").mean
    assert floor["modes_covered_classifier_100"] == 10
    assert floor["reverse_kl_classifier_100"] < 0.2
    zero = dataset.train()[dataset.splits[0].labels == 0][:1].expand(100, -1, -1, -1)
    assert by_name(instrument, zero) == pytest.approx(
        {"modes_covered": 1, "reverse_kl": math.log(10)}
    )
    other = dataclasses.replace(instrument.extractor, name="another")
    monkeypatch.setattr(images, "open_extractor", lambda *arguments: other)
    monkeypatch.setattr(images, "real_features", lambda *arguments, **options: None)
    assert images.Instrument(dataset, evaluation, "cpu").columns == {}


class WithoutFloat64(torch.Tensor):
    """A tensor on a device that has no float64."""

    def double(self):
        raise TypeError("no float64 on this device")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_a_device_may_have_no_float64():
    samples = make_dataset(Choice("gaussians8")).train()[:200]
    instrument = open_instrument(Choice("gaussians8"), EVALUATION, "cpu")
    assert instrument.measure(samples.as_subclass(WithoutFloat64)) == instrument.measure(samples)
    network = lambda batch: (batch.flatten(1).float().as_subclass(WithoutFloat64),) * 2  # noqa: E731
    network.convert_features_tuple_to_dict = lambda found: dict(
        zip(("features", "logits"), found, strict=True)
    )
    extractor = extractors.Extractor("classifier", network, "features", "logits", "", "none")
    found = images.extract(extractor, make_dataset(DIGITS).train()[:300], "cpu")
    assert found.features.dtype == found.logits.dtype == torch.float64
    assert found.features.shape == (300, 64)


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory):
    return write_inception(tmp_path_factory.mktemp("weights") / "inception.pth")


def write_inception(path):
    """A state dict of the Inception network, written here: He initialisation, so that features have
    a scale."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
            lambda *a, **k: {},
        )
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.slow
def test_inception_agrees_with_a_whole_call(inception_weights, generated):
    """One channel is repeated three times, as every user of Inception on grey images does."""
    evaluation = EVALUATION.replaced(
        extractor="inception-v3-compat",
        extractor_weights=str(inception_weights),
        n={"points": 10, "images": 20},
        n_real=20,
        kid_subset_size=10,
    )
    instrument = open_instrument(DIGITS, evaluation, "cpu")
    assert instrument.columns["fid"] == "fid_inception_20"
    real = make_dataset(DIGITS).train()[:20].expand(-1, 3, -1, -1)
    fake = generated[:20]
    expected = whole_call(
        fake.expand(-1, 3, -1, -1), real, "inception-v3-compat", inception_weights, 10
    )
    found = by_name(instrument, fake)
    assert expected["frechet_inception_distance"] > 1e-3
    assert_agrees_with_the_whole_call(found, expected)


def test_inception_without_weights_says_what_to_do(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(
        "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", refuse
    )
    with pytest.raises(UserError, match=r"evaluation\.extractor_weights.*'classifier'"):
        extractors.open_extractor("inception-v3-compat", None, make_dataset(DIGITS), "cpu")


def test_weights_that_do_not_exist_or_do_not_fit_or_are_unsafe(tmp_path):
    def open_weights(path):
        return extractors.open_extractor("inception-v3-compat", str(path), None, "cpu")

    with pytest.raises(UserError, match="no file"):
        open_weights(tmp_path / "none.pth")
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="does not fit"):
        open_weights(tmp_path / "other.pth")
    torch.save({"x": UserError("code")}, tmp_path / "unsafe.pth")
    with pytest.raises(UserError, match="not a file of plain tensors"):
        open_weights(tmp_path / "unsafe.pth")


def test_an_unknown_extractor_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'classifier'"):
        extractors.open_extractor("clasifier", None, make_dataset(DIGITS), "cpu")


# Points


def mixture(centres, sigma=0.1):
    centres = torch.tensor(centres, dtype=torch.float32)
    return Modes(centres, sigma, torch.full((len(centres),), 1 / len(centres)))


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection():
    """A shift by v moves every projection by v·u; over directions the mean of |cos| is 2/π."""
    held = torch.randn(500, 2, dtype=torch.float64)
    found = points.swd(held + torch.tensor([3.0, 4.0]), points.Reference(held, None))
    assert found == pytest.approx(5 * 2 / math.pi, rel=1e-3)
    assert points.swd(held.flip(0), points.Reference(held, None)) == 0


def test_modes_quality_and_reverse_kl_by_hand():
    """Of 100 points 50 stand on mode 0, 45 on mode 1, 2 on mode 2 (under a tenth of 33), 3 far off,
    nearest mode 2."""
    modes = mixture([[0, 0], [2, 0], [0, 2]])
    on = lambda index, n: modes.centres[index].expand(n, 2)  # noqa: E731
    fake = torch.cat([on(0, 50), on(1, 45), on(2, 2), torch.tensor([[0.0, 9.0]] * 3)]).double()
    reference = points.Reference(fake, modes)
    assert points.modes_covered(fake, reference) == 2
    assert points.high_quality(fake, reference)[0] == pytest.approx(0.97)
    assert points.high_quality(fake, reference)[1] == pytest.approx(math.sqrt(0.97 * 0.03 / 100))
    expected = sum(q * math.log(q * 3) for q in (0.5, 0.45, 0.05))
    assert points.reverse_kl(fake, reference) == pytest.approx(expected, rel=1e-6)


def test_high_quality_ends_at_three_sigma():
    modes = mixture([[0, 0]])
    fake = torch.tensor([[0.299, 0.0], [0.301, 0.0]], dtype=torch.float64)
    assert points.high_quality(fake, points.Reference(fake, modes))[0] == 0.5


def test_js_on_a_grid_is_0_for_the_same_and_1_for_disjoint_points():
    held = torch.rand(1000, 2, dtype=torch.float64)
    assert points.js_grid(held, points.Reference(held, None)) == 0
    assert points.js_grid(held - 1.5, points.Reference(held, None)) == pytest.approx(1)
    half = torch.cat([held[:500], held[:500] + 50])  # what lies outside the grid counts, too
    assert 0 < points.js_grid(half, points.Reference(held, None)) < 1


def test_a_dataset_without_modes_has_no_mode_metrics():
    columns = open_instrument(Choice("swissroll"), EVALUATION, "cpu").columns
    assert set(columns) == {"swd", "w1", "js_grid"}


def test_a_trained_snapshot_is_measured_without_disturbing_it():
    rows = []
    for measuring in (True, False):
        cell = small_cell(steps=4)
        rows.append([])
        for snapshot in train(cell, "cpu"):
            if measuring:
                names = metric_names("points", [], {"modes"})
                assert set(measure(snapshot, "cpu")) == {f"{name}_200" for name in names}
            rows[-1].append(snapshot.row and snapshot.row["d_loss"])
    assert rows[0] == rows[1]


@pytest.mark.parametrize("n", [{"points": 200, "images": 800}, {"points": 30_000, "images": 100}])
def test_more_samples_than_held_out_ones_are_refused(n):
    choice = DIGITS if n["images"] == 800 else Choice("gaussians8")
    with pytest.raises(ValueError, match="held out"):
        open_instrument(choice, EVALUATION.replaced(**{"n": n}), "cpu")
