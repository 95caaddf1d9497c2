"""Planted bugs: the faults that public GAN code has are caught by the contract tests or by the
check."""

from dataclasses import dataclass

import pytest
import torch

from tests.contracts.test_contracts import (
    OBJECTIVES,
    generator_climbs_the_score,
    objective_of,
    penalty_bounds_the_slope,
    penalty_is_a_mean_over_samples,
)
from variants.objectives import interpolate, lsgan, wgan_gp


@dataclass(frozen=True)
class FlippedSign(lsgan.Objective):
    def g_loss(self, D, real, fake, noise=None):
        return -super().g_loss(D, real, fake, noise)


@dataclass(frozen=True)
class WholeBatchNorm(wgan_gp.Objective):
    """One norm over the whole batch instead of one per sample."""

    def penalty(self, D, real, fake, noise=None):
        x = interpolate(real, fake, noise[0]).requires_grad_()
        (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
        return (gradient.norm() - 1).square()


def test_a_flipped_sign_in_the_generator_loss_is_caught():
    generator_climbs_the_score(lsgan.Objective())
    with pytest.raises(AssertionError):
        generator_climbs_the_score(FlippedSign())


def test_a_penalty_over_the_whole_batch_is_caught():
    penalty_is_a_mean_over_samples(wgan_gp.Objective())
    with pytest.raises(AssertionError):
        penalty_is_a_mean_over_samples(WholeBatchNorm())


def test_a_penalty_of_weight_zero_is_caught():
    penalty_bounds_the_slope(wgan_gp.Objective())
    with pytest.raises(AssertionError):
        penalty_bounds_the_slope(wgan_gp.Objective(penalty_weight=0))


def test_minimax_under_the_name_of_nonsaturating_is_caught():
    """mimicry's "gan" loss is the non-saturating one; closed forms at a confident rejection tell
    the two apart."""
    gradients = {}
    for name in OBJECTIVES:
        fake = torch.full((1,), -12.0, dtype=torch.float64, requires_grad=True)
        loss = objective_of(name).g_loss(lambda scores: scores, fake.detach(), fake)
        gradients[name] = torch.autograd.grad(loss, fake)[0].abs().item()
    assert gradients["minimax"] < 1e-4 < 0.9 < gradients["nonsaturating"]
