"""The contracts of variants/, run over every file there: a new file is tested by being there."""

import dataclasses
import math

import pytest
import torch

import variants
from benchmark.errors import UserError
from benchmark.matrix.cell import Choice
from benchmark.matrix.pairs import COUPLING, critic_norm, differentiates_twice
from benchmark.train.optimizers import make_optimizer
from benchmark.train.step import critic_step, generator_step
from tests.helpers.critics import LinearCritic, SmoothCritic
from variants.architectures import build
from variants.objectives import Recipe
from variants.objectives._zero_centred import ZeroCentred

OBJECTIVES = variants.names("objectives")
ARCHITECTURES = variants.names("architectures")
DATASETS = variants.names("datasets")
SHAPES = [(2,), (32, 48), (1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64)]


def objective_of(name):
    return variants.load("objectives", name).Objective()


def batch(n=16, dim=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, n, dim, generator=generator, dtype=torch.float64)
    return real + 1, fake, generator


def accepts(architecture, shape):
    try:
        build(Choice(architecture), shape, "auto", "meta")
    except ValueError:
        return False
    return True


def generator_climbs_the_score(objective):
    """Whatever its form, a generator loss asks for higher scores of rejected fakes."""
    D = LinearCritic([2.0, -1.0, 0.0, 0.0, 0.0, 0.0], bias=-8)
    real, fake, _ = batch()
    fake.requires_grad_()
    (gradient,) = torch.autograd.grad(objective.g_loss(D, real, fake), fake)
    assert (D(fake - gradient) > D(fake)).all()


def penalty_is_a_mean_over_samples(objective):
    """The penalty of a batch is the mean of its samples' penalties, each on its own."""
    D, (real, fake, generator) = SmoothCritic(6, scale=3), batch(7)
    noise = objective.draw(real, generator)

    def of(index):
        alone = noise and tuple(
            t.index_select(list(t.shape).index(7), torch.tensor([index])) for t in noise
        )
        return objective.penalty(D, real[[index]], fake[[index]], alone)

    whole = objective.penalty(D, real, fake, noise)
    torch.testing.assert_close(
        whole, torch.stack([of(index) for index in range(7)]).mean(), rtol=1e-9, atol=1e-12
    )


def penalty_bounds_the_slope(objective):
    """Under a penalty a critic does not gain without limit by being steep: λ = 0 would let it."""
    real, fake, _ = batch(256)
    gentle, steep = (
        objective.d_loss(LinearCritic([slope] * 6), real, fake).item() for slope in (0.4, 40.0)
    )
    assert steep > gentle


@pytest.mark.parametrize("name", OBJECTIVES)
class TestObjective:
    def test_is_a_documented_dataclass_with_a_recipe(self, name):
        objective = objective_of(name)
        assert dataclasses.is_dataclass(objective)
        assert isinstance(objective.recipe, Recipe)
        assert objective.recipe.lr > 0
        first_line = type(objective).__doc__.splitlines()[0]
        assert any(char.isdigit() for char in first_line), (
            "the docstring's first line names paper and year"
        )

    def test_losses_are_finite_scalars_that_reach_every_parameter(self, name):
        objective, D = objective_of(name), SmoothCritic(6)
        real, fake, generator = batch()
        fake.requires_grad_()
        d_loss = objective.d_loss(D, real, fake.detach(), objective.draw(real, generator))
        g_loss = objective.g_loss(D, real, fake, objective.draw(real, generator))
        assert d_loss.shape == g_loss.shape == ()
        assert d_loss.isfinite()
        assert g_loss.isfinite()
        # the output bias shifts every score alike: only losses of raw scores see it
        weights = [p for n, p in D.named_parameters() if n.endswith("weight")]
        assert all(gradient.abs().sum() > 0 for gradient in torch.autograd.grad(d_loss, weights))
        assert torch.autograd.grad(g_loss, fake)[0].abs().sum() > 0

    def test_is_a_pure_function_of_its_tensors(self, name):
        objective, D = objective_of(name), SmoothCritic(6)
        real, fake, generator = batch()
        noise = objective.draw(real, generator)
        torch.manual_seed(1)
        first = objective.d_loss(D, real, fake, noise), objective.g_loss(D, real, fake, noise)
        torch.manual_seed(2)
        again = objective.d_loss(D, real, fake, noise), objective.g_loss(D, real, fake, noise)
        assert torch.equal(torch.stack(first), torch.stack(again))

    def test_draws_from_the_generator_it_is_given(self, name):
        objective = objective_of(name)
        real, _, _ = batch()
        first, again = (objective.draw(real, torch.Generator().manual_seed(3)) for _ in range(2))
        if first is not None:
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))

    def test_noise_none_draws_by_itself(self, name):
        objective, D = objective_of(name), SmoothCritic(6)
        real, fake, _ = batch()
        assert objective.d_loss(D, real, fake).isfinite()

    def test_the_generator_climbs_the_score(self, name):
        generator_climbs_the_score(objective_of(name))

    def test_a_penalty_is_a_mean_over_samples(self, name):
        if not objective_of(name).per_sample_penalty:
            pytest.skip("no per-sample penalty")
        penalty_is_a_mean_over_samples(objective_of(name))

    def test_a_penalty_bounds_the_slope(self, name):
        if not objective_of(name).per_sample_penalty:
            pytest.skip("no per-sample penalty")
        penalty_bounds_the_slope(objective_of(name))

    def test_a_descent_step_of_the_critic_parts_the_scores(self, name):
        objective = objective_of(name)
        # Nearly flat under a zero-centred penalty, which may outweigh the scores at a slope of 0.1
        slope = 0.01 if isinstance(objective, ZeroCentred) else 0.1
        D = LinearCritic([slope] * 6)
        real, fake, _ = batch(256)
        before = (D(real).mean() - D(fake).mean()).item()
        optimizer = torch.optim.SGD(D.parameters(), 1e-3)
        objective.d_loss(D, real, fake).backward()
        optimizer.step()
        assert (D(real).mean() - D(fake).mean()).item() > before

    def test_critic_steps_are_positive(self, name):
        assert all(objective_of(name).d_steps(g_step) >= 1 for g_step in (0, 1, 500))


