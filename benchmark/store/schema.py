"""The records of a result set: what its JSON files hold, with the meaning of every field under it.

A record is what is written and what a reader gets. A file may hold more fields than its record
(they are kept when the record is written again) and may lack those that have a default."""

import math
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from benchmark.matrix.cell import AXES, Cell, Choice, DisplayNames, cell_from_spec, digest
from benchmark.matrix.search.part import Part, Rung
from benchmark.matrix.select import selected
from benchmark.text import file_name, with_spread

Table = dict[str, Any]
SEAL_LENGTH = 64  # hex digits of a sha256


class RunStatus(StrEnum):
    """What became of a run. `DIVERGED` is a finding: kept, counted and never retried. So is
    `STOPPED`: a search ended the run at a rung."""

    MISSING = "missing"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    DONE = "done"
    DIVERGED = "diverged"
    STOPPED = "stopped"
    ERROR = "error"
    TIMEOUT = "timeout"

    @property
    def is_finished(self) -> bool:
        """Whether the run is a result."""
        return self in FINISHED

    @property
    def is_whole(self) -> bool:
        """Whether the run is a result, and its training was not cut short."""
        return self in WHOLE

    @property
    def is_settled(self) -> bool:
        """Whether the next run leaves the cell alone."""
        return self in SETTLED


WHOLE = (RunStatus.DONE, RunStatus.DIVERGED)
FINISHED = (*WHOLE, RunStatus.STOPPED)
SETTLED = (*FINISHED, RunStatus.ERROR, RunStatus.TIMEOUT)


class Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    def plain(self) -> Table:
        """The fields that were set, as they are written."""
        return self.model_dump(exclude_unset=True)


class Named(Record):
    """A value on an axis."""

    name: str
    """Name of the variant."""

    params: Table
    """Parameters that differ from the variant's defaults."""


def _used_options(training: Table) -> Table:
    """Training options of this version or of another one: the types of those that tables use."""
    batch_size, recipe = training.get("batch_size"), training.get("recipe", "paper")
    if not isinstance(batch_size, int | float | None):
        raise ValueError(f"batch_size: Input should be a valid number, not {batch_size!r}")
    if not isinstance(recipe, str | dict):
        raise ValueError(f"recipe: Input should be a valid string or table, not {recipe!r}")
    return training


class Spec(Record):
    """spec.json: what makes a cell. In matrix.json the last three fields are absent."""

    objective: Named
    """Objective and its parameters."""

    architecture: Named
    """Architecture and its parameters."""

    dataset: Named
    """Dataset and its parameters."""

    seed: int
    """Seed of all random streams."""

    crossed: bool = False
    """Whether the seed is 1000 x the seed of the initial weights + the seed of the batches."""

    training: Annotated[Table, AfterValidator(_used_options)]
    """Training options."""

    evaluation: Table = {}
    """Evaluation options."""

    norm: str | None = None
    """Normalisation of the critic in force."""

    key: str | None = None
    """Key of the cell."""

    @property
    def is_of_a_later_version(self) -> bool:
        """Whether a variant is described by fields that this version does not know."""
        return any(axis.model_extra for axis in (self.objective, self.architecture, self.dataset))

    @property
    def choices(self) -> tuple[Choice, Choice, Choice, int]:
        """Objective, architecture, dataset and seed."""
        named = (self.objective, self.architecture, self.dataset)
        objective, architecture, dataset = (Choice(value.name, value.params) for value in named)
        return objective, architecture, dataset, self.seed

    def cell(self) -> Cell:
        """The cell. Raises KeyError, TypeError or ValueError for the spec of another version."""
        return cell_from_spec({"norm": "auto", **self.plain()})


def plain_name(key: str) -> str:
    if key in ("", ".", "..") or {*key} & {*"/\\\0"}:
        raise ValueError(f"{key!r} is not a plain file name")
    return key


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no time of ISO 8601") from error
    return text


Moment = Annotated[str, AfterValidator(_moment)]


