"""The values of a run that count, and their summary over seeds.

A table `cells` holds what was measured, whatever became of the run. Here a run that diverged has
the worst value (±inf), and a run that is not finished is a hole (NaN), which shows as
n < n_expected."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from benchmark.errors import UserError
from benchmark.matrix.options.seeds import weights_and_batches
from benchmark.metrics import rank, short_name, sign
from benchmark.stats.intervals import median_by_group
from benchmark.stats.race import raced
from benchmark.store.frames import is_wanted, of_cell
from benchmark.store.schema import WHOLE, Entry, Race
from benchmark.text import counted, plural

AXES = ["objective", "architecture", "dataset", "seed"]
# a place: objectives are compared within it
PLACE = ["dataset", "architecture"]
# what a run has of every metric, as columns METRIC:VALUE of `cells`
RUN_VALUES = ["final", "best", "area", "equal_compute", "equal_time"]
# of crossed seeds: the two seeds that each stands for
WEIGHTS, BATCHES = "seed.weights", "seed.batches"
SUMMARY_BY = ["dataset", "architecture", "objective", "metric", "of"]


LEAST_PLACES = 3
"""What is averaged over fewer places says less than the places do."""
# budgets of equal cost, and the column of `cells` that counts the cost of a run
EQUAL_COST = {"equal_compute": "forwards", "equal_time": "raced_seconds"}
PACE = 0.10
"""Seconds have no verdict where the spread of an objective over the rounds of the race is larger.
Measured on two cores: 0.005 to 0.02 on a quiet machine, up to 0.05 with two busy processes. At
0.10 the median of 30 rounds has a standard error of 3 %."""
RACED = ["raced_ms", "raced_spread", "raced_workload_ms", "raced_seconds", "raced_on", "race_fault"]


def with_crossed(cells: pd.DataFrame, entries: Sequence[Entry]) -> pd.DataFrame:
    """`cells` with WEIGHTS and BATCHES, where a seed is crossed; unchanged where none is. entries:
    of the cells, in their order."""
    pairs = [weights_and_batches(entry.seed) if entry.spec.crossed else None for entry in entries]
    if not any(pairs):
        return cells
    weights, batches = zip(*(pair or (np.nan, np.nan) for pair in pairs), strict=True)
    return cells.assign(**{WEIGHTS: weights, BATCHES: batches})


def is_crossed(cells: pd.DataFrame) -> pd.Series:
    """Which cells have crossed seeds. They share weights or batches with others of their group: no
    interval and no test takes them for independent."""
    if WEIGHTS in cells:
        return cells[WEIGHTS].notna()
    return pd.Series(False, cells.index)


def without_crossed_intervals(frame: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """A frame of objectives at places with NaN for the intervals of those whose seeds are
    crossed."""
    by = [*PLACE, "objective"]
    crossed = set(cells.loc[is_crossed(cells), by].itertuples(False, None))
    groups = frame[by].itertuples(False, None)
    is_here = pd.Series([group in crossed for group in groups], frame.index, dtype=bool)
    return frame.assign(**{end: frame[end].mask(is_here) for end in ("ci_low", "ci_high")})


def with_race(cells: pd.DataFrame, races: Sequence[Race]) -> pd.DataFrame:
    """`cells` with RACED: what a generator step costs by the race of the cell's place.

    raced_ms: milliseconds; raced_spread: half the interquartile range over rounds, as a share;
    raced_workload_ms: the same of the reference workload; raced_seconds: raced_ms x generator steps
    of the run; raced_on: device; race_fault: why seconds of the place do not compare, empty if they
    do. One race counts in a place: one with all its objectives before others, then the one of the
    code and of the device of most cells, then the last."""
    parts = []
    for (dataset, architecture), here in cells.groupby(PLACE, sort=False):
        others = [r for r in races if (r.dataset, r.architecture) == (dataset, architecture)]
        chosen = max(others, key=lambda race: _preference(race, here), default=None)
        parts.append(_by_cell(here, chosen))
    facts = pd.concat(parts).loc[cells.index]
    facts["raced_seconds"] = facts["raced_ms"] * cells["g_steps"] / 1000
    return pd.concat([cells, facts[RACED]], axis=1)


def _preference(race: Race, cells: pd.DataFrame) -> tuple[bool, int, int, float]:
    """What a race of a place is chosen by: the largest."""
    codes = {name: raced.code for name, raced in race.objectives.items()}
    of_code = cells["objective"].map(codes) == cells["code"]
    of_device = cells["device"] == race.device
    made = datetime.fromisoformat(race.made).timestamp()
    return not _fault(race, cells), int(of_code.sum()), int(of_device.sum()), made


def _fault(race: Race | None, cells: pd.DataFrame) -> str:
    """Why a race does not say what the objectives of a place cost; empty if it does."""
    if race is None:
        return "no race has timed its objectives"
    missing = [name for name in cells["objective"].unique() if name not in race.objectives]
    if race.fault or not missing:
        return race.fault
    return f"{', '.join(missing)} was in no race"


def _by_cell(cells: pd.DataFrame, race: Race | None) -> pd.DataFrame:
    """RACED but raced_seconds, of the cells of a place."""
    fault = _fault(race, cells)
    if race is None or fault:
        frame = pd.DataFrame(np.nan, cells.index, RACED[:3])
        return frame.assign(raced_on=None, race_fault=fault)
    names = list(race.objectives)
    times = [*(race.objectives[name].milliseconds for name in names), race.reference]
    cost, spread = raced(np.transpose(times))
    costs = pd.DataFrame({"raced_ms": cost[:-1], "raced_spread": spread[:-1]}, names)
    frame = costs.loc[cells["objective"]].set_axis(cells.index)
    widest = costs["raced_spread"].idxmax()
    spread = costs["raced_spread"].max()
    if spread > PACE:
        fault = (
            f"the pace differed between the rounds of the race ({widest}: ±{spread:.0%} against "
            f"the others, more than {PACE:.0%})"
        )
    return frame.assign(raced_workload_ms=cost[-1], raced_on=race.device, race_fault=fault)


def clock_fault(cells: pd.DataFrame) -> str:
    """Why the seconds of the cells of a place do not compare, in words; empty if they do."""
    return next(filter(None, cells["race_fault"]), "")


def forwards(rows: pd.DataFrame, rates: pd.DataFrame) -> pd.Series:
    """Critic forward-equivalents after `rows` (samples_seen, g_steps), with the rates of a run.

    critic steps · forwards_per_d_step + generator steps · forwards_per_g_step. `rates` has the
    index of `rows`. NaN where the rates are not known."""
    d_steps = rows["samples_seen"] / rates["batch_size"]
    return d_steps * rates["forwards_per_d_step"] + rows["g_steps"] * rates["forwards_per_g_step"]


def of_current_protocol(cells: pd.DataFrame, evals: pd.DataFrame) -> pd.DataFrame:
    """Rows of one protocol per dataset: the one of the cells that are not stale.

    Of all cells where all are stale. Raises UserError for two protocols."""
    measured = evals[["cell", "protocol"]].drop_duplicates().astype(str)
    measured = measured.merge(cells[["key", "dataset", "stale"]], left_on="cell", right_on="key")
    has_fresh_cells = measured["dataset"].isin(measured[~measured["stale"]]["dataset"])
    fresh = measured[~measured["stale"] | ~has_fresh_cells]
    counts = fresh.groupby(["dataset", "protocol"], sort=False)["cell"].nunique().reset_index()
    for name, rows in counts.groupby("dataset", sort=False):
        if len(rows) > 1:
            pairs = zip(rows["protocol"], rows["cell"], strict=True)
            protocols = " and ".join(f"{protocol} ({n} cells)" for protocol, n in pairs)
            raise UserError(
                f"{name} is measured under {len(rows)} protocols, {protocols}: "
                "rows of different protocols are never compared; measure all of it again with "
                "`ganbench run --force`, or run into another --results folder"
            )
    by_dataset = dict(zip(counts["dataset"], counts["protocol"], strict=True))
    protocol = cells.set_index("key")["dataset"].map(by_dataset)
    is_current = is_wanted(evals, "protocol", protocol)
    return evals if is_current.all() else evals[is_current].reset_index(drop=True)


def with_costs(evals: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """`evals` with what the run of each row had spent: forwards, critic forward-equivalents, and
    raced_seconds; NaN where that is not known, and for seconds where those of the place do not
    compare."""
    by_key = cells.set_index("key")
    names = ["batch_size", "forwards_per_d_step", "forwards_per_g_step"]
    rates = pd.DataFrame({name: of_cell(evals, by_key[name]) for name in names}, evals.index)
    ms = of_cell(evals, by_key["raced_ms"].where(by_key["race_fault"] == ""))
    return evals.assign(forwards=forwards(evals, rates), raced_seconds=evals["g_steps"] * ms / 1000)


def raced_costs(cells: pd.DataFrame) -> pd.DataFrame:
    """What a generator step costs, critic steps included: ms and workloads (÷ the reference
    workload), NaN where seconds of the place do not compare; forwards, critic forward-equivalents.
    On the index of `cells`."""
    ms = cells["raced_ms"].where(cells["race_fault"] == "")
    workloads = ms / cells["raced_workload_ms"]
    per_step = cells["forwards"] / cells["g_steps"].where(cells["g_steps"] > 0)
    return pd.DataFrame({"ms": ms, "workloads": workloads, "forwards": per_step})


def run_values(
    cells: pd.DataFrame, names: Sequence[str] = (), of: Sequence[str] = RUN_VALUES
) -> pd.DataFrame:
    """What counts, long: key, AXES, status, `names`, metric, of (one of those wanted), value.

    A diverged run has the worst value, a run that is not done has NaN. A dataset's metrics are
    those that any of its cells has."""
    columns = _value_columns(cells)
    parts = []
    for _, rows in cells.groupby("dataset", sort=False):
        measured = [metric for metric in columns if _is_measured(rows, columns[metric])]
        wanted = [name for name in cells.columns if metric_of(name) in measured]
        kept = [name for name in wanted if name.endswith(tuple(of))]
        parts.append(rows.melt(["key", *AXES, "status", *names], kept, "column", "value"))
    long = pd.concat(parts, ignore_index=True)
    values = long["column"].unique()
    long["metric"] = long["column"].map({column: metric_of(column) for column in values})
    long["of"] = long["column"].map({column: column.rpartition(":")[2] for column in values})
    worst = {metric: np.inf * sign(metric) for metric in long["metric"].unique()}
    value = long["value"].astype(float).where(long["status"] == "done")
    value = value.where(long["status"] != "diverged", long["metric"].map(worst))
    return long.drop(columns="column").assign(value=value)


def scores(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per finished cell and metric of its dataset: cell, AXES, metric, RUN_VALUES.

    A diverged run has the worst value. Cells are in the order of the matrix, metrics in the order
    of METRICS."""
    long = run_values(cells)
    long = long[long["status"].isin(WHOLE)]
    index = ["key", *AXES, "metric"]
    wide = long.pivot(index=index, columns="of", values="value").reset_index()
    wide["position"] = wide["key"].map({key: i for i, key in enumerate(cells["key"])})
    wide["rank"] = wide["metric"].map(rank)
    wide = wide.sort_values(["position", "rank"], ignore_index=True).rename(columns={"key": "cell"})
    return wide.reindex(columns=["cell", *AXES, "metric", *RUN_VALUES]).rename_axis(columns=None)


