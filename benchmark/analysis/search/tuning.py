"""What a search says: tuning curves, what tuning is worth, the pools, and whether an early value
tells the end.

Curves and AlgoPerf's score are of the configurations that were drawn: the published default is not
one of them. What is claimed comes from the final phase alone, from seeds that chose nothing."""

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.published import with_display_names
from benchmark.analysis.scores import PLACE
from benchmark.analysis.search.early import correlations, stop_of, stopping
from benchmark.analysis.search.table import COLUMNS, GROUP, RUNG, metric_columns, search_table
from benchmark.analysis.tables import Tables
from benchmark.matrix.options import Stop
from benchmark.matrix.search.part import FINAL, POOL
from benchmark.metrics import metric
from benchmark.stats.comparisons import Comparison, compare, judged
from benchmark.stats.intervals import median_by_group
from benchmark.stats.tuning import (
    algoperf_score,
    expected_best,
    median_best,
    share_near_best,
    winners_curse,
)
from benchmark.text import Record

ALPHA = 0.05
DEFAULT, TUNED = "default", "tuned"
IS_DEFAULT = "the default is the best of its pool"
NO_PICK = "its pool is not settled"
Seeds = dict[Hashable, float]


@dataclass
class Tuning:
    """The frames of a search, by dataset, architecture and objective as pages name them."""

    runs: pd.DataFrame
    """`search_table`."""
    configurations: pd.DataFrame
    """One row per configuration of a pool, over its seeds."""
    curves: pd.DataFrame
    """The best of k configurations, for each k."""
    pools: pd.DataFrame
    """What each pool says of its objective."""
    tuned: pd.DataFrame
    """The pick of each objective against its default, on the final seeds."""
    rivals: pd.DataFrame
    """The tuned objectives of a place against each other, on the final seeds."""
    rungs: pd.DataFrame
    """The rank correlation of the value at each rung with the value at the end."""
    stopping: pd.DataFrame
    """Whether each pool stopped early, and why."""
    parameters: list[str]
    """The columns of searched parameters."""
    columns: dict[str, str]
    """Dataset -> the metric column of the search."""
    sampler: str
    stop: Stop | None
    ranges: str
    """What configurations come from: `wide ranges`."""

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """The frames by the names of their files."""
        frames = {
            "search": self.runs,
            "tuning_curves": self.curves,
            "tuning_pools": self.pools,
            "tuned": self.tuned,
            "tuned_rivals": self.rivals,
            "rungs": self.rungs,
        }
        return frames | ({"stopping": self.stopping} if self.stop else {})


def gather(tables: Tables, *, with_names: bool = False) -> Tuning | None:
    """All that a search says; None for a matrix without one. tables: with the pools of the search.
    with_names: whether objectives, architectures and datasets have display names."""
    if not any(entry.search for entry in tables.matrix.cells):
        return None
    matrix = tables.matrix if with_names else tables.matrix.model_copy(update={"display_names": {}})
    runs = with_display_names(search_table(tables), matrix)
    options = tables.matrix.config.get("search") or {}
    sampler, stop = options.get("sampler", "random"), stop_of(options)
    names = list(map(str, runs))
    rungs = [name for name in names if name.startswith(RUNG.partition("{")[0])]
    parameters = [name for name in names if name not in {*COLUMNS, *rungs}]
    measured = metric_columns(tables).items()
    columns = {matrix.shown("dataset", name): column for name, column in measured}
    pool = configurations(runs, [*parameters, *rungs])
    reference = matrix.reference and matrix.shown("objective", matrix.reference)
    return Tuning(
        runs=runs,
        configurations=pool,
        curves=curves(pool, columns, sampler),
        pools=pools(pool, runs, columns, sampler),
        tuned=tuned(runs),
        rivals=rivals(runs, reference),
        rungs=correlations(pool, rungs, stop),
        stopping=stopping(pool, stop),
        parameters=parameters,
        columns=columns,
        sampler=sampler,
        stop=stop,
        ranges=_ranges(options),
    )