class Entry(Record):
    """A cell in matrix.json."""

    key: Annotated[str, AfterValidator(plain_name)]
    """Key of the cell and name of its folder."""

    objective: str
    """Label of the objective: its name and its parameters that differ from the defaults."""

    architecture: str
    """Label of the architecture."""

    dataset: str
    """Label of the dataset."""

    modality: str
    """points, images or text."""

    seed: int
    """Seed of all random streams."""

    evaluation_hash: str | None = None
    """Hash of the evaluation options."""

    spec: Spec
    """Spec of the cell."""

    search: Part | None = None
    """Part of the cell in a search; none for a cell of no search."""


def _distinct(entries: list[Entry]) -> list[Entry]:
    keys: set[str] = set()
    labels: set[tuple[str, str, str, int]] = set()
    for entry in entries:
        if entry.key in keys:
            raise ValueError(f"{entry.key!r} occurs twice")
        label = entry.objective, entry.architecture, entry.dataset, entry.seed
        if label in labels:
            raise ValueError(f"{entry.key!r} has the labels and the seed of another cell")
        keys.add(entry.key)
        labels.add(label)
    return entries


class Command(Record):
    """The last `ganbench run` of a matrix. Paths are relative to the result set."""

    file: str | None = None
    """Path of the matrix file; none for a shipped matrix, and for a matrix without a file."""

    overrides: list[str] = []
    """Options of the matrix that were changed, such as training.steps=200."""

    variants: list[str] = []
    """Folders of the user's own variants."""

    options: dict[str, str] = {}
    """Options of the run that numbers depend on and that differ from their defaults."""


class MatrixFile(Record):
    """matrix.json: the matrix that was run."""

    name: str
    """Name of the matrix."""

    description: str = ""
    """Comment at the head of the matrix file, and the options that were overridden."""

    hash: str
    """Hash of `config`."""

    config: Table
    """Options of the matrix file."""

    reference: str | None = None
    """Objective that all others are tested against."""

    targets: dict[str, float] = {}
    """Dataset → value that a run has to reach in the primary metric."""

    command: Command | None = None
    """The last run; none in the results of an older version."""

    display_names: DisplayNames = {}
    """Axis → label of a variant → its display name, of the variants to which the matrix file gives
    a `label`."""

    cells: Annotated[list[Entry], AfterValidator(_distinct)]
    """Every cell of the matrix, run or not."""

    @model_validator(mode="after")
    def has_distinct_names(self) -> Self:
        for axis in AXES:
            labels = {getattr(entry, axis) for entry in self.cells}
            if len({self.shown(axis, label) for label in labels}) < len(labels):
                raise ValueError(f"display_names: two variants have one {axis} name")
        return self

    def shown(self, axis: str, label: str) -> str:
        """The display name of a variant; its label where it has none."""
        return self.display_names.get(axis, {}).get(label, label)

    def names(self, entry: Entry) -> tuple[str, str, str]:
        """The display names of a cell's objective, architecture and dataset."""
        return (
            self.shown("objective", entry.objective),
            self.shown("architecture", entry.architecture),
            self.shown("dataset", entry.dataset),
        )

    def labelled(self) -> "MatrixFile":
        """The record with display names in place of labels."""
        cells = []
        for entry in self.cells:
            names = zip(AXES, self.names(entry), strict=True)
            cells.append(entry.model_copy(update=dict(names)))
        changes = {
            "cells": cells,
            "reference": self.reference and self.shown("objective", self.reference),
            "targets": {self.shown("dataset", name): value for name, value in self.targets.items()},
        }
        return self.model_copy(update=changes)

    @property
    def objective_labels(self) -> dict[str, str]:
        """Every objective as it is shown -> its label."""
        names = dict.fromkeys(self.shown("objective", entry.objective) for entry in self.cells)
        return {name: self.label_of("objective", name) for name in names}

    def label_of(self, axis: str, name: str) -> str:
        """The label of a variant that is named by its display name or its label."""
        for label, shown in self.display_names.get(axis, {}).items():
            if shown == name:
                return label
        return name

    def selected(self, only: str) -> list[Entry]:
        """The cells that `--only` takes; all without it. Raises UserError for a condition that
        names no cell."""
        if not only:
            return self.cells
        choices = [entry.spec.choices for entry in self.cells]
        taken = selected(choices, only, self.display_names)
        return [entry for entry, is_taken in zip(self.cells, taken, strict=True) if is_taken]


