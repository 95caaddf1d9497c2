"""Which objective leads in each place (architecture on dataset), and how surely.

The primary metric is compared at the budgets COMPARED_AT: every objective with the matrix's
reference where it names one that runs there, else all pairs. All comparisons of a matrix, over its
places and budgets, are one family: its false claims have a probability of ALPHA together. What a
search picked is left out: it meets what the search picked for the others (`search.tuning`)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import pandas as pd

from benchmark.analysis.robustness import nothing_learnt
from benchmark.analysis.scores import PLACE, is_crossed, metric_of, run_values
from benchmark.analysis.search.finals import is_pick
from benchmark.analysis.tables import Tables
from benchmark.analysis.targets import has_way, share_of_way
from benchmark.metrics import sign
from benchmark.stats.comparisons import (
    Comparison,
    compare,
    judged,
    lowest_p,
    ranks_by_seed,
    seeds_to_reach,
)
from benchmark.stats.intervals import best_first, median, share_interval
from benchmark.stats.power import shift_of, told_share, wins_asked

COMPARED_AT = ("final", "equal_compute", "equal_time")
ALPHA = 0.05
OPPOSITE = {"better": "worse", "worse": "better", "not separated": "not separated"}
# columns that name a contest
CONTEST = [*PLACE, "metric", "of"]
COMPARISON = [field.name for field in fields(Comparison)]
LEADERS = ["reference", "first", "second", *COMPARISON[2:]]
OVERALL = ["objective", "places", "n", "way", "rank", "wins", "pairs"]
RANKS = [*PLACE, "objective", "rank", "seeds", "n"]
POWER = ["n", "comparisons", "lowest_p", "asked_p", "seeds_asked", "wins_asked", "told_share"]
POWER += ["told_sd", "first", "first_on", "first_of", "first_low", "first_high"]


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
    compared = comparisons(tables)
    leading = leaders(tables, compared)
    sizes = power(tables, compared)
    return Evidence(tables, compared, leading, overall(tables), ranks(tables), sizes)


def values(tables: Tables) -> dict[Contest, pd.DataFrame]:
    """The primary metric by contest: objective x seed, ±inf diverged, NaN a hole.

    Objectives are in the order of `best_first`; those without a finished seed are last. A place
    where nothing is measured or nothing was learnt is left out, and so is equal time where there is
    none."""
    ranking = {None, *tables.primary.values()}
    columns = [name for name in tables.cells.columns if metric_of(name) in ranking]
    long = run_values(tables.cells[columns])
    is_primary = long["metric"] == long["dataset"].map(tables.primary)
    long = long[is_primary & long["of"].isin(COMPARED_AT)]
    places = tables.cells[PLACE].drop_duplicates().itertuples(index=False, name=None)
    idle = [place for place in places if nothing_learnt(tables, *place)]
    by_contest = {}
    for (dataset, architecture, of), rows in long.groupby([*PLACE, "of"], sort=False):
        budgets = tables.equal_cost.get(str(of))
        is_without = budgets is not None and (str(dataset), str(architecture)) not in budgets
        if is_without or (dataset, architecture) in idle:
            continue
        wide = rows.pivot(index="objective", columns="seed", values="value")
        wide = wide.reindex(rows["objective"].unique())
        if wide.notna().any(axis=None):
            direction = sign(tables.primary[str(dataset)])
            order = best_first(direction * wide.to_numpy())
            by_contest[Contest(str(dataset), str(architecture), str(of))] = wide.iloc[order]
    return by_contest


def comparisons(tables: Tables) -> pd.DataFrame:
    """Every comparison that is made, judged as one family: CONTEST and the fields of `Comparison`.

    An objective that has not finished a run is compared too, without a verdict: it counts in Holm's
    correction."""
    names: list[dict[str, Any]] = []
    compared: list[Comparison] = []
    for contest, wide in _independent(tables).items():
        column = tables.primary[contest.dataset]
        untuned = wide.loc[[not is_pick(str(name)) for name in wide.index]]
        of_contest = compare(
            {str(name): row.dropna().to_dict() for name, row in untuned.iterrows()},
            minimise=sign(column) == 1,
            reference=_reference(tables, wide),
        )
        compared += of_contest
        names += [_named(contest, column)] * len(of_contest)
    verdicts = judged(compared, alpha=ALPHA)
    rows = [name | asdict(verdict) for name, verdict in zip(names, verdicts, strict=True)]
    return pd.DataFrame(rows, columns=[*CONTEST, *COMPARISON])


def _independent(tables: Tables) -> dict[Contest, pd.DataFrame]:
    """`values` without the places whose seeds are crossed: their runs are no independent pairs."""
    crossed = tables.runs[is_crossed(tables.runs)]
    places = set(crossed[PLACE].itertuples(False, None))
    found = values(tables).items()
    return {contest: wide for contest, wide in found if contest[:2] not in places}


def leaders(tables: Tables, compared: pd.DataFrame) -> pd.DataFrame:
    """The first and the second of every contest: CONTEST and LEADERS. compared: `comparisons`.

    The columns of LEADERS are the fields of their `Comparison`, first less second. reference: the
    objective that the others are compared with, "" for all pairs. verdict, why: of the family; ""
    where these two were not tested."""
    rows = []
    for contest, wide in values(tables).items():
        column = tables.primary[contest.dataset]
        ranked = [str(name) for name in wide.index[wide.notna().any(axis=1)]]
        names = _named(contest, column)
        row = names | {"reference": _reference(tables, wide) or "", "first": ranked[0]}
        row |= {"second": "", "n": 0, "verdict": "", "why": ""}
        if len(ranked) > 1:
            pair = {name: wide.loc[name].dropna().to_dict() for name in ranked[:2]}
            (between,) = compare(pair, minimise=sign(column) == 1)
            is_here = (compared[CONTEST] == pd.Series(names)).all(axis=1)
            row |= asdict(between) | {"verdict": "", "why": ""}
            row |= _tested(compared[is_here], *ranked[:2])
        rows.append(row)
    return pd.DataFrame(rows, columns=[*CONTEST, *LEADERS])


def overall(tables: Tables) -> pd.DataFrame:
    """OVERALL over the places that all objectives have finished runs in, two or more.

    Of each objective: n runs; way: the share of the way from the untrained generator to the noise
    floor (`share_of_way`), the median over seeds, averaged over places; rank: by the median, 1
    being the best, averaged over places; wins: of all pairs with the reference, by seed and place,
    those that it wins. None of them depends on the unit of a metric. None has an interval: places
    are no sample, and may share batches. A place without a noise floor is left out, and so is one
    ranked by a metric without ratios (`Metric.primary`)."""
    places = _on_common_scale(tables)
    objectives = tables.cells["objective"].unique()
    names = [name for name in objectives if all(name in wide.index for wide in places)]
    if len(places) < 2:
        return pd.DataFrame(columns=OVERALL)
    ways = [wide.apply(lambda row: median(row.dropna()), axis=1) for wide in places]
    medians = pd.concat(ways, axis=1)
    standings = medians.loc[names].rank(ascending=False)
    reference = tables.matrix.reference
    rows: list[dict[str, Any]] = []
    for name in names:
        row = {
            "objective": name,
            "places": len(places),
            "n": sum(int(wide.loc[name].notna().sum()) for wide in places),
            "way": medians.loc[name].mean(),
            "rank": standings.loc[name].mean(),
        }
        if reference and reference in names and name != reference:
            row |= _wins_over(name, reference, places)
        rows.append(row)
    return pd.DataFrame(rows, columns=OVERALL).sort_values("rank", kind="stable")


def ranks(tables: Tables) -> pd.DataFrame:
    """RANKS at the end of training: on how many of n seeds an objective has a rank (1: first).

    n: the seeds that all objectives of the place have finished, among those with a finished one;
    ties share their ranks."""
    rows = []
    for contest, ranked in _final_rankings(values(tables)):
        counts = ranks_by_seed(
            ranked.to_numpy(), minimise=sign(tables.primary[contest.dataset]) == 1
        )
        n = int(ranked.notna().all().sum())
        for name, of_objective in zip(ranked.index, counts, strict=True):
            for rank, seeds in enumerate(of_objective, 1):
                rows.append((*contest[:2], str(name), rank, float(seeds), n))
    return pd.DataFrame(rows, columns=RANKS)


def power(tables: Tables, compared: pd.DataFrame) -> pd.DataFrame:
    """What the seeds of a place can tell at the end of training: PLACE, metric and POWER.

    n: the fewest seeds that a finished objective has; comparisons: of the matrix. lowest_p: what n
    can reach; asked_p: what Holm's first step asks; seeds_asked: the seeds that can reach it;
    wins_asked: the wins of n that reach it. told_share: the share of seeds on which an objective
    has to be better for n seeds to tell it with power 0.8; told_sd: the same as a difference, in
    standard deviations of a normal paired difference. first: the leader; first_on: the seeds of
    first_of on which no objective is better, and the interval of their share, first_low and
    first_high, at 1 − 0.05 ÷ objectives: it covers 95 % whichever objective leads."""
    comparisons = max(1, len(compared))
    level = ALPHA / comparisons
    rows = []
    for contest, wide in _final_rankings(_independent(tables)):
        n = int(wide.notna().sum(axis=1).min())
        told = told_share(n, level)
        leader = str(wide.index[0])
        shared = sign(tables.primary[contest.dataset]) * wide.dropna(axis=1)
        first_on, first_of = int((shared.iloc[0] == shared.min()).sum()), shared.shape[1]
        share = share_interval(first_on, first_of, level=1 - ALPHA / len(wide))
        row = {
            "dataset": contest.dataset,
            "architecture": contest.architecture,
            "metric": tables.primary[contest.dataset],
            "n": n,
            "comparisons": comparisons,
            "lowest_p": lowest_p(n),
            "asked_p": level,
            "seeds_asked": seeds_to_reach(level),
            "wins_asked": wins_asked(n, level),
            "told_share": told,
            "told_sd": shift_of(told),
            "first": leader,
            "first_on": first_on,
            "first_of": first_of,
            "first_low": share.low,
            "first_high": share.high,
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=[*PLACE, "metric", *POWER])


def _reference(tables: Tables, wide: pd.DataFrame) -> str | None:
    """The matrix's reference objective, where it runs in this place."""
    named = tables.matrix.reference
    return named if named in wide.index else None


