"""Which objective leads in each place (architecture on dataset), and how surely.

The primary metric is compared at two points: `final`, at the end of equal generator steps, and
`equal_time`. A family is all comparisons of one place and point: every objective with the matrix's
reference where it names one that runs there, else all pairs."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.analysis.scores import PLACE, run_values
from benchmark.analysis.tables import Tables
from benchmark.metrics import metric, sign
from benchmark.stats.bootstrap import (
    best_first,
    interval,
    iqm,
    probability_of_improvement,
    robust_spread,
    stratified_improvement,
    stratified_interval,
)
from benchmark.stats.comparisons import Comparison, family, lowest_p, rank_stability, seeds_to_reach
from benchmark.stats.power import effect_size, minimal_difference, seeds_needed

COMPARED_AT = ("final", "equal_time")
ALPHA = 0.05
OPPOSITE = {"better": "worse", "worse": "better", "not separated": "not separated"}
# columns that name a family of comparisons
FAMILY = [*PLACE, "metric", "of"]
COMPARISON = [field.name for field in fields(Comparison)]
LEADERS = ["reference", "comparisons", "first", "second", "n"]
LEADERS += ["difference", "ci_low", "ci_high", "verdict", "why"]
OVERALL = ["objective", "places", "n", "iqm", "ci_low", "ci_high"]
OVERALL += ["p_improvement", "p_low", "p_high"]
RANKS = [*PLACE, "objective", "rank", "probability"]
POWER = ["n", "comparisons", "lowest_p", "asked_p", "seeds_asked", "smallest_sd", "seed_sd"]
POWER += ["smallest", "first", "second", "seeds_top_two"]


class Contest(NamedTuple):
    """Where and when the objectives of a matrix are compared."""

    dataset: str
    architecture: str
    of: str
    """One of COMPARED_AT."""


@dataclass
class Evidence:
    """The tables of a matrix and the frames of the functions below."""

    tables: Tables
    compared: pd.DataFrame
    leaders: pd.DataFrame
    overall: pd.DataFrame
    ranks: pd.DataFrame
    power: pd.DataFrame


def gather(tables: Tables) -> Evidence:
    """All evidence of a matrix."""
    compared = families(tables)
    leading = leaders(tables, compared)
    sizes = power(tables, compared)
    return Evidence(tables, compared, leading, overall(tables), ranks(tables), sizes)


def values(tables: Tables) -> dict[Contest, pd.DataFrame]:
    """The primary metric by contest: objective x seed, ±inf diverged, NaN a hole.

    Objectives are in the order of `best_first`; those without a finished seed are last. A place
    where nothing is measured is left out, and so is equal time where there is none."""
    long = run_values(tables.cells)
    is_primary = long["metric"] == long["dataset"].map(tables.primary)
    long = long[is_primary & long["of"].isin(COMPARED_AT)]
    by_contest = {}
    for (dataset, architecture, of), rows in long.groupby([*PLACE, "of"], sort=False):
        budgets = tables.equal_cost.get(str(of))
        if budgets is not None and (str(dataset), str(architecture)) not in budgets:
            continue
        wide = rows.pivot(index="objective", columns="seed", values="value")
        wide = wide.reindex(rows["objective"].unique())
        if wide.notna().any(axis=None):
            direction = sign(tables.primary[str(dataset)])
            order = best_first(direction * wide.to_numpy())
            by_contest[Contest(str(dataset), str(architecture), str(of))] = wide.iloc[order]
    return by_contest


def families(tables: Tables) -> pd.DataFrame:
    """Every comparison that is made: FAMILY and the fields of `Comparison`.

    An objective that has not finished a run is compared too, without a verdict: it counts in Holm's
    correction."""
    rows: list[dict[str, Any]] = []
    for contest, wide in values(tables).items():
        column = tables.primary[contest.dataset]
        comparisons = family(
            {str(name): row.dropna().to_dict() for name, row in wide.iterrows()},
            minimise=sign(column) == 1,
            reference=_reference(tables, wide),
            alpha=ALPHA,
            rng=np.random.default_rng(0),
        )
        names = _family_of(contest, column)
        rows += [names | asdict(comparison) for comparison in comparisons]
    return pd.DataFrame(rows, columns=[*FAMILY, *COMPARISON])


def leaders(tables: Tables, compared: pd.DataFrame) -> pd.DataFrame:
    """The first and the second of every contest: FAMILY and LEADERS. compared: `families`.

    difference: first − second, the IQM over their n paired seeds that are finite, with its 95 % BCa
    interval. reference: of the family, "" for all pairs. verdict, why: of their comparison; ""
    where the two were not tested."""
    rows = []
    for contest, wide in values(tables).items():
        ranked = [str(name) for name in wide.index[wide.notna().any(axis=1)]]
        names = _family_of(contest, tables.primary[contest.dataset])
        is_family = (compared[FAMILY] == pd.Series(names)).all(axis=1)
        row = names | {
            "reference": _reference(tables, wide) or "",
            "comparisons": int(is_family.sum()),
            "first": ranked[0],
        }
        row |= {"second": "", "n": 0, "verdict": "", "why": ""}
        if len(ranked) > 1:
            first, second = ranked[:2]
            row |= {"second": second} | _difference(wide, first, second)
            row |= _tested(compared[is_family], first, second)
        rows.append(row)
    return pd.DataFrame(rows, columns=[*FAMILY, *LEADERS])


def overall(tables: Tables) -> pd.DataFrame:
    """OVERALL over the places that all objectives have finished runs in, two or more.

    Of each objective n runs, the IQM of final ÷ noise floor, which is a scale that places have in
    common, and the probability of improvement over the reference, averaged over places. Both have
    95 % BCa intervals, seeds resampled within each place (stratified bootstrap). A place without a
    noise floor is left out, and so is one ranked by a metric without ratios (`Metric.primary`)."""
    places = _on_common_scale(tables)
    objectives = tables.cells["objective"].unique()
    names = [name for name in objectives if all(name in wide.index for wide in places)]
    reference = tables.matrix.reference
    rows: list[dict[str, Any]] = []
    for name in names if len(places) > 1 else []:
        strata = [wide.loc[name].dropna().to_numpy() for wide in places]
        low, high = stratified_interval(strata, rng=np.random.default_rng(0))
        row = {
            "objective": name,
            "places": len(places),
            "n": sum(map(len, strata)),
            "iqm": iqm(np.concatenate(strata)),
            "ci_low": low,
            "ci_high": high,
        }
        if reference in names and name != reference:
            baseline = [wide.loc[reference].dropna().to_numpy() for wide in places]
            pairs = [(-x, -y) for x, y in zip(strata, baseline, strict=True)]
            improvement = stratified_improvement(pairs, rng=np.random.default_rng(0))
            row["p_improvement"] = improvement.p
            row["p_low"], row["p_high"] = improvement.low, improvement.high
        rows.append(row)
    return pd.DataFrame(rows, columns=OVERALL).sort_values("iqm", kind="stable")


def ranks(tables: Tables) -> pd.DataFrame:
    """RANKS of the final ranking (rank 1: first), with their probability under resampled seeds.

    NaN for fewer than five seeds that all the ranked objectives have finished."""
    rows = []
    for contest, ranked in _final_rankings(tables):
        shares = rank_stability(
            ranked.to_numpy(),
            minimise=sign(tables.primary[contest.dataset]) == 1,
            rng=np.random.default_rng(0),
        )
        place = contest[:2]
        for name, of_objective in zip(ranked.index, shares, strict=True):
            for rank, share in enumerate(of_objective, 1):
                rows.append((*place, str(name), rank, float(share)))
    return pd.DataFrame(rows, columns=RANKS)


def power(tables: Tables, compared: pd.DataFrame) -> pd.DataFrame:
    """What the seeds of a place can tell at the end of training: PLACE, metric and POWER.

    n: the fewest seeds that a finished objective has; comparisons: of the family. lowest_p: what n
    can reach; asked_p: what Holm's first step asks; seeds_asked: the seeds that can reach it.
    smallest_sd: the smallest difference told with power 0.8, in standard deviations of a seed;
    seed_sd: the median over objectives of that deviation, robust, in the metric's unit; smallest:
    their product. seeds_top_two: seeds that separate the first two with power 0.8 if they differ as
    they did here, under the same number of comparisons; NaN for more than 100."""
    finals = compared[compared["of"] == "final"]
    sizes = finals.groupby(PLACE, sort=False).size().to_dict()
    rows = []
    for contest, ranked in _final_rankings(tables):
        column = tables.primary[contest.dataset]
        comparisons = max(1, sizes.get((contest.dataset, contest.architecture), 0))
        level = ALPHA / comparisons
        n = int(ranked.notna().sum(axis=1).min())
        smallest_sd, seed_sd = minimal_difference(n, level), _seed_sd(ranked)
        row = {
            "dataset": contest.dataset,
            "architecture": contest.architecture,
            "metric": column,
            "n": n,
            "comparisons": comparisons,
            "lowest_p": lowest_p(n),
            "asked_p": level,
            "seeds_asked": seeds_to_reach(level),
            "smallest_sd": smallest_sd,
            "seed_sd": seed_sd,
            "smallest": smallest_sd * seed_sd,
            "first": str(ranked.index[0]),
        }
        if len(ranked) > 1:
            row["second"] = str(ranked.index[1])
            row["seeds_top_two"] = _seeds_for_top_two(ranked, sign(column), level)
        rows.append(row)
    return pd.DataFrame(rows, columns=[*PLACE, "metric", *POWER])


def _reference(tables: Tables, wide: pd.DataFrame) -> str | None:
    """The matrix's reference objective, where it runs in this place."""
    named = tables.matrix.reference
    return named if named in wide.index else None