class CorruptImages(Record):
    """Images that could not be read."""

    n: int = 0
    """Number of images."""

    names: list[str] = []
    """Names of the first 20."""


class LeftOutFiles(Record):
    """Files next to the images that are read."""

    n: int = 0
    """Number of files; a folder counts as one."""

    names: list[str] = []
    """Names of the first 20."""

    reasons: dict[str, int] = {}
    """Why a file is left out → number of files."""


class DatasetFacts(Record):
    """The data of a dataset."""

    source: str = ""
    """Where the data comes from."""

    licence: str = ""
    """Licence of the data."""

    split: str = ""
    """How training and held-out samples were split."""

    note: str = ""
    """Limits of comparisons, such as lossy compression."""

    content_hash: str | None = None
    """Hash of the samples of both splits."""

    n_train: int | None = None
    """Number of training samples."""

    n_holdout: int | None = None
    """Number of held-out samples."""

    shape: list[int] = []
    """Shape of one sample."""

    n_classes: int | None = None
    """Number of classes of images; none without labels."""

    classes: list[str] = []
    """Names of the classes, the first 1,000 of them."""

    corrupt: CorruptImages = CorruptImages()
    """Images that were left out."""

    left_out: LeftOutFiles = LeftOutFiles()
    """Other files in the folder or the zip that were left out."""

    repeats: int | None = None
    """Number of training samples that equal an earlier training sample; not counted for windows of
    text, which overlap."""

    leaks: int | None = None
    """Number of held-out samples that equal a training sample."""

    n_compared: int | None = None
    """Number of held-out samples that `leaks` is of: all, or windows of text that do not
    overlap."""

    remarks: list[str] = []
    """What was done to the samples, such as turning images as their EXIF orientation says."""


class ExtractorFacts(Record):
    """The network whose features images are compared by."""

    name: str | None = None
    """Name of the extractor."""

    weights_sha256: str | None = None
    """Hash of its weights."""

    accuracy: float | None = None
    """Accuracy of a classifier on held-out images."""


class CommittedFile(Record):
    """A file as it was committed."""

    size: int
    """Bytes."""

    sha256: str
    """Hash of its content."""


class Protocol(Record):
    """An entry of protocols.json, which has one per dataset."""

    protocol: str
    """Protocol id: values of different protocols are never compared."""

    parts: Table = {}
    """What the id is a hash of."""

    dataset: DatasetFacts = DatasetFacts()
    """The data."""

    extractor: ExtractorFacts | None = None
    """The feature extractor; none for points."""

    code: str | None = None
    """Hash of the code that measured the noise floor."""

    floor: dict[str, float]
    """Noise floor by metric column: the mean over draws of real samples that stand for generated
    ones."""

    floor_spread: dict[str, float] = {}
    """Standard deviation of a draw by metric column: how far one measurement of a perfect generator
    lies from the noise floor."""

    floor_draws: int = 1
    """Number of draws."""

    floor_source: str | None = None
    """Where the samples of a draw come from."""

    marks: dict[str, dict[str, float]] = {}
    """What metrics read of samples that are easy to make, by mark and metric column: of text with
    the right letter frequencies, and of uniformly random text. Empty for points and images."""

    real: dict[str, CommittedFile] = {}
    """The file in real/ that holds held-out samples for pictures: size and hash."""

    sha256: str | None = None
    """Hash of the other fields, by which a reader tells that one was changed."""

    @model_validator(mode="after")
    def _check_seal(self) -> Self:
        if self.sha256 not in (None, self._hash()):
            raise ValueError("a value is not the one that was written")
        return self

    def floor_text(self, column: str) -> str:
        """`0.12 ± 0.04`: the noise floor of a metric column and its spread."""
        return with_spread(self.floor.get(column, math.nan), self.floor_spread.get(column))

    def sealed(self) -> Self:
        """The same with the hash of its fields."""
        return self.model_copy(update={"sha256": self._hash()})

    def _hash(self) -> str:
        fields = self.model_dump(exclude_unset=True, exclude={"sha256"})
        return digest(fields, SEAL_LENGTH)


