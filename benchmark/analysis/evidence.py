"""Which objective leads in each place (architecture on dataset), what the seeds can tell apart, and
how surely.

Compared is the primary metric at two budgets: `final`, at the end of equal generator steps, and
`equal_time`. A family is all comparisons of one place and budget: every objective against the
matrix's reference where it names one that runs there, else all pairs."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.convergence import GROUP
from benchmark.analysis.tables import Tables, scores
from benchmark.metrics import sign
from benchmark.stats import comparisons as stats

BUDGETS = ("final", "equal_time")
ALPHA = 0.05
OPPOSITE = {"better": "worse", "worse": "better", "not separated": "not separated"}
AT = [*GROUP, "metric", "of"]
COMPARISON = [field.name for field in fields(stats.Comparison)]
LEADERS = [
    "reference",
    "comparisons",
    "first",
    "second",
    "n",
    "difference",
    "ci_low",
    "ci_high",
    "verdict",
    "why",
]
OVERALL = [
    "objective",
    "places",
    "n",
    "iqm",
    "ci_low",
    "ci_high",
    "p_improvement",
    "p_low",
    "p_high",
]
POWER = [
    "n",
    "comparisons",
    "lowest_p",
    "asked_p",
    "seeds_asked",
    "smallest_sd",
    "seed_sd",
    "smallest",
]
POWER += ["first", "second", "seeds_top_two"]


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
    return Evidence(
        tables,
        compared,
        leaders(tables, compared),
        overall(tables),
        ranks(tables),
        power(tables, compared),
    )


def values(tables: Tables) -> dict[tuple[str, str, str], pd.DataFrame]:
    """The primary metric by (dataset, architecture, of): objective x seed, ±inf diverged, NaN a
    hole.

    The best objective by IQM comes first, a diverged seed being the worst value; those without a
    finished seed are last. A place where nothing is measured is left out, and equal time where
    there is none."""
    long, primary = scores(tables.cells), tables.primary
    long = long[(long["metric"] == long["dataset"].map(primary)) & long["of"].isin(BUDGETS)]
    found = {}
    for (dataset, architecture, of), rows in long.groupby([*GROUP, "of"], sort=False):
        if of == "equal_time" and (dataset, architecture) not in tables.equal_seconds:
            continue
        wide = rows.pivot(index="objective", columns="seed", values="value").reindex(
            rows["objective"].unique()
        )
        if wide.notna().any(axis=None):
            direction = sign(primary[str(dataset)])
            level = [direction * stats.iqm(row[~np.isnan(row)]) for row in wide.to_numpy()]
            found[str(dataset), str(architecture), str(of)] = wide.iloc[
                np.argsort(level, kind="stable")
            ]
    return found


def families(tables: Tables) -> pd.DataFrame:
    """Every comparison that is made: AT and the fields of `stats.Comparison`.

    An objective that has not finished a run is compared too, without a verdict: it counts in Holm's
    correction."""
    rows: list[dict[str, Any]] = []
    primary = tables.primary
    for (dataset, architecture, of), wide in values(tables).items():
        column = primary[dataset]
        at = {"dataset": dataset, "architecture": architecture, "metric": column, "of": of}
        found = stats.family(
            {str(name): row.dropna().to_dict() for name, row in wide.iterrows()},
            minimise=sign(column) == 1,
            reference=_reference(tables, wide),
            alpha=ALPHA,
            rng=np.random.default_rng(0),
        )
        rows += [at | asdict(comparison) for comparison in found]
    return pd.DataFrame(rows, columns=[*AT, *COMPARISON])


def leaders(tables: Tables, compared: pd.DataFrame) -> pd.DataFrame:
    """The first and the second of every place and budget: AT and LEADERS. compared: `families`.

    difference: first − second, the IQM over their n paired seeds that are finite, with its 95 % BCa
    interval. reference: of the family, "" for all pairs. verdict, why: of their comparison; ""
    where the two were not tested."""
    tests = {
        tuple(row[name] for name in [*AT, "first", "second"]): row
        for row in compared.to_dict("records")
    }
    sizes, primary = compared.groupby(AT, sort=False).size().to_dict(), tables.primary
    rows = []
    for (dataset, architecture, of), wide in values(tables).items():
        at = (dataset, architecture, primary[dataset], of)
        ranked = [str(name) for name in wide.index[wide.notna().any(axis=1)]]
        row: dict[str, Any] = dict(zip(AT, at, strict=True)) | {
            "reference": _reference(tables, wide) or "",
            "first": ranked[0],
        }
        row |= {"comparisons": sizes.get(at, 0), "second": "", "n": 0, "verdict": "", "why": ""}
        if len(ranked) > 1:
            first, second = ranked[:2]
            both = wide.loc[[first, second]].to_numpy()
            both = both[:, np.isfinite(both).all(axis=0)]
            difference = both[0] - both[1]
            low, high = stats.interval(difference, rng=np.random.default_rng(0))
            row |= {
                "second": second,
                "n": len(difference),
                "difference": float(stats.iqm(difference)),
            }
            row |= {"ci_low": float(low), "ci_high": float(high)}
            if tested := tests.get((*at, first, second)):
                row |= {"verdict": tested["verdict"], "why": tested["why"]}
            elif tested := tests.get((*at, second, first)):
                row |= {"verdict": OPPOSITE[tested["verdict"]], "why": tested["why"]}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*AT, *LEADERS])


def overall(tables: Tables) -> pd.DataFrame:
    """OVERALL over the places that all objectives have finished runs in, two or more: of each
    objective n runs, the IQM of final ÷ noise floor, the scale that places have in common, and the
    probability of improvement over the reference, averaged over places. Both with 95 % BCa
    intervals, seeds resampled within each place (stratified bootstrap).

    A place without a noise floor is left out, and so is a metric of which more is better, whose
    floor is its best."""
    found = []
    for (dataset, _, of), wide in values(tables).items():
        column = tables.primary[dataset]
        floor = tables.floor(dataset, column)
        if of == "final" and floor > 0 and sign(column) == 1 and wide.notna().any(axis=1).all():
            found.append(wide / floor)
    names = [
        name
        for name in tables.cells["objective"].unique()
        if all(name in wide.index for wide in found)
    ]
    rows: list[dict[str, Any]] = []
    for name in names if len(found) > 1 else []:
        strata = [wide.loc[name].dropna().to_numpy() for wide in found]
        low, high = stats.stratified_interval(strata, rng=np.random.default_rng(0))
        row = {
            "objective": name,
            "places": len(found),
            "n": sum(map(len, strata)),
            "ci_low": low,
            "ci_high": high,
        }
        row["iqm"] = stats.iqm(np.concatenate(strata))
        if (reference := tables.matrix.reference) in names and name != reference:
            against = [
                (-own, -wide.loc[reference].dropna())
                for own, wide in zip(strata, found, strict=True)
            ]
            p = stats.stratified_improvement(against, rng=np.random.default_rng(0))
            row |= dict(zip(("p_improvement", "p_low", "p_high"), p, strict=True))
        rows.append(row)
    return pd.DataFrame(rows, columns=OVERALL).sort_values("iqm", kind="stable")


def ranks(tables: Tables) -> pd.DataFrame:
    """dataset, architecture, objective, rank (1: first), probability: of the final ranking under
    resampled seeds.

    NaN for fewer than five seeds that all the ranked objectives have finished."""
    rows, primary = [], tables.primary
    for (dataset, architecture, of), wide in values(tables).items():
        ranked = wide.dropna(how="all")
        if of == "final" and len(ranked):
            shares = stats.rank_stability(
                ranked.to_numpy(),
                minimise=sign(primary[dataset]) == 1,
                rng=np.random.default_rng(0),
            )
            rows += [
                (dataset, architecture, str(name), rank + 1, float(share))
                for name, of_rank in zip(ranked.index, shares, strict=True)
                for rank, share in enumerate(of_rank)
            ]
    return pd.DataFrame(rows, columns=[*GROUP, "objective", "rank", "probability"])


def power(tables: Tables, compared: pd.DataFrame) -> pd.DataFrame:
    """What the seeds of a place can tell at the end of training: dataset, architecture, metric and
    POWER.

    n: the fewest seeds that a finished objective has; comparisons: of the family. lowest_p: what n
    can reach; asked_p: what Holm's first step asks; seeds_asked: the seeds that can reach it.
    smallest_sd: the smallest difference told with power 0.8, in standard deviations of a seed;
    seed_sd: the median over objectives of that deviation, robust, in the metric's unit; smallest:
    their product. seeds_top_two: seeds that separate the first two with power 0.8 if they differ as
    they did here, under the same number of comparisons; NaN for more than 100."""
    sizes = compared[compared["of"] == "final"].groupby(GROUP, sort=False).size().to_dict()
    rows, primary = [], tables.primary
    for (dataset, architecture, of), wide in values(tables).items():
        ranked = wide.dropna(how="all")
        if of != "final" or ranked.empty:
            continue
        column, m = primary[dataset], max(1, sizes.get((dataset, architecture), 0))
        n = int(ranked.notna().sum(axis=1).min())
        finite = [row[np.isfinite(row)] for row in ranked.to_numpy()]
        seed_sd = float(
            np.median([stats.robust_spread(row) for row in finite if len(row) > 1] or [math.nan])
        )
        told = stats.minimal_difference(n, ALPHA / m)
        row = {
            "dataset": dataset,
            "architecture": architecture,
            "metric": column,
            "n": n,
            "comparisons": m,
        }
        row |= {
            "lowest_p": stats.lowest_p(n),
            "asked_p": ALPHA / m,
            "seeds_asked": _seeds_asked(ALPHA / m),
        }
        row |= {
            "smallest_sd": told,
            "seed_sd": seed_sd,
            "smallest": told * seed_sd,
            "first": str(ranked.index[0]),
        }
        if len(ranked) > 1:
            x, y = (-sign(column) * seeds[~np.isnan(seeds)] for seeds in ranked.to_numpy()[:2])
            p, _, _ = stats.probability_of_improvement(
                x, y, rng=np.random.default_rng(0), resamples=1
            )
            row |= {
                "second": str(ranked.index[1]),
                "seeds_top_two": stats.seeds_needed(stats.effect_size(p), ALPHA / m),
            }
        rows.append(row)
    return pd.DataFrame(rows, columns=[*GROUP, "metric", *POWER])


def _reference(tables: Tables, wide: pd.DataFrame) -> str | None:
    named = tables.matrix.reference
    return named if named in wide.index else None


def _seeds_asked(threshold: float) -> int:
    n = stats.MIN_SEEDS
    while stats.lowest_p(n) > threshold:
        n += 1
    return n