def summarise(cells: pd.DataFrame) -> pd.DataFrame:
    """Objective x architecture x dataset x metric x of: the values of a run over its seeds.

    n, n_expected and diverged are counts of seeds; n have a finite value. median and its exact
    interval ci_low, ci_high at 95 % are over these and the diverged ones, which have the worst
    value. Fewer than five seeds have no interval, nor have crossed ones."""
    long = run_values(cells)
    # a stable order: the matrix's, METRICS', RUN_VALUES
    orders: dict[str, Any] = {
        name: cells[name].unique() for name in ("dataset", "architecture", "objective")
    }
    orders |= {"metric": sorted(long["metric"].unique(), key=rank), "of": RUN_VALUES}
    for name, order in orders.items():
        long[name] = pd.Categorical(long[name], order)
    long["finite"] = long["value"].where(np.isfinite(long["value"]))
    long["diverged"] = long["status"] == "diverged"
    group = long.groupby(SUMMARY_BY, observed=True)
    frame = group.agg(
        n=("finite", "count"), n_expected=("key", "size"), diverged=("diverged", "sum")
    )
    estimates = median_by_group(long["value"], group.ngroup(), len(frame))
    frame[["median", "ci_low", "ci_high"]] = estimates
    frame = frame.reset_index().astype(dict.fromkeys(SUMMARY_BY, str))
    frame = without_crossed_intervals(frame, cells)
    return frame[["objective", "architecture", "dataset", *frame.columns[3:]]]


