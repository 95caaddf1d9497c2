"""Cells of a search -> one table: configuration, phase, value at the end and at every rung."""

from collections import defaultdict

import numpy as np
import pandas as pd

from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.analysis.targets import GIVEN
from benchmark.matrix.search.part import POOL, Part
from benchmark.matrix.search.pick import pick
from benchmark.matrix.search.rungs import SPENT
from benchmark.metrics import metric
from benchmark.store.frames import is_wanted, of_cell
from benchmark.store.schema import FINISHED, Entry, RunStatus

GROUP = [*PLACE, "objective"]
"""What one pick is made for: a searched objective in a place."""
LEVEL = "1/2"
"""The target that `seconds_to_target` is of, where the matrix gives none."""
COLUMNS = ["key", *GROUP, "configuration", "phase", "is_default", "is_pick", "is_stopped", "seed"]
COLUMNS += ["value", "train_seconds", "seconds_to_target"]
RUNG = "at_{:g}"
"""Column of a rung: at_0.1 is the value at a tenth of the budget."""
UNKNOWN = set(RunStatus) - {*FINISHED, RunStatus.TIMEOUT}
"""Statuses of cells whose value at the end is not known."""


def search_table(tables: Tables) -> pd.DataFrame:
    """One row per finished cell of a search, in the order of the matrix; no row without a search.

    key: of the cell.
    dataset, architecture, objective: labels without the searched values.
    configuration: number in the search; 0 is the published default.
    phase: pool or final.
    is_default: whether the configuration is 0.
    is_pick: whether the configuration is the best of its pool, in both phases; False while cells
        of the pool are not settled.
    is_stopped: whether the run ended early, at the rung of the search.
    seed: of the cell.
    value: the metric of the search at the end, smaller is better; inf where the run diverged, NaN
        where it ended early.
    train_seconds: of the run.
    seconds_to_target: training seconds at the first evaluation that reaches the target, which is
        the matrix's own or half of the way to the noise floor; inf where it was missed, NaN where
        there is no target.
    lr, beta1, critic_steps, …: one column per searched parameter; missing where the objective has
        no such parameter.
    at_0.1, at_0.2, …: the value at every evaluation between start and end, by its share of the
        budget; inf from where a run diverged."""
    entries = [entry for entry in tables.matrix.cells if entry.search]
    rows = [_row(entry, entry.search) for entry in entries if entry.search]
    parameters = [*dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)]
    table = pd.DataFrame(rows, columns=["key", *GROUP, *COLUMNS[4:7], "seed", *parameters])
    cells = tables.runs[["key", "status", "train_seconds"]]
    table = table.merge(cells, on="key", how="left")
    wanted = table["dataset"].map(metric_columns(tables))
    values = _values(tables, pd.Series(wanted.to_numpy(), table["key"]))
    table = table.merge(values, on="key", how="left")
    diverged = table["status"] == RunStatus.DIVERGED
    table.loc[diverged, "value"] = np.inf
    table["is_stopped"] = table["status"] == RunStatus.STOPPED
    table.loc[table["is_stopped"], "value"] = np.nan
    rungs = [RUNG.format(share) for share in _rungs(tables)]
    table.loc[diverged, rungs] = table.loc[diverged, rungs].fillna(np.inf)
    table["is_pick"] = _is_pick(table, entries)
    finished = table[table["status"].isin(FINISHED)].reset_index(drop=True)
    return finished[[*COLUMNS, *parameters, *rungs]]


def metric_columns(tables: Tables) -> dict[str, str]:
    """The column that the configurations of each dataset are compared by: of the metric of the
    search, otherwise the one that ranks."""
    wanted = (tables.matrix.config.get("search") or {}).get("metric")
    if wanted is None:
        return tables.primary
    found = {}
    measured = tables.evals[["cell", "metric"]].drop_duplicates().astype(str)
    dataset = measured["cell"].map(tables.runs.set_index("key")["dataset"])
    for label, column in zip(dataset, measured["metric"], strict=True):
        if metric(column).name == wanted:
            found[label] = column
    return found


def _row(entry: Entry, part: Part) -> dict[str, object]:
    return {
        "key": entry.key,
        "dataset": entry.dataset,
        "architecture": part.architecture,
        "objective": part.objective,
        "configuration": part.configuration,
        "phase": part.phase,
        "is_default": part.configuration == 0,
        "seed": entry.seed,
        **part.values,
    }


def _values(tables: Tables, column: pd.Series) -> pd.DataFrame:
    """value, seconds_to_target and the rungs by key. column: the wanted metric, by key."""
    evals = tables.evals
    keys = evals["cell"].cat.categories
    # keys of no search want no metric
    evals = evals[is_wanted(evals, "metric", column.reindex(keys))]
    evals = evals.assign(cell=evals["cell"].astype(str), share=_shares(tables, evals))
    values = {"value": evals.groupby("cell")["value"].last()}
    values["seconds_to_target"] = _seconds_to_target(tables, evals)
    for share in _rungs(tables):
        reached = evals[evals["share"] > share - 1e-6]
        values[RUNG.format(share)] = reached.groupby("cell")["value"].first()
    return pd.DataFrame(values, index=column.index).reset_index(names="key")


def _rungs(tables: Tables) -> list[float]:
    """The shares of the budget between start and end at which runs are measured."""
    schedule = tables.matrix.config.get("evaluation", {}).get("schedule", [])
    return [float(share) for share in schedule if 0 < share < 1]


def _shares(tables: Tables, evals: pd.DataFrame) -> np.ndarray:
    """The share of the budget that was spent at each evaluation."""
    budgets: dict[str, dict[str, float]] = {name: {} for name in SPENT.values()}
    for entry in tables.matrix.cells:
        for budget, spent in SPENT.items():
            amount = entry.spec.training.get(budget)
            if amount:
                budgets[spent][entry.key] = amount
    shares = np.full(len(evals), np.nan)
    for spent, amounts in budgets.items():
        amount = of_cell(evals, pd.Series(amounts, dtype=float))
        known = ~np.isnan(amount)
        shares[known] = evals[spent].to_numpy()[known] / amount[known]
    return shares


def _seconds_to_target(tables: Tables, evals: pd.DataFrame) -> pd.Series:
    """By key, of `seconds_to_target`."""
    of_level = tables.costs[tables.costs["level"].isin([GIVEN, LEVEL])]
    costs: pd.Series = of_level.set_index("key")["samples"]
    reached = evals[evals["samples_seen"].to_numpy() == evals["cell"].map(costs).to_numpy()]
    seconds = reached.groupby("cell")["train_seconds"].first()
    return seconds.reindex(costs.index).where(costs != np.inf, np.inf)


def _is_pick(table: pd.DataFrame, entries: list[Entry]) -> pd.Series:
    """Whether the configuration of each row is the pick of its group."""
    num_configurations = {entry.key: entry.search.of for entry in entries if entry.search}
    is_pick = pd.Series(False, table.index)
    for _, rows in table.groupby(GROUP, sort=False):
        values: dict[int, list[float]] = defaultdict(list)
        pool = rows[rows["phase"] == POOL]
        if pool["status"].isin(UNKNOWN).any():
            continue
        # A run that took too long, or ended early, has no value
        late = pool["value"].where(pool["status"] != RunStatus.TIMEOUT, np.inf)
        for configuration, value in zip(pool["configuration"], late, strict=True):
            values[configuration].append(value)
        if len(values) == num_configurations[pool["key"].iloc[0]]:
            is_pick[rows.index] = rows["configuration"] == pick(values)
    return is_pick
