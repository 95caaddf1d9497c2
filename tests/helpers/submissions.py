"""Synthetic submissions: finished, committed and sealed cells, and faults planted in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark import __version__
from benchmark.store.files import read_json, write_json, write_record
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.schema import Status
from tests.helpers import synthetic

CONTROL = "nonsaturating"
SEEDS = 5
Rows = list[dict[str, Any]]


def curve(objective: str, metric: str, seed: int, i: int) -> float:
    """Falls from a start that the seed alone decides to a level of the objective."""
    floor = synthetic.METRICS["digits"].get(metric) or synthetic.METRICS["gaussians8"][metric]
    factor = 1 + 0.01 * ((7 * seed) % 11)
    level = {CONTROL: 3.0, "wgan": 4.0}.get(objective, 2.0)
    return floor * factor * (40.0 if i == 0 else level + 0.1 * (6 - i))


def write(folder: Path, **options: Any) -> Path:
    """A result set as a submission holds it."""
    settings = {
        "objectives": (CONTROL, "wgan"),
        "seeds": range(SEEDS),
        "curve": curve,
        "evaluations": 7,
        "untrained": True,
        "steps": 31,
        "samples": False,
        "reference": CONTROL,
        "fields": lambda objective, seed: {"execution": {"mode": "eager"}},
    }
    synthetic.write(folder, **settings | options)
    for cell in folder.glob("cells/*"):
        surroundings = read_json(cell / "environment.json") | {
            "versions": {"torch": "2.14.1", "ganbench": __version__},
            "processor": "Synthetic CPU",
        }
        seal(cell, surroundings)
    results = ResultSet(folder)
    write_record(results.matrix_file, results.matrix)
    sealed = {name: protocol.sealed() for name, protocol in results.protocols.items()}
    results.write_protocols(sealed)
    return folder


def cell_of(folder: Path, seed: int, objective: str = CONTROL, dataset: str = "digits") -> Path:
    (cell,) = folder.glob(f"cells/{objective}-*-{dataset}-seed{seed}-*")
    return cell


def seal(cell: Path, surroundings: dict[str, Any] | None = None, **changes: Any) -> None:
    """Commit a cell again as a forger does: every hash is right. changes: of its status."""
    files = CellFolder(cell)
    if surroundings is not None:
        surroundings.pop("schema", None)
        write_json(files.environment_file, surroundings, sealed=True)
    spec = read_json(files.spec_file)
    del spec["schema"]
    write_json(files.spec_file, spec, sealed=True)
    status = read_json(files.status_file) | changes
    del status["schema"]
    files.commit(Status.model_validate(status))


def change_rows(cell: Path, change: Callable[[Rows], Rows], name: str = "evals.jsonl") -> None:
    """Change the rows of a file; the hashes stay those of the old ones."""
    file = cell / name
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps(row) + "\n" for row in change(rows)]
    file.write_text("".join(lines), encoding="utf-8")
