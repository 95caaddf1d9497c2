"""How a matrix is run: the options of `ganbench run`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from benchmark.errors import UserError, unknown
from benchmark.train.execution.modes import MODES

ENGINES = ("local", "ray")
MOST_JOBS = 1024  # worker processes of one machine
LEAST = {"timeout": 0, "checkpoint_every": 0, "threads": 1}


@dataclass(frozen=True)
class RunOptions:
    """How a matrix is run. Raises UserError for values that no run can have."""

    only: str = ""
    """Cells to run, such as "objective=wgan_gp seed=0"; all without it."""

    overrides: Sequence[str] = ()
    """Options of the matrix that are changed, such as "training.steps=200"."""

    force: bool = False
    """Run all cells from the start."""

    retry_errors: bool = False
    """Run cells again that ended in an error or at the time limit."""

    fail_fast: bool = False
    """Start no cell after the first that fails."""

    timeout: float = 0.0
    """Seconds that each cell may take; 0: no limit."""

    wait: bool = True
    """Wait for cells that another process is running; otherwise skip them."""

    checkpoint_every: float = 60.0
    """Seconds between two checkpoints of a cell."""

    jobs: int = 0
    """Cells at a time; 0: one per GPU, or one per CPU core."""

    threads: int = 1
    """Threads of a local worker."""

    shard: str = "1/1"
    """i/n: the i-th of n parts of the cells, i from 1."""

    engine: str = "local"
    """Where cells run: local or ray."""

    address: str | None = None
    """Ray: address of the cluster, such as auto; None starts one here."""

    cpus_per_cell: float | None = None
    """Ray: CPUs of a cell; None: 1."""

    gpus_per_cell: float | None = None
    """Ray: share of a GPU of a cell; None: a whole one."""

    device: str = "auto"
    """auto, cpu, cuda, a list such as cuda:0,cuda:1, or mps (untested)."""

    execution: str = "auto"
    """How cells train: one of modes.MODES, or auto (eager on a CPU, graphed on CUDA)."""

    stack: str = "auto"
    """Seeds trained as one model: auto, or a number; 1: none (local engine)."""

    precision: str = ""
    """float32, tf32 or bf16; empty: the matrix's."""

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not (isinstance(value, int | float) and value >= least):
                option = name.replace("_", "-")
                raise UserError(f"--{option} takes a number from {least} on, not {value!r}")
        self._check_types()
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        if self.engine == "local":
            if self.jobs > MOST_JOBS:
                raise UserError(f"--jobs takes at most {MOST_JOBS:,} here, not {self.jobs:,}")
            self._refuse_options_of_ray()
        elif self.threads != 1:
            raise UserError(
                f"--threads {self.threads} is for --engine local; on Ray a cell has as many as "
                "--cpus-per-cell"
            )
        if self.execution not in ("auto", *MODES):
            raise unknown("execution mode", self.execution, ["auto", *MODES])
        if self.stack != "auto" and not (self.stack.isdecimal() and int(self.stack)):
            raise unknown("stack", self.stack, ["auto", "a number of seeds from 1"])
        if self.engine == "ray" and self.stack not in ("auto", "1"):
            raise UserError(
                f"--stack {self.stack} is for --engine local; on Ray every seed trains by itself"
            )
        self.part  # noqa: B018  raises for a shard that cannot be

    def _check_types(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            kind: Any = option.type
            try:
                TypeAdapter(kind).validate_python(value, strict=True)
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise UserError(f"{option.name}: {reason}, not {value!r}") from error

    def _refuse_options_of_ray(self) -> None:
        for name in ("address", "cpus_per_cell", "gpus_per_cell"):
            value = getattr(self, name)
            if value is not None:
                raise UserError(f"--{name.replace('_', '-')} {value} is for --engine ray")

    @property
    def part(self) -> slice:
        """The cells of the shard, in the list of all cells."""
        text, _, total = self.shard.partition("/")
        is_valid = text.isdecimal() and total.isdecimal() and 1 <= int(text) <= int(total)
        if not is_valid:
            raise UserError(f"--shard takes i/n with 1 ≤ i ≤ n, such as 2/8, not {self.shard!r}")
        return slice(int(text) - 1, None, int(total))

    @property
    def all_overrides(self) -> list[str]:
        precision = [f"training.precision={self.precision}"] if self.precision else []
        return [*self.overrides, *precision]
