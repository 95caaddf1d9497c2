"""One cell: a generator of snapshots. The training clock stands still while a snapshot is out."""

import copy
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import variants
from benchmark.batches import Draw, as_floats, draw_index, make_dataset, memory_format, open_batches
from benchmark.cell import Cell, Choice, stream_seed
from benchmark.memory import peak_memory_mb
from benchmark.probes import PROBES, layer_norms, probe
from benchmark.step import (
    CRITIC,
    GENERATOR,
    count_forwards,
    critic_step,
    generator_step,
    make_optimizer,
    set_precision,
)
from variants.architectures import build, initialise
from variants.objectives import RECIPE, Recipe, full_precision

State = dict[str, Any]  # tensors and plain values, as torch.load(weights_only=True) takes them
TRACE = (*CRITIC, *GENERATOR)
SAMPLING_BATCH = 250  # the batch whose statistics batch norm uses in sampling; part of every protocol


@dataclass
class Snapshot:
    """A run at one generator step."""

    g_steps: int
    samples_seen: int  # real samples passed through the critic
    progress: float  # share of the budget
    train_seconds: float
    row: dict[str, float] | None  # the log interval that ends here, a row of steps.jsonl
    layers: dict[str, dict[str, float]]  # "G", "D" -> the last gradient's norm by parameter; empty at the start
    forwards: tuple[float, float]  # what a critic and a generator step cost, in critic forward-equivalents
    peak_memory_mb: float  # of the training since the counter was reset
    due: bool  # an evaluation is due
    onset: int | None  # the generator step whose loss was the first that is not finite
    G: Any  # the generator that samples: its moving average where the training keeps one
    D: nn.Module
    cell: Cell
    warmup_seconds: float = 0.0  # building and warming up, at the start and at every resume
    probe_seconds: float = 0.0
    state: State | None = None  # what `train` continues from, exactly; valid while the snapshot is out

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n samples (n, *shape) on the device, images as uint8: the same latents at every snapshot of a seed, in whole
        batches, so that fewer samples are the first of more. Batch norm normalises with the batch, or with its moving
        averages under sampling_statistics = "ema". In float32, whatever the training's precision. Raises
        FloatingPointError where they are not finite."""
        device = next(self.G.parameters()).device
        generator = torch.Generator(device).manual_seed(self.cell.stream("evaluation"))
        seed_default(device.type, self.cell.stream("evaluation"))
        z = torch.randn(-(-n // SAMPLING_BATCH), SAMPLING_BATCH, self.G.latent_dim, device=device, generator=generator)
        self.G.train(self.cell.evaluation["sampling_statistics"] == "batch")
        try:
            with full_precision(z):
                return torch.cat([_finished(self.G(batch)) for batch in z])[:n].contiguous()
        finally:
            self.G.train()


def train(
    cell: Cell, device: str, state: State | None = None, pause: Callable[[], bool] = lambda: False
) -> Generator[Snapshot, None, None]:
    """Train one cell, yielding a snapshot at the start, at every log interval, when an evaluation is due, and where
    `pause`, asked after every generator step, says so: such a snapshot has no row and is not due.

    Given a snapshot's `state`, it begins by yielding that snapshot again and goes on from there: on a CPU with the same
    numbers, bit for bit, as if it had never ended. Ends with the budget, or with the snapshot whose `onset` is set.
    What a variant raises passes through."""
    set_precision(cell.training["precision"])
    with open_batches(cell.dataset, cell.training["batch_size"], device, memory_format(cell.training)) as draw:
        snapshots = _train(cell, device, draw, state, pause)
        del state  # its tensors are no part of what the training takes
        yield from snapshots


def _train(
    cell: Cell, device: str, draw: Draw, state: State | None, pause: Callable[[], bool]
) -> Generator[Snapshot, None, None]:
    options, entered = cell.training, synchronised_time(device)
    batch_size, log_every = options["batch_size"], cell.evaluation["log_every"]

    # Build
    objective, recipe = make_objective(cell.objective), make_recipe(cell)
    G, D = (network.to(device).to(memory_format=memory_format(options)) for network in make_networks(cell))
    optimizers = [make_optimizer(recipe, network) for network in (G, D)]
    average = copy.deepcopy(G).requires_grad_(False) if options["ema"] else None
    dataset = make_dataset(cell.dataset)
    splits = dataset.train(), dataset.holdout()  # stay where they are: a batch of each is looked at per log interval
    generator = torch.Generator(device)
    base = cell.stream("steps")

    def iterate(g_step: int, G: Any, D: Any, optimizers: list[torch.optim.Optimizer]) -> tuple[Tensor, ...]:
        """The critic steps and the generator step of one iteration: last real batch and latents, what both returned."""
        seed_default(device, stream_seed(base, g_step, "default"))
        d_steps = objective.d_steps(g_step)
        for d_step in range(d_steps):
            generator.manual_seed(stream_seed(base, g_step, d_step))
            following = (g_step, d_step + 1) if d_step + 1 < d_steps else (g_step + 1, 0)
            real = draw(generator, stream_seed(base, *following))
            z = torch.randn(batch_size, G.latent_dim, device=device, generator=generator)
            noise = objective.draw(real, generator)
            critic = critic_step(objective, G, D, optimizers[1], real, z, noise, options["precision"])
        generator.manual_seed(stream_seed(base, g_step, "generator"))
        z = torch.randn(
            batch_size * options["generator_batch_multiple"], G.latent_dim, device=device, generator=generator
        )
        noise = objective.draw(real, generator)
        return real, z, critic, generator_step(objective, G, D, optimizers[0], real, z, noise, options["precision"])

    # Warm up on copies: allocator, autotuning and lazy imports stay out of the training clock. Count the cost there
    copies: list[Any] = [copy.deepcopy(network) for network in (G, D)]
    seed = stream_seed(base, 0, 0)
    real = draw(generator.manual_seed(seed), seed)
    z = torch.randn(batch_size, copies[0].latent_dim, device=device, generator=generator)
    forwards = count_forwards(
        objective,
        copies[0],
        copies[1],
        [make_optimizer(recipe, network) for network in copies],
        real,
        (z, z.repeat(options["generator_batch_multiple"], 1)),
        objective.draw(real, generator),
        options["precision"],
    )
    del copies

    g_step, first, samples_seen, seconds, progress, peak = 0, 0, 0, 0.0, 0.0, 0.0
    trace = torch.empty(log_every, len(TRACE), device=device)  # of every step since `first`, where the last copy ended
    row: dict[str, float] | None = None
    layers: dict[str, dict[str, float]] = {}
    onset: int | None = None
    due, probing, warmup = cell.evaluation["schedule"][0] == 0, 0.0, 0.0
    stateful: list[Any] = [G, D, *optimizers, *([average] if average else [])]

    # Continue where a state was taken
    if state is not None:
        for part, saved in zip(stateful, state["parts"], strict=True):
            part.load_state_dict(saved)
        (g_step, samples_seen, progress, seconds, row, layers, forwards, peak, due, onset), first = state["at"]
        warmup, probing = state["clocks"]
        trace[: len(state["trace"])] = state["trace"]
    warmup += synchronised_time(device) - entered

    while True:
        # Hand out a snapshot
        at = (g_step, samples_seen, progress, seconds, row, layers, forwards, peak, due, onset)
        state = {"at": (at, first), "clocks": (warmup, probing), "trace": trace[: g_step - first]}
        state["parts"] = [part.state_dict() for part in stateful]
        yield Snapshot(*at, average or G, D, cell, warmup, probing, state)
        if onset is not None or progress >= 1:
            return

        # Train to the end of a log interval, to where an evaluation is due, or to a pause
        target = min(share for share in [*cell.evaluation["schedule"], 1.0] if share > progress)
        started, paused = synchronised_time(device), False
        while not paused:
            if options["lr_decay"] == "linear":
                set_lr(optimizers, recipe.lr * (1 - progress))
            real, z, *returned = iterate(g_step, G, D, optimizers)
            if average is not None:
                move_average(average, G, options["ema"])
            torch.cat(returned, out=trace[g_step - first])
            samples_seen += batch_size * objective.d_steps(g_step)
            g_step += 1
            progress = share_spent(options, g_step, samples_seen, seconds)
            if g_step % log_every == 0 or progress >= target:
                break
            paused = pause()
        ended = synchronised_time(device)
        seconds += ended - started
        peak = peak_memory_mb(device)  # before the probes, which are no part of the training
        row, due = None, False
        if paused:
            continue
        progress = share_spent(options, g_step, samples_seen, seconds)

        # Log, in one copy from the device
        apart = torch.Generator().manual_seed(stream_seed(base, g_step, "splits"))
        fresh, held = (
            as_floats(split[draw_index(len(split), batch_size, apart)].to(device), memory_format(options))
            for split in splits
        )
        generator.manual_seed(stream_seed(base, g_step, "probe"))
        probes = probe(objective, G, D, real, (fresh, held), z[:batch_size], generator)
        norms = {"G": layer_norms(G), "D": layer_norms(D)}
        steps = g_step - first
        parts = [trace[:steps].flatten(), *map(torch.stack, (probes, *(list(of.values()) for of in norms.values())))]
        taken, probed, *normed = (part.tolist() for part in torch.cat(parts).cpu().split(list(map(len, parts))))
        layers = {role: dict(zip(norms[role], of, strict=True)) for role, of in zip(norms, normed, strict=True)}
        columns = {name: taken[i :: len(TRACE)] for i, name in enumerate(TRACE)}
        losses = zip(columns["d_loss"], columns["g_loss"], strict=True)
        bad = [i for i, pair in enumerate(losses) if not all(map(math.isfinite, pair))]
        onset = first + bad[0] + 1 if bad else None
        row = {"g_step": g_step, "samples_seen": samples_seen}
        row |= {name: sum(column) / steps for name, column in columns.items()}
        row |= dict(zip(PROBES, probed, strict=True))
        first, due = g_step, progress >= target and onset is None
        probing += synchronised_time(device) - ended


def seed_default(device: str, seed: int) -> None:
    """Seed torch's default streams, for what draws by itself, as dropout does. Quicker than torch.manual_seed, which
    looks for every kind of device."""
    torch.default_generator.manual_seed(seed)
    if device.startswith("cuda"):
        torch.cuda.manual_seed(seed)


def share_spent(options: dict[str, Any], g_steps: int, samples_seen: int, seconds: float) -> float:
    """How much of the budget is spent: of generator steps, of samples seen, or of training seconds."""
    for spent, budget in ((g_steps, "steps"), (samples_seen, "samples"), (seconds, "seconds")):
        if options[budget]:
            return spent / options[budget]
    raise AssertionError("a matrix sets exactly one budget")


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average = decay · average + (1 − decay) · network, parameter by parameter; buffers (batch norm's own moving
    averages) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for mean, now in zip(average.buffers(), network.buffers(), strict=True):
        mean.copy_(now)


def set_lr(optimizers: list[torch.optim.Optimizer], lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr


def synchronised_time(device: str) -> float:
    """A monotonic clock in seconds, read once the device has finished its work."""
    if device != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


# From a cell's words to objects


def make_objective(choice: Choice) -> Any:
    """The objective with its parameters set, but for those of its optimiser. Raises ValueError for a combination it
    refuses."""
    params = {key: value for key, value in choice.params.items() if key not in RECIPE}
    return variants.load("objectives", choice.name).Objective(**params)


def make_networks(cell: Cell) -> tuple[nn.Module, nn.Module]:
    """Generator and critic with their initial weights, drawn by (network, parameter name)."""
    with torch.random.fork_rng(devices=[]):  # for layers that bring no initial standard deviation of their own
        torch.manual_seed(cell.stream("weights"))
        networks = build(cell.architecture, make_dataset(cell.dataset).shape, cell.norm)
    for role, network in zip(("generator", "critic"), networks, strict=True):
        initialise(network, partial(cell.stream, role))
    return networks


def make_recipe(cell: Cell) -> Recipe:
    """The optimiser of a cell: under recipe="paper" its objective's, as far as the matrix does not set it for that
    objective; else the one the matrix gives to all."""
    if cell.training["recipe"] != "paper":
        return Recipe(**cell.training["recipe"])
    own = {key: value for key, value in cell.objective.params.items() if key in RECIPE}
    return replace(make_objective(cell.objective).recipe, **own)


def _finished(samples: Tensor) -> Tensor:
    """Samples as they are measured. Raises FloatingPointError where they are not finite."""
    if not samples.isfinite().all():
        raise FloatingPointError("the generated samples are not finite")
    return quantise(samples) if samples.dim() == 4 else samples


def quantise(images: Tensor) -> Tensor:
    """Images in [−1, 1] as uint8, rounded to the nearest of 256 levels."""
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
