"""What the JSON files of a results folder must hold to be read: the fields that are used, with
their types. A file may hold more, and may come from someone else or from another version."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

Table = dict[str, Any]


def _file_name(key: str) -> str:
    if key in ("", ".", "..") or {*key} & {*"/\\\0"}:
        raise ValueError(f"{key!r} is not a plain file name")
    return key


def _distinct(entries: list["Entry"]) -> list["Entry"]:
    seen: set[str] = set()
    for key in (entry.key for entry in entries):
        if key in seen:
            raise ValueError(f"{key!r} occurs twice")
        seen.add(key)
    return entries


class Stored(BaseModel):
    model_config = ConfigDict(strict=True)


class Trained(Stored):
    batch_size: float | None = None
    recipe: str | Table = "paper"


class Named(Stored):
    name: str
    params: Table


class Spec(Stored):
    """spec.json, and what matrix.json says of a cell."""

    objective: Named
    architecture: Named
    dataset: Named
    seed: int
    training: Trained
    evaluation: Table = {}
    norm: str | None = None


class Entry(Stored):
    key: Annotated[str, AfterValidator(_file_name)]
    objective: str
    architecture: str
    dataset: str
    modality: str
    seed: int
    evaluation_hash: str | None = None
    spec: Spec


class Matrix(Stored):
    """matrix.json."""

    name: str
    description: str = ""
    hash: str
    config: Table
    reference: str | None = None
    targets: dict[str, float] = {}
    cells: Annotated[list[Entry], AfterValidator(_distinct)]


class Protocol(Stored):
    """An entry of protocols.json, which has one for each dataset."""

    protocol: str
    floor: dict[str, float]
    parts: Table = {}
    dataset: Table = {}
    extractor: Table | None = None


class Execution(Stored):
    """How a cell was trained."""

    mode: str | None = None
    stack: Annotated[int, Field(ge=1, le=10**6)] = 1
    fallback: str | None = None


class Status(Stored):
    """status.json."""

    key: str | None = None
    status: str
    reason: str | None = None
    warnings: list[str] = []
    attempt: str | None = None
    started: str | None = None
    updated: str | None = None
    resumes: int = 0
    progress: float | None = None
    recipe: Table = {}
    execution: Execution | None = None
    parameters: dict[str, int] = {}
    onset: float | None = None
    samples_seen: float | None = None
    g_steps: float | None = None
    train_seconds: float | None = None
    eval_seconds: float | None = None
    probe_seconds: float | None = None
    warmup_seconds: float | None = None
    compile_seconds: float | None = None
    other_seconds: float | None = None
    peak_memory_mb: float | None = None
    forwards_per_d_step: float | None = None
    forwards_per_g_step: float | None = None
    reference_ms: float | None = None
    reference_mb: float | None = None
    protocol: str | None = None
    code: str | None = None
    precision: str | None = None
    layout: str | None = None
    norm: str | None = None
    evaluation_hash: str | None = None


class Commit(Stored):
    commit: str | None = None


class Surroundings(Stored):
    """What a cell ran on, from its start or from a resume on."""

    device: str | None = None
    versions: dict[str, str | None] = {}
    git: Commit | None = None


class Environment(Surroundings):
    """environment.json."""

    resumes: list[Surroundings] = []


FILES: dict[str, TypeAdapter[Any]] = {
    "matrix": TypeAdapter(Matrix),
    "protocols": TypeAdapter(dict[str, Protocol]),
    "spec": TypeAdapter(Spec),
    "status": TypeAdapter(Status),
    "environment": TypeAdapter(Environment),
}