def _ranges(options: Mapping[str, Any]) -> str:
    """`wide ranges`, and whether the matrix changes some. options: of the table [search]."""
    changed = ", some of which the matrix sets" if options.get("space") else ""
    return f"{options.get('ranges', 'wide')} ranges{changed}"


def configurations(runs: pd.DataFrame, facts: Iterable[str]) -> pd.DataFrame:
    """GROUP, configuration, is_default, is_pick, is_stopped, num_seeds, value, train_seconds,
    seconds_to_target and `facts` of every configuration of a pool.

    value and seconds_to_target are means over its seeds, inf where one diverged or missed the
    target; train_seconds are the sum. A run without a value counts as diverged, as in `pick`, but
    for one that ended early: its value is NaN."""
    pool = runs[runs["phase"] == POOL]
    pool = pool.assign(value=pool["value"].fillna(math.inf).mask(pool["is_stopped"]))
    keys = [*GROUP, "configuration"]
    first = dict.fromkeys(["is_default", "is_pick", "is_stopped", *facts], "first")
    means = {"value": "mean", "seconds_to_target": "mean", "train_seconds": "sum"}
    groups = pool.groupby(keys, sort=False)
    frame = groups.agg({"seed": "size", **means, **first})
    return frame.rename(columns={"seed": "num_seeds"}).reset_index()


def curves(pool: pd.DataFrame, columns: dict[str, str], sampler: str) -> pd.DataFrame:
    """GROUP, k, seconds, median, low, high, mean_with and mean_without, for every k up to the
    number of configurations that were drawn.

    seconds: k x the mean training seconds of a configuration. median, low, high: the median best of
    k with 95 % simultaneous bands (`median_best`); bands ask for independent configurations.
    mean_with, mean_without: the mean best of k of the pool, drawn with and without replacement.
    No curve of a sampler whose configurations follow from earlier ones, nor of a pool of which some
    ended early."""
    parts = []
    for row, drawn in _drawn(pool):
        if sampler == "tpe" or drawn["is_stopped"].any():
            continue
        k = np.arange(1, len(drawn) + 1)
        is_distance = metric(columns[row["dataset"]]).primary
        curve = median_best(drawn["value"], k, least=0.0 if is_distance else -math.inf)
        frame = pd.DataFrame({"k": k, "seconds": k * drawn["train_seconds"].mean()})
        frame = frame.assign(**curve._asdict())
        if sampler != "random":
            frame[["low", "high"]] = math.nan
        for name, replacement in (("mean_with", True), ("mean_without", False)):
            frame[name] = expected_best(drawn["value"], k, replacement=replacement)
        parts.append(frame.assign(**row)[[*GROUP, *frame]])
    names = [*GROUP, "k", "seconds", "median", "low", "high", "mean_with", "mean_without"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)


def pools(
    pool: pd.DataFrame, runs: pd.DataFrame, columns: dict[str, str], sampler: str
) -> pd.DataFrame:
    """One row per objective and place.

    configurations, diverged, stopped: counts; mean_seconds: training seconds of a configuration.
    default: its value in the pool; best: the least value; pick: the number of its configuration.
    near: the share of the pool within twice the best, of a distance. score, missed: AlgoPerf's
    score, the median in training seconds and the probability of inf; near and score are not known
    where some ended early. curse, curse_low, curse_high: how much
    worse the pick is on the final seeds than in the pool; shift, shift_low, shift_high: the same of
    the default, which nothing chose."""
    rows = []
    for row, here in _groups(pool):
        values = here["value"]
        is_distance = metric(columns[row["dataset"]]).primary
        picked, default = here[here["is_pick"]], here[here["is_default"]]
        row |= {
            "configurations": len(here),
            "diverged": int(np.isinf(values).sum()),
            "stopped": int(here["is_stopped"].sum()),
            "mean_seconds": here["train_seconds"].mean(),
            "default": default["value"].min(),
            "best": values.min(),
            "pick": picked["configuration"].min(),
            "near": share_near_best(values) if is_distance else math.nan,
        }
        seconds = here.loc[~here["is_default"], "seconds_to_target"].dropna()
        if len(seconds) and sampler != "tpe" and not row["stopped"]:
            row["score"], row["missed"] = algoperf_score(seconds)
        final = _finals(runs, row)
        for name, chosen in (("curse", picked), ("shift", default)):
            after = final.loc[final["configuration"].isin(chosen["configuration"]), "value"]
            estimate = winners_curse(chosen["value"].min(), after.dropna())
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True))
        rows.append(row)
    names = [*GROUP, "configurations", "diverged", "stopped", "mean_seconds", "default", "best"]
    names += ["pick", "near", "score", "missed", "curse", "curse_low", "curse_high"]
    return pd.DataFrame(rows, columns=[*names, "shift", "shift_low", "shift_high"])


