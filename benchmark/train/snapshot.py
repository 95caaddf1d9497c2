"""What training hands out: a run at one generator step, and the samples it generates there."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.matrix.cell import Cell
from variants.objectives import full_precision

State = dict[str, Any]  # tensors and plain values, as torch.load(weights_only=True) takes them
SAMPLING_BATCH = (
    250  # the batch whose statistics batch norm uses in sampling; part of every protocol
)


@dataclass
class Snapshot:
    """A run at one generator step."""

    g_steps: int
    samples_seen: int  # real samples passed through the critic
    progress: float  # share of the budget
    train_seconds: float
    row: dict[str, float] | None  # the log interval that ends here, a row of steps.jsonl
    layers: dict[
        str, dict[str, float]
    ]  # "G", "D" -> the last gradient's norm by parameter; empty at the start
    forwards: tuple[
        float, float
    ]  # what a critic and a generator step cost, in critic forward-equivalents
    peak_memory_mb: float  # of the training since the counter was reset
    due: bool  # an evaluation is due
    onset: int | None  # the generator step whose loss was the first that is not finite
    G: Any  # the generator that samples: its moving average where the training keeps one
    D: nn.Module
    cell: Cell
    warmup_seconds: float = 0.0  # building and warming up, at the start and at every resume
    probe_seconds: float = 0.0
    compile_seconds: float = 0.0  # compiling and capturing, likewise
    execution: dict[str, Any] = field(default_factory=dict)  # how: see iteration.Execution
    state: State | None = (
        None  # what `train` continues from, exactly; valid while the snapshot is out
    )

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n samples (n, *shape) on the device, images as uint8: the same latents at every snapshot
        of a seed, in whole batches, so that fewer samples are the first of more. Batch norm
        normalises with the batch, or with its moving averages under sampling_statistics = "ema". In
        float32, whatever the training's precision. Raises FloatingPointError where they are not
        finite."""
        device = next(self.G.parameters()).device
        generator = torch.Generator(device).manual_seed(self.cell.stream("evaluation"))
        seed_default(device.type, self.cell.stream("evaluation"))
        z = torch.randn(
            -(-n // SAMPLING_BATCH),
            SAMPLING_BATCH,
            self.G.latent_dim,
            device=device,
            generator=generator,
        )
        self.G.train(self.cell.evaluation.sampling_statistics == "batch")
        try:
            with full_precision(z):
                return torch.cat([_finished(self.G(batch)) for batch in z])[:n].contiguous()
        finally:
            self.G.train()


def seed_default(device: str, seed: int) -> None:
    """Seed torch's default streams, for what draws by itself, as dropout does. Quicker than
    torch.manual_seed, which looks for every kind of device."""
    torch.default_generator.manual_seed(seed)
    if device.startswith("cuda"):
        torch.cuda.manual_seed(seed)


def _finished(samples: Tensor) -> Tensor:
    """Samples as they are measured. Raises FloatingPointError where they are not finite."""
    if not samples.isfinite().all():
        raise FloatingPointError("the generated samples are not finite")
    return quantise(samples) if samples.dim() == 4 else samples


def quantise(images: Tensor) -> Tensor:
    """Images in [−1, 1] as uint8, rounded to the nearest of 256 levels."""
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
