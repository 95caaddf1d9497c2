"""Traces: the first numbers of every run of a group, seed by seed, from results or from a baseline.

A trace holds what was measured before the first step, the losses, scores and gradient norms of the
first steps, and losses, scores, slope and penalty of the first log intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.analysis.tables import Tables
from benchmark.check.rows import UNKNOWN
from benchmark.errors import UserError
from benchmark.matrix.cell import digest
from benchmark.stats.intervals import Array
from benchmark.store.frames import check_order, read_frame
from benchmark.store.schema import FINISHED

GROUP = ["objective", "architecture", "dataset"]
SCORES = ("d_loss", "g_loss", "d_real", "d_fake")
STEP = [*SCORES, "d_grad_norm", "g_grad_norm"]
"""Of a single generator step."""
INTERVAL = [*SCORES, "slope", "penalty", "d_loss_holdout"]
"""Of a log interval: the means over its steps, and the probes at its end."""
NUM_INTERVALS = 2
# Fields of a trace in a file, besides its protocol and its seeds
TEXTS = (*GROUP, "training", "arithmetic", "executed", "rounding", "points")
DIGITS = 7  # significant digits that a baseline keeps: about those of float32


class Point(NamedTuple):
    """One number of a trace."""

    step: int
    """Generator step; 0 before the first one."""
    name: str
    """A metric column at step 0, one of STEP, or one of INTERVAL after `mean `."""


class Origin(NamedTuple):
    """What the last digits of numbers depend on; UNKNOWN where that was not recorded."""

    arithmetic: str
    """Device, instructions and versions; several joined by ` + `."""
    executed: str
    """How the training steps were executed."""

    @property
    def is_reproducible(self) -> bool:
        """Whether a run on the same gives the same numbers, bit for bit: on one kind of CPU."""
        return not (
            UNKNOWN in self
            or ", CUDA " in self.arithmetic
            or " + " in self.arithmetic + self.executed
        )


@dataclass(frozen=True)
class Trace:
    """The traces of a group: cells that differ in the seed alone."""

    objective: str
    architecture: str
    dataset: str
    training: str
    """The digest of the training options."""
    protocol: str | None
    origin: Origin
    rounding: str
    """Whose rounding the numbers have: `images`, `points`, or UNKNOWN, as below float32."""
    points: list[Point]
    seeds: dict[str, Array]
    """The numbers at `points`, by seed; NaN for a number that is not there or not a number."""

    @property
    def group(self) -> tuple[str, str, str]:
        return self.objective, self.architecture, self.dataset

    @property
    def title(self) -> str:
        return " / ".join(self.group)


def traces(tables: Tables) -> list[Trace]:
    """The traces of the finished cells. A group without a number has none.

    Raises UserError for files that are damaged."""
    finished = tables.runs[tables.runs["status"].isin(FINISHED)]
    numbers = pd.concat([_untrained(tables), _steps(tables), _intervals(tables)])
    by_cell = numbers.pivot(index="cell", columns=["step", "name"], values="value")
    options = {entry.key: entry.spec.training for entry in tables.matrix.cells}
    found = []
    for _, group in finished.groupby(GROUP, sort=False):
        wide = by_cell.reindex(group["key"]).dropna(axis=1, how="all")
        if wide.empty:
            continue
        values = wide.to_numpy(float)
        first = group.iloc[0]
        training = options[first["key"]]
        is_float32 = training.get("precision", "float32") == "float32"
        found.append(
            Trace(
                objective=first["objective"],
                architecture=first["architecture"],
                dataset=first["dataset"],
                training=digest(training),
                protocol=next(iter(group["protocol"].dropna()), None),
                origin=_origin(tables, group),
                rounding=first["modality"] if is_float32 else UNKNOWN,
                points=_points(wide.columns),
                seeds=dict(zip(map(str, group["seed"]), values, strict=True)),
            )
        )
    return found


def _points(columns: pd.Index) -> list[Point]:
    steps, names = (columns.get_level_values(level) for level in ("step", "name"))
    return [Point(int(step), str(name)) for step, name in zip(steps, names, strict=True)]


def plain(trace: Trace) -> dict[str, Any]:
    """A trace as a baseline's file holds it: the numbers of a seed in one line."""
    lines = {}
    for seed, values in trace.seeds.items():
        lines[seed] = " ".join(f"{value:.{DIGITS}g}" for value in values)
    return {
        "objective": trace.objective,
        "architecture": trace.architecture,
        "dataset": trace.dataset,
        "training": trace.training,
        "protocol": trace.protocol,
        "arithmetic": trace.origin.arithmetic,
        "executed": trace.origin.executed,
        "rounding": trace.rounding,
        "points": ", ".join(f"{step} {name}" for step, name in trace.points),
        "seeds": lines,
    }


