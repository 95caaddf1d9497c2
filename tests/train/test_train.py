"""Training: paired streams, determinism, divergence noticed with its onset, budgets, clocks,
averages."""

import math
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from benchmark.matrix.cell import Choice
from benchmark.train import data as batches
from benchmark.train import loop as train_module
from benchmark.train import step as step_module
from benchmark.train.build import make_networks, make_objective, make_recipe
from benchmark.train.data import device_data, make_dataset, open_batches
from benchmark.train.execution import eager
from benchmark.train.execution import iteration as module
from benchmark.train.loop import train
from benchmark.train.snapshot import quantise
from tests.helpers.cells import small_cell
from variants.objectives import Recipe, lsgan, nonsaturating


def rows_of(cell):
    return [snapshot.row for snapshot in train(cell, "cpu") if snapshot.row]


def recorded(cell, monkeypatch, count=12, device="cpu"):
    """The first real batches and latents that reach the critic steps of a cell."""
    seen = []
    step = eager.critic_step

    def recording(objective, G, D, optimizer, real, z, *rest):
        seen.append((real.clone(), z.clone(), [p.detach().clone() for p in D.parameters()]))
        return step(objective, G, D, optimizer, real, z, *rest)

    monkeypatch.setattr(eager, "critic_step", recording)
    for _ in train(cell, device):
        if len(seen) >= count:
            break
    monkeypatch.undo()
    return seen


@pytest.mark.parametrize("place", ["points", "images"])
@pytest.mark.parametrize("objective", ["minimax", "wgan", "wgan_gp", "wgan_fdgp"])
def test_the_same_seed_twice_is_the_same_run(objective, place):
    cell = small_cell(objective, place, steps=5)
    first, again = (
        [[v for v in row.values() if not math.isnan(v)] for row in rows_of(cell)] for _ in range(2)
    )
    assert first == again


def test_seeds_differ():
    assert (
        rows_of(small_cell(seed=0, steps=2))[0]["d_loss"]
        != rows_of(small_cell(seed=1, steps=2))[0]["d_loss"]
    )


@pytest.mark.parametrize("place", ["points", "images"])
def test_objectives_share_initial_weights_and_first_batch(place, monkeypatch):
    """The pairing that makes seeds comparable: also between a critic with batch norm and one with
    layer norm."""
    ours, theirs = (
        recorded(small_cell(name, place), monkeypatch, 2)[0]
        for name in ("nonsaturating", "wgan_gp")
    )
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    assert all(torch.equal(a, b) for a, b in zip(ours[2], theirs[2], strict=True))


def test_batches_are_addressed_by_generator_and_critic_step(monkeypatch):
    """Objectives with one and with five critic steps see the same first batch of every generator
    step."""
    one = recorded(small_cell("nonsaturating"), monkeypatch, 4)
    five = recorded(small_cell("wgan"), monkeypatch, 17)
    # the warm-up, on copies, takes one iteration first
    assert [torch.equal(a[0], b[0]) for a, b in zip(one[1:4], five[5:16:5], strict=True)] == [
        True
    ] * 3


def test_networks_share_what_they_have_in_common_by_name():
    layer, batch = (
        make_networks(small_cell(name, "images"))[1] for name in ("wgan_gp", "nonsaturating")
    )
    assert torch.equal(layer.convs[0].weight, batch.convs[0].weight)
    assert layer.convs[0].weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert layer.convs[0].weight.abs().max().item() <= 0.02 * math.sqrt(3)


