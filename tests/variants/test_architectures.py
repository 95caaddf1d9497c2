"""Architectures: parameter and layer counts, where layers stand, normalisation, initial weights,
critics of others."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import batch_norm
from torch.nn.utils.parametrizations import _SpectralNorm

import variants
from benchmark.machine.clock import one_thread
from benchmark.matrix.cell import Choice, stream_seed
from benchmark.matrix.pairs import critic_norm
from benchmark.train.optimizers import make_optimizer
from benchmark.train.step import critic_step, generator_step
from variants.architectures import (
    BatchNorm,
    SpectralNorm,
    build,
    conv,
    critic_of,
    deconv,
    initialise,
    linear,
    norm_layer,
)
from variants.architectures._bottleneck import Block, plain_blocks
from variants.architectures.gated import gate
from variants.objectives import wgan_fdgp, wgan_gp

ARCHITECTURES = [name for name in variants.names("architectures") if name != "text_resnet"]
LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
NO_NORM = {"norm": "none", "generator_norm": "none"}
COUNTS = [  # of generator and critic
    (Choice("dcgan"), 64, 5_364_739, 4_316_545),
    (Choice("dcgan_constant_width"), 64, 444_291, 4_316_545),
    (Choice("mlp_generator"), 64, 7_157_760, 4_316_545),
    (Choice("dcgan", NO_NORM), 64, 5_362_819, 4_314_753),
    (Choice("gated"), 64, 10_724_675, 8_624_897),
    (Choice("dcgan_tanh"), 64, 5_364_739, 4_316_545),
    (Choice("resnet101"), 64, 9_189_587, 7_618_801),
    (Choice("resnet"), 32, 1_204_483, 1_053_825),
    (Choice("dcgan_cifar"), 32, 5_179_907, 4_116_225),
    (Choice("dcgan_cifar", {"norm": "none"}), 32, 5_179_907, 4_114_689),
]
DEPTHS = {"resnet20": 20, "resnet35": 35, "resnet50": 50, "resnet101": 101}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def filled(choice, shape, norm, seed=0):
    """Networks with initial weights, whatever torch's default generator holds."""
    networks = build(choice, shape, norm)
    for role, network in zip(("generator", "critic"), networks, strict=True):
        initialise(network, lambda name, role=role: stream_seed(seed, role, name))
    return networks


def images(n, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=generator).float().div(127.5).sub(1)


@pytest.mark.parametrize(
    ("choice", "size", "of_g", "of_d"), COUNTS, ids=lambda value: getattr(value, "label", None)
)
def test_parameter_counts(choice, size, of_g, of_d):
    norm = choice.params.get("norm", "auto")
    assert [count(network) for network in build(choice, (3, size, size), norm, "meta")] == [
        of_g,
        of_d,
    ]


@pytest.mark.parametrize("size", [8, 28, 32, 64])
@pytest.mark.parametrize("name", DEPTHS)
def test_layers_of_the_main_path(name, size):
    for network in build(Choice(name), (3, size, size), "auto", "meta"):
        path = [
            part
            for part, layer in network.named_modules()
            if isinstance(layer, LAYERS) and "shortcut" not in part
        ]
        assert len(path) == DEPTHS[name]


def test_plain_blocks_are_spread_from_the_image_down():
    assert plain_blocks(101, (3, 64, 64)) == [5, 6, 6, 6, 6]
    assert plain_blocks(101, (3, 32, 32)) == [7, 7, 8, 8]
    assert plain_blocks(20, (3, 64, 64)) == [0, 0, 0, 1, 1]
    assert plain_blocks(35, (1, 28, 28)) == [3, 3, 3]
    with pytest.raises(ValueError, match="6 blocks are too few"):
        plain_blocks(20, (3, 512, 512))


def test_plain_blocks_stand_where_they_are_counted():
    G, D = build(Choice("resnet101"), (3, 64, 64), "auto", "meta")
    for network, widths in ((G, [512, 256, 128, 64, 32]), (D, [32, 64, 128, 256, 512])):
        plain = [
            block.conv3.out_channels
            for block in network.blocks
            if isinstance(block.shortcut, nn.Identity)
        ]
        assert plain == [n for n in widths for _ in range(5 if n == 32 else 6)]


def test_a_bottleneck_of_half_a_channel_is_refused():
    with pytest.raises(ValueError, match="width must be even"):
        build(Choice("resnet20", {"width": 7}), (3, 32, 32), "none", "meta")


