"""Cells: a generator of snapshots of one, or of several seeds trained as a stack. The training
clock stands still while a snapshot is out."""

import copy
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.machine.clock import synchronised_time
from benchmark.machine.memory import peak_memory_mb
from benchmark.matrix.cell import Cell, stream_seed
from benchmark.matrix.options import Training
from benchmark.train.build import make_networks, make_objective, make_recipe
from benchmark.train.data import (
    Draw,
    Resident,
    as_floats,
    draw_index,
    make_dataset,
    memory_format,
    open_batches,
)
from benchmark.train.execution.iteration import Iteration, StackRefused
from benchmark.train.execution.modes import resolve
from benchmark.train.flops import count_forwards
from benchmark.train.inputs import Streams, draw_inputs
from benchmark.train.probes import PROBES, layer_norms, probe
from benchmark.train.snapshot import Snapshot, State
from benchmark.train.step import CRITIC, GENERATOR, make_optimizer, set_precision

TRACE = (*CRITIC, *GENERATOR)


@dataclass
class Run:
    """What of a training is one cell's own."""

    cell: Cell
    G: Any
    D: nn.Module
    average: nn.Module | None  # the generator's moving average, where the training keeps one
    streams: Streams
    trace: Tensor  # of every step since the last log, (log_every, TRACE)
    seconds: float = 0.0
    row: dict[str, float] | None = None
    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    forwards: tuple[float, float] = (math.nan, math.nan)
    peak: float = 0.0
    onset: int | None = None
    clocks: list[float] = field(default_factory=lambda: [0.0, 0.0])  # warm-up, probes
    compiling: float = 0.0
    out: bool = True  # whether its snapshots are handed out: not after the one with the onset


def train(
    cell: Cell,
    device: str,
    state: State | None = None,
    pause: Callable[[], bool] = lambda: False,
    execution: str = "auto",
) -> Generator[Snapshot, None, None]:
    """Train one cell, yielding a snapshot at the start, at every log interval, when an evaluation
    is due, and where `pause`, asked after every generator step, says so: such a snapshot has no row
    and is not due.

    Given a snapshot's `state`, it begins by yielding that snapshot again and goes on from there:
    eagerly on a CPU with the same numbers, bit for bit, as if it had never ended. Ends with the
    budget, or with the snapshot whose `onset` is set. execution is one of stacking.MODES, or auto:
    eager on a CPU, graphed on CUDA. What a variant raises passes through."""
    for (snapshot,) in train_stack([cell], device, [state], pause, execution):
        assert snapshot is not None
        yield snapshot
        del snapshot  # its tensors are no part of what the training takes


def train_stack(
    cells: Sequence[Cell],
    device: str,
    states: Sequence[State | None] = (),
    pause: Callable[[], bool] = lambda: False,
    execution: str = "auto",
) -> Generator[list[Snapshot | None], None, None]:
    """Train cells that differ in their seed alone as one stack, from states at the same generator
    step: what `train` yields for each of them, at the same moments; None for one that has diverged
    before. Every cell's numbers are those of its own run to float rounding; a stack's clocks are
    divided by its cells. Raises StackRefused, before anything is yielded, where that cannot be."""
    options = cells[0].training
    set_precision(options.precision)
    mode = resolve(execution, device)
    with open_batches(cells[0].dataset, options.batch_size, device, memory_format(options)) as draw:
        if len(cells) > 1 and not isinstance(draw, Resident):
            raise StackRefused("the data does not lie on the device")
        if len(cells) > 1 and options.seconds:
            raise StackRefused("the budget is in seconds, which a stack's cells share")
        snapshots = _train(cells, device, draw, list(states) or [None] * len(cells), pause, mode)
        del states  # their tensors are no part of what the training takes
        yield from snapshots


