"""One cell of a matrix: its spec, its key and its random streams."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote

from benchmark.matrix.options import Evaluation, Training
from benchmark.matrix.options.seeds import weights_and_batches
from benchmark.text import LONGEST_NAME, cut

AXES = ("objective", "architecture", "dataset")
# Random streams, by the first of their names, that a crossed seed does not name alone
OF_WEIGHTS = ("weights", "generator", "critic")
OF_BATCHES = ("steps",)

DisplayNames = dict[str, dict[str, str]]
"""Axis -> label of a variant -> its display name, of the variants that have one."""


@dataclass(frozen=True)
class Choice:
    """A value on an axis: a variant with its parameters."""

    name: str
    """Name of the variant, which is the name of its file."""

    params: dict[str, Any] = field(default_factory=dict)
    """Parameters that differ from the variant's defaults, and those whose default is not the same
    everywhere, such as the version of Python."""

    where: dict[str, Any] = field(default_factory=dict)
    """Where the data lies on this machine. Not part of the identity of the choice."""

    def __hash__(self) -> int:
        return hash((self.label, shown_value(self.where)))

    @cached_property
    def label(self) -> str:
        """`wgan_fdgp[pairs=independent]`: what identifies the choice in keys and tables. Pages show
        the display name that a matrix may give it."""
        shown = [f"{key}={shown_value(value)}" for key, value in sorted(self.params.items())]
        return f"{self.name}[{','.join(shown)}]" if shown else self.name


@dataclass(frozen=True)
class Cell:
    """Objective × architecture × dataset × seed, and the options of training and evaluation."""

    objective: Choice
    architecture: Choice
    dataset: Choice
    seed: int
    training: Training
    evaluation: Evaluation = field(default_factory=Evaluation)

    norm: str = "auto"
    """Normalisation of the critic, once `auto` is resolved against the objective."""

    is_crossed: bool = False
    """Whether the seed stands for two, of the initial weights and of the batches."""

    @property
    def spec(self) -> dict[str, Any]:
        """What the key is made of: all that changes the training. Device and evaluation do not."""
        spec = {
            "objective": _named(self.objective),
            "architecture": _named(self.architecture),
            "dataset": _named(self.dataset),
            "seed": self.seed,
            "training": json.loads(_serialised(self.training)),
        }
        return spec | {"crossed": True} if self.is_crossed else spec

    @cached_property
    def key(self) -> str:
        """The cell's name and the name of its folder: see `key_of`."""
        labels = (self.objective.label, self.architecture.label, self.dataset.label)
        return _key(labels, self.spec)

    @property
    def evaluation_hash(self) -> str:
        """8 hex digits of the sha256 of the evaluation options."""
        return digest(self.evaluation.plain())

    def stream(self, *names: object) -> int:
        """The seed of a random stream, from (seed, dataset, architecture, names).

        Neither the objective nor the choice of another architecture's critic changes a stream.
        So all objectives, and all critics of one generator, start from the same weights and see
        the same batches and latents. Of a crossed seed the streams of the initial weights have one
        part, those of the steps the other; an evaluation has a stream of its own."""
        params = {key: v for key, v in self.architecture.params.items() if key != "critic"}
        architecture = Choice(self.architecture.name, params)
        return stream_seed(self._seed_of(names[0]), self.dataset.label, architecture.label, *names)

    def _seed_of(self, stream: object) -> int:
        if self.is_crossed and stream in (*OF_WEIGHTS, *OF_BATCHES):
            weights, batches = weights_and_batches(self.seed)
            return weights if stream in OF_WEIGHTS else batches
        return self.seed


def shown_value(value: Any) -> str:
    """A parameter's value in a label: on one line and without blanks, so that `--only` can name
    it."""
    if isinstance(value, dict) and "name" in value:
        params = {key: v for key, v in value.items() if key != "name"}
        return Choice(value["name"], params).label
    if isinstance(value, dict | list | bool):
        return json.dumps(value, separators=(",", ":"))
    return "".join(_plain(character) for character in str(value))


def stream_seed(*names: object) -> int:
    """A 63-bit seed from any names, the same on every machine and in every process."""
    text = "\x1f".join(map(str, names)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def digest(value: Any, length: int = 8) -> str:
    """The first hex digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


def key_of(spec: dict[str, Any]) -> str:
    """A readable name and 8 hex digits of the sha256 of the canonical spec."""
    return _key([Choice(**spec[axis]).label for axis in AXES], spec)


def _key(labels: Iterable[str], spec: dict[str, Any]) -> str:
    readable = "-".join([*map(_file_name, labels), f"seed{spec['seed']}"])
    return f"{cut(readable, LONGEST_NAME)}-{digest(spec)}"


def cell_from_spec(spec: dict[str, Any]) -> Cell:
    """The cell that a spec.json describes.

    Raises KeyError, TypeError or ValueError for a table that is not the spec of a cell."""
    return Cell(
        Choice(**spec["objective"]),
        Choice(**spec["architecture"]),
        Choice(**spec["dataset"]),
        spec["seed"],
        Training.model_validate(spec["training"]),
        Evaluation.model_validate(spec.get("evaluation", {})),
        spec["norm"],
        spec.get("crossed", False),
    )


def _named(choice: Choice) -> dict[str, Any]:
    return {"name": choice.name, "params": choice.params}


@lru_cache(maxsize=1024)  # many cells have the same labels
def _file_name(text: str) -> str:
    return re.sub(r"[^\w=.]", "_", text)


def _plain(character: str) -> str:
    """A character of a label; blanks and what is not printed as in a URL."""
    if character.isprintable() and not character.isspace():
        return character
    return quote(character, errors="replace")


@lru_cache(maxsize=1024)  # many cells have the same options
def _serialised(options: Training) -> str:
    return json.dumps(options.plain())
