"""Early values of a pool: whether they tell the end, and what a search that stops by them did."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from benchmark.analysis.search.table import GROUP, RUNG
from benchmark.matrix.options import Stop
from benchmark.matrix.search.rungs import decide
from benchmark.stats.tuning import rank_correlation

CORRELATIONS = [*GROUP, "share", "n", "correlation", "low", "high"]
STOPPING = [*CORRELATIONS, "verdict", "limit", "later", "stopped", "seconds_saved"]
ALLOWED, REFUSED, OPEN = "allowed", "not allowed", "not decided"


def stop_of(options: dict[str, Any]) -> Stop | None:
    """The option `stop` of a table [search]."""
    stop = options.get("stop")
    return None if stop is None else Stop.model_validate(stop)


def correlations(pool: pd.DataFrame, rungs: Iterable[str], stop: Stop | None) -> pd.DataFrame:
    """CORRELATIONS: over the configurations of a pool, the rank correlation of the value after a
    share of the budget with the value at the end. Where later configurations may end early: over
    the first ones, because those of the others that trained to their end are a selection."""
    if stop:
        pool = pool[pool["configuration"] < stop.after]
    rows = []
    rungs = list(rungs)
    for names, here in pool.groupby(GROUP, sort=False):
        for rung in rungs:
            known = here[here[rung].notna()]
            estimate = rank_correlation(known[rung], known["value"])
            rows.append([*names, float(rung.partition("_")[2]), len(known), *estimate])
    return pd.DataFrame(rows, columns=CORRELATIONS)


def stopping(pool: pd.DataFrame, stop: Stop | None) -> pd.DataFrame:
    """STOPPING: of every pool of a search that may stop, what the first configurations say, as in
    CORRELATIONS, and what followed; no row for another search.

    verdict: ALLOWED, REFUSED, or OPEN where no later configuration has finished. limit: the largest
    value at the rung with which one of them went on; NaN where that is not known, and where any is
    good enough. later, stopped: how many have finished, and how many of these ended early.
    seconds_saved: the training seconds that those would have taken to their end, at their pace."""
    rows: list[list[Any]] = []
    for names, here in pool.groupby(GROUP, sort=False):
        if stop is None:
            break
        is_later = here["configuration"] >= stop.after
        first, later = here[~is_later], here[is_later]
        decision = decide(first[RUNG.format(stop.at)], first["value"], stop.keep)
        spent = later.loc[later["is_stopped"], "train_seconds"]
        verdict = ALLOWED if decision.is_allowed else REFUSED
        if later.empty:
            decision, verdict = decision._replace(limit=math.inf), OPEN
        limit = math.nan if math.isinf(decision.limit) else decision.limit
        row = [*names, stop.at, *decision[:-1], verdict, limit, len(later), len(spent)]
        rows.append([*row, spent.sum() * (1 / stop.at - 1)])
    return pd.DataFrame(rows, columns=STOPPING)
