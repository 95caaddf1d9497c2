"""`make speed`: one training iteration (critic steps and generator step) per objective, on points
and on images, and batches alone, on one thread.

pytest-benchmark prints each as a ratio to the fastest of its group. Nothing is asserted about
time."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import variants
from benchmark.matrix.cell import stream_seed
from benchmark.train import data as batches
from benchmark.train.build import make_networks, make_objective
from benchmark.train.data import Resident, device_data, floats_of, make_dataset, open_batches
from benchmark.train.optimizers import make_optimizer
from benchmark.train.step import critic_step, generator_step
from tests.helpers.cells import PLACES, small_cell

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("objective_name", variants.names("objectives"))
@pytest.mark.parametrize("place", PLACES)
def test_iteration(benchmark, place, objective_name, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    benchmark.group = f"{place} on {device}"
    cell = small_cell(objective_name, place)
    objective, dataset = make_objective(cell.objective), make_dataset(cell.dataset)
    draw = Resident(device_data(dataset, device), 64, floats_of(dataset))
    G, D = (network.to(device) for network in make_networks(cell))
    optimizers = [make_optimizer(objective.recipe, network) for network in (G, D)]
    generator = torch.Generator(device).manual_seed(0)

    def iterate():
        for _ in range(objective.d_steps(1)):
            real = draw(generator, 0)
            z = torch.randn(64, G.latent_dim, device=device, generator=generator)
            critic_step(objective, G, D, optimizers[1], real, z, objective.draw(real, generator))
        generator_step(objective, G, D, optimizers[0], real, z, objective.draw(real, generator))
        if device == "cuda":
            torch.cuda.synchronize()

    benchmark.pedantic(iterate, rounds=50, warmup_rounds=5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kept", ["resident", "prefetched"])
def test_batches(benchmark, kept, device, monkeypatch):
    """100 batches of 64 colour images 64×64, with nothing between them that could hide the
    fetching."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    benchmark.group = f"100 batches on {device}"
    images = torch.randint(256, (4000, 3, 64, 64), dtype=torch.uint8)
    dataset = SimpleNamespace(train=lambda: images, modality="images")
    if kept == "prefetched":
        monkeypatch.setattr(batches, "device_data", lambda choice, device: None)
    generator = torch.Generator(device)

    def draw_all():
        for step in range(100):
            generator.manual_seed(stream_seed("speed", step))
            draw(generator, stream_seed("speed", step + 1))
        if device == "cuda":
            torch.cuda.synchronize()

    with open_batches(dataset, 64, device) as draw:
        benchmark.pedantic(draw_all, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("verb", ["--help", "list"])
def test_cold_start(benchmark, verb):
    benchmark.group = "cold start"
    command = [sys.executable, "-m", "benchmark", verb]
    benchmark.pedantic(
        lambda: subprocess.run(command, capture_output=True, check=True),
        rounds=5,
    )
