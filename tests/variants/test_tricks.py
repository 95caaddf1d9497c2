"""Tricks of objectives and architectures, each against its closed form in float64."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

import variants
from benchmark.errors import UserError
from benchmark.matrix.cell import Choice
from benchmark.matrix.pairs import critic_norm
from benchmark.matrix.values import choices
from benchmark.train.data import floats_of
from benchmark.train.snapshot import quantise
from tests.helpers.critics import SmoothCritic
from variants.architectures import Output, PixelNorm, build, norm_layer
from variants.architectures._output import set_range
from variants.datasets import digits
from variants.objectives import lsgan, minimax, nonsaturating, wgan_div, wgan_fdgp, wgan_gp

LABELLED = (minimax, nonsaturating, lsgan)


def identity(scores: Tensor) -> Tensor:
    """A critic whose samples are their own scores."""
    return scores


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def slope_of_loss(objective, score: float, p: float, q: float, flips: tuple[int, int]) -> float:
    """The derivative in s of p ℓ(real, s) + q ℓ(generated, s)."""
    s = column(score).requires_grad_()
    noise = (torch.tensor(flips).bool().view(2, 1),)
    loss = p * objective.d_loss(identity, s, s.detach(), noise)
    loss = loss + q * objective.d_loss(identity, s.detach(), s, noise)
    return torch.autograd.grad(loss, s)[0].item()


# Labels


@pytest.mark.parametrize("module", LABELLED)
@pytest.mark.parametrize("alpha", [1.0, 0.9, 0.5])
def test_the_best_critic_under_smoothed_labels(module, alpha):
    """σ(D*) = α p/(p + q); of least squares with labels b and a, D* = (α b p + a q)/(p + q)."""
    p, q = 0.7, 0.4
    objective = module.Objective(real_label=alpha)
    best = torch.logit(column(alpha * p / (p + q))).item()
    if module is lsgan:
        objective = lsgan.Objective(real_label=alpha, a=-1.0, b=1.0, c=0.0)
        best = (alpha * p - q) / (p + q)
    assert slope_of_loss(objective, best, p, q, (0, 0)) == pytest.approx(0, abs=1e-12)
    assert slope_of_loss(objective, best + 0.1, p, q, (0, 0)) > 1e-3


@pytest.mark.parametrize("alpha", [1.0, 0.9, 0.5])
def test_the_value_of_smoothed_labels_where_the_laws_are_equal(alpha):
    """At D*, p = q: 2 H(α/2) in nats; of least squares (α b − a)²/4."""
    share = alpha / 2
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    s = torch.logit(column(share))
    for module in (minimax, nonsaturating):
        loss = module.Objective(real_label=alpha).d_loss(identity, s, s)
        assert loss.item() == pytest.approx(2 * entropy, rel=1e-12)
    objective = lsgan.Objective(real_label=alpha, a=-1.0, b=1.0, c=0.0)
    middle = column((alpha - 1) / 2)
    loss = objective.d_loss(identity, middle, middle)
    assert loss.item() == pytest.approx((alpha + 1) ** 2 / 4, rel=1e-12)


@pytest.mark.parametrize("module", LABELLED)
def test_flips_are_smoothing_of_both_labels_in_the_mean(module):
    """All flips of a batch of 4, weighted by their probability, give the gradient of the labels
    1 − π of real and π of generated samples."""
    pi, batch_size = 0.2, 4
    objective = module.Objective(flip=pi)
    real, fake = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).double()
    D = SmoothCritic(3)
    parameters = list(D.parameters())
    mean = [torch.zeros_like(parameter) for parameter in parameters]
    for flips in itertools.product((False, True), repeat=2 * batch_size):
        weight = pi ** sum(flips) * (1 - pi) ** (2 * batch_size - sum(flips))
        noise = (torch.tensor(flips).view(2, batch_size),)
        gradients = torch.autograd.grad(objective.d_loss(D, real, fake, noise), parameters)
        for total, gradient in zip(mean, gradients, strict=True):
            total += weight * gradient
    d_real, d_fake = D(real), D(fake)
    if module is lsgan:
        smoothed = 0.5 * ((d_real - (1 - pi)).square() + (d_fake - pi).square()).mean()
    else:
        bce = torch.nn.functional.binary_cross_entropy_with_logits
        smoothed = bce(d_real, torch.full_like(d_real, 1 - pi))
        smoothed = smoothed + bce(d_fake, torch.full_like(d_fake, pi))
    for found, expected in zip(mean, torch.autograd.grad(smoothed, parameters), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_smoothed_fake_label_puts_the_generator_into_the_optimum():
    """Why smoothing is one-sided: with flips, σ(D*) = ((1 − π) p + π q)/(p + q), which is not 0
    where p = 0."""
    pi, p, q = 0.1, 1e-9, 1.0
    objective = nonsaturating.Objective(flip=pi)
    best = torch.logit(column(pi)).item()
    cases = itertools.product((0, 1), repeat=2)
    slope = 0.0
    for flips in cases:
        weight = pi ** sum(flips) * (1 - pi) ** (2 - sum(flips))
        slope += weight * slope_of_loss(objective, best, p, q, flips)
    assert slope == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("module", LABELLED)
def test_labels_of_the_paper_draw_nothing_and_leave_the_loss_as_it_is(module):
    real, fake = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    objective = module.Objective()
    assert objective.draw(real) is None
    softplus = torch.nn.functional.softplus
    paper = softplus(-real).mean() + softplus(fake).mean()
    if module is lsgan:
        paper = 0.5 * (real - 1).square().mean() + 0.5 * (fake - 0).square().mean()
    assert objective.d_loss(identity, real, fake).item() == paper.item()


def test_flips_are_as_frequent_as_asked_and_drawn_anew():
    (flips,) = nonsaturating.Objective(flip=0.05).draw(
        torch.empty(100_000), torch.Generator().manual_seed(0)
    )
    assert flips.float().mean(dim=1).tolist() == pytest.approx([0.05, 0.05], abs=4e-3)
    assert not torch.equal(flips[0], flips[1])


@pytest.mark.parametrize("module", LABELLED)
@pytest.mark.parametrize(
    "params", [{"real_label": 0.0}, {"real_label": 1.1}, {"flip": -0.1}, {"flip": 0.5}], ids=str
)
def test_labels_out_of_range_are_refused(module, params):
    (name,) = params
    with pytest.raises(ValueError, match=name):
        module.Objective(**params)


@pytest.mark.parametrize("name", ["hinge", "wgan", "wgan_gp", "wgan_fdgp"])
@pytest.mark.parametrize("key", ["real_label", "flip"])
def test_an_objective_without_labels_refuses_them_by_name(name, key):
    with pytest.raises(UserError, match=f"parameter of objective '{name}'.*{key}") as error:
        choices("objective", {"name": name, key: 0.1})
    assert "\n" not in str(error.value)


# Drift


@pytest.mark.parametrize(
    "objective",
    [
        lambda drift: wgan_gp.Objective(drift=drift),
        lambda drift: wgan_fdgp.Objective(drift=drift),
        lambda drift: wgan_fdgp.Objective(drift=drift, pairs="endpoint"),
        lambda drift: wgan_div.Objective(drift=drift),
    ],
)
def test_drift_adds_the_mean_square_of_real_scores_and_nothing_else(objective):
    real, fake = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(0)).double()
    D = SmoothCritic(3)
    noise = objective(0.0).draw(real, torch.Generator().manual_seed(1))

    def loss(drift: float, constant: float = 0.0) -> float:
        return objective(drift).d_loss(lambda x: D(x) + constant, real, fake, noise).item()

    expected = 1e-3 * D(real).square().mean().item()
    assert loss(1e-3) - loss(0.0) == pytest.approx(expected, rel=1e-9)
    # The constant of the scores counts for nothing in the paper's loss, and is fixed by drift
    assert loss(0.0, 5.0) == pytest.approx(loss(0.0), rel=1e-12)
    assert loss(1e-3, 5.0) > loss(1e-3) + 1e-3
    with pytest.raises(ValueError, match="drift"):
        objective(-1.0)


# Norms, activations and pooling


def test_pixel_norm_leaves_a_mean_square_of_1_over_the_channels():
    x = torch.randn(4, 7, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    y = PixelNorm()(x)
    ones = torch.ones(4, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(y.square().mean(dim=1), ones, rtol=1e-6, atol=0)
    ratio = y / x
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))  # the direction stays
    assert PixelNorm()(torch.zeros(1, 7)).tolist() == [[0.0] * 7]


def test_instance_norm_is_that_of_every_channel():
    x = torch.randn(4, 7, 3, 3, generator=torch.Generator().manual_seed(0))
    norm = norm_layer("instance", 7)
    torch.nn.init.uniform_(norm.weight)
    torch.nn.init.uniform_(norm.bias)
    expected = torch.nn.functional.instance_norm(x, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(norm(x), expected)


def test_instance_norm_stands_under_a_penalty_and_couples_no_samples():
    architecture = Choice("dcgan", {"width": 4, "norm": "instance"})
    assert critic_norm(Choice("wgan_gp"), architecture, Choice("cifar10")) == "instance"
    _, D = build(architecture, (3, 16, 16), "instance")
    x = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(D(x)[:2], D(x[:2]))


def test_a_norm_that_the_critic_has_no_layer_for_is_refused():
    """The first convolution of DCGAN's critic has no norm, and at 8×8 there is no other one."""
    pair = Choice("wgan_gp"), Choice("dcgan", {"width": 4, "norm": "layer"})
    assert critic_norm(*pair, Choice("cifar10")) == "layer"
    with pytest.raises(UserError, match="no layer that norm = 'layer' normalises; valid: auto, "):
        critic_norm(*pair, Choice("digits"))
    for norm in ("auto", "none"):
        open_pair = Choice("wgan_gp"), Choice("dcgan", {"width": 4, "norm": norm})
        assert critic_norm(*open_pair, Choice("digits")) == "none"


