"""Batches: those fetched ahead from host memory are those drawn on the device."""

import threading
import time
from types import SimpleNamespace

import pytest
import torch

from benchmark.matrix.cell import Choice
from benchmark.train import data as data_module
from benchmark.train.data import device_data, floats_of, make_dataset, one_hot, open_batches
from benchmark.train.loop import train
from tests.helpers.cells import PLACES, small_cell
from tests.train.recording import recorded
from variants.objectives import nonsaturating

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


def prefetching():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.fixture
def from_host(monkeypatch):
    """No dataset fits the device."""
    monkeypatch.setattr(data_module, "device_data", lambda dataset, device: None)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("objective", ["nonsaturating", "wgan_gp"])
def test_prefetched_batches_are_the_resident_ones_and_so_is_what_is_drawn_after(
    objective, place, device, monkeypatch
):
    resident = recorded(small_cell(objective, place, steps=3), monkeypatch, 20, device)
    monkeypatch.setattr(data_module, "device_data", lambda dataset, device: None)
    fetched = recorded(small_cell(objective, place, steps=3), monkeypatch, 20, device)
    assert len(resident) == len(fetched) == 3 * (5 if objective == "wgan_gp" else 1)
    for ours, theirs in zip(fetched, resident, strict=True):
        assert torch.equal(ours.real, theirs.real)
        assert torch.equal(ours.z, theirs.z)
        assert all(map(torch.equal, ours.weights, theirs.weights))


def test_the_next_batch_is_gathered_before_it_is_asked_for(from_host, monkeypatch):
    gathered = []
    fetch = data_module.Prefetch._fetch

    def recording(self, seed):
        batch = fetch(self, seed)
        gathered.append(seed)
        return batch

    monkeypatch.setattr(data_module.Prefetch, "_fetch", recording)
    with open_batches(make_dataset(Choice("gaussians8")), 8, "cpu") as draw:
        first = draw(torch.Generator().manual_seed(1), 2)
        deadline = time.monotonic() + 30
        while gathered != [1, 2] and time.monotonic() < deadline:
            time.sleep(0.001)
        assert gathered == [1, 2]
        second = draw(torch.Generator().manual_seed(2), 3)
        # A seed out of turn is fetched again
        assert torch.equal(draw(torch.Generator().manual_seed(1), 2), first)
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
    fetch, calls = data_module.Prefetch._fetch, []

    def failing(self, seed):
        calls.append(seed)
        if len(calls) == 4:
            raise OSError("the disk is gone")
        return fetch(self, seed)

    monkeypatch.setattr(data_module.Prefetch, "_fetch", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        list(train(small_cell(steps=20), "cpu"))
    assert len(calls) <= 5
    assert prefetching() == []


def test_data_beyond_a_quarter_of_a_gpus_free_memory_stays_on_the_host(monkeypatch):
    data = SimpleNamespace(nbytes=250, dim=lambda: 4, to=lambda device: f"moved to {device}")
    dataset = SimpleNamespace(train=lambda: data)
    for free, found in ((999, None), (1000, "moved to cuda:1"), (1001, "moved to cuda:1")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10_000))
        assert device_data(dataset, "cuda:1") == found
    assert device_data(dataset, "cpu") == "moved to cpu", "whatever its size"


def test_windows_of_running_text_stay_a_view_wherever_they_lie(monkeypatch):
    running = torch.arange(50, dtype=torch.uint8)
    windows = running.unfold(0, 8, 1)
    moved = device_data(SimpleNamespace(train=lambda: windows), "cpu")
    assert torch.equal(moved, windows)
    assert moved.untyped_storage().nbytes() == 50
    # 50 bytes of text are what counts, not the 344 of its windows
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * 50 - 1, 10_000))
    assert device_data(SimpleNamespace(train=lambda: windows), "cuda") is None


def test_codes_become_one_hot_by_modality_and_not_by_type():
    codes = torch.tensor([[0, 2], [1, 1]], dtype=torch.uint8)
    to_floats = floats_of(SimpleNamespace(modality="text", shape=(2, 3)))
    expected = torch.tensor([[[1.0, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]]])
    assert torch.equal(to_floats(codes), expected)
    assert to_floats(codes).dtype == torch.float32
    with pytest.raises((RuntimeError, IndexError)):
        one_hot(torch.tensor([[3]]), 3)
