"""Precision and layout: bf16 and channels_last against float32 and contiguous, with faults planted
where they show.

bf16 has 8 significant bits: a number is rounded by up to 2⁻⁹ of itself. The distance of two loss
traces is the mean |difference| over the mean |loss| (g_loss, which may cross 0: at least over 1),
20 steps, one thread. Tolerances, in brackets the largest distance measured with seeds 0 to 3, torch
2.14: Losses of scores: dcgan 2⁻¹¹ (0.0002), half of what rounding the loss itself costs; mlp on
points 2⁻⁷ (0.0068); text_resnet 2⁻⁹ (0.0014, seeds 0 to 2); f-GANs on dcgan 2⁻⁹ (0.0010, seed 0).
Penalties: dcgan 2⁻⁶ (0.0111), mlp on points 2⁻³ (0.052): a ReLU critic's slope is constant between
kinks, so a point that a rounding moves across one sees another slope; text_resnet 2⁻⁹ (0.0010).
That the penalty itself is in float32 is tested to the last bit."""

import copy
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

import variants
from benchmark.matrix.cell import Choice
from benchmark.train import build
from benchmark.train import data as batches
from benchmark.train.build import make_objective
from benchmark.train.loop import train
from benchmark.train.optimizers import make_optimizer
from benchmark.train.step import (
    autocast,
    critic_step,
    generator_step,
    set_precision,
)
from tests.helpers.cells import small_cell
from variants.objectives import full_precision, wgan_fdgp

# Fast enough for slopes to come near 1
RECIPE = {"optimizer": "adam", "lr": 5e-4, "betas": [0.0, 0.9], "alpha": 0.99}
OPTIONS = {"points": {"batch_size": 256}, "images": {"recipe": RECIPE}, "text": {"recipe": RECIPE}}
SCORES = [("minimax", {}), ("lsgan", {})]
EXACT = [("wgan_gp", {}), ("wgan_gp", {"method": "jvp"})]
# Further losses of scores, and penalties by double backward; the power of wgan_div is 6
# Their losses are divergences of laws that hardly differ: the same errors are a larger part of them
DIVERGENCES = [
    ("fgan", {"divergence": name}) for name in ("reverse_kl", "pearson", "hellinger", "js")
]
FURTHER_SCORES = [
    ("fgan", {}),
    *(("relativistic_average", {"base": name}) for name in ("least_squares", "hinge")),
    ("relativistic_average", {}),
]
FURTHER_EXACT = [(name, {}) for name in ("r1", "rpgan_r1r2", "dragan", "wgan_div")]
FINITE = [
    ("wgan_fdgp", {}),
    ("wgan_fdgp", {"pairs": "independent"}),
    ("wgan_fdgp", {"pairs": "endpoint", "sided": "signed"}),
]
PENALTIES = [*EXACT, *FINITE]
TOLERANCE = {
    ("scores", "images"): 2**-11,
    ("scores", "points"): 2**-7,
    ("scores", "text"): 2**-9,
    ("divergence", "images"): 2**-9,
    ("penalty", "images"): 2**-6,
    ("penalty", "points"): 2**-3,
    ("penalty", "text"): 2**-9,
}


@pytest.fixture(autouse=True)
def full_precision_again():
    yield
    set_precision("float32")


def run(name, place, params, device="cpu", **training):
    cell = small_cell(name, place, params=params, **(OPTIONS[place] | training))
    return [snapshot.row for snapshot in train(cell, device) if snapshot.row]


@cache
def in_float32(name, place, *params):
    return run(name, place, dict(params))


def distance(rows, reference, column):
    """Mean |difference| of two traces over the mean |loss| of the reference."""
    assert len(rows) == len(reference) == 20
    difference = size = 0.0
    for row, wanted in zip(rows, reference, strict=True):
        difference += abs(row[column] - wanted[column])
        size += abs(wanted[column])
    # g_loss may cross 0
    return difference / (max(20.0, size) if column == "g_loss" else size)


