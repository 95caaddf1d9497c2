"""A reference workload, timed beside every cell: what a speed or a memory is divided by to compare
machines.

The same work everywhere: small networks, whose steps cost what launching them costs, and a
convolution, which costs what computing it costs."""

import statistics

import torch
from torch import nn

from benchmark.machine.clock import synchronised_time
from benchmark.machine.memory import peak_memory_mb, reset_peak_memory

REPEATS = 7


def reference_workload(device: str) -> tuple[float, float | None]:
    """Milliseconds, the median of REPEATS, and MiB at the peak, of training steps of a small MLP
    and a small convolutional network on random data. No memory on a CPU, where a process's is that
    of its libraries and of the cells before. Leaves torch's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(0)
        mlp = nn.Sequential(
            nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)
        ).to(device)
        conv = nn.Sequential(nn.Conv2d(3, 32, 5, 2, 2), nn.ReLU(), nn.Conv2d(32, 64, 5, 2, 2)).to(
            device
        )
        work = [
            (mlp, torch.randn(64, 2, device=device), 20),
            (conv, torch.randn(16, 3, 32, 32, device=device), 2),
        ]
    optimizers = [torch.optim.Adam(network.parameters()) for network, _, _ in work]
    reset_peak_memory(device)
    seconds = []
    for _ in range(REPEATS + 1):
        started = synchronised_time(device)
        for (network, batch, steps), optimizer in zip(work, optimizers, strict=True):
            for _ in range(steps):
                optimizer.zero_grad(set_to_none=True)
                network(batch).square().mean().backward()
                optimizer.step()
        seconds.append(synchronised_time(device) - started)
    memory = None if device == "cpu" else peak_memory_mb(device)
    return 1000 * statistics.median(seconds[1:]), memory  # the first one warms up
