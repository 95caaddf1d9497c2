"""A result set of a search, with values that a test chooses. No training."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmark.store.files import write_json
from tests.helpers import synthetic

FINAL_SEEDS = range(1000, 1008)
RATES = (1e-5, 1e-4, 3e-4, 1e-3, 5e-3, 1e-2, 2e-4, 3e-3, 2e-5, 4e-5, 6e-5, 8e-5, 4e-4, 6e-4)
FID = "fid_classifier_750"


def label(objective: str, configuration: int) -> str:
    """Of configuration 1 and more with its searched value."""
    return f"{objective}[lr={RATES[configuration]}]" if configuration else objective


def write(
    folder: Path,
    pools: Mapping[str, Sequence[float]],
    finals: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    sampler: str = "random",
    errors: Iterable[tuple[str, int]] = (),
    stop: Mapping[str, float] | None = None,
    stopped: Iterable[str] = (),
    early: Mapping[str, float] = MappingProxyType({}),
    seconds: Mapping[str, float] | None = None,
    **options: Any,
) -> Path:
    """Write results/runs/MATRIX into `folder`: digits, one pool seed, and 30 as the target.

    pools: objective -> the FID at the end of configurations 0, 1, …; inf: diverged, NaN: missing.
    finals: objective -> the FIDs of the default and of the pick on FINAL_SEEDS. errors: labels and
    seeds of cells that ended in an error. stop: the option. stopped: labels of pool cells that
    ended early. early: label -> the FID before the end, otherwise in the order of the end."""
    values: dict[tuple[str, int], float] = {}
    parts: dict[tuple[str, int], dict[str, Any]] = {}
    for name, pool in pools.items():
        known = [math.inf if math.isnan(value) else value for value in pool]
        best = known.index(min(known))
        for number, value in enumerate(pool):
            values[label(name, number), 0] = value
            parts[label(name, number), 0] = _part(name, number, len(pool), "pool")
        for number, ends in zip((0, best), finals.get(name, ()), strict=False):
            for seed, value in zip(FINAL_SEEDS, ends, strict=False):
                values[label(name, number), seed] = value
                parts[label(name, number), seed] = _part(name, number, len(pool), "final")
    ended = dict.fromkeys(((name, 0) for name in stopped), "stopped")
    ended |= dict.fromkeys(errors, "error")

    def curve(objective: str, metric: str, seed: int, i: int) -> float:
        end = values.get((objective, seed), 1.0)
        if metric != FID:
            return synthetic.learning(objective, metric, seed, i)
        if objective in early and i < 5:
            return early[objective]
        # what will diverge is the worst from the start
        return min(end, 999.0) * (1 + 0.5 * (5 - i))

    synthetic.write(
        folder,
        objectives=[*dict.fromkeys(name for name, _ in values)],
        groups=[("digits", "dcgan")],
        seeds=[0, *FINAL_SEEDS],
        curve=curve,
        status=_statuses(values, ended),
        seconds=seconds or {},
        targets={"digits": 30.0},
        samples=False,
        **options,
    )
    matrix = json.loads((folder / "matrix.json").read_text())
    cells = []
    for cell in matrix["cells"]:
        part = parts.get((cell["objective"], cell["seed"]))
        if part:
            cells.append(cell | {"search": part})
    matrix["config"]["search"] = {"sampler": sampler} | ({"stop": dict(stop)} if stop else {})
    matrix["config"]["evaluation"]["schedule"] = [0, 1 / 6, 0.5, 1]
    del matrix["schema"]
    write_json(folder / "matrix.json", matrix | {"cells": cells})
    return folder


def _statuses(
    values: Mapping[tuple[str, int], float], ended: Mapping[tuple[str, int], str]
) -> dict[tuple[str, str, int], str]:
    """How every cell ended, by its value and as `ended` says."""
    status = {}
    for (name, seed), value in values.items():
        of_value = "done" if math.isfinite(value) else "diverged"
        if math.isnan(value):
            of_value = "missing"
        status[name, "digits", seed] = ended.get((name, seed), of_value)
    return status


def _part(objective: str, configuration: int, of: int, phase: str) -> dict[str, Any]:
    return {
        "objective": objective,
        "architecture": "dcgan",
        "configuration": configuration,
        "of": of,
        "phase": phase,
        "values": {"lr": RATES[configuration], "critic_steps": 5 if configuration % 2 else 1},
    }
