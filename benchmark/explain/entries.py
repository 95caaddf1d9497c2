"""…"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from benchmark.errors import DamagedError
from benchmark.store.files import read_json

ORDER = (
    *(
        "saturation",
        "disjoint_supports",
        "optimal_critic",
        "value_surfaces",
        "depth",
        "weights",
        "mode_collapse",
    ),
    *("overfitting", "penalty"),
)  # in which a reader meets them; others follow
SUFFIXES = (".png", ".svg", ".csv")  # of a figure's files


class Entry(BaseModel):
    """What explain.json says of an experiment."""

    title: str
    text: list[str]
    caption: str
    finding: str
    full: bool
    cases: int
    seconds: float
    environment: dict[str, Any]


FILE = TypeAdapter(dict[str, Entry])


def names() -> list[str]:
    """The experiments in reading order: the files of this folder, without importing them."""
    found = sorted(file.stem for file in (Path(__file__).parent / "experiments").glob("[!_]*.py"))
    return sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def read(folder: Path) -> dict[str, Any]:
    """The entries of folder/explain.json whose figures are there, by name in reading order; empty
    where there are none. Raises DamagedError for a file of other content."""
    path = folder / "explain.json"
    try:
        entries = FILE.validate_python(read_json(path).get("experiments", {}))
    except ValidationError as error:
        raise DamagedError(
            f"{path} is damaged; move it away and run again: measured cases are kept"
        ) from error
    whole = {
        name
        for name in entries
        if all((folder / f"figures/{name}{suffix}").is_file() for suffix in SUFFIXES)
    }
    return {name: entries[name].model_dump() for name in names() if name in whole}