@pytest.mark.parametrize("size", [8, 32, 64])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_reach_every_parameter(name, size):
    """Under layer norm in both, where no bias is cancelled by the norm behind it."""
    G, D = filled(Choice(name, {"generator_norm": "layer"}), (3, size, size), "layer")
    fake = G(torch.randn(2, G.latent_dim, generator=torch.Generator().manual_seed(0)))
    assert fake.shape == (2, 3, size, size)
    assert fake.abs().max() <= 1
    D(fake).square().sum().backward()
    for network in (G, D):
        for parameter_name, parameter in network.named_parameters():
            assert parameter.grad.isfinite().all(), parameter_name
            assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_layer_says_how_its_weight_is_drawn(name):
    for network in build(Choice(name), (3, 32, 32), "auto", "meta"):
        assert all(layer.init_std > 0 for layer in network.modules() if isinstance(layer, LAYERS))


def test_standard_deviations():
    assert linear(128, 512, "he").init_std == pytest.approx(math.sqrt(2 / 128))
    assert linear(128, 512, "glorot").init_std == pytest.approx(math.sqrt(2 / 640))
    assert conv(3, 8, 5, "he", stride=2).init_std == pytest.approx(
        math.sqrt(4 / (3 * 25 + 8 * 25 / 4))
    )
    assert conv(3, 8, 1, "glorot").init_std == pytest.approx(math.sqrt(2 / 11))
    assert deconv(6, 2, 3, "he").init_std == pytest.approx(math.sqrt(4 / (6 * 9 / 4 + 2 * 9)))
    assert conv(3, 8, 5, 0.02).init_std == 0.02


# Normalisation


