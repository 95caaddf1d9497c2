"""Training of one cell, or of several seeds as one stack: a generator of snapshots. The training
clock stops while a snapshot is handed out."""

from collections.abc import Callable, Container, Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.machine.clock import synchronised_time
from benchmark.machine.memory import peak_memory_mb
from benchmark.matrix.cell import Cell
from benchmark.matrix.options import Training as Options
from benchmark.train.build import Workbench, open_workbench
from benchmark.train.cell_training import CellTraining
from benchmark.train.data import Draw, Resident, memory_format, open_batches, shown_by
from benchmark.train.execution.iteration import Iteration, StackRefused
from benchmark.train.execution.modes import resolve
from benchmark.train.inputs import Inputs, blurred, draw_inputs, num_d_steps
from benchmark.train.snapshot import CellState, Progress, Snapshot
from benchmark.train.step import set_precision


def never() -> bool:
    return False


def train(
    cell: Cell,
    device: str,
    state: CellState | None = None,
    pause: Callable[[], bool] = never,
    execution: str = "auto",
    bench: Workbench | None = None,
) -> Generator[Snapshot, None, None]:
    """Train one cell. Yields a snapshot at the start, at every log interval, when an evaluation is
    due, and when `pause`, called after every generator step, returns True; a snapshot of a pause
    has no row and no evaluation is due.

    From a snapshot's `state` the training first yields that snapshot again, then continues: eagerly
    on a CPU with the same numbers, bit for bit, as without the interruption. It ends with the
    budget, or with the snapshot whose `onset` is set. execution: one of modes.MODES, or auto (eager
    on a CPU, graphed on CUDA). bench: the opened variants of the cell. Errors of a variant pass
    through."""
    stack = train_stack([cell], device, [state], pause, execution, bench)
    del state  # or its tensors would count as training memory
    for (snapshot,) in stack:
        assert snapshot is not None
        yield snapshot
        del snapshot  # or its tensors would count as training memory


def train_stack(
    cells: Sequence[Cell],
    device: str,
    states: Sequence[CellState | None] = (),
    pause: Callable[[], bool] = never,
    execution: str = "auto",
    bench: Workbench | None = None,
    idle: Container[str] = (),
) -> Generator[list[Snapshot | None], None, None]:
    """Train cells that differ only in their seed as one stack, from states at the same generator
    step. Yields what `train` would yield for each of the cells, at the same moments; None for a
    cell that has diverged.

    idle: keys of cells that only keep their place, because float rounding depends on the number and
    the order of the seeds in a stack: they are trained as well, and None is what they yield. A
    cell ends on a CPU with the same numbers, bit for bit, whichever of the others are idle, and
    with those of its own run up to rounding. The clocks of a stack are divided by the number of its
    cells. Raises StackRefused, before the first snapshot, if the cells cannot be stacked."""
    options = cells[0].training
    set_precision(options.precision)
    bench = bench or open_workbench(cells[0])
    layout = memory_format(options)
    with open_batches(bench.dataset, options.batch_size, device, layout) as draw:
        if len(cells) > 1 and not isinstance(draw, Resident):
            raise StackRefused("the data does not lie on the device")
        if len(cells) > 1 and options.seconds:
            raise StackRefused("the budget is in seconds, which the cells of a stack share")
        training = Training(cells, bench, device, draw, pause, idle)
        training.start(list(states) or [None] * len(cells), resolve(execution, device))
        del states  # or their tensors would count as training memory
        yield from training.snapshots()


