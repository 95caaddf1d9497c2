"""The experiments by name, and what explain.json holds of those that ran. Imports no experiment."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from benchmark.errors import DamagedError
from benchmark.store.code import ROOT
from benchmark.store.files import read_json, write_json

# the order in which a reader meets the experiments; others follow
ORDER = (
    "saturation",
    "dirac",
    "disjoint_supports",
    "optimal_critic",
    "value_surfaces",
    "depth",
    "weights",
    "mode_collapse",
    "one_hot",
    "overfitting",
    "penalty",
)
SUFFIXES = (".png", ".svg", ".csv")  # the files of a figure
# The experiments as they come with the suite: in the checkout, or in an installed package
IN_CHECKOUT = ROOT / "results" / "reference" / "explain"
INSTALLED = Path(__file__).parent / "reference"
REFERENCE = IN_CHECKOUT if IN_CHECKOUT.exists() else INSTALLED


class ExperimentEntry(BaseModel):
    """What explain.json says of an experiment."""

    title: str  # a question
    text: list[str]  # paragraphs: the argument, its source, what is done
    answer: str = ""  # one plain sentence; none in an entry of an older version
    caption: str  # how to read the figure
    finding: str
    table: list[dict[str, str]] = []  # rows by column, of an experiment that has a table
    full: bool  # run in the full size
    cases: int  # how many were measured
    seconds: float  # of all cases, one after the other
    environment: dict[str, Any]


FILE = TypeAdapter(dict[str, ExperimentEntry])


def names() -> list[str]:
    """The experiments in reading order: the files of experiments/, without importing them."""
    files = (Path(__file__).parent / "experiments").glob("[!_]*.py")
    return sorted((file.stem for file in files), key=_reading_order)


def _reading_order(name: str) -> tuple[int, str]:
    return ORDER.index(name) if name in ORDER else len(ORDER), name


def read(folder: Path) -> dict[str, ExperimentEntry]:
    """The entries of folder/explain.json whose figures exist, by name in reading order; empty where
    there are none. Raises DamagedError for a file of other content."""
    path = folder / "explain.json"
    try:
        entries = FILE.validate_python(read_json(path).get("experiments", {}))
    except ValidationError as error:
        raise DamagedError(
            f"{path} is damaged; move it away and run again: measured cases are kept"
        ) from error
    shown = [name for name in names() if name in entries and _has_figure(folder, name)]
    return {name: entries[name] for name in shown}


def add(folder: Path, name: str, entry: ExperimentEntry) -> None:
    """Write the entry of an experiment into folder/explain.json, which replaces an older one."""
    entries = read(folder) | {name: entry}
    plain = {name: entry.model_dump() for name, entry in entries.items()}
    write_json(folder / "explain.json", {"experiments": plain})


def _has_figure(folder: Path, name: str) -> bool:
    return all((folder / f"figures/{name}{suffix}").is_file() for suffix in SUFFIXES)