def statuses(cells: pd.DataFrame) -> str:
    """`12 done, 3 error`."""
    return counted(Counter(map(str, cells["status"])))


def why_unranked(cells: pd.DataFrame, column: str | None) -> str:
    """Why no run of `cells` has a final value of the column that ranks: a clause without a point.

    column: None where no metric that ranks is measured."""
    runs = plural(len(cells), "run")
    finished = int(cells["status"].isin(WHOLE).sum())
    if not finished:
        return f"no run has finished ({statuses(cells)})"
    if column is None:
        columns = _value_columns(cells)
        measured = [name for name in columns if _is_measured(cells, columns[name])]
        if not measured:
            return f"{finished} of {runs} finished, and none has a measurement"
        return f"none of the metrics measured ranks ({', '.join(measured)})"
    name = short_name(column)
    return f"{finished} of {runs} finished, and none has a value of {name} at its last evaluation"


def metric_of(column: str) -> str | None:
    """The metric of a column METRIC:VALUE of `cells`; None for another column."""
    metric, _, value = column.rpartition(":")
    return metric if metric and value in RUN_VALUES else None


def _value_columns(cells: pd.DataFrame) -> Mapping[str, list[str]]:
    """The columns METRIC:VALUE of `cells`, by metric."""
    columns: dict[str, list[str]] = {}
    for name in cells.columns:
        metric = metric_of(name)
        if metric is not None:
            columns.setdefault(metric, []).append(name)
    return columns


def _is_measured(cells: pd.DataFrame, columns: Sequence[str]) -> bool:
    return any(cells[column].notna().any() for column in columns)