class Training:
    """One or several seeds of a cell, trained together. `snapshots` is the whole story."""

    iteration: Iteration

    def __init__(
        self,
        cells: Sequence[Cell],
        bench: Workbench,
        device: str,
        draw: Draw,
        pause: Callable[[], bool],
        idle: Container[str] = (),
    ) -> None:
        self._entered = synchronised_time(device)
        self.bench, self.device, self.pause = bench, device, pause
        self.options, self.evaluation = cells[0].training, cells[0].evaluation
        self.members = [
            CellTraining(cell, bench, device, is_live=cell.key not in idle) for cell in cells
        ]
        self.streams = [member.streams for member in self.members]
        self.draw = shown_by(self.members[0].D, draw)
        # Of these stay where they are: a batch of each is probed per log interval
        self.splits = bench.dataset.train(), bench.dataset.holdout()
        self.progress = Progress(evaluation_due=self.evaluation.schedule[0] == 0)

    def start(self, states: list[CellState | None], mode: str) -> None:
        """Restore the states, choose how to execute, and warm up: outside the training clock."""
        costs = self.members[0].count_costs(self.draw)
        former = next((state for state in states if state), None)
        execution = former.execution if former else None
        optimizers = []
        for member, state in zip(self.members, states, strict=True):
            if former is None:
                member.counters.forwards = costs.forwards
                continue
            # A cell that is idle goes on as a copy of another one
            state = state or former.shallow_copy()
            member.restore(state)
            self.progress = state.progress
            optimizers.append(state.optimizers)
        del former  # or its tensors would count as training memory
        networks = [(member.G, member.D) for member in self.members]
        precision, recipe = self.options.precision, self.bench.recipe
        self.iteration = Iteration(
            self.objective,
            networks,
            recipe,
            precision,
            mode,
            self.device,
            execution,
            by_term=costs.is_deep and self.bench.objective.has_terms,
        )
        if optimizers:
            self.iteration.load_states(optimizers)
        states.clear()  # or their tensors would count as training memory
        # Many steps before the first generator step show no more than one iteration
        usual = self.options.replaced(critic_pretrain=0)
        self.change_networks()
        self.iteration.warm_up(lambda: list(self.inputs(usual)))
        self._compile_seconds_counted = 0.0
        compile_seconds = self.iteration.compile_seconds
        warmed_up = synchronised_time(self.device) - self._entered - compile_seconds
        for member in self.members:
            member.counters.warmup_seconds += warmed_up / len(self.members)

    def snapshots(self) -> Iterator[list[Snapshot | None]]:
        """The snapshots of all cells, from now to the end of the budget."""
        while True:
            yield self.hand_out()
            if self.progress.share >= 1 or not self.live:
                return
            if self.advance():
                self.log()

    @property
    def live(self) -> list[CellTraining]:
        return [member for member in self.members if member.is_live]

    @property
    def objective(self) -> Any:
        """The objective, with its instance noise as it is now."""
        return blurred(self.bench.objective, self.options, self.progress.share)

    def change_networks(self) -> None:
        """Networks that change with the progress, as they are now."""
        for member in self.members:
            member.at(self.progress.share)

    def inputs(self, options: Options) -> Iterator[Inputs]:
        """What the steps of the next iteration take under the options of training."""
        latent_dim = self.members[0].G.latent_dim
        return draw_inputs(
            self.objective,
            self.streams,
            self.draw,
            self.progress.g_steps,
            latent_dim,
            options,
        )

    def hand_out(self) -> list[Snapshot | None]:
        """A snapshot of every cell that is live. A cell with an onset is live no longer."""
        self.change_networks()
        compile_seconds = self.iteration.compile_seconds - self._compile_seconds_counted
        self._compile_seconds_counted = self.iteration.compile_seconds
        snapshots: list[Snapshot | None] = []
        for member, optimizers in zip(self.members, self.iteration.states(), strict=True):
            member.counters.compile_seconds += compile_seconds / len(self.members)
            if not member.is_live:
                snapshots.append(None)
                continue
            member.is_live = member.counters.onset is None
            snapshots.append(
                Snapshot.of(
                    member.cell,
                    member.average or member.G,
                    member.D,
                    member.state(self.progress, optimizers, self.iteration.execution),
                )
            )
        return snapshots

    def advance(self) -> bool:
        """Train to the end of the log interval, to the next evaluation or to a pause: the only part
        that the training clock counts. Returns False for a pause."""
        target = self._next_evaluation()
        compile_seconds = self.iteration.compile_seconds
        started = synchronised_time(self.device)
        paused = False
        while not paused:
            self.step()
            if self.progress.g_steps % self.evaluation.log_every == 0:
                break
            if self.progress.share >= target:
                break
            paused = self.pause()
        seconds = synchronised_time(self.device) - started
        seconds -= self.iteration.compile_seconds - compile_seconds
        # Read before the probes, which are no part of the training
        peak = peak_memory_mb(self.device) + self.iteration.graph_memory_mb
        for member in self.members:
            member.counters.train_seconds += seconds / len(self.members)
            member.counters.peak_memory_mb = peak
            member.counters.row = None
            member.counters.first_steps = []
        self.progress.evaluation_due = False
        if not paused:
            self._update_share()
            self.progress.evaluation_due = self.progress.share >= target
        return not paused

    def step(self) -> None:
        """One iteration: the critic steps and the generator step."""
        progress, options = self.progress, self.options
        self.change_networks()
        if options.lr_decay == "linear":
            for optimizer, lr in zip(
                self.iteration.optimizers, self.bench.recipe.rates, strict=True
            ):
                set_lr(optimizer, lr * (1 - progress.share))
        rows = self.iteration(self.inputs(options)).view(len(self.members), -1)
        for member, row in zip(self.members, rows, strict=True):
            member.record_step(progress, row)
        d_steps = num_d_steps(self.bench.objective, options, progress.g_steps)
        progress.samples_seen += options.batch_size * d_steps
        progress.g_steps += 1
        self._update_share()

    def log(self) -> None:
        """Probe and log the interval that ends now, in the probe clock."""
        began = synchronised_time(self.device)
        self.iteration.hand_down_gradients()
        real, z = self.iteration.last.real, self.iteration.last.z
        if len(self.members) == 1:
            real, z = real.unsqueeze(0), z.unsqueeze(0)
        for index, member in enumerate(self.members):
            if member.is_live:
                latents = z[index][: self.options.batch_size]
                member.log(self.progress, real[index], latents, self.splits)
        self.progress.logged_at = self.progress.g_steps
        probe_seconds = synchronised_time(self.device) - began
        for member in self.members:
            member.counters.probe_seconds += probe_seconds / len(self.members)

    def _next_evaluation(self) -> float:
        later = [share for share in self.evaluation.schedule if share > self.progress.share]
        return min([*later, 1.0])

    def _update_share(self) -> None:
        progress, seconds = self.progress, self.members[0].counters.train_seconds
        progress.share = share_spent(self.options, progress.g_steps, progress.samples_seen, seconds)


def share_spent(options: Options, g_steps: int, samples_seen: int, seconds: float) -> float:
    """The share of the training budget that is spent: of generator steps, samples or seconds."""
    if options.steps:
        return g_steps / options.steps
    if options.samples:
        return samples_seen / options.samples
    assert options.seconds, "a matrix sets exactly one budget"
    return seconds / options.seconds


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            # A CUDA graph reads the tensor
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