def test_layer_norm_is_that_of_a_sample():
    x = torch.randn(4, 3, 5, 5, dtype=torch.float64) * 3 + 2
    layer = norm_layer("layer", 3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        layer.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    for sample, found in zip(x, layer(x), strict=True):
        variance = (sample - sample.sum() / 75).square().sum() / 75
        scaled = (sample - sample.sum() / 75) / (variance + 1e-5).sqrt()
        affine = scaled * layer.weight[:, None, None] + layer.bias[:, None, None]
        torch.testing.assert_close(found, affine, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["spectral", "auto", "batchnorm"])
def test_an_unknown_normalisation_layer_is_refused(kind):
    with pytest.raises(ValueError, match=f"'{kind}'; valid: batch, instance, layer, none"):
        norm_layer(kind, 4)


class TestBatchNorm:
    x = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 + 1

    def layer(self):
        layer = BatchNorm(3)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
            layer.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
        return layer

    def test_output_in_training_is_that_of_the_batch_alone(self):
        layer = self.layer()
        alone = batch_norm(self.x, None, None, layer.weight, layer.bias, training=True)
        for average in (0.0, 100.0):
            layer.mean.fill_(average)
            assert torch.equal(layer(self.x), alone)
            with torch.no_grad():
                assert torch.equal(layer(self.x), alone)

    def test_averages_move_with_gradients_only(self):
        layer = self.layer()
        with torch.no_grad():
            layer(self.x)
        assert torch.equal(layer.mean, torch.zeros(3))
        assert torch.equal(layer.var, torch.ones(3))
        layer(self.x)
        layer(self.x - 1)
        mean, var = self.x.mean((0, 2, 3)), self.x.var((0, 2, 3))
        torch.testing.assert_close(layer.mean, 0.9 * 0.1 * mean + 0.1 * (mean - 1))
        torch.testing.assert_close(layer.var, 0.81 + 0.19 * var)

    def test_evaluation_takes_the_averages_and_leaves_them(self):
        layer = self.layer().eval()
        layer.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
        layer.var.copy_(torch.tensor([4.0, 5.0, 6.0]))
        mean, var, weight, bias = (
            t.clone()[:, None, None] for t in (layer.mean, layer.var, layer.weight, layer.bias)
        )
        torch.testing.assert_close(
            layer(self.x), (self.x - mean) / (var + 1e-5).sqrt() * weight + bias
        )
        assert torch.equal(layer.mean, mean.flatten())
        assert torch.equal(layer.var, var.flatten())

    def test_a_generator_averages_its_own_steps(self):
        shape, objective = (1, 8, 8), variants.load("objectives", "wgan").Objective()
        G, D = filled(Choice("dcgan", {"width": 4}), shape, "batch")
        real, z = images(8, shape), torch.randn(8, G.latent_dim)
        averages = {name: value.clone() for name, value in G.named_buffers()}
        assert averages
        critic_step(objective, G, D, make_optimizer(objective.recipe, D), real, z, None)
        assert all(torch.equal(value, averages[name]) for name, value in G.named_buffers())
        generator_step(objective, G, D, make_optimizer(objective.recipe, G), real, z, None)
        assert not any(torch.equal(value, averages[name]) for name, value in G.named_buffers())


class TestSpectralNorm:
    shape = (3, 32, 32)

    def critic(self, name="dcgan", width=16, norm="spectral"):
        return filled(Choice(name, {"width": width}), self.shape, norm)[1]

    @pytest.mark.parametrize(
        ("name", "width"), [("dcgan", 16), ("resnet20", 8), ("resnet", 16), ("mlp", 128)]
    )
    def test_no_layer_stretches_by_more_than_one(self, name, width):
        D, plain = self.critic(name, width), self.critic(name, width, "none")
        for _ in range(3):
            D(images(2, self.shape))
        layers = [layer for layer in D.modules() if isinstance(layer, LAYERS)]
        assert len(layers) == sum(isinstance(layer, LAYERS) for layer in plain.modules()) > 3
        for layer in layers:
            assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(
                1, abs=0.02
            )

    @pytest.mark.parametrize("shape", [(64, 1, 5, 5), (3, 7), (1, 100)], ids=str)
    def test_numbers_are_torchs(self, shape):
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        norms = []
        for norm in (SpectralNorm, _SpectralNorm):
            torch.manual_seed(1)
            norms.append(norm(weight))
        ours, theirs = norms
        for _ in range(3):
            assert torch.equal(ours(weight), theirs(weight))
        assert torch.equal(ours._u, theirs._u)
        assert torch.equal(ours._v, theirs._v)

    def test_weights_are_those_of_a_critic_without_norm(self):
        D, plain = self.critic(), self.critic(norm="none")
        for layer, other in zip(D.convs, plain.convs, strict=True):
            assert torch.equal(layer.parametrizations.weight.original, other.weight)
        assert count(D) == count(plain)

    def test_scores_do_not_depend_on_the_default_generator_or_the_scale(self):
        x = images(2, self.shape)
        torch.manual_seed(1)
        D = self.critic()
        torch.manual_seed(2)
        again = self.critic()
        scores = D(x)
        assert torch.equal(scores, again(x))
        with torch.no_grad():
            for layer in again.convs:
                layer.parametrizations.weight.original.mul_(7)
        torch.testing.assert_close(D.eval()(x), again.eval()(x), rtol=1e-4, atol=1e-6)

    def test_copies_are_copies(self):
        D, x = self.critic().eval(), images(2, self.shape)
        twin = copy.deepcopy(D)
        scores = D(x)
        assert torch.equal(twin(x), scores)
        with torch.no_grad():
            twin.convs[0].parametrizations.weight.original[0].mul_(3)
        assert not torch.equal(twin(x), scores)
        assert torch.equal(D(x), scores)

    def test_double_backward(self):
        """The penalty's parameter gradient in float64 against central differences along a
        direction."""
        objective, D = (
            variants.load("objectives", "wgan_gp").Objective(),
            self.critic(width=4).double().eval(),
        )
        real, fake = images(4, self.shape).double(), images(4, self.shape, seed=1).double()
        noise, parameters = (
            (torch.full((4,), 0.5, dtype=torch.float64),),
            dict(D.named_parameters()),
        )
        generator = torch.Generator().manual_seed(0)
        direction = {
            name: p.std(correction=0)
            * torch.randn(p.shape, generator=generator, dtype=torch.float64)
            for name, p in parameters.items()
        }

        def penalty(step):
            moved = {name: p + step * direction[name] for name, p in parameters.items()}
            return objective.penalty(lambda x: functional_call(D, moved, (x,)), real, fake, noise)

        step = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(penalty(step), step)
        difference = (penalty(1e-6) - penalty(-1e-6)) / 2e-6
        assert slope.item() == pytest.approx(difference.item(), rel=1e-4)
        assert abs(slope.item()) > 1e-3

    @pytest.mark.parametrize("objective", [{}, {"method": "jvp"}], ids=str)
    def test_takes_a_step_under_a_penalty(self, objective):
        objective = variants.load("objectives", "wgan_gp").Objective(**objective)
        G, D = filled(Choice("dcgan", {"width": 4}), (1, 8, 8), "spectral")
        real, z = images(8, (1, 8, 8)), torch.randn(8, G.latent_dim)
        before = [p.clone() for p in D.parameters()]
        critic_step(
            objective, G, D, make_optimizer(objective.recipe, D), real, z, objective.draw(real)
        )
        assert all(p.isfinite().all() for p in D.parameters())
        assert not any(
            torch.equal(p, q) for p, q in zip(D.parameters(), before, strict=True) if p.dim() > 1
        )

    def test_shapes_on_the_meta_device(self):
        G, D = build(Choice("resnet101"), self.shape, "spectral", "meta")
        assert D(G(torch.empty(2, G.latent_dim, device="meta"))).shape == (2,)


# Variations


def test_gates_interleave_their_channels():
    x = torch.tensor([0.5, -1.0, 2.0, 3.0], dtype=torch.float64).view(1, 4, 1, 1)
    by_hand = [math.tanh(-1) / (1 + math.exp(-0.5)), math.tanh(3) / (1 + math.exp(-2))]
    assert gate(x).flatten().tolist() == pytest.approx(by_hand, rel=1e-12)


def test_gates_stand_behind_the_norm():
    """Where a norm's output is 0, a gated layer's is σ(0) tanh(0) = 0, and where it is 1, σ(1)
    tanh(1)."""
    G, _ = filled(Choice("gated", {"width": 4}), (3, 16, 16), "batch")
    seen = []
    G.deconvs[-1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        G.norms[-1].weight.zero_()
        G.norms[-1].bias.fill_(1)
        G(torch.randn(2, G.latent_dim))
    assert seen[0].shape == (2, 4, 8, 8)
    torch.testing.assert_close(seen[0], torch.full((2, 4, 8, 8), math.tanh(1) / (1 + math.exp(-1))))


def test_tanh_networks_are_odd():
    """Without norm and biases a network of odd functions is one; ReLU and LeakyReLU are none."""
    z = torch.randn(2, 128, generator=torch.Generator().manual_seed(0))
    for name, odd in (("dcgan_tanh", True), ("dcgan", False)):
        G, D = filled(Choice(name, {**NO_NORM, "width": 16}), (3, 16, 16), "none")
        x = G(100 * z)
        assert torch.allclose(G(-100 * z), -x, atol=1e-6) == odd
        assert torch.allclose(D(-100 * x), -D(100 * x), atol=1e-6) == odd


def test_constant_width_generator_is_one_of_plain_filters():
    G, _ = build(Choice("dcgan_constant_width", {"width": 24}), (3, 64, 64), "auto", "meta")
    assert [layer.in_channels for layer in G.deconvs] == [24] * 4
    assert not any(isinstance(module, BatchNorm) for module in G.modules())


def test_depth_of_the_mlp_generator_counts_hidden_layers():
    for depth in (3, 4):
        G, _ = build(Choice("mlp_generator", {"depth": depth}), (3, 64, 64), "auto", "meta")
        assert sum(isinstance(module, nn.Linear) for module in G.modules()) == depth + 1


def test_activation_is_that_of_both_networks_of_an_mlp():
    """Without biases tanh makes odd functions, ReLU none; the weights are the same."""
    made = {
        name: build(Choice("mlp", {"width": 8, "activation": name}), (2,), "none")
        for name in ("relu", "tanh")
    }
    for network, plain in zip(made["tanh"], made["relu"], strict=True):
        for each in (network, plain):
            initialise(each, lambda name: len(name))
        x = torch.randn(16, 2)
        torch.testing.assert_close(network(-x), -network(x))
        assert not torch.allclose(plain(-x), -plain(x))
        for p, q in zip(network.parameters(), plain.parameters(), strict=True):
            assert torch.equal(p, q)


def test_a_bottleneck_block_adds_three_tenths_of_its_branch():
    x = torch.randn(2, 4, 6, 6)
    for block in (Block(4, 4, "layer"), Block(4, 8, "layer", "down"), Block(4, 2, "layer", "up")):
        with torch.no_grad():
            shortcut = block.shortcut(x)
            block.norm.weight.zero_()
            assert torch.equal(block(x), shortcut)
            block.norm.bias.fill_(1)
            torch.testing.assert_close(block(x), shortcut + 0.3)


def test_bottleneck_networks_divide_their_output_by_five():
    G, D = filled(Choice("resnet20", {"width": 4}), (3, 16, 16), "none")
    with torch.no_grad():
        for layer, value in ((G.conv, 2.0), (D.linear, 10.0)):
            layer.weight.zero_()
            layer.bias.fill_(value)
        fake = G(torch.randn(2, G.latent_dim))
        torch.testing.assert_close(fake, torch.full_like(fake, math.tanh(0.4)))
        torch.testing.assert_close(D(fake), torch.tensor([2.0, 2.0]))


def test_resnet_upsamples_before_the_second_convolution_or_before_the_first():
    z, found = torch.randn(2, 128), {}
    for place, sizes in (("second", [4, 8, 8, 16]), ("first", [8, 8, 16, 16])):
        named = {"upsample_before": place} if place == "first" else {}
        G, _ = filled(Choice("resnet", {"width": 8, **named}), (3, 16, 16), "none")
        seen = []
        for block in G.blocks:
            for layer in (block.conv1, block.conv2):
                layer.register_forward_pre_hook(
                    lambda module, inputs, seen=seen: seen.append(inputs[0].shape[-1])
                )
        found[place] = G, G(z)
        assert seen == sizes
    assert not torch.allclose(found["first"][1], found["second"][1], atol=1e-3)
    first, second = (found[place][0].state_dict() for place in ("first", "second"))
    assert first.keys() == second.keys()


@pytest.mark.parametrize(("size", "last"), [(8, 4), (28, 7), (32, 8), (64, 8)])
def test_resnet_critic_halves_to_about_eight(size, last):
    _, D = build(Choice("resnet", {"width": 4}), (3, size, size), "none")
    seen = []
    for block in D.blocks[-2:]:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-1]))
    D(images(2, (3, size, size)))
    assert seen == [last, last]


