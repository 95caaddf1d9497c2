"""The tables of `ganbench compare`: sides of sides.py, paired by seed, with intervals.

The metric that ranks each dataset is tested. All its comparisons with the reference, over places
and `of`, are one family under Holm's correction. Within a result set the objectives that are not
named count too: naming the two of seven that look furthest apart does not make one comparison out
of six. The other metrics are shown with their intervals and are not tested."""

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.analysis.scores import EQUAL_COST, PLACE, raced_costs, run_values
from benchmark.analysis.sides import Sides
from benchmark.analysis.verdicts import VERDICTS
from benchmark.errors import UserError
from benchmark.metrics import metric, sign
from benchmark.stats.comparisons import Comparison, judged
from benchmark.stats.comparisons import compare as paired
from benchmark.stats.intervals import median
from benchmark.store.schema import FINISHED
from benchmark.text import plural

ALPHA = 0.05
TESTED = [*PLACE, "metric", "of"]
COSTS = ["ms_per_g_step", "forwards_per_step", "workloads_per_g_step"]
COSTS += ["peak_memory_mb", "workloads_memory"]
Values = dict[str, dict[Hashable, float]]  # side -> seed -> value


class Compared(NamedTuple):
    """A comparison with the values that it is of."""

    names: dict[str, Any]
    """The match, the metric and `of`."""
    values: Values
    comparison: Comparison

    def is_shown(self, sides: Sequence[str]) -> bool:
        """Whether the side is named and has a value."""
        return self.comparison.first in sides and self.comparison.first in self.values


def differences(sides: Sides, of: Sequence[str] = ("final",)) -> pd.DataFrame:
    """Every side against the reference, one row per match, metric, of and side.

    n: pairs of seeds; wins, ties: of them, those on which the side is better, or equal; value,
    against, diverged, against_diverged: each side's median and diverged seeds, over the pairs (over
    all its seeds where there is no pair); difference: side − reference, the median over
    pairs, with ci_low, ci_high;
    p_improvement: the share of pairs on which the side is better, with p_low, p_high;
    p_holm; verdict; why it is not separated. p_holm and verdict are empty for a metric that does
    not rank. A diverged seed has the worst value. Between result sets there is no equal cost: each
    set has its own. Raises UserError where nothing compares."""
    if "objective" in sides.by:
        if set(of) <= set(EQUAL_COST):
            raise UserError(
                f"{' and '.join(of)} is read within one result set: between sets see the cost, or "
                "--of final"
            )
        of = [name for name in of if name not in EQUAL_COST]
    long = run_values(sides.family, ["side"], of)
    ordered_metrics = [name for name in long["metric"].unique() if metric(name).ideal is None]
    long = long[long["metric"].isin(ordered_metrics)]
    compared = list(_compared(sides, long))
    shown = [_row(pair) for pair in _judged(sides, compared) if pair.is_shown(sides.names)]
    if not shown:
        raise UserError(_why_nothing_compares(sides, long, of))
    return pd.DataFrame(shown)


def _why_nothing_compares(sides: Sides, long: pd.DataFrame, of: Sequence[str]) -> str:
    """What every side lacks, and what is noted. long: the values by side."""
    reasons = []
    for name in sides.names:
        cells = sides.cells[sides.cells["side"] == name]
        finished = int(cells["status"].isin(FINISHED).sum())
        valued = int(long[(long["side"] == name) & long["value"].notna()]["key"].nunique())
        runs = plural(len(cells), "run")
        reasons.append(f"{name}: {finished} of {runs} finished, {valued} with a value")
    reasons += [note.rstrip(".") for note in sides.notes]
    match = "place" if "objective" not in sides.by else "objective in a place"
    return (
        f"nothing to compare ({', '.join(of)}): {sides.reference} and another side have values of "
        f"no {match} in common; {'; '.join(reasons)}"
    )