@pytest.mark.parametrize("key", ["norm", "generator_norm"])
def test_instance_norm_of_vectors_is_refused(key):
    architecture = Choice("mlp", {"width": 8, key: "instance"})
    with pytest.raises(UserError, match=r"mlp.* x gaussians8: instance norm needs") as error:
        critic_norm(Choice("minimax"), architecture, Choice("gaussians8"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dcgan", {"norm": "pixel"}),
        ("dcgan", {"generator_norm": "spectral"}),
        ("dcgan", {"down": "median"}),
        ("dcgan_tanh", {"critic_activation": "relu"}),
        ("gated", {"critic_activation": "relu"}),
        ("mlp", {"down": "max"}),
    ],
)
def test_a_trick_of_an_architecture_that_means_nothing_is_refused(name, params):
    (key,) = params
    with pytest.raises(UserError, match=key) as error:
        choices("architecture", {"name": name, **params})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("down", "share"), [("max", 0.75), ("mean", 0.0)])
def test_share_of_zero_gradients_under_pooling(down, share):
    """Of ∂(sum of pooled)/∂x: a maximum over 2×2 passes on one gradient of four."""
    _, D = build(Choice("dcgan", {"width": 4, "down": down}), (1, 8, 8), "none")
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(D.pool(x, 2).sum(), x)
    assert (gradient == 0).double().mean().item() == share