def _train(
    cells: Sequence[Cell],
    device: str,
    draw: Draw,
    states: list[State | None],
    pause: Callable[[], bool],
    mode: str,
) -> Generator[list[Snapshot | None], None, None]:
    cell, num, entered = cells[0], len(cells), synchronised_time(device)
    options, log_every = cell.training, cell.evaluation.log_every
    batch_size, layout = options.batch_size, memory_format(options)

    # Build
    objective, recipe = make_objective(cell.objective), make_recipe(cell)
    runs = []
    for each in cells:
        G, D = (network.to(device).to(memory_format=layout) for network in make_networks(each))
        average = copy.deepcopy(G).requires_grad_(False) if options.ema else None
        trace = torch.empty(log_every, len(TRACE), device=device)
        runs.append(
            Run(each, G, D, average, Streams(each.stream("steps"), torch.Generator(device)), trace)
        )
    streams = [run.streams for run in runs]
    dataset = make_dataset(cell.dataset)
    splits = (
        dataset.train(),
        dataset.holdout(),
    )  # stay where they are: a batch of each is looked at per log interval

    # Warm up on copies: allocator, autotuning and lazy imports stay out of the training clock.
    # Count the cost there
    forwards = _count(objective, recipe, runs[0], draw, options)
    for run in runs:
        run.forwards = forwards

    g_step, first, samples_seen, progress = 0, 0, 0, 0.0  # the trace begins at `first`
    due = cell.evaluation.schedule[0] == 0

    # Continue where a state was taken
    for run, state in zip(runs, states, strict=True):
        if state is not None:
            networks = [run.G, run.D, *([run.average] if run.average else [])]
            for network, saved in zip(networks, state["parts"], strict=False):
                network.load_state_dict(saved)
            (g_step, samples_seen, progress, *own), first = state["at"]
            run.seconds, run.row, run.layers, run.forwards, run.peak, due, run.onset = own
            *run.clocks, run.compiling = state["clocks"]
            run.trace[: len(state["trace"])] = state["trace"]
    iteration = Iteration(
        objective, [(run.G, run.D) for run in runs], recipe, options.precision, mode, device
    )
    if states[0] is not None:
        iteration.load_states([state["parts"][-2:] for state in states if state is not None])
    iteration.warm_up(
        lambda: list(draw_inputs(objective, streams, draw, g_step, runs[0].G.latent_dim, options))
    )
    del states
    warmed = synchronised_time(device) - entered - iteration.compile_seconds
    for run in runs:
        run.clocks[0] += warmed / num
    counted = 0.0  # of the seconds of compiling and capturing

    while True:
        # Hand out a snapshot
        spent, counted = iteration.compile_seconds - counted, iteration.compile_seconds
        optimizers = iteration.states()
        snapshots: list[Snapshot | None] = []
        for index, run in enumerate(runs):
            run.compiling += spent / num
            if not run.out:
                snapshots.append(None)
                continue
            own = (
                run.seconds,
                run.row,
                run.layers,
                run.forwards,
                run.peak,
                due and run.onset is None,
                run.onset,
            )
            at = (g_step, samples_seen, progress, *own)
            clocks = (run.clocks[0], run.clocks[1], run.compiling)
            state = {"at": (at, first), "clocks": clocks, "trace": run.trace[: g_step - first]}
            networks = [run.G, run.D, *([run.average] if run.average else [])]
            state["parts"] = [*(network.state_dict() for network in networks), *optimizers[index]]
            average = run.average or run.G
            snapshots.append(
                Snapshot(*at, average, run.D, run.cell, *clocks, iteration.facts(), state)
            )
            run.out = run.onset is None
        del state, optimizers
        yield snapshots
        del snapshots
        if progress >= 1 or not any(run.out for run in runs):
            return

        # Train to the end of a log interval, to where an evaluation is due, or to a pause
        target = min(share for share in [*cell.evaluation.schedule, 1.0] if share > progress)
        before = iteration.compile_seconds
        started, paused = synchronised_time(device), False
        while not paused:
            if options.lr_decay == "linear":
                set_lr(iteration.optimizers, recipe.lr * (1 - progress))
            rows = iteration(
                draw_inputs(objective, streams, draw, g_step, runs[0].G.latent_dim, options)
            ).view(num, -1)
            for run, row in zip(runs, rows, strict=True):
                if run.average is not None:
                    move_average(run.average, run.G, options.ema)
                run.trace[g_step - first] = row
            samples_seen += batch_size * objective.d_steps(g_step)
            g_step += 1
            progress = share_spent(options, g_step, samples_seen, runs[0].seconds)
            if g_step % log_every == 0 or progress >= target:
                break
            paused = pause()
        ended = synchronised_time(device)
        due = False
        peak = (
            peak_memory_mb(device) + iteration.graph_memory_mb
        )  # before the probes, which are no part of the training
        for run in runs:
            run.seconds += (ended - started - (iteration.compile_seconds - before)) / num
            run.peak, run.row = peak, None
        if paused:
            continue
        progress = share_spent(options, g_step, samples_seen, runs[0].seconds)

        # Log
        iteration.hand_down_gradients()
        real, z = (
            t.unsqueeze(0) if num == 1 else t for t in (iteration.last.real, iteration.last.z)
        )
        for index, run in enumerate(runs):
            if run.out:
                batch = real[index], z[index][:batch_size]
                _log(run, objective, splits, *batch, g_step, g_step - first, samples_seen, options)
        first, due = g_step, progress >= target
        probed = (synchronised_time(device) - ended) / num
        for run in runs:
            run.clocks[1] += probed