@pytest.mark.parametrize("at", [1, 7, 10])
def test_a_loss_that_is_not_finite_ends_the_run_with_its_onset(at, monkeypatch):
    calls = []

    def g_loss(self, D, real, fake, noise=None):
        calls.append(None)
        loss = -D(fake).mean()
        return loss * math.nan if len(calls) == at + 1 else loss  # one call goes to the warm-up

    monkeypatch.setattr(nonsaturating.Objective, "g_loss", g_loss)
    snapshots = list(train(small_cell(evaluation={"log_every": 5}), "cpu"))
    assert snapshots[-1].onset == at
    assert snapshots[-1].g_steps == math.ceil(at / 5) * 5, "noticed within one log interval"
    assert [s.onset for s in snapshots[:-1]] == [None] * (len(snapshots) - 1)
    assert not any(s.evaluation_due for s in snapshots[-1:])


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
    monkeypatch.setattr(train_module, "set_lr", lambda optimizers, lr: rates.append(lr))
    for _ in train(small_cell(steps=4, lr_decay="linear"), "cpu"):
        pass
    assert rates == pytest.approx([2e-4, 1.5e-4, 1e-4, 0.5e-4])


def test_generator_batch_multiple(monkeypatch):
    sizes = []
    step = eager.generator_step
    monkeypatch.setattr(
        eager,
        "generator_step",
        lambda *args: (sizes.append((len(args[4]), len(args[5]))), step(*args))[1],
    )
    for _ in train(small_cell(steps=2, generator_batch_multiple=2), "cpu"):
        pass
    assert set(sizes) == {(16, 32)}


def test_moving_average_of_the_generator():
    """After one step from weights w0 to w1 the average is 0.9 w0 + 0.1 w1, and it is what
    samples."""
    initial = make_networks(small_cell())[0]
    *_, plain = train(small_cell(steps=1), "cpu")
    *_, average = train(small_cell(steps=1, ema=0.9), "cpu")
    for w0, w1, mean in zip(
        initial.parameters(), plain.G.parameters(), average.G.parameters(), strict=True
    ):
        torch.testing.assert_close(mean, 0.9 * w0 + 0.1 * w1)
        assert mean.grad_fn is None, (
            "an average that remembers how it was made grows with every step"
        )


def test_one_shared_recipe_for_all(monkeypatch):
    used = []
    make = module.make_optimizer
    monkeypatch.setattr(
        module,
        "make_optimizer",
        lambda recipe, *rest: (used.append(recipe), make(recipe, *rest))[1],
    )
    recipe = {"optimizer": "rmsprop", "lr": 0.01, "betas": [0.5, 0.999], "alpha": 0.9}
    for name in ("wgan_gp", "minimax"):
        for _ in train(small_cell(name, steps=1, recipe=recipe), "cpu"):
            pass
    assert {(r.optimizer, r.lr, r.alpha) for r in used} == {("rmsprop", 0.01, 0.9)}


def test_samples_are_quantised_to_the_nearest_level():
    images = torch.tensor([-1.0, -0.9999, 0.0, 0.5, 1.0, 1.5])
    assert quantise(images).tolist() == [0, 0, 128, 191, 255, 255]


def test_sampling_is_the_same_at_every_call_and_leaves_training_alone():
    with_samples, without = [], []
    for snapshot in train(small_cell(place="images", steps=4), "cpu"):
        assert torch.equal(snapshot.sample(20), snapshot.sample(20))
        assert snapshot.sample(20).dtype == torch.uint8
        with_samples.append(snapshot.row)
    for snapshot in train(small_cell(place="images", steps=4), "cpu"):
        without.append(snapshot.row)
    assert [r and r["g_loss"] for r in with_samples] == [r and r["g_loss"] for r in without]


