"""Sampling: repeatable, quantised, finite, and without effect on the training."""

import copy
import math

import pytest
import torch

from benchmark.train.loop import train
from benchmark.train.snapshot import quantise
from tests.helpers.cells import small_cell


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


def test_ema_statistics_sample_each_image_by_itself_and_leave_the_training_alone():
    losses, samples = {}, {}
    for statistics in ("batch", "ema"):
        evaluation = {"sampling_statistics": statistics}
        cell = small_cell(place="images", steps=4, evaluation=evaluation)
        losses[statistics] = []
        for snapshot in train(cell, "cpu"):
            before = [buffer.clone() for buffer in snapshot.G.buffers()]
            samples[statistics] = snapshot.sample(20)
            assert snapshot.G.training
            assert before
            assert all(map(torch.equal, before, snapshot.G.buffers()))
            if snapshot.row:
                losses[statistics].append(snapshot.row["g_loss"])
    assert losses["batch"] == losses["ema"]
    assert not torch.equal(samples["batch"], samples["ema"])
    generator = torch.Generator().manual_seed(cell.stream("evaluation"))
    z = torch.randn(250, 128, generator=generator)
    with torch.no_grad():
        alone = torch.cat([snapshot.G.eval()(latent) for latent in z[:20].split(1)])
    # At most a rounding apart
    torch.testing.assert_close(quantise(alone).int(), samples["ema"].int(), rtol=0, atol=1)


def test_train_mode_is_restored_when_sampling_fails(monkeypatch):
    cell = small_cell(place="images", evaluation={"sampling_statistics": "ema"})
    snapshot = next(train(cell, "cpu"))
    monkeypatch.setattr(type(snapshot.G), "forward", lambda self, z: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        snapshot.sample(10)
    assert snapshot.G.training


def test_text_is_the_likeliest_characters_of_the_outputs():
    snapshot = next(train(small_cell(place="text"), "cpu"))
    outputs = snapshot.outputs(300)
    assert outputs.shape == (300, 32, 48)
    torch.testing.assert_close(outputs.sum(2), torch.ones(300, 32))
    codes = snapshot.sample(300)
    assert (codes.dtype, codes.shape) == (torch.uint8, (300, 32))
    assert torch.equal(codes.long(), outputs.argmax(2))
    assert torch.equal(snapshot.sample(20), codes[:20])


def test_of_equally_likely_characters_the_first_is_taken():
    snapshot = next(train(small_cell(place="text"), "cpu"))
    with torch.no_grad():
        snapshot.G.conv.weight.zero_()
        snapshot.G.conv.bias.zero_()
        snapshot.G.conv.bias[[7, 30]] = 1
    assert (snapshot.sample(10) == 7).all()


def test_the_same_seed_writes_the_same_text_also_from_a_state_in_the_middle():
    cell = small_cell("wgan_gp", "text", steps=6)
    states = {}
    for snapshot in train(cell, "cpu"):
        states[snapshot.g_steps] = copy.deepcopy(snapshot.state)
    text = snapshot.sample(50)
    *_, again = train(cell, "cpu")
    *_, resumed = train(cell, "cpu", states[3])
    assert torch.equal(again.sample(50), text)
    assert torch.equal(resumed.sample(50), text)
