"""One cell of a matrix: its spec, key, folder, random streams, atomic files and the hash of its
code."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Choice:
    """A value on an axis: the variant's name, its non-default parameters, and where its data lies
    (no part of its identity: a path on one machine)."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.label, _plain(self.where)))

    @property
    def label(self) -> str:
        """`wgan_fdgp[pairs=independent]`: the name everywhere, group key and colour key."""
        inside = ",".join(f"{key}={_plain(value)}" for key, value in sorted(self.params.items()))
        return f"{self.name}[{inside}]" if inside else self.name


@dataclass(frozen=True)
class Cell:
    """Objective x architecture x dataset x seed with the options it is trained and measured
    under."""

    objective: Choice
    architecture: Choice
    dataset: Choice
    seed: int
    training: dict[str, Any]
    evaluation: dict[str, Any] = field(default_factory=dict)
    norm: str = "auto"  # the critic's normalisation once `auto` is resolved against the objective

    @property
    def spec(self) -> dict[str, Any]:
        """What the key is made of: everything that changes the training. Device and evaluation do
        not."""
        choices = {
            "objective": self.objective,
            "architecture": self.architecture,
            "dataset": self.dataset,
        }
        named = {
            axis: {"name": choice.name, "params": choice.params} for axis, choice in choices.items()
        }
        return {**named, "seed": self.seed, "training": self.training}

    @property
    def key(self) -> str:
        """A readable name and 8 hex digits of the sha256 of the canonical spec."""
        names = [
            self.objective.label,
            self.architecture.label,
            self.dataset.label,
            f"seed{self.seed}",
        ]
        readable = "-".join(
            "".join(c if c.isalnum() or c in "_=." else "_" for c in name) for name in names
        )
        return f"{readable[:120]}-{digest(self.spec)}"

    def stream(self, *names: object) -> int:
        """The seed of a random stream, from (seed, dataset, architecture, names) and not from the
        objective, nor from another architecture's critic, so that all objectives, and all critics
        of one generator, start from the same weights and see the same batches and latents."""
        own = {key: value for key, value in self.architecture.params.items() if key != "critic"}
        return stream_seed(
            self.seed, self.dataset.label, Choice(self.architecture.name, own).label, *names
        )


def stream_seed(*names: object) -> int:
    """A 63-bit seed from any names, the same on every machine and in every process."""
    text = "\x1f".join(map(str, names)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def digest(value: Any, length: int = 8) -> str:
    """The first hex digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


def cell_from_spec(spec: dict[str, Any]) -> Cell:
    """The cell a spec.json describes."""
    objective, architecture, dataset = (
        Choice(**spec[axis]) for axis in ("objective", "architecture", "dataset")
    )
    return Cell(
        objective,
        architecture,
        dataset,
        spec["seed"],
        spec["training"],
        spec.get("evaluation", {}),
        spec["norm"],
    )


def _plain(value: Any) -> str:
    """A parameter's value in a label; a choice within a choice by its own label. Without blanks, as
    --only asks."""
    if isinstance(value, dict) and "name" in value:
        return Choice(value["name"], {key: v for key, v in value.items() if key != "name"}).label
    return (
        json.dumps(value, separators=(",", ":"))
        if isinstance(value, dict | list | bool)
        else str(value)
    )
