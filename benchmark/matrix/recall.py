"""What is known of the shipped variants without importing or parsing them, for that takes seconds.

An answer is kept in a file of the user's cache, under the hash of all that the answers depend on:
the sources of FOLDERS and variants/, Python, and the packages besides torch. The file may be
deleted at any time. The variants of the user may depend on anything, so with a folder of them
nothing is kept."""

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import variants
from benchmark.matrix.cell import Cell, Choice, digest
from benchmark.matrix.options import Training
from variants import _variables
from variants._files import whole_file

ROOT = Path(__file__).parent.parent
FOLDERS = ("matrix", "store", "train", "measure")
MOST_ANSWERS = 20_000  # of a file
MOST_FILES = 4  # of earlier sources and of other checkouts


class Answers:
    """Answers that are kept in a file. A damaged or foreign file holds none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers = _read(path)
        self.new: dict[str, str] = {}

    def save(self) -> None:
        """Add the new answers to the file, unless the sources were edited meanwhile. Two processes
        may save at a time: one of them then finds its answers again. A cache that cannot be written
        stays as it is."""
        if not self.new or self.path.stem != sources():
            return
        answers = dict([*(_read(self.path) | self.new).items()][:MOST_ANSWERS])
        with suppress(OSError):
            with whole_file(self.path) as file:
                file.write(json.dumps({"answers": answers, "sha256": digest(answers)}).encode())
            kept = sorted(self.path.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in kept[:-MOST_FILES]:
                path.unlink(missing_ok=True)
        self.new = {}


def answer(question: str, about: list[Any], find: Callable[[], Any]) -> Any:
    """What `find` returned for this question, a JSON value. It is asked again each time it raises,
    and while it finds nothing, None. about: JSON values that tell the question from others of its
    name."""
    kept = _kept()
    if kept is None:
        return find()
    asked = json.dumps([question, *about], default=repr)
    if asked not in kept.answers:
        found = find()
        if found is None:
            return None
        kept.answers[asked] = kept.new[asked] = json.dumps(found)
    return json.loads(kept.answers[asked])


def save() -> None:
    """Keep what was found."""
    kept = _kept()
    if kept is not None:
        kept.save()


def modality(dataset: str) -> str:
    """points, images or text."""

    def find() -> str:
        from benchmark.matrix.values import classes

        return classes("dataset", dataset)[0].modality

    return answer("modality", [dataset], find)


def is_found_anywhere(dataset: str) -> bool:
    """Whether the samples of a dataset come with the suite and its packages: no parameter says
    where they lie on this machine."""

    def find() -> bool:
        from benchmark.matrix.values import parameters

        return not any(known.is_location for known in parameters("dataset", dataset).values())

    return answer("is_found_anywhere", [dataset], find)


def critic_norm(
    objective: Choice, architecture: Choice, dataset: Choice, training: Training
) -> str:
    """The normalisation of the critic, as pairs.critic_norm has it. Raises UserError for a pair
    that cannot train, for a batch of one sample where the pair needs more, for blocks to be
    computed again where there are none, and for networks that do not grow as they are to."""
    is_lone = training.batch_size == 1

    def find() -> str:
        from benchmark.matrix import pairs

        norm = pairs.critic_norm(objective, architecture, dataset)
        if is_lone:
            pairs.check_lone_sample(objective, architecture, dataset, norm)
        if training.recompute:
            pairs.check_recompute(objective, architecture, dataset, norm)
        if training.growth:
            pairs.check_growth(architecture, dataset, norm, training.growth)
        return norm

    about = [*map(_identity, (objective, architecture, dataset)), is_lone, training.recompute]
    about.append([stage.plain() for stage in training.growth])
    return answer("critic_norm", about, find)


def sizes(cell: Cell) -> dict[str, int]:
    """The least bytes that the parts of a cell take, as pairs.sizes has them."""

    def find() -> dict[str, int]:
        from benchmark.matrix import pairs

        return pairs.sizes(cell)

    evaluation = cell.evaluation.plain()["n"]
    pair = _identity(cell.architecture), _identity(cell.dataset)
    return answer("sizes", [*pair, cell.norm, cell.training.plain(), evaluation], find)


def _identity(choice: Choice) -> list[Any]:
    return [choice.name, choice.params]


def _kept() -> Answers | None:
    """The answers that are kept; None where none may be."""
    if variants.folders():
        return None
    try:
        folder = _variables.folder("GANBENCH_CACHE") or _variables.user_cache()
    except _variables.VariableError:
        # There is no home folder
        return None
    return _open(folder / "answers" / f"{_first_sources()}.json")


@cache
def _open(path: Path) -> Answers:
    return Answers(path)


def _read(path: Path) -> dict[str, str]:
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        content = json.loads(path.read_bytes())
        if content["sha256"] == digest(content["answers"]):
            return dict(content["answers"])
    return {}


@cache
def _first_sources() -> str:
    """The hash when this process first asked."""
    return sources()


def sources() -> str:
    """16 hex digits of the sha256 of all that an answer depends on."""
    files = [*ROOT.glob("*.py"), *variants.SHIPPED.rglob("*.py")]
    for folder in FOLDERS:
        files += (ROOT / folder).rglob("*.py")
    texts = hashlib.sha256(sys.version.encode())
    for file in sorted(files):
        texts.update(f"\n{file}\n".encode() + file.read_bytes())
    torch = find_spec("torch")
    if torch and torch.origin:
        # Of a folder of packages: it changes with every package that comes or goes
        packages = Path(torch.origin).parent.parent
        texts.update(f"{packages} {packages.stat().st_mtime_ns}".encode())
    return texts.hexdigest()[:16]