@pytest.mark.parametrize("place", OPTIONS)
@pytest.mark.parametrize(("name", "params"), SCORES + PENALTIES[::2])
def test_bf16_follows_float32(name, params, place):
    kind = "scores" if (name, params) in SCORES else "penalty"
    half = run(name, place, params, precision="bf16")
    full = in_float32(name, place, *params.items())
    assert 0 < distance(half, full, "d_loss") < TOLERANCE[kind, place]
    assert 0 < distance(half, full, "g_loss") < max(2**-10, TOLERANCE[kind, place])


@pytest.mark.parametrize(
    ("kind", "name", "params"),
    [
        *(("scores", *one) for one in FURTHER_SCORES),
        *(("divergence", *one) for one in DIVERGENCES),
        *(("penalty", *one) for one in FURTHER_EXACT),
    ],
)
def test_bf16_follows_float32_on_images(kind, name, params):
    half = run(name, "images", params, precision="bf16")
    full = in_float32(name, "images", *params.items())
    assert 0 < distance(half, full, "d_loss") < TOLERANCE[kind, "images"]


@pytest.mark.parametrize(("name", "params"), SCORES)
def test_a_loss_in_bf16_breaks_the_tolerance(name, params, monkeypatch):
    objective = variants.load("objectives", name).Objective
    d_loss = objective.d_loss

    def in_bf16(self, D, *rest):
        return d_loss(self, lambda x: D(x).bfloat16(), *rest).float()

    monkeypatch.setattr(objective, "d_loss", in_bf16)
    planted = run(name, "images", params, precision="bf16")
    full = in_float32(name, "images", *params.items())
    assert distance(planted, full, "d_loss") > 1.5 * TOLERANCE["scores", "images"]


def ready(name, params):
    """An objective, networks whose slopes are about 1, and a batch with its noise."""
    G, D = copy.deepcopy(trained(name, *params.items()))
    real = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z = torch.randn(16, 128, generator=torch.Generator().manual_seed(1))
    objective = make_objective(Choice(name, params))
    return objective, G, D, real, z, objective.draw(real, torch.Generator().manual_seed(2))


@cache
def trained(name, *params):
    cell = small_cell(name, "images", params=dict(params), steps=15, recipe=RECIPE | {"lr": 2e-3})
    *_, last = train(cell, "cpu")
    return last.G, last.D


def penalties(name, params):
    """The penalty of one state, asked for within bf16 autocast and outside."""
    objective, G, D, real, z, noise = ready(name, params)
    with torch.no_grad():
        fake = G(z)
    plain = objective.penalty(D, real, fake, noise).item()
    with autocast(real, "bf16"):
        return objective.penalty(D, real, fake, noise).item(), plain


@pytest.mark.parametrize(("name", "params"), FINITE)
def test_a_finite_difference_is_the_same_number_under_bf16(name, params):
    half, full = penalties(name, params)
    assert half == full != 0


@pytest.mark.parametrize(("name", "params"), EXACT + FURTHER_EXACT)
def test_an_exact_penalty_bears_bf16(name, params):
    """It is no small difference of large numbers: its relative error is that of the slopes, about
    2⁻⁹ each."""
    half, full = penalties(name, params)
    assert 0 < abs(half - full) < (3e-2 if name == "wgan_div" else 1e-2) * full


@contextmanager
def nothing(tensor):
    yield


def test_a_finite_difference_in_bf16_is_another_number(monkeypatch):
    """What full_precision prevents: the two scores nearly cancel."""
    monkeypatch.setattr(wgan_fdgp, "full_precision", nothing)
    half, full = penalties(*FINITE[0])
    assert abs(half - full) > 1e-2 * full


@pytest.mark.parametrize(("name", "params"), FINITE)
def test_autocast_is_off_inside_the_penalty_and_on_outside(name, params):
    """The dtype of the critic's last layer: float32 inside; bfloat16 in the loss of the scores,
    except for endpoint, whose scores are the penalty's."""
    objective, G, D, real, z, noise = ready(name, params)
    inside, seen = [False], {True: set(), False: set()}
    D.linear.register_forward_hook(lambda module, inputs, output: seen[inside[0]].add(output.dtype))
    penalty = type(objective).penalty

    class Watched(type(objective)):
        def penalty(self, *arguments):
            inside[0] = True
            found = penalty(self, *arguments)
            inside[0] = False
            assert found.dtype == torch.float32
            return found

    watched = Watched(**params)
    critic_step(watched, G, D, make_optimizer(objective.recipe, D), real, z, noise, "bf16")
    if params.get("pairs") == "endpoint":
        assert seen == {True: set(), False: {torch.float32}}
    else:
        assert seen == {True: {torch.float32}, False: {torch.bfloat16}}