def tuned(runs: pd.DataFrame) -> pd.DataFrame:
    """The pick against the default of every objective and place, on the final seeds: medians of
    both with their intervals, and a `Comparison`, of one family over all of them.

    An objective whose pick is its default is not tested; `why` says so."""
    rows: list[Record] = []
    tested: list[Comparison] = []
    for row, here in _groups(runs):
        final = here[here["phase"] == FINAL]
        values = {DEFAULT: _seeds(final[final["is_default"]])}
        picks = here.loc[here["is_pick"], "configuration"]
        why = NO_PICK if picks.empty else IS_DEFAULT if picks.iloc[0] == 0 else ""
        row |= {"pick": picks.min(), "verdict": "", "why": why}
        if not why:
            values[TUNED] = _seeds(final[final["is_pick"]])
            tested += compare(values, minimise=True, reference=DEFAULT)
        for name, seeds in values.items():
            row |= _estimate(name, seeds)
        rows.append(row)
    judgements = iter(judged(tested, alpha=ALPHA))
    for row in rows:
        if not row["why"]:
            row |= asdict(next(judgements))
    names = [*GROUP, "pick"]
    for name in (DEFAULT, TUNED):
        names += [name, f"{name}_low", f"{name}_high"]
    return pd.DataFrame(rows, columns=[*names, *list(Comparison.__dataclass_fields__)[2:]])


def rivals(runs: pd.DataFrame, reference: str | None) -> pd.DataFrame:
    """The tuned objectives of every place against `reference`, or all pairs, on the final seeds: a
    `Comparison` each, of one family over all places. The tuned runs of an objective whose pick is
    its default are those of the default."""
    places: list[Record] = []
    compared: list[Comparison] = []
    for (dataset, architecture), here in runs.groupby(PLACE, sort=False):
        values = {}
        for name, of_objective in here.groupby("objective", sort=False):
            final = of_objective[of_objective["phase"] == FINAL]
            values[str(name)] = _seeds(final[final["is_pick"]])
        chosen = reference if reference in values else None
        pairs = compare(values, minimise=True, reference=chosen)
        compared += pairs
        places += len(pairs) * [{"dataset": dataset, "architecture": architecture}]
    rows = []
    for at, comparison in zip(places, judged(compared, alpha=ALPHA), strict=True):
        rows.append(at | asdict(comparison))
    return pd.DataFrame(rows, columns=[*PLACE, *Comparison.__dataclass_fields__])


def _groups(frame: pd.DataFrame) -> Iterable[tuple[Record, pd.DataFrame]]:
    """The objectives of every place, each with its rows."""
    for names, rows in frame.groupby(GROUP, sort=False):
        yield dict(zip(GROUP, names, strict=True)), rows


def _drawn(pool: pd.DataFrame) -> Iterable[tuple[Record, pd.DataFrame]]:
    """The same with the configurations that were drawn."""
    yield from _groups(pool[~pool["is_default"]])


def _finals(runs: pd.DataFrame, row: Record) -> pd.DataFrame:
    """The final runs of an objective in a place."""
    is_final = runs["phase"] == FINAL
    for name in GROUP:
        is_final &= runs[name] == row[name]
    return runs[is_final]


def _seeds(rows: pd.DataFrame) -> Seeds:
    return dict(zip(rows["seed"], rows["value"], strict=True))


def _estimate(name: str, seeds: Seeds) -> dict[str, Any]:
    """The median over seeds with its exact interval, as columns."""
    values = [*seeds.values()]
    (estimate,) = median_by_group(values, np.zeros(len(values), int), 1)
    return dict(zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True))
