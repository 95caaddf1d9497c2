"""How sure is that? How differences are tested, what the seeds can tell apart, how often the
leader is the first, and all comparisons."""

import math

from benchmark.analysis.evidence import ALPHA, Evidence
from benchmark.analysis.robustness import why_no_ranking
from benchmark.analysis.scores import is_crossed
from benchmark.report.chapters.leaderboards import HEADS
from benchmark.report.page import (
    Chapter,
    Item,
    Table,
    Tags,
    each_place,
    place,
    places,
    records,
    tags_of,
)
from benchmark.stats.intervals import coverage
from benchmark.text import Record, interval, number, percent, plural, span, spanned, wins

SEEDS_HEADS = [
    "where", "seeds", "comparisons", "lowest p", "asked", "seeds needed", "wins needed",
    "told: wins", "told: SDs", "real samples", "leader", "first on",
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

NOT_COMPARED = "Nothing is compared: no place has two objectives with finished runs."
CROSSED = "Nothing is compared: crossed seeds share weights or batches, and are no pairs."
ALL = "All comparisons"
COMPARED = (
    "Difference: first − second, the median over the shared seeds, on which a run that diverged is "
    "the worst [exact 95 % interval]. Wins: shared seeds on which the first is better [exact 95 % "
    "interval of their share]. p: the exact sign test's, which asks whether the first is better on "
    "more seeds than it is worse on, or on fewer; corrected by Holm over all comparisons of the "
    f"report. Better or worse: p ≤ {ALPHA:g}."
)
COMPARED_HEADS = [
    "first", "second", "budget", "verdict", "difference", "wins", "p, Holm", "why not separated",
]  # fmt: skip


def chapter(evidence: Evidence) -> Chapter:
    """What the seeds can tell, and on how many of them the leader leads."""
    result = Chapter("certainty", "How sure is that?")
    ranked = [place(row) for row in records(evidence.power)]
    for at in places(evidence.tables.cells[~is_crossed(evidence.tables.cells)]):
        if place(at) not in ranked:
            reason = why_no_ranking(evidence.tables, at["dataset"], at["architecture"])
            result.items.append(Item(place(at), [f"{reason}."], tags_of(at)))
    if evidence.compared.empty:
        is_all_crossed = is_crossed(evidence.tables.cells).all()
        result.answers.append(CROSSED if is_all_crossed else NOT_COMPARED)
    elif ranked:
        result.answers += [_how_tested(evidence), _what_is_told(records(evidence.power))]
        result.notes = [CLAIMS, INTERVALS.format(f"{coverage(5):.1%}")]
        result.tables += [_what_seeds_tell(evidence), *comparisons(evidence)]
    return result


def _how_tested(evidence: Evidence) -> str:
    """Which objectives are tested, how, and how often a claim is false."""
    reference = evidence.tables.matrix.reference
    tested = "all pairs of objectives are tested"
    if reference:
        tested = (
            f"every objective is tested against {reference}, the reference that the matrix names"
        )
    count = len(evidence.compared)
    rate = f"A false claim has a probability of {ALPHA:.0%} at most."
    if count > 1:
        rate = (
            f"Holm's correction is over all {count} comparisons of this report: the probability "
            f'that any "better" or "worse" in it is false is {ALPHA:.0%} at most.'
        )
    return f"At each budget {tested}, seed by seed, by the exact sign test. {rate}"


def _what_is_told(power: list[Record]) -> str:
    """Which differences the seeds of this matrix can tell from chance."""
    seeds = spanned([row["n"] for row in power], "seed")
    shares = [row["told_share"] for row in power if math.isfinite(row["told_share"])]
    if not shares:
        needed = max(row["seeds_asked"] for row in power)
        compared = plural(power[0]["comparisons"], "comparison")
        ending = "s" if power[0]["comparisons"] == 1 else ""
        return (
            f"With {seeds} this matrix cannot tell any difference from chance: "
            f"{compared} need{ending} {needed} seeds."
        )
    return (
        f"With {seeds} this matrix finds, in 80 % of cases or more, an objective that is "
        f"better on {span([100 * share for share in shares])} % of all seeds or more. Of smaller "
        "differences it finds fewer, and those that it finds look larger than they are: "
        '"not separated" does not say that there is no difference.'
    )


def _what_seeds_tell(evidence: Evidence) -> Table:
    title = "What the seeds can tell"
    table = Table(title, SEEDS_HEADS, note=POWER, fold=title)
    for row in records(evidence.power):
        cells = [
            place(row),
            str(row["n"]),
            str(row["comparisons"]),
            number(row["lowest_p"]),
            number(row["asked_p"]),
            str(row["seeds_asked"]),
            _wins_needed(row),
            percent(row["told_share"]),
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
    return f"{on} [{percent(row['first_low'])}, {percent(row['first_high'])}]"


def comparisons(evidence: Evidence) -> list[Table]:
    """Every comparison of the matrix, a table per place."""
    tables = []
    for at, compared in each_place(evidence.compared):
        table = Table(place(at), COMPARED_HEADS, note=COMPARED, tags=tags_of(at), fold=ALL)
        for row in records(compared):
            cells = [row["first"], row["second"], HEADS[row["of"]]]
            cells += [row["verdict"], interval(row, "difference"), wins(row)]
            cells += [number(row["p_holm"]), row["why"]]
            tags: Tags = {**tags_of(row), "objective": [row["first"], row["second"]]}
            table.add(cells, tags)
        tables.append(table)
    return tables
