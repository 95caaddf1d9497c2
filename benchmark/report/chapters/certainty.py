"""How sure are we? What the seeds can tell apart, and how many more seeds it would take."""

import math

import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import why_unranked
from benchmark.metrics import metric
from benchmark.report.page import (
    Chapter,
    Item,
    Table,
    at_place,
    place,
    places,
    records,
    tags_of,
)
from benchmark.text import Record, number, span

HEADS = [
    "where", "seeds", "comparisons", "lowest p", "asked", "seeds needed", "told, seed SDs", "told",
    "noise floor", "leader", "first again", "the first two: seeds",
]  # fmt: skip
COVERAGE = (
    "Intervals are 95 % BCa bootstrap intervals of the IQM over seeds. At 5 seeds they cover the "
    "truth 89 % of the time, at 6 90 %, at 7 91 %, from 8 on 94 %: with five seeds read them as "
    "nine in ten."
)
POWER = (
    "Lowest p: the least that a Mann–Whitney test can give at these seeds; where it is above what "
    "Holm's first step asks, nothing can be separated whatever the values, and as many seeds are "
    "needed as shown. Told: the smallest difference told with power 0.8, in standard deviations of "
    "a seed, and in the metric's unit at the median one over objectives. First again: share of "
    "resamples of the seeds in which the leader leads. The first two: seeds that would separate "
    "them with power 0.8 if they differ as they do here, in a family of this size."
)


def chapter(evidence: Evidence) -> Chapter:
    """What the seeds can tell, and how stable the ranking is."""
    result = Chapter("certainty", "How sure are we?")
    if evidence.power.empty:
        for at in places(evidence.tables.cells):
            here = at_place(evidence.tables.cells, at)
            reason = why_unranked(here, evidence.tables.primary.get(at["dataset"]))
            result.items.append(Item(place(at), [f"{reason}."], tags_of(at)))
        return result
    result.answers += [_smallest_difference(evidence.power), COVERAGE]
    result.tables.append(_what_seeds_tell(evidence))
    return result


def _smallest_difference(power: pd.DataFrame) -> str:
    """The smallest difference that the seeds of this matrix can tell from chance."""
    seeds = span(power["n"])
    smallest = power["smallest_sd"]
    if not smallest.map(math.isfinite).any():
        return f"With {seeds} seeds this matrix cannot tell any difference from chance."
    return (
        f"With {seeds} seeds this matrix tells differences of {span(smallest)} standard deviations "
        "of a seed or more; smaller ones show as not separated, which does not say that they are "
        "not there."
    )


def _what_seeds_tell(evidence: Evidence) -> Table:
    table = Table("What the seeds can tell", HEADS, note=POWER)
    first_ranks = evidence.ranks[evidence.ranks["rank"] == 1]
    for row in records(evidence.power):
        ranks = at_place(first_ranks, row)
        first_again = ranks[ranks["objective"] == row["first"]]["probability"].iloc[0]
        floor = evidence.tables.floor(row["dataset"], row["metric"])
        cells = [
            place(row),
            str(row["n"]),
            str(row["comparisons"]),
            number(row["lowest_p"]),
            number(row["asked_p"]),
            str(row["seeds_asked"]),
            number(row["smallest_sd"]),
            f"{number(row['smallest'])} {metric(row['metric']).label}",
            number(floor),
            row["first"],
            "–" if math.isnan(first_again) else f"{first_again:.0%}",
            _seeds_top_two(row),
        ]
        table.add(cells, tags_of(row))
    return table


def _seeds_top_two(row: Record) -> str:
    """The seeds that would separate the first two objectives."""
    if not isinstance(row["second"], str):
        return "–"
    needed = row["seeds_top_two"]
    if needed is None or math.isnan(needed):
        return "over 100"
    return number(needed)
