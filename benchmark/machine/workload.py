"""A reference workload, timed in every race and with every cell: speeds and memory are divided by
it to compare machines.

The work is the same everywhere: small networks, whose steps cost what launching them costs, and a
convolution, which costs what computing it costs."""

import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmark.machine.clock import synchronised_time
from benchmark.machine.memory import peak_memory_mb, reset_peak_memory

REPEATS = 3


class Work(NamedTuple):
    """Some training steps of one network on one batch."""

    network: nn.Module
    batch: Tensor
    steps: int
    optimizer: torch.optim.Optimizer


def reference_workload(device: str) -> tuple[float, float | None]:
    """Milliseconds, the median of REPEATS, and MiB at the peak, of training steps of a small MLP
    and a small convolutional network on random data. The memory is None on a CPU, where the memory
    of a process is that of its libraries and of earlier cells. torch's random state is left as it
    was."""
    train = open_workload(device)
    reset_peak_memory(device)
    seconds = []
    for _ in range(REPEATS + 1):
        started = synchronised_time(device)
        train()
        seconds.append(synchronised_time(device) - started)
    memory = None if device == "cpu" else peak_memory_mb(device)
    # the first one warms up
    return 1000 * statistics.median(seconds[1:]), memory


def open_workload(device: str) -> Callable[[], None]:
    """A function that takes all steps of the workload once."""
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(0)
        works = _works(device)

    def train() -> None:
        for work in works:
            _train(work)

    return train


def _works(device: str) -> list[Work]:
    mlp = nn.Sequential(
        nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)
    )
    conv = nn.Sequential(nn.Conv2d(3, 32, 5, 2, 2), nn.ReLU(), nn.Conv2d(32, 64, 5, 2, 2))
    mlp.to(device)
    conv.to(device)
    points = torch.randn(64, 2, device=device)
    images = torch.randn(16, 3, 32, 32, device=device)
    return [
        Work(mlp, points, steps=20, optimizer=torch.optim.Adam(mlp.parameters())),
        Work(conv, images, steps=2, optimizer=torch.optim.Adam(conv.parameters())),
    ]


def _train(work: Work) -> None:
    for _ in range(work.steps):
        work.optimizer.zero_grad(set_to_none=True)
        work.network(work.batch).square().mean().backward()
        work.optimizer.step()
