"""Cell folders -> tables: cells, evals, steps, layers, summary, convergence, costs, scores.

Reads and derives; writes nothing and trains nothing. Raw first, derived later: `cells` holds
what was measured, whatever became of the run; scores.py says what counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark.analysis import convergence, scores, stability
from benchmark.analysis.convergence import Place
from benchmark.analysis.published import COLUMNS, GateFacts, Rows, frames, read
from benchmark.analysis.targets import (
    Targets,
    find_targets,
    ranking_columns,
    untrained_values,
)
from benchmark.errors import UserError
from benchmark.matrix import recall
from benchmark.metrics import rank
from benchmark.store.clocks import WALL_CLOCKS
from benchmark.store.code import CodeHashes
from benchmark.store.frames import RowFile, check_order, read_frame
from benchmark.store.layout import ResultSet
from benchmark.store.schema import (
    Entry,
    Environment,
    MatrixFile,
    Protocol,
    RunStatus,
    Spec,
    Status,
    executed_on,
    on_threads,
)

if TYPE_CHECKING:
    from benchmark.analysis.search.tuning import Tuning

# every row of a file that has these columns has them
REQUIRED = ("samples_seen", "metric", "protocol", "g_step", "network", "layer")
TEXTS = ["metric", "protocol", "network", "layer"]
# numbers and texts of status.json
NUMBERS = ["onset", "resumes", "samples_seen", "g_steps", *WALL_CLOCKS, "peak_memory_mb"]
NUMBERS += ["forwards_per_d_step", "forwards_per_g_step", "reference_ms", "reference_mb"]
FACTS = ["protocol", "code", "precision", "layout", "norm"]
RUN_STEPS = ["best_g_step", "final_g_step"]
TABLES = ["cells", "evals", "steps", "layers", "summary", "convergence", "costs", "scores"]


@dataclass
class Tables:
    """The tables of a matrix, its expanded list and its protocols. Numbers are float64. What is
    derived from the values of whole runs is computed when it is first used."""

    folder: Path
    """Of the result set."""
    runs: pd.DataFrame
    """One row per cell of the list, in its order."""
    evals: pd.DataFrame
    steps: pd.DataFrame
    layers: pd.DataFrame
    matrix: MatrixFile
    protocols: dict[str, Protocol]
    """By dataset."""
    equal_cost: dict[str, dict[Place, float]]
    """What equal_compute and equal_time stand for, by (dataset, architecture)."""
    untrained: dict[Place, float]
    """The primary metric before the first step, the median over runs, by (dataset,
    architecture)."""
    targets: dict[Place, Targets]
    """By (dataset, architecture)."""
    damaged: list[str]
    """What is damaged of cells that count as missing."""
    gate_facts: Mapping[str, GateFacts] = field(default_factory=dict)
    """By key; empty where the cells are not kept."""
    with_pools: "Tables | None" = None
    """The tables of all cells, of tables without the pools of searches (`finals.compared`) or
    without drawn architectures (`drawn.without_drawn`)."""

    @cached_property
    def tuning(self) -> "Tuning | None":
        """What a search says, by names as pages show them; None for a matrix without a search."""
        from benchmark.analysis.search.tuning import gather

        return gather(self.with_pools or self, with_names=True)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """`runs` with a verdict and the indices of stability."""
        judged = stability.judge(self.runs, self.evals, self.steps, self.protocols, self.primary)
        return self.runs.join(judged, on="key")

    @cached_property
    def summary(self) -> pd.DataFrame:
        """objective x architecture x dataset x metric x of (RUN_VALUES)."""
        return scores.summarise(self.runs)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """cell x level of its place's targets."""
        targets = {place: found.values for place, found in self.targets.items()}
        return convergence.to_targets(self.runs, self.evals, self.primary, targets)

    @cached_property
    def convergence(self) -> pd.DataFrame:
        """objective x architecture x dataset x level x clock."""
        return convergence.over_seeds(self.runs, self.costs)

    @cached_property
    def primary(self) -> dict[str, str]:
        """The column each dataset is ranked by, as `ranking` chooses among the measured ones."""
        return ranking_columns(self.evals, self.runs)

    @cached_property
    def published(self) -> dict[str, pd.DataFrame]:
        """TABLES by name, as they are written: with axes, parameters and whole numbers."""
        return frames(self)

    def floor(self, dataset: str, column: str) -> float:
        """The noise floor, real against held-out real; NaN where none was measured."""
        return _floor(self.protocols, dataset, column)

    def marks(self, dataset: str, column: str) -> dict[str, float]:
        """What else the column was measured on, by name, such as random text: values that say how
        far a generator came. Empty where there is none."""
        marks = self.protocols[dataset].marks if dataset in self.protocols else {}
        return {name: of[column] for name, of in marks.items() if column in of}


def load(folder: Path) -> Tables:
    """The tables of results/runs/MATRIX, from its cells; of a result set that is kept without them,
    from its stored tables.

    Raises UserError without matrix.json, for files that are damaged, and for two protocols in one
    dataset."""
    results = ResultSet(folder)
    matrix, protocols = results.matrix, results.protocols
    if not matrix.cells:
        raise UserError(f"{results.matrix_file} lists no cells")
    rows = read(results) or _rows(results, matrix)
    rows = rows._replace(cells=scores.with_race(rows.cells, results.races))
    return derived(folder, matrix, protocols, rows)


