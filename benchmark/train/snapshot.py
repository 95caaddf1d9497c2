"""A snapshot: a training at one generator step, what it is resumed from, and its samples."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.matrix.cell import Cell
from benchmark.store.schema import Execution
from variants.objectives import full_precision

# The batch whose statistics batch norm uses in sampling; part of every protocol
SAMPLING_BATCH = 250


@dataclass
class Progress:
    """Where the training stands: the same for all cells of a stack."""

    g_steps: int = 0
    """Generator steps."""

    samples_seen: int = 0
    """Real samples passed through the critic."""

    share: float = 0.0
    """Share of the training budget that is spent."""

    logged_at: int = 0
    """Generator step at which the current log interval began."""

    evaluation_due: bool = False
    """Whether an evaluation is due now."""


@dataclass
class Counters:
    """What is counted and recorded of one cell during training."""

    train_seconds: float = 0.0
    """Training clock."""

    warmup_seconds: float = 0.0
    """Seconds of building and warming up, at the start and at every resume."""

    probe_seconds: float = 0.0
    """Seconds of the probes."""

    compile_seconds: float = 0.0
    """Seconds of tracing, compiling and capturing, at the start and at every resume."""

    peak_memory_mb: float = 0.0
    """Peak memory of the training in MiB since the counter was reset."""

    forwards: tuple[float, float] = (math.nan, math.nan)
    """Cost of a critic step and of a generator step in critic forward-equivalents."""

    onset: int | None = None
    """Generator step of the first loss that was not finite."""

    row: dict[str, float] | None = None
    """The log interval that ends now, as a row of steps.jsonl."""

    first_steps: list[dict[str, float]] = field(default_factory=list)
    """The steps of the log interval that ends now of which each is kept: rows of
    first_steps.jsonl."""

    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    """G and D → norm of the last gradient by parameter; empty at the start."""


@dataclass
class CellState:
    """What a training is resumed from, exactly: what a checkpoint holds."""

    progress: Progress
    counters: Counters

    trace: Tensor
    """Losses and gradient norms of every step of the current log interval (steps, 6)."""

    execution: Execution
    """How the training is executed."""

    networks: dict[str, dict[str, Any]]
    """generator, critic and, if the training keeps one, average → state_dict."""

    optimizers: list[dict[str, Any]]
    """State_dicts of the optimisers of generator and critic."""

    def shallow_copy(self) -> "CellState":
        """With progress, counters and execution of its own, and the same tensors."""
        return replace(
            self,
            progress=replace(self.progress),
            counters=replace(self.counters),
            execution=self.execution.model_copy(),
        )

    def plain(self) -> dict[str, Any]:
        """As tensors and plain values, which torch.load(weights_only=True) reads."""
        counters, progress = asdict(self.counters), asdict(self.progress)
        execution = self.execution.plain()
        return {
            **vars(self),
            "progress": progress,
            "counters": counters,
            "execution": execution,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "CellState":
        """The state that `plain` gave."""
        parts = {
            "progress": Progress(**plain["progress"]),
            "counters": Counters(**plain["counters"]),
            "execution": Execution.model_validate(plain["execution"]),
        }
        return cls(**(plain | parts))


@dataclass
class Snapshot:
    """A training at one generator step."""

    cell: Cell
    G: Any
    """The generator that samples: its moving average if the training keeps one."""

    D: nn.Module
    progress: Progress
    counters: Counters
    execution: Execution
    """How the training is executed."""

    state: CellState | None = None
    """What `train` resumes from; valid until the training moves on."""

    @classmethod
    def of(cls, cell: Cell, G: nn.Module, D: nn.Module, state: CellState) -> "Snapshot":
        """The snapshot of a state."""
        execution = state.execution.model_copy()
        return cls(cell, G, D, state.progress, state.counters, execution, state)

    @property
    def g_steps(self) -> int:
        return self.progress.g_steps

    @property
    def samples_seen(self) -> int:
        return self.progress.samples_seen

    @property
    def train_seconds(self) -> float:
        return self.counters.train_seconds

    @property
    def row(self) -> dict[str, float] | None:
        return self.counters.row

    @property
    def first_steps(self) -> list[dict[str, float]]:
        return self.counters.first_steps

    @property
    def layers(self) -> dict[str, dict[str, float]]:
        return self.counters.layers

    @property
    def onset(self) -> int | None:
        return self.counters.onset

    @property
    def evaluation_due(self) -> bool:
        """Whether this snapshot is to be measured: not after a loss that was not finite."""
        return self.progress.evaluation_due and self.onset is None

    @property
    def is_last(self) -> bool:
        """Whether the training ends with this snapshot."""
        return self.progress.share >= 1 or self.onset is not None

    def sample(self, n: int, stream: int | None = None) -> Tensor:
        """n samples on the device: images as uint8 (n, C, H, W), points as float32 (n, 2), text as
        uint8 codes (n, L), at every position the likeliest character, of equals the first.

        `stream` is the seed of the latents; the default is the stream that every evaluation of the
        cell uses, so that all snapshots of a seed are measured on the same latents. Samples are
        drawn in whole batches: fewer samples are the first of more. Batch norm normalises with the
        batch, or with its moving averages under sampling_statistics = "ema". Computed in float32,
        whatever the precision of the training. Raises FloatingPointError where the samples are not
        finite."""
        images = self.cell.dataset.params.get("range", "signed")
        return self._draw(n, stream, partial(_finished, images=images))

    def outputs(self, n: int, stream: int | None = None) -> Tensor:
        """What the generator gives for the n samples of `sample`, (n, *shape) float32: of text the
        probability of every character. Raises FloatingPointError as `sample` does."""
        return self._draw(n, stream, _unchanged)

    @torch.no_grad()
    def _draw(self, n: int, stream: int | None, finish: Callable[[Tensor], Tensor]) -> Tensor:
        """n outputs of the generator, finished batch by batch."""
        seed = self.cell.stream("evaluation") if stream is None else stream
        device = next(self.G.parameters()).device
        generator = torch.Generator(device).manual_seed(seed)
        seed_default(device.type, seed)
        z = torch.randn(
            -(-n // SAMPLING_BATCH),
            SAMPLING_BATCH,
            self.G.latent_dim,
            device=device,
            generator=generator,
        )
        # Of a generator that grows
        whole = getattr(self.G, "whole", _unchanged)
        self.G.train(self.cell.evaluation.sampling_statistics == "batch")
        try:
            with full_precision(z):
                batches = [finish(whole(_finite(self.G(latents)))) for latents in z]
            return torch.cat(batches)[:n].contiguous()
        finally:
            self.G.train()


def seed_default(device: str, seed: int) -> None:
    """Seed torch's default streams, for what draws by itself, as dropout does. Quicker than
    torch.manual_seed, which looks for every kind of device."""
    torch.default_generator.manual_seed(seed)
    if device.startswith("cuda"):
        torch.cuda.manual_seed(seed)


def _finite(samples: Tensor) -> Tensor:
    """The samples. Raises FloatingPointError where they are not finite."""
    if not samples.isfinite().all():
        raise FloatingPointError("the generated samples are not finite")
    return samples


def _unchanged(samples: Tensor) -> Tensor:
    return samples


def _finished(samples: Tensor, images: str) -> Tensor:
    """Outputs of a generator as samples. images: their range."""
    if samples.dim() == 4:
        return quantise(samples, images)
    if samples.dim() == 3:
        return samples.argmax(dim=2).to(torch.uint8)
    return samples


def quantise(samples: Tensor, images: str = "signed") -> Tensor:
    """Images in [−1, 1] (signed) or in [0, 1] (unit) as uint8, rounded to the nearest of 256
    levels."""
    levels = samples.mul(255) if images == "unit" else samples.add(1).mul(127.5)
    return levels.round().clamp(0, 255).to(torch.uint8)
