"""How far and how fast runs converged: final, best, area, values at equal cost, cost to target.

Pure functions on the frames of `tables`: a new statistic needs no training. The cost of a target is
∞ for a run that ended, or diverged, without reaching it: it is beyond the training budget."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.analysis.scores import EQUAL_COST, PLACE, without_crossed_intervals
from benchmark.metrics import metric, rank, sign
from benchmark.stats.intervals import median_by_group
from benchmark.stats.profile import performance_profile
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
COSTS = ["key", "level", "target", *TARGET_CLOCKS]
CONVERGENCE = ["objective", "architecture", "dataset", "level", "clock", "n", "reached", "target"]
CONVERGENCE += ["median", "ci_low", "ci_high", "spent"]
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


def at_equal_cost(
    cells: pd.DataFrame, evals: pd.DataFrame, of: str, limits: Mapping[Place, float]
) -> pd.DataFrame:
    """METRIC:equal_compute or METRIC:equal_time by cell: the value at `limits`, its `equal_cost`.
    evals: with costs.

    Linear in the cost between the evaluations before and after (the logarithm of a primary metric,
    where both are positive); a run that ended before has its final value. NaN where one of these
    is. Interpolated, because the last evaluation before that cost would be a whole interval back
    for a run that is only slightly dearer."""
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


def to_targets(
    cells: pd.DataFrame,
    evals: pd.DataFrame,
    primary: Mapping[str, str],
    targets: Mapping[Place, Mapping[str, float]],
) -> pd.DataFrame:
    """COSTS: what each run had spent at its first evaluation that is as good as a target.

    One row per cell and level of its place. targets: place -> level -> value. inf for a finished
    run that did not reach it. NaN for a run that is not finished, for one that was done but has no
    finite evaluation (of the current protocol), for a cost that is not known, and for seconds where
    those of the place do not compare."""
    column = cells.set_index("key")["dataset"].map(primary)
    rows = evals[is_wanted(evals, "metric", column)].sort_values("samples_seen", kind="stable")
    direction = of_cell(rows, column.map(sign, na_action="ignore"))
    is_judged = _is_judged(cells, rows)
    levels = dict.fromkeys(level for values in targets.values() for level in values)
    frames = [pd.DataFrame(columns=COSTS)]
    for level in levels:
        values = [targets.get(place, {}).get(level, np.nan) for place in _places(cells)]
        target = pd.Series(values, cells["key"])
        is_hit = direction * rows["value"] <= direction * of_cell(rows, target)
        frame = _to_target(cells, rows[is_hit], is_judged)
        frame = frame.assign(level=level, target=target.set_axis(cells.index))
        frames.append(frame[COSTS].dropna(subset="target"))
    costs = pd.concat([frame for frame in frames if len(frame)] or frames)
    # cell by cell, in the order of the matrix
    return costs.sort_index(kind="stable").reset_index(drop=True)


def _is_judged(cells: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Whether it is known of each cell that it reached a target, or that it did not."""
    has_value = cells["key"].isin(rows.loc[np.isfinite(rows["value"]), "cell"].unique())
    return (cells["status"] == "diverged") | ((cells["status"] == "done") & has_value)


def _to_target(cells: pd.DataFrame, hits: pd.DataFrame, is_judged: pd.Series) -> pd.DataFrame:
    """key and the TARGET_CLOCKS on the index of `cells`. hits: evaluations at the target, in
    order."""
    hits = hits.drop_duplicates("cell")
    hits = hits.set_index(hits["cell"].astype(str))
    never = ~cells["key"].isin(hits.index)
    costs = {"key": cells["key"]}
    for clock, spent in TARGET_CLOCKS.items():
        known = is_judged & cells[spent].notna()
        if clock == "seconds":
            known &= cells["race_fault"] == ""
        costs[clock] = cells["key"].map(hits[spent]).mask(never, np.inf).where(known)
    return pd.DataFrame(costs)


def over_seeds(cells: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """CONVERGENCE: objective x architecture x dataset x level x clock: the median cost of a target.

    costs: `to_targets`. n: finished runs whose cost is known; reached: how many of them reached the
    target; median, ci_low, ci_high: the cost over the n runs with its exact interval at 95 %, inf
    where it is beyond the training budget; spent: the least that a run which ended without the
    target had spent, NaN where there is none."""
    spent = {f"{clock} spent": cells[column] for clock, column in TARGET_CLOCKS.items()}
    ends = cells[["key", "objective", *PLACE, "status"]].assign(**spent)
    runs = costs.join(ends.set_index("key"), on="key")
    names = ["objective", "architecture", "dataset", "level"]
    group = runs.groupby(names, sort=False).ngroup()
    groups = runs[[*names, "target"]].drop_duplicates(names).reset_index(drop=True)
    frames = []
    for clock in TARGET_CLOCKS:
        cost = runs[clock].astype(float)
        is_missed = np.isinf(cost) & (runs["status"] == "done")
        frame = groups.assign(
            clock=clock,
            n=np.bincount(group[cost.notna()], minlength=len(groups)),
            reached=np.bincount(group[np.isfinite(cost)], minlength=len(groups)),
            spent=runs[f"{clock} spent"].where(is_missed).groupby(group).min(),
        )
        frame[["median", "ci_low", "ci_high"]] = median_by_group(cost, group, len(groups))
        frames.append(frame)
    # group by group
    table = pd.concat(frames).sort_index(kind="stable", ignore_index=True)[CONVERGENCE]
    return without_crossed_intervals(table, cells)


def profile(convergence: pd.DataFrame, clock: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """AlgoPerf's performance profile over workloads, a target of a place each -> curve, scores.

    Over the targets of which every objective has a median cost, ∞ included, and that one of them
    reaches. curve: objective, ratio, share of the workloads within ratio x the least cost. scores:
    objective, score (the integral of the curve over ratios 1 to LIMIT, 1 being always first),
    workloads. Both are empty where there is no such target."""
    rows = convergence[convergence["clock"] == clock]
    costs = rows.pivot(index="objective", columns=[*PLACE, "level"], values="median")
    costs = costs.reindex(rows["objective"].unique()).dropna(axis=1)
    # without the targets that no objective reaches
    costs = costs.replace(np.inf, np.nan).dropna(axis=1, how="all").fillna(np.inf)
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
