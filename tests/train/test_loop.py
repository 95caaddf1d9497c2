"""Training: paired streams, determinism, divergence with its onset, budgets, clocks, averages."""

import math
import time

import pytest
import torch

from benchmark.train import loop as loop_module
from benchmark.train import step as step_module
from benchmark.train.build import make_networks
from benchmark.train.execution import eager
from benchmark.train.loop import train
from tests.helpers.cells import PLACES, small_cell
from tests.train.recording import recorded
from variants.objectives import nonsaturating


def rows_of(cell):
    return [snapshot.row for snapshot in train(cell, "cpu") if snapshot.row]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("objective", ["minimax", "wgan", "wgan_gp", "wgan_fdgp"])
def test_the_same_seed_twice_is_the_same_run(objective, place):
    cell = small_cell(objective, place, steps=5)

    def numbers():
        """Of every row, without NaN, which equals nothing."""
        return [[x for x in row.values() if not math.isnan(x)] for row in rows_of(cell)]

    assert numbers() == numbers()


@pytest.mark.parametrize("log_every", [1, 4, 50])
def test_the_first_steps_are_kept_one_by_one_however_often_is_logged(log_every):
    each = rows_of(small_cell(steps=12, evaluation={"log_every": 1}))
    cell = small_cell(steps=12, evaluation={"log_every": log_every})
    kept = [row for snapshot in train(cell, "cpu") for row in snapshot.first_steps]
    assert [row["g_step"] for row in kept] == [1, 2, 3, 5, 10]
    for row in kept:
        expected = each[row["g_step"] - 1]
        assert row == {name: expected[name] for name in row}
        assert len(row) == 7


