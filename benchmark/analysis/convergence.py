"""How far and how fast runs converged, from their evaluations: best, final, area, the value at
equal training time, and what a target cost on four clocks. Pure functions on the frames of
`tables`; a new one costs no training.

A run that diverged before its target never reaches it (∞); one that ended without reaching it is
censored at its end: all that is known is that it would have taken longer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmark.metrics import metric, rank, sign
from benchmark.stats.curves import performance_profile, time_to_target
from benchmark.store.frames import is_wanted, of_cell

GROUP = ["dataset", "architecture"]  # a place: objectives are compared within it
CLOCKS = {
    "samples": "samples_seen",
    "g_steps": "g_steps",
    "forwards": "forwards",
    "seconds": "train_seconds",
}
LIMIT = 4.0  # AlgoPerf: a time over this many times the best scores nothing


def forwards(rows: pd.DataFrame, rates: pd.DataFrame) -> pd.Series:
    """Critic forward-equivalents after `rows` (samples_seen, g_steps): critic steps ·
    forwards_per_d_step + generator steps · forwards_per_g_step of `rates`, which has the index of
    `rows`. NaN where the rates are not known."""
    d_steps = rows["samples_seen"] / rates["batch_size"]
    return d_steps * rates["forwards_per_d_step"] + rows["g_steps"] * rates["forwards_per_g_step"]


def measured(evals: pd.DataFrame) -> pd.DataFrame:
    """METRIC:final, :best, :area, :best_g_step and :final_g_step by cell.

    final: at the last evaluation of the cell; NaN where that one lacks the metric, as in a file cut
    short. area: the mean over samples seen by the trapezoid rule; of a primary metric, which is
    positive and minimised, the geometric mean 10 ** (mean of log10), so that the first evaluations,
    orders of magnitude above the last, do not decide alone. NaN where a value is NaN. best_g_step,
    final_g_step: the generator step of the first best evaluation, and of the last."""
    names = evals["metric"].cat.categories
    rows, run = _by_run(evals)
    x, y = rows["samples_seen"].to_numpy(), rows["value"].to_numpy()
    first = np.flatnonzero(np.diff(run, prepend=-1))
    last = np.flatnonzero(np.diff(run, append=-1))
    direction = np.array([sign(name) for name in names])[run % len(names)]
    log = np.array([metric(name).primary for name in names], dtype=bool)[run % len(names)]

    best = np.fmin.reduceat(direction * y, first)
    is_best = direction * y == np.repeat(best, last - first + 1)
    at = np.minimum.reduceat(np.where(is_best, np.arange(len(y)), len(y)), first)  # len(y): none is
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.where(log, np.log10(y), y)
        trapezoids = np.diff(x, prepend=0) * (height + np.roll(height, 1)) / 2
        trapezoids[first] = 0
        mean = np.add.reduceat(trapezoids, first) / (x[last] - x[first])
        mean = np.where(log[first], 10 ** np.where(log[first], mean, 0), mean)
        area = np.where(x[last] > x[first], mean, y[last])
    end = pd.Series(x[last]).groupby(run[last] // max(1, len(names))).transform("max").to_numpy()
    found = {
        "final": np.where(x[last] == end, y[last], np.nan),
        "best": direction[first] * best,
        "area": area,
        "best_g_step": np.append(rows["g_steps"].to_numpy(), np.nan)[at],
        "final_g_step": rows["g_steps"].to_numpy()[last],
    }
    return _named(
        pd.concat({of: _wide(evals, run[first], values) for of, values in found.items()}, axis=1)
    )


def equal_seconds(cells: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Training seconds at which objectives are compared, by (dataset, architecture): the least over
    objectives of the median over the runs that were done. Not there for a place whose cells ran on
    more than one device."""
    done = cells[_one_device(cells) & (cells["status"] == "done")]
    median = done.groupby([*GROUP, "objective"])["train_seconds"].median()
    least = median.groupby(GROUP).min()
    return dict(zip(least.index.to_list(), least.to_list(), strict=True))


