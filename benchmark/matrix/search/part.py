"""The part of a cell in a search."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmark.matrix.cell import Cell, DisplayNames

POOL = "pool"
"""The phase of all configurations, on the seeds of the matrix."""
FINAL = "final"
"""The phase of the default and of the pick, on seeds that no pool cell has."""


class Rung(BaseModel):
    """The evaluation at which a run ends, unless its value there is good enough."""

    model_config = ConfigDict(
        strict=True, extra="allow", frozen=True, use_attribute_docstrings=True
    )

    at: float
    """Share of the training budget."""

    limit: float
    """The largest value with which the run goes on."""

    metric: str | None
    """Name of the metric of the search; None: the one that ranks."""


class Part(BaseModel):
    """The part of a cell in the search of its objective."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    objective: str
    """Label of the objective without the searched values."""

    architecture: str
    """Label of the architecture without a searched norm of the critic."""

    configuration: int
    """Number of the configuration; 0: the published default."""

    of: int
    """Configurations of the search."""

    phase: str
    """pool: one of all configurations; final: the default or the pick, on seeds of its own."""

    values: dict[str, Any]
    """Searched parameter → value."""

    rung: Rung | None = None
    """Where the run may end early; None: it trains to its end."""


def with_configurations(
    names: DisplayNames, cells: Iterable[Cell], parts: Mapping[str, Part]
) -> DisplayNames:
    """Display names, and `wgan_gp #7` for an objective with the values of configuration 7. parts:
    by key. What places search by themselves (tpe) may have two configurations 7, which then have no
    such name."""
    found: dict[str, str] = {}
    known = names.get("objective", {})
    for cell in cells:
        part = parts.get(cell.key)
        if part and part.configuration:
            shown = known.get(part.objective, part.objective)
            found[cell.objective.label] = f"{shown} #{part.configuration}"
    counts = Counter(found.values())
    distinct = {label: name for label, name in found.items() if counts[name] == 1}
    return names | {"objective": known | distinct} if distinct else names