def test_a_generator_that_is_not_finite_says_so():
    snapshot = next(train(small_cell(), "cpu"))
    with torch.no_grad():
        next(snapshot.G.parameters()).fill_(math.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        snapshot.sample(10)


def test_streams_do_not_depend_on_the_objective():
    ours, theirs = small_cell("minimax"), small_cell("wgan_gp")
    assert (
        ours.stream("steps")
        == theirs.stream("steps")
        != small_cell("minimax", seed=1).stream("steps")
    )
    assert ours.key != theirs.key
    assert small_cell(params=None).objective == Choice("nonsaturating")


def test_score_means_and_gradient_norms_are_those_of_the_steps(monkeypatch):
    """WGAN's critic loss is the difference of the two mean scores; the norms are those of p.grad
    after the backward."""
    norms = []
    update = step_module._update

    def recording(optimizer, loss, network):
        update(optimizer, loss, network)
        norms.append(sum(p.grad.square().sum().item() for p in network.parameters()) ** 0.5)

    monkeypatch.setattr(step_module, "_update", recording)
    rows = rows_of(small_cell("wgan", steps=3))
    for index, row in enumerate(rows):
        assert row["d_loss"] == pytest.approx(row["d_fake"] - row["d_real"], abs=1e-6)
        *_, d_norm, g_norm = norms[: 2 + 6 * (index + 1)]  # the warm-up took the first two
        assert (row["d_grad_norm"], row["g_grad_norm"]) == pytest.approx((d_norm, g_norm), rel=1e-5)


# The optimiser of an objective


def test_an_objective_may_bring_its_own_optimiser_in_a_matrix():
    """LSGAN as the WGAN-GP authors ran it: RMSProp 1e-4; what is not set stays the paper's."""
    cell = small_cell(
        "lsgan", params={"a": -1.0, "b": 1.0, "c": 0.0, "optimizer": "rmsprop", "lr": 1e-4}
    )
    assert make_objective(cell.objective) == lsgan.Objective(a=-1.0, b=1.0, c=0.0)
    assert make_recipe(cell) == Recipe(
        "rmsprop", 1e-4, lsgan.Objective.recipe.betas, lsgan.Objective.recipe.alpha
    )
    assert make_recipe(small_cell("lsgan", params={"a": -1.0, "c": 0.0})) == lsgan.Objective.recipe


def test_the_optimiser_of_an_objective_is_the_one_that_trains():
    """A step of RMSProp from rest moves a weight by lr·g/(√((1 − α)g²) + ε): by 10 lr at α = 0.99,
    whatever g."""
    initial = make_networks(small_cell("lsgan"))[0].out.weight
    *_, last = train(
        small_cell("lsgan", steps=1, params={"optimizer": "rmsprop", "lr": 1e-5}), "cpu"
    )
    torch.testing.assert_close(
        (last.G.out.weight - initial).abs(), torch.full_like(initial, 1e-4), rtol=0.01, atol=0
    )


# Batches

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


def prefetching():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.fixture
def from_host(monkeypatch):
    """As where no dataset fits the device."""
    monkeypatch.setattr(batches, "device_data", lambda dataset, device: None)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("place", ["points", "images"])
@pytest.mark.parametrize("objective", ["nonsaturating", "wgan_gp"])
def test_prefetched_batches_are_the_resident_ones_and_so_is_what_is_drawn_after(
    objective, place, device, monkeypatch
):
    resident = recorded(small_cell(objective, place, steps=3), monkeypatch, 20, device)
    monkeypatch.setattr(batches, "device_data", lambda dataset, device: None)
    fetched = recorded(small_cell(objective, place, steps=3), monkeypatch, 20, device)
    assert len(resident) == len(fetched) == 3 * (5 if objective == "wgan_gp" else 1)
    assert all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        for a, b in zip(resident, fetched, strict=True)
    )
    assert all(
        torch.equal(p, q)
        for a, b in zip(resident, fetched, strict=True)
        for p, q in zip(a[2], b[2], strict=True)
    )


def test_the_next_batch_is_gathered_before_it_is_asked_for(from_host, monkeypatch):
    gathered = []
    fetch = batches.Prefetch._fetch
    monkeypatch.setattr(
        batches.Prefetch, "_fetch", lambda self, seed: (fetch(self, seed), gathered.append(seed))[0]
    )
    with open_batches(make_dataset(Choice("gaussians8")), 8, "cpu") as draw:
        first = draw(torch.Generator().manual_seed(1), 2)
        deadline = time.monotonic() + 30
        while gathered != [1, 2] and time.monotonic() < deadline:
            time.sleep(0.001)
        assert gathered == [1, 2]
        second = draw(torch.Generator().manual_seed(2), 3)
        assert torch.equal(draw(torch.Generator().manual_seed(1), 2), first), (
            "a seed out of turn is fetched anew"
        )
        assert not torch.equal(first, second)
    assert gathered[:2] == [1, 2]
    assert gathered.count(2) == 2


