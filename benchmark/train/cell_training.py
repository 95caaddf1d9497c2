"""What belongs to one cell of a training: networks, random streams, trace and counters."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.matrix.cell import Cell, stream_seed
from benchmark.matrix.options import Training
from benchmark.store.schema import Execution
from benchmark.train.build import Workbench, make_networks
from benchmark.train.data import Draw, draw_index, floats_of, memory_format
from benchmark.train.flops import Costs, count_costs
from benchmark.train.inputs import Inputs, Streams, blurred
from benchmark.train.optimizers import make_optimizers
from benchmark.train.probes import PROBES, Probes, layer_norms, probe
from benchmark.train.snapshot import CellState, Counters, Progress
from benchmark.train.step import CRITIC, GENERATOR

TRACE = (*CRITIC, *GENERATOR)
# Generator steps whose losses and norms are kept one by one: changed numbers part early, and what
# rounding makes of a run is still small
FIRST_STEPS = (1, 2, 3, 5, 10, 20, 50, 100)


class CellTraining:
    """What belongs to one cell of a training: networks, random streams, trace and counters."""

    def __init__(self, cell: Cell, bench: Workbench, device: str, is_live: bool = True) -> None:
        """is_live: whether snapshots of the cell are handed out."""
        layout = memory_format(cell.training)
        G, D = make_networks(cell, bench.dataset.shape)
        self.cell, self.bench, self.options = cell, bench, cell.training
        self.G: Any = G.to(device).to(memory_format=layout)
        self.D: nn.Module = D.to(device).to(memory_format=layout)
        self.average: nn.Module | None = None
        if self.options.ema:
            self.average = copy.deepcopy(self.G).requires_grad_(False)
        self.streams = Streams(cell.stream("steps"), torch.Generator(device))
        # The losses and norms of every step since the last log
        self.trace = torch.empty(cell.evaluation.log_every, len(TRACE), device=device)
        self.counters = Counters()
        # Not for a cell that only keeps its place in a stack, nor after a snapshot with an onset
        self.is_live = is_live

    @property
    def networks(self) -> dict[str, nn.Module]:
        found = {"generator": self.G, "critic": self.D}
        if self.average is not None:
            found["average"] = self.average
        return found

    def at(self, share: float) -> None:
        """Networks that change with the share of the budget, as they are now."""
        for network in self.networks.values():
            change = getattr(network, "at", None)
            if change is not None:
                change(share)

    def count_costs(self, draw: Draw) -> Costs:
        """The costs of a critic step and of a generator step. Takes both steps on copies, which
        also warms up the allocator and lazy imports."""
        G: Any = copy.deepcopy(self.G)
        D = copy.deepcopy(self.D)
        seed, generator = stream_seed(self.streams.base, 0, 0), self.streams.generator
        real = draw(generator.manual_seed(seed), seed)
        batch_size = self.options.batch_size
        z = torch.randn(batch_size, G.latent_dim, device=real.device, generator=generator)
        objective = blurred(self.bench.objective, self.options, share=0.0)
        recipe = self.bench.recipe
        inputs = Inputs(real, z, objective.draw(real, generator))
        generator_z = z
        if self.options.generator_latents == "fresh":
            generator_z = z.repeat(self.options.generator_batch_multiple, 1)
        return count_costs(
            objective,
            (G, D),
            make_optimizers(recipe, (G, D)),
            inputs,
            inputs._replace(z=generator_z),
            self.options.precision,
        )

    def restore(self, state: CellState) -> None:
        """Networks, trace and counters as they were."""
        for name, network in self.networks.items():
            network.load_state_dict(state.networks[name])
        self.trace[: len(state.trace)] = state.trace
        self.counters = state.counters

    def state(
        self, progress: Progress, optimizers: list[dict[str, Any]], execution: Execution
    ) -> CellState:
        """What the training can be resumed from. The tensors are those of the training."""
        networks = {name: network.state_dict() for name, network in self.networks.items()}
        trace = self.trace[: progress.g_steps - progress.logged_at]
        state = CellState(progress, self.counters, trace, execution, networks, optimizers)
        return state.shallow_copy()

    def record_step(self, progress: Progress, row: Tensor) -> None:
        """After generator step `progress.g_steps` (0, 1, …): move the average of the generator,
        keep the row (TRACE,)."""
        if self.average is not None:
            decay = average_decay(self.options, progress.g_steps)
            move_average(self.average, self.G, decay)
        self.trace[progress.g_steps - progress.logged_at] = row

    def log(
        self, progress: Progress, real: Tensor, z: Tensor, splits: tuple[Tensor, Tensor]
    ) -> None:
        """Fill row, first steps, layers and onset from the log interval that ends now, with one
        copy from the device. real (batch, *shape) is the batch of the last critic step, z (batch,
        latent_dim) latents; the probes also see fresh batches of both splits."""
        num_steps = progress.g_steps - progress.logged_at
        probes = self._probe(progress, real, z, splits)
        norms = {"G": layer_norms(self.G), "D": layer_norms(self.D)}
        parts = [self.trace[:num_steps].flatten(), torch.stack(probes)]
        for by_layer in norms.values():
            parts.append(torch.stack(list(by_layer.values())))
        copied = torch.cat(parts).cpu().split([len(part) for part in parts])
        trace, probed, *layers = (part.tolist() for part in copied)
        self.counters.layers = {
            role: dict(zip(by_layer, values, strict=True))
            for (role, by_layer), values in zip(norms.items(), layers, strict=True)
        }
        columns = {name: trace[i :: len(TRACE)] for i, name in enumerate(TRACE)}
        first_bad = first_not_finite(columns["d_loss"], columns["g_loss"])
        if first_bad is not None:
            self.counters.onset = progress.logged_at + first_bad + 1
        self.counters.first_steps = first_steps(columns, progress.logged_at)
        row = {"g_step": progress.g_steps, "samples_seen": progress.samples_seen}
        means = {name: sum(column) / num_steps for name, column in columns.items()}
        self.counters.row = row | means | dict(zip(PROBES, probed, strict=True))

    def _probe(
        self, progress: Progress, real: Tensor, z: Tensor, splits: tuple[Tensor, Tensor]
    ) -> Probes:
        to_floats = floats_of(self.bench.dataset, memory_format(self.options))
        shown = getattr(self.D, "shown", Tensor.float)
        base, generator = self.streams.base, self.streams.generator
        # A stream of its own, on the CPU: the splits may lie there
        split_stream = torch.Generator().manual_seed(stream_seed(base, progress.g_steps, "splits"))
        batches = []
        for split in splits:
            index = draw_index(len(split), self.options.batch_size, split_stream)
            batches.append(shown(to_floats(split[index].to(self.trace.device))))
        generator.manual_seed(stream_seed(base, progress.g_steps, "probe"))
        fresh, held = batches
        objective = blurred(self.bench.objective, self.options, progress.share)
        return probe(objective, self.G, self.D, real, (fresh, held), z, generator)


def first_steps(columns: dict[str, list[float]], logged_at: int) -> list[dict[str, float]]:
    """The rows of FIRST_STEPS in the log interval that begins after generator step `logged_at`."""
    num_steps = len(columns["d_loss"])
    rows = []
    for g_step in FIRST_STEPS:
        index = g_step - logged_at - 1
        if 0 <= index < num_steps:
            values = {name: column[index] for name, column in columns.items()}
            rows.append({"g_step": g_step, **values})
    return rows


def first_not_finite(*columns: list[float]) -> int | None:
    """The first index at which one of the columns is not finite."""
    for index, values in enumerate(zip(*columns, strict=True)):
        if not all(math.isfinite(value) for value in values):
            return index
    return None


def average_decay(options: Training, g_step: int) -> float:
    """The decay of the generator's moving average after generator step `g_step` (0, 1, …)."""
    if not options.ema_warmup:
        return options.ema
    return min(options.ema, (1 + g_step) / (10 + g_step))


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average = decay · average + (1 − decay) · network, parameter by parameter; buffers (the
    moving averages of batch norm) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for mean, now in zip(average.buffers(), network.buffers(), strict=True):
        mean.copy_(now)