def _family_of(contest: Contest, column: str) -> dict[str, Any]:
    """The values of FAMILY."""
    values = (contest.dataset, contest.architecture, column, contest.of)
    return dict(zip(FAMILY, values, strict=True))


def _difference(wide: pd.DataFrame, first: str, second: str) -> dict[str, Any]:
    """n, difference, ci_low, ci_high of two objectives over their finite pairs of seeds."""
    both = wide.loc[[first, second]].to_numpy()
    both = both[:, np.isfinite(both).all(axis=0)]
    difference = both[0] - both[1]
    low, high = interval(difference, rng=np.random.default_rng(0))
    return {
        "n": len(difference),
        "difference": float(iqm(difference)),
        "ci_low": float(low),
        "ci_high": float(high),
    }


def _tested(comparisons: pd.DataFrame, first: str, second: str) -> dict[str, str]:
    """verdict and why of the comparison of two objectives; empty where they were not tested."""
    for row in comparisons.to_dict("records"):
        if (row["first"], row["second"]) == (first, second):
            return {"verdict": row["verdict"], "why": row["why"]}
        if (row["first"], row["second"]) == (second, first):
            return {"verdict": OPPOSITE[row["verdict"]], "why": row["why"]}
    return {}


def _on_common_scale(tables: Tables) -> list[pd.DataFrame]:
    """Final ÷ noise floor, of the places in which every objective has a finished run."""
    places = []
    for contest, wide in values(tables).items():
        column = tables.primary[contest.dataset]
        floor = tables.floor(contest.dataset, column)
        has_floor = floor > 0 and metric(column).primary
        if contest.of == "final" and has_floor and wide.notna().any(axis=1).all():
            places.append(wide / floor)
    return places


def _final_rankings(tables: Tables) -> Iterator[tuple[Contest, pd.DataFrame]]:
    """The finished objectives of every place at the end of training: objective x seed."""
    for contest, wide in values(tables).items():
        ranked = wide.dropna(how="all")
        if contest.of == "final" and len(ranked):
            yield contest, ranked


def _seed_sd(ranked: pd.DataFrame) -> float:
    """The median over objectives of the robust spread of their seeds; NaN for none with two."""
    finite = [row[np.isfinite(row)] for row in ranked.to_numpy()]
    spreads = [robust_spread(row) for row in finite if len(row) > 1]
    return float(np.median(spreads or [math.nan]))


def _seeds_for_top_two(ranked: pd.DataFrame, direction: int, level: float) -> int | None:
    """The seeds that separate the first two objectives if they differ as they did here."""
    first, second = (-direction * seeds[~np.isnan(seeds)] for seeds in ranked.to_numpy()[:2])
    p = probability_of_improvement(first, second, rng=np.random.default_rng(0), resamples=1).p
    return seeds_needed(effect_size(p), level)
