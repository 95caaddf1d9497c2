"""What an experiment tracker takes and does: `Tracker`, `News`, and the table of all trackers.

Each tracker has a file of its own, which imports the tracker's library (extra `track`). `TRACKERS`
names these files, and `open_tracker` imports the one that is asked for."""

import os
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from benchmark.errors import DamagedError, UserError, unknown
from benchmark.store.files import read_json, refuse_link, write_json
from benchmark.store.schema import RunStatus, plain_name
from benchmark.text import described

# tracker -> its class in benchmark/export/TRACKER.py
TRACKERS = {"tensorboard": "TensorBoard", "mlflow": "Mlflow", "wandb": "Wandb"}
LIBRARIES = {
    "tensorboard": "tensorboard",
    "mlflow": "mlflow-skinny sqlalchemy alembic",
    "wandb": "wandb",
}
AXES = ("objective", "architecture", "dataset", "seed")
REASON_LENGTH = 500  # characters of a library's error that the user sees


class Position(NamedTuple):
    """How far the rows of a file were exported."""

    step: int = -1  # the last generator step
    num_values: int = 0  # how many of its values


START = Position()


@dataclass(frozen=True)
class Seen:
    """What a tracker was given of a run. The tracker stores it as JSON with the run."""

    run: str = ""  # the name or id that the tracker has for the run
    evals: Position = START
    steps: Position = START
    sheet: int = -1  # generator step of the last sheet of samples
    params: str = ""  # digest
    facts: str = ""  # digest
    bytes: int = 0  # length of TensorBoard's file; 0 with other trackers

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Seen":
        """The record of a stored table; a field that is missing has its default. Raises TypeError
        or ValueError for a table that is no record."""
        seen = cls(**stored)
        seen = replace(seen, evals=Position(*seen.evals), steps=Position(*seen.steps))
        return ADAPTER.validate_python(vars(seen))

    def as_json(self) -> dict[str, Any]:
        """The table that `from_json` reads."""
        stored = asdict(self)
        if not self.bytes:
            del stored["bytes"]
        return stored


ADAPTER = TypeAdapter(Seen)


@dataclass(frozen=True)
class Clock:
    """When the steps of a cell happened: its training time, spread evenly from its start."""

    started: float  # UTC seconds
    seconds_per_step: float  # training seconds per generator step

    def time(self, step: int) -> float:
        """The UTC seconds that a tracker shows for a generator step."""
        return self.started + self.seconds_per_step * step


@dataclass(frozen=True)
class News:
    """What a tracker has not been given of a cell."""

    key: str
    started: str  # which start of the cell; a cell restarted by --force is another run
    axes: dict[str, str]
    status: RunStatus
    params: dict[str, Any]  # all options; empty where none has changed
    facts: dict[str, str]  # all tags of state and provenance; empty where none has changed
    points: dict[int, dict[str, float]]  # generator step -> series -> value
    sheets: dict[int, Path]  # generator step -> PNG of images, or lines of text
    clock: Clock
    seen: Seen  # what the tracker has been given once these news are written

    def last_step(self, default: int) -> int:
        """The last generator step with values."""
        return max(self.points, default=default)


class Tracker(ABC):
    """A place that runs are written to. A tracker is made from (place, project)."""

    errors: tuple[type[Exception], ...] = ()  # the library's; the user sees them as one line
    hint: str  # how to look at what was written

    @abstractmethod
    def seen(self, key: str, started: str) -> Seen:
        """What the tracker was given of a run so far."""

    @abstractmethod
    def write(self, news: News) -> None:
        """Add news to a run, and remember `news.seen`."""

    def close(self) -> None:  # noqa: B027
        """End what is open. Does nothing unless a tracker defines it."""


class FolderTracker(Tracker):
    """A tracker in a folder. What was exported of a cell is in exported/KEY.json there: one `Seen`
    for each start of the cell."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def seen(self, key: str, started: str) -> Seen:
        runs = self._runs(key)
        if started in runs:
            return self._seen(self._path(key), runs[started])
        return Seen(run=f"{key}-{len(runs) + 1}" if runs else key)

    def _seen(self, path: Path, stored: Any) -> Seen:
        """Raises DamagedError for what is no record of an export, or of one outside the place."""
        try:
            seen = Seen.from_json(stored)
            self.folder_of(seen)
        except (TypeError, ValueError) as error:
            raise DamagedError(f"{path} is damaged: {described(error)}") from error
        return seen

    def folder_of(self, seen: Seen) -> Path:
        """The folder of a run. Raises ValueError for a name that leads elsewhere, and UserError
        for a link."""
        folder = self.place / plain_name(seen.run)
        refuse_link(folder)
        return folder

    def remember(self, news: News, **changes: Any) -> None:
        """Keep `news.seen`, with changes to its fields."""
        seen = replace(news.seen, **changes)
        runs = self._runs(news.key) | {news.started: seen.as_json()}
        write_json(self._path(news.key), {"runs": runs})

    def _runs(self, key: str) -> dict[str, Any]:
        runs = read_json(self._path(key)).get("runs", {})
        if not isinstance(runs, dict):
            raise DamagedError(f"{self._path(key)} is damaged: runs is not a table")
        return runs

    def _path(self, key: str) -> Path:
        folder = self.place / "exported"
        refuse_link(folder)
        return folder / f"{key}.json"


def place_of(name: str, to: str, default: Path) -> Path | str:
    """Where a tracker writes: a folder, or a tracking URI of MLflow.

    The first that is given: `to`, MLFLOW_TRACKING_URI (for mlflow), exports/TRACKER in the result
    set `default`. Raises UserError for an unknown tracker."""
    if name not in TRACKERS:
        raise unknown("tracker", name, [*TRACKERS, "bencher"])
    if name == "mlflow" and ":" in to:
        return to
    if to:
        return Path(to)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if name == "mlflow" and uri:
        return uri
    place = default / "exports" / name
    refuse_link(place)
    return place


def open_tracker(name: str, place: Path | str, project: str) -> Tracker:
    """The tracker, ready to write. Raises UserError where its library is missing or refuses the
    place."""
    try:
        module = import_module(f"benchmark.export.{name}")
        return getattr(module, TRACKERS[name])(place, project)
    except ImportError as error:
        library = str(error.name).partition(".")[0]
        raise UserError(
            f"export {name} needs {library}, which is missing: pip install {LIBRARIES[name]}"
        ) from error