@pytest.mark.parametrize("name", ARCHITECTURES)
class TestArchitecture:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_shapes_ranges_and_gradients(self, name, shape):
        if not accepts(name, shape):
            pytest.skip(f"{name} refuses {shape}")
        G, D = build(Choice(name), shape, "auto")
        z = torch.randn(4, G.latent_dim)
        fake = G(z)
        assert fake.shape == (4, *shape)
        if len(shape) == 3:
            assert fake.abs().max() <= 1
        if len(shape) == 2:
            torch.testing.assert_close(fake.sum(2), torch.ones(4, shape[0]))
        scores = D(fake)
        assert scores.shape == (4,)
        scores.square().sum().backward()
        for network in (G, D):
            for parameter_name, parameter in network.named_parameters():
                assert parameter.grad is not None, parameter_name
                assert parameter.grad.isfinite().all(), parameter_name

    def test_some_shape_is_accepted(self, name):
        assert any(accepts(name, shape) for shape in SHAPES)

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_a_penalised_critic_scores_a_sample_whatever_else_is_in_its_batch(self, name, shape):
        if not accepts(name, shape):
            pytest.skip(f"{name} refuses {shape}")
        _, D = build(Choice(name), shape, resolved_under_penalty(name))
        assert not any(isinstance(module, COUPLING) for module in D.modules())
        x = torch.randn(6, *shape).tanh()
        torch.testing.assert_close(D(x)[:2], D(x[:2]), rtol=1e-4, atol=1e-5)


def resolved_under_penalty(name):
    paper = variants.load("architectures", name).Discriminator.paper_norm
    return "layer" if paper == "batch" else paper


@pytest.mark.parametrize("name", DATASETS)
class TestDataset:
    def test_describes_itself_without_loading(self, name):
        dataset = variants.load("datasets", name).Dataset()
        assert len(dataset.shape) == {"points": 1, "text": 2, "images": 3}[dataset.modality]
        assert dataset.source
        assert dataset.licence
        assert dataset.split

    def test_holds_what_it_says(self, name):
        dataset = variants.load("datasets", name).Dataset()
        try:
            train, held = dataset.splits
        except OSError as error:
            pytest.skip(f"not on this machine: {str(error)[:80]}")
        is_text = dataset.modality == "text"
        shape = dataset.shape[:1] if is_text else dataset.shape
        for split in (train, held):
            assert split.samples.shape[1:] == shape
            assert split.samples.dtype == (
                torch.float32 if dataset.modality == "points" else torch.uint8
            )
            assert split.labels is None or len(split.labels) == len(split.samples)
            if is_text:
                assert len(dataset.characters) == dataset.shape[1] > split.samples.max()
                assert all(len(sample) == shape[0] for sample in dataset.decode(held.samples[:9]))
        modes = dataset.modes()
        if modes is not None:
            assert modes.centres.shape == (len(modes.weights), *dataset.shape)
            assert math.isclose(modes.weights.sum().item(), 1, rel_tol=1e-6)
            distance = torch.cdist(train.samples, modes.centres).min(dim=1).values
            # a 2-D Gaussian has 1 - exp(-4.5) = 98.9 % of its mass within 3 sigma
            assert (distance <= 3 * modes.sigma).double().mean().item() == pytest.approx(
                0.989, abs=0.003
            )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("objective_name", OBJECTIVES)
def test_every_pair_takes_a_step(objective_name, architecture):
    """Every objective x architecture trains or is refused; under a penalty an open norm is no batch
    norm. What is refused does not train: a critic is once differentiable where it says so."""
    shape = next(shape for shape in SHAPES if accepts(architecture, shape))
    dataset = next(
        name for name in DATASETS if variants.load("datasets", name).Dataset().shape == shape
    )
    pair = Choice(objective_name), Choice(architecture), Choice(dataset)
    _, D = build(Choice(architecture), shape, "auto", "meta")
    if getattr(D, "once_differentiable", False) and differentiates_twice(pair[0]):
        with pytest.raises(UserError, match="can be differentiated only once"):
            critic_norm(*pair)
        with pytest.raises(RuntimeError):
            take_a_step(objective_name, architecture, shape, resolved_under_penalty(architecture))
        return
    norm = critic_norm(*pair)
    before, after = take_a_step(objective_name, architecture, shape, norm)
    assert all(p.isfinite().all() for p in after)
    assert sum(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) > len(after) // 2


def take_a_step(objective_name, architecture, shape, norm):
    """The parameters of both networks before and after a step of each."""
    torch.manual_seed(0)
    G, D = build(Choice(architecture), shape, norm)
    objective = objective_of(objective_name)
    real, z = torch.randn(8, *shape).tanh(), torch.randn(8, G.latent_dim)
    noise = objective.draw(real)
    before = [p.clone() for network in (G, D) for p in network.parameters()]
    critic_step(objective, G, D, make_optimizer(objective.recipe, D), real, z, noise)
    generator_step(objective, G, D, make_optimizer(objective.recipe, G), real, z, noise)
    return before, [p for network in (G, D) for p in network.parameters()]