def test_no_thread_outlives_its_cell(from_host, monkeypatch):
    snapshots = train(small_cell(steps=3), "cpu")
    next(snapshots)
    assert len(prefetching()) == 1
    snapshots.close()
    assert prefetching() == []
    for _ in train(small_cell(steps=3), "cpu"):
        pass
    assert prefetching() == []

    def g_loss(self, D, real, fake, noise=None):
        raise RuntimeError("planted")

    monkeypatch.setattr(nonsaturating.Objective, "g_loss", g_loss)
    with pytest.raises(RuntimeError, match="planted"):
        next(train(small_cell(), "cpu"))
    assert prefetching() == []


def test_what_goes_wrong_in_the_thread_ends_the_training(from_host, monkeypatch):
    fetch, calls = batches.Prefetch._fetch, []

    def failing(self, seed):
        calls.append(seed)
        if len(calls) == 4:
            raise OSError("the disk is gone")
        return fetch(self, seed)

    monkeypatch.setattr(batches.Prefetch, "_fetch", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        list(train(small_cell(steps=20), "cpu"))
    assert len(calls) <= 5
    assert prefetching() == []


def test_data_beyond_a_quarter_of_a_gpus_free_memory_stays_on_the_host(monkeypatch):
    data = SimpleNamespace(nbytes=250, to=lambda device: f"moved to {device}")
    dataset = SimpleNamespace(train=lambda: data)
    for free, found in ((999, None), (1000, "moved to cuda:1"), (1001, "moved to cuda:1")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10_000))
        assert device_data(dataset, "cuda:1") == found
    assert device_data(dataset, "cpu") == "moved to cpu", "whatever its size"


# Sampling statistics


def test_ema_statistics_sample_each_image_by_itself_and_leave_the_training_alone():
    cells = [
        small_cell(place="images", steps=4, evaluation={"sampling_statistics": s})
        for s in ("batch", "ema")
    ]
    rows, samples = [], []
    for cell in cells:
        snapshots = []
        for snapshot in train(cell, "cpu"):
            before = [buffer.clone() for buffer in snapshot.G.buffers()]
            samples.append(snapshot.sample(20))
            assert snapshot.G.training
            assert before
            assert all(map(torch.equal, before, snapshot.G.buffers()))
            snapshots.append(snapshot)
        rows.append([s.row["g_loss"] for s in snapshots if s.row])
    assert rows[0] == rows[1]
    assert not torch.equal(samples[-1], samples[len(samples) // 2 - 1])
    z = torch.randn(250, 128, generator=torch.Generator().manual_seed(cell.stream("evaluation")))
    with torch.no_grad():
        alone = torch.cat([snapshot.G.eval()(latent) for latent in z[:20].split(1)])
    torch.testing.assert_close(
        quantise(alone).int(), samples[-1].int(), rtol=0, atol=1
    )  # at most a rounding apart


def test_train_mode_is_restored_when_sampling_fails(monkeypatch):
    snapshot = next(
        train(small_cell(place="images", evaluation={"sampling_statistics": "ema"}), "cpu")
    )
    monkeypatch.setattr(type(snapshot.G), "forward", lambda self, z: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        snapshot.sample(10)
    assert snapshot.G.training


def test_the_average_generator_has_the_statistics_of_the_trained_one():
    *_, plain = train(small_cell(place="images", steps=3), "cpu")
    *_, average = train(small_cell(place="images", steps=3, ema=0.9), "cpu")
    buffers = [dict(last.G.named_buffers()) for last in (plain, average)]
    assert buffers[0].keys() == buffers[1].keys() != set()
    assert all(torch.equal(buffers[0][name], buffers[1][name]) for name in buffers[0])
    assert any(b.abs().sum() > 0 for name, b in buffers[0].items() if "mean" in name)