def cost(sides: Sides) -> pd.DataFrame:
    """Medians over seeds by match and side: COSTS, and each ÷ the reference side's (_ratio).

    ms_per_g_step and workloads_per_g_step are of the races, forwards_per_step in critic
    forward-equivalents. workloads_*: in units of the reference workload, which compares machines:
    of the same race, and of the same process for memory."""
    index = [*sides.by, "side"]
    cells = sides.cells[sides.cells["g_steps"] > 0]
    costs = raced_costs(cells)
    frame = cells[index].assign(
        ms_per_g_step=costs["ms"],
        forwards_per_step=costs["forwards"],
        workloads_per_g_step=costs["workloads"],
        peak_memory_mb=cells["peak_memory_mb"],
        workloads_memory=cells["peak_memory_mb"] / cells["reference_mb"],
    )
    medians = frame.groupby(index, sort=False)[COSTS].median().reset_index()
    reference = medians[medians["side"] == sides.reference].drop(columns="side")
    divisors = medians[index].merge(reference, on=sides.by, how="left")[COSTS]
    ratios = medians[COSTS] / divisors.where(divisors > 0)
    return ordered(sides, medians.join(ratios.add_suffix("_ratio")))


def reliability(sides: Sides) -> pd.DataFrame:
    """Cells per verdict by match and side: a column per verdict that occurs.

    `no verdict`: finished, without a value at the end; `unfinished`: neither done nor diverged."""
    index = [*sides.by, "side"]
    is_finished = sides.cells["status"].isin(FINISHED)
    without = pd.Series(np.where(is_finished, "no verdict", "unfinished"), sides.cells.index)
    verdict = sides.cells["verdict"].astype(object)
    verdict = verdict.where(verdict.notna(), without)
    table = (
        sides.cells[index]
        .assign(verdict=verdict, n=1)
        .pivot_table(
            index=index, columns="verdict", values="n", aggfunc="sum", fill_value=0, sort=False
        )
    )
    names = [name for name in (*VERDICTS, "no verdict", "unfinished") if name in table.columns]
    return ordered(sides, table[names].reset_index().rename_axis(columns=None))


def curves(sides: Sides) -> pd.DataFrame:
    """The primary metric over samples seen: median, low and high over the n finite seeds.

    By match and side."""
    value = sides.evals["value"]
    finite = sides.evals.assign(value=value.where(np.isfinite(value)))
    keys = [*sides.by, "side", "samples_seen"]
    values = finite.groupby(keys, sort=False, observed=True)["value"]
    frame = values.agg(median="median", low="min", high="max", n="count")
    return ordered(sides, frame.reset_index())


