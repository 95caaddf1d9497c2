"""`make speed`: one training iteration (critic steps and generator step) per objective and place, one thread.

pytest-benchmark prints each as a ratio to the fastest of its group. Nothing is asserted about time."""

import subprocess
import sys

import pytest
import torch

import variants
from benchmark.step import critic_step, generator_step, make_optimizer
from benchmark.train import device_data, draw_batch, make_networks, make_objective
from tests.cells import PLACES, small_cell

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("objective_name", variants.names("objectives"))
@pytest.mark.parametrize("place", PLACES)
def test_iteration(benchmark, place, objective_name, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    benchmark.group = f"{place} on {device}"
    cell = small_cell(objective_name, place)
    objective, data = make_objective(cell.objective), device_data(cell.dataset, device)
    G, D = (network.to(device) for network in make_networks(cell))
    optimizers = [make_optimizer(objective.recipe, network) for network in (G, D)]
    generator = torch.Generator(device).manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def iterate():
        for _ in range(objective.d_steps(1)):
            real = draw_batch(data, 64, generator)
            z = torch.randn(64, G.latent_dim, device=device, generator=generator)
            critic_step(objective, G, D, optimizers[1], real, z, objective.draw(real, generator))
        generator_step(objective, G, D, optimizers[0], real, z, objective.draw(real, generator))
        if device == "cuda":
            torch.cuda.synchronize()

    benchmark.pedantic(iterate, rounds=50, warmup_rounds=5)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("verb", ["--help", "list"])
def test_cold_start(benchmark, verb):
    benchmark.group = "cold start"
    benchmark.pedantic(
        lambda: subprocess.run([sys.executable, "-m", "benchmark", verb], capture_output=True, check=True), rounds=5
    )