# Critics of other architectures


def test_a_critic_comes_with_its_own_parameters():
    own = Choice("dcgan", {"width": 8, "latent_dim": 5})
    named = Choice("dcgan", {"width": 8, "critic": "resnet20"})
    table = Choice(
        "resnet101", {"width": 8, "critic": {"name": "dcgan", "width": 12, "norm": "none"}}
    )
    assert critic_of(own) == ("dcgan", own.params)
    assert critic_of(named) == ("resnet20", {})
    assert critic_of(table) == ("dcgan", {"width": 12, "norm": "none"})
    for choice, of_g, of_d in ((own, 8, 8), (named, 8, 32), (table, 8, 12)):
        critic, _ = critic_of(choice)
        G, D = build(choice, (3, 32, 32), "layer", "meta")
        assert type(G) is variants.load("architectures", choice.name).Generator
        assert type(D) is variants.load("architectures", critic).Discriminator
        assert (G.deconvs[-1] if choice.name == "dcgan" else G.conv).in_channels == of_g
        assert (D.convs[0] if critic == "dcgan" else D.conv).out_channels == of_d
        assert any(isinstance(module, nn.GroupNorm) for module in D.modules())
    assert table.params["critic"] == {"name": "dcgan", "width": 12, "norm": "none"}


# Slow: every row trains