def _count(
    objective: Any, recipe: Any, run: Run, draw: Draw, options: Training
) -> tuple[float, float]:
    """What a critic step and a generator step cost, by taking each on copies."""
    copies: list[Any] = [copy.deepcopy(network) for network in (run.G, run.D)]
    G, D = copies
    seed = stream_seed(run.streams.base, 0, 0)
    real = draw(run.streams.generator.manual_seed(seed), seed)
    z = torch.randn(
        options.batch_size, G.latent_dim, device=real.device, generator=run.streams.generator
    )
    return count_forwards(
        objective,
        G,
        D,
        [make_optimizer(recipe, network) for network in copies],
        real,
        (z, z.repeat(options.generator_batch_multiple, 1)),
        objective.draw(real, run.streams.generator),
        options.precision,
    )


def _log(
    run: Run,
    objective: Any,
    splits: tuple[Tensor, Tensor],
    real: Tensor,
    z: Tensor,
    g_step: int,
    steps: int,
    samples_seen: int,
    options: Training,
) -> None:
    """Log the `steps` iterations up to generator step g_step, in one copy from the device: the
    cell's row, its layers and its onset. The probes see fresh batches of both splits, the batch of
    the last critic step, and latents."""
    device, batch_size = run.trace.device, options.batch_size
    apart = torch.Generator().manual_seed(stream_seed(run.streams.base, g_step, "splits"))
    fresh, held = (
        as_floats(
            split[draw_index(len(split), batch_size, apart)].to(device), memory_format(options)
        )
        for split in splits
    )
    run.streams.generator.manual_seed(stream_seed(run.streams.base, g_step, "probe"))
    probes = probe(objective, run.G, run.D, real, (fresh, held), z, run.streams.generator)
    norms = {"G": layer_norms(run.G), "D": layer_norms(run.D)}
    parts = [
        run.trace[:steps].flatten(),
        *map(torch.stack, (probes, *(list(of.values()) for of in norms.values()))),
    ]
    taken, probed, *normed = (
        part.tolist() for part in torch.cat(parts).cpu().split(list(map(len, parts)))
    )
    run.layers = {
        role: dict(zip(norms[role], of, strict=True))
        for role, of in zip(norms, normed, strict=True)
    }
    columns = {name: taken[i :: len(TRACE)] for i, name in enumerate(TRACE)}
    losses = zip(columns["d_loss"], columns["g_loss"], strict=True)
    bad = [i for i, pair in enumerate(losses) if not all(map(math.isfinite, pair))]
    run.onset = g_step - steps + bad[0] + 1 if bad else None
    run.row = {"g_step": g_step, "samples_seen": samples_seen}
    run.row |= {name: sum(column) / steps for name, column in columns.items()}
    run.row |= dict(zip(PROBES, probed, strict=True))


def share_spent(options: Training, g_steps: int, samples_seen: int, seconds: float) -> float:
    """How much of the budget is spent: of generator steps, of samples seen, or of training
    seconds."""
    for spent, budget in ((g_steps, "steps"), (samples_seen, "samples"), (seconds, "seconds")):
        if getattr(options, budget):
            return spent / getattr(options, budget)
    raise AssertionError("a matrix sets exactly one budget")


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average = decay · average + (1 − decay) · network, parameter by parameter; buffers (batch
    norm's own moving averages) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for mean, now in zip(average.buffers(), network.buffers(), strict=True):
        mean.copy_(now)


def set_lr(optimizers: list[torch.optim.Optimizer], lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # where a CUDA graph reads it
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