class Execution(Record):
    """How the training steps of a cell were executed."""

    mode: str = "eager"
    """eager, traced, compiled, graphed (a CUDA graph) or compiled_graphed."""

    stack: Annotated[int, Field(ge=1, le=10**6)] = 1
    """Number of seeds trained as one model."""

    asked: str = "eager"
    """The mode that was asked for."""

    fallback: str | None = None
    """Why the mode or the stack is not the one asked for."""

    optimizer: str = "loop"
    """Implementation of the optimiser: loop, fused or capturable."""

    fakes_at_once: bool = False
    """Whether one generator pass makes the fakes of all critic steps of an iteration."""

    matmul: str = "default"
    """Library that computes float32 matrix products: default or onednn."""

    backward: str = "whole"
    """How the critic's loss is differentiated: whole, or by term."""

    @property
    def label(self) -> str:
        """The way in words, such as `eager` or `compiled, onednn, stack of 5`: seconds, and the
        last digits of numbers, are comparable under the same label."""
        parts = [self.mode]
        if self.matmul != "default":
            parts.append(self.matmul)
        if self.backward != "whole":
            parts.append(self.backward)
        if self.stack > 1:
            parts.append(f"stack of {self.stack}")
        return ", ".join(parts)


class Status(Record):
    """status.json: how far a cell is, and how it ended."""

    key: str | None = None
    """Key of the cell."""

    status: Annotated[RunStatus, Field(strict=False)]
    """done, diverged, stopped, error, timeout, interrupted or running; missing is never written."""

    reason: str | None = None
    """Why the run diverged, failed or stopped."""

    rung: Rung | None = None
    """Where a search ended the run; none for a run of another end."""

    warnings: list[str] = []
    """What the run went on without, such as a damaged checkpoint."""

    attempt: str | None = None
    """Random id, a new one at every start and resume."""

    started: Moment | None = None
    """Time of the first start (ISO 8601, UTC)."""

    updated: Moment | None = None
    """Time of the last write (ISO 8601, UTC)."""

    resumes: int = 0
    """Number of resumes from a checkpoint."""

    progress: float | None = None
    """Share of the training budget that is spent."""

    onset: int | None = None
    """Generator step of the first loss, or sample, that was not finite."""

    samples_seen: int | None = None
    """Real samples passed through the critic."""

    g_steps: int | None = None
    """Generator steps."""

    train_seconds: float | None = None
    """Training clock: it stands still while a snapshot is measured."""

    eval_seconds: float | None = None
    """Seconds of generating, measuring and saving samples."""

    probe_seconds: float | None = None
    """Seconds of the probes and of the reference workload."""

    warmup_seconds: float | None = None
    """Seconds of building the networks and warming up, at the start and at every resume."""

    compile_seconds: float | None = None
    """Seconds of tracing, compiling, capturing CUDA graphs and checking against an eager
    iteration."""

    other_seconds: float | None = None
    """All other seconds: loading data, checkpoints, writing."""

    peak_memory_mb: float | None = None
    """Peak memory of training in MiB: allocated on the GPU, or resident on a CPU."""

    parameters: dict[str, int] = {}
    """Trainable weights of the generator and the discriminator."""

    recipe: Table = {}
    """Optimiser in force."""

    execution: Execution | None = None
    """How the training steps were executed."""

    executed_before: list[str] = []
    """Other ways in which they were executed before a resume, in words."""

    @property
    def executed(self) -> str:
        """How the training steps were executed, such as `eager`, `compiled, stack of 8`, or
        `eager, stack of 5 + eager` once a resume was in another way."""
        now = self.execution or Execution()
        return " + ".join(dict.fromkeys([*self.executed_before, now.label]))

    forwards_per_d_step: float | None = None
    """Cost of a critic step in critic forward-equivalents."""

    forwards_per_g_step: float | None = None
    """Cost of a generator step in critic forward-equivalents."""

    reference_ms: float | None = None
    """Time of the reference workload in milliseconds, the mean over starts and ends."""

    reference_mb: float | None = None
    """Peak memory of the reference workload in MiB."""

    device: str | None = None
    """Device that trained the cell, such as cpu or cuda:0."""

    protocol: str | None = None
    """Protocol id of the measurements."""

    code: str | None = None
    """Hash of the code the cell was trained with."""

    measuring_code: str | None = None
    """Hash of the code the cell was measured with."""

    precision: str | None = None
    """float32, tf32 or bf16."""

    layout: str | None = None
    """Memory layout of images and convolution weights: contiguous or channels_last."""

    norm: str | None = None
    """Normalisation of the critic in force."""

    evaluation_hash: str | None = None
    """Hash of the evaluation options."""

    files: dict[str, CommittedFile] = {}
    """Size and hash of every file of a finished cell but its pictures and its traceback."""

    def add_seconds(self, clock: str, seconds: float) -> None:
        """Add to one of the wall clocks."""
        setattr(self, clock, (getattr(self, clock) or 0.0) + seconds)


