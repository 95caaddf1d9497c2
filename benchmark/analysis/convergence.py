"""How far and how fast runs converged: final, best, area, values at equal cost, cost to target.

Pure functions on the frames of `tables`: a new statistic needs no training. A run that diverged
before its target never reaches it (∞). A run that ended without reaching it is censored at its end:
it would have taken longer, and no more is known."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.analysis.scores import EQUAL_COST, PLACE
from benchmark.metrics import metric, rank, sign
from benchmark.stats.curves import performance_profile, time_to_target
from benchmark.store.frames import is_wanted, of_cell

Array = NDArray[Any]
Place = tuple[str, str]  # dataset, architecture

# target clock -> the column that counts it
TARGET_CLOCKS = {
    "samples": "samples_seen",
    "g_steps": "g_steps",
    "forwards": "forwards",
    "seconds": "raced_seconds",
}
KAPLAN_MEIER = ["objective", "architecture", "dataset", "clock", "n", "reached", "target"]
KAPLAN_MEIER += ["median", "ci_low", "ci_high"]
# AlgoPerf: a time over this many times the best scores nothing
LIMIT = 4.0


class Runs(NamedTuple):
    """Rows of `evals` by run (one metric of one cell), sorted by samples seen within a run."""

    rows: pd.DataFrame
    run: NDArray[np.int64]
    """The number of each row's run: cell x number of metrics + metric."""
    names: list[str]
    """The metric columns, by number."""

    def of_metric(self, values: Mapping[str, Any]) -> Array:
        """A value by metric column -> the value of each row."""
        return np.array([values[name] for name in self.names])[self.run % max(1, len(self.names))]


def forwards(rows: pd.DataFrame, rates: pd.DataFrame) -> pd.Series:
    """Critic forward-equivalents after `rows` (samples_seen, g_steps), with the rates of a run.

    critic steps · forwards_per_d_step + generator steps · forwards_per_g_step. `rates` has the
    index of `rows`. NaN where the rates are not known."""
    d_steps = rows["samples_seen"] / rates["batch_size"]
    return d_steps * rates["forwards_per_d_step"] + rows["g_steps"] * rates["forwards_per_g_step"]


def measured(evals: pd.DataFrame) -> pd.DataFrame:
    """METRIC:final, :best, :area, :best_g_step and :final_g_step by cell.

    final: at the last evaluation of the cell; NaN where that one lacks the metric, as in a file cut
    short. area: the mean over samples seen by the trapezoid rule; of a primary metric, which is
    minimised and never below 0, the geometric mean 10 ** (mean of log10), so that the first
    evaluations, orders of magnitude above the last, do not decide alone; 0 where a value is 0. NaN
    where a value is NaN. best_g_step, final_g_step: the generator step of the first best
    evaluation, and of the last."""
    runs = _by_run(evals)
    rows, run = runs.rows, runs.run
    samples, values = rows["samples_seen"].to_numpy(), rows["value"].to_numpy()
    g_steps = rows["g_steps"].to_numpy()
    first = np.flatnonzero(np.diff(run, prepend=-1))
    last = np.flatnonzero(np.diff(run, append=-1))

    direction = runs.of_metric({name: sign(name) for name in runs.names})
    best = np.fmin.reduceat(direction * values, first)
    is_best = direction * values == np.repeat(best, last - first + 1)
    # one position behind the last row: no evaluation is best
    none = len(values)
    position = np.where(is_best, np.arange(none), none)
    best_at = np.minimum.reduceat(position, first)

    cell = run[last] // max(1, len(runs.names))
    end = pd.Series(samples[last]).groupby(cell).transform("max").to_numpy()
    by_value = {
        "final": np.where(samples[last] == end, values[last], np.nan),
        "best": direction[first] * best,
        "area": _area(runs, first, last),
        "best_g_step": np.append(g_steps, np.nan)[best_at],
        "final_g_step": g_steps[last],
    }
    frames = {name: _wide(evals, run[first], array) for name, array in by_value.items()}
    return _named(pd.concat(frames, axis=1))


def _area(runs: Runs, first: Array, last: Array) -> Array:
    """The mean of each run over samples seen, from the positions of its first and last row."""
    samples, values = runs.rows["samples_seen"].to_numpy(), runs.rows["value"].to_numpy()
    is_log = _is_log(runs)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # below 0 by rounding
        height = np.where(is_log, np.log10(np.maximum(values, 0)), values)
        trapezoids = np.diff(samples, prepend=0) * (height + np.roll(height, 1)) / 2
        trapezoids[first] = 0
        mean = np.add.reduceat(trapezoids, first) / (samples[last] - samples[first])
        mean = _from_height(mean, is_log[first])
    return np.where(samples[last] > samples[first], mean, values[last])


