"""How sure are we? What the seeds can tell apart, and how often the leader is the first."""

import math

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import why_unranked
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
from benchmark.stats.intervals import coverage
from benchmark.text import Record, number, span

HEADS = [
    "where", "seeds", "comparisons", "lowest p", "asked", "seeds needed", "wins needed",
    "told: wins", "told: SDs", "noise floor", "leader", "first on",
]  # fmt: skip
INTERVALS = (
    "Intervals are exact for every law of the values: of a median they run between two order "
    "statistics, of a share they are Clopper and Pearson's. Each covers the truth with a "
    "probability of 95 % or more ({} at 5 seeds, where the interval of a median is the whole "
    "range). They are not corrected for their number, nor for the choice of a leader by the same "
    "seeds: of seven equal objectives the one that leads has a median whose interval covers the "
    "truth in 89 % of cases at 5 seeds, in 91 % at 12."
)
CLAIMS = (
    '"Better" says that an objective is better on more seeds than it is worse on, of all seeds '
    "that there could be, by whatever little; ties count for neither. The interval of the "
    "difference says by how much, at the median. Claims are of these training budgets, recipes and "
    "networks."
)
POWER = (
    "Lowest p: the least that the sign test can give at these seeds; where it is above what Holm's "
    "first step asks in every place, nothing can be separated whatever the values, and as many "
    "seeds are needed as shown. Wins needed: the seeds that an objective has to win at that step. "
    "Told: the share of all seeds that an objective has to win for these seeds to find it with "
    "power 0.8, without ties; the same as the mean of a normal paired difference, in standard "
    "deviations of that difference. First on: the seeds on which no objective is better than the "
    "leader [interval of that share, at 95 % for whichever objective leads]."
)


def chapter(evidence: Evidence) -> Chapter:
    """What the seeds can tell, and on how many of them the leader leads."""
    result = Chapter("certainty", "How sure are we?")
    if evidence.power.empty:
        for at in places(evidence.tables.cells):
            here = at_place(evidence.tables.cells, at)
            reason = why_unranked(here, evidence.tables.primary.get(at["dataset"]))
            result.items.append(Item(place(at), [f"{reason}."], tags_of(at)))
        return result
    result.answers += [_what_is_told(records(evidence.power)), CLAIMS]
    result.answers.append(INTERVALS.format(f"{coverage(5):.1%}"))
    result.tables.append(_what_seeds_tell(evidence))
    return result


def _what_is_told(power: list[Record]) -> str:
    """Which differences the seeds of this matrix can tell from chance."""
    seeds = span([row["n"] for row in power])
    shares = [row["told_share"] for row in power if math.isfinite(row["told_share"])]
    if not shares:
        needed = max(row["seeds_asked"] for row in power)
        return (
            f"With {seeds} seeds this matrix cannot tell any difference from chance: "
            f"{power[0]['comparisons']} comparisons need {needed} seeds."
        )
    return (
        f"With {seeds} seeds this matrix finds, in 80 % of cases or more, an objective that is "
        f"better on {span([100 * share for share in shares])} % of all seeds or more. Of smaller "
        "differences it finds fewer, and those that it finds look larger than they are: "
        '"not separated" does not say that there is no difference.'
    )


def _what_seeds_tell(evidence: Evidence) -> Table:
    table = Table("What the seeds can tell", HEADS, note=POWER)
    for row in records(evidence.power):
        cells = [
            place(row),
            str(row["n"]),
            str(row["comparisons"]),
            number(row["lowest_p"]),
            number(row["asked_p"]),
            str(row["seeds_asked"]),
            _wins_needed(row),
            _percent(row["told_share"]),
            number(row["told_sd"]),
            number(evidence.tables.floor(row["dataset"], row["metric"])),
            row["first"],
            _first_on(row),
        ]
        table.add(cells, tags_of(row))
    return table


def _wins_needed(row: Record) -> str:
    if math.isnan(row["told_share"]):
        return "–"
    return f"{row['wins_asked']:.0f} of {row['n']}"


def _first_on(row: Record) -> str:
    """`9 of 12 [43%, 95%]`."""
    if not row["first_of"]:
        return "–"
    on = f"{row['first_on']} of {row['first_of']}"
    if math.isnan(row["first_low"]):
        return on
    return f"{on} [{_percent(row['first_low'])}, {_percent(row['first_high'])}]"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.0%}"