@pytest.mark.parametrize("name", ["dcgan", "dcgan_tanh", "gated", "dcgan_constant_width"])
@pytest.mark.parametrize("down", ["mean", "max"])
def test_a_critic_that_pools_has_the_weights_of_one_with_strides(name, down):
    shape = (3, 16, 16)
    _, strided = build(Choice(name, {"width": 4}), shape, "layer")
    _, pooled = build(Choice(name, {"width": 4, "down": down}), shape, "layer")
    sizes = [{key: value.shape for key, value in D.state_dict().items()} for D in (strided, pooled)]
    assert sizes[0] == sizes[1]
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    assert pooled(x).shape == (2,)


def test_a_relu_critic_is_flat_where_all_units_are_off():
    D = build(Choice("dcgan", {"width": 4, "critic_activation": "relu"}), (1, 8, 8), "none")[1]
    x = torch.tensor([-1.0, 0.0, 2.0])
    assert D.activation(x).tolist() == [0.0, 0.0, 2.0]
    leaky = build(Choice("dcgan", {"width": 4}), (1, 8, 8), "none")[1]
    assert leaky.activation(x).tolist() == pytest.approx([-0.2, 0.0, 2.0])


# The range of images


@pytest.mark.parametrize("images", ["signed", "unit"])
def test_every_level_of_a_pixel_comes_back(images):
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    dataset = digits.Dataset(range=images)
    floats = floats_of(dataset)(levels)
    low, high = (-1, 1) if images == "signed" else (0, 1)
    assert (floats.min(), floats.max()) == (low, high)
    assert torch.equal(quantise(floats, images), levels)