def derived(folder: Path, matrix: MatrixFile, protocols: dict[str, Protocol], rows: Rows) -> Tables:
    """The tables of a result set from its rows, whose cells are `with_race`."""
    cells = scores.with_crossed(rows.cells.copy(), matrix.cells)
    cells["forwards"] = scores.forwards(cells, cells)
    evals = scores.with_costs(scores.of_current_protocol(cells, rows.evals), cells)
    primary = ranking_columns(evals, cells)

    equal_cost = {of: convergence.equal_cost(cells, of) for of in scores.EQUAL_COST}
    at_cost = [convergence.at_equal_cost(cells, evals, *of) for of in equal_cost.items()]
    values = convergence.measured(evals).join([*at_cost])
    metrics = sorted(evals["metric"].cat.categories, key=rank)
    columns = [f"{name}:{value}" for name in metrics for value in [*scores.RUN_VALUES, *RUN_STEPS]]
    cells = cells.join(values[columns], on="key")
    untrained = untrained_values(cells, evals, primary)
    floors = {dataset: _floor(protocols, dataset, column) for dataset, column in primary.items()}
    targets = find_targets(untrained, floors, primary, matrix.targets)
    return Tables(
        folder=folder,
        runs=cells,
        evals=evals,
        steps=rows.steps,
        layers=rows.layers,
        matrix=matrix,
        protocols=protocols,
        equal_cost=equal_cost,
        untrained=untrained,
        targets=targets,
        damaged=rows.damaged,
        gate_facts=rows.gate_facts,
    )


def _rows(results: ResultSet, matrix: MatrixFile) -> Rows:
    """What the folders of the cells hold."""
    hashes = CodeHashes()
    cells: list[dict[str, Any]] = []
    statuses: dict[str, Status] = {}
    damaged: list[str] = []
    gate_facts: dict[str, GateFacts] = {}
    for entry in matrix.cells:
        files = results.cell(entry.key)
        status, fault = files.read_status()
        statuses[entry.key] = status
        damaged += [fault] if fault else []
        spec, environment = None, None
        if status.status != RunStatus.MISSING:
            spec, environment = files.spec(status), files.environment(status)
        environment = environment or Environment()
        cells.append(_cell(entry, status, spec, environment, hashes))
        gate_facts[entry.key] = GateFacts.of(files, status, environment)
    recall.save()
    return Rows(
        pd.DataFrame(cells),
        _long(results, statuses, "evals"),
        _long(results, statuses, "steps"),
        _long(results, statuses, "layers"),
        damaged,
        gate_facts,
    )


def _cell(
    entry: Entry, status: Status, spec: Spec | None, environment: Environment, hashes: CodeHashes
) -> dict[str, Any]:
    """The row of a cell: its status, environment and spec."""
    has_started = status.status != RunStatus.MISSING
    # without a spec.json: the spec of matrix.json, which the key is made of
    spec = spec or entry.spec
    row: dict[str, Any] = {name: getattr(entry, name) for name in ("key", *scores.AXES, "modality")}
    row["status"] = str(status.status)
    row["stale"] = has_started and hashes.is_stale(status, entry.evaluation_hash, spec)
    row["reason"] = status.reason
    for name in NUMBERS:
        is_known = name in status.model_fields_set
        row[name] = _number(getattr(status, name)) if is_known else np.nan
    if has_started and "compile_seconds" not in status.model_fields_set:
        # an older version: nothing was compiled
        row["compile_seconds"] = 0.0
    row["batch_size"] = _number(entry.spec.training.get("batch_size"))
    for name in FACTS:
        row[name] = getattr(status, name)
    row |= _how_executed(status) | _where_run(status, environment)
    by_other_code = hashes.is_measured_by_other_code(status, entry.modality)
    row["measurements_stale"] = status.status.is_finished and by_other_code
    return row


def _how_executed(status: Status) -> dict[str, Any]:
    """execution, stack, fallback and recipe."""
    execution = status.execution
    recipe = [f"{name}={value}" for name, value in status.recipe.items()]
    return {
        "execution": execution.mode if execution else None,
        "stack": _number(execution.stack) if execution else np.nan,
        "fallback": execution.fallback if execution else None,
        "recipe": " ".join(recipe) or None,
    }


def _where_run(status: Status, environment: Environment) -> dict[str, Any]:
    """device, executed, torch and git_commit. A device names how a cell was executed, as
    `executed_on`."""
    parts = [environment, *environment.resumes]
    device = _all([part.device for part in parts])
    threads = _all([str(part.threads) for part in parts if part.threads])
    way = on_threads(status.executed, threads)
    return {
        "device": device and executed_on(device, way),
        "executed": way if status.execution else None,
        "torch": _all([part.versions.get("torch") for part in parts]),
        "git_commit": environment.git.commit if environment.git else None,
    }


def _all(names: list[str | None]) -> str | None:
    """What a cell ran on: "A + B" once it was resumed on another one."""
    return " + ".join(name for name in dict.fromkeys(names) if name) or None


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _long(results: ResultSet, statuses: dict[str, Status], file: str) -> pd.DataFrame:
    """The rows of one file of every cell: cell, and COLUMNS of the file."""
    columns = COLUMNS[file]
    files: dict[str, RowFile] = {}
    for key, status in statuses.items():
        # what lies in the folder of a missing cell does not belong to the cell
        if status.status != RunStatus.MISSING:
            folder = results.cell(key)
            path = getattr(folder, file)
            files[key] = RowFile(path, folder.committed_file(path, status))
    texts = [name for name in columns if name in TEXTS]
    numbers = [name for name in columns if name not in TEXTS]
    required = [name for name in columns if name in REQUIRED]
    rows = read_frame(files, texts, numbers, required)
    step = "g_steps" if "g_steps" in columns else "g_step"
    check_order(rows, files, step, texts)
    return rows[["cell", *columns]]


def _floor(protocols: Mapping[str, Protocol], dataset: str, column: str) -> float:
    if dataset not in protocols:
        return np.nan
    return protocols[dataset].floor.get(column, np.nan)