def test_seeds_differ():
    losses = [rows_of(small_cell(seed=seed, steps=2))[0]["d_loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("place", PLACES)
def test_objectives_share_initial_weights_and_first_batch(place, monkeypatch):
    """The pairing that makes seeds comparable: also between a critic with batch norm and one with
    layer norm."""
    ours = recorded(small_cell("nonsaturating", place), monkeypatch, 2)[0]
    theirs = recorded(small_cell("wgan_gp", place), monkeypatch, 2)[0]
    assert torch.equal(ours.real, theirs.real)
    assert torch.equal(ours.z, theirs.z)
    assert len(ours.weights) == len(theirs.weights)
    assert all(map(torch.equal, ours.weights, theirs.weights))


def test_batches_are_addressed_by_generator_and_critic_step(monkeypatch):
    """Objectives with one and with five critic steps see the same first batch of every generator
    step."""
    one = recorded(small_cell("nonsaturating"), monkeypatch, 4)
    five = recorded(small_cell("wgan"), monkeypatch, 17)
    # The warm-up, on copies, takes one iteration first
    for ours, theirs in zip(one[1:4], five[5:16:5], strict=True):
        assert torch.equal(ours.real, theirs.real)


@pytest.mark.parametrize("at", [1, 7, 10])
def test_a_loss_that_is_not_finite_ends_the_run_with_its_onset(at, monkeypatch):
    calls = []

    def g_loss(self, D, real, fake, noise=None):
        calls.append(None)
        loss = -D(fake).mean()
        # The first call is that of the warm-up
        return loss * math.nan if len(calls) == at + 1 else loss

    monkeypatch.setattr(nonsaturating.Objective, "g_loss", g_loss)
    snapshots = list(train(small_cell(evaluation={"log_every": 5}), "cpu"))
    assert snapshots[-1].onset == at
    assert snapshots[-1].g_steps == math.ceil(at / 5) * 5, "noticed within one log interval"
    assert [s.onset for s in snapshots[:-1]] == [None] * (len(snapshots) - 1)
    assert not snapshots[-1].evaluation_due


def test_scores_that_an_exponential_does_not_bear_end_the_run():
    """The conjugate of KL is exp(t − 1), infinite in float32 above a score of 89."""
    params = {"divergence": "kl", "optimizer": "sgd", "lr": 1e4}
    *_, last = train(small_cell("fgan", params=params), "cpu")
    assert last.onset is not None


def test_evaluations_are_due_at_their_shares_of_the_budget():
    cell = small_cell(steps=20, evaluation={"schedule": [0.0, 0.1, 0.55, 1.0], "log_every": 7})
    due = [(s.g_steps, s.samples_seen) for s in train(cell, "cpu") if s.evaluation_due]
    assert due == [(0, 0), (2, 32), (11, 176), (20, 320)]


def test_budget_in_samples_counts_what_the_critic_sees():
    *_, last = train(small_cell("wgan", steps=None, samples=16 * 5 * 3), "cpu")
    assert (last.g_steps, last.samples_seen) == (3, 240)


def test_budget_in_seconds_is_training_time():
    started = time.perf_counter()
    *_, last = train(small_cell(steps=None, seconds=0.2, evaluation={"log_every": 5}), "cpu")
    assert 0.2 <= last.train_seconds <= time.perf_counter() - started
    assert last.progress.share >= 1


def test_the_training_clock_stands_still_while_a_snapshot_is_out():
    spent = []
    for snapshot in train(small_cell(steps=4), "cpu"):
        time.sleep(0.25)
        spent.append(snapshot.train_seconds)
    assert spent == sorted(spent)
    assert spent[-1] < 0.25 * (len(spent) - 1)


def test_linear_decay_ends_near_zero(monkeypatch):
    rates = []
    monkeypatch.setattr(loop_module, "set_lr", lambda optimizer, lr: rates.append(lr))
    for _ in train(small_cell(steps=4, lr_decay="linear"), "cpu"):
        pass
    # Of generator and critic
    assert rates[::2] == rates[1::2] == pytest.approx([2e-4, 1.5e-4, 1e-4, 0.5e-4])


def test_generator_batch_multiple(monkeypatch):
    sizes = []
    step = eager.generator_step

    def recording(objective, G, D, optimizer, real, z, *rest, **options):
        sizes.append((len(real), len(z)))
        return step(objective, G, D, optimizer, real, z, *rest, **options)

    monkeypatch.setattr(eager, "generator_step", recording)
    for _ in train(small_cell(steps=2, generator_batch_multiple=2), "cpu"):
        pass
    assert set(sizes) == {(16, 32)}


def test_moving_average_of_the_generator():
    """After one step from weights w0 to w1 the average is 0.9 w0 + 0.1 w1, and it is what
    samples."""
    initial = make_networks(small_cell())[0]
    *_, plain = train(small_cell(steps=1), "cpu")
    *_, average = train(small_cell(steps=1, ema=0.9), "cpu")
    weights = (network.parameters() for network in (initial, plain.G, average.G))
    for w0, w1, mean in zip(*weights, strict=True):
        torch.testing.assert_close(mean, 0.9 * w0 + 0.1 * w1)
        # An average that remembers how it was made grows with every step
        assert mean.grad_fn is None


def test_score_means_and_gradient_norms_are_those_of_the_steps(monkeypatch):
    """WGAN's critic loss is the difference of the two mean scores; the norms are those of p.grad
    after the backward."""
    norms = []
    norm_of = step_module.grad_norm

    def recording(network):
        norms.append(sum(p.grad.square().sum().item() for p in network.parameters()) ** 0.5)
        return norm_of(network)

    monkeypatch.setattr(step_module, "grad_norm", recording)
    rows = rows_of(small_cell("wgan", steps=3))
    for index, row in enumerate(rows):
        assert row["d_loss"] == pytest.approx(row["d_fake"] - row["d_real"], abs=1e-6)
        *_, d_norm, g_norm = norms[: 2 + 6 * (index + 1)]  # the warm-up took the first two
        assert (row["d_grad_norm"], row["g_grad_norm"]) == pytest.approx((d_norm, g_norm), rel=1e-5)


def test_the_average_generator_has_the_statistics_of_the_trained_one():
    *_, plain = train(small_cell(place="images", steps=3), "cpu")
    *_, average = train(small_cell(place="images", steps=3, ema=0.9), "cpu")
    ours, theirs = (dict(last.G.named_buffers()) for last in (plain, average))
    assert ours.keys() == theirs.keys() != set()
    assert all(map(torch.equal, ours.values(), theirs.values()))
    assert any(buffer.abs().sum() > 0 for name, buffer in ours.items() if "mean" in name)