def with_costs(evals: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """`evals` with what the run of each row had spent: forwards, critic forward-equivalents, and
    raced_seconds; NaN where that is not known, and for seconds where those of the place do not
    compare."""
    by_key = cells.set_index("key")
    names = ["batch_size", "forwards_per_d_step", "forwards_per_g_step"]
    rates = pd.DataFrame({name: of_cell(evals, by_key[name]) for name in names}, evals.index)
    ms = of_cell(evals, by_key["raced_ms"].where(by_key["race_fault"] == ""))
    return evals.assign(forwards=forwards(evals, rates), raced_seconds=evals["g_steps"] * ms / 1000)


def equal_cost(cells: pd.DataFrame, of: str) -> dict[Place, float]:
    """The cost at which objectives are compared, by (dataset, architecture): critic
    forward-equivalents for `equal_compute`, raced seconds for `equal_time`.

    The least over objectives of the median over the runs that were done. A place where an
    objective's cost is not known, or whose seconds do not compare, is left out."""
    done = cells[cells["status"] == "done"]
    if of == "equal_time":
        done = done[done["race_fault"] == ""]
    median = done.groupby([*PLACE, "objective"])[EQUAL_COST[of]].median()
    by_place = median.groupby(PLACE)
    least = by_place.min()[by_place.count() == by_place.size()]
    return dict(zip(least.index.to_list(), least.to_list(), strict=True))


def at_equal_cost(cells: pd.DataFrame, evals: pd.DataFrame, of: str) -> pd.DataFrame:
    """METRIC:equal_compute or METRIC:equal_time by cell: the value at `equal_cost`. evals: with
    costs.

    Linear in the cost between the evaluations before and after (the logarithm of a primary metric,
    where both are positive); a run that ended before has its final value. NaN where one of these
    is. Interpolated, because the last evaluation before that cost would be a whole interval back
    for a run that is only slightly dearer."""
    limits = equal_cost(cells, of)
    limit = pd.Series([limits.get(place, np.nan) for place in _places(cells)], cells["key"])
    runs = _by_run(evals[evals[EQUAL_COST[of]].notna()])
    run = runs.run
    cost = runs.rows[EQUAL_COST[of]].to_numpy()
    values = runs.rows["value"].to_numpy()
    stop = of_cell(runs.rows, limit)
    # the last evaluation of each run within the cost, and the one after it
    passed = np.flatnonzero(cost <= stop)
    before = passed[np.diff(run[passed], append=-1) != 0]
    following = np.minimum(before + 1, len(cost) - 1)
    is_between = (run[following] == run[before]) & (cost[before] < stop[before])
    after = np.where(is_between, following, before)

    is_log = _is_log(runs)[before] & (values[before] > 0) & (values[after] > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(is_log, np.log10(values[before]), values[before])
        high = np.where(is_log, np.log10(values[after]), values[after])
        share = (stop[before] - cost[before]) / (cost[after] - cost[before])
        share = np.where(after > before, share, 0.0)
        between = _from_height(low + share * (high - low), is_log)
    at_stop = np.where(after > before, between, values[before])
    return _named(pd.concat({of: _wide(evals, run[before], at_stop)}, axis=1))


def to_target(
    cells: pd.DataFrame,
    evals: pd.DataFrame,
    primary: Mapping[str, str],
    targets: Mapping[Place, float],
) -> pd.DataFrame:
    """target and CLOCK_to_target on the index of `cells`.

    What the run had spent at its first evaluation that is as good as the target; inf for a finished
    run without one. NaN for no target, for a run that is not finished, for one that was done but
    has no finite evaluation (of the current protocol), for a cost that is not known, and for
    seconds where those of the place do not compare."""
    target = pd.Series([targets[place] for place in _places(cells)], cells["key"])
    column = cells.set_index("key")["dataset"].map(primary)
    rows = evals[is_wanted(evals, "metric", column)]
    direction = of_cell(rows, column.map(sign, na_action="ignore"))
    hits = rows[direction * rows["value"] <= direction * of_cell(rows, target)]
    hits = hits.sort_values("samples_seen", kind="stable").drop_duplicates("cell")
    hits = hits.set_index(hits["cell"].astype(str))

    has_value = cells["key"].isin(rows.loc[np.isfinite(rows["value"]), "cell"].unique())
    is_done = (cells["status"] == "done") & has_value
    is_judged = ((cells["status"] == "diverged") | is_done) & target.notna().to_numpy()
    never = ~cells["key"].isin(hits.index)
    costs = {"target": target.set_axis(cells.index)}
    for clock, spent in TARGET_CLOCKS.items():
        known = is_judged & cells[spent].notna()
        if clock == "seconds":
            known &= cells["race_fault"] == ""
        cost = cells["key"].map(hits[spent]).mask(never, np.inf)
        costs[f"{clock}_to_target"] = cost.where(known)
    return pd.DataFrame(costs)


def kaplan_meier(cells: pd.DataFrame) -> pd.DataFrame:
    """objective x architecture x dataset x clock: the median cost to the target.

    n: finished runs whose cost is known; reached: how many of them reached the target; median,
    ci_low, ci_high: the cost by Kaplan–Meier with its 95 % interval; inf = not reached."""
    diverged = cells["status"] == "diverged"
    target = cells["target"].to_numpy()
    costs = {clock: cells[f"{clock}_to_target"].to_numpy() for clock in TARGET_CLOCKS}
    ends = {}
    for clock, spent in TARGET_CLOCKS.items():
        ends[clock] = cells[spent].astype(float).mask(diverged, np.inf).to_numpy()
    groups: dict[Any, Any] = cells.groupby([*PLACE, "objective"], sort=False).indices
    rows = []
    for (dataset, architecture, objective), runs in groups.items():
        for clock in TARGET_CLOCKS:
            known = runs[~np.isnan(costs[clock][runs])]
            reached = np.isfinite(costs[clock][known])
            times = np.where(reached, costs[clock][known], ends[clock][known])
            median = time_to_target(times, reached)
            names = (objective, architecture, dataset, clock)
            counts = (len(known), int(reached.sum()))
            rows.append((*names, *counts, target[runs[0]], *median))
    return pd.DataFrame(rows, columns=KAPLAN_MEIER)


def profile(convergence: pd.DataFrame, clock: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """AlgoPerf's performance profile over places, which are its workloads -> curve, scores.

    Over the places where every objective has a median cost, ∞ included. curve: objective, ratio,
    share of the workloads within ratio x the best cost. scores: objective, score (the integral of
    the curve over ratios 1 to LIMIT, 1 being always first), workloads. Both are empty where there
    is no such place."""
    rows = convergence[convergence["clock"] == clock]
    costs = rows.pivot(index="objective", columns=PLACE, values="median")
    costs = costs.reindex(rows["objective"].unique()).dropna(axis=1)
    if costs.empty:
        curve = pd.DataFrame(columns=["objective", "ratio", "share"])
        return curve, pd.DataFrame(columns=["objective", "score", "workloads"])
    ratios = np.linspace(1, LIMIT, 61)
    share, score = performance_profile(costs.to_numpy(), ratios, LIMIT)
    wide = pd.DataFrame(share, costs.index, ratios).reset_index()
    curve = wide.melt("objective", var_name="ratio", value_name="share")
    scores = {"objective": costs.index, "score": score, "workloads": costs.shape[1]}
    return curve, pd.DataFrame(scores)


def _places(cells: pd.DataFrame) -> list[Place]:
    """The place of each cell."""
    return list(zip(cells["dataset"], cells["architecture"], strict=True))


def _is_log(runs: Runs) -> Array:
    """Whether each row is of a primary metric, which is averaged as its logarithm."""
    return runs.of_metric({name: metric(name).primary for name in runs.names}).astype(bool)


def _from_height(height: Array, is_log: Array) -> Array:
    """Back from the logarithm, where it was taken."""
    return np.where(is_log, 10 ** np.where(is_log, height, 0), height)


def _by_run(evals: pd.DataFrame) -> Runs:
    names = [str(name) for name in evals["metric"].cat.categories]
    run = evals["cell"].cat.codes.to_numpy(dtype=int) * len(names)
    run += evals["metric"].cat.codes.to_numpy()
    order = np.lexsort((evals["samples_seen"], run))
    return Runs(evals.iloc[order], run[order].astype(np.int64), names)


def _wide(evals: pd.DataFrame, run: Array, values: Sequence[Any] | Array) -> pd.DataFrame:
    """A value for each run -> a row per cell, a column per metric in the order of METRICS."""
    cells, names = evals["cell"].cat.categories, evals["metric"].cat.categories
    wide = np.full((len(cells), len(names)), np.nan)
    wide[np.divmod(run, max(1, len(names)))] = values
    order = sorted(map(str, names), key=rank)
    return pd.DataFrame(wide, cells, names)[order]


def _named(wide: pd.DataFrame) -> pd.DataFrame:
    """Columns (value, METRIC) -> METRIC:value."""
    return wide.set_axis([":".join(reversed(name)) for name in wide.columns.to_list()], axis=1)