def test_losses_are_float32_numbers_of_bf16_scores():
    """Minimax by its closed form in float64 on the very scores the critic gave."""
    objective, G, D, real, z, noise = ready("minimax", {})
    scores = []
    D.linear.register_forward_hook(
        lambda module, inputs, output: scores.append(output.detach().squeeze(1))
    )
    optimizers = [make_optimizer(objective.recipe, network) for network in (G, D)]
    d_loss, *_ = critic_step(objective, G, D, optimizers[1], real, z, noise, "bf16")
    g_loss, _ = generator_step(objective, G, D, optimizers[0], real, z, noise, "bf16")
    assert [s.dtype for s in scores] == [torch.bfloat16] * 3
    s_real, s_fake, s_again = (s.double() for s in scores)
    expected = softplus(-s_real).mean() + softplus(s_fake).mean()
    assert d_loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert g_loss.item() == pytest.approx(-softplus(s_again).mean().item(), rel=1e-6)


# Layout


@pytest.fixture
def colour(monkeypatch):
    """Noise of 3 channels and 16×16 instead of digits, so that the two layouts differ in every
    layer."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (100, 3, 16, 16), dtype=torch.uint8, generator=generator)
    dataset = SimpleNamespace(
        modality="images",
        shape=(3, 16, 16),
        splits=(images, images),
        train=lambda: images,
        holdout=lambda: images,
    )
    for module in (batches, build):
        monkeypatch.setattr(module, "make_dataset", lambda choice: dataset)


@pytest.mark.parametrize("name", ["nonsaturating", "lsgan", "wgan_gp"])
def test_channels_last_differs_by_rounding_only(name, colour):
    """float32 rounds by up to 2⁻²⁴, and 20 steps amplify that (measured, seeds 0 to 2: 8e-8;
    wgan_fdgp, whose points are moved across kinks, up to 0.01)."""
    last = run(name, "images", {}, layout="channels_last")
    contiguous = run(name, "images", {}, layout="contiguous")
    for column in ("d_loss", "g_loss"):
        assert distance(last, contiguous, column) < 2**-18


def test_channels_last_reaches_weights_and_batches_but_not_the_samples(colour, monkeypatch):
    seen = []
    forward = nn.Conv2d.forward

    def recording(self, x):
        seen.append((x, self.weight))
        return forward(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", recording)
    cell = small_cell("nonsaturating", "images", steps=1, layout="channels_last")
    *_, last = train(cell, "cpu")
    # 2 convolutions; 2 iterations of 3 passes, one pass that is counted, and the probe's 7
    assert len(seen) == 2 * (2 * 3 + 1 + 7)
    assert all(t.is_contiguous(memory_format=torch.channels_last) for pair in seen for t in pair)
    assert not any(t.is_contiguous() for pair in seen for t in pair)
    assert last.sample(10).is_contiguous()


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0),
    reason="TF32 exists on CUDA devices of compute capability 8.0 and later only",
)
def test_tf32_rounds_products_but_not_the_penalty():
    """TF32 has bf16's exponent and 11 significant bits: a product is off by up to 2⁻¹¹ of its
    factors' size."""
    a, b = torch.randn(2, 512, 512, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    exact = a.double() @ b.double()

    def error():
        return ((a @ b).double() - exact).abs().max().item() / exact.abs().max().item()

    set_precision("float32")
    assert error() < 1e-6
    set_precision("tf32")
    assert 1e-5 < error() < 2**-9
    with full_precision(a):
        assert error() < 1e-6
    full = run("nonsaturating", "images", {}, "cuda", precision="float32")
    tf32 = run("nonsaturating", "images", {}, "cuda", precision="tf32")
    assert distance(tf32, full, "d_loss") < 2**-11
