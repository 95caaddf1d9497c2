"""Our side of the races: one iteration (critic steps and generator step) per call. Batches, latents
and noise are drawn on the device."""

from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torchvision.transforms.v2 import functional as transforms

import variants
from benchmark.matrix.options import Training
from benchmark.train.data import Resident, floats_of
from benchmark.train.execution.iteration import Iteration
from benchmark.train.inputs import Inputs, Streams, draw_inputs
from benchmark.train.snapshot import Snapshot
from benchmark.train.step import set_precision
from tests.helpers.cells import small_cell
from tests.speed.textbook import SHAPES, networks, points, raw_images


def resident(
    architecture: str,
    device: str,
    batch_size: int,
    layout: torch.memory_format = torch.contiguous_format,
) -> Resident:
    """Batches of what the architecture learns from, on the device: images in its size, or
    points."""
    shape = SHAPES[architecture]
    modality = "points"
    data = points()
    if len(shape) > 1:
        modality = "images"
        data = transforms.resize(raw_images(), list(shape[1:]), antialias=True)
    to_floats = floats_of(SimpleNamespace(modality=modality), layout)
    return Resident(data.to(device), batch_size, to_floats)


def iteration(
    architecture: str,
    objective: str,
    batch_size: int,
    device: str,
    precision: str = "float32",
    execution: str = "eager",
    layout: str = "contiguous",
    latents: Literal["fresh", "critic"] = "fresh",
) -> Callable[[], Any]:
    """The iteration of a cell. latents: of its generator step (training.generator_latents)."""
    set_precision(precision)
    rules = variants.load("objectives", objective).Objective()
    layouts = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    G, D = (
        network.to(device).to(memory_format=layouts)
        for network in networks(architecture, objective, textbook=False)
    )
    made = Iteration(rules, [(G, D)], rules.recipe, precision, execution, device)
    return timed(made, resident(architecture, device, batch_size, layouts), latents)


def timed(
    iteration: Iteration, batches: Resident, latents: Literal["fresh", "critic"] = "fresh"
) -> Callable[[], Any]:
    """A function of one iteration, warmed up. Every seed has its own streams; `facts` of the
    function says how it runs."""
    streams = [
        Streams(seed, torch.Generator(iteration.device)) for seed in range(len(iteration.networks))
    ]
    options = Training(batch_size=batches.batch_size, steps=1, generator_latents=latents)
    latent_dim = iteration.networks[0][0].latent_dim
    numbers = count()

    def draws(g_step: int = 0) -> Iterator[Inputs]:
        return draw_inputs(iteration.objective, streams, batches, g_step, latent_dim, options)

    def iterate() -> None:
        iteration(draws(next(numbers)))

    iteration.warm_up(lambda: list(draws()))
    facts = iteration.execution.plain() | {"compile_seconds": iteration.compile_seconds}
    iterate.facts = facts  # type: ignore[attr-defined]
    return iterate


def sampling(device: str, n: int = 1000) -> Callable[[], Any]:
    """n samples as uint8 images in memory, as a snapshot gives them to the measuring."""
    G, D = (
        network.to(device) for network in networks("script_dcgan", "nonsaturating", textbook=False)
    )
    snapshot = Snapshot(0, 0, 0.0, 0.0, None, {}, (1.0, 1.0), 0.0, False, None, G, D, small_cell())
    return lambda: snapshot.sample(n).cpu().numpy()


def batches(device: str, batch_size: int = 64) -> Callable[[], Any]:
    """A batch on the device."""
    data = resident("script_dcgan", device, batch_size)
    generator = torch.Generator(device)
    return lambda: data(generator, 0)