def ordered(sides: Sides, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by place, match and side: in the order of the matrix, the reference side first."""
    matches = list(sides.cells[sides.by].drop_duplicates().itertuples(index=False, name=None))
    places = list(dict.fromkeys(match[: len(PLACE)] for match in matches))
    positions = []
    for *names, side in frame[[*sides.by, "side"]].to_numpy().tolist():
        match = tuple(names)
        place = places.index(match[: len(PLACE)])
        positions.append((place, matches.index(match), sides.names.index(side)))
    return frame.iloc[sorted(range(len(positions)), key=positions.__getitem__)]


def _compared(sides: Sides, long: pd.DataFrame) -> Iterator[Compared]:
    """The comparisons of every match, metric and `of`, not judged yet. long: values by side."""
    at_place: dict[Hashable, Values] = {}
    for *place, side in sides.family[[*PLACE, "side"]].drop_duplicates().to_numpy().tolist():
        at_place.setdefault(tuple(place), {})[side] = {}
    by = [*TESTED, *sides.by[len(PLACE) :]]
    for match, sides_values in _values_by_match(long, by).items():
        values = {side: seeds for side, seeds in sides_values.items() if _has_value(seeds)}
        others = [name for name in sides.names[1:] if name in values]
        if sides.reference not in values or not others:
            continue
        names = dict(zip(by, match, strict=True))
        # objectives without a value count in the correction
        unfinished = {} if "objective" in sides.by else at_place[match[: len(PLACE)]]
        comparisons = paired(
            unfinished | values,
            minimise=sign(names["metric"]) == 1,
            reference=sides.reference,
        )
        shown = {name: names[name] for name in (*sides.by, "metric", "of")}
        yield from (Compared(shown, values, comparison) for comparison in comparisons)


def _judged(sides: Sides, compared: Sequence[Compared]) -> list[Compared]:
    """Those of the metric that ranks, judged as one family, and the others without a verdict."""
    is_tested = [
        pair.names["metric"] == sides.primary.get(pair.names["dataset"]) for pair in compared
    ]
    tested = [pair.comparison for pair in itertools.compress(compared, is_tested)]
    verdicts = iter(judged(tested, alpha=ALPHA))
    judgements = []
    for pair, has_verdict in zip(compared, is_tested, strict=True):
        verdict = replace(pair.comparison, verdict="")
        if has_verdict:
            verdict = next(verdicts)
        judgements.append(pair._replace(comparison=verdict))
    return judgements


def _values_by_match(long: pd.DataFrame, by: list[str]) -> dict[tuple[Any, ...], Values]:
    """The values by side and seed, by the columns `by`, of which TESTED come first: their matches
    are next to one another."""
    found: dict[Any, dict[Any, Values]] = {}
    columns = [long[name] for name in (*by, "side", "seed", "value")]
    for *names, side, seed, value in zip(*columns, strict=True):
        tested, match = tuple(names[: len(TESTED)]), tuple(names[len(TESTED) :])
        found.setdefault(tested, {}).setdefault(match, {}).setdefault(side, {})[seed] = value
    return {
        tested + match: values
        for tested, matches in found.items()
        for match, values in matches.items()
    }


def _has_value(seeds: Mapping[Hashable, float]) -> bool:
    return not all(map(math.isnan, seeds.values()))


def _row(compared: Compared) -> dict[str, Any]:
    """A row of `differences`."""
    result = compared.comparison
    side, reference = _paired(compared.values[result.first], compared.values[result.second])
    return compared.names | {
        "side": result.first,
        "n": result.n,
        "wins": result.wins,
        "ties": result.ties,
        "value": _median(side),
        "against": _median(reference),
        "diverged": _num_diverged(side),
        "against_diverged": _num_diverged(reference),
        "difference": result.difference,
        "ci_low": result.ci_low,
        "ci_high": result.ci_high,
        "p_improvement": result.p_improvement,
        "p_low": result.p_low,
        "p_high": result.p_high,
        "p_holm": result.p_holm,
        "verdict": result.verdict,
        "why": _why_equal(side, reference) or result.why,
    }


def _paired(
    side: dict[Hashable, float], reference: dict[Hashable, float]
) -> tuple[dict[Hashable, float], dict[Hashable, float]]:
    """The values of two sides on the seeds on which both have one; all values where there is no
    such seed."""
    known = {seed for seed, value in reference.items() if not math.isnan(value)}
    seeds = [seed for seed, value in side.items() if seed in known and not math.isnan(value)]
    if not seeds:
        return side, reference
    return {seed: side[seed] for seed in seeds}, {seed: reference[seed] for seed in seeds}


def _why_equal(side: Mapping[Hashable, float], reference: Mapping[Hashable, float]) -> str:
    """How two sides are equal; the empty string where they are not."""
    common = side.keys() & reference.keys()
    if not common or any(side[seed] != reference[seed] for seed in common):
        return ""
    if all(math.isinf(side[seed]) for seed in common):
        return "every seed of both diverged"
    return "equal seed by seed"


def _median(seeds: Mapping[Hashable, float]) -> float:
    return float(median([value for value in seeds.values() if not math.isnan(value)]))


def _num_diverged(seeds: Mapping[Hashable, float]) -> int:
    return sum(map(math.isinf, seeds.values()))