def test_both_ranges_give_the_same_pixels_from_one_generator():
    """2σ(x) − 1 = tanh(x / 2): the other range of half the last layer."""
    x = torch.linspace(-8, 8, 10_001)
    signed, unit = Output(), Output()
    unit.range = "unit"
    expected = quantise(signed(x / 2).double())
    found = quantise(unit(x).double(), "unit")
    # Of two roundings at a boundary
    assert (found.int() - expected.int()).abs().max() <= 1
    assert (found != expected).float().mean() < 1e-2
    assert torch.equal(Output("linear")(x), x)


def test_a_critic_of_the_other_range_is_twice_as_steep_and_its_penalty_another():
    """D(x) = D′((x + 1)/2): ∇D = ½ ∇D′. WGAN-GP with λ and K on `unit` is that with 4λ and K/2 on
    `signed`."""
    critic = SmoothCritic(6, scale=3)
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 8, 6, generator=generator, dtype=torch.float64).tanh()
    unit_real, unit_fake = (real + 1) / 2, (fake + 1) / 2
    noise = wgan_gp.Objective().draw(real, generator)

    def signed(x):
        return critic((x + 1) / 2)

    slopes = wgan_gp.Objective().slopes
    torch.testing.assert_close(slopes(critic, unit_real), 2 * slopes(signed, real))
    for weight, target in ((10.0, 1.0), (3.0, 0.5)):
        on_unit = wgan_gp.Objective(penalty_weight=weight, target=target)
        on_signed = wgan_gp.Objective(penalty_weight=4 * weight, target=target / 2)
        found = on_unit.d_loss(critic, unit_real, unit_fake, noise)
        expected = on_signed.d_loss(signed, real, fake, noise)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        other = wgan_gp.Objective(penalty_weight=weight, target=target)
        assert abs(other.d_loss(signed, real, fake, noise) - found) > 1e-3


@pytest.mark.parametrize("name", sorted({*variants.names("architectures")} - {"text_resnet"}))
def test_a_generator_ends_as_the_range_asks(name):
    found = {}
    for images in ("signed", "unit"):
        torch.manual_seed(0)
        G, _ = build(Choice(name), (1, 8, 8), "none", images=images)
        z = torch.randn(16, G.latent_dim, generator=torch.Generator().manual_seed(1))
        found[images] = G(z)
    assert found["unit"].min() >= 0
    assert found["signed"].min() < 0
    last_layer = torch.atanh(found["signed"].double())
    torch.testing.assert_close(found["unit"].double(), last_layer.sigmoid(), rtol=1e-3, atol=1e-4)


def test_a_linear_end_leaves_the_last_layer_as_it_is():
    z = torch.randn(16, 128)
    for name in ("dcgan", "dcgan_constant_width", "resnet", "resnet20", "progressive"):
        ends = []
        for output in ("linear", "auto"):
            torch.manual_seed(0)
            ends.append(build(Choice(name, {"output": output}), (1, 8, 8), "none")[0](z))
        torch.testing.assert_close(ends[0].tanh(), ends[1])


def test_the_range_is_refused_where_it_means_nothing():
    with pytest.raises(UserError, match="parameter of dataset 'gaussians8' 'range'"):
        choices("dataset", {"name": "gaussians8", "range": "unit"})
    with pytest.raises(UserError, match=r"range.+'signed'.+'unit'"):
        choices("dataset", {"name": "digits", "range": "bytes"})
    with pytest.raises(UserError, match="parameter of architecture 'mlp' 'output'"):
        choices("architecture", {"name": "mlp", "output": "linear"})

    class Own(nn.Module):
        """A network with an activation of its own."""

    with pytest.raises(ValueError, match="the generator of own makes no images in range = unit"):
        set_range("own", Own(), "unit")