class GitFacts(Record):
    """The checkout that the code ran from."""

    commit: str | None = None
    """Commit."""

    dirty: str | None = None
    """Hash of what was not committed."""


class Surroundings(Record):
    """What the numbers of a run depend on besides its spec. No host or user names, no paths."""

    python: str | None = None
    """Python version."""

    platform: str | None = None
    """Operating system and machine type."""

    versions: Mapping[str, str | None] = {}
    """Versions of ganbench, torch, torchvision, torch-fidelity, numpy and scipy."""

    device: str | None = None
    """Model of the processor or GPU that trained."""

    num_gpus: int | None = None
    """GPUs of the machine."""

    driver: str | None = None
    """Version of the GPU driver."""

    cuda: str | None = None
    """Version of CUDA."""

    cudnn: int | None = None
    """Version of cuDNN."""

    processor: str | None = None
    """Model of the processor."""

    processor_version: str | None = None
    """Vendor, family, model and stepping of the processor; one name may stand for several."""

    num_cores: int | None = None
    """Processor cores of the machine."""

    cpu_capability: str | None = None
    """Instruction set that torch uses."""

    instruction_sets: list[str] = []
    """Instruction sets of the processor that the speed of float32 and bf16 depends on."""

    instruction_limits: dict[str, str] = {}
    """Variables that limit or choose the instructions of oneDNN and MKL, where they are set."""

    compiler: str | None = None
    """C++ compiler, which makes the compiled steps of a CPU, with its version."""

    threads: int | None = None
    """Threads of one operation."""

    interop_threads: int | None = None
    """Operations that may run at the same time."""

    deterministic: bool | None = None
    """torch.use_deterministic_algorithms."""

    deterministic_warn_only: bool | None = None
    """Whether nondeterministic operations only warn."""

    cudnn_deterministic: bool | None = None
    """torch.backends.cudnn.deterministic."""

    cudnn_benchmark: bool | None = None
    """torch.backends.cudnn.benchmark."""

    cudnn_allow_tf32: bool | None = None
    """torch.backends.cudnn.allow_tf32."""

    matmul_allow_tf32: bool | None = None
    """torch.backends.cuda.matmul.allow_tf32."""

    float32_matmul_precision: str | None = None
    """torch.get_float32_matmul_precision()."""

    git: GitFacts | None = None
    """The checkout; none for an installed package."""

    def arithmetic(self, executed: str) -> str | None:
        """What the last digits of numbers depend on, besides how the steps are executed: the
        device with its instructions and the versions that compute, of compiled steps the compiler
        too; None where that is unknown."""
        is_gpu, is_compiled = bool(self.num_gpus and self.cuda), "compiled" in executed
        if self.device is None or self.processor is None:
            return None
        if is_compiled and not is_gpu and self.compiler is None:
            return None
        parts = [self.device]
        if is_gpu:
            parts += [f"CUDA {self.cuda}", f"cuDNN {self.cudnn}"]
        else:
            parts += [str(self.processor_version), str(self.cpu_capability)]
            parts.append(" ".join(self.instruction_sets))
            parts += [f"{name}={value}" for name, value in self.instruction_limits.items()]
            parts += [str(self.compiler)] if is_compiled else []
        parts.append(f"torch {self.versions.get('torch')}")
        return ", ".join(parts)