def at_equal_time(cells: pd.DataFrame, evals: pd.DataFrame) -> pd.DataFrame:
    """METRIC:equal_time by cell: the value at `equal_seconds`, linear in training time between the
    evaluations before and after it (the logarithm of a primary metric); a run that ended before has
    its final. NaN where one of these is.

    Interpolated, because the last evaluation before that time would be a whole interval back for a
    run that is slower by a hair."""
    limits, places = equal_seconds(cells), zip(*(cells[name] for name in GROUP), strict=True)
    limit = pd.Series([limits.get(place, np.nan) for place in places], pd.Index(cells["key"]))
    rows, run = _by_run(evals[evals["train_seconds"].notna()])
    t, y, t_limit = rows["train_seconds"].to_numpy(), rows["value"].to_numpy(), of_cell(rows, limit)
    log = np.array([metric(name).primary for name in rows["metric"].cat.categories], dtype=bool)
    log = log[rows["metric"].cat.codes]
    passed = np.flatnonzero(t <= t_limit)
    at = passed[
        np.diff(run[passed], append=-1) != 0
    ]  # the last evaluation of each run within the time
    after = np.minimum(at + 1, len(t) - 1)
    after = np.where((run[after] == run[at]) & (t[at] < t_limit[at]), after, at)
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.where(log, np.log10(y), y)
        share = np.where(after > at, (t_limit[at] - t[at]) / (t[after] - t[at]), 0.0)
        values = height[at] + share * (height[after] - height[at])
        values = np.where(
            after > at, np.where(log[at], 10 ** np.where(log[at], values, 0), values), y[at]
        )
    return _named(pd.concat({"equal_time": _wide(evals, run[at], values)}, axis=1))


def find_targets(
    cells: pd.DataFrame,
    primary: Mapping[str, str],
    reference: str | None,
    given: Mapping[str, float],
) -> dict[tuple[str, str], float]:
    """The target by (dataset, architecture): as given for the dataset, else the median over seeds
    of the reference objective's best, a diverged seed being the worst; NaN where there is none, and
    until all its seeds in the place have finished and were measured: a target does not move with
    the seeds that happen to be there."""
    found = {}
    places: dict[Any, Any] = cells.groupby(GROUP, sort=False).indices
    for (dataset, architecture), rows in places.items():
        target = float(given.get(dataset, np.nan))
        if dataset in primary and dataset not in given:
            column = primary[dataset]
            place = cells.iloc[rows]
            runs = place[place["objective"] == reference]
            best = runs[f"{column}:best"].where(runs["status"] == "done")
            best = best.where(runs["status"] != "diverged", np.inf * sign(column))
            target = float(best.median(skipna=False))
        found[dataset, architecture] = target if np.isfinite(target) else np.nan
    return found


def to_target(
    cells: pd.DataFrame,
    evals: pd.DataFrame,
    primary: Mapping[str, str],
    targets: Mapping[tuple[str, str], float],
) -> pd.DataFrame:
    """target and CLOCK_to_target on the index of `cells`: what the run had spent at its first
    evaluation that is as good as the target; inf for a finished run without one; NaN for no target,
    a run that is not finished, one that was done but has no finite evaluation (of the current
    protocol), a cost that is not known, and for seconds where the cells of the place ran on more
    than one device."""
    target = pd.Series(
        [targets[place] for place in zip(*(cells[name] for name in GROUP), strict=True)],
        cells["key"],
    )
    column = cells.set_index("key")["dataset"].map(primary)
    rows = evals[is_wanted(evals, "metric", column)]
    direction = of_cell(rows, column.map(sign, na_action="ignore"))
    hits = rows[direction * rows["value"] <= direction * of_cell(rows, target)]
    hits = hits.sort_values("samples_seen", kind="stable").drop_duplicates("cell")
    hits = hits.set_index(hits["cell"].astype(str))
    hits["forwards"] = forwards(hits, cells.set_index("key").loc[hits.index])
    measured = cells["key"].isin(rows.loc[np.isfinite(rows["value"]), "cell"].unique())
    judged = (
        (cells["status"] == "diverged") | ((cells["status"] == "done") & measured)
    ) & target.notna().to_numpy()
    ends = {"target": target.set_axis(cells.index)}
    for clock, spent in CLOCKS.items():
        reached = cells["key"].map(hits[spent])
        never = ~cells["key"].isin(hits.index)
        known = judged & cells[spent].notna() & (_one_device(cells) if clock == "seconds" else True)
        ends[f"{clock}_to_target"] = reached.mask(never, np.inf).where(known)
    return pd.DataFrame(ends)