def _named(contest: Contest, column: str) -> dict[str, Any]:
    """The values of CONTEST."""
    names = (contest.dataset, contest.architecture, column, contest.of)
    return dict(zip(CONTEST, names, strict=True))


def _tested(compared: pd.DataFrame, first: str, second: str) -> dict[str, str]:
    """verdict and why of the comparison of two objectives; empty where they were not tested."""
    for row in compared.to_dict("records"):
        if (row["first"], row["second"]) == (first, second):
            return {"verdict": row["verdict"], "why": row["why"]}
        if (row["first"], row["second"]) == (second, first):
            return {"verdict": OPPOSITE[row["verdict"]], "why": row["why"]}
    return {}


def _on_common_scale(tables: Tables) -> list[pd.DataFrame]:
    """The share of the way, of the places in which every objective has a finished run."""
    places = []
    for contest, wide in values(tables).items():
        column = tables.primary[contest.dataset]
        floor = tables.floor(contest.dataset, column)
        untrained = tables.untrained.get((contest.dataset, contest.architecture), math.nan)
        is_on_scale = has_way(column, untrained, floor)
        if contest.of == "final" and is_on_scale and wide.notna().any(axis=1).all():
            places.append(share_of_way(wide, untrained, floor))
    return places


def _wins_over(name: str, reference: str, places: list[pd.DataFrame]) -> dict[str, int]:
    """wins and pairs of an objective with the reference."""
    wins, pairs = 0, 0
    for wide in places:
        both = wide.loc[[name, reference]].dropna(axis=1).to_numpy()
        wins += int((both[0] > both[1]).sum())
        pairs += both.shape[1]
    return {"wins": wins, "pairs": pairs}


def _final_rankings(
    contests: Mapping[Contest, pd.DataFrame],
) -> Iterator[tuple[Contest, pd.DataFrame]]:
    """The finished objectives of every place at the end of training: objective x seed."""
    for contest, wide in contests.items():
        ranked = wide.dropna(how="all")
        if contest.of == "final" and len(ranked):
            yield contest, ranked