class Resume(Surroundings):
    """The surroundings of a resume."""

    g_steps: int | None = None
    """Generator steps at the resume."""


class Environment(Surroundings):
    """environment.json: the surroundings of the first start and of every resume."""

    resumes: list[Resume] = []
    """The surroundings of every resume."""


PLAIN = "eager"
"""How steps are executed by default on a CPU: eagerly, alone, on one thread."""


def on_threads(way: str, threads: str | None) -> str:
    """`eager, 2 threads`: a way in which steps are executed, and the threads unless it is one."""
    return way if threads in (None, "1") else f"{way}, {threads} threads"


def executed_on(device: str, way: str) -> str:
    """`NAME (compiled, stack of 5)`: a device, and the way unless it is PLAIN: the seconds of other
    cells do not compare with these."""
    return device if way == PLAIN else f"{device} ({way})"


Duration = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Raced(Record):
    """An objective in a race."""

    code: str | None = None
    """Hash of the code it was trained with."""

    execution: Execution | None = None
    """How its training steps were executed; none for one that could not be raced."""

    reason: str | None = None
    """Why it could not be raced; none if it was."""

    iterations: int | None = None
    """Iterations in every round."""

    milliseconds: list[Duration] = []
    """Milliseconds of a generator step of one seed, critic steps included, by round."""


class Race(Record):
    """races/NAME.json: the objectives of a place, trained in turn before the first cell."""

    dataset: str
    """Label of the dataset."""

    architecture: str
    """Label of the architecture."""

    asked: str
    """Hash of what was to be raced: specs, code, execution, stack and threads."""

    made: Moment
    """Time of the end of the race (ISO 8601, UTC)."""

    clock: str
    """processor: seconds that the process got (one thread of a CPU); wall: all that passed."""

    surroundings: Surroundings
    """Machine and versions."""

    reference: list[Duration] = []
    """Milliseconds of the reference workload, which took its turn too, by round."""

    objectives: dict[str, Raced]
    """The objectives by label."""

    @model_validator(mode="after")
    def _check_rounds(self) -> Self:
        for name, raced in self.objectives.items():
            if not self.fault and not len(raced.milliseconds) == len(self.reference) > 0:
                raise ValueError(
                    f"{len(raced.milliseconds)} rounds of {name}, and {len(self.reference)} of the "
                    "reference workload"
                )
        return self

    @property
    def name(self) -> str:
        """Name of its file, without a suffix."""
        place = file_name(self.architecture, self.dataset, longest=100)
        return f"{place}-{self.asked}-{digest([self.surroundings.device, self.threads])}"

    @property
    def threads(self) -> int:
        return self.surroundings.threads or 1

    @property
    def fault(self) -> str:
        """Why the race has no result: the first objective that could not be raced; empty if it has
        one."""
        for name, raced in self.objectives.items():
            if raced.reason:
                return f"{name} could not be raced: {raced.reason}"
        return ""

    @property
    def device(self) -> str:
        """The processor or GPU, with the ways in which steps were executed unless it is eagerly,
        alone and on one thread."""
        executions = [raced.execution for raced in self.objectives.values() if raced.execution]
        labels = dict.fromkeys(execution.label for execution in executions)
        way = on_threads(", ".join(labels) or PLAIN, str(self.threads))
        return executed_on(self.surroundings.device or "an unknown device", way)


PROTOCOLS = TypeAdapter(dict[str, Protocol])