def parsed(saved: Mapping[str, Any], i: int) -> Trace:
    """The trace that `plain` gave, the i-th of a file. Raises UserError for what is none."""
    for field in TEXTS:
        if not isinstance(saved.get(field), str):
            raise UserError(f"{field} of trace {i}")
    protocol, lines = saved.get("protocol"), saved.get("seeds")
    if not isinstance(protocol, str | None) or not isinstance(lines, dict):
        raise UserError(f"protocol or seeds of trace {i}")
    try:
        points = [_parsed_point(text) for text in saved["points"].split(", ")]
        seeds = {seed: np.array(line.split(), dtype=float) for seed, line in lines.items()}
    except (ValueError, AttributeError) as error:
        raise UserError(f"numbers of trace {i}") from error
    if any(len(values) != len(points) for values in seeds.values()):
        raise UserError(f"numbers of trace {i}")
    origin = Origin(saved["arithmetic"], saved["executed"])
    return Trace(
        objective=saved["objective"],
        architecture=saved["architecture"],
        dataset=saved["dataset"],
        training=saved["training"],
        protocol=protocol,
        origin=origin,
        rounding=saved["rounding"],
        points=points,
        seeds=seeds,
    )


def _parsed_point(text: str) -> Point:
    step, name = text.split(" ", 1)
    return Point(int(step), name)


def _untrained(tables: Tables) -> pd.DataFrame:
    """What was measured before the first step: cell, step, name, value."""
    start = tables.evals[tables.evals["g_steps"] == 0]
    columns = {"g_steps": "step", "metric": "name"}
    rows = start.rename(columns=columns)[["cell", "step", "name", "value"]]
    return rows.astype({"cell": str, "name": str})


def _steps(tables: Tables) -> pd.DataFrame:
    """The first steps, one by one: cell, step, name, value."""
    finished = set(tables.runs["key"][tables.runs["status"].isin(FINISHED)])
    known = tables.gate_facts.items()
    files = {key: facts.first_steps for key, facts in known if key in finished}
    rows = read_frame(files, [], ["g_step", *STEP], ["g_step"])
    check_order(rows, files, "g_step", [])
    return _long(rows, STEP)


def _intervals(tables: Tables) -> pd.DataFrame:
    """The first log intervals: cell, step, name, value."""
    rows = tables.steps.groupby("cell", observed=True).head(NUM_INTERVALS)
    found = _long(rows, INTERVAL)
    return found.assign(name="mean " + found["name"])


def _long(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    found = rows.melt(["cell", "g_step"], list(names), "name", "value")
    return found.rename(columns={"g_step": "step"}).astype({"cell": str})


def _origin(tables: Tables, group: pd.DataFrame) -> Origin:
    """On what, and how, the cells of a group were trained."""
    machines = list(_machines(tables, group["key"]))
    ways = group["executed"].dropna().unique()
    return Origin(" + ".join(dict.fromkeys(machines)), " + ".join(ways) or UNKNOWN)


def _machines(tables: Tables, keys: pd.Series) -> Iterator[str]:
    for key in keys:
        facts = tables.gate_facts.get(key)
        for arithmetic in facts.arithmetic if facts else [None]:
            yield arithmetic or UNKNOWN