@pytest.fixture
def single_thread():
    with one_thread():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("single_thread")
@pytest.mark.parametrize("name", variants.names("objectives"))
def test_resnet101_takes_a_step_at_64(name):
    shape, objective = (3, 64, 64), variants.load("objectives", name).Objective()
    norm = critic_norm(Choice(name), Choice("resnet101"), Choice("cifar10"))
    G, D = filled(Choice("resnet101"), shape, norm)
    trace = steps(objective, G, D, shape, batch_size=4, count=1)
    assert all(map(math.isfinite, trace))
    assert all(p.isfinite().all() for network in (G, D) for p in network.parameters())


ROWS = [
    Choice("dcgan", {"width": 16}),
    Choice("dcgan_constant_width", {"width": 16}),
    Choice("mlp_generator", {"units": 128, "width": 16}),
    Choice("dcgan", {"width": 16, **NO_NORM}),
    Choice("gated", {"width": 16}),
    Choice("dcgan_tanh", {"width": 16}),
    Choice("resnet101", {"width": 8}),
]


@pytest.mark.slow
@pytest.mark.usefixtures("single_thread")
@pytest.mark.parametrize(
    "name", ["minimax", "nonsaturating", "lsgan", "wgan", "wgan_gp", "wgan_fdgp"]
)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_a_robustness_row_takes_twenty_steps(name, row):
    """With finite weights throughout, unless a loss that is not finite has said so before."""
    shape, objective = (3, 32, 32), variants.load("objectives", name).Objective()
    G, D = filled(row, shape, critic_norm(Choice(name), row, Choice("cifar10")))
    trace = steps(objective, G, D, shape, batch_size=8, count=20)
    finite = all(p.isfinite().all() for network in (G, D) for p in network.parameters())
    assert finite or not all(map(math.isfinite, trace))