def kaplan_meier(cells: pd.DataFrame) -> pd.DataFrame:
    """objective x architecture x dataset x clock: n finished runs whose cost is known, how many of
    them reached the target, and the median cost to it with its 95 % interval by Kaplan–Meier; inf =
    not reached."""
    groups: dict[Any, Any] = cells.groupby([*GROUP, "objective"], sort=False).indices
    diverged, target = (cells["status"] == "diverged").to_numpy(), cells["target"].to_numpy()
    costs = {clock: cells[f"{clock}_to_target"].to_numpy() for clock in CLOCKS}
    ends = {
        clock: cells[spent].mask(diverged, np.inf).to_numpy() for clock, spent in CLOCKS.items()
    }
    rows = []
    for (dataset, architecture, objective), runs in groups.items():
        for clock in CLOCKS:
            known = runs[~np.isnan(costs[clock][runs])]
            reached = np.isfinite(costs[clock][known])
            times = np.where(reached, costs[clock][known], ends[clock][known])
            median, low, high = time_to_target(times, reached) if len(known) else (np.nan,) * 3
            rows.append({
                "objective": objective, "architecture": architecture, "dataset": dataset, "clock": clock,
                "n": len(known), "reached": int(reached.sum()), "target": target[runs[0]],
                "median": median, "ci_low": low, "ci_high": high,
            })  # fmt: skip
    return pd.DataFrame(rows)


def profile(convergence: pd.DataFrame, clock: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """AlgoPerf's performance profile over the places (workloads) where every objective has a median
    cost, ∞ included: the curve (objective, ratio, share of the workloads within ratio x the best
    cost), and its integral over ratios 1 to LIMIT, 1 being always first (objective, score,
    workloads). Empty where there is no such place."""
    rows = convergence[convergence["clock"] == clock]
    costs = rows.pivot(index="objective", columns=GROUP, values="median").reindex(
        rows["objective"].unique()
    )
    costs = costs.dropna(axis=1)
    if costs.empty:
        curve, scores = ["objective", "ratio", "share"], ["objective", "score", "workloads"]
        return pd.DataFrame(columns=curve), pd.DataFrame(columns=scores)
    ratios = np.linspace(1, LIMIT, 61)
    share, score = performance_profile(costs.to_numpy(), ratios, LIMIT)
    wide = pd.DataFrame(share, costs.index, ratios).reset_index()
    return wide.melt("objective", var_name="ratio", value_name="share"), pd.DataFrame(
        {"objective": costs.index, "score": score, "workloads": costs.shape[1]}
    )


def _one_device(cells: pd.DataFrame) -> pd.Series:
    """Whether all cells of a cell's place that ran did so on one device, which is known."""
    return cells.groupby(GROUP)["device"].transform("nunique") == 1


def _by_run(evals: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows by cell, metric and samples seen, and the number of their (cell, metric)."""
    run = evals["cell"].cat.codes.to_numpy(dtype=int) * len(evals["metric"].cat.categories)
    run += evals["metric"].cat.codes.to_numpy()
    order = np.lexsort((evals["samples_seen"], run))
    return evals.iloc[order], run[order]


def _wide(evals: pd.DataFrame, run: np.ndarray, values: np.ndarray) -> pd.DataFrame:
    """A value for each number of `_by_run` -> a row per cell, a column per metric in the order of
    METRICS."""
    cells, names = evals["cell"].cat.categories, evals["metric"].cat.categories
    wide = np.full((len(cells), len(names)), np.nan)
    wide[np.divmod(run, max(1, len(names)))] = values
    order = sorted(map(str, names), key=rank)
    return pd.DataFrame(wide, cells, names)[order]


def _named(wide: pd.DataFrame) -> pd.DataFrame:
    """Columns (of, METRIC) -> METRIC:of."""
    return wide.set_axis([":".join(reversed(name)) for name in wide.columns.to_list()], axis=1)