def steps(objective, G, D, shape, batch_size, count):
    """The losses of `count` generator steps with their critic steps, on noise images."""
    generator = torch.Generator().manual_seed(0)
    optimizers = [make_optimizer(objective.recipe, network) for network in (G, D)]
    trace = []
    for g_step in range(count):
        for d_step in range(objective.d_steps(g_step)):
            real = images(batch_size, shape, seed=100 * g_step + d_step)
            z = torch.randn(batch_size, G.latent_dim, generator=generator)
            d_loss = critic_step(
                objective, G, D, optimizers[1], real, z, objective.draw(real, generator)
            )[0]
        z = torch.randn(batch_size, G.latent_dim, generator=generator)
        g_loss = generator_step(
            objective, G, D, optimizers[0], real, z, objective.draw(real, generator)
        )[0]
        trace += [d_loss.item(), g_loss.item()]
    return trace


def penalty_gradient(objective, D, real, fake, noise):
    penalty = objective.penalty(D, real, fake, noise)
    found = torch.autograd.grad(penalty, list(D.parameters()), allow_unused=True)
    pairs = zip(found, D.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


@pytest.mark.parametrize(
    ("name", "norm", "width", "at_tenth", "at_hundredth"),
    [
        ("dcgan", "none", 16, (0.08, 0.3), (0.02, 0.15)),
        ("dcgan", "layer", 16, (0.6, 0.95), (0.1, 0.7)),
        ("dcgan_tanh", "none", 16, (0.999, 1), (0.999, 1)),
        # What the docstring of wgan_fdgp says
        pytest.param("dcgan", "none", 64, (0.33, 0.4), (0.1, 0.17), marks=pytest.mark.slow),
        pytest.param("dcgan", "layer", 64, (0.55, 0.85), (0.1, 0.5), marks=pytest.mark.slow),
    ],
)
def test_across_kinks_the_finite_difference_has_another_gradient_than_the_exact_penalty(
    name, norm, width, at_tenth, at_hundredth
):
    """Cosine of the two gradients at initial weights on 32×32, at ε = 0.1 and 0.01; without kinks
    they are one."""
    G, D = filled(Choice(name, {"width": width}), (3, 32, 32), norm)
    G, D = G.double(), D.double()
    generator = torch.Generator().manual_seed(0)
    num_samples = 64 if width == 64 else 32
    real = images(num_samples, (3, 32, 32)).double()
    fake = G(torch.randn(num_samples, 128, generator=generator).double()).detach()
    alpha = torch.rand(2, num_samples, generator=generator).double()
    exact = penalty_gradient(wgan_gp.Objective(), D, real, fake, (alpha[0],))
    for epsilon, (least, most) in ((0.1, at_tenth), (0.01, at_hundredth)):
        objective = wgan_fdgp.Objective(epsilon=epsilon)
        other = penalty_gradient(objective, D, real, fake, (alpha,))
        assert least < torch.cosine_similarity(exact, other, dim=0).item() <= most


def test_batch_norm_per_feature_normalises_every_feature_over_the_batch():
    """`dcgan` does it by channel, over the positions too."""
    plain, _ = build(Choice("dcgan", {"width": 8}), (3, 32, 32), "batch")
    own, _ = build(Choice("dcgan_cifar", {"width": 8}), (3, 32, 32), "batch")
    own.linear.load_state_dict(plain.linear.state_dict())
    z = torch.randn(16, 128)
    x = plain.linear(z).view(16, *plain.start)
    for network, dims in ((plain, (0, 2, 3)), (own, (0,))):
        std = x.var(dims, correction=0, keepdim=True).add(1e-5).sqrt()
        expected = (x - x.mean(dims, keepdim=True)) / std
        torch.testing.assert_close(network.first(z), expected, rtol=1e-4, atol=1e-4)
    assert (own.first(z) - plain.first(z)).abs().max() > 0.1


def test_a_dcgan_of_digits_has_a_small_critic_without_norm():
    """What its docstring and the head of quick.toml say."""
    G, D = build(Choice("dcgan", {"width": 64}), (1, 8, 8), "batch", "meta")
    assert [count(network) for network in (G, D)] == [133_825, 2_689]
    assert [len(network) for network in (G.deconvs, D.convs)] == [1, 1]
    assert all(isinstance(norm, nn.Identity) for norm in D.norms)
